//! `probe spy MARKER DEVICE INODE`: looks for ever through all the links that /proc shows of
//! other processes, for a file that only the host's tree has and for a program of the host's.
//!
//! Prints `saw PID` for each process, and `found WHAT` where a link led out.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Runs until it is killed.
pub fn run(args: &[&str]) -> io::Result<()> {
    let [marker, device, inode] = args else {
        return Err(io::Error::other("usage: spy MARKER DEVICE INODE"));
    };
    let bad = |_| io::Error::other("DEVICE or INODE is no number");
    let host = (
        device.parse::<u64>().map_err(bad)?,
        inode.parse::<u64>().map_err(bad)?,
    );
    let own = std::process::id();
    let mut told = BTreeSet::new();
    println!("spying");
    io::stdout().flush()?;
    loop {
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok());
            let Some(pid) = pid.filter(|pid| *pid != own) else {
                continue;
            };
            let mut lines = vec![format!("saw {pid}")];
            look(&entry.path(), marker, host, &mut lines);
            for line in lines {
                if told.insert(line.clone()) {
                    println!("{line}");
                    io::stdout().flush()?;
                }
            }
        }
    }
}

fn look(process: &Path, marker: &str, host: (u64, u64), lines: &mut Vec<String>) {
    // From a directory, up to the root of its mount tree.
    let up = "/..".repeat(40);
    let mut tell = |what: &Path| lines.push(format!("found {}", what.display()));
    let root = process.join("root");
    if Path::new(&format!("{}{marker}", root.display())).exists() {
        tell(&root);
    }
    let fds = std::fs::read_dir(process.join("fd"));
    let fds = fds.into_iter().flatten().flatten().map(|fd| fd.path());
    for link in fds.chain([process.join("cwd")]) {
        if Path::new(&format!("{}{up}{marker}", link.display())).exists() {
            tell(&link);
        }
    }
    let exe = process.join("exe");
    if std::fs::metadata(&exe).is_ok_and(|meta| (meta.dev(), meta.ino()) == host) {
        tell(&exe);
    }
}
