//! `probe resctrl DIR`: a stand-in for the resctrl file system of processors with Intel
//! RDT. In a mount namespace of its own it puts a FUSE file system on /sys/fs/resctrl that
//! behaves as Documentation/filesystems/resctrl.rst says: a mkdir makes a group with its
//! files, a rmdir removes it with all of them and gives its tasks to the root, a task is
//! in one group. Prints `ready` and serves until it is killed. DIR is for its own use.

use crate::raw;
use rustix::mount::{MountFlags, mount, mount_bind_recursive};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

/// How many groups there can be, the root among them, and monitoring groups.
const GROUPS: usize = 4;
const MONITORS: usize = 2;

const ROOT: usize = 0;

/// A group, or one of the file system's own directories.
struct Dir {
    parent: usize,
    name: String,
    kind: Kind,
    gone: bool,
}

#[derive(Clone, PartialEq)]
enum Kind {
    /// A class of service: values by resource and domain, tasks.
    Group([[u64; 2]; 2], Vec<u32>),
    /// `mon_groups` of a group.
    Monitors,
    /// A monitoring group.
    Monitor(Vec<u32>),
    /// `info`.
    Info,
}

/// Files have the number of their directory and one of these in the upper half.
const FILES: [&str; 3] = ["schemata", "tasks", "last_cmd_status"];

struct Tree {
    dirs: Vec<Dir>,
    status: String,
}

type Answer = Result<Vec<u8>, i32>;

pub fn run(args: &[&str]) -> io::Result<()> {
    let [spare] = args else {
        return Err(io::Error::other("usage: resctrl DIR"));
    };
    let mut fuse = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")?;
    raw::unshare_mounts()?;
    // sysfs has no such directory where the kernel has no resctrl.
    mount_bind_recursive("/sys/fs/cgroup", *spare)?;
    mount("tmpfs", "/sys/fs", "tmpfs", MountFlags::empty(), None)?;
    for dir in ["/sys/fs/cgroup", "/sys/fs/resctrl"] {
        std::fs::create_dir(dir)?;
    }
    mount_bind_recursive(*spare, "/sys/fs/cgroup")?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
        fuse.as_raw_fd()
    );
    let options = std::ffi::CString::new(options)?;
    mount(
        "resctrl",
        "/sys/fs/resctrl",
        "fuse",
        MountFlags::empty(),
        options.as_c_str(),
    )?;
    println!("ready");
    serve(&mut fuse)
}

fn serve(fuse: &mut File) -> io::Result<()> {
    let mut tree = Tree::new();
    let mut buffer = vec![0u8; 256 * 1024];
    loop {
        let length = fuse.read(&mut buffer)?;
        let request = &buffer[..length];
        let (opcode, node) = (u32_at(request, 4), u64_at(request, 16));
        // FORGET, INTERRUPT, BATCH_FORGET want no answer.
        if [2, 36, 42].contains(&opcode) {
            continue;
        }
        let answer = tree.answer(opcode, node, &request[40..]);
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(errno) => (-errno, Vec::new()),
        };
        let mut reply = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
        reply.extend_from_slice(&error.to_ne_bytes());
        reply.extend_from_slice(&request[8..16]);
        reply.extend_from_slice(&body);
        // A caller that was killed meanwhile is none of our business.
        let _ = fuse.write(&reply);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |b| u32::from_ne_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |b| u64::from_ne_bytes(*b))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Node numbers: directories from 1 on, files with 1 to 3 in the upper half.
fn parts(node: u64) -> (usize, Option<&'static str>) {
    let dir = (node & 0xffff_ffff) as usize - 1;
    let file = (node >> 32) as usize;
    (dir, file.checked_sub(1).map(|file| FILES[file]))
}

fn attributes(node: u64) -> Vec<u8> {
    let is_dir = parts(node).1.is_none();
    let mut attr = node.to_ne_bytes().to_vec();
    attr.resize(60, 0);
    let mode: u32 = if is_dir { 0o040755 } else { 0o100644 };
    for number in [mode, if is_dir { 2 } else { 1 }] {
        attr.extend_from_slice(&number.to_ne_bytes());
    }
    attr.resize(88, 0);
    attr
}

/// `fuse_entry_out`: nothing may be kept, every look-up is asked again.
fn entry(node: u64) -> Vec<u8> {
    let mut body = node.to_ne_bytes().to_vec();
    body.resize(40, 0);
    body.extend_from_slice(&attributes(node));
    body
}

impl Tree {
    fn new() -> Tree {
        let mut tree = Tree {
            dirs: Vec::new(),
            status: "ok\n".into(),
        };
        tree.add_group(ROOT, "");
        tree.add(ROOT, "info", Kind::Info);
        tree
    }

    fn add(&mut self, parent: usize, name: &str, kind: Kind) -> u64 {
        self.dirs.push(Dir {
            parent,
            name: name.into(),
            kind,
            gone: false,
        });
        self.dirs.len() as u64
    }

    fn add_group(&mut self, parent: usize, name: &str) -> u64 {
        let all = [[0xfff; 2], [100; 2]];
        let node = self.add(parent, name, Kind::Group(all, Vec::new()));
        self.add(node as usize - 1, "mon_groups", Kind::Monitors);
        node
    }

    fn child(&self, parent: usize, name: &str) -> Option<usize> {
        (parent + 1..self.dirs.len()).find(|&i| {
            self.dirs[i].parent == parent && self.dirs[i].name == name && !self.dirs[i].gone
        })
    }

    fn answer(&mut self, opcode: u32, node: u64, body: &[u8]) -> Answer {
        match opcode {
            // INIT: version 7.31, nothing optional.
            26 => {
                let mut reply = vec![0; 64];
                reply[..4].copy_from_slice(&7u32.to_ne_bytes());
                reply[4..8].copy_from_slice(&31u32.to_ne_bytes());
                reply[20..24].copy_from_slice(&65536u32.to_ne_bytes());
                Ok(reply)
            }
            // LOOKUP
            1 => self.look_up(node, &text(body)).map(entry),
            // GETATTR, SETATTR
            3 | 4 => {
                let mut reply = vec![0; 16];
                reply.extend_from_slice(&attributes(node));
                Ok(reply)
            }
            // MKDIR
            9 => self.mkdir(parts(node).0, &text(&body[8..])).map(entry),
            // RMDIR
            11 => self.rmdir(parts(node).0, &text(body)),
            // OPEN, OPENDIR: FOPEN_DIRECT_IO.
            14 | 27 => {
                let mut reply = vec![0; 16];
                reply[8] = u8::from(opcode == 14);
                Ok(reply)
            }
            15 => {
                let (offset, size) = (u64_at(body, 8) as usize, u32_at(body, 16) as usize);
                let content = self.read(node);
                let rest = content.as_bytes().get(offset..).unwrap_or_default();
                Ok(rest[..rest.len().min(size)].to_vec())
            }
            16 => {
                let written = self.write(node, &text(&body[40..]));
                written.map(|()| [&u32_at(body, 16).to_ne_bytes()[..], &[0; 4]].concat())
            }
            // STATFS
            17 => Ok(vec![0; 80]),
            // RELEASE, FLUSH, READDIR (empty), RELEASEDIR
            18 | 25 | 28 | 29 => Ok(Vec::new()),
            _ => Err(libc::ENOSYS),
        }
    }

    fn look_up(&self, node: u64, name: &str) -> Result<u64, i32> {
        let (dir, _) = parts(node);
        if let Some(child) = self.child(dir, name) {
            return Ok(child as u64 + 1);
        }
        let files: &[usize] = match self.dirs[dir].kind {
            Kind::Group(..) => &[1, 2],
            Kind::Monitor(_) => &[2],
            Kind::Info => &[3],
            Kind::Monitors => &[],
        };
        let file = files.iter().find(|&&file| FILES[file - 1] == name);
        file.map(|&file| node | (file as u64) << 32)
            .ok_or(libc::ENOENT)
    }

    fn refuse(&mut self, why: &str, errno: i32) -> i32 {
        self.status = format!("{why}\n");
        errno
    }

    fn mkdir(&mut self, parent: usize, name: &str) -> Result<u64, i32> {
        self.status = "ok\n".into();
        let count = |tree: &Tree, fits: fn(&Kind) -> bool| {
            tree.dirs
                .iter()
                .filter(|d| !d.gone && fits(&d.kind))
                .count()
        };
        match self.dirs[parent].kind {
            _ if self.child(parent, name).is_some() => Err(libc::EEXIST),
            Kind::Group(..) if parent == ROOT => {
                if count(self, |kind| matches!(kind, Kind::Group(..))) == GROUPS {
                    return Err(self.refuse("Out of CLOSIDs", libc::ENOSPC));
                }
                Ok(self.add_group(parent, name))
            }
            Kind::Monitors => {
                if count(self, |kind| matches!(kind, Kind::Monitor(_))) == MONITORS {
                    return Err(self.refuse("Out of RMIDs", libc::ENOSPC));
                }
                Ok(self.add(parent, name, Kind::Monitor(Vec::new())))
            }
            _ => Err(libc::EPERM),
        }
    }

    fn rmdir(&mut self, parent: usize, name: &str) -> Answer {
        let dir = self.child(parent, name).ok_or(libc::ENOENT)?;
        if !matches!(self.dirs[dir].kind, Kind::Group(..) | Kind::Monitor(_)) {
            return Err(libc::EPERM);
        }
        if let Kind::Group(_, tasks) = self.dirs[dir].kind.clone()
            && let Kind::Group(_, default) = &mut self.dirs[ROOT].kind
        {
            default.extend(tasks);
        }
        let mut gone = vec![dir];
        while let Some(dir) = gone.pop() {
            self.dirs[dir].gone = true;
            gone.extend((0..self.dirs.len()).filter(|&i| self.dirs[i].parent == dir && i != dir));
        }
        Ok(Vec::new())
    }

    fn read(&self, node: u64) -> String {
        let (dir, file) = parts(node);
        match (&self.dirs[dir].kind, file) {
            (Kind::Group([l3, mb], _), Some("schemata")) => format!(
                "    MB:0={:3};1={:3}\n    L3:0={:03x};1={:03x}\n",
                mb[0], mb[1], l3[0], l3[1]
            ),
            (Kind::Group(_, tasks) | Kind::Monitor(tasks), Some("tasks")) => tasks
                .iter()
                .filter(|pid| lives(**pid))
                .map(|pid| format!("{pid}\n"))
                .collect(),
            (Kind::Info, _) => self.status.clone(),
            _ => String::new(),
        }
    }

    fn write(&mut self, node: u64, content: &str) -> Result<(), i32> {
        self.status = "ok\n".into();
        match parts(node) {
            (dir, Some("schemata")) => self.set_schemata(dir, content),
            (dir, Some("tasks")) => self.move_task(dir, content),
            _ => Err(libc::EPERM),
        }
    }

    fn set_schemata(&mut self, dir: usize, content: &str) -> Result<(), i32> {
        let Kind::Group(mut values, tasks) = self.dirs[dir].kind.clone() else {
            return Err(libc::EPERM);
        };
        let invalid = |tree: &mut Tree, why: &str| Err(tree.refuse(why, libc::EINVAL));
        if !content.ends_with('\n') {
            return Err(libc::EINVAL);
        }
        for line in content.lines() {
            let Some((resource, rest)) = line.split_once(':') else {
                return invalid(self, "Missing ':'");
            };
            let (resource, radix) = match resource.trim() {
                "L3" => (0, 16),
                "MB" => (1, 10),
                other => {
                    let why = format!("Unknown or unsupported resource name '{other}'");
                    return invalid(self, &why);
                }
            };
            for pair in rest.split(';') {
                let parsed = pair.split_once('=').and_then(|(domain, value)| {
                    let domain: usize = domain.trim().parse().ok()?;
                    let value = u64::from_str_radix(value.trim(), radix).ok()?;
                    Some((domain, value))
                });
                match parsed {
                    Some((domain, value)) if domain < 2 => values[resource][domain] = value,
                    _ => return invalid(self, "Missing '=' or non-numeric domain"),
                }
            }
        }
        self.dirs[dir].kind = Kind::Group(values, tasks);
        Ok(())
    }

    fn move_task(&mut self, dir: usize, content: &str) -> Result<(), i32> {
        let pid: u32 = content.trim().parse().map_err(|_| libc::EINVAL)?;
        if !lives(pid) {
            return Err(libc::ESRCH);
        }
        if let Kind::Monitor(_) = self.dirs[dir].kind {
            let group = self.dirs[self.dirs[dir].parent].parent;
            let member = matches!(&self.dirs[group].kind, Kind::Group(_, t) if t.contains(&pid));
            if !member {
                return Err(self.refuse("Can't move task to different control group", libc::EINVAL));
            }
        }
        let of_monitor = matches!(self.dirs[dir].kind, Kind::Monitor(_));
        for (index, each) in self.dirs.iter_mut().enumerate() {
            match &mut each.kind {
                Kind::Group(_, tasks) if !of_monitor => tasks.retain(|task| *task != pid),
                Kind::Monitor(tasks) => tasks.retain(|task| *task != pid),
                _ => {}
            }
            if index == dir
                && let Kind::Group(_, tasks) | Kind::Monitor(tasks) = &mut each.kind
            {
                tasks.push(pid);
            }
        }
        Ok(())
    }
}

fn lives(pid: u32) -> bool {
    // A zombie is in no group any more.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
        !matches!(state, Some(b'Z' | b'X') | None)
    })
}
