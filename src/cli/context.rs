//! What all verbs share: the state directory and the cgroup manager.

use std::ffi::CString;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};

use super::args::{CgroupManager, Global, Rootless};
use super::log;
use crate::config::shortened;
use crate::container::{Entry, Id, Store};
use crate::launch;
use crate::plan::cgroup::Manager;
use crate::sys::regex::Regex;

/// The directory of all containers: `--root`, or `/run/corten`, or for other users
/// than root `$XDG_RUNTIME_DIR/corten`: also for one who is root of a user namespace only, as
/// `$USER` tells (runc's rule).
pub fn root(global: &Global) -> Result<PathBuf> {
    let root = match &global.root {
        Some(root) => std::path::absolute(root).context("--root")?,
        None => match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(dir) if !dir.is_empty() && is_a_user() => PathBuf::from(dir).join("corten"),
            _ => PathBuf::from("/run/corten"),
        },
    };
    if root == std::path::Path::new("/") {
        bail!("--root must not be /: it is the directory that holds the containers' state");
    }
    Ok(root)
}

/// Whether this is not the host's root.
fn is_a_user() -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    // Podman starts the runtime without the variable. The file is read for those alone who had to
    // become root.
    std::env::var_os("USER").is_none_or(|user| user != "root") && {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        !map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
    }
}

/// The store at that directory.
pub fn store(global: &Global) -> Result<Store> {
    Ok(Store::new(root(global)?))
}

/// One container's directory.
pub fn entry(global: &Global, id: &str) -> Result<Entry> {
    let id = Id::new(id)?;
    Ok(store(global)?.open(&id)?)
}

/// The containers whose names one of the expressions matches.
///
/// # Errors
/// One that is no regular expression.
pub fn matching(store: &Store, expressions: &[String]) -> Result<Vec<Id>> {
    let compile = |text: &String| {
        let expression = CString::new(text.as_str())?;
        Regex::new(&expression)
            .map_err(|why| anyhow!("--regex: {text:?} is no regular expression: {why}"))
    };
    let expressions: Vec<Regex> = expressions.iter().map(compile).collect::<Result<_>>()?;
    let mut ids = store.ids()?;
    ids.retain(|id| expressions.iter().any(|e| e.is_in(id.as_str())));
    Ok(ids)
}

/// Does the same to each; a failure that others follow is reported at once.
///
/// # Errors
/// The last failure.
pub fn each<T>(all: &[T], mut act: impl FnMut(&T) -> Result<()>) -> Result<()> {
    let mut last = Ok(());
    for one in all {
        if let Err(error) = act(one)
            && let Err(before) = std::mem::replace(&mut last, Err(error))
        {
            log::fatal(&shortened(&format!("{before:#}"), log::SHOWN_MAX));
        }
    }
    last
}

/// The cgroup manager that was asked for.
pub fn manager(global: &Global) -> Result<Manager> {
    match global.cgroup_manager {
        CgroupManager::Cgroupfs => Ok(Manager::Cgroupfs),
        CgroupManager::Disabled => Ok(Manager::Disabled),
        CgroupManager::Systemd => Ok(Manager::Systemd {
            user: launch::of_users_systemd(rootless(global)),
        }),
    }
}

/// Whether permission errors of cgroups are ignored, if the flags say so.
pub fn rootless(global: &Global) -> Option<bool> {
    match global.rootless {
        Rootless::Auto => None,
        Rootless::True => Some(true),
        Rootless::False => Some(false),
    }
}

/// A user's name, or the number where there is none.
pub fn user_name(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}
