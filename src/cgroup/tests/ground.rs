//! Where the tests make their cgroups, and the processes they put into them.

use super::PATIENCE;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cgroup::{Cgroup, CgroupError, Cgroupfs, Record, remove};
use crate::config::spec::Linux;
use crate::plan::cgroup::{CgroupPlan, Manager, plan};

/// A file system to test on, and a path that no other test uses.
pub(super) struct Ground {
    pub(super) root: PathBuf,
    pub(super) path: String,
}

impl Ground {
    pub(super) fn find(wanted: impl Fn(&Cgroupfs) -> bool, roots: &[&str]) -> Option<Ground> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            println!("skipped: not root");
            return None;
        }
        let fits =
            |root: &&&str| Cgroupfs::open_at(PathBuf::from(root)).is_ok_and(|fs| wanted(&fs));
        let Some(root) = roots.iter().find(fits) else {
            println!("skipped: no such cgroup file system in {roots:?}");
            return None;
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = format!("corten-test-{}-{number}", std::process::id());
        Some(Ground {
            root: root.into(),
            path,
        })
    }

    /// Hierarchies of cgroup v1 with all that Docker sets.
    pub(super) fn v1() -> Option<Ground> {
        let wanted = ["cpu", "cpuset", "memory", "devices", "freezer", "pids"];
        let has_all = |fs: &Cgroupfs| {
            wanted
                .iter()
                .all(|name| fs.host().hierarchy_of(name).is_some())
        };
        Self::find(has_all, &["/sys/fs/cgroup"])
    }

    /// A hierarchy of cgroup v2; beside v1 it has few controllers, but all the rest.
    pub(super) fn v2() -> Option<Ground> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        Self::find(|fs| fs.host().is_unified(), &roots)
    }

    pub(super) fn both() -> impl Iterator<Item = Ground> {
        [Self::v1(), Self::v2()].into_iter().flatten()
    }

    pub(super) fn plan(&self, resources: &str) -> (Cgroupfs, CgroupPlan) {
        let text = format!(
            r#"{{"cgroupsPath": "/{}", "resources": {resources}}}"#,
            self.path
        );
        let linux: Linux = serde_json::from_str(&text).unwrap();
        let fs = Cgroupfs::open_at(self.root.clone()).unwrap();
        let plan = plan(Manager::Cgroupfs, &linux, "id", fs.host()).unwrap();
        (fs, plan)
    }

    pub(super) fn create(&self, resources: &str) -> Result<(Cgroup, CgroupPlan), CgroupError> {
        let (fs, plan) = self.plan(resources);
        let record = fs.intend(&plan)?;
        let cgroup = fs.create(&plan, record.clone())?;
        assert_eq!(*cgroup.record(), record, "the intent was exact");
        Ok((cgroup, plan))
    }

    /// Beneath a directory that the test makes first, and that has to survive.
    pub(super) fn beneath(mut self, rest: &str) -> Ground {
        self.path = format!("{}/{rest}", self.path);
        self
    }
}

impl Drop for Ground {
    /// Tidies up after a test that failed; after others there is nothing.
    fn drop(&mut self) {
        for directory in left(self) {
            let _ = remove::rmdir_tree(
                &directory.display().to_string(),
                std::time::Instant::now() + PATIENCE,
            );
        }
    }
}

/// Keeps the tests apart that enable hugetlb for the whole host, and disables it again.
pub(super) struct Hugetlb {
    control: PathBuf,
    was_enabled: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Hugetlb {
    /// For the hierarchy of cgroup v2 at `root`, if it has the controller.
    pub(super) fn at(root: PathBuf) -> Option<Hugetlb> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let list = |file: &str| std::fs::read_to_string(root.join(file)).unwrap_or_default();
        if !list("cgroup.controllers").contains("hugetlb") {
            println!("skipped: no controller hugetlb in {}", root.display());
            return None;
        }
        let was_enabled = list("cgroup.subtree_control").contains("hugetlb");
        let control = root.join("cgroup.subtree_control");
        Some(Hugetlb {
            control,
            was_enabled,
            _alone: alone,
        })
    }
}

impl Drop for Hugetlb {
    fn drop(&mut self) {
        if !self.was_enabled {
            let _ = std::fs::write(&self.control, "-hugetlb");
        }
    }
}

/// The directories that `path` has in the hierarchies.
pub(super) fn left(ground: &Ground) -> Vec<PathBuf> {
    let top = ground.path.split('/').next().unwrap();
    let mut roots = vec![ground.root.clone()];
    roots.extend(
        std::fs::read_dir(&ground.root)
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    roots
        .into_iter()
        .map(|root| root.join(top))
        .filter(|path| path.exists())
        .collect()
}

/// A process that is killed at the end of the test.
pub(super) struct Process(pub(super) Child);

impl Process {
    pub(super) fn shell(script: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped());
        Process(command.spawn().unwrap())
    }

    /// One that does nothing, in every directory of the cgroup.
    pub(super) fn idle_in(record: &Record) -> Process {
        let process = Self::shell("exec sleep 1000");
        process.join(record);
        process
    }

    pub(super) fn join(&self, record: &Record) {
        for (_, path) in record.paths() {
            std::fs::write(format!("{path}/cgroup.procs"), self.0.id().to_string()).unwrap();
        }
    }

    pub(super) fn send_line(&self) {
        self.0.stdin.as_ref().unwrap().write_all(b"\n").unwrap();
    }

    /// Lets a script that waits for a line go on, and says whether it succeeded.
    pub(super) fn go(mut self) -> bool {
        self.send_line();
        self.0.wait().unwrap().success()
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn nothing() -> Vec<PathBuf> {
    Vec::new()
}

pub(super) fn value(record: &Record, hierarchy: &str, file: &str) -> String {
    let (_, path) = record.paths().find(|(name, _)| *name == hierarchy).unwrap();
    std::fs::read_to_string(format!("{path}/{file}"))
        .unwrap()
        .trim()
        .to_owned()
}
