//! `probe hook FILE NAME [exit=N] [sleep=MS]`: appends one line of JSON to FILE
//! that says when and with what the hook was run, then behaves as asked.

use serde_json::{Value, json};
use std::fs::{OpenOptions, read_link};
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Runs as a hook.
pub fn run(args: &[&str]) -> io::Result<()> {
    let [file, name, options @ ..] = args else {
        return Err(io::Error::other(
            "usage: hook FILE NAME [exit=N] [sleep=MS]",
        ));
    };
    let mut state = String::new();
    io::stdin().read_to_string(&mut state)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let link = |path: &str| {
        read_link(path)
            .ok()
            .map(|l| l.to_string_lossy().into_owned())
    };
    let pid = serde_json::from_str::<Value>(&state)
        .ok()
        .and_then(|s| s["pid"].as_i64());
    let exe = pid.and_then(|pid| link(&format!("/proc/{pid}/exe")));
    let line = json!({
        "hook": name,
        "state": serde_json::from_str::<Value>(&state).unwrap_or(Value::String(state)),
        "env": std::env::vars().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
        "args": std::env::args().collect::<Vec<_>>(),
        "mnt": link("/proc/self/ns/mnt"),
        "net": link("/proc/self/ns/net"),
        "init_exe": exe,
        "nanoseconds": now.as_nanos() as u64,
        "descriptors": std::fs::read_dir("/proc/self/fd").map(|dir| {
            dir.flatten().filter_map(|e| link(&e.path().to_string_lossy())).collect::<Vec<_>>()
        }).unwrap_or_default(),
    });
    let mut log = OpenOptions::new().append(true).create(true).open(file)?;
    log.write_all(format!("{line}\n").as_bytes())?;
    for option in options {
        match option.split_once('=') {
            Some(("sleep", ms)) => {
                std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0)));
            }
            Some(("exit", code)) => {
                eprintln!("hook {name} gives up");
                std::process::exit(code.parse().unwrap_or(1));
            }
            _ => return Err(io::Error::other(format!("unknown option {option}"))),
        }
    }
    Ok(())
}
