//! `process`: what is run, as whom and with which limits.

use std::ffi::CString;
use std::str::FromStr;

use super::path::c_string;
use crate::config::ConfigError;
use crate::config::names::RLIMITS;
use crate::config::spec::{Capabilities, Process, Rlimit, Text};

/// The capability sets as bits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySets {
    /// Limit of what execve can give.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// Kept by files that say so.
    pub inheritable: u64,
    /// Kept by ordinary programs.
    pub ambient: u64,
}

/// A resource limit with the kernel's number.
#[derive(Debug, PartialEq, Eq)]
pub struct RlimitPlan {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Value in force.
    pub soft: u64,
    /// Ceiling.
    pub hard: u64,
}

/// What is run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ProcessPlan {
    /// argv.
    pub args: Vec<CString>,
    /// envp, without an empty HOME.
    pub env: Vec<CString>,
    /// Whether HOME has to be found in the container's passwd file.
    pub needs_home: bool,
    /// Directories of PATH, for a program without a slash; `None` if PATH is not set or empty.
    pub search: Option<Vec<CString>>,
    /// Working directory.
    pub cwd: CString,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
    /// Capability sets; none are given when none are named (SECURITY-RULES 8).
    pub capabilities: CapabilitySets,
    /// no_new_privs.
    pub no_new_privileges: bool,
    /// Resource limits.
    pub rlimits: Vec<RlimitPlan>,
    /// oom_score_adj.
    pub oom_score_adj: Option<i64>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// The terminal's rows and columns.
    pub console_size: Option<(u16, u16)>,
    /// Files below procfs that carry security labels, and what is written.
    pub labels: Vec<(String, String)>,
    /// SELinux label of the new session keyring, which the process has to be able to use.
    pub key_label: Option<String>,
}

/// Plans the process.
///
/// # Errors
/// An unknown resource limit (checked before, but a plan never guesses).
pub fn plan(process: &Process<'_>) -> Result<ProcessPlan, ConfigError> {
    let value_of = |key: &str| {
        process
            .env
            .iter()
            .rev()
            .find_map(|e| e.strip_prefix(key)?.strip_prefix('='))
    };
    let needs_home = value_of("HOME").unwrap_or("").is_empty();
    Ok(ProcessPlan {
        args: process.args.iter().map(|a| c_string(a.as_str())).collect(),
        env: last_of_each(&process.env)
            .filter(|e| !(needs_home && e.starts_with("HOME=")))
            .map(c_string)
            .collect(),
        needs_home,
        search: value_of("PATH")
            .filter(|path| !path.is_empty())
            .map(|path| path.split(':').map(c_string).collect()),
        cwd: c_string(process.cwd.as_str()),
        uid: process.user.uid,
        gid: process.user.gid,
        groups: process.user.additional_gids.clone(),
        umask: process.user.umask.unwrap_or(0o022),
        capabilities: process
            .capabilities
            .as_ref()
            .map(capability_sets)
            .unwrap_or_default(),
        no_new_privileges: process.no_new_privileges,
        rlimits: process
            .rlimits
            .iter()
            .enumerate()
            .map(rlimit)
            .collect::<Result<_, _>>()?,
        oom_score_adj: process.oom_score_adj,
        terminal: process.terminal,
        console_size: process
            .console_size
            .as_ref()
            .map(|size| (size.height, size.width)),
        labels: labels(process),
        key_label: given(&process.selinux_label).map(str::to_owned),
    })
}

/// The variables, each name once: programs take the first of several, but the last
/// is what the writer meant (runc sets them one after the other).
fn last_of_each<'t>(env: &'t [Text<'_>]) -> impl Iterator<Item = &'t str> {
    let name = |e: &'t str| e.split_once('=').map_or(e, |(name, _)| name);
    env.iter().enumerate().filter_map(move |(index, e)| {
        let this = e.as_str();
        let later = &env[index + 1..];
        let again = later.iter().any(|l| name(l.as_str()) == name(this));
        (!again).then_some(this)
    })
}

fn rlimit((index, limit): (usize, &Rlimit<'_>)) -> Result<RlimitPlan, ConfigError> {
    let Some(resource) = RLIMITS.iter().position(|name| limit.kind == *name) else {
        return Err(ConfigError::new(
            format!("/process/rlimits/{index}/type"),
            format!("unknown resource limit \"{}\"", limit.kind),
        ));
    };
    Ok(RlimitPlan {
        resource: resource as u32,
        soft: limit.soft,
        hard: limit.hard,
    })
}

/// Bits of the names; those that are unknown are left out (the spec wants a
/// warning, which the check gives).
fn bits(names: &[Text<'_>]) -> u64 {
    names
        .iter()
        .filter_map(|name| caps::Capability::from_str(name).ok())
        .fold(0, |all, c| all | c.bitmask())
}

fn capability_sets(c: &Capabilities<'_>) -> CapabilitySets {
    CapabilitySets {
        bounding: bits(&c.bounding),
        effective: bits(&c.effective),
        permitted: bits(&c.permitted),
        inheritable: bits(&c.inheritable),
        // The kernel gives no other (capabilities(7)); the check warns of them.
        ambient: bits(&c.ambient) & bits(&c.permitted) & bits(&c.inheritable),
    }
}

impl CapabilitySets {
    /// Without those that the runtime cannot grant, and which those are (the
    /// spec: "SHOULD NOT fail", a warning is logged).
    pub fn limited_to(self, grantable: u64) -> (CapabilitySets, u64) {
        let all = self.bounding | self.effective | self.permitted | self.inheritable | self.ambient;
        let sets = CapabilitySets {
            bounding: self.bounding & grantable,
            effective: self.effective & grantable,
            permitted: self.permitted & grantable,
            inheritable: self.inheritable & grantable,
            ambient: self.ambient & grantable,
        };
        (sets, all & !grantable)
    }
}

/// The names of capability bits, for messages.
pub fn capability_names(bits: u64) -> String {
    let mut names: Vec<String> = caps::all()
        .into_iter()
        .filter(|c| bits & c.bitmask() != 0)
        .map(|c| c.to_string())
        .collect();
    names.sort();
    names.join(", ")
}

/// A text that is there and not empty.
fn given<'t>(text: &'t Option<Text<'_>>) -> Option<&'t str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// AppArmor's file is its own (Linux 5.8); the plain one is SELinux's.
fn labels(process: &Process<'_>) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    if let Some(profile) = given(&process.apparmor_profile) {
        labels.push((
            "self/attr/apparmor/exec".to_owned(),
            format!("exec {profile}"),
        ));
    }
    if let Some(label) = given(&process.selinux_label) {
        labels.push(("self/attr/exec".to_owned(), label.to_owned()));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_json(json: &str) -> ProcessPlan {
        let process: Process<'_> = serde_json::from_str(json).unwrap();
        plan(&process).unwrap()
    }

    #[test]
    fn an_empty_or_missing_home_is_looked_up_and_a_given_one_kept() {
        assert!(plan_json(r#"{"env":["A=1"]}"#).needs_home);
        let p = plan_json(r#"{"env":["HOME=","A=1"]}"#);
        assert!(p.needs_home);
        assert_eq!(p.env, [c"A=1".to_owned()]);
        assert!(!plan_json(r#"{"env":["HOME=/x"]}"#).needs_home);
    }

    #[test]
    fn of_two_variables_with_one_name_the_last_counts() {
        let p = plan_json(r#"{"env":["HOME=/x","A=1","AB=3","A=2"]}"#);
        assert_eq!(p.env, [c"HOME=/x", c"AB=3", c"A=2"].map(CString::from));
    }

    #[test]
    fn the_last_path_is_what_programs_are_searched_in() {
        let p = plan_json(r#"{"env":["PATH=/a","PATH=/b:/c"]}"#);
        assert_eq!(p.search, Some(vec![c"/b".to_owned(), c"/c".to_owned()]));
        assert_eq!(plan_json("{}").search, None);
        assert_eq!(plan_json(r#"{"env":["PATH="]}"#).search, None);
    }

    #[test]
    fn unknown_capabilities_are_left_out() {
        let p = plan_json(r#"{"capabilities":{"bounding":["CAP_CHOWN","CAP_NOT_YET"]}}"#);
        assert_eq!(p.capabilities.bounding, 1);
    }

    #[test]
    fn without_capabilities_in_the_config_there_are_none() {
        let none = CapabilitySets::default();
        assert_eq!(plan_json("{}").capabilities, none);
        assert_eq!(plan_json(r#"{"capabilities":null}"#).capabilities, none);
    }

    #[test]
    fn what_cannot_be_granted_is_named_and_left_out() {
        let sets = CapabilitySets {
            bounding: 0b111,
            permitted: 0b101,
            ..CapabilitySets::default()
        };
        let (limited, missing) = sets.limited_to(0b011);
        assert_eq!(
            (limited.bounding, limited.permitted, missing),
            (0b011, 0b001, 0b100)
        );
        assert_eq!(capability_names(0b100), "CAP_DAC_READ_SEARCH");
    }

    #[test]
    fn limits_have_the_kernels_numbers() {
        let p = plan_json(r#"{"rlimits":[{"type":"RLIMIT_NOFILE","soft":3,"hard":4}]}"#);
        assert_eq!(
            p.rlimits,
            // RLIMIT_NOFILE of asm-generic/resource.h; the type of libc's constant differs
            // between glibc and musl.
            [RlimitPlan {
                resource: 7,
                soft: 3,
                hard: 4
            }]
        );
    }

    #[test]
    fn all_sixteen_limits_have_the_kernels_numbers_in_its_order() {
        // include/uapi/asm-generic/resource.h.
        for (name, number) in [
            ("RLIMIT_CPU", 0),
            ("RLIMIT_FSIZE", 1),
            ("RLIMIT_DATA", 2),
            ("RLIMIT_STACK", 3),
            ("RLIMIT_CORE", 4),
            ("RLIMIT_RSS", 5),
            ("RLIMIT_NPROC", 6),
            ("RLIMIT_NOFILE", 7),
            ("RLIMIT_MEMLOCK", 8),
            ("RLIMIT_AS", 9),
            ("RLIMIT_LOCKS", 10),
            ("RLIMIT_SIGPENDING", 11),
            ("RLIMIT_MSGQUEUE", 12),
            ("RLIMIT_NICE", 13),
            ("RLIMIT_RTPRIO", 14),
            ("RLIMIT_RTTIME", 15),
        ] {
            let p = plan_json(&format!(r#"{{"rlimits":[{{"type":"{name}"}}]}}"#));
            assert_eq!(p.rlimits[0].resource, number, "{name}");
        }
    }

    #[test]
    fn labels_go_to_the_files_of_their_module_and_to_the_keyring() {
        let p = plan_json(r#"{"apparmorProfile":"docker-default","selinuxLabel":"a:b:c:d"}"#);
        let wanted = [
            ("self/attr/apparmor/exec", "exec docker-default"),
            ("self/attr/exec", "a:b:c:d"),
        ];
        assert_eq!(p.labels, wanted.map(|(f, v)| (f.to_owned(), v.to_owned())));
        assert_eq!(p.key_label.as_deref(), Some("a:b:c:d"));
        let p = plan_json(r#"{"apparmorProfile":"","selinuxLabel":""}"#);
        assert_eq!((p.labels, p.key_label), (vec![], None));
    }

    #[test]
    fn the_umask_is_0022_unless_told_otherwise() {
        assert_eq!(plan_json("{}").umask, 0o022);
        assert_eq!(plan_json(r#"{"user":{"umask":0}}"#).umask, 0);
    }
}
