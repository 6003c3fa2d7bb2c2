//! An ordinary user who runs the runtime. He is in no file of the machine: /etc/passwd,
//! /etc/subuid and /etc/subgid are laid over in the mount namespace of each command.

use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// His user and group id.
pub const ID: u32 = 17_700;

/// His name.
pub const NAME: &str = "corten-test";

/// What /etc/subuid and /etc/subgid give him: first id and count.
pub const RANGES: [(u32, u32); 2] = [(1_700_000, 65_536), (1_900_000, 1_000)];

/// Where he finds the runtime: a copy, for the build's folder may be closed to him. One serves
/// all tests of a run that is a user's.
pub fn runtime(ctx: &Ctx) -> PathBuf {
    match ctx.driver.user {
        Some(_) => runtime_of_run(&ctx.base),
        None => ctx.dir.join("runtime"),
    }
}

/// That copy, beside the run's base.
fn runtime_of_run(base: &Path) -> PathBuf {
    base.with_file_name("runtime")
}

/// Makes the copy for a run.
pub fn copy_for_run(runtime: &Path, base: &Path) -> Outcome {
    copy_for_all(runtime, &runtime_of_run(base))
}

fn copy_for_all(runtime: &Path, copy: &Path) -> Outcome {
    std::fs::copy(runtime, copy).because(runtime.display())?;
    let readable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(copy, readable).because(copy.display())
}

/// Gives a tree to him; what was linked into it stays whose it was.
pub fn own(dir: &Path, id: u32) -> Outcome {
    chown(dir, Some(id), Some(id)).because(dir.display())?;
    for entry in std::fs::read_dir(dir)?.flatten() {
        if entry.file_type()?.is_dir() {
            own(&entry.path(), id)?;
        }
    }
    Ok(())
}

/// A user of the machine who has a systemd of his own.
pub fn with_systemd() -> Option<u32> {
    let lives = |id: &u32| Path::new(&format!("/run/user/{id}/systemd/private")).exists();
    let users = std::fs::read_dir("/run/user").ok()?.flatten();
    let mut ids = users.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.find(|id| *id != 0 && lives(id))
}

impl Ctx {
    /// From now on the runtime is run by the user, with or without ranges of ids.
    pub fn use_user(&self, ranges: bool) -> Outcome {
        match self.driver.no_other_user() {
            Some(reason) => skip(reason),
            None => self.become_user(ID, ranges),
        }
    }

    /// From now on the runtime is run by this user: of the machine, or the one that it does not know.
    pub fn become_user(&self, id: u32, ranges: bool) -> Outcome {
        let mut words = vec!["--user".to_string(), id.to_string()];
        if id == ID {
            let etc = self.own_files(ranges)?;
            words.splice(0..0, ["--files".to_string(), etc.to_string_lossy().into()]);
        }
        if self.driver.user.is_none() {
            copy_for_all(&self.runtime, &runtime(self))?;
        }
        chown(self.state_root(), Some(id), Some(id))?;
        let mut as_user = self
            .as_user
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *as_user = words;
        Ok(())
    }

    /// Where the passwd, subuid and subgid are that the user is in.
    pub fn user_files(&self) -> PathBuf {
        let own = self.dir.join("user-etc");
        if own.exists() {
            own
        } else {
            PathBuf::from("/etc")
        }
    }

    /// Files of /etc that know the user, in a folder of the test.
    fn own_files(&self, ranges: bool) -> Outcome<PathBuf> {
        let etc = self.dir.join("user-etc");
        std::fs::create_dir_all(&etc)?;
        let passwd = format!("root:x:0:0::/root:/bin/sh\n{NAME}:x:{ID}:{ID}::/:/bin/sh\n");
        std::fs::write(etc.join("passwd"), passwd)?;
        let given = |range: &(u32, u32)| format!("{NAME}:{}:{}\n", range.0, range.1);
        let text: String = match ranges {
            true => RANGES.iter().map(given).collect(),
            false => String::new(),
        };
        for name in ["subuid", "subgid"] {
            if ranges && !Path::new("/etc").join(name).exists() {
                return skip(format!("no /etc/{name}: install the package uidmap"));
            }
            if Path::new("/etc").join(name).exists() {
                std::fs::write(etc.join(name), &text)?;
            }
        }
        Ok(etc)
    }

    /// As `use_user` with ranges; skips where the helpers are missing that give them out.
    pub fn use_user_with_ranges(&self) -> Outcome {
        for helper in ["newuidmap", "newgidmap"] {
            let found = ["/usr/bin", "/bin"]
                .iter()
                .any(|dir| Path::new(dir).join(helper).exists());
            if !found {
                return skip(format!("no {helper}: install the package uidmap"));
            }
        }
        self.use_user(true)
    }

    /// The user's commands start in this cgroup.
    pub fn join_first(&self, dir: &Path) {
        let mut as_user = self
            .as_user
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let words = ["--join".to_string(), dir.to_string_lossy().into_owned()];
        as_user.splice(0..0, words);
    }
}
