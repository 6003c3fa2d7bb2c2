//! Collects the directories and writes of a plan.

use std::borrow::Cow;

use super::{
    CgroupPlan, Controller, Directory, Host, Missing, Now, Phase, ResourceError, Version, Write,
};

/// Controllers of cgroup v2 that are enabled without a limit too: `events` and `state` of the
/// container report what they count.
const COUNTED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Where a controller is: the interface, and an index into the plan's directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) version: Version,
    pub(super) directory: usize,
}

/// A plan in the making.
pub(super) struct Builder<'h> {
    host: &'h Host,
    now: Option<&'h Now>,
    plan: CgroupPlan,
}

impl<'h> Builder<'h> {
    pub(super) fn new(path: String, host: &'h Host) -> Self {
        Builder {
            host,
            now: None,
            plan: CgroupPlan::none(path),
        }
    }

    /// The same for a container that has limits already.
    pub(super) fn of_now(host: &'h Host, now: &'h Now) -> Self {
        Builder {
            now: Some(now),
            ..Builder::new(String::new(), host)
        }
    }

    /// What holds already, if the container is there.
    pub(super) fn now(&self) -> Option<&'h Now> {
        self.now
    }

    /// Gives the container a directory in every v1 hierarchy, or in the v2 one where it is alone.
    pub(super) fn add_hierarchies(&mut self) {
        for hierarchy in &self.host.hierarchies {
            self.plan.directories.push(Directory {
                hierarchy: hierarchy.directory.clone(),
                version: Version::V1,
                cpuset: hierarchy.controllers.iter().any(|name| name == "cpuset"),
                controllers: Vec::new(),
            });
        }
        let Some(directory) = self.unified() else {
            return;
        };
        for name in COUNTED {
            if self.unified_has(name) {
                let controller = Controller {
                    name: name.to_owned(),
                    needed_by: None,
                };
                self.plan.directories[directory]
                    .controllers
                    .push(controller);
            }
        }
    }

    /// The plan's v2 directory.
    pub(super) fn unified(&mut self) -> Option<usize> {
        let unified = self.host.unified.as_ref()?;
        let known = self
            .plan
            .directories
            .iter()
            .position(|d| d.version == Version::V2);
        Some(known.unwrap_or_else(|| {
            self.plan.directories.push(Directory {
                hierarchy: unified.directory.clone(),
                version: Version::V2,
                cpuset: false,
                controllers: Vec::new(),
            });
            self.plan.directories.len() - 1
        }))
    }

    fn unified_has(&self, controller: &str) -> bool {
        let unified = self.host.unified.as_ref();
        unified.is_some_and(|unified| unified.controllers.iter().any(|name| name == controller))
    }

    /// The v2 directory if v2 manages everything.
    pub(super) fn pure_v2(&mut self) -> Option<usize> {
        if self.host.is_unified() {
            self.unified()
        } else {
            None
        }
    }

    /// Where the device rules go: files of v1, a program on v2.
    pub(super) fn devices(&mut self) -> Option<Place> {
        match self.host.hierarchy_of("devices") {
            Some(directory) => Some(Place {
                version: Version::V1,
                directory,
            }),
            None => self.unified().map(|directory| Place {
                version: Version::V2,
                directory,
            }),
        }
    }

    /// Where the controller is that `pointer` needs, `v1` and `v2` being its names.
    pub(super) fn place(
        &mut self,
        v1: &str,
        v2: &str,
        pointer: &str,
    ) -> Result<Place, ResourceError> {
        if let Some(directory) = self.host.hierarchy_of(v1) {
            return Ok(Place {
                version: Version::V1,
                directory,
            });
        }
        let directory = if self.unified_has(v2) {
            self.unified()
        } else {
            None
        };
        let Some(directory) = directory else {
            let name = if self.host.is_unified() { v2 } else { v1 };
            return Err(ResourceError::new(
                pointer,
                format!(
                    "the cgroup controller \"{name}\", which this limit needs, is not available on this host"
                ),
            ));
        };
        let controllers = &mut self.plan.directories[directory].controllers;
        match controllers
            .iter_mut()
            .find(|controller| controller.name == v2)
        {
            Some(known) => {
                known.needed_by.get_or_insert_with(|| pointer.to_owned());
            }
            None => controllers.push(Controller {
                name: v2.to_owned(),
                needed_by: Some(pointer.to_owned()),
            }),
        }
        Ok(Place {
            version: Version::V2,
            directory,
        })
    }

    /// Adds a write and gives it back, so that what is special about it can be said.
    pub(super) fn write(
        &mut self,
        place: Place,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        pointer: impl Into<Cow<'static, str>>,
    ) -> &mut Write {
        let file = file.into();
        self.plan.writes.push(Write {
            directory: place.directory,
            value: value.to_string(),
            phase: if file.starts_with("devices.") {
                Phase::Devices
            } else {
                Phase::AfterJoin
            },
            file,
            pointer: pointer.into(),
            missing: Missing::Fail,
            retry: false,
            above: None,
        });
        let last = self.plan.writes.len() - 1;
        &mut self.plan.writes[last]
    }

    pub(super) fn warn(&mut self, pointer: &str, message: &str) {
        self.plan.warnings.push(format!("{pointer}: {message}"));
    }

    pub(super) fn set_device_program(&mut self, program: super::DeviceProgram) {
        self.plan.device_program = Some(program);
    }

    pub(super) fn finish(self) -> CgroupPlan {
        self.plan
    }
}
