//! Points in time as text, as Go's runtimes print them: RFC 3339 in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const NANOS_PER_SEC: u32 = 1_000_000_000;
const SECS_PER_DAY: i64 = 86_400;

/// `2026-11-21T11:00:00Z`, as in a log line; the fraction is cut off.
pub fn rfc3339(time: SystemTime) -> String {
    let (secs, _) = since_epoch(time);
    date_and_time(secs) + "Z"
}

/// `2026-11-21T11:00:00.12Z`: Go's `RFC3339Nano`, which drops trailing zeros of
/// the fraction and the point with them. The state's `created` has this form.
pub fn rfc3339_nano(time: SystemTime) -> String {
    let (secs, nanos) = since_epoch(time);
    let mut text = date_and_time(secs);
    if nanos > 0 {
        text += format!(".{nanos:09}").trim_end_matches('0');
    }
    text + "Z"
}

/// `Nov  1 12:00:00`, as syslog(3) has it, but in UTC.
pub fn stamp(time: SystemTime) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (secs, _) = since_epoch(time);
    let (_, month, day) = date(secs.div_euclid(SECS_PER_DAY));
    let month = usize::try_from(month - 1)
        .ok()
        .and_then(|at| MONTHS.get(at));
    let text = date_and_time(secs);
    let clock = text.split_once('T').map_or("", |(_, clock)| clock);
    format!("{} {day:>2} {clock}", month.copied().unwrap_or_default())
}

/// Whole seconds, rounded down, and the nanoseconds above them.
fn since_epoch(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs().cast_signed(), after.subsec_nanos()),
        Err(error) => {
            let before = error.duration();
            let secs = -before.as_secs().cast_signed();
            match before.subsec_nanos() {
                0 => (secs, 0),
                nanos => (secs - 1, NANOS_PER_SEC - nanos),
            }
        }
    }
}

fn date_and_time(secs: i64) -> String {
    let (year, month, day) = date(secs.div_euclid(SECS_PER_DAY));
    let second = secs.rem_euclid(SECS_PER_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of the Gregorian calendar, from days since 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // Counting from 1 March of a year divisible by 400 puts the leap day at
    // the end of its year and makes every 400 years the same.
    const DAYS_TO_1970: i64 = 719_468;
    const DAYS_PER_400_YEARS: i64 = 146_097;
    let days = days + DAYS_TO_1970;
    let cycle = days.div_euclid(DAYS_PER_400_YEARS);
    let day = days.rem_euclid(DAYS_PER_400_YEARS);
    // Leap days before `day`: one in 4 years, not in 100, yet in 400.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, every five months have 153 days.
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (cycle * 400 + year + next_year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64, nanos: u32) -> SystemTime {
        UNIX_EPOCH + Duration::new(secs, nanos)
    }

    #[test]
    fn seconds_are_the_dates_that_date_1_prints() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_258_800, "2026-11-21T11:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(at(secs, 999_999_999)), text);
        }
    }

    #[test]
    fn fractions_lose_their_trailing_zeros_as_in_go() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:01Z"),
            (123_456_789, "1970-01-01T00:00:01.123456789Z"),
            (120_000_000, "1970-01-01T00:00:01.12Z"),
            (1, "1970-01-01T00:00:01.000000001Z"),
        ] {
            assert_eq!(rfc3339_nano(at(1, nanos)), text);
        }
    }

    #[test]
    fn times_before_1970_count_backwards() {
        let before = UNIX_EPOCH - Duration::new(1, 250_000_000);
        assert_eq!(rfc3339_nano(before), "1969-12-31T23:59:58.75Z");
    }

    #[test]
    fn days_follow_one_another_for_eight_hundred_years() {
        let mut expected = (1970, 1, 1);
        for day in 0..292_194 {
            assert_eq!(date(day), expected);
            let (year, month, day) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }
}
