//! Plays systemd on a socket: answers as a test wants it, makes the scopes that it is asked for, and
//! remembers what it was asked. It speaks as much of D-Bus as a runtime needs, on its own: a
//! mistake in the runtime's messages must not be understood here.

pub mod scene;

use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What is done with a call.
#[derive(Debug, Clone)]
pub enum Answer {
    /// As systemd does it.
    Do,
    /// A job that is done, and ends with this result.
    Job(&'static str),
    /// An error: its name behind the dots, and its text.
    Refuse(&'static str, String),
    /// Nothing, and the connection stays.
    Silence,
    /// The connection is closed.
    Close,
    /// What was asked for is done, but the connection is closed without a word of it.
    DoAndClose,
    /// These bytes, and then as systemd does it.
    First(Vec<u8>),
    /// These bytes for ever.
    Endless(Vec<u8>),
}

type Script = dyn Fn(&str, usize) -> Answer + Send + Sync;

/// A call that came: the method, and its arguments as JSON.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `StartTransientUnit` and so on.
    pub member: String,
    /// Strings and numbers as such, properties as an array of pairs.
    pub arguments: Vec<Value>,
}

impl Asked {
    /// The value of a property of `StartTransientUnit` or `SetUnitProperties`: the last one.
    pub fn property(&self, name: &str) -> Option<&Value> {
        let pairs = self.arguments.get(2)?.as_array()?;
        pairs.iter().rev().find(|p| p[0] == name).map(|p| &p[1])
    }
}

/// The one who plays.
pub struct FakeSystemd {
    /// For `$DBUS_SYSTEM_BUS_ADDRESS`.
    pub address: String,
    inner: Arc<Inner>,
}

struct Inner {
    script: Box<Script>,
    version: &'static str,
    absent: AtomicBool,
    /// Where systemd's own hierarchies are mounted.
    roots: Vec<PathBuf>,
    asked: Mutex<Vec<Asked>>,
}

impl FakeSystemd {
    /// Begins to play on `name` in the test's folder; `script` gets the method and how often it
    /// was called before. A name that ends in `systemd/private` is systemd's own socket.
    pub fn play(
        ctx: &Ctx,
        name: &str,
        version: &'static str,
        script: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Outcome<FakeSystemd> {
        let path = ctx.dir.join(name);
        std::fs::create_dir_all(path.parent().because("a folder")?)?;
        let listener = UnixListener::bind(&path).because(path.display())?;
        let own = |h: &&crate::cgroups::Hierarchy| {
            h.is_v2() || h.controllers.iter().any(|c| c == "name=systemd")
        };
        let inner = Arc::new(Inner {
            script: Box::new(script),
            version,
            absent: AtomicBool::new(true),
            roots: ctx
                .hierarchies
                .iter()
                .filter(own)
                .map(|h| h.mount.clone())
                .collect(),
            asked: Mutex::default(),
        });
        let for_thread = inner.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = for_thread.clone();
                std::thread::spawn(move || inner.serve(stream));
            }
        });
        Ok(FakeSystemd {
            address: format!("unix:path={}", path.display()),
            inner,
        })
    }

    /// What it was asked so far, without what every connection begins with.
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.lock().clone()
    }

    /// The methods of [`FakeSystemd::asked`].
    pub fn methods(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.member).collect()
    }
}

/// The cgroup of a unit in a slice, from the root.
pub fn cgroup_of(slice: &str, unit: &str) -> PathBuf {
    let stem = slice.trim_end_matches(".slice");
    let mut path = PathBuf::new();
    for (index, _) in stem.match_indices('-') {
        path.push(format!("{}.slice", &stem[..index]));
    }
    path.join(slice).join(unit)
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.asked
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn serve(&self, mut stream: UnixStream) -> Option<()> {
        let mut words = Vec::new();
        let mut byte = [0];
        while !words.ends_with(b"BEGIN\r\n") {
            stream.read_exact(&mut byte).ok()?;
            words.push(byte[0]);
        }
        if words != b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n" {
            return stream.write_all(b"REJECTED EXTERNAL\r\n").ok();
        }
        stream
            .write_all(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n")
            .ok()?;
        loop {
            let (serial, signature, member, body) = read_call(&mut stream)?;
            if member == "GetNameOwner" && self.absent.swap(false, Ordering::Relaxed) {
                // The broker is there, and what it serves comes later.
                refuse(&mut stream, serial, "DBus.Error.NameHasNoOwner", "not yet")?;
                let owner = [
                    text("org.freedesktop.systemd1"),
                    vec![0; 3],
                    text(""),
                    vec![0; 3],
                    text(":1.9"),
                ];
                let fields = [(3, 's', "NameOwnerChanged"), (8, 'g', "sss")];
                stream
                    .write_all(&message(4, &fields, &owner.concat()))
                    .ok()?;
                continue;
            }
            if matches!(member.as_str(), "Hello" | "AddMatch" | "GetNameOwner") {
                stream.write_all(&reply(serial, "s", &text(":1.7"))).ok()?;
                continue;
            }
            let mut reader = Reader {
                bytes: &body,
                at: 0,
            };
            let mut rest = signature.as_str();
            let mut arguments = Vec::new();
            while !rest.is_empty() {
                arguments.push(reader.value(&mut rest)?);
            }
            let asked = Asked { member, arguments };
            let before = {
                let mut all = self.lock();
                all.push(asked.clone());
                all.iter().filter(|a| a.member == asked.member).count() - 1
            };
            match (self.script)(&asked.member, before) {
                Answer::Do => self.act(&mut stream, serial, &asked)?,
                Answer::First(bytes) => {
                    stream.write_all(&bytes).ok()?;
                    self.act(&mut stream, serial, &asked)?;
                }
                Answer::Job(result) => {
                    job(&mut stream, serial, asked.arguments[0].as_str()?, result)?
                }
                Answer::Refuse(name, why) => refuse(&mut stream, serial, name, &why)?,
                Answer::Silence => {}
                Answer::Close => return None,
                Answer::DoAndClose => {
                    self.act(&mut UnixStream::pair().ok()?.0, serial, &asked);
                    return None;
                }
                Answer::Endless(bytes) => loop {
                    stream.write_all(&bytes).ok()?;
                },
            }
        }
    }

    fn act(&self, stream: &mut UnixStream, serial: u32, asked: &Asked) -> Option<()> {
        let first = asked.arguments[0].as_str()?;
        match asked.member.as_str() {
            "StartTransientUnit" => {
                let slice = asked.property("Slice")?.as_str()?;
                let pid = asked.property("PIDs")?[0].as_u64()?;
                for root in &self.roots {
                    let dir = root.join(cgroup_of(slice, first));
                    std::fs::create_dir_all(&dir).ok()?;
                    std::fs::write(dir.join("cgroup.procs"), pid.to_string()).ok()?;
                }
                job(stream, serial, first, "done")
            }
            "StopUnit" => match self.started(first) {
                Some(slice) => {
                    for root in &self.roots {
                        remove(root, &cgroup_of(&slice, first));
                    }
                    job(stream, serial, first, "done")
                }
                None => refuse(stream, serial, "systemd1.NoSuchUnit", "not loaded"),
            },
            "Get" => {
                let value = match asked.arguments[1].as_str()? {
                    "Version" => self.version,
                    _ => "/",
                };
                let mut body = b"\x01s\0\0".to_vec();
                body.extend(text(value));
                stream.write_all(&reply(serial, "v", &body)).ok()
            }
            _ => stream.write_all(&reply(serial, "", &[])).ok(),
        }
    }

    /// The slice in which a unit was started.
    fn started(&self, unit: &str) -> Option<String> {
        let all = self.lock();
        let start = |a: &&Asked| a.member == "StartTransientUnit" && a.arguments[0] == unit;
        let found = all.iter().rev().find(start)?;
        Some(found.property("Slice")?.as_str()?.to_owned())
    }
}

/// Removes a unit's cgroup, and its slices where they are the test's.
fn remove(root: &Path, unit: &Path) {
    for level in unit
        .ancestors()
        .filter(|level| level.components().next().is_some())
    {
        let _ = std::fs::remove_dir(root.join(level));
    }
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u32).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes
}

/// A message of this kind with header fields of type, code and text or number.
pub fn message(kind: u8, fields: &[(u8, char, &str)], body: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    for (code, field, value) in fields {
        pad(&mut header, 8);
        header.extend([*code, 1, *field as u8, 0]);
        match field {
            'u' => header.extend(value.parse::<u32>().unwrap_or_default().to_le_bytes()),
            'g' => {
                header.push(value.len() as u8);
                header.extend(value.as_bytes());
                header.push(0);
            }
            _ => header.extend(text(value)),
        }
    }
    let mut bytes = vec![b'l', kind, 1, 1];
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend(header);
    pad(&mut bytes, 8);
    bytes.extend(body);
    bytes
}

fn reply(serial: u32, signature: &str, body: &[u8]) -> Vec<u8> {
    let serial = serial.to_string();
    let fields = [(5, 'u', serial.as_str()), (8, 'g', signature)];
    let count = if signature.is_empty() { 1 } else { 2 };
    message(2, &fields[..count], body)
}

fn refuse(stream: &mut UnixStream, serial: u32, name: &str, why: &str) -> Option<()> {
    let name = format!("org.freedesktop.{name}");
    let serial = serial.to_string();
    let fields = [(4, 's', name.as_str()), (5, 'u', &serial), (8, 'g', "s")];
    stream.write_all(&message(3, &fields, &text(why))).ok()
}

/// A signal that a job ended.
pub fn job_removed(path: &str, unit: &str, result: &str) -> Vec<u8> {
    let mut body = 7u32.to_le_bytes().to_vec();
    for part in [path, unit, result] {
        pad(&mut body, 4);
        body.extend(text(part));
    }
    let fields = [
        (1, 'o', "/org/freedesktop/systemd1"),
        (2, 's', "org.freedesktop.systemd1.Manager"),
        (3, 's', "JobRemoved"),
        (8, 'g', "uoss"),
    ];
    message(4, &fields, &body)
}

fn job(stream: &mut UnixStream, serial: u32, unit: &str, result: &str) -> Option<()> {
    // Others' jobs end too, and the own one may do so before the answer is there.
    let mut bytes = job_removed("/job/6", unit, "canceled");
    bytes.extend(job_removed("/job/8", "other.scope", "failed"));
    let signal = job_removed("/job/7", unit, result);
    let answer = reply(serial, "o", &text("/job/7"));
    match serial % 2 {
        0 => bytes.extend([signal, answer].concat()),
        _ => bytes.extend([answer, signal].concat()),
    }
    stream.write_all(&bytes).ok()
}

/// The serial, signature and member of a call, and its body.
fn read_call(stream: &mut UnixStream) -> Option<(u32, String, String, Vec<u8>)> {
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).ok()?;
    let number = |at: usize| Some(u32::from_le_bytes(fixed.get(at..at + 4)?.try_into().ok()?));
    let (body, serial, fields) = (number(4)? as usize, number(8)?, number(12)? as usize);
    let mut rest = vec![0; fields.next_multiple_of(8) + body];
    stream.read_exact(&mut rest).ok()?;
    let mut reader = Reader {
        bytes: &rest[..fields],
        at: 0,
    };
    let (mut signature, mut member) = (String::new(), String::new());
    while reader.at < fields {
        reader.align(8);
        let code = reader.take(1)?[0];
        let value = reader.value(&mut "v")?;
        match (code, value.as_str()) {
            (3, Some(value)) => member = value.to_owned(),
            (8, Some(value)) => signature = value.to_owned(),
            _ => {}
        }
    }
    Some((
        serial,
        signature,
        member,
        rest.split_off(fields.next_multiple_of(8)),
    ))
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at + length)?;
        self.at += length;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn string(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        (self.take(1)? == [0]).then_some(text)
    }

    fn value(&mut self, signature: &mut &str) -> Option<Value> {
        let code = signature.bytes().next()?;
        *signature = &signature[1..];
        Some(match code {
            b'b' => json!(self.u32()? == 1),
            b'y' => json!(self.take(1)?[0]),
            b'u' => json!(self.u32()?),
            b't' => {
                self.align(8);
                json!(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
            }
            b's' | b'o' => {
                let length = self.u32()? as usize;
                json!(self.string(length)?)
            }
            b'g' => {
                let length = self.take(1)?[0].into();
                json!(self.string(length)?)
            }
            b'v' => {
                let length = self.take(1)?[0].into();
                let inner = self.string(length)?;
                self.value(&mut inner.as_str())?
            }
            b'(' => {
                self.align(8);
                let mut members = Vec::new();
                while !signature.starts_with(')') {
                    members.push(self.value(signature)?);
                }
                *signature = &signature[1..];
                Value::Array(members)
            }
            b'a' => {
                let size = self.u32()? as usize;
                let length = type_length(signature);
                let (element, rest) = signature.split_at(length);
                *signature = rest;
                if element.starts_with(['(', 't']) {
                    self.align(8);
                }
                let end = self.at + size;
                let mut values = Vec::new();
                while self.at < end {
                    values.push(self.value(&mut &*element)?);
                }
                Value::Array(values)
            }
            _ => return None,
        })
    }
}

/// The length of the first complete type.
fn type_length(signature: &str) -> usize {
    let mut depth = 0;
    for (index, code) in signature.bytes().enumerate() {
        match code {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 && code != b'a' {
            return index + 1;
        }
    }
    signature.len()
}
