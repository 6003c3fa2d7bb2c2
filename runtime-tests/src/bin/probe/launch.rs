//! `probe as [--cgroup2] [--cgroups LIST] [--old-kernel] [--files DIR] [--join CGROUP] [--user ID] [--groups N,N]
//! [--umask OCTAL] [--ignore N] [--block N] [--ambient] [--] COMMAND...`: changes itself as asked, then executes the command; so tests
//! start the runtime from surroundings that must not leak into a container.

use crate::{old_kernel, raw};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Runs as a launcher; returns only on failure.
pub fn run(args: &[&str]) -> io::Result<()> {
    raw::default(libc::SIGPIPE);
    let mut args = args.iter();
    let bad = |what: &str| io::Error::other(format!("{what} is missing or malformed"));
    while let Some(&arg) = args.next() {
        match arg {
            "--cgroup2" => pure_cgroup2()?,
            "--cgroups" => cgroups(args.next().ok_or_else(|| bad(arg))?)?,
            "--old-kernel" => old_kernel::pretend()?,
            "--files" => {
                own_files(args.next().ok_or_else(|| bad(arg))?)?;
            }
            "--join" => {
                let dir = args.next().ok_or_else(|| bad(arg))?;
                std::fs::write(format!("{dir}/cgroup.procs"), "0")?;
            }
            "--user" => {
                let id = args.next().and_then(|n| n.parse().ok());
                become_user(id.ok_or_else(|| bad(arg))?)?;
            }
            "--groups" => {
                let list = args.next().ok_or_else(|| bad("--groups"))?;
                let groups: Vec<rustix::process::Gid> = list
                    .split(',')
                    .filter_map(|n| n.parse().ok())
                    .map(rustix::process::Gid::from_raw)
                    .collect();
                rustix::thread::set_thread_groups(&groups)?;
            }
            "--umask" => {
                let text = args.next().ok_or_else(|| bad("--umask"))?;
                let mode = u32::from_str_radix(text, 8).map_err(|_| bad("--umask"))?;
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(mode));
            }
            "--ignore" | "--block" => {
                let signal = args
                    .next()
                    .and_then(|n| n.parse().ok())
                    .ok_or_else(|| bad(arg))?;
                if arg == "--ignore" {
                    raw::ignore(signal);
                } else {
                    raw::block(&[signal]);
                }
            }
            "--" => return exec(args.as_slice()),
            _ => {
                let mut command = vec![arg];
                command.extend(args.as_slice());
                return exec(&command);
            }
        }
    }
    Err(bad("the command"))
}

fn exec(argv: &[&str]) -> io::Result<()> {
    let (program, args) = argv
        .split_first()
        .ok_or_else(|| io::Error::other("no command"))?;
    Err(Command::new(program).args(args).exec())
}

/// In a mount namespace of its own, lays the files of `dir` over those of /etc: users
/// that nobody else sees and that go with this process.
fn own_files(dir: &str) -> io::Result<()> {
    raw::unshare_mounts()?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let target = std::path::Path::new("/etc").join(entry.file_name());
        rustix::mount::mount_bind(entry.path(), target)?;
    }
    Ok(())
}

/// Becomes a user with a group of the same number and no other.
fn become_user(id: u32) -> io::Result<()> {
    let (uid, gid) = (
        rustix::process::Uid::from_raw(id),
        rustix::process::Gid::from_raw(id),
    );
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

const POINT: &str = "/sys/fs/cgroup";

/// In a mount namespace of its own, replaces what is on /sys/fs/cgroup by cgroup2.
fn pure_cgroup2() -> io::Result<()> {
    without_cgroups()?;
    mount("cgroup2", POINT, "cgroup2", MountFlags::empty(), None)?;
    Ok(())
}

/// In a mount namespace of its own, lays a tmpfs on /sys/fs/cgroup with a directory for each
/// hierarchy of the list, as hosts with cgroup v1 have it: between semicolons `unified`, the
/// controllers of a hierarchy, or `name=NAME`; `none` for none.
fn cgroups(list: &str) -> io::Result<()> {
    without_cgroups()?;
    mount("tmpfs", POINT, "tmpfs", MountFlags::empty(), None)?;
    for name in list.split(';').filter(|name| *name != "none") {
        let dir = format!("{POINT}/{}", name.trim_start_matches("name="));
        std::fs::create_dir(&dir)?;
        let none = if name.starts_with("name=") {
            "none,"
        } else {
            ""
        };
        let controllers = std::ffi::CString::new(format!("{none}{name}"))?;
        match name {
            "unified" => mount("cgroup2", &dir, "cgroup2", MountFlags::empty(), None)?,
            _ => mount(
                "cgroup",
                &dir,
                "cgroup",
                MountFlags::empty(),
                controllers.as_c_str(),
            )?,
        }
    }
    Ok(())
}

fn without_cgroups() -> io::Result<()> {
    raw::unshare_mounts()?;
    unmount(POINT, UnmountFlags::DETACH)?;
    Ok(())
}
