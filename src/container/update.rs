//! New limits for a container.

use std::fmt;

use super::pause::lock;
use super::{Entry, State, Status, StoreError};
use crate::cgroup::{CgroupError, Cgroupfs, DELEGATION};
use crate::config::spec::{IntelRdt, Resources};
use crate::config::{ConfigError, check_update};
use crate::plan::cgroup::plan_update;
use crate::plan::rdt;

/// What is to be changed.
#[derive(Debug, Default)]
pub struct Change<'a> {
    /// The limits; what is not in it stays as it is.
    pub resources: Resources<'a>,
    /// Whether its device rules replace those of the container. runc leaves them alone, and
    /// engines send rules that are not all that somebody has allowed since.
    pub devices: bool,
    /// Lines for the container's class of service.
    pub rdt: Option<IntelRdt<'a>>,
}

/// Why limits were not changed. Pointers are those of config.json.
#[derive(Debug)]
pub enum UpdateError {
    /// The state directory.
    Store(StoreError),
    /// It has ended, or is not there yet.
    NotRunning(Status),
    /// It has no cgroup of its own.
    NoCgroup(String),
    /// A value that cannot be, or a refusal of resctrl.
    Config(ConfigError),
    /// The cgroup.
    Cgroup(CgroupError),
}

impl UpdateError {
    /// The same with another name for the place that it is about.
    #[must_use]
    pub fn renamed(self, name: impl Fn(&str) -> String) -> UpdateError {
        match self {
            UpdateError::Config(mut error) => {
                error.file = Some(name(&error.pointer));
                error.pointer = String::new();
                UpdateError::Config(error)
            }
            UpdateError::Cgroup(error) => {
                let name = error.pointer().map(name);
                UpdateError::Cgroup(match name {
                    Some(name) => error.at(&name),
                    None => error,
                })
            }
            other => other,
        }
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpdateError::Store(error) => error.fmt(f),
            // runc's words come first.
            UpdateError::NotRunning(Status::Stopped) => f.write_str("container not running"),
            UpdateError::NotRunning(status) => write!(f, "container not running: it is {status}"),
            UpdateError::NoCgroup(id) => write!(
                f,
                "cannot set limits for container {id}: it has no cgroup of its own \
                 (it was made with --cgroup-manager=disabled or without the right to make one; {DELEGATION})"
            ),
            UpdateError::Config(error) => error.fmt(f),
            UpdateError::Cgroup(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for UpdateError {}

impl From<StoreError> for UpdateError {
    fn from(error: StoreError) -> Self {
        UpdateError::Store(error)
    }
}

impl From<ConfigError> for UpdateError {
    fn from(error: ConfigError) -> Self {
        UpdateError::Config(error)
    }
}

impl From<CgroupError> for UpdateError {
    fn from(error: CgroupError) -> Self {
        UpdateError::Cgroup(error)
    }
}

/// Changes the limits of a created, running or paused container; gives what was asked for and
/// cannot be had, each with its pointer in front.
///
/// # Errors
/// What is wrong or refused. The container has its former limits then.
pub fn update(entry: &Entry, change: &Change<'_>) -> Result<Vec<String>, UpdateError> {
    check_update(&change.resources, change.rdt.as_ref())?;
    let (mut state, status) = lock(entry)?;
    if matches!(status, Status::Creating | Status::Stopped) {
        return Err(UpdateError::NotRunning(status));
    }
    let changes_limits = change.resources != Resources::default();
    if !state.cgroup.lists_processes() && changes_limits {
        return Err(UpdateError::NoCgroup(state.id));
    }
    let (former, warnings) = match changes_limits {
        true => {
            let cgroupfs = Cgroupfs::open()?;
            let now = state.cgroup.now(state.memory_swap);
            let plan = plan_update(&change.resources, change.devices, cgroupfs.host(), &now)
                .map_err(|error| ConfigError::new(error.pointer, error.message))?;
            (Some(state.cgroup.update(&plan)?), plan.warnings)
        }
        false => (None, Vec::new()),
    };
    match rest(entry, &mut state, change) {
        Ok(()) => Ok(warnings),
        Err(error) => {
            if let Some(former) = former {
                former.restore();
            }
            Err(error)
        }
    }
}

/// What follows the cgroup: the class of service and the record.
fn rest(entry: &Entry, state: &mut State, change: &Change<'_>) -> Result<(), UpdateError> {
    let memory = change.resources.memory.as_ref();
    let limit = memory.and_then(|memory| memory.limit);
    let asked = memory
        .and_then(|memory| memory.swap)
        .filter(|swap| *swap != 0);
    // Unlimited memory is unlimited swap too.
    let swap = asked
        .or(limit.filter(|limit| *limit == -1))
        .or(state.memory_swap);
    let changed = swap != state.memory_swap;
    let former_swap = std::mem::replace(&mut state.memory_swap, swap);
    let Some(rdt) = &change.rdt else {
        return match changed {
            true => Ok(entry.write_state(state)?),
            false => Ok(()),
        };
    };
    let plan = rdt::plan(rdt, &state.id)?;
    if let Some(record) = &state.rdt {
        let former = record.rewrite(&plan.lines)?;
        if changed && let Err(error) = entry.write_state(state) {
            record.restore(&former);
            return Err(error.into());
        }
        return Ok(());
    }
    // It is written down before it is made.
    state.rdt = Some(crate::rdt::intend(&plan)?);
    entry.write_state(state)?;
    let joined = enter(state, &plan);
    if joined.is_err()
        && let Some(record) = state.rdt.take()
    {
        record.undo();
        // The caller takes the limits back.
        state.memory_swap = former_swap;
        entry.write_state(state)?;
    }
    joined
}

/// Makes the class of service and puts every process of the container in.
fn enter(state: &mut State, plan: &rdt::RdtPlan) -> Result<(), UpdateError> {
    let Some(record) = &mut state.rdt else {
        return Ok(());
    };
    record.apply(plan, state.pid)?;
    Ok(record.add_running(&state.cgroup.processes()?)?)
}
