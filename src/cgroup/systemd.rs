//! What systemd does for a container's cgroup: it makes it, as a unit with the first process in
//! it, changes its limits, and removes it. Nothing else is asked of it: processes are joined,
//! listed, frozen and killed by the cgroup's files.

mod address;
mod bus;
#[cfg(test)]
mod tests;
mod wire;

use std::time::{Duration, Instant};

use self::bus::{Bus, Failure};
use self::wire::{Call, Kind, Writer};
use super::CgroupError;
use crate::plan::cgroup::systemd::{Property, Unit, Value};

/// How long systemd may take to make a unit, as in runc.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often systemd may be started anew under one call.
const MOST_LOSSES: u32 = 3;
/// Jobs of others for the same unit that are remembered while the answer is not there.
const MOST_JOBS: usize = 16;

const SYSTEMD: Call<'static> = Call {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "",
    signature: "",
};

const POINTER: &str = "/linux/cgroupsPath";

/// A systemd, connected to.
#[derive(Debug)]
pub struct Systemd {
    bus: Bus,
    user: bool,
}

/// Whether a process that calls itself root, perhaps in a user namespace only, is root to the
/// system's systemd: others cannot connect to its own socket.
pub fn serves_root() -> bool {
    std::os::unix::net::UnixStream::connect("/run/systemd/private").is_ok()
}

impl Systemd {
    /// Connects to the user's systemd, or the system's.
    ///
    /// # Errors
    /// There is none, or it cannot be reached.
    pub fn connect(user: bool) -> Result<Systemd, CgroupError> {
        let bus = Bus::connect(user, deadline());
        let bus = bus.map_err(|failure| unreachable(user, &failure))?;
        Ok(Systemd { bus, user })
    }

    /// The cgroup in which a user's systemd makes those of its units, without a slash at either
    /// end.
    ///
    /// # Errors
    /// It does not tell.
    pub fn control_group(&mut self) -> Result<String, CgroupError> {
        let path = self.property("ControlGroup", deadline());
        let path = path.map_err(|failure| unreachable(self.user, &failure))?;
        Ok(path.trim_matches('/').to_owned())
    }

    /// Starts the unit, with `process` in it if it is a scope, and waits until systemd is
    /// done with it.
    ///
    /// # Errors
    /// systemd refuses it, the job fails, or there is no answer in time.
    pub(super) fn start(&mut self, unit: &Unit, process: u32) -> Result<(), CgroupError> {
        let deadline = deadline();
        let mut properties: Vec<&Property> = unit.properties.iter().chain(&unit.limits).collect();
        let pid = Property {
            name: "PIDs".into(),
            value: Value::Array("u".to_owned(), vec![Value::Uint32(process)]),
            since: 0,
            pointer: POINTER.into(),
        };
        if !unit.is_slice() {
            properties.push(&pid);
        }
        let (mut reset, mut older, mut lost) = (false, false, 0);
        loop {
            let result = self.job(&unit.name, START, deadline, |body| {
                body.text(&unit.name);
                body.text("replace");
                body.properties(properties.iter().copied());
                body.no_units();
            });
            match result {
                Ok(result) if result == "done" => return Ok(()),
                Ok(result) => {
                    // Else the name stays taken.
                    let _ = self.reset_failed(&unit.name, deadline);
                    return Err(job_failed("start", self.user, &unit.name, &result));
                }
                Err(failure) if self.is_back(&failure, &mut lost, deadline) => {}
                // It was made before systemd was lost.
                Err(failure) if is_taken(&failure) && lost > 0 && holds(unit, process) => {
                    return Ok(());
                }
                // It may be left from one that failed.
                Err(failure) if is_taken(&failure) && !reset => {
                    reset = true;
                    let _ = self.reset_failed(&unit.name, deadline);
                }
                // Asking for the version first would cost every container a round trip.
                Err(Failure::Refused(..))
                    if !older && self.forget_newer(&mut properties, deadline) =>
                {
                    older = true;
                }
                Err(failure) => return Err(refused("start", &unit.name, &failure, &properties)),
            }
        }
    }

    /// Changes limits of a unit that runs, until it ends.
    ///
    /// # Errors
    /// As [`Systemd::start`].
    pub(super) fn set(&mut self, name: &str, limits: &[Property]) -> Result<(), CgroupError> {
        let deadline = deadline();
        let mut properties: Vec<&Property> = limits.iter().collect();
        let (mut older, mut lost) = (false, 0);
        loop {
            let call = Call {
                member: "SetUnitProperties",
                signature: "sba(sv)",
                ..SYSTEMD
            };
            let mut body = Writer::default();
            body.text(name);
            // For as long as the unit lives.
            body.u32(1);
            body.properties(properties.iter().copied());
            match self.call(call, &body, deadline) {
                // By now it has written the files (bus_scope_commit_properties in its source).
                Ok(()) => return Ok(()),
                Err(failure) if self.is_back(&failure, &mut lost, deadline) => {}
                Err(Failure::Refused(..))
                    if !older && self.forget_newer(&mut properties, deadline) =>
                {
                    older = true;
                }
                Err(failure) => return Err(refused("change", name, &failure, &properties)),
            }
        }
    }

    /// Stops the unit, waits for it, and lets systemd forget it. One that is gone is no error.
    ///
    /// # Errors
    /// systemd refuses, or does not answer in time.
    pub(super) fn stop(&mut self, name: &str, deadline: Instant) -> Result<(), CgroupError> {
        let mut lost = 0;
        loop {
            let result = self.job(name, STOP, deadline, |body| {
                body.text(name);
                body.text("replace");
            });
            match result {
                Ok(result) => {
                    if result != "done" {
                        log::warn!("{}", job_failed("stop", self.user, name, &result));
                    }
                    let _ = self.reset_failed(name, deadline);
                    return Ok(());
                }
                Err(Failure::Refused(error, _)) if error.ends_with(".NoSuchUnit") => return Ok(()),
                Err(failure) if self.is_back(&failure, &mut lost, deadline) => {}
                Err(failure) => return Err(refused("stop", name, &failure, &[])),
            }
        }
    }

    /// Whether systemd was lost under way and is there again: it is started anew when its package
    /// is upgraded.
    fn is_back(&mut self, failure: &Failure, lost: &mut u32, deadline: Instant) -> bool {
        const GONE: [&str; 4] = [
            ".NoReply",
            ".Disconnected",
            ".ServiceUnknown",
            ".NameHasNoOwner",
        ];
        let is_gone = match failure {
            Failure::Closed => true,
            Failure::Refused(name, _) => {
                GONE.iter().any(|end| name.ends_with(end)) || name.contains(".Spawn.")
            }
            _ => false,
        };
        *lost += u32::from(is_gone);
        if !is_gone || *lost > MOST_LOSSES {
            return false;
        }
        match Bus::connect_served(self.user, SYSTEMD.destination, deadline) {
            Ok(bus) => {
                self.bus = bus;
                true
            }
            Err(_) => false,
        }
    }

    /// Moves a process into the unit's cgroup, or one beneath it (`/NAME…`). A user may not write
    /// it there from another one of his that has a system's cgroup above; systemd may.
    ///
    /// # Errors
    /// As [`Systemd::start`].
    pub(super) fn attach(
        &mut self,
        name: &str,
        beneath: &str,
        pid: u32,
    ) -> Result<(), CgroupError> {
        let call = Call {
            member: "AttachProcessesToUnit",
            signature: "ssau",
            ..SYSTEMD
        };
        let mut body = Writer::default();
        body.text(name);
        body.text(beneath);
        body.numbers(&[pid]);
        self.call(call, &body, deadline())
            .map_err(|failure| refused("put the process into", name, &failure, &[]))
    }

    /// Calls a method that queues a job for the unit, and waits for the job's result.
    fn job(
        &mut self,
        unit: &str,
        call: Call<'_>,
        deadline: Instant,
        arguments: impl FnOnce(&mut Writer),
    ) -> Result<String, Failure> {
        let rule = format!(
            "type='signal',sender='{}',path='{}',interface='{}',member='JobRemoved',arg2='{unit}'",
            SYSTEMD.destination, SYSTEMD.path, SYSTEMD.interface
        );
        self.bus.subscribe(&rule, deadline)?;
        let mut body = Writer::default();
        arguments(&mut body);
        let serial = self.bus.send(call, &body, deadline)?;
        let mut job = None;
        let mut ended: Vec<(String, String)> = Vec::new();
        loop {
            if let Some(at) = ended
                .iter()
                .position(|(path, _)| Some(path) == job.as_ref())
            {
                return Ok(ended.swap_remove(at).1);
            }
            let message = self.bus.receive(deadline)?;
            if message.is(Kind::Signal) {
                let is_job =
                    message.member == "JobRemoved" && message.interface == SYSTEMD.interface;
                if is_job
                    && let [path, of, result] = message.texts("uoss")?[..]
                    && of == unit
                    && ended.len() < MOST_JOBS
                {
                    ended.push((path.to_owned(), result.to_owned()));
                }
            } else if message.answers(serial) {
                let message = bus::into_answer(message)?;
                job = message.texts("o")?.first().map(|path| (*path).to_owned());
            }
        }
    }

    fn call(&mut self, call: Call<'_>, body: &Writer, deadline: Instant) -> Result<(), Failure> {
        let serial = self.bus.send(call, body, deadline)?;
        self.bus.answer(serial, deadline).map(drop)
    }

    fn reset_failed(&mut self, unit: &str, deadline: Instant) -> Result<(), Failure> {
        let call = Call {
            member: "ResetFailedUnit",
            signature: "s",
            ..SYSTEMD
        };
        let mut body = Writer::default();
        body.text(unit);
        self.call(call, &body, deadline)
    }

    /// A property of systemd's own, which is a string.
    fn property(&mut self, name: &str, deadline: Instant) -> Result<String, Failure> {
        let call = Call {
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            signature: "ss",
            ..SYSTEMD
        };
        let mut body = Writer::default();
        body.text(SYSTEMD.interface);
        body.text(name);
        let serial = self.bus.send(call, &body, deadline)?;
        let answer = self.bus.answer(serial, deadline)?;
        match answer.texts("v")?.first() {
            Some(value) => Ok((*value).to_owned()),
            None => Err(Failure::Garbage),
        }
    }

    /// Leaves out what this systemd is too old for; whether there was anything.
    fn forget_newer(&mut self, properties: &mut Vec<&Property>, deadline: Instant) -> bool {
        if properties.iter().all(|property| property.since == 0) {
            return false;
        }
        let Ok(text) = self.property("Version", deadline) else {
            return false;
        };
        let Some(version) = version(&text) else {
            return false;
        };
        let before = properties.len();
        properties.retain(|property| property.since <= version);
        if properties.len() != before {
            log::debug!(
                "systemd {version} does not know all properties; the files have their values"
            );
        }
        properties.len() != before
    }
}

const START: Call<'static> = Call {
    member: "StartTransientUnit",
    signature: "ssa(sv)a(sa(sv))",
    ..SYSTEMD
};
const STOP: Call<'static> = Call {
    member: "StopUnit",
    signature: "ss",
    ..SYSTEMD
};

pub(super) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// The number in `252.36-1~deb12u1` or `v245.4-1.fc32`.
fn version(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches(['v', '"']);
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits.get(..end.unwrap_or(digits.len()))?.parse().ok()
}

fn is_taken(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused(name, _) if name.ends_with(".UnitExists"))
}

fn unreachable(user: bool, failure: &Failure) -> CgroupError {
    let (whose, hint) = match user {
        true => (
            "the user's systemd",
            "a user needs a session or lingering (loginctl enable-linger), and $XDG_RUNTIME_DIR; \
             --cgroup-manager=cgroupfs does without systemd",
        ),
        false => (
            "systemd",
            "is it process 1 here, and its socket visible? --cgroup-manager=cgroupfs does without it",
        ),
    };
    CgroupError::state("speak to", whose, failure.to_string()).hint(hint)
}

fn job_failed(action: &'static str, user: bool, unit: &str, result: &str) -> CgroupError {
    let hint = match result {
        "timeout" => "it took longer than systemd allows",
        "canceled" => "another job for the same unit took its place",
        "dependency" => "a unit that it depends on failed, most likely its slice",
        "skipped" => "there was nothing to do for systemd",
        _ => "the journal has the reason",
    };
    let state = format!("systemd's job ended with result {result:?}");
    let whose = if user { "--user " } else { "" };
    let hint = format!("{hint}: journalctl {whose}-u '{unit}'");
    CgroupError::state(action, shown(unit), state)
        .at(POINTER)
        .hint(hint)
}

fn shown(unit: &str) -> String {
    format!("the systemd unit {unit}")
}

/// Says what it means that systemd did not do it.
fn refused(
    action: &'static str,
    unit: &str,
    failure: &Failure,
    properties: &[&Property],
) -> CgroupError {
    let Failure::Refused(name, text) = failure else {
        let error = CgroupError::state(action, shown(unit), failure.to_string()).at(POINTER);
        return match failure {
            Failure::Silent => error.hint("systemd is busy or hangs: systemctl list-jobs"),
            _ => error,
        };
    };
    let error = CgroupError::refused(action, shown(unit), failure.to_string());
    // systemd names the property that it does not take.
    let names = |property: &&&Property| {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word == property.name)
    };
    let error = match properties.iter().find(names) {
        Some(property) => error.at(&property.pointer),
        None => error.at(POINTER),
    };
    match name.rsplit('.').next() {
        Some("UnitExists") => error
            .hint("another container or service has this unit: another name, or systemctl stop it"),
        Some("AccessDenied" | "InteractiveAuthorizationRequired") => {
            error.hint("only root may ask the system's systemd; a user has one of his own")
        }
        Some("NoSuchProcess") => error.hint("does the runtime share systemd's pid namespace?"),
        _ => error,
    }
}

/// Whether the process is in the unit's cgroup.
fn holds(unit: &Unit, process: u32) -> bool {
    let membership = std::fs::read_to_string(format!("/proc/{process}/cgroup"));
    membership.is_ok_and(|membership| {
        let mut lines = membership.lines();
        lines.any(|line| line.rsplit('/').next() == Some(unit.name.as_str()))
    })
}

/// The cgroup v2 path in `/proc/PID/cgroup`, without slashes around it, if it is the unit's.
pub(super) fn cgroup_of(membership: &str, unit: &str) -> Result<String, CgroupError> {
    let path = membership.lines().find_map(|line| line.strip_prefix("0::"));
    let path = path.unwrap_or_default().trim_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    // A name that could be a file of the cgroup gets a "_" before it.
    if last.strip_prefix('_').unwrap_or(last) == unit.strip_prefix('_').unwrap_or(unit) {
        return Ok(path.to_owned());
    }
    let state = format!("systemd has put the process into \"/{path}\"");
    Err(CgroupError::state("use", shown(unit), state).at(POINTER))
}
