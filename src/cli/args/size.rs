//! Numbers of `update`, and sizes of memory: bytes, or a number with a suffix, as docker/go-units
//! reads them.

/// A reader of numbers.
pub type Parse = fn(&str) -> Result<i64, &'static str>;

/// A weight of block I/O; 0 is none. A small one that is none is left to the check of all limits.
///
/// # Errors
/// Why it is none.
pub fn parse_weight(text: &str) -> Result<i64, &'static str> {
    let weight = parse_unsigned(text).ok();
    weight
        .filter(|weight| *weight <= 1000)
        .ok_or("use a whole number from 10 to 1000")
}

/// Digits after the point that count.
const FRACTION: usize = 9;

/// Reads a whole number.
///
/// # Errors
/// Why it is none.
pub fn parse_signed(text: &str) -> Result<i64, &'static str> {
    text.parse().map_err(|_| "use a whole number of 64 bits")
}

/// The same without a sign.
///
/// # Errors
/// Why it is none.
pub fn parse_unsigned(text: &str) -> Result<i64, &'static str> {
    let number = parse_signed(text).ok();
    number
        .filter(|number| *number >= 0)
        .ok_or("use a whole number, 0 or more")
}

/// Reads `512m`, `1.5GiB`, `1 kb` or `-1` (no limit); a letter k, m, g, t or p in either case, with
/// or without `b` or `ib` behind it, stands for a power of 1024.
///
/// # Errors
/// Why it is no size.
pub fn parse_size(text: &str) -> Result<i64, &'static str> {
    const INVALID: &str = "invalid size (a number of bytes, with k, m, g or t behind it, or -1)";
    const TOO_LARGE: &str = "too large: the largest size is 8 EiB less one byte";
    if text == "-1" {
        return Ok(-1);
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(INVALID);
    }
    let unit = unit(suffix.strip_prefix(' ').unwrap_or(suffix)).ok_or(INVALID)?;
    let digits = |text: &str| match text {
        "" => Ok(0),
        text => text.parse::<u64>().map_err(|_| TOO_LARGE),
    };
    let fraction = &fraction[..fraction.len().min(FRACTION)];
    let scale = 10u128.pow(fraction.len() as u32);
    // Neither factor has more than 64 bits.
    let bytes = u128::from(digits(whole)?) * unit + u128::from(digits(fraction)?) * unit / scale;
    i64::try_from(bytes).map_err(|_| TOO_LARGE)
}

fn unit(suffix: &str) -> Option<u128> {
    let suffix = suffix.to_ascii_lowercase();
    let letter = match suffix.strip_suffix("ib").or(suffix.strip_suffix('b')) {
        Some("") if suffix == "b" => "",
        Some("") => return None,
        Some(letter) => letter,
        None => &suffix,
    };
    let power = ["", "k", "m", "g", "t", "p"]
        .iter()
        .position(|known| *known == letter)?;
    Some(1 << (10 * power))
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_have_suffixes_in_either_case() {
        for (text, bytes) in [
            ("0", 0),
            ("-1", -1),
            ("4096", 4096),
            ("32b", 32),
            ("1k", 1024),
            ("1K", 1024),
            ("2m", 2 << 20),
            ("2MB", 2 << 20),
            ("2MiB", 2 << 20),
            ("3g", 3 << 30),
            ("3G", 3 << 30),
            ("1t", 1 << 40),
            ("1T", 1 << 40),
            ("1p", 1 << 50),
            ("1.5g", 3 << 29),
            (".5k", 512),
            ("1 kb", 1024),
            ("0.3k", 307),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_or_too_large_is_refused() {
        for text in [
            "", "x", "10x", "1kk", "1kx", "ib", "1ib", "-2", "-1k", "1..5", "1.2.3", ".", " 1",
            "1  k", "0x10", "1e3", "∞",
        ] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
        for text in [
            "9223372036854775808",
            "8192p",
            "99999999999999999999999999999999999999999g",
        ] {
            assert!(
                parse_size(text).unwrap_err().starts_with("too large"),
                "{text:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9.]{0,40}[ ]?.{0,4}") {
            let _ = parse_size(&text);
        }

        #[test]
        fn whole_numbers_of_bytes_are_themselves(bytes in 0..i64::MAX) {
            proptest::prop_assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
        }
    }
}
