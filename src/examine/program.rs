//! Whether the program would be found, and could be executed.

use std::io::Read;

use rustix::fs::FileType;

use super::cover::{Cover, Found, reopen};
use crate::plan::process::ProcessPlan;
use crate::sys::{Errno, errno_text};

/// How much of a program is read: its header, and the name of what interprets it.
const HEAD: u64 = 4096;
/// `PT_INTERP` of elf(5).
const PT_INTERP: u64 = 3;

/// Why the program cannot run, with a hint; nothing if it can, or cannot be told.
pub fn problem(cover: &Cover<'_>, process: &ProcessPlan) -> Option<(String, Option<String>)> {
    let name = process.args.first()?.to_str().ok()?;
    let mut denied = None;
    for path in candidates(name, process) {
        match file(cover, &path) {
            Ok(true) => return interpreter_problem(cover, &path),
            Ok(false) => return None,
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => denied = Some((path, errno)),
        }
    }
    // The words of create.
    Some(match denied {
        Some((path, errno)) => (
            format!("exec: {path:?}: {}", errno_text(errno.raw_os_error())),
            Some("it has to be a regular file with an x bit".to_owned()),
        ),
        None if name.contains('/') => (
            format!("exec: {name:?}: no such file or directory"),
            Some("the path is one in the root file system".to_owned()),
        ),
        None => (
            format!("exec: {name:?}: executable file not found in $PATH"),
            Some(match &process.search {
                None => "set PATH in /process/env, or give an absolute path".to_owned(),
                Some(_) => {
                    "give an absolute path, or add its directory to PATH in /process/env".to_owned()
                }
            }),
        ),
    })
}

/// The paths that are tried, in order.
fn candidates(name: &str, process: &ProcessPlan) -> Vec<String> {
    let cwd = process.cwd.to_str().unwrap_or("/");
    let below = |dir: &str| match dir.starts_with('/') {
        true => format!("{dir}/{name}"),
        false => format!("{cwd}/{dir}/{name}"),
    };
    match (name.starts_with('/'), name.contains('/')) {
        (true, _) => vec![name.to_owned()],
        (_, true) => vec![below(cwd)],
        _ => {
            let dirs = process.search.iter().flatten();
            dirs.filter_map(|dir| dir.to_str().ok())
                .map(below)
                .collect()
        }
    }
}

/// Whether there is an executable file: `false` if that cannot be told.
pub fn file(cover: &Cover<'_>, path: &str) -> Result<bool, Errno> {
    match cover.find(path) {
        Found::Unknown => Ok(false),
        Found::Nothing(errno) => Err(errno),
        Found::File(_, stat) => {
            let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            match regular && stat.st_mode & 0o111 != 0 {
                true => Ok(true),
                false => Err(Errno::ACCESS),
            }
        }
    }
}

/// What a script or a program names as its interpreter has to be there too: execve's "no such
/// file or directory" says nothing of it.
fn interpreter_problem(cover: &Cover<'_>, path: &str) -> Option<(String, Option<String>)> {
    let Found::File(fd, _) = cover.find(path) else {
        return None;
    };
    let mut head = Vec::new();
    reopen(&fd).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    let (interpreter, hint) = match interpreter(&head) {
        Ok(interpreter) => interpreter?,
        // Another interpreter may be registered (binfmt_misc).
        Err(_) if has_binfmt() => return None,
        Err(what) => {
            return Some((
                format!("exec: {path:?}: exec format error: {what}"),
                Some("is it built for another machine, or a script without #! ?".to_owned()),
            ));
        }
    };
    match file(cover, &interpreter) {
        Err(errno) => Some((
            format!(
                "exec: {path:?}: its interpreter {interpreter:?}: {}",
                errno_text(errno.raw_os_error())
            ),
            Some(hint.to_owned()),
        )),
        Ok(_) => None,
    }
}

/// Whether the host runs programs of other kinds too.
fn has_binfmt() -> bool {
    let own = |name: &std::ffi::OsStr| name == "register" || name == "status";
    std::fs::read_dir("/proc/sys/fs/binfmt_misc")
        .is_ok_and(|entries| entries.flatten().any(|entry| !own(&entry.file_name())))
}

/// The interpreter that the first bytes of a program name; `Err` is why the kernel takes it
/// for none.
fn interpreter(head: &[u8]) -> Result<Option<(String, &'static str)>, &'static str> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let name = line.split_ascii_whitespace().next();
        return Ok(name.map(|name| {
            let hint = "install it in the root file system, or change the script's first line";
            (name.to_owned(), hint)
        }));
    }
    if head.first_chunk() != Some(b"\x7fELF") {
        return Err("it is neither a program nor a script");
    }
    // 64-bit and little-endian: what the machines that Corten knows run first. The others are
    // left to the kernel.
    if head.get(4..6) != Some(&[2, 1]) {
        return Ok(None);
    }
    let number = |at: usize, size: usize| {
        let bytes = head.get(at..at.checked_add(size)?)?;
        let digits = bytes.iter().rev();
        Some(digits.fold(0_u64, |all, byte| all << 8 | u64::from(*byte)))
    };
    if number(18, 2) != Some(MACHINE) {
        return Err("it is for another kind of machine");
    }
    let find = || {
        let table = usize::try_from(number(32, 8)?).ok()?;
        let size = usize::try_from(number(54, 2)?).ok()?;
        let count = usize::try_from(number(56, 2)?).ok()?;
        let mut headers = (0..count).map(|index| table.checked_add(index * size));
        let header = headers.find_map(|at| at.filter(|at| number(*at, 4) == Some(PT_INTERP)))?;
        let start = usize::try_from(number(header + 8, 8)?).ok()?;
        let name = head.get(start..)?.split(|byte| *byte == 0).next()?;
        String::from_utf8(name.to_vec()).ok()
    };
    Ok(find().map(|name| {
        let hint = "the root file system lacks the C library that the program was linked with";
        (name, hint)
    }))
}

/// `EM_X86_64`, `EM_AARCH64`, `EM_RISCV` of elf(5).
const MACHINE: u64 = match () {
    _ if cfg!(target_arch = "x86_64") => 62,
    _ if cfg!(target_arch = "aarch64") => 183,
    _ => 243,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_programs_name_their_interpreters() {
        let of = |head: &[u8]| interpreter(head).map(|found| found.map(|(name, _)| name));
        assert_eq!(of(b"#!/bin/sh -e\nx"), Ok(Some("/bin/sh".to_owned())));
        assert_eq!(
            of(b"#! /usr/bin/env x\n"),
            Ok(Some("/usr/bin/env".to_owned()))
        );
        assert!(of(b"text").is_err());
        assert!(of(b"").is_err());
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(of(&own[..HEAD as usize]).is_ok());
        let mut other = own[..HEAD as usize].to_vec();
        other[18] = 0xee;
        assert!(of(&other).is_err());
        // Cut anywhere, it is no panic.
        for end in 0..200 {
            let _ = of(&own[..end]);
        }
    }
}
