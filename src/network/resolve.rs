//! The names that devices get inside.

use super::Device;
use crate::config::ConfigError;
use crate::plan::network::pointer;

/// Replaces the templates (`eth%d`) by names that are free, as the kernel would, and makes
/// sure that no name is taken. `taken` are the names in the container's namespace. Gives
/// whether a name has changed.
///
/// # Errors
/// A name that is taken, or no number that is free.
pub fn resolve(devices: &mut [Device], taken: &[String]) -> Result<bool, ConfigError> {
    // What is asked for by name goes before what takes any number.
    let mut names: Vec<String> = taken.to_vec();
    for device in devices.iter().filter(|d| !is_template(&d.inside)) {
        if names.contains(&device.inside) {
            return Err(ConfigError::new(
                pointer(&device.host),
                format!(
                    "the container's network namespace already has a device \"{}\"",
                    device.inside
                ),
            )
            .with_hint("give it another \"name\", or one that ends in %d for a free number"));
        }
        names.push(device.inside.clone());
    }
    let mut changed = false;
    for device in devices.iter_mut().filter(|d| is_template(&d.inside)) {
        let stem = device.inside.trim_end_matches("%d");
        // One more than there are names: one of them is free.
        let free = (0..=names.len())
            .map(|number| format!("{stem}{number}"))
            .find(|name| !names.contains(name))
            .filter(|name| name.len() < libc::IFNAMSIZ);
        let Some(name) = free else {
            return Err(ConfigError::new(
                format!("{}/name", pointer(&device.host)),
                format!("no name like \"{}\" is free", device.inside),
            ));
        };
        names.push(name.clone());
        device.inside = name;
        changed = true;
    }
    Ok(changed)
}

fn is_template(name: &str) -> bool {
    name.ends_with("%d")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(host: &str, inside: &str) -> Device {
        Device {
            host: host.to_owned(),
            inside: inside.to_owned(),
            hardware: Vec::new(),
            index: 0,
            up: false,
            addresses: Vec::new(),
        }
    }

    fn resolved(
        devices: &[(&str, &str)],
        taken: &[&str],
    ) -> Result<(bool, Vec<String>), ConfigError> {
        let mut devices: Vec<_> = devices.iter().map(|(h, i)| device(h, i)).collect();
        let taken: Vec<_> = taken.iter().map(|t| (*t).to_owned()).collect();
        let changed = resolve(&mut devices, &taken)?;
        Ok((changed, devices.into_iter().map(|d| d.inside).collect()))
    }

    #[test]
    fn templates_take_the_first_numbers_that_are_free() {
        let (changed, names) = resolved(
            &[("a", "eth%d"), ("b", "eth%d"), ("c", "eth2")],
            &["lo", "eth0"],
        )
        .unwrap();
        assert!(changed);
        assert_eq!(names, ["eth1", "eth3", "eth2"]);
    }

    #[test]
    fn plain_names_stay() {
        let (changed, names) = resolved(&[("a", "a"), ("b", "x")], &["lo"]).unwrap();
        assert!(!changed);
        assert_eq!(names, ["a", "x"]);
    }

    #[test]
    fn a_name_that_is_taken_is_an_error_at_its_device() {
        let error = resolved(&[("a", "lo")], &["lo"]).unwrap_err();
        assert_eq!(error.pointer, "/linux/netDevices/a");
        assert!(error.message.contains("already has a device \"lo\""));
    }

    #[test]
    fn a_number_that_makes_the_name_too_long_is_an_error() {
        let stem = "abcdefghijklm";
        let taken: Vec<String> = (0..100).map(|n| format!("{stem}{n}")).collect();
        let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
        let error = resolved(&[("a", "abcdefghijklm%d")], &taken).unwrap_err();
        assert_eq!(error.pointer, "/linux/netDevices/a/name");
    }
}
