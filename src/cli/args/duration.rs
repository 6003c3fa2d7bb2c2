//! Durations as Go's `time.ParseDuration` reads them.

/// Reads `300ms`, `1m30s`, `-1.5h` and the like; gives nanoseconds. A number without a unit is
/// none, but for 0.
///
/// # Errors
/// Why it is no duration.
pub fn parse_duration(text: &str) -> Result<i64, &'static str> {
    const INVALID: &str =
        "no duration (numbers with h, m, s, ms, us or ns behind them, such as 5s or 1m30s)";
    const NO_UNIT: &str = "missing unit (such as 5s, 100ms or 1m30s)";
    const TOO_LONG: &str = "too long (292 years at most)";
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(INVALID);
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(INVALID);
        }
        let end = behind
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let unit: u128 = match unit {
            "ns" => 1,
            // The micro sign and the Greek letter.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(NO_UNIT),
            _ => return Err(INVALID),
        };
        // More digits than that are less than a nanosecond.
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10u128.pow(fraction.len() as u32);
        let digits = |text: &str| match text {
            "" => Ok(0),
            text => text.parse::<u64>().map_err(|_| TOO_LONG),
        };
        // No factor has more than 64 bits, and the sum of each turn has 63.
        total += u128::from(digits(whole)?) * unit + u128::from(digits(fraction)?) * unit / scale;
        if i64::try_from(total).is_err() {
            return Err(TOO_LONG);
        }
        rest = behind;
    }
    let nanoseconds = i64::try_from(total).map_err(|_| TOO_LONG)?;
    Ok(if negative { -nanoseconds } else { nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations_are_gos() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("100ms", 100_000_000),
            ("1m30s", 90_000_000_000),
            ("1h0m0.5s", 3_600_500_000_000),
            (".5s", 500_000_000),
            ("1.5h", 5_400_000_000_000),
            ("7us", 7_000),
            ("7\u{b5}s", 7_000),
            ("1ns", 1),
            ("9223372036854775807ns", i64::MAX),
        ] {
            assert_eq!(parse_duration(text), Ok(nanoseconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "1m30",
            "s",
            "5x",
            "5 s",
            "1.2.3s",
            ".s",
            "5S",
            "--5s",
            "1e3s",
            "9223372036854775808ns",
            "300000000h",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        assert!(parse_duration("5").unwrap_err().starts_with("missing unit"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-+]?[0-9.]{0,45}(h|m|s|ms|us|ns|.){0,3}") {
            let _ = parse_duration(&text);
        }
    }
}
