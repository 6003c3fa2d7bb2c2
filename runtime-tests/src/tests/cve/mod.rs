//! One test for each hole that a low-level runtime had: named after its CVE, or after the
//! runtime that had it. docs/security-tests.md lists them with their guards.
//!
//! Each says under "Seen to fail" which guard was taken out of the code once and what the
//! test then said.

pub mod binary;
pub mod confinement;
pub mod descriptors;
pub mod devices;
pub mod input;
pub mod neighbours;
pub mod proc;
pub mod races;
pub mod rootfs;
pub mod table;

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Outcome, skip};
use crate::{check, outcome::Because};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A command that stays.
const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// A folder of the host that must stay empty, open to everybody.
pub fn trap(ctx: &Ctx) -> Outcome<PathBuf> {
    let dir = ctx.dir.join(format!("trap{}", ctx.next()));
    fs::create_dir(&dir)?;
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o777))?;
    Ok(dir)
}

/// Fails if anything was made in the trap.
pub fn untouched(trap: &Path) -> Outcome {
    let entries = fs::read_dir(trap).because(trap.display())?.flatten();
    let found: Vec<_> = entries.map(|e| e.file_name()).collect();
    check!(
        found.is_empty(),
        "made on the host through a link: {found:?}"
    );
    Ok(())
}

/// A file of the host that must stay as it is.
fn bait(ctx: &Ctx) -> Outcome<PathBuf> {
    let file = ctx.dir.join(format!("bait{}", ctx.next()));
    fs::write(&file, BAIT)?;
    Ok(file)
}

const BAIT: &str = "of the host\n";

/// Fails if the bait was written to.
fn unchanged(bait: &Path) -> Outcome {
    let text = fs::read_to_string(bait).because(bait.display())?;
    check!(text == BAIT, "a file of the host was written to: {text:?}");
    Ok(())
}

/// Puts a link in place of what the rootfs has at `name`.
fn replace_by_link(b: &Bundle, name: &str, target: impl AsRef<Path>) -> Outcome {
    let place = b.rootfs().join(name);
    match fs::symlink_metadata(&place) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&place).because(place.display())?,
        Ok(_) => fs::remove_file(&place).because(place.display())?,
        Err(_) => {}
    }
    symlink(target, &place).because(place.display())
}

/// Nothing is mounted but procfs: the image's own /dev and /sys are what the runtime works on.
fn proc_only(b: Bundle) -> Bundle {
    b.set("/mounts", json!([proc_mount()]))
}

/// The same with a terminal, which asks for a devpts.
fn with_terminal(b: Bundle) -> Bundle {
    proc_only(b).set("/process/terminal", true).mount(
        "/dev/pts",
        "devpts",
        "devpts",
        &["newinstance", "ptmxmode=0666"],
    )
}

fn proc_mount() -> Value {
    json!({"destination": "/proc", "type": "proc", "source": "proc"})
}

/// `create`, whatever comes of it, then `delete --force`: for images that may be refused or
/// taken, as long as nothing happens outside.
fn tried(ctx: &Ctx, b: &Bundle) -> Outcome {
    b.verb::<&str>("create", &[])?.run()?;
    removed(ctx, b)
}

/// Removes what `create` may have made.
fn removed(ctx: &Ctx, b: &Bundle) -> Outcome {
    if ctx.state_root().join(&b.id).exists() {
        ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    }
    Ok(())
}

/// The mount points of a process as it sees them, in order, with file system type and source.
fn mount_points(pid: i32) -> Outcome<Vec<(String, String, String)>> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).because("mountinfo")?;
    let line = |line: &str| {
        let point = line.split(' ').nth(4)?.to_string();
        let mut right = line.split_once(" - ")?.1.split(' ');
        Some((point, right.next()?.to_string(), right.next()?.to_string()))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// strace around a verb, with its report in `FILE`; it stays behind with the container's init.
fn strace(ctx: &Ctx, options: &[&str]) -> Outcome<(Vec<String>, PathBuf)> {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("strace is not installed");
    }
    let report = ctx.dir.join(format!("strace{}", ctx.next()));
    let mut words: Vec<String> = ["strace", "-qq", "-f", "-D", "-o"]
        .map(str::to_string)
        .into();
    words.push(report.to_string_lossy().into_owned());
    words.extend(options.iter().map(|option| option.to_string()));
    words.push("--".to_string());
    Ok((words, report))
}

/// The calls in a report of strace: process, name, and all behind the bracket. Calls that were
/// interrupted by another process's are put together again.
fn calls(report: &Path) -> Outcome<Vec<(String, String, String)>> {
    let text = fs::read_to_string(report).because(report.display())?;
    let mut open: Vec<(String, String)> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        let whole = if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
            open.push((pid.to_string(), head.to_string()));
            continue;
        } else if rest.starts_with("<... ") {
            let place = open.iter().position(|(other, _)| other == pid);
            let head = place.map(|place| open.remove(place).1).unwrap_or_default();
            let tail = rest.split_once(" resumed>").map_or("", |(_, tail)| tail);
            format!("{head}{tail}")
        } else {
            rest.to_string()
        };
        if let Some((name, arguments)) = whole.split_once('(') {
            found.push((pid.to_string(), name.to_string(), arguments.to_string()));
        }
    }
    Ok(found)
}
