//! The texts of the kernel's counters. What is not of the known form is left out: a new kernel
//! may say more.

use super::types::{BlkioEntry, Percent, Psi, PsiData};

/// One number; `max` is the largest, and a negative one 0.
#[inline(never)]
pub(super) fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        text if text.starts_with('-') => text.parse::<i64>().ok().map(|_| 0),
        text => text.parse().ok(),
    }
}

/// Lines of a key and a number.
pub(super) fn keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, number(value)?))
    })
}

/// The number of one key, 0 without it.
#[inline(never)]
pub(super) fn value_of(text: &str, key: &str) -> u64 {
    keyed(text)
        .find_map(|(k, value)| (k == key).then_some(value))
        .unwrap_or_default()
}

/// Numbers with spaces between them.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_ascii_whitespace().filter_map(number).collect()
}

/// `cpuacct.usage_all`: a heading, then CPU, user and system time on each line. Gives the
/// system times and the user times.
pub(super) fn usage_all(text: &str) -> (Vec<u64>, Vec<u64>) {
    text.lines()
        .skip(1)
        .filter_map(|line| match numbers(line).as_slice() {
            [_, user, system] => Some((*system, *user)),
            _ => None,
        })
        .unzip()
}

/// A list of CPUs or memory nodes such as `0-2,7`.
pub(super) fn list(text: &str) -> Vec<u16> {
    let mut all = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            all.extend(first..=last);
        }
    }
    all
}

/// A device as `8:16`.
fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A counter file of the v1 controller blkio: `8:0 Read 4096` or `8:0 4096` on each line, and a
/// sum without a device at the end.
pub(super) fn blkio(text: &str) -> Vec<BlkioEntry> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (major, minor) = device(words.next()?)?;
            let (op, value) = match (words.next()?, words.next()) {
                (op, Some(value)) => (op, value),
                (value, None) => ("", value),
            };
            Some(BlkioEntry {
                major,
                minor,
                op: op.to_owned(),
                value: value.parse().ok()?,
            })
        })
        .collect()
}

/// `io.stat` of cgroup v2, as v1's two tables: bytes and operations.
pub(super) fn io_stat(text: &str) -> (Vec<BlkioEntry>, Vec<BlkioEntry>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (table, op) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                table.push(BlkioEntry {
                    major,
                    minor,
                    op: op.to_owned(),
                    value,
                });
            }
        }
    }
    (bytes, operations)
}

/// A pressure file. The line `full` may be missing (`cpu.pressure` before Linux 5.13).
pub(super) fn psi(text: &str) -> Psi {
    let mut psi = Psi::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let data = match words.next() {
            Some("some") => &mut psi.some,
            Some("full") => &mut psi.full,
            _ => continue,
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            set(data, key, value);
        }
    }
    psi
}

fn set(data: &mut PsiData, key: &str, value: &str) {
    let place = match key {
        "avg10" => &mut data.avg10,
        "avg60" => &mut data.avg60,
        "avg300" => &mut data.avg300,
        "total" => {
            data.total = value.parse().unwrap_or_default();
            return;
        }
        _ => return,
    };
    *place = percent(value).unwrap_or_default();
}

/// `12.34`; the kernel always prints two digits after the point.
fn percent(text: &str) -> Option<Percent> {
    let (whole, rest) = text.split_once('.')?;
    let hundredths = match rest.len() {
        2 => rest.parse::<u32>().ok()?,
        _ => return None,
    };
    let whole = whole.parse::<u32>().ok()?.checked_mul(100)?;
    Some(Percent(whole.checked_add(hundredths)?))
}

/// The size that the kernel's files have for a directory such as `hugepages-2048kB`.
pub(super) fn huge_page_size(name: &str) -> Option<String> {
    let kilobytes: u64 = name
        .strip_prefix("hugepages-")?
        .strip_suffix("kB")?
        .parse()
        .ok()?;
    Some(match kilobytes {
        size if size >= 1 << 20 => format!("{}GB", size >> 20),
        size if size >= 1 << 10 => format!("{}MB", size >> 10),
        size => format!("{size}KB"),
    })
}
