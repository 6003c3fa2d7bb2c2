//! The tables: medians, minima and ratios of the samples, as markdown.

use crate::measure::{Sample, What};
use std::fmt::Write;

/// What a table's cells show.
#[derive(Clone, Copy)]
enum Cell {
    /// `median (minimum)` in µs.
    Time,
    /// The median in µs.
    MedianTime,
    /// The median as it is.
    Plain,
}

/// A table of one quantity over `runtimes`, a row for each row name in the samples; nothing when there are none.
/// With a subject (the first runtime) and others, columns of its ratio to each of them follow.
pub fn table(samples: &[Sample], what: What, runtimes: &[String]) -> String {
    let samples: Vec<_> = samples.iter().filter(|s| s.what == what).collect();
    let mut rows: Vec<&str> = Vec::new();
    for sample in &samples {
        if !rows.contains(&sample.row) {
            rows.push(sample.row);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let (title, cell) = match what {
        What::Wall => ("wall time, µs: median (minimum)", Cell::Time),
        What::Cpu => ("CPU time, µs: median", Cell::MedianTime),
        What::Peak => ("peak resident memory, KiB", Cell::Plain),
        What::InitRss => ("resident memory, KiB", Cell::Plain),
        What::InitPss => ("proportional memory (PSS), KiB", Cell::Plain),
        What::Syscalls => ("system calls", Cell::Plain),
    };
    let (subject, others) = match runtimes.split_first() {
        Some((subject, others)) => (subject, others),
        None => return String::new(),
    };

    let mut out = format!("| {title} |");
    let mut rule = String::from("|---|");
    for runtime in runtimes {
        let _ = write!(out, " {runtime} |");
        rule += "---:|";
    }
    for other in others {
        let _ = write!(out, " {subject} / {other} |");
        rule += "---:|";
    }
    let _ = writeln!(out, "\n{rule}");
    for row in rows {
        let of = |runtime: &String| {
            let values = samples
                .iter()
                .filter(|s| s.row == row && s.runtime == *runtime)
                .map(|s| s.value)
                .collect();
            Summary::of(values)
        };
        let _ = write!(out, "| {row} |");
        for runtime in runtimes {
            let _ = match (of(runtime), cell) {
                (None, _) => write!(out, " – |"),
                (Some(s), Cell::Time) => {
                    write!(out, " {} ({}) |", micros(s.median), micros(s.minimum))
                }
                (Some(s), Cell::MedianTime) => write!(out, " {} |", micros(s.median)),
                (Some(s), Cell::Plain) => write!(out, " {} |", s.median),
            };
        }
        for other in others {
            let _ = match (of(subject), of(other), cell) {
                (Some(a), Some(b), Cell::Time) => write!(
                    out,
                    " {} ({}) |",
                    ratio(a.median, b.median),
                    ratio(a.minimum, b.minimum)
                ),
                (Some(a), Some(b), _) => write!(out, " {} |", ratio(a.median, b.median)),
                _ => write!(out, " – |"),
            };
        }
        out.push('\n');
    }
    out.push('\n');
    out
}

struct Summary {
    median: u64,
    minimum: u64,
}

impl Summary {
    fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = if values.len().is_multiple_of(2) {
            values[middle - 1].midpoint(upper)
        } else {
            upper
        };
        Some(Self {
            median,
            minimum: values[0],
        })
    }
}

/// ns as µs with thousands apart: `12,345`.
fn micros(ns: u64) -> String {
    let us = (ns + 500) / 1000;
    if us < 1000 {
        us.to_string()
    } else {
        format!("{},{:03}", us / 1000, us % 1000)
    }
}

fn ratio(a: u64, b: u64) -> String {
    format!("{:.2}", a as f64 / b.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_values_lies_between_the_middle_two() {
        let summary = Summary::of(vec![4, 1, 3, 2000]).unwrap();
        assert_eq!((summary.median, summary.minimum), (3, 1));
        let summary = Summary::of(vec![10, 20]).unwrap();
        assert_eq!(summary.median, 15);
        assert!(Summary::of(Vec::new()).is_none());
    }

    #[test]
    fn a_table_has_the_subject_first_and_its_ratios_last() {
        let sample = |runtime: &str, value| Sample {
            runtime: runtime.into(),
            row: "create",
            what: What::Wall,
            value,
        };
        let samples = [sample("a", 1_500_000), sample("b", 3_000_000)];
        let table = table(&samples, What::Wall, &["a".into(), "b".into()]);
        let row = table.lines().last().unwrap();
        assert_eq!(
            table.lines().nth(2).unwrap(),
            "| create | 1,500 (1,500) | 3,000 (3,000) | 0.50 (0.50) |",
            "{row}"
        );
    }
}
