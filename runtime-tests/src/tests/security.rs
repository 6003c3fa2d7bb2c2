//! Holes that runtimes had: hostile root file systems, the runtime's own binary.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use rustix::fs::{StatVfsMountFlags, fstat, fstatvfs};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

tests!("security":
    a_dev_that_is_a_link_does_not_reach_the_host,
    a_proc_that_is_a_link_is_refused,
    a_sys_that_is_a_link_does_not_reach_the_host,
    a_dev_null_that_is_a_link_does_not_unmask,
    a_console_that_is_a_link_makes_no_file_on_the_host,
    a_cwd_that_is_a_link_makes_no_folder_on_the_host,
    a_mask_behind_a_link_masks_nothing_of_the_host,
    the_waiting_init_does_not_expose_the_runtimes_binary,
    an_init_among_neighbours_does_not_expose_the_runtimes_binary,
    a_command_that_is_the_runtime_itself_cannot_write_it,
    a_joined_pid_namespace_shows_no_descriptor_of_the_host,
    a_passwd_that_is_a_link_is_read_inside,
    a_passwd_that_is_a_fifo_does_not_hang,
);

/// A folder of the host that must stay empty.
fn trap(ctx: &Ctx) -> Outcome<PathBuf> {
    let dir = ctx.dir.join("trap");
    fs::create_dir(&dir)?;
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    Ok(dir)
}

fn untouched(trap: &PathBuf) -> Outcome {
    let found: Vec<_> = fs::read_dir(trap)?
        .flatten()
        .map(|e| e.file_name())
        .collect();
    check!(
        found.is_empty(),
        "made on the host through a link: {found:?}"
    );
    Ok(())
}

/// A bundle whose rootfs has a link to the trap in place of a folder.
fn with_link<'a>(ctx: &'a Ctx, name: &str, trap: &PathBuf) -> Outcome<Bundle<'a>> {
    let b = Bundle::new(ctx)?;
    let place = b.rootfs().join(name);
    fs::remove_dir(&place)?;
    symlink(trap, &place)?;
    Ok(b)
}

fn a_dev_that_is_a_link_does_not_reach_the_host(ctx: &Ctx) -> Outcome {
    // runc CVE-2026-41579, crun CVE-2026-47766: with nothing mounted on /dev.
    let trap = trap(ctx)?;
    let b = with_link(ctx, "dev", &trap)?
        .set(
            "/mounts",
            json!([{"destination": "/proc", "type": "proc", "source": "proc"}]),
        )
        .push(
            "/linux/devices",
            json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}),
        );
    b.run()?;
    untouched(&trap)?;
    ctx.nothing_left()
}

fn a_proc_that_is_a_link_is_refused(ctx: &Ctx) -> Outcome {
    // CVE-2019-19921, CVE-2023-27561.
    let trap = trap(ctx)?;
    let b = with_link(ctx, "proc", &trap)?;
    b.create_refused()?.says(&["/proc"])?;
    untouched(&trap)
}

fn a_sys_that_is_a_link_does_not_reach_the_host(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    with_link(ctx, "sys", &trap)?.run()?;
    untouched(&trap)?;
    ctx.nothing_left()
}

fn a_dev_null_that_is_a_link_does_not_unmask(ctx: &Ctx) -> Outcome {
    // CVE-2025-31133: the mask's source is the container's /dev/null.
    let b = Bundle::new(ctx)?
        .set(
            "/mounts",
            json!([{"destination": "/proc", "type": "proc", "source": "proc"}]),
        )
        .set("/linux/maskedPaths", json!(["/proc/kallsyms"]))
        .args(&["/bin/stat", "-c", "%t:%T", "/proc/kallsyms"]);
    fs::write(b.rootfs().join("etc/secret"), "secret")?;
    symlink("/etc/secret", b.rootfs().join("dev/null"))?;
    let output = b.run()?;
    check!(
        output.code != 0 || output.stdout.starts_with("1:3\n"),
        "the mask is {}",
        output.stdout
    );
    let secret = fs::read_to_string(b.rootfs().join("etc/secret"))?;
    check_eq!(secret, "secret", "the file that /dev/null leads to");
    ctx.nothing_left()
}

fn a_console_that_is_a_link_makes_no_file_on_the_host(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let b = Bundle::new(ctx)?.set("/process/terminal", true).set(
        "/mounts",
        json!([{"destination": "/proc", "type": "proc", "source": "proc"}]),
    );
    symlink(trap.join("made"), b.rootfs().join("dev/console"))?;
    let socket = crate::sockets::FdSocket::bind(&ctx.dir.join("console"))?;
    let path = socket.path.to_string_lossy().into_owned();
    b.verb("create", &["--console-socket", &path])?.run()?;
    ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    untouched(&trap)?;
    ctx.nothing_left()
}

fn a_cwd_that_is_a_link_makes_no_folder_on_the_host(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let b = Bundle::new(ctx)?.set("/process/cwd", "/link/made/deep");
    symlink(&trap, b.rootfs().join("link"))?;
    b.run()?;
    untouched(&trap)?;
    ctx.nothing_left()
}

fn a_mask_behind_a_link_masks_nothing_of_the_host(ctx: &Ctx) -> Outcome {
    let trap = trap(ctx)?;
    let b = Bundle::new(ctx)?
        .set("/linux/maskedPaths", json!(["/link"]))
        .set("/linux/readonlyPaths", json!(["/link"]))
        .args(&["/bin/sleep", "1000"]);
    symlink(&trap, b.rootfs().join("link"))?;
    let output = b.verb::<&str>("create", &[])?.run()?;
    fs::write(trap.join("written-by-the-host"), "").because("writing on the host")?;
    fs::remove_file(trap.join("written-by-the-host"))?;
    untouched(&trap)?;
    if output.code == 0 {
        ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    }
    ctx.nothing_left()
}

fn the_waiting_init_does_not_expose_the_runtimes_binary(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).create()?;
    exe_is_not_the_runtimes_binary(ctx, c.pid()?)
}

fn an_init_among_neighbours_does_not_expose_the_runtimes_binary(ctx: &Ctx) -> Outcome {
    // In a pid namespace that is shared, CAP_SYS_PTRACE opens /proc/PID/exe of an init
    // that is still being set up; a hook holds it there to be looked at.
    let neighbour = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let shared = format!("/proc/{}/ns/pid", neighbour.pid()?);
    let hook = json!({"path": "/bin/sleep", "args": ["sleep", "1000"]});
    let b = Bundle::new(ctx)?
        .without_namespace("pid")
        .namespace("pid", Some(&shared))
        .push("/hooks/createContainer", hook);
    ctx.created(&b.id);
    let null = std::process::Stdio::null;
    let mut create = b
        .verb::<&str>("create", &[])?
        .spawn_with(null(), null(), null())?;
    let mut pid = 0;
    ctx.until("the init is there", || {
        let Ok(output) = ctx.rt(&["state", &b.id]).run() else {
            return false;
        };
        let state: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        pid = state["pid"].as_i64().unwrap_or(0) as i32;
        pid != 0
    })?;
    let judged = nobody_in_it_is_of_the_host(ctx, &shared);
    create.child.kill()?;
    create.wait()?;
    ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    // Until it is waited for, it keeps the neighbour's namespace from ending.
    neighbour.wait_pid(pid)?;
    judged
}

/// What a process with CAP_SYS_PTRACE in that pid namespace could open of those in it.
fn nobody_in_it_is_of_the_host(ctx: &Ctx, shared: &str) -> Outcome {
    let shared = fs::read_link(shared)?;
    let own_root = fs::metadata("/")?;
    let mut seen = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if fs::read_link(entry.path().join("ns/pid")).ok().as_ref() != Some(&shared) {
            continue;
        }
        seen += 1;
        exe_is_not_the_runtimes_binary(ctx, pid)?;
        let root = fs::metadata(entry.path().join("root"))?;
        check!(
            (root.dev(), root.ino()) != (own_root.dev(), own_root.ino()),
            "process {pid} among the neighbours has the host's root"
        );
    }
    check!(seen > 0, "the neighbour itself was not seen");
    Ok(())
}

/// CVE-2019-5736: what /proc/PID/exe leads to must not be the host's file, or not writable.
fn exe_is_not_the_runtimes_binary(ctx: &Ctx, pid: i32) -> Outcome {
    let exe = fs::File::open(format!("/proc/{pid}/exe"))?;
    let (found, binary) = (fstat(&exe)?, rustix::fs::stat(&ctx.runtime)?);
    let same = (found.st_dev, found.st_ino) == (binary.st_dev, binary.st_ino);
    let read_only = fstatvfs(&exe)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    check!(
        !same || read_only,
        "/proc/PID/exe is the host's binary, writable"
    );
    Ok(())
}

fn a_command_that_is_the_runtime_itself_cannot_write_it(ctx: &Ctx) -> Outcome {
    let before = fs::metadata(&ctx.runtime)?;
    for script in [false, true] {
        let b = Bundle::new(ctx)?.args(&["/proc/self/exe", "--version"]);
        let b = if script { b.args(&["/bin/script"]) } else { b };
        let path = b.rootfs().join("bin/script");
        fs::write(&path, "#!/proc/self/exe\n")?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        b.run()?;
    }
    let after = fs::metadata(&ctx.runtime)?;
    check_eq!(
        after.modified()?,
        before.modified()?,
        "time of the runtime's binary"
    );
    check_eq!(after.len(), before.len(), "length of the runtime's binary");
    ctx.nothing_left()
}

fn a_joined_pid_namespace_shows_no_descriptor_of_the_host(ctx: &Ctx) -> Outcome {
    // CVE-2016-9962 and 2024-21626: what an init that waits holds open, seen from a neighbour.
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).create()?;
    let pid = c.pid()?;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let Ok(target) = fs::metadata(entry.path()) else {
            continue;
        };
        let name = fs::read_link(entry.path())?;
        // A procfs of the runtime's own is how it keeps clear of the container's.
        if rustix::fs::statfs(entry.path())?.f_type == rustix::fs::PROC_SUPER_MAGIC {
            continue;
        }
        check!(
            !target.is_dir(),
            "the waiting init holds the folder {} open",
            name.display()
        );
    }
    Ok(())
}

fn a_passwd_that_is_a_link_is_read_inside(ctx: &Ctx) -> Outcome {
    let outside = ctx.dir.join("passwd");
    fs::write(&outside, "root:x:0:0::/from-the-host:/bin/sh\n")?;
    let b = Bundle::new(ctx)?;
    fs::remove_file(b.rootfs().join("etc/passwd"))?;
    symlink(&outside, b.rootfs().join("etc/passwd"))?;
    check_eq!(b.facts()?.env("HOME").as_deref(), Some("/"), "HOME");
    Ok(())
}

fn a_passwd_that_is_a_fifo_does_not_hang(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    let path = b.rootfs().join("etc/passwd");
    fs::remove_file(&path)?;
    ctx.host(&["mkfifo", &path.to_string_lossy()]).run()?.ok()?;
    // With or without a HOME: what counts is that it ends.
    b.run()?;
    ctx.nothing_left()
}
