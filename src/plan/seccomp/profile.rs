//! Reads `linux.seccomp` into rules: words become numbers, and whatever is wrong in the
//! text is found here. No table of system calls is looked at.

use std::ops::Range;

use super::words::{
    Action, ArchName, FLAG_NAMES, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV,
    Operator, flag_bit,
};
use super::{Arch, SeccompError};
use crate::config::spec::{Seccomp, SeccompArg, SeccompSyscall, Text};

/// A system call has six arguments.
const ARGUMENTS: u32 = 6;
/// The most that fits in the data part of a filter's return value.
const DATA_MAX: u32 = 0xffff;

/// A section that is well formed.
pub(super) struct Profile<'s> {
    /// What the filter returns for a call without a rule.
    pub default_ret: u32,
    /// Whether calls newer than all that the profile names get ENOSYS.
    pub enosys_tail: bool,
    /// The architectures asked for that the compiler knows, without doubles.
    pub archs: Vec<Arch>,
    /// The flags for seccomp(2).
    pub flags: u32,
    /// Whether some rule notifies a listener.
    pub notify: bool,
    /// The rules, in the order and with the indexes of `syscalls`.
    pub rules: Vec<Rule<'s>>,
    /// The clauses of all rules.
    pub clauses: Vec<Clause>,
    /// The conditions of all clauses.
    pub conditions: Vec<Condition>,
}

/// One element of `syscalls`.
pub(super) struct Rule<'s> {
    /// The system calls it is for.
    pub names: &'s [Text<'s>],
    /// What the filter returns for them.
    pub ret: u32,
    /// It says what the default says, so it makes no difference.
    pub redundant: bool,
    /// Its clauses, one of which must hold; none for a rule without conditions.
    pub clauses: Range<usize>,
}

/// Conditions that hold together, and what follows.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    /// The rule that it comes from.
    pub rule: usize,
    /// What the filter returns where all conditions hold.
    pub ret: u32,
    /// The conditions, by rising argument.
    pub conditions: Range<usize>,
}

/// A comparison of one argument: `argument & mask OP datum`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Condition {
    /// 0 to 5.
    pub arg: u32,
    /// `Operator::MaskedEq` alone has a mask with zeros.
    pub op: Operator,
    /// The bits that count.
    pub mask: u64,
    /// What they are compared with.
    pub datum: u64,
}

impl Condition {
    /// Whether it holds for every value. As in libseccomp a mask without bits is the only
    /// such condition that is seen, which matters where rules overlap.
    pub(super) fn is_empty(&self, narrow: bool) -> bool {
        let width = if narrow {
            u64::from(u32::MAX)
        } else {
            u64::MAX
        };
        self.mask & width == 0
    }
}

impl<'s> Profile<'s> {
    /// Reads a section; nothing where it has neither a default nor rules, which runc takes
    /// as "no filter".
    pub(super) fn parse(section: &'s Seccomp<'_>) -> Result<Option<Profile<'s>>, SeccompError> {
        if section.default_action.is_empty() && section.syscalls.is_empty() {
            return Ok(None);
        }
        let default = action(&section.default_action, || "/defaultAction".into())?;
        if default == Action::Notify {
            return Err(SeccompError::new(
                "/defaultAction",
                "SCMP_ACT_NOTIFY cannot be the default action: the runtime's own calls would wait for the listener",
            ));
        }
        check_errno(default, section.default_errno_ret, || {
            "/defaultErrnoRet".into()
        })?;
        let mut profile = Profile {
            default_ret: default.ret(section.default_errno_ret),
            enosys_tail: !default.is_permissive(),
            archs: archs(section)?,
            flags: flags(section)?,
            notify: false,
            rules: Vec::with_capacity(section.syscalls.len()),
            clauses: Vec::new(),
            conditions: Vec::new(),
        };
        for (at, syscall) in section.syscalls.iter().enumerate() {
            profile.add_rule(at, syscall)?;
        }
        if profile.notify {
            if section
                .listener_path
                .as_ref()
                .is_none_or(|path| path.is_empty())
            {
                return Err(SeccompError::new(
                    "/listenerPath",
                    "a rule with SCMP_ACT_NOTIFY needs the path of the listener's socket here",
                ));
            }
            profile.flags |= FLAG_NEW_LISTENER;
        } else {
            // The kernel refuses it without a listener (kernel/seccomp.c, seccomp_set_mode_filter).
            profile.flags &= !FLAG_WAIT_KILLABLE_RECV;
        }
        Ok(Some(profile))
    }

    fn add_rule(&mut self, at: usize, syscall: &'s SeccompSyscall<'_>) -> Result<(), SeccompError> {
        let action = action(&syscall.action, || format!("/syscalls/{at}/action"))?;
        check_errno(action, syscall.errno_ret, || {
            format!("/syscalls/{at}/errnoRet")
        })?;
        for (index, name) in syscall.names.iter().enumerate() {
            if name.is_empty() {
                return Err(SeccompError::new(
                    &format!("/syscalls/{at}/names/{index}"),
                    "expected the name of a system call, found an empty string",
                ));
            }
            if action == Action::Notify && *name == "write" {
                return Err(SeccompError::new(
                    &format!("/syscalls/{at}/names/{index}"),
                    "SCMP_ACT_NOTIFY cannot be used for write: the runtime needs it to hand over the listener",
                ));
            }
        }
        self.notify |= action == Action::Notify && !syscall.names.is_empty();
        let ret = action.ret(syscall.errno_ret);
        let first = self.clauses.len();
        self.add_clauses(at, ret, &syscall.args)?;
        self.rules.push(Rule {
            names: &syscall.names,
            ret,
            redundant: ret == self.default_ret,
            clauses: first..self.clauses.len(),
        });
        Ok(())
    }

    /// One clause with all conditions; but where an argument has several, one clause for
    /// each condition, as runc does.
    fn add_clauses(
        &mut self,
        rule: usize,
        ret: u32,
        args: &[SeccompArg<'_>],
    ) -> Result<(), SeccompError> {
        let first = self.conditions.len();
        let mut seen = 0u32;
        let mut doubled = false;
        for (index, arg) in args.iter().enumerate() {
            let condition = condition(arg, &format_args!("/syscalls/{rule}/args/{index}"))?;
            doubled |= seen & (1 << condition.arg) != 0;
            seen |= 1 << condition.arg;
            self.conditions.push(condition);
        }
        let all = first..self.conditions.len();
        if doubled {
            self.clauses.extend(all.map(|at| Clause {
                rule,
                ret,
                conditions: at..at + 1,
            }));
        } else if !all.is_empty() {
            self.conditions[all.clone()].sort_by_key(|condition| condition.arg);
            self.clauses.push(Clause {
                rule,
                ret,
                conditions: all,
            });
        }
        Ok(())
    }
}

fn action(name: &str, pointer: impl Fn() -> String) -> Result<Action, SeccompError> {
    Action::parse(name)
        .ok_or_else(|| SeccompError::unknown(&pointer(), "an action", name, &Action::NAMES))
}

fn check_errno(
    action: Action,
    errno: Option<u32>,
    pointer: impl Fn() -> String,
) -> Result<(), SeccompError> {
    match errno {
        Some(value) if action.takes_errno() && value > DATA_MAX => Err(SeccompError::new(
            &pointer(),
            &format!("expected an errno of at most {DATA_MAX}, found {value}"),
        )),
        _ => Ok(()),
    }
}

fn archs(section: &Seccomp<'_>) -> Result<Vec<Arch>, SeccompError> {
    let mut archs = Vec::with_capacity(section.architectures.len() + 1);
    for (index, name) in section.architectures.iter().enumerate() {
        match ArchName::parse(name) {
            Some(ArchName::Known(arch)) if !archs.contains(&arch) => archs.push(arch),
            Some(_) => {}
            None => {
                return Err(SeccompError::unknown(
                    &format!("/architectures/{index}"),
                    "an architecture",
                    name,
                    &super::words::ARCH_NAMES,
                ));
            }
        }
    }
    Ok(archs)
}

/// The flags given; SPEC_ALLOW where there is no list (an empty one asks for none), as runc does, so that the speculation
/// mitigations of older kernels do not slow every container down.
fn flags(section: &Seccomp<'_>) -> Result<u32, SeccompError> {
    let Some(given) = &section.flags else {
        return Ok(FLAG_SPEC_ALLOW);
    };
    let mut flags = 0;
    for (index, name) in given.iter().enumerate() {
        flags |= flag_bit(name).ok_or_else(|| {
            SeccompError::unknown(&format!("/flags/{index}"), "a flag", name, &FLAG_NAMES)
        })?;
    }
    Ok(flags)
}

fn condition(
    arg: &SeccompArg<'_>,
    pointer: &std::fmt::Arguments<'_>,
) -> Result<Condition, SeccompError> {
    if arg.index >= ARGUMENTS {
        return Err(SeccompError::new(
            &format!("{pointer}/index"),
            &format!(
                "expected an argument from 0 to {}, found {}",
                ARGUMENTS - 1,
                arg.index
            ),
        ));
    }
    let op = Operator::parse(&arg.op).ok_or_else(|| {
        SeccompError::unknown(
            &format!("{pointer}/op"),
            "an operator",
            &arg.op,
            &Operator::NAMES,
        )
    })?;
    let (mask, datum) = match op {
        Operator::MaskedEq => (arg.value, arg.value_two & arg.value),
        _ => (u64::MAX, arg.value),
    };
    Ok(Condition {
        arg: arg.index,
        op,
        mask,
        datum,
    })
}
