//! A criu that speaks its RPC, shows what it was asked, and does as a test wants
//! (`probe fake-criu`), and bundles for it and for criu itself.

use crate::bundle::Bundle;
use crate::check;
use crate::command::{Cmd, Output};
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A criu that does what it is told.
pub struct Fake<'a> {
    ctx: &'a Ctx,
    /// Where it is, and the images, and what it writes down.
    pub dir: PathBuf,
}

impl<'a> Fake<'a> {
    /// `acts` are words of `probe fake-criu`.
    pub fn new(ctx: &'a Ctx, acts: &str) -> Outcome<Fake<'a>> {
        let dir = ctx.dir.join(format!("fake{}", ctx.next()));
        std::fs::create_dir_all(&dir)?;
        let (probe, shown) = (ctx.probe.display(), dir.display());
        let script = format!("#!/bin/sh\nexec {probe} fake-criu {shown} \"$@\"\n");
        std::fs::write(dir.join("criu"), script)?;
        std::fs::set_permissions(dir.join("criu"), PermissionsExt::from_mode(0o755))?;
        std::fs::write(dir.join("acts"), acts)?;
        Ok(Fake { ctx, dir })
    }

    /// The command, where `criu` is this one.
    pub fn on<'c>(&self, cmd: Cmd<'c>) -> Cmd<'c> {
        cmd.env(
            "PATH",
            &format!("{}:/usr/sbin:/usr/bin:/bin", self.dir.display()),
        )
    }

    /// The directory of the checkpoint.
    pub fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    /// `checkpoint` into it.
    pub fn checkpoint(&self, c: &Container<'a>, flags: &[&str]) -> Outcome<Output> {
        self.checkpoint_cmd(c, flags).run()
    }

    /// The same, to be run.
    pub fn checkpoint_cmd(&self, c: &Container<'a>, flags: &[&str]) -> Cmd<'a> {
        let images = self.images().display().to_string();
        let mut words = vec!["checkpoint", "--image-path", &images];
        words.extend(flags);
        self.on(c.verb::<&str>(&words, &[]))
    }

    /// `restore`, with images that are there.
    pub fn restore(&self, b: &Bundle<'a>, flags: &[&str]) -> Outcome<Cmd<'a>> {
        self.some_images(r#"["/dev/null","pipe:[1]","/x"]"#)?;
        self.restore_as_is(b, flags)
    }

    /// `restore`, from what is there.
    pub fn restore_as_is(&self, b: &Bundle<'a>, flags: &[&str]) -> Outcome<Cmd<'a>> {
        let images = self.images().display().to_string();
        let mut words = vec!["--image-path", &images];
        words.extend(flags);
        self.ctx.created(&b.id);
        Ok(self.on(b.verb("restore", &words)?))
    }

    /// Images that are enough, with this list of standard streams.
    pub fn some_images(&self, descriptors: &str) -> Outcome {
        std::fs::create_dir_all(self.images())?;
        std::fs::write(self.images().join("inventory.img"), "x")?;
        std::fs::write(self.images().join("descriptors.json"), descriptors)?;
        Ok(())
    }

    /// Where it waits if that is among its acts: open for writing once it does, closed to let it go.
    pub fn stop(&self) -> Outcome<PathBuf> {
        let go = self.dir.join("go");
        let mkfifo = self.ctx.host(&["mkfifo", &go.display().to_string()]);
        mkfifo.run()?.ok()?;
        Ok(go)
    }

    /// What criu was asked, a line for each option.
    pub fn asked(&self) -> Outcome<Vec<String>> {
        let text = std::fs::read_to_string(self.dir.join("requests")).because("requests")?;
        Ok(text.lines().map(str::to_string).collect())
    }

    /// All these lines were asked.
    pub fn asked_for(&self, lines: &[&str]) -> Outcome {
        let asked = self.asked()?;
        for line in lines {
            check!(
                asked.iter().any(|l| l == line),
                "{line} is not among {asked:?}"
            );
        }
        Ok(())
    }
}

/// Sleeps.
pub fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

/// Sleeps, and can be "restored".
pub fn restorable(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    may_do_all(ctx, sleeping(ctx)?)
}

/// What the fake "restores" has all capabilities that this process has.
pub fn may_do_all<'a>(ctx: &Ctx, b: Bundle<'a>) -> Outcome<Bundle<'a>> {
    let features = ctx.features()?;
    let names = features["linux"]["capabilities"].as_array();
    let names = names.because("capabilities")?.iter();
    Ok(b.capabilities(&names.filter_map(Value::as_str).collect::<Vec<_>>()))
}

/// Counts into a bind, has another one that is read-only, a filter and a mask.
pub fn counting(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    let (data, safe) = (ctx.dir.join("data"), ctx.dir.join("safe"));
    std::fs::create_dir_all(&data)?;
    std::fs::create_dir_all(&safe)?;
    let line = "i=0; while :; do i=$((i+1)); echo $i > /data/count; sleep 0.1; done";
    Ok(Bundle::new(ctx)?
        .shell(line)
        .mount("/data", "bind", &data.to_string_lossy(), &["rbind", "rw"])
        .mount("/safe", "bind", &safe.to_string_lossy(), &["rbind", "ro"])
        .namespace("cgroup", None)
        .set("/linux/maskedPaths", vec!["/proc/kcore", "/sys/firmware"])
        .set("/linux/readonlyPaths", vec!["/proc/sys"]))
}
