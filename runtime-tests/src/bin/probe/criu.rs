//! `probe fake-criu DIR swrk FD`: speaks CRIU's RPC as far as the tests need it, and behaves
//! as the words of `DIR/acts` say. What it is asked is written to `DIR/requests`, a line for
//! each option: its field's number, and its value. What it "restores" is `/bin/sleep` in new
//! namespaces, below the root that it is given.

use crate::raw;
use rustix::process::{Pid, Signal};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;

/// A field: its number, and its value as a number or bytes.
type Field = (u64, u64, Vec<u8>);

/// Kinds of requests.
const DUMP: u64 = 1;
const RESTORE: u64 = 2;
const PRE_DUMP: u64 = 4;
const NOTIFY: u64 = 6;
const FEATURES: u64 = 9;
const VERSION: u64 = 10;

struct Fake {
    socket: OwnedFd,
    dir: String,
    acts: String,
}

/// Runs as criu.
pub fn run(args: &[&str]) -> io::Result<()> {
    let [dir, "swrk", fd] = args else {
        return Err(io::Error::other("usage: fake-criu DIR swrk FD"));
    };
    let fd: i32 = fd.parse().map_err(io::Error::other)?;
    let fake = Fake {
        socket: raw::own(fd)?,
        dir: (*dir).to_string(),
        acts: std::fs::read_to_string(format!("{dir}/acts"))?,
    };
    let Some(request) = fake.receive()? else {
        return Ok(());
    };
    match number(&request, 1) {
        VERSION => {
            if fake.has("wait-first") {
                fake.wait()?;
            }
            let version = fake.word("version").unwrap_or("3.17.1");
            let mut message = Vec::new();
            for (field, part) in [1, 2, 4].into_iter().zip(version.split('.')) {
                put_number(&mut message, field, part.parse().unwrap_or(0));
            }
            fake.answer(VERSION, true, &[(10, &message)])
        }
        FEATURES => {
            let has = u64::from(!fake.has("no-features"));
            let mut message = Vec::new();
            put_number(&mut message, 1, has);
            put_number(&mut message, 2, has);
            fake.answer(FEATURES, true, &[(8, &message)])
        }
        kind => {
            let options = fields(&bytes(&request, 2));
            fake.note(kind, &options)?;
            match kind {
                DUMP | PRE_DUMP => fake.dump(kind, &options),
                RESTORE => fake.restore(&options),
                _ => Err(io::Error::other(format!("request {kind}"))),
            }
        }
    }
}

impl Fake {
    fn has(&self, word: &str) -> bool {
        self.acts.split_whitespace().any(|w| w == word)
    }

    fn word(&self, key: &str) -> Option<&str> {
        let mut words = self.acts.split_whitespace();
        words.find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
    }

    /// Until the test lets go of the fifo.
    fn wait(&self) -> io::Result<()> {
        std::fs::read(format!("{}/go", self.dir)).map(drop)
    }

    fn receive(&self) -> io::Result<Option<Vec<Field>>> {
        let mut buffer = vec![0; 64 * 1024];
        let length = rustix::io::read(&self.socket, &mut buffer[..])?;
        Ok((length > 0).then(|| fields(&buffer[..length])))
    }

    fn answer(&self, kind: u64, success: bool, more: &[(u64, &[u8])]) -> io::Result<()> {
        let mut message = Vec::new();
        put_number(&mut message, 1, kind);
        put_number(&mut message, 2, success.into());
        for (field, bytes) in more {
            put_bytes(&mut message, *field, bytes);
        }
        rustix::io::write(&self.socket, &message)?;
        Ok(())
    }

    /// Tells of a stage; whether it may pass.
    fn stage(&self, name: &str, pid: i32) -> io::Result<bool> {
        let mut notify = Vec::new();
        put_bytes(&mut notify, 1, name.as_bytes());
        put_number(&mut notify, 2, pid as u64);
        self.answer(NOTIFY, true, &[(5, &notify)])?;
        let answer = self.receive()?.unwrap_or_default();
        Ok(number(&answer, 3) == 1)
    }

    fn note(&self, kind: u64, options: &[Field]) -> io::Result<()> {
        let mut text = format!("kind={kind}\n");
        for (field, number, bytes) in options {
            let bytes = bytes.escape_ascii();
            let _ = match bytes.clone().next() {
                None => writeln!(text, "{field}={number}"),
                Some(_) => writeln!(text, "{field}={bytes}"),
            };
        }
        std::fs::write(format!("{}/requests", self.dir), text)
    }

    /// A file in the directory whose descriptor the runtime has by this number.
    fn log(&self, options: &[Field], text: &str) -> io::Result<()> {
        let fd = match number(options, 17) {
            0 => number(options, 1),
            work => work,
        };
        let name = String::from_utf8_lossy(&bytes(options, 10)).into_owned();
        let parent = std::os::unix::process::parent_id();
        let path = format!("/proc/{parent}/fd/{fd}/{name}");
        std::fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(text.as_bytes())
    }

    fn fails(&self, kind: u64, options: &[Field]) -> io::Result<bool> {
        if self.has("die") {
            std::process::exit(1);
        }
        if self.has("garbage") {
            rustix::io::write(&self.socket, b"\xff\xff\xff")?;
            return Ok(true);
        }
        let Some(why) = self.word("fail") else {
            return Ok(false);
        };
        let log = format!("(00.001) Warn  (a.c:1): x\n(00.002) Error (b.c:2): {why}\n");
        self.log(options, &log)?;
        self.answer(kind, false, &[])?;
        Ok(true)
    }

    fn dump(&self, kind: u64, options: &[Field]) -> io::Result<()> {
        if self.fails(kind, options)? {
            return Ok(());
        }
        let pid = number(options, 2) as i32;
        for stage in ["pre-dump", "status-ready", "post-dump"] {
            if !self.stage(stage, 0)? {
                return Err(io::Error::other(stage));
            }
        }
        if kind == DUMP
            && number(options, 3) == 0
            && let Some(pid) = Pid::from_raw(pid)
        {
            rustix::process::kill_process(pid, Signal::KILL)?;
        }
        self.answer(kind, true, &[])
    }

    fn restore(&self, options: &[Field]) -> io::Result<()> {
        if self.fails(RESTORE, options)? {
            return Ok(());
        }
        let root = String::from_utf8_lossy(&bytes(options, 13)).into_owned();
        let flags = match self.has("host") {
            true => 0,
            false => {
                libc::CLONE_NEWPID
                    | libc::CLONE_NEWNS
                    | libc::CLONE_NEWUTS
                    | libc::CLONE_NEWIPC
                    | libc::CLONE_NEWNET
            }
        };
        let init = raw::sibling(flags as u64);
        if init == 0 {
            return self.become_init(&root);
        }
        if self.has("hang") {
            std::fs::write(format!("{}/hangs", self.dir), "")?;
            std::thread::sleep(std::time::Duration::from_secs(1000));
        }
        let named = self.word("pid").and_then(|pid| pid.parse().ok());
        // The init has left the host's mounts when its program runs.
        let name = format!("/proc/{init}/comm");
        while std::fs::read_to_string(&name).is_ok_and(|comm| comm.trim() != "sleep") {
            std::thread::yield_now();
        }
        for stage in [
            "setup-namespaces",
            "post-restore",
            "pre-resume",
            "post-resume",
        ] {
            if !self.stage(stage, named.unwrap_or(init))? {
                return Err(io::Error::other(stage));
            }
            if stage == "post-restore" && self.has("wait") {
                self.wait()?;
            }
        }
        let mut restored = Vec::new();
        put_number(&mut restored, 1, init as u64);
        self.answer(RESTORE, true, &[(4, &restored)])
    }

    fn become_init(&self, root: &str) -> io::Result<()> {
        use rustix::mount::{MountPropagationFlags as Flags, UnmountFlags, mount_change, unmount};
        if !self.has("host") {
            mount_change("/", Flags::PRIVATE | Flags::REC)?;
            std::env::set_current_dir(root)?;
            rustix::process::pivot_root(".", ".")?;
            unmount(".", UnmountFlags::DETACH)?;
            std::env::set_current_dir("/")?;
        }
        let sleep = if self.has("host") {
            "sleep"
        } else {
            "/bin/sleep"
        };
        Err(std::process::Command::new(sleep).arg("1000").exec())
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn fields(mut bytes: &[u8]) -> Vec<Field> {
    let mut found = Vec::new();
    while let Some(key) = varint(&mut bytes) {
        let Some(value) = varint(&mut bytes) else {
            break;
        };
        let text = match key & 7 {
            2 => {
                let (text, rest) = bytes.split_at((value as usize).min(bytes.len()));
                bytes = rest;
                text.to_vec()
            }
            _ => Vec::new(),
        };
        found.push((key >> 3, value, text));
    }
    found
}

fn number(fields: &[Field], wanted: u64) -> u64 {
    let mut fields = fields.iter();
    fields.find(|f| f.0 == wanted).map_or(0, |f| f.1)
}

fn bytes(fields: &[Field], wanted: u64) -> Vec<u8> {
    let mut fields = fields.iter();
    fields
        .find(|f| f.0 == wanted)
        .map_or_else(Vec::new, |f| f.2.clone())
}

fn put(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn put_number(message: &mut Vec<u8>, field: u64, value: u64) {
    put(message, field << 3);
    put(message, value);
}

fn put_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put(message, field << 3 | 2);
    put(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}
