//! Keys of `linux.sysctl` and the files below /proc/sys they stand for.
//!
//! As in sysctl(8) the first separator decides: in `net.ipv4.conf.eno2/100.rp_filter`
//! dots separate and a slash stands for a dot, in
//! `net/ipv4/conf/eno2.100/rp_filter` slashes separate and dots are themselves.

/// The key's file as a path relative to /proc/sys.
pub fn path(key: &str) -> String {
    if separator(key) == '/' {
        return key.to_owned();
    }
    key.chars()
        .map(|character| match character {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect()
}

/// The character that separates the components of `key`.
fn separator(key: &str) -> char {
    match key.find(['.', '/']) {
        Some(at) if key[at..].starts_with('/') => '/',
        _ => '.',
    }
}

/// The components of `key`, in which a `.` or `/` that does not separate is
/// still written as it was.
pub(super) fn components(key: &str) -> impl Iterator<Item = &str> {
    key.split(separator(key))
}

/// Whether each component names something: `..` and the like would lead out
/// of the directory that the key was allowed for.
pub(super) fn is_well_formed(key: &str) -> bool {
    components(key).all(|component| !matches!(component, "" | "." | ".." | "/" | "//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_decides_what_separates() {
        for (key, file) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            (
                "net.ipv4.conf.eno2/100.rp_filter",
                "net/ipv4/conf/eno2.100/rp_filter",
            ),
            (
                "net/ipv4/conf/eno2.100/rp_filter",
                "net/ipv4/conf/eno2.100/rp_filter",
            ),
        ] {
            assert_eq!(path(key), file);
            assert!(is_well_formed(key));
        }
    }

    #[test]
    fn no_key_leads_out_of_its_directory() {
        for key in [
            "",
            "net/../kernel/core_pattern",
            "net.//.kernel.core_pattern",
            "net..kernel",
            "net./.kernel",
            "/net/ipv4",
            "net/ipv4/",
            ".net",
        ] {
            assert!(!is_well_formed(key), "{key}");
        }
    }
}
