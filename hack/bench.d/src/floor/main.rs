//! `floor`: the kernel's share of a container's life, for the two bundles that the bench uses, and nothing else.
//!
//! Everything that config.json says is written down here by hand: no parsing, no checks, no rollback, no protection of
//! the binary. Each way taken is the cheapest one known that ends in the same container. What a runtime needs beyond
//! the floor's time is its own doing; docs/performance.md tells what is in it. It takes only the command lines that
//! the bench writes: `floor --root DIR create --bundle DIR --pid-file FILE ID` and so on, options in this order.
#![no_main]

mod cgroup;
mod init;
mod sys;

use std::ffi::{c_char, c_int};
use sys::{close, exit, mkdir, open, read, read_file, rename, unlink, write, write_file};

/// Which of the two bundles.
#[derive(Clone, Copy, PartialEq)]
pub enum Shape {
    /// bundles/plain
    Plain,
    /// bundles/docker
    Docker,
}

/// # Safety
/// Called by the C library's start code, once, with the process's arguments.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: the C library's promise for main.
    let args = unsafe { sys::arguments(argc, argv) };
    match args[..] {
        [_, "--version"] => write(1, b"the kernel's work alone\n"),
        [_, _, root, "create", _, bundle, _, pidfile, id] => {
            create(root, bundle, Some(pidfile), id)
        }
        [_, _, root, "run", _, bundle, id] => create(root, bundle, None, id),
        [_, _, root, "start", id] => start(root, id),
        [_, _, root, "state", id] => state(root, id),
        [_, _, root, "delete", .., id] => delete(root, id),
        _ => sys::fail("command line"),
    }
    exit()
}

/// With a pid file the init waits for `start`; without one it runs at once and is waited for.
fn create(root: &str, bundle: &str, pidfile: Option<&str>, id: &str) {
    let shape = match id.ends_with("docker") {
        true => Shape::Docker,
        false => Shape::Plain,
    };
    sys::chdir(bundle);
    let mut config = vec![0; 16 << 10];
    read_file("config.json", &mut config);
    let mut seccomp = vec![0; 16 << 10];
    if shape == Shape::Docker {
        let length = read_file("seccomp.bpf", &mut seccomp);
        seccomp.truncate(length);
    }

    let state = format!("{root}/{id}");
    mkdir(&state);
    let fifo = pidfile.map(|_| {
        let path = format!("{state}/exec.fifo");
        sys::mknod(&path, libc::S_IFIFO | 0o600, 0);
        open(&path, libc::O_PATH)
    });
    let cgroup = cgroup::make(id, shape);
    let [ours, theirs] = sys::socketpair();
    let mut flags = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET;
    let mut into = 0;
    if let Some(fd) = cgroup {
        into = fd;
        if shape == Shape::Docker {
            flags |= libc::CLONE_NEWCGROUP;
        }
    }
    let flags = flags as u64 | if into > 0 { sys::CLONE_INTO_CGROUP } else { 0 };
    let (pid, _) = sys::clone3(flags, into);
    if pid == 0 {
        init::run(&init::Init {
            shape,
            id,
            bundle,
            fifo,
            ready: theirs,
            seccomp: &seccomp,
            v1: cgroup.is_none(),
        });
    }
    // Else the parent would wait for ever for a child that died.
    close(theirs);

    // As long as a small runtime's record: what is written matters less than that a file is made and renamed.
    let record = format!(
        "{{\"id\":\"{id}\",\"pid\":{pid},\"bundle\":\"{bundle}\"}}{:400}\n",
        ""
    );
    write_file(
        &format!("{state}/new"),
        &record,
        libc::O_CREAT | libc::O_EXCL,
    );
    rename(&format!("{state}/new"), &format!("{state}/state.json"));
    if let Some(pidfile) = pidfile {
        write_file(pidfile, &pid.to_string(), libc::O_CREAT | libc::O_TRUNC);
    }
    if read(ours, &mut [0; 8]) == 0 {
        sys::fail("the init died");
    }
    if pidfile.is_none() {
        sys::wait(pid);
        delete(root, id);
    }
}

fn start(root: &str, id: &str) {
    let fifo = format!("{root}/{id}/exec.fifo");
    // Blocking: the init opens its end only after create has returned.
    let fd = open(&fifo, libc::O_WRONLY);
    write(fd, b"0");
    unlink(&fifo);
}

fn state(root: &str, id: &str) {
    let mut record = [0; 1 << 10];
    let length = read_file(&format!("{root}/{id}/state.json"), &mut record);
    let waits = sys::exists(&format!("{root}/{id}/exec.fifo"));
    write(1, if waits { &record[..length] } else { b"" });
}

fn delete(root: &str, id: &str) {
    let state = format!("{root}/{id}");
    read_file(&format!("{state}/state.json"), &mut [0; 1 << 10]);
    cgroup::remove(id);
    unlink(&format!("{state}/state.json"));
    sys::rmdir(&state);
}
