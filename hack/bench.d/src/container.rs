//! One runtime's container of one bundle: fills in the command lines, drives a scenario's steps by a given way of
//! running them, waits for the init, and leaves nothing behind when a step fails.

use crate::bundle::sleeper;
use crate::scenario::{CROWD, Scenario, Step, Then};
use crate::sys::{self, Prepared, Stdio};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// How long a payload may take (it is `/bin/true`), ms.
const PATIENCE: i32 = 10_000;

/// A runtime under measurement.
pub struct Runtime {
    /// The column in the tables.
    pub name: String,
    /// The program.
    pub path: PathBuf,
}

/// What the init of a container showed.
#[derive(Default, Clone, Copy)]
pub struct Init {
    /// CPU time until `create` returned, ns.
    pub cpu_created: u64,
    /// CPU time over its whole life, the payload included, ns.
    pub cpu: u64,
}

/// The container of one runtime and one bundle; used again for each of its lives.
pub struct Container {
    pub runtime: String,
    steps: Vec<(&'static str, Prepared)>,
    force_delete: Prepared,
    id: String,
    root: PathBuf,
    pidfile: PathBuf,
    log: PathBuf,
    stdio: Stdio,
}

impl Container {
    /// `work` is the sandbox's directory, `bundle` the runtime's own copy, `id` what the container is called.
    pub fn new(
        runtime: &Runtime,
        bundle: &Path,
        id: &str,
        work: &Path,
        scenarios: &[&'static Scenario],
    ) -> io::Result<Self> {
        let pidfile = work.join(format!("{id}.pid"));
        let log = work.join(format!("{id}.log"));
        let root = work.join(format!("root.{}", runtime.name));
        fs::create_dir_all(&root)?;
        let prepare = |args: &[&str]| {
            let mut argv = vec![
                runtime.path.display().to_string(),
                "--root".to_owned(),
                root.display().to_string(),
            ];
            argv.extend(args.iter().map(|arg| {
                arg.replace("{id}", id)
                    .replace("{bundle}", &bundle.display().to_string())
                    .replace("{sleeper}", &sleeper(bundle).display().to_string())
                    .replace("{pidfile}", &pidfile.display().to_string())
            }));
            Prepared::new(&argv)
        };
        let steps = scenarios
            .iter()
            .flat_map(|scenario| scenario.steps)
            .map(|step| Ok((step.name, prepare(step.args)?)))
            .collect::<io::Result<_>>()?;
        let stdio = Stdio {
            null: OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/null")?
                .into(),
            log: File::create(&log)?.into(),
        };
        Ok(Self {
            runtime: runtime.name.clone(),
            force_delete: prepare(&["delete", "--force", "{id}"])?,
            steps,
            id: id.to_owned(),
            root,
            pidfile,
            log,
            stdio,
        })
    }

    /// Lives one scenario. `run` runs one step's command line and returns its wait status; `waiting` looks at the init's
    /// pid while it waits for `start`.
    pub fn live(
        &self,
        scenario: &Scenario,
        run: &mut dyn FnMut(&Step, &Prepared, &Stdio) -> Result<i32, String>,
        waiting: &mut dyn FnMut(i32),
    ) -> Result<Init, String> {
        let mut init = Init::default();
        for step in scenario.steps {
            let lived = self.step(step, run, waiting, &mut init);
            if let Err(error) = lived {
                self.clear();
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let log = log.lines().last().unwrap_or_default();
                return Err(format!("{} {}: {error}: {log}", self.runtime, step.name));
            }
        }
        reap();
        Ok(init)
    }

    fn step(
        &self,
        step: &Step,
        run: &mut dyn FnMut(&Step, &Prepared, &Stdio) -> Result<i32, String>,
        waiting: &mut dyn FnMut(i32),
        init: &mut Init,
    ) -> Result<(), String> {
        let command = self
            .steps
            .iter()
            .find_map(|(name, command)| (*name == step.name).then_some(command))
            .ok_or("was not prepared")?;
        let status = run(step, command, &self.stdio)?;
        if status != 0 {
            return Err(format!("wait status {status:#x}"));
        }
        match step.then {
            Then::Go | Then::Scene => {}
            Then::InitWaits => {
                let pid = self.pid()?;
                init.cpu_created = cpu_until_now(pid);
                waiting(pid);
            }
            Then::Crowd => self.crowd().map_err(|e| format!("copies: {e}"))?,
            Then::InitEnds | Then::SceneEnds => {
                self.disperse();
                let pid = self.pid()?;
                // Nobody has waited for it yet, so the number still means this init, dead or alive.
                let pidfd = sys::pidfd(pid).map_err(|e| format!("init {pid}: {e}"))?;
                if !sys::ended(&pidfd, PATIENCE) {
                    return Err(format!("init {pid} did not end within {PATIENCE} ms"));
                }
                let usage = sys::wait(pid, 0).map_err(|e| format!("init {pid}: {e}"))?;
                init.cpu = usage.map_or(0, |usage| usage.cpu);
            }
        }
        Ok(())
    }

    fn pid(&self) -> Result<i32, String> {
        let at = self.pidfile.display();
        let text = fs::read_to_string(&self.pidfile).map_err(|e| format!("{at}: {e}"))?;
        text.trim()
            .parse()
            .map_err(|e| format!("{at}: {text:?}: {e}"))
    }

    /// Copies the container's record, so that the runtime believes in [`CROWD`] containers: all
    /// have the same init, which costs a runtime as much to look at as one of their own.
    fn crowd(&self) -> io::Result<()> {
        let record = self.root.join(&self.id);
        let (mine, files) = (format!("\"id\":\"{}\"", self.id), record.read_dir()?);
        let mut texts = Vec::new();
        for file in files {
            let file = file?;
            if file.file_type()?.is_file() {
                let bytes = fs::read(file.path())?;
                // crun keeps a binary file as well.
                texts.push((
                    file.file_name(),
                    String::from_utf8(bytes).unwrap_or_default(),
                ));
            }
        }
        for number in 1..CROWD {
            let copy = self.of_crowd(number);
            let theirs = format!("\"id\":\"{}-{number}\"", self.id);
            fs::create_dir(&copy)?;
            for (name, text) in &texts {
                fs::write(copy.join(name), text.replace(&mine, &theirs))?;
            }
        }
        Ok(())
    }

    /// Removes the copies, if there are any.
    fn disperse(&self) {
        for number in 1..CROWD {
            if fs::remove_dir_all(self.of_crowd(number)).is_err() {
                return;
            }
        }
    }

    fn of_crowd(&self, number: usize) -> PathBuf {
        self.root.join(format!("{}-{number}", self.id))
    }

    fn clear(&self) {
        self.disperse();
        if let Ok(pid) = sys::spawn(&self.force_delete, &self.stdio) {
            let _ = sys::wait(pid, 0);
        }
        // Whatever that left of ours: a child that is the recorded init.
        if let Ok(pid) = self.pid()
            && matches!(sys::wait(pid, libc::WNOHANG), Ok(None))
        {
            sys::kill(pid, libc::SIGKILL);
            let _ = sys::wait(pid, 0);
        }
    }
}

/// Takes in what the runtimes orphaned and that has ended.
fn reap() {
    while let Ok(Some(_)) = sys::wait(-1, libc::WNOHANG) {}
}

/// The CPU time of a process that lives, ns: the first number of /proc/PID/schedstat (0 in a kernel without it).
fn cpu_until_now(pid: i32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/schedstat"))
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
