//! What the probe's `facts` reports, with the look-ups that tests need.

use crate::outcome::{Because, Outcome};
use serde_json::Value;

/// Major and minor number of the kernel.
pub fn kernel() -> Outcome<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map(str::parse);
    let mut number = || Ok::<u32, crate::outcome::Stop>(numbers.next().because(&release)??);
    Ok((number()?, number()?))
}

/// The report of one process.
pub struct Facts(pub Value);

impl Facts {
    /// A line of /proc/self/status, such as `CapEff`.
    pub fn status(&self, key: &str) -> Outcome<String> {
        self.0["status"][key]
            .as_str()
            .map(str::to_string)
            .because(key)
    }

    /// A text of the report.
    pub fn text(&self, key: &str) -> Outcome<String> {
        self.0[key].as_str().map(str::to_string).because(key)
    }

    /// A capability set as a mask, such as `CapEff`.
    pub fn caps(&self, set: &str) -> Outcome<u64> {
        Ok(u64::from_str_radix(&self.status(set)?, 16)?)
    }

    /// The value of a variable of the environment.
    pub fn env(&self, key: &str) -> Option<String> {
        self.0["env"].as_array()?.iter().find_map(|entry| {
            let (name, value) = entry.as_str()?.split_once('=')?;
            (name == key).then(|| value.to_string())
        })
    }

    /// The link text of a namespace, such as `net:[4026531840]`.
    pub fn namespace(&self, kind: &str) -> Outcome<String> {
        self.0["namespaces"][kind]
            .as_str()
            .map(str::to_string)
            .because(kind)
    }

    /// The last mountinfo line of this mount point, split at blanks.
    pub fn mount(&self, point: &str) -> Outcome<Vec<String>> {
        let text = self.text("mountinfo")?;
        text.lines()
            .rev()
            .map(|line| line.split(' ').map(str::to_string).collect::<Vec<_>>())
            .find(|fields| fields.get(4).is_some_and(|found| found == point))
            .because(format!("a mount at {point} in\n{text}"))
    }

    /// The options of a mount: those of the mount point and of the file system.
    pub fn mount_options(&self, point: &str) -> Outcome<Vec<String>> {
        let fields = self.mount(point)?;
        let super_options = fields.last().because("options")?;
        Ok(fields[5]
            .split(',')
            .chain(super_options.split(','))
            .map(str::to_string)
            .collect())
    }

    /// The file system type at a mount point.
    pub fn mount_type(&self, point: &str) -> Outcome<String> {
        let fields = self.mount(point)?;
        let dash = fields
            .iter()
            .position(|field| field == "-")
            .because("separator")?;
        fields.get(dash + 1).cloned().because("type")
    }
}
