//! Writing a container's limits into the files of its cgroup.

use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::record::parent;
use super::{Cgroup, CgroupError, devices, file};
use crate::plan::cgroup::{CgroupPlan, Missing, Phase, Write};
use crate::sys::fd::ShortLived;

impl Cgroup {
    /// Writes the limits; to be called once the init has joined.
    ///
    /// # Errors
    /// The first limit that the kernel refuses. The caller removes the cgroup.
    pub fn apply(&self, plan: &CgroupPlan) -> Result<(), CgroupError> {
        self.write_all(plan, Phase::AfterJoin)
    }

    /// Writes the device rules or attaches the device program; to be called once the init has
    /// made its device nodes.
    ///
    /// # Errors
    /// As [`Cgroup::apply`].
    pub fn apply_devices(&self, plan: &CgroupPlan) -> Result<(), CgroupError> {
        self.write_all(plan, Phase::Devices)?;
        match (&plan.device_program, &self.v2) {
            (Some(program), Some(directory)) => {
                let path = self.shown(&self.directories[program.directory]);
                devices::attach(directory.as_fd(), &path, program, self.fresh)
            }
            _ => Ok(()),
        }
    }

    /// Writes the values of one phase.
    pub(super) fn write_all(&self, plan: &CgroupPlan, phase: Phase) -> Result<(), CgroupError> {
        self.write_these(plan.writes.iter().filter(|write| write.phase == phase))
    }

    /// Writes these values.
    pub(super) fn write_these<'w>(
        &self,
        writes: impl Iterator<Item = &'w Write>,
    ) -> Result<(), CgroupError> {
        let mut writer = Writer {
            cgroup: self,
            last: None,
        };
        let mut put_off: Vec<&Write> = Vec::new();
        for write in writes {
            if put_off
                .first()
                .is_some_and(|first| first.directory != write.directory)
            {
                writer.write_again(&mut put_off)?;
            }
            match writer.write(write) {
                Err(Errno::INVAL) if write.retry => put_off.push(write),
                result => result.map_err(|errno| self.refused(write, errno))?,
            }
        }
        writer.write_again(&mut put_off)
    }

    /// Says what it means that the kernel refused a limit.
    fn refused(&self, write: &Write, errno: Errno) -> CgroupError {
        let own = self.directories[write.directory].as_str();
        let path = self.shown(&format!("{own}/{}", write.file));
        let error = CgroupError::write(path, &write.value, errno).at(&write.pointer);
        let file = write.file.as_ref();
        match errno {
            Errno::BUSY if file.starts_with("memory.") => {
                let usage = ["memory.usage_in_bytes", "memory.current"];
                let usage = usage.iter().find_map(|file| self.says(own, file));
                error.hint(match usage {
                    Some(usage) => format!("more memory than this is in use already ({usage})"),
                    None => "more memory than this is in use already".to_owned(),
                })
            }
            Errno::INVAL if file == "memory.limit_in_bytes" => error.hint(
                "it is more than memory and swap together may be, which is to be raised as well",
            ),
            Errno::INVAL if file == "memory.memsw.limit_in_bytes" => error
                .hint("it is less than the limit of memory alone, which is to be lowered as well"),
            Errno::INVAL if matches!(file, "cpu.shares" | "cpu.weight") => {
                error.hint("a cgroup whose cpu.idle is 1 has no weight")
            }
            Errno::BUSY if file.starts_with("cpuset.") => {
                error.hint("a cgroup beneath uses more than these")
            }
            Errno::ACCESS | Errno::INVAL | Errno::RANGE | Errno::NODEV
                if file.starts_with("cpuset.") =>
            {
                let names = [format!("{file}.effective"), file.to_owned()];
                error.hint(
                    self.above(
                        "not all of these are available to the cgroup above",
                        own,
                        names
                            .iter()
                            .find(|name| self.says(parent(own), name).is_some()),
                    ),
                )
            }
            Errno::INVAL if file == "cpu.max" || file.starts_with("cpu.cfs_") => {
                error.hint(self.above(
                    "the value is out of range or more than the cgroup above has",
                    own,
                    ["cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"],
                ))
            }
            Errno::INVAL if file.starts_with("cpu.rt_") => error.hint(self.above(
                "the cgroups above have no such real-time bandwidth to give",
                own,
                ["cpu.rt_runtime_us", "cpu.rt_period_us"],
            )),
            Errno::OPNOTSUPP if file.contains(".bfq.") => {
                error.hint("the I/O scheduler of the device is not bfq")
            }
            Errno::NODEV if names_device(file) => error.hint("there is no such device"),
            Errno::NOENT => error.hint("the kernel does not have this limit"),
            _ => error,
        }
    }

    /// What a file says, if it is there and says anything.
    fn says(&self, directory: &str, file: &str) -> Option<String> {
        let text = file::read(self.root.as_fd(), &format!("{directory}/{file}")).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// A hint with what the level above has: those of `files` that are there.
    fn above<'f>(
        &self,
        hint: &str,
        own: &str,
        files: impl IntoIterator<Item = &'f (impl AsRef<str> + ?Sized + 'f)>,
    ) -> String {
        let has = files.into_iter().filter_map(|file| {
            let file = file.as_ref();
            Some(format!("{file} {}", self.says(parent(own), file)?))
        });
        let has: Vec<String> = has.collect();
        match has.is_empty() {
            true => hint.to_owned(),
            false => {
                let above = self.shown(parent(own));
                format!("{hint} ({above}: {})", has.join(", "))
            }
        }
    }
}

/// Whether the values of the file begin with the name or the number of a device.
fn names_device(file: &str) -> bool {
    let controllers = ["blkio.", "io.", "net_prio.", "rdma."];
    controllers.iter().any(|prefix| file.starts_with(prefix))
}

/// Writes values, and keeps a file open while the values are for the same one.
struct Writer<'c> {
    cgroup: &'c Cgroup,
    last: Option<(usize, String, ShortLived)>,
}

impl Writer<'_> {
    fn write(&mut self, write: &Write) -> Result<(), Errno> {
        if let Some(usage) = write.above {
            self.check_above(write, usage)?;
        }
        // What engines write and a directory that was just made has: nothing else can set it.
        if self.cgroup.fresh && write.file == "cpu.cfs_period_us" && write.value == "100000" {
            return Ok(());
        }
        match (
            self.write_one(write.directory, &write.file, &write.value),
            &write.missing,
        ) {
            (Err(Errno::NOENT), Missing::Skip) => Ok(()),
            (Err(Errno::NOENT), Missing::Instead(file, value)) => {
                self.write_one(write.directory, file, value)
            }
            (result, _) => result,
        }
    }

    fn write_one(&mut self, directory: usize, file: &str, value: &str) -> Result<(), Errno> {
        let known = matches!(&self.last, Some((d, f, _)) if *d == directory && f == file);
        if !known {
            let path = format!("{}/{file}", self.cgroup.directories[directory]);
            let open = file::open(self.cgroup.root.as_fd(), &path, OFlags::WRONLY)?;
            self.last = Some((directory, file.to_owned(), open));
        }
        match &self.last {
            Some((_, _, open)) => file::write_to(open.as_fd(), value),
            None => Err(Errno::NOENT),
        }
    }

    /// Refuses a limit below what is in use, with the errno that v1 has for it.
    fn check_above(&self, write: &Write, usage: &str) -> Result<(), Errno> {
        let path = format!("{}/{usage}", self.cgroup.directories[write.directory]);
        // Without the number there is nothing to compare with.
        let Ok(usage) = file::read(self.cgroup.root.as_fd(), &path) else {
            return Ok(());
        };
        match (write.value.parse::<u64>(), usage.parse::<u64>()) {
            (Ok(limit), Ok(usage)) if limit <= usage => Err(Errno::BUSY),
            _ => Ok(()),
        }
    }

    fn write_again(&mut self, put_off: &mut Vec<&Write>) -> Result<(), CgroupError> {
        for write in put_off.drain(..) {
            self.write(write)
                .map_err(|errno| self.cgroup.refused(write, errno))?;
        }
        Ok(())
    }
}
