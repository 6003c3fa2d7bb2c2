//! New limits for a container that has some, and the way back if one of them is refused.

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::former::way_back;
use super::{Cgroup, CgroupError, Record, file, levels};
use crate::plan::cgroup::systemd;
use crate::plan::cgroup::{CgroupPlan, CpuMax, Missing, Now, Phase, Version, Write, exchanged};

/// Where a user gets a cgroup whose limits he may set.
pub const DELEGATION: &str = "a user other than root needs a cgroup that was delegated to him: cgroup v2 and, with \
     systemd, `systemd-run --user --scope -p Delegate=yes`";

/// The values that were there before an update.
#[derive(Debug)]
pub struct Former {
    cgroup: Cgroup,
    values: Vec<Value>,
    /// Directory and text of v1's list of devices, if the rules are replaced.
    devices: Option<(usize, String)>,
    /// Whether systemd knows the new ones.
    told: bool,
}

/// What one file said.
#[derive(Debug)]
struct Value {
    path: String,
    text: String,
    back: String,
}

impl Record {
    /// What new limits have to be seen together with. `memory_swap` is what was last asked for.
    pub fn now(&self, memory_swap: Option<i64>) -> Now {
        let v2 = self.on_v2();
        let read = |name: &str| {
            let path = format!("{}/{name}", self.absolute(v2?));
            file::read(CWD, &path).ok()
        };
        Now {
            memory_max: read("memory.max").and_then(|text| text.parse().ok()),
            memory_swap,
            cpu_max: read("cpu.max").and_then(|text| CpuMax::parse(&text)),
        }
    }

    /// Sets the limits of `plan` (of [`crate::plan::cgroup::plan_update`]).
    ///
    /// # Errors
    /// The first that the kernel refuses; all have their former values again then, as far as
    /// the kernel takes them.
    pub fn update(&self, plan: &CgroupPlan) -> Result<Former, CgroupError> {
        let cgroup = self.open_for(plan)?;
        self.enable(&cgroup, plan)?;
        let values = cgroup.former(plan);
        let rules = plan.writes.iter().find(|w| w.phase == Phase::Devices);
        let devices = match rules {
            Some(rule) => Some((rule.directory, cgroup.device_list(rule.directory)?)),
            None => None,
        };
        let former = Former {
            cgroup,
            values,
            devices,
            told: false,
        };
        match former.replace(plan, self) {
            Ok(()) => former.tell_systemd(plan, self),
            Err(error) => {
                former.restore();
                Err(explained(error))
            }
        }
    }

    /// Opens the directories of `plan`, in its order.
    fn open_for(&self, plan: &CgroupPlan) -> Result<Cgroup, CgroupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, self.root.as_str(), flags, Mode::empty())
            .map_err(|errno| CgroupError::kernel("open", self.root.as_str(), errno))?;
        let mut cgroup = Cgroup::new(root.into(), self.clone(), false);
        cgroup.directories.clear();
        for wanted in &plan.directories {
            let v2 = wanted.version == Version::V2;
            let own = self
                .directories
                .iter()
                .find(|own| own.v2 == v2 && (v2 || own.hierarchy == wanted.hierarchy));
            // A hierarchy that was mounted since: only what is to be set there is missed.
            cgroup
                .directories
                .push(own.map_or_else(String::new, |own| self.relative(own)));
        }
        let missing = plan
            .writes
            .iter()
            .find(|write| cgroup.directories[write.directory].is_empty());
        if let Some(write) = missing {
            let hierarchy = plan.directories[write.directory].hierarchy.clone();
            let state = "the container has no cgroup in this hierarchy";
            return Err(CgroupError::state("set a limit in", hierarchy, state).at(&write.pointer));
        }
        if let Some(program) = &plan.device_program {
            let path = cgroup.directories[program.directory].clone();
            cgroup.open(program.directory, &path, Version::V2)?;
        }
        Ok(cgroup)
    }

    /// Enables the controllers of cgroup v2 that a limit needs and no limit needed before.
    fn enable(&self, cgroup: &Cgroup, plan: &CgroupPlan) -> Result<(), CgroupError> {
        for (index, directory) in plan.directories.iter().enumerate() {
            let mut needed = directory.controllers.clone();
            needed.retain(|controller| controller.needed_by.is_some());
            if needed.is_empty() {
                continue;
            }
            let path = &cgroup.directories[index];
            let hierarchy = &directory.hierarchy;
            let root = cgroup.root.as_fd();
            let mut made = Vec::new();
            levels::prepare(root, &self.root, hierarchy, path, &needed, &mut made)
                .map_err(explained)?;
        }
        Ok(())
    }
}

impl Cgroup {
    fn device_list(&self, directory: usize) -> Result<String, CgroupError> {
        let list = format!("{}/devices.list", self.directories[directory]);
        file::read_all(self.root.as_fd(), &list)
            .map_err(|errno| CgroupError::kernel("read", self.shown(&list), errno))
    }

    /// Writes a whole new list of device rules. Between two writes too much or too little is
    /// allowed, so nobody may run then.
    fn begin_anew(&self, plan: &CgroupPlan, record: &Record) -> Result<(), CgroupError> {
        let freezes = record.can_freeze() && !record.frozen();
        if freezes {
            record.freeze()?;
        }
        let written = self.write_all(plan, Phase::Devices);
        if freezes {
            record.thaw()?;
        }
        written
    }

    /// What the files that `plan` writes say now.
    fn former(&self, plan: &CgroupPlan) -> Vec<Value> {
        let limits = plan.writes.iter().filter(|w| w.phase != Phase::Devices);
        let mut values: Vec<Value> = Vec::new();
        for write in limits {
            let mut names = vec![(write.file.as_ref(), write.value.as_str())];
            if let Missing::Instead(file, value) = &write.missing {
                names.push((file, value));
            }
            for (name, value) in names {
                let path = format!("{}/{name}", self.directories[write.directory]);
                let Ok(text) = file::read_all(self.root.as_fd(), &path) else {
                    continue;
                };
                if let Some(back) = way_back(name, value, &text) {
                    values.push(Value { path, text, back });
                }
                break;
            }
        }
        values
    }
}

impl Former {
    /// Tells systemd what the files say now, where it made the cgroup. It comes after them: they
    /// are checked against what is in use, and what the kernel refuses is not told. systemd
    /// writes them again, rounded as it knows them, so they are written once more.
    fn tell_systemd(mut self, plan: &CgroupPlan, record: &Record) -> Result<Former, CgroupError> {
        if record.unit.is_none() {
            return Ok(self);
        }
        let (limits, _) = systemd::limits(plan);
        let result = record.tell_systemd(&limits).and_then(|()| {
            self.told = true;
            let limits = plan.writes.iter().filter(|w| w.phase != Phase::Devices);
            self.cgroup.write_these(limits)
        });
        match result {
            Ok(()) => Ok(self),
            Err(error) => {
                self.restore();
                Err(error)
            }
        }
    }

    fn replace(&self, plan: &CgroupPlan, record: &Record) -> Result<(), CgroupError> {
        let cgroup = &self.cgroup;
        cgroup.write_these(plan.writes.iter().filter(|w| w.phase != Phase::Devices))?;
        let Some((_, list)) = &self.devices else {
            return cgroup.apply_devices(plan);
        };
        let rules = || plan.writes.iter().filter(|w| w.phase == Phase::Devices);
        let lines = rules().map(|write| (write.file.as_ref(), write.value.as_str()));
        let Some(changes) = exchanged(lines, list) else {
            return cgroup.begin_anew(plan, record);
        };
        for (name, value) in changes {
            // The rule's own place in the configuration, where it has one.
            let rule = rules().find(|write| write.value == value);
            if let Some(rule) = rule.or(rules().next()) {
                cgroup.write_these(std::iter::once(&Write {
                    file: name.into(),
                    value,
                    ..rule.clone()
                }))?;
            }
        }
        Ok(())
    }

    /// Makes v1's list of devices what it was, if it can be told from its text.
    fn restore_devices(&self) -> Option<()> {
        let (directory, former) = self.devices.as_ref()?;
        let now = self.cgroup.device_list(*directory).ok()?;
        let allowed = || former.lines().map(|line| ("devices.allow", line));
        let anew = || std::iter::once(("devices.deny", "a")).chain(allowed());
        let changes = match exchanged(anew(), &now) {
            Some(changes) => changes,
            // The text of a list that allows everything does not say what it denies.
            None if former.starts_with("a ") => return None,
            None => anew()
                .map(|(file, value)| (file, value.to_owned()))
                .collect(),
        };
        for (name, value) in changes {
            let path = format!("{}/{name}", self.cgroup.directories[*directory]);
            let _ = file::write(self.cgroup.root.as_fd(), &path, &value);
        }
        Some(())
    }

    /// Writes the former values again. What the kernel does not take back stays as it is.
    pub fn restore(&self) {
        if self.told {
            let name = |value: &Value| value.path.rsplit('/').next().unwrap_or_default().to_owned();
            let values = self.values.iter();
            let limits = values.flat_map(|v| systemd::limit(&name(v), v.back.trim()));
            if let Err(error) = self
                .cgroup
                .record()
                .tell_systemd(&limits.collect::<Vec<_>>())
            {
                log::warn!("{error}");
            }
        }
        self.restore_devices();
        // Values that limit each other come back in an order that is found by trying.
        let mut left: Vec<&Value> = self.values.iter().rev().collect();
        loop {
            let before = left.len();
            left.retain(|value| !self.is_back(value));
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        for value in left {
            let path = self.cgroup.shown(&value.path);
            log::warn!("cannot take {path} back to {:?}", value.back);
        }
    }

    fn is_back(&self, value: &Value) -> bool {
        let root = self.cgroup.root.as_fd();
        let unchanged = file::read_all(root, &value.path).is_ok_and(|now| now == value.text);
        unchanged || file::write(root, &value.path, &value.back).is_ok()
    }
}

/// Says what it takes where the right is missing.
fn explained(error: CgroupError) -> CgroupError {
    let denied = matches!(
        error.errno(),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)
    );
    if denied && !rustix::process::geteuid().is_root() {
        return error.hint(DELEGATION);
    }
    error
}
