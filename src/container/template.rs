//! What `exec` gives its processes: the container's own process as it was configured,
//! with its namespaces and its filter. It is kept beside the state, so that `exec` reads
//! no config.json (which may have changed) and compiles nothing.

use serde::{Deserialize, Serialize};

use crate::config::spec::{Linux, Process, Seccomp, Text};
use crate::plan::seccomp::{Insn, Program};

/// The model of further processes.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct Template<'a> {
    /// `process` of config.json.
    pub process: Process<'a>,
    /// Of `linux`: personality, memory policy, and the label of mounts that are added.
    #[serde(default)]
    pub linux: Linux<'a>,
    /// `CLONE_NEW*` of the namespaces that are not the caller's.
    pub namespaces: u64,
    /// Whether its mount namespace is another's, whose root is not its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shares_mounts: bool,
    /// Whether there is a session keyring of the container's own.
    pub keyring: bool,
    /// Whether setgroups(2) is denied in its user namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_groups: bool,
    /// The filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Filter<'a>>,
}

/// A compiled filter.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct Filter<'a> {
    /// Its instructions, sixteen hexadecimal digits each.
    insns: String,
    /// `SECCOMP_FILTER_FLAG_*`.
    flags: u32,
    /// Whether there is a listener.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    notify: bool,
    /// `listenerPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<Text<'a>>,
    /// `listenerMetadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<Text<'a>>,
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl<'a> Filter<'a> {
    /// A record of the program that was compiled from `section`.
    pub fn new(program: &Program, section: &Seccomp<'a>) -> Filter<'a> {
        let mut insns = String::with_capacity(program.insns.len() * 16);
        for insn in &program.insns {
            let number = u64::from(insn.code) << 48
                | u64::from(insn.jt) << 40
                | u64::from(insn.jf) << 32
                | u64::from(insn.k);
            for shift in (0..16).rev() {
                insns.push(DIGITS[(number >> (shift * 4)) as usize & 15].into());
            }
        }
        Filter {
            insns,
            flags: program.flags,
            notify: program.notify,
            listener_path: section.listener_path.clone(),
            listener_metadata: section.listener_metadata.clone(),
        }
    }

    /// The program again; `None` if the record is none.
    pub fn program(&self) -> Option<Program> {
        let insns = self.insns.as_bytes();
        let insn = |digits: &[u8]| {
            let number = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            Some(Insn {
                code: (number >> 48) as u16,
                jt: (number >> 40) as u8,
                jf: (number >> 32) as u8,
                k: number as u32,
            })
        };
        let whole = insns.len().is_multiple_of(16);
        Some(Program {
            insns: insns
                .chunks(16)
                .map(insn)
                .collect::<Option<_>>()
                .filter(|_| whole)?,
            flags: self.flags,
            notify: self.notify,
            warnings: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_comes_back_as_it_was() {
        let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
        let program = Program {
            insns: vec![insn(0x20, 0, 0, 4), insn(0x15, 255, 1, 0xc000_003e)],
            flags: 5,
            notify: true,
            warnings: Vec::new(),
        };
        let filter = Filter::new(&program, &Seccomp::default());
        assert_eq!(filter.program(), Some(program));
    }

    #[test]
    fn a_filter_that_was_cut_short_is_none() {
        for insns in ["0", "00200000000000040", "002000000000000g"] {
            let filter = Filter {
                insns: insns.to_owned(),
                ..Filter::default()
            };
            assert_eq!(filter.program(), None, "{insns}");
        }
    }

    #[test]
    fn a_process_comes_back_as_it_was() {
        let json = r#"{"process":{"user":{"uid":5,"umask":0,"additionalGids":[7]},"args":["a\n"],
            "cwd":"/","capabilities":{"bounding":["CAP_KILL"]},"noNewPrivileges":true,
            "rlimits":[{"type":"RLIMIT_CORE","soft":0,"hard":0}],"oomScoreAdj":0,
            "execCPUAffinity":{"final":"0"}},"namespaces":1,"keyring":true,
            "linux":{"personality":{"domain":"LINUX32"}}}"#;
        let template: Template<'_> = serde_json::from_str(json).unwrap();
        let text = serde_json::to_string(&template).unwrap();
        assert_eq!(
            serde_json::from_str::<Template<'_>>(&text).unwrap(),
            template
        );
        assert_eq!(template.process.user.umask, Some(0));
        assert_eq!(template.process.oom_score_adj, Some(0));
    }
}
