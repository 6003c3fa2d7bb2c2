//! `linux.intelRdt`: the group of the resctrl file system and the lines for it.

use crate::config::ConfigError;
use crate::config::spec::IntelRdt;

/// Directories of the file system's root that are no groups.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// A class of service for the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdtPlan {
    /// The group's directory; empty for the root, the default class.
    pub group: String,
    /// Whether config.json names it (`closID`): such a group is never removed, and has
    /// to be there if no line is given for it.
    pub named: bool,
    /// Lines for its `schemata`, in order, each with its place in config.json.
    pub lines: Vec<(String, String)>,
    /// The monitoring group below it (`enableMonitoring`).
    pub monitor: Option<String>,
}

/// Plans the group of the container `id`.
///
/// # Errors
/// A name that the file system uses for something else.
pub fn plan(rdt: &IntelRdt<'_>, id: &str) -> Result<RdtPlan, ConfigError> {
    let clos_id = rdt.clos_id.as_deref().filter(|name| !name.is_empty());
    let group = match clos_id {
        Some("/") => "",
        Some(name) => name,
        None => id,
    };
    if RESERVED.contains(&group) {
        let pointer = match clos_id {
            Some(_) => "/linux/intelRdt/closID",
            None => "/linux/intelRdt",
        };
        return Err(ConfigError::new(
            pointer,
            format!(
                "\"{group}\" is no name for a group: resctrl has a directory of its own so called"
            ),
        ));
    }
    Ok(RdtPlan {
        group: group.to_owned(),
        named: clos_id.is_some(),
        lines: lines(rdt),
        monitor: rdt.enable_monitoring.then(|| id.to_owned()),
    })
}

/// First those of `l3CacheSchema`, then `memBwSchema`, then `schemata`: what comes last
/// counts.
fn lines(rdt: &IntelRdt<'_>) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut add = |line: &str, pointer: String| {
        if !line.trim().is_empty() {
            lines.push((line.to_owned(), pointer));
        }
    };
    let bandwidth = rdt.mem_bw_schema.as_deref().unwrap_or_default();
    for line in rdt.l3_cache_schema.as_deref().unwrap_or_default().lines() {
        // memBwSchema replaces such a line (runtime-spec before 1.3).
        if bandwidth.is_empty() || !line.starts_with("MB:") {
            add(line, "/linux/intelRdt/l3CacheSchema".to_owned());
        }
    }
    add(bandwidth, "/linux/intelRdt/memBwSchema".to_owned());
    for (index, line) in rdt.schemata.iter().enumerate() {
        add(line, format!("/linux/intelRdt/schemata/{index}"));
    }
    lines
}

impl RdtPlan {
    /// Compares the lines with the `schemata` of a group that exists: every value that is
    /// asked for has to be in force. What is not asked for may be anything.
    ///
    /// # Errors
    /// The first line that the group does not have.
    pub fn require(&self, existing: &str) -> Result<(), ConfigError> {
        for (index, (line, pointer)) in self.lines.iter().enumerate() {
            let Some((resource, values)) = split(line) else {
                return Err(ConfigError::new(
                    pointer.as_str(),
                    format!("\"{line}\" is not of the form RESOURCE:ID=VALUE;…"),
                ));
            };
            for (domain, value) in values {
                // A later line may have replaced it.
                let later = self.lines[index + 1..]
                    .iter()
                    .any(|(line, _)| value_of(line, resource, domain).is_some());
                let found = existing
                    .lines()
                    .find_map(|line| value_of(line, resource, domain));
                if !later && !found.is_some_and(|found| same(resource, found, value)) {
                    let has = found.map_or("nothing".to_owned(), |found| format!("\"{found}\""));
                    return Err(ConfigError::new(
                        pointer.as_str(),
                        format!(
                            "the group \"{}\" exists and has {has} for {resource} {domain}, not \"{value}\"",
                            self.group
                        ),
                    )
                    .with_hint("leave the line out to take the group as it is"));
                }
            }
        }
        Ok(())
    }
}

/// A line `L3:0=ff;1=f`: the resource, and the pairs of domain and value.
fn split(line: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let (resource, rest) = line.split_once(':')?;
    let pairs = rest
        .split(';')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (domain, value) = pair.split_once('=')?;
            Some((domain.trim(), value.trim()))
        });
    Some((resource.trim(), pairs.collect::<Option<Vec<_>>>()?))
}

fn value_of<'a>(line: &'a str, resource: &str, domain: &str) -> Option<&'a str> {
    let (of, values) = split(line)?;
    let mut values = values.into_iter().filter(|_| of == resource);
    values.find(|(id, _)| *id == domain).map(|(_, value)| value)
}

/// Masks of caches are hexadecimal, everything else is decimal or a word.
fn same(resource: &str, one: &str, other: &str) -> bool {
    let radix = if resource.starts_with('L') { 16 } else { 10 };
    let number = |text: &str| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        u64::from_str_radix(digits, radix).ok()
    };
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(json: &str) -> RdtPlan {
        let rdt: IntelRdt<'_> = serde_json::from_str(json).unwrap();
        plan(&rdt, "c1").unwrap()
    }

    fn texts(plan: &RdtPlan) -> Vec<&str> {
        plan.lines.iter().map(|(line, _)| line.as_str()).collect()
    }

    #[test]
    fn the_group_is_the_class_or_the_container() {
        assert_eq!(planned("{}").group, "c1");
        assert!(!planned("{}").named);
        assert_eq!(planned(r#"{"closID":""}"#), planned("{}"));
        assert_eq!(planned(r#"{"closID":"gold"}"#).group, "gold");
        let default = planned(r#"{"closID":"/","enableMonitoring":true}"#);
        assert_eq!((default.group.as_str(), default.named), ("", true));
        assert_eq!(default.monitor.as_deref(), Some("c1"));
    }

    #[test]
    fn names_of_resctrls_own_directories_are_refused() {
        for name in RESERVED {
            let json = format!(r#"{{"closID":"{name}"}}"#);
            let rdt: IntelRdt<'_> = serde_json::from_str(&json).unwrap();
            assert_eq!(
                plan(&rdt, "c1").unwrap_err().pointer,
                "/linux/intelRdt/closID"
            );
            assert_eq!(
                plan(&IntelRdt::default(), name).unwrap_err().pointer,
                "/linux/intelRdt"
            );
        }
    }

    #[test]
    fn lines_are_in_the_order_of_the_spec() {
        let plan = planned(
            r#"{"schemata":["L2:0=f","MB:0=50"],"memBwSchema":"MB:0=20","l3CacheSchema":"L3:0=f"}"#,
        );
        assert_eq!(texts(&plan), ["L3:0=f", "MB:0=20", "L2:0=f", "MB:0=50"]);
        let pointers: Vec<_> = plan.lines.iter().map(|(_, p)| p.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/linux/intelRdt/l3CacheSchema",
                "/linux/intelRdt/memBwSchema",
                "/linux/intelRdt/schemata/0",
                "/linux/intelRdt/schemata/1"
            ]
        );
    }

    #[test]
    fn bandwidth_lines_in_the_cache_schema_give_way_to_mem_bw_schema() {
        let both = r#"{"l3CacheSchema":"MB:0=70\nL3:0=f","memBwSchema":"MB:0=20"}"#;
        assert_eq!(texts(&planned(both)), ["L3:0=f", "MB:0=20"]);
        let one = r#"{"l3CacheSchema":"MB:0=70\nL3:0=f"}"#;
        assert_eq!(texts(&planned(one)), ["MB:0=70", "L3:0=f"]);
    }

    #[test]
    fn a_group_that_exists_has_to_have_what_is_asked_for() {
        let existing = "    L3:0=00f;1=ff\n    MB:0= 20;1=100\n";
        let matches = |lines: &str| {
            planned(&format!(r#"{{"closID":"gold","schemata":{lines}}}"#)).require(existing)
        };
        for lines in [
            "[]",
            r#"["L3:0=f"]"#,
            r#"["L3:1=0xff; 0 = f;"]"#,
            r#"["MB:1=100","L3:0=0f"]"#,
            // The last one counts.
            r#"["L3:0=1","L3:0=f"]"#,
        ] {
            assert_eq!(matches(lines), Ok(()), "{lines}");
        }
        for (lines, at) in [
            (r#"["L3:0=1"]"#, 0),
            (r#"["L3:0=f","L3:2=f"]"#, 1),
            (r#"["L2:0=f"]"#, 0),
            (r#"["L3:0=f","MB:0=14"]"#, 1),
            (r#"["L3"]"#, 0),
            (r#"["L3:0"]"#, 0),
        ] {
            let error = matches(lines).unwrap_err();
            assert_eq!(
                error.pointer,
                format!("/linux/intelRdt/schemata/{at}"),
                "{lines}"
            );
        }
    }
}
