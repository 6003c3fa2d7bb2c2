//! `process`, and the file of `exec --process`.

use crate::config::error::{ConfigError, Warning};
use crate::config::names;
use crate::config::place::Place;
use crate::config::spec::{Capabilities, Process, Rlimit, Text, User};

use super::paths;
use super::scheduling;

/// How many supplementary groups a process can have (`NGROUPS_MAX`,
/// setgroups(2)).
const GROUPS_MAX: usize = 65536;

/// Checks a process.
pub(super) fn check(
    at: &Place<'_>,
    process: &Process<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ConfigError> {
    check_args(&at.member("args"), &process.args)?;
    let cwd = at.member("cwd");
    paths::require_absolute(&cwd, "the working directory", &process.cwd)?;
    let env = at.member("env");
    for (index, variable) in process.env.iter().enumerate() {
        check_variable(variable).map_err(|problem| env.element(index).error(problem))?;
    }
    check_user(&at.member("user"), &process.user)?;
    if let Some(capabilities) = &process.capabilities {
        check_capabilities(&at.member("capabilities"), capabilities, warnings)?;
    }
    check_rlimits(&at.member("rlimits"), &process.rlimits)?;
    if let Some(score) = process.oom_score_adj
        && !(-1000..=1000).contains(&score)
    {
        return Err(at
            .member("oomScoreAdj")
            .error(format_args!("{score} is out of range (-1000 to 1000)")));
    }
    if let Some(scheduler) = &process.scheduler {
        scheduling::check_scheduler(&at.member("scheduler"), scheduler)?;
    }
    if let Some(priority) = &process.io_priority {
        scheduling::check_io_priority(&at.member("ioPriority"), priority)?;
    }
    if let Some(affinity) = &process.exec_cpu_affinity {
        scheduling::check_cpu_affinity(&at.member("execCPUAffinity"), affinity)?;
    }
    Ok(())
}

fn check_user(at: &Place<'_>, user: &User<'_>) -> Result<(), ConfigError> {
    if user.additional_gids.len() > GROUPS_MAX {
        return Err(at.member("additionalGids").error(format_args!(
            "{} groups are too many (at most {GROUPS_MAX})",
            user.additional_gids.len()
        )));
    }
    match user.umask {
        Some(umask) if umask > 0o777 => Err(at
            .member("umask")
            .error(format_args!(
                "{umask} (octal {umask:o}) is not a mask of permission bits (0 to 511, octal 777)"
            ))
            .with_hint("JSON numbers are decimal: octal 022 is 18")),
        _ => Ok(()),
    }
}

fn check_args(at: &Place<'_>, args: &[Text<'_>]) -> Result<(), ConfigError> {
    match args.first() {
        None => Err(at
            .error("args must not be empty")
            .with_hint("the first one is the program")),
        // The words that Docker and Podman look for.
        Some(program) if program.is_empty() => Err(at
            .element(0)
            .error("exec: \"\": executable file not found in $PATH")),
        Some(_) => Ok(()),
    }
}

/// Why `variable` is not `NAME=value`, which runc refuses too. The text is not
/// repeated: it may hold a secret.
pub(super) fn check_variable(variable: &str) -> Result<(), &'static str> {
    match variable.find('=') {
        None => Err("invalid environment variable: there is no \"=\" in it"),
        Some(0) => Err("invalid environment variable: its name is empty"),
        Some(_) => Ok(()),
    }
}

fn check_capabilities(
    at: &Place<'_>,
    capabilities: &Capabilities<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ConfigError> {
    let mut read = |name, list: &[Text<'_>]| read_set(&at.member(name), list, warnings);
    read("bounding", &capabilities.bounding);
    let effective = read("effective", &capabilities.effective);
    let inheritable = read("inheritable", &capabilities.inheritable);
    let permitted = read("permitted", &capabilities.permitted);
    let ambient = read("ambient", &capabilities.ambient);

    // capset(2) fails with EPERM.
    if let Some(name) = first_name(effective & !permitted) {
        return Err(at
            .member("effective")
            .error(format_args!("{name} is effective but not permitted"))
            .with_hint("add it to /process/capabilities/permitted"));
    }
    // The kernel cannot raise these (capabilities(7)); runc goes on without.
    let lost = ambient & !(permitted & inheritable);
    if let Some(name) = first_name(lost) {
        warnings.push(at.member("ambient").warning(format_args!(
            "{name} cannot be ambient since it is not both permitted and inheritable; ignored"
        )));
    }
    Ok(())
}

/// A set of capabilities as a mask; a name that is not known is warned of and
/// left out, as the specification wants.
fn read_set(at: &Place<'_>, list: &[Text<'_>], warnings: &mut Vec<Warning>) -> u64 {
    let mut mask = 0;
    for (index, name) in list.iter().enumerate() {
        match names::position(&names::CAPABILITIES, name) {
            Some(number) => mask |= 1 << number,
            None => {
                let place = at.element(index);
                let hint = names::nearest(&names::CAPABILITIES, name);
                warnings.push(match hint {
                    Some(known) => place.warning(format_args!(
                        "unknown capability {name:?} is ignored; did you mean {known:?}?"
                    )),
                    None => place.warning(format_args!("unknown capability {name:?} is ignored")),
                });
            }
        }
    }
    mask
}

/// The name of the lowest capability in `mask`.
fn first_name(mask: u64) -> Option<&'static str> {
    names::CAPABILITIES
        .get(mask.trailing_zeros() as usize)
        .copied()
}

fn check_rlimits(at: &Place<'_>, rlimits: &[Rlimit<'_>]) -> Result<(), ConfigError> {
    let mut seen = [false; names::RLIMITS.len()];
    for (index, rlimit) in rlimits.iter().enumerate() {
        let place = at.element(index);
        let kind = place.member("type");
        let number = names::require_known(&kind, "resource limit", &names::RLIMITS, &rlimit.kind)?;
        if let Some(seen) = seen.get_mut(number)
            && std::mem::replace(seen, true)
        {
            return Err(kind.error(format_args!(
                "the resource limit {:?} is given twice",
                rlimit.kind
            )));
        }
        // setrlimit(2) fails with EINVAL.
        if rlimit.soft > rlimit.hard {
            return Err(place.error(format_args!(
                "the soft limit {} is above the hard limit {}",
                rlimit.soft, rlimit.hard
            )));
        }
    }
    Ok(())
}
