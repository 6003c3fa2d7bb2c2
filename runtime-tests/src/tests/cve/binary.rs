//! The host's runtime binary, which nothing in a container may ever hold in a way to write it.

use super::SLEEP;
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use rustix::fs::{SealFlags, StatVfsMountFlags, fcntl_get_seals, fstat, fstatvfs};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

tests!("cve":
    cve_2019_5736_the_hosts_binary_cannot_be_written,
    cve_2019_5736_the_waiting_init_is_not_the_hosts_binary,
    cve_2019_5736_an_init_among_neighbours_is_not_the_hosts_binary,
    cve_2022_0847_what_a_container_starts_from_shares_no_page_with_the_host,
);

/// A command that is the runtime itself, as `#!` interpreter too.
///
/// Seen to fail: with /proc/self/exe executed in place of the memfd by
/// `launch/program.rs:become_stub`: `/proc/self/exe is the runtime: …`.
fn cve_2019_5736_the_hosts_binary_cannot_be_written(ctx: &Ctx) -> Outcome {
    let before = fs::metadata(&ctx.runtime)?;
    for script in [false, true] {
        let b = Bundle::new(ctx)?.args(&["/proc/self/exe", "--version"]);
        let b = if script {
            b.args(&["/bin/script", "--version"])
        } else {
            b
        };
        let path = b.rootfs().join("bin/script");
        fs::write(&path, "#!/proc/self/exe\n")?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        let output = b.run()?;
        // Whatever it is, it is not the program that has a version.
        check!(
            output.code == 255 && output.stdout.is_empty(),
            "/proc/self/exe is the runtime: {output:?}"
        );
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

/// Seen to fail: with /proc/self/exe executed in place of the memfd by
/// `launch/program.rs:become_stub`: the init, that is the runtime, ends at once (`unknown command
/// "/bin/sleep"`), so there is no waiting init at all.
fn cve_2019_5736_the_waiting_init_is_not_the_hosts_binary(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).create()?;
    exe_is_not_the_runtimes_binary(ctx, c.pid()?)?;
    let user = Bundle::new(ctx)?.user_namespace().args(&SLEEP).create()?;
    exe_is_not_the_runtimes_binary(ctx, user.pid()?)
}

/// In a pid namespace that is shared, CAP_SYS_PTRACE opens /proc/PID/exe of an init that is
/// still being set up; a hook holds it there to be looked at. It must not be seen in there at
/// all, or run from a sealed copy.
///
/// Seen to fail: with the pid namespace joined before the clone (`launch/namespaces.rs:enter`) and
/// without `own_copy::ensure` in `launch/parent.rs:launch`: `/proc/PID/exe is the host's binary,
/// writable`.
fn cve_2019_5736_an_init_among_neighbours_is_not_the_hosts_binary(ctx: &Ctx) -> Outcome {
    let neighbour = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    let shared = format!("/proc/{}/ns/pid", neighbour.pid()?);
    let hook = json!({"path": "/bin/sleep", "args": ["sleep", "1000"]});
    let b = Bundle::new(ctx)?
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
    let judged = match fs::read_link(format!("/proc/{pid}/ns/pid"))? == fs::read_link(&shared)? {
        true => exe_is_not_the_runtimes_binary(ctx, pid),
        false => Ok(()),
    };
    create.child.kill()?;
    create.wait()?;
    ctx.rt(&["delete", "--force", &b.id]).run()?.ok()?;
    // Until it is waited for, it keeps the neighbour's namespace from ending.
    neighbour.wait_pid(pid)?;
    judged
}

/// What /proc/PID/exe leads to must not be the host's file, or not writable.
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

/// Dirty Pipe wrote to the page cache, so that a read-only view of the host's binary was none. A
/// memfd that is sealed is no view of it.
///
/// Seen to fail: without `seal` in `launch/stub_data.rs:write`: `seals of the init's exe: found
/// SealFlags(0x0), wanted SealFlags(SEAL | SHRINK | GROW | WRITE)`.
fn cve_2022_0847_what_a_container_starts_from_shares_no_page_with_the_host(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&SLEEP).create()?;
    let exe = fs::File::open(format!("/proc/{}/exe", c.pid()?))?;
    let seals = fcntl_get_seals(&exe).because("the init's exe is no memfd")?;
    let wanted = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    check_eq!(seals & wanted, wanted, "seals of the init's exe");
    Ok(())
}
