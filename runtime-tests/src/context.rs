//! The surroundings of one test: its folder, state root, cgroup prefix, and the
//! record of what it did, shown when it fails.

use crate::cgroups::{self, Hierarchy};
use crate::command::Cmd;
use crate::driver::Driver;
use crate::options::Options;
use crate::outcome::{Because, Outcome, fail, skip};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Everything a test needs; shared with the thread that watches the time limit.
pub struct Ctx {
    /// The runtime under test.
    pub runtime: PathBuf,
    /// The static helper program, on the host.
    pub probe: PathBuf,
    /// The test's own folder; world-readable, so that mapped users can enter.
    pub dir: PathBuf,
    /// The rootfs of this run that bundles take their files from.
    pub base: PathBuf,
    /// The cgroup above all containers of the test, such as `/corten-tests.4711/3`;
    /// [`Ctx::cgroup`] and [`Ctx::cgroups_path`] name those in it.
    pub prefix: String,
    /// Who runs the runtime, and who makes the cgroups.
    pub driver: Driver,
    /// The hierarchies of the machine.
    pub hierarchies: Vec<Hierarchy>,
    /// Whether the runtime is started where `/sys/fs/cgroup` is a bare cgroup2.
    pub pure_v2: AtomicBool,
    /// The hierarchies that the runtime sees, in the words of `probe as --cgroups`; empty for all.
    pub view: Mutex<String>,
    /// What `probe as` does before it executes the runtime, when it is run by a user.
    pub as_user: Mutex<Vec<String>>,
    /// Whether the runtime is started behind a filter that hides what came after Linux 5.10.
    pub old_kernel: AtomicBool,
    /// The usual time limit of a test, by which other times are measured.
    pub timeout: Duration,
    counter: AtomicUsize,
    log: Mutex<Vec<String>>,
    created: Mutex<Vec<String>>,
    scenery: Mutex<Vec<String>>,
}

impl Ctx {
    /// Surroundings in `run_dir/index`, which is made here.
    pub fn new(options: &Options, run_dir: &Path, index: usize) -> Outcome<Ctx> {
        let dir = run_dir.join(index.to_string());
        std::fs::create_dir_all(dir.join("state"))?;
        let ctx = Ctx {
            runtime: options.runtime.clone(),
            probe: crate::rootfs::find_probe()?,
            dir,
            base: run_dir.join("base"),
            prefix: options.driver.test_cgroup(run_dir, index),
            driver: options.driver.clone(),
            hierarchies: cgroups::hierarchies(),
            pure_v2: AtomicBool::new(false),
            view: Mutex::new(String::new()),
            as_user: Mutex::new(Vec::new()),
            old_kernel: AtomicBool::new(false),
            timeout: options.timeout,
            counter: AtomicUsize::new(0),
            log: Mutex::new(Vec::new()),
            created: Mutex::new(Vec::new()),
            scenery: Mutex::new(Vec::new()),
        };
        if let Some(id) = ctx.driver.user {
            ctx.become_user(id, true)?;
            std::os::unix::fs::chown(&ctx.dir, Some(id), Some(id))?;
        }
        Ok(ctx)
    }

    /// The directory given to the runtime as `--root`.
    pub fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A number that no other caller in this test has got.
    pub fn next(&self) -> usize {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// The runtime with `--root` and these arguments.
    pub fn rt<S: AsRef<str>>(&self, args: &[S]) -> Cmd<'_> {
        Cmd::runtime(self, args)
    }

    /// What the runtime says it can do.
    pub fn features(&self) -> Outcome<serde_json::Value> {
        let output = self.rt(&["features"]).run()?.ok()?;
        serde_json::from_str(&output.stdout).because("features")
    }

    /// A program of the host.
    pub fn host<S: AsRef<str>>(&self, argv: &[S]) -> Cmd<'_> {
        Cmd::host(self, argv)
    }

    /// Skips unless the runtime is driven as usual: by root, with cgroupfs.
    pub fn usual_driver(&self) -> Outcome {
        match (self.driver.systemd, self.driver.user) {
            (false, None) => Ok(()),
            _ => skip("is for root and cgroupfs"),
        }
    }

    /// From now on the runtime sees pure cgroup v2; skips where the kernel has none.
    pub fn use_pure_v2(&self) -> Outcome {
        if !self.hierarchies.iter().any(Hierarchy::is_v2) {
            return skip("no cgroup2 hierarchy on this machine");
        }
        self.pure_v2.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// From now on the runtime sees these hierarchies and no other: `unified`, controllers of one
    /// of v1, `name=systemd`.
    pub fn use_view(&self, hierarchies: &[&str]) {
        let mut view = self
            .view
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *view = hierarchies.join(";");
    }

    /// The v1 hierarchy of a controller; skips the test where there is none.
    pub fn v1(&self, controller: &str) -> Outcome<&Hierarchy> {
        match self
            .hierarchies
            .iter()
            .find(|h| h.controllers.iter().any(|c| c == controller))
        {
            Some(found) => Ok(found),
            None => skip(format!(
                "no cgroup v1 hierarchy of {controller} on this machine"
            )),
        }
    }

    /// The unified hierarchy; skips the test where it lacks the controller.
    pub fn v2(&self, controller: &str) -> Outcome<&Hierarchy> {
        let Some(found) = self.hierarchies.iter().find(|h| h.is_v2()) else {
            return skip("no cgroup2 hierarchy on this machine");
        };
        let above = self.driver.root().trim_start_matches('/').to_owned();
        let file = found.mount.join(above).join("cgroup.controllers");
        let has = std::fs::read_to_string(file)?;
        if controller.is_empty() || has.split_whitespace().any(|c| c == controller) {
            return Ok(found);
        }
        skip(format!(
            "cgroup v2 has no {controller} controller on this machine"
        ))
    }

    /// The cgroup of this name in the test's, as /proc/PID/cgroup has it.
    pub fn cgroup(&self, name: &str) -> String {
        self.driver.cgroup(&self.prefix, name)
    }

    /// What `linux.cgroupsPath` has to be for that.
    pub fn cgroups_path(&self, name: &str) -> serde_json::Value {
        self.driver.cgroups_path(&self.prefix, name)
    }

    /// Makes a cgroup, and those above it that are not there, as somebody in the container or its user
    /// would.
    pub fn make_cgroup(&self, dir: &Path) -> Outcome {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(above) = dir.parent() {
            self.make_cgroup(above)?;
        }
        std::fs::create_dir(dir).because(dir.display())?;
        for file in [
            "",
            "cgroup.procs",
            "cgroup.subtree_control",
            "cgroup.threads",
        ] {
            let (path, owner) = (dir.join(file), self.driver.user);
            std::os::unix::fs::chown(&path, owner, owner).because(path.display())?;
        }
        Ok(())
    }

    /// Where it is in a hierarchy; the test's own without a name.
    pub fn cgroup_dir(&self, hierarchy: &Hierarchy, name: &str) -> PathBuf {
        let cgroup = match name {
            "" => self.prefix.clone(),
            name => self.cgroup(name),
        };
        hierarchy.mount.join(cgroup.trim_start_matches('/'))
    }

    /// Adds lines to the record; returns their place, for `amend`.
    pub fn note(&self, text: impl Into<String>) -> usize {
        let mut log = self
            .log
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        log.push(text.into());
        log.len() - 1
    }

    /// Completes a record, once it is known how the command ended.
    pub fn amend(&self, place: usize, text: &str) {
        let mut log = self
            .log
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(entry) = log.get_mut(place) {
            entry.push_str(text);
        }
    }

    /// The record; long ones are cut in the middle.
    pub fn story(&self) -> String {
        let log = self
            .log
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        const SHOWN: usize = 30;
        if log.len() <= SHOWN {
            return log.join("\n");
        }
        let cut = log.len() - SHOWN;
        format!("({cut} earlier commands)\n{}", log[cut..].join("\n"))
    }

    /// Remembers a container that the harness deletes after the test.
    pub fn created(&self, id: &str) {
        let mut created = self
            .created
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        created.push(id.to_string());
    }

    /// `delete --force` of each remembered container that is still there; each must succeed.
    pub fn delete_created(&self) -> Outcome {
        let created = {
            let mut list = self
                .created
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            std::mem::take(&mut *list)
        };
        // The last first: a pid namespace ends when all of its processes have been reaped, by
        // this process, which the containers are handed down to.
        for id in created.into_iter().rev() {
            crate::procs::reap_all();
            if self.state_root().join(&id).exists() {
                self.rt(&["delete", "--force", &id]).run()?.ok()?;
            }
        }
        Ok(())
    }

    /// What is there now belongs to the scene: [`Ctx::nothing_left`] does not count it.
    pub fn stays(&self) {
        let now = crate::leaks::look(self);
        *self
            .scenery
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = now;
    }

    /// Whether a line of what is left belongs to the scene.
    pub fn is_scenery(&self, line: &str) -> bool {
        let scenery = self
            .scenery
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        scenery.iter().any(|known| known == line)
    }

    /// Fails unless no process, cgroup, mount or state file of this test is left.
    pub fn nothing_left(&self) -> Outcome {
        let left = crate::leaks::find(self);
        if left.is_empty() {
            return Ok(());
        }
        fail(format!("left behind:\n    {}", left.join("\n    ")))
    }

    /// Waits until the condition holds; fails with `what` after a third of a test's usual time limit, ten seconds
    /// unless told.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Outcome {
        let limit = self.timeout / 3;
        let end = Instant::now() + limit;
        while !holds() {
            if Instant::now() > end {
                return fail(format!("waited {limit:?} in vain until {what}"));
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(())
    }
}
