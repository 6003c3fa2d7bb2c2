//! A container that exists: its verbs and its state.

use crate::command::{Cmd, Output};
use crate::context::Ctx;
use crate::facts::Facts;
use crate::outcome::{Because, Outcome, fail};
use crate::{check_eq, procs};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A created or running container.
pub struct Container<'a> {
    ctx: &'a Ctx,
    /// Its id.
    pub id: String,
    /// Its bundle's folder.
    pub bundle: PathBuf,
    output: PathBuf,
}

impl<'a> Container<'a> {
    /// The container of this id, whose output goes to `output` with `.out` and `.err`.
    pub fn new(ctx: &'a Ctx, id: &str, bundle: &Path, output: PathBuf) -> Container<'a> {
        Container {
            ctx,
            id: id.to_string(),
            bundle: bundle.to_path_buf(),
            output,
        }
    }

    /// `VERB ID ARGS`.
    pub fn verb<S: AsRef<str>>(&self, verb: &[&str], args: &[S]) -> Cmd<'a> {
        let mut all: Vec<&str> = verb.to_vec();
        all.push(&self.id);
        all.extend(args.iter().map(AsRef::as_ref));
        self.ctx.rt(&all)
    }

    /// `exec OPTIONS ID COMMAND`.
    pub fn exec<S: AsRef<str>>(&self, options: &[&str], command: &[S]) -> Cmd<'a> {
        let mut verb = vec!["exec"];
        verb.extend(options);
        self.verb(&verb, command)
    }

    /// What a shell line prints that `exec` runs, trimmed.
    pub fn exec_says(&self, options: &[&str], line: &str) -> Outcome<String> {
        let output = self.exec(options, &["/bin/sh", "-c", line]).run()?.ok()?;
        Ok(output.stdout.trim().to_string())
    }

    /// What a process sees that `exec` adds.
    pub fn exec_facts(&self, options: &[&str]) -> Outcome<Facts> {
        let output = self.exec(options, &["/bin/probe", "facts"]).run()?.ok()?;
        Ok(Facts(
            serde_json::from_str(&output.stdout).because("the probe's output")?,
        ))
    }

    /// `start`, which must succeed.
    pub fn start(&self) -> Outcome {
        self.verb::<&str>(&["start"], &[]).run()?.ok().map(drop)
    }

    /// `kill ID SIGNAL`, which must succeed.
    pub fn kill(&self, signal: &str) -> Outcome {
        self.verb(&["kill"], &[signal]).run()?.ok().map(drop)
    }

    /// `delete`, whatever comes of it.
    pub fn delete(&self) -> Outcome<Output> {
        self.verb::<&str>(&["delete"], &[]).run()
    }

    /// `delete --force`, whatever comes of it.
    pub fn delete_force(&self) -> Outcome<Output> {
        self.verb::<&str>(&["delete", "--force"], &[]).run()
    }

    /// What `state` prints.
    pub fn state(&self) -> Outcome<Value> {
        let output = self.verb::<&str>(&["state"], &[]).run()?.ok()?;
        serde_json::from_str(&output.stdout).because("the output of state")
    }

    /// The status that `state` prints.
    pub fn status(&self) -> Outcome<String> {
        let state = self.state()?;
        state["status"]
            .as_str()
            .map(str::to_string)
            .because("status")
    }

    /// Fails unless `state` prints this status.
    pub fn status_is(&self, wanted: &str) -> Outcome {
        check_eq!(self.status()?, wanted, "status");
        Ok(())
    }

    /// Waits until `state` prints this status.
    pub fn wait_status(&self, wanted: &str) -> Outcome {
        self.ctx.until(&format!("the status is {wanted}"), || {
            self.status().is_ok_and(|status| status == wanted)
        })
    }

    /// The host's process id of the container's process.
    pub fn pid(&self) -> Outcome<i32> {
        self.state()?["pid"]
            .as_i64()
            .map(|pid| pid as i32)
            .because("pid")
    }

    /// As `wait`, for a pid that is known already.
    pub fn wait_pid(&self, pid: i32) -> Outcome<i32> {
        match procs::reap(pid, self.ctx.timeout / 3) {
            Some(code) => Ok(code),
            None => fail(format!("process {pid} of {} does not end", self.id)),
        }
    }

    /// What the container has written to stdout so far.
    pub fn stdout(&self) -> Outcome<String> {
        let path = self.output.with_extension("out");
        std::fs::read_to_string(&path).because(path.display())
    }

    /// Waits until the container's stdout holds the text.
    pub fn wait_stdout(&self, text: &str) -> Outcome {
        self.ctx
            .until(&format!("the container has printed `{text}`"), || {
                self.stdout().is_ok_and(|found| found.contains(text))
            })
    }

    /// The container's cgroup in the v1 hierarchy of a controller.
    pub fn v1_dir(&self, controller: &str) -> Outcome<PathBuf> {
        Ok(self.ctx.cgroup_dir(self.ctx.v1(controller)?, &self.id))
    }

    /// A file of the container's v1 cgroup, trimmed.
    pub fn v1_file(&self, controller: &str, file: &str) -> Outcome<String> {
        let path = self.v1_dir(controller)?.join(file);
        let text = std::fs::read_to_string(&path).because(path.display())?;
        Ok(text.trim().to_string())
    }
}
