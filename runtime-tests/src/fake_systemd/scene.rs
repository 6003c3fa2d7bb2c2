//! What the tests of the driver begin with.

use super::{Answer, FakeSystemd, cgroup_of};
use crate::bundle::Bundle;
use crate::check_eq;
use crate::command::Cmd;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::Outcome;
use serde_json::Value;
use std::path::PathBuf;

/// A bundle whose cgroup is a scope of a systemd of its own.
pub struct Scene<'a> {
    ctx: &'a Ctx,
    /// The systemd.
    pub systemd: FakeSystemd,
    bundle: Bundle<'a>,
    /// The slice that the scope is in.
    pub slice: String,
}

impl<'a> Scene<'a> {
    /// `script` answers the calls, as for [`FakeSystemd::play`].
    pub fn new(
        ctx: &'a Ctx,
        version: &'static str,
        script: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Outcome<Scene<'a>> {
        let systemd = FakeSystemd::play(ctx, "bus", version, script)?;
        let stem = ctx.prefix.replace(|c: char| !c.is_ascii_digit(), "x");
        let slice = format!("t{stem}-a.slice");
        let bundle = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
        let path = format!("{slice}:p:{}", bundle.id);
        Ok(Scene {
            ctx,
            systemd,
            bundle: bundle.set("/linux/cgroupsPath", path),
            slice,
        })
    }

    /// Sets a value of config.json.
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.bundle = self.bundle.set(pointer, value);
        self
    }

    /// The name of the scope.
    pub fn unit(&self) -> String {
        format!("p-{}.scope", self.bundle.id)
    }

    /// The command, where the system bus is the scene's.
    pub fn with<'c>(&self, cmd: Cmd<'c>) -> Cmd<'c> {
        cmd.env("DBUS_SYSTEM_BUS_ADDRESS", &self.systemd.address)
    }

    /// `create`.
    pub fn create_cmd(&self) -> Outcome<Cmd<'a>> {
        self.ctx.created(&self.bundle.id);
        self.bundle.write()?;
        let cmd = self
            .bundle
            .verb::<&str>("create", &[])?
            .global(&["--systemd-cgroup"]);
        Ok(self.with(cmd))
    }

    /// The container.
    pub fn container(&self) -> Container<'a> {
        let output = self.ctx.dir.join("container");
        Container::new(self.ctx, &self.bundle.id, &self.bundle.dir, output)
    }

    /// `create`, which must succeed.
    pub fn create(&self) -> Outcome<Container<'a>> {
        self.create_cmd()?
            .output(self.ctx.dir.join("container"))
            .run()?
            .ok()?;
        Ok(self.container())
    }

    /// `create` fails with these words, and nothing stays.
    pub fn refused(&self, words: &[&str]) -> Outcome {
        let output = self.create_cmd()?.run()?.refused()?;
        for word in words {
            output.clone().says(&[word])?;
        }
        self.no_cgroup()?;
        self.ctx.nothing_left()
    }

    /// `delete`; no cgroup is left.
    pub fn delete(&self, force: bool) -> Outcome {
        let args: &[&str] = if force {
            &["delete", "--force"]
        } else {
            &["delete"]
        };
        self.with(self.container().verb::<&str>(args, &[]))
            .run()?
            .ok()?;
        self.no_cgroup()
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let unit = cgroup_of(&self.slice, &self.unit());
        let dirs = self.ctx.hierarchies.iter().map(|h| h.mount.join(&unit));
        dirs.filter(|dir| dir.exists()).collect()
    }

    /// Fails if a cgroup is left.
    pub fn no_cgroup(&self) -> Outcome {
        check_eq!(self.cgroups(), Vec::<PathBuf>::new(), "cgroups left");
        Ok(())
    }
}

/// Does everything as systemd does it.
pub fn always(_: &str, _: usize) -> Answer {
    Answer::Do
}

/// Answers so to calls of one name.
pub fn on(member: &'static str, answer: Answer) -> impl Fn(&str, usize) -> Answer + Send + Sync {
    move |asked, _| {
        if asked == member {
            answer.clone()
        } else {
            Answer::Do
        }
    }
}
