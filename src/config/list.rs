//! Lists of numbers such as `0-3,7`: CPUs and memory nodes.

use std::fmt;
use std::ops::RangeInclusive;

/// Why a list is not one. Displays as a phrase that names the bad part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListError<'l> {
    /// Neither a number nor two numbers with a dash between.
    NotARange(&'l str),
    /// A range whose end lies before its start.
    Backwards(&'l str),
}

impl fmt::Display for ListError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListError::NotARange(part) => {
                write!(f, "{part:?} is neither a number nor a range such as 0-3")
            }
            ListError::Backwards(part) => write!(f, "the range {part:?} ends before it starts"),
        }
    }
}

/// The ranges of a list as runc reads it for `execCPUAffinity` and
/// `memoryPolicy`: parts between commas, with spaces around them, and empty
/// parts ignored.
pub fn ranges(list: &str) -> impl Iterator<Item = Result<RangeInclusive<u32>, ListError<'_>>> {
    list.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(range)
}

fn range(part: &str) -> Result<RangeInclusive<u32>, ListError<'_>> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(_), Some(_)) => Err(ListError::Backwards(part)),
        _ => Err(ListError::NotARange(part)),
    }
}

/// A number of decimal digits alone: `parse` would take a sign too.
fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Checks a list that the kernel's `bitmap_parselist` is going to read
/// (cpuset.cpus, cpuset.mems): it also knows `all`, `N` for the last one,
/// strides such as `0-15:2/4`, and white space between the parts.
///
/// # Errors
/// The first part that the kernel would refuse whatever the machine is.
pub fn check_bitmap_list(list: &str) -> Result<(), ListError<'_>> {
    list.split(|c: char| c == ',' || c.is_ascii_whitespace())
        .filter(|part| !part.is_empty() && *part != "all")
        .try_for_each(check_region)
}

fn check_region(part: &str) -> Result<(), ListError<'_>> {
    let (range, stride) = match part.split_once(':') {
        Some((range, stride)) => (range, Some(stride)),
        None => (part, None),
    };
    if let Some(stride) = stride {
        let used_and_group = stride
            .split_once('/')
            .map(|(used, group)| (number(used), number(group)));
        match used_and_group {
            Some((Some(used), Some(group))) if used <= group && group > 0 => {}
            _ => return Err(ListError::NotARange(part)),
        }
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    // The last one's number is the machine's affair.
    let bound = |text| match text {
        "N" => Some(u32::MAX),
        text => number(text),
    };
    match (bound(first), bound(last)) {
        (Some(first), Some(last)) if first <= last => Ok(()),
        (Some(_), Some(_)) => Err(ListError::Backwards(part)),
        _ => Err(ListError::NotARange(part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_its_ranges_in_order() {
        let found: Vec<_> = ranges("0-3, 7,,9-9 ").collect();
        assert_eq!(found, [Ok(0..=3), Ok(7..=7), Ok(9..=9)]);
        assert_eq!(ranges("").count(), 0);
    }

    #[test]
    fn a_list_names_its_bad_part() {
        for (list, error) in [
            ("0,3-1", ListError::Backwards("3-1")),
            ("0,x", ListError::NotARange("x")),
            ("+1", ListError::NotARange("+1")),
            ("1-2-3", ListError::NotARange("1-2-3")),
            ("-", ListError::NotARange("-")),
            ("4294967296", ListError::NotARange("4294967296")),
        ] {
            assert!(
                ranges(list).any(|range| range == Err(error)),
                "{list} must fail with {error:?}"
            );
            assert_eq!(check_bitmap_list(list), Err(error), "{list}");
        }
    }

    #[test]
    fn the_kernels_own_syntax_passes_for_cpusets() {
        for list in ["", "0-3,7", "all", "0-N", "0-15:2/4", "1 2\n", "N"] {
            assert_eq!(check_bitmap_list(list), Ok(()), "{list:?}");
        }
        for list in ["0-15:4/2", "0-15:1/0", "0-15:2", "N-1"] {
            assert!(check_bitmap_list(list).is_err(), "{list:?}");
        }
    }
}
