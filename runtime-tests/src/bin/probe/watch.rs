//! `probe watch STOP`: looks at all other processes of its pid namespace, as fast as it can.

use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// Prints `ready`; whenever the file STOP appears, removes it and prints a list of all that was
/// seen so far: `exe`, `root`, `cwd` and `fd` (from 3 on) with what they lead to, and `written`
/// for an executable of another than the image's that could be written.
pub fn run(args: &[&str]) -> io::Result<()> {
    let stop = args.first().copied().unwrap_or("/tmp/stop");
    let own = std::process::id();
    let mut seen = BTreeSet::new();
    println!("ready");
    loop {
        for _ in 0..200 {
            // The processes of `exec` come one after the other: the newest are the highest.
            for pid in processes().filter(|pid| *pid != own) {
                look(pid, &mut seen);
            }
        }
        if fs::remove_file(stop).is_ok() {
            println!("{}", json!(seen));
            io::stdout().flush()?;
        }
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn look(pid: u32, seen: &mut BTreeSet<String>) {
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).ok();
    let fds = fs::read_dir(format!("/proc/{pid}/fd"));
    for entry in fds.into_iter().flatten().flatten() {
        let number = entry.file_name();
        let standard = number
            .to_str()
            .is_some_and(|n| ["0", "1", "2"].contains(&n));
        if let (false, Ok(target)) = (standard, fs::read_link(entry.path())) {
            seen.insert(format!("fd {}", named(&target)));
        }
    }
    for name in ["exe", "root", "cwd"] {
        if let Some(target) = link(name) {
            seen.insert(format!("{name} {}", named(&target)));
            if name == "exe" && !target.starts_with("/bin") {
                let exe = format!("/proc/{pid}/exe");
                if let Some(target) = written(&exe) {
                    seen.insert(format!("written {}", target.display()));
                }
            }
        }
    }
}

/// Tries to write it, and gives what was written. A program that ends while it is opened can be
/// opened for writing, so that alone tells nothing; and what is opened may be the image's by now.
fn written(exe: &str) -> Option<PathBuf> {
    let mut file = OpenOptions::new().write(true).open(exe).ok()?;
    let target = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let is_foreign = !target.starts_with("/bin");
    (is_foreign && file.write(b"#").is_ok()).then_some(target)
}

/// Sockets differ by their number only.
fn named(target: &std::path::Path) -> String {
    let text = target.to_string_lossy();
    match text.split_once(":[") {
        Some((kind, _)) => format!("{kind}:"),
        None => text.into_owned(),
    }
}
