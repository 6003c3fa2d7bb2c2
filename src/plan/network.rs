//! `linux.netDevices`: which devices of the host go into the container.

use crate::config::spec::Linux;

/// A device that is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name inside. One that ends in `%d` stands for the first free number.
    pub inside: String,
}

impl NetDevice {
    /// Its place in config.json.
    pub fn pointer(&self) -> String {
        pointer(&self.host)
    }
}

/// The place in config.json of the device of this name on the host.
pub fn pointer(host: &str) -> String {
    let key = host.replace('~', "~0").replace('/', "~1");
    format!("/linux/netDevices/{key}")
}

/// Plans the devices, in the order of their names.
pub fn plan(linux: &Linux<'_>) -> Vec<NetDevice> {
    let device = |(host, device): (&_, &crate::config::spec::NetDevice<'_>)| {
        let host: &crate::config::spec::Text<'_> = host;
        NetDevice {
            host: host.to_string(),
            inside: device.name.as_ref().unwrap_or(host).to_string(),
        }
    };
    linux.net_devices.iter().map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_a_new_name_keeps_the_hosts() {
        let linux: Linux<'_> =
            serde_json::from_str(r#"{"netDevices":{"b":{"name":"eth%d"},"a~":{}}}"#).unwrap();
        let plan = plan(&linux);
        let names: Vec<_> = plan
            .iter()
            .map(|d| (d.host.as_str(), d.inside.as_str()))
            .collect();
        assert_eq!(names, [("a~", "a~"), ("b", "eth%d")]);
        assert_eq!(plan[0].pointer(), "/linux/netDevices/a~0");
    }
}
