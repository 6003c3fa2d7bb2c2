//! What a container's process is left with: capabilities, groups, keyring, session, filter,
//! cgroups.

use super::SLEEP;
use crate::bundle::{Bundle, DOCKER_CAPS};
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use rustix::fs::{XattrFlags, setxattr};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

tests!("cve":
    cve_2022_29162_no_capability_is_inheritable_unless_named,
    cve_2022_27650_another_users_capabilities_are_not_inheritable,
    cve_2025_27612_every_way_to_start_leaves_the_inheritable_set_empty,
    cve_2022_24769_a_file_with_inheritable_capabilities_gives_none,
    cve_2022_2989_groups_are_those_of_the_configuration_alone,
    youki_0_7_the_callers_groups_do_not_leak,
    youki_0_7_the_session_keyring_is_the_containers_own,
    youki_0_7_a_filter_loads_without_no_new_privileges_and_capabilities,
    cve_2017_5226_the_callers_terminal_is_not_the_containers,
    cve_2016_10124_nothing_can_be_pushed_into_the_callers_terminal,
    cve_2023_25809_the_hosts_cgroups_cannot_be_written,
    crun_1_31_submounts_of_a_read_only_host_sys_are_read_only,
    cve_2022_0492_the_release_agent_is_out_of_reach,
);

/// Seen to fail: with the permitted set as the inheritable one in `launch/stub_data.rs:block`:
/// `inheritable: found 2818844155, wanted 0`.
fn cve_2022_29162_no_capability_is_inheritable_unless_named(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.facts()?;
    check_eq!(facts.caps("CapInh")?, 0, "inheritable");
    check_eq!(facts.caps("CapAmb")?, 0, "ambient");
    check!(facts.caps("CapPrm")? != 0, "nothing is permitted");
    Ok(())
}

/// Seen to fail: with the permitted set as the inheritable one in `launch/stub_data.rs:block`:
/// `inheritable: found 2818844155, wanted 0`.
fn cve_2022_27650_another_users_capabilities_are_not_inheritable(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .facts()?;
    for (set, name) in [
        ("CapInh", "inheritable"),
        ("CapEff", "effective"),
        ("CapAmb", "ambient"),
    ] {
        check_eq!(facts.caps(set)?, 0, "{name}");
    }
    Ok(())
}

/// Seen to fail: with the permitted set as the inheritable one in `launch/stub_data.rs:block`:
/// `inheritable of a created container: found "00000000a80425fb", wanted "0000000000000000"`.
fn cve_2025_27612_every_way_to_start_leaves_the_inheritable_set_empty(ctx: &Ctx) -> Outcome {
    let inheritable = |pid: i32| -> Outcome<String> {
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("CapInh:"));
        Ok(line.because("CapInh")?.trim().to_string())
    };
    let none = "0000000000000000";
    let bundle = || Ok::<_, crate::outcome::Stop>(Bundle::new(ctx)?.args(&SLEEP));
    let created = bundle()?.create()?;
    check_eq!(
        inheritable(created.pid()?)?,
        none,
        "inheritable of a created container"
    );
    created.start()?;
    check_eq!(
        inheritable(created.pid()?)?,
        none,
        "inheritable of a started container"
    );
    let detached = bundle()?.detach()?;
    check_eq!(
        inheritable(detached.pid()?)?,
        none,
        "inheritable of a detached container"
    );
    let user = bundle()?.user_namespace().create()?;
    check_eq!(
        inheritable(user.pid()?)?,
        none,
        "inheritable in a user namespace"
    );
    Ok(())
}

/// `security.capability` of a file with every capability inheritable and effective, of the
/// layout `struct vfs_cap_data` of linux/capability.h, revision 2.
fn inheritable_file_capabilities() -> [u8; 20] {
    let words: [u32; 5] = [0x0200_0001, 0, u32::MAX, 0, 0x1ff];
    let mut bytes = [0; 20];
    for (place, word) in bytes.chunks_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The attack itself: a user's process gains what its inheritable set and the file's have in
/// common.
///
/// Seen to fail: with the permitted set as the inheritable one in `launch/stub_data.rs:block`:
/// `capabilities gained by execve: found 2818844155, wanted 0`.
fn cve_2022_24769_a_file_with_inheritable_capabilities_gives_none(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let probe = b.rootfs().join("bin/probe");
    // A copy: the file of the rootfs is shared with other tests.
    fs::remove_file(&probe)?;
    fs::copy(&ctx.probe, &probe)?;
    let value = inheritable_file_capabilities();
    if let Err(error) = setxattr(&probe, "security.capability", &value, XattrFlags::empty()) {
        return skip(format!("no file capabilities here: {error}"));
    }
    let facts = b.facts()?;
    check_eq!(facts.caps("CapPrm")?, 0, "capabilities gained by execve");
    // With the set named in the configuration it is what the user asked for.
    let sets = json!({"bounding": DOCKER_CAPS, "permitted": DOCKER_CAPS,
                      "effective": DOCKER_CAPS, "inheritable": DOCKER_CAPS});
    let b = Bundle::new(ctx)?
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/capabilities", sets);
    fs::remove_file(b.rootfs().join("bin/probe"))?;
    fs::copy(&probe, b.rootfs().join("bin/probe"))?;
    let copy = b.rootfs().join("bin/probe");
    setxattr(&copy, "security.capability", &value, XattrFlags::empty())?;
    check!(
        b.facts()?.caps("CapPrm")? != 0,
        "the file's capabilities have no effect at all"
    );
    Ok(())
}

/// The runtime under a caller with these groups.
fn groups_of(ctx: &Ctx, b: &Bundle) -> Outcome<String> {
    let probe = ctx.probe.to_string_lossy();
    let run = b.verb::<&str>("run", &[])?;
    let run = run.within(&[probe.as_ref(), "as", "--groups", "4711,4712"]);
    Ok(run.run()?.ok()?.stdout)
}

/// Also CVE-2022-2990, 2022-2995, 2022-36109: a file that is denied to a group is denied to a
/// user who is in it, and the primary group is no supplementary one by itself.
///
/// Seen to fail: without setgroups in `sys/stub/main.rs:credentials`: `groups: found "4711
/// 4712"`; with an empty list always: `groups: found ""`.
fn cve_2022_2989_groups_are_those_of_the_configuration_alone(ctx: &Ctx) -> Outcome {
    let user = json!({"uid": 1000, "gid": 1000, "additionalGids": [2000, 3000]});
    let b = Bundle::new(ctx)?
        .set("/process/user", user)
        .shell("grep Groups /proc/self/status; cat /denied; cat /allowed; true");
    for (name, mode) in [("denied", 0o604), ("allowed", 0o640)] {
        let file = b.rootfs().join(name);
        fs::write(&file, format!("read {name}\n"))?;
        chown(&file, Some(0), Some(2000))?;
        fs::set_permissions(&file, PermissionsExt::from_mode(mode))?;
    }
    let said = groups_of(ctx, &b)?;
    let line = said.lines().next().unwrap_or_default();
    let found = line.trim_start_matches("Groups:").trim();
    check_eq!(found, "2000 3000", "groups");
    check!(
        !said.contains("read denied"),
        "read in spite of the group: {said}"
    );
    check!(
        said.contains("read allowed"),
        "not read by the group: {said}"
    );
    Ok(())
}

/// Seen to fail: without setgroups in `sys/stub/main.rs:credentials`: `supplementary groups: found
/// "Groups:\t4711 4712"`.
fn youki_0_7_the_callers_groups_do_not_leak(ctx: &Ctx) -> Outcome {
    for user in [
        json!({"uid": 0, "gid": 0}),
        json!({"uid": 1000, "gid": 1000}),
        json!({"uid": 0, "gid": 0, "additionalGids": []}),
    ] {
        for in_user_namespace in [false, true] {
            let b = Bundle::new(ctx)?.set("/process/user", user.clone()).args(&[
                "/bin/grep",
                "Groups",
                "/proc/self/status",
            ]);
            let b = if in_user_namespace {
                b.user_namespace()
            } else {
                b
            };
            check_eq!(
                groups_of(ctx, &b)?.trim(),
                "Groups:",
                "supplementary groups"
            );
        }
    }
    Ok(())
}

/// Seen to fail: without `new_keyring` in `launch/init.rs:steps`: `the keyring is the caller's`.
fn youki_0_7_the_session_keyring_is_the_containers_own(ctx: &Ctx) -> Outcome {
    let probe = ctx.probe.to_string_lossy();
    let mine = ctx.host(&[probe.as_ref(), "facts"]).run()?.ok()?.stdout;
    let mine: serde_json::Value = serde_json::from_str(&mine)?;
    let mut serials = vec![mine["keyring"]["serial"].clone()];
    for user in [false, true] {
        let b = Bundle::new(ctx)?;
        let b = if user { b.user_namespace() } else { b };
        let found = b.facts()?.0["keyring"]["serial"].clone();
        check!(
            !serials.contains(&found),
            "the keyring is the caller's or another container's"
        );
        serials.push(found);
    }
    Ok(())
}

/// Seen to fail: without keeping CAP_SYS_ADMIN for the filter in `sys/stub/main.rs:credentials`
/// (`for_filter` 0): `exit code 1 instead of 0 …: /linux/seccomp: cannot load the filter:
/// permission denied`; without the filter (`load_filter` does nothing): `mode: found "0"`.
fn youki_0_7_a_filter_loads_without_no_new_privileges_and_capabilities(ctx: &Ctx) -> Outcome {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 44}]});
    for uid in [0, 1000] {
        let facts = Bundle::new(ctx)?
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", false)
            .capabilities(&[])
            .set("/process/user", json!({"uid": uid, "gid": uid}))
            .facts()?;
        check_eq!(facts.status("NoNewPrivs")?, "0", "no_new_privs");
        check_eq!(facts.status("Seccomp")?, "2", "mode");
        // The capability that loading takes is gone.
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            check_eq!(facts.caps(set)?, 0, "{set}");
        }
    }
    Ok(())
}

/// `run` where a terminal of the caller is stdin and its controlling terminal.
fn in_a_terminal(ctx: &Ctx, line: &str, capabilities: &[&str]) -> Outcome<String> {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
    let kept = ctx.dir.join(format!("terminal{}", ctx.next()));
    let b = Bundle::new(ctx)?.capabilities(capabilities).shell(line);
    // setsid --ctty takes stdin as the controlling terminal.
    let start = "exec setsid --wait --ctty \"$@\" <\"$0\"";
    let run = b.verb::<&str>("run", &[])?.output(kept);
    let output = run.within(&["sh", "-c", start, &name]).run()?;
    drop(master);
    Ok(output.ok()?.stdout)
}

/// Seen to fail: without setsid in `launch/init.rs:steps`: `the controlling terminal: found
/// "a-terminal\n34816\nopened\n"`.
fn cve_2017_5226_the_callers_terminal_is_not_the_containers(ctx: &Ctx) -> Outcome {
    let line = "test -t 0 && echo a-terminal; cut -d' ' -f7 /proc/self/stat; \
                (: </dev/tty) 2>/dev/null && echo opened; true";
    let line = line.replace("cut -d' ' -f7", "awk '{print $7}'");
    let said = in_a_terminal(ctx, &line, DOCKER_CAPS)?;
    // stdin is that terminal, or the test shows nothing; it controls nobody in there.
    check!(
        said.starts_with("a-terminal\n"),
        "stdin is no terminal: {said}"
    );
    check_eq!(said, "a-terminal\n0\n", "the controlling terminal");
    Ok(())
}

/// TIOCSTI, of LXC's lxc-attach and of the RUNC of old: refused to who is not controlled by the
/// terminal. Where the kernel refuses it to everybody (6.2, dev.tty.legacy_tiocsti) too.
///
/// Seen to fail: without setsid in `launch/init.rs:steps`: `TIOCSTI: found 0, wanted -1`.
fn cve_2016_10124_nothing_can_be_pushed_into_the_callers_terminal(ctx: &Ctx) -> Outcome {
    let call = format!(
        "/bin/probe syscall {} 0 {} s:x",
        libc::SYS_ioctl,
        libc::TIOCSTI
    );
    let said = in_a_terminal(ctx, &call, DOCKER_CAPS)?;
    let found: serde_json::Value = serde_json::from_str(&said)?;
    check_eq!(found["result"], json!(-1), "TIOCSTI");
    let legacy = fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti");
    if legacy.is_ok_and(|text| text.trim() == "0") {
        return skip("the kernel refuses TIOCSTI to all (dev.tty.legacy_tiocsti is 0)");
    }
    Ok(())
}

/// A host user's cgroup that was delegated to it: what a rootless container must not reach. It
/// is the id that root has in the containers' user namespaces.
fn delegated(ctx: &Ctx) -> Outcome<Vec<std::path::PathBuf>> {
    let mut made = Vec::new();
    for hierarchy in &ctx.hierarchies {
        let dir = ctx.cgroup_dir(hierarchy, "slice");
        fs::create_dir_all(&dir).because(dir.display())?;
        chown(&dir, Some(100_000), Some(100_000))?;
        made.push(dir);
    }
    Ok(made)
}

/// Tries to make a cgroup in the slice at every place below /sys/fs/cgroup of a container.
fn no_cgroup_is_made(ctx: &Ctx, b: Bundle) -> Outcome {
    let slices = delegated(ctx)?;
    let mut line = String::new();
    for (hierarchy, slice) in ctx.hierarchies.iter().zip(&slices) {
        let name = hierarchy
            .mount
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let below = slice.strip_prefix(&hierarchy.mount).because("a slice")?;
        for top in [
            "/sys/fs/cgroup".to_string(),
            format!("/sys/fs/cgroup/{name}"),
        ] {
            line += &format!("mkdir {top}/{}/made && echo made; ", below.display());
        }
    }
    line += "true";
    let output = b.shell(&line).run()?;
    let made: Vec<_> = slices
        .iter()
        .filter(|slice| slice.join("made").exists())
        .collect();
    for slice in &made {
        fs::remove_dir(slice.join("made"))?;
    }
    let judged = made.is_empty();
    for slice in &slices {
        fs::remove_dir(slice)?;
    }
    check!(
        judged,
        "a cgroup of the host was made: {made:?} {}",
        output.stderr
    );
    check!(
        output.code == 0,
        "the container did not run: {}",
        output.stderr
    );
    Ok(())
}

/// Without a cgroup namespace, in a user namespace.
///
/// Seen to fail: with the whole hierarchy bound (the path left out of `V1Mount::bind` in
/// `launch/parent.rs:cgroup_mounts`): `a cgroup of the host was made: …`.
fn cve_2023_25809_the_hosts_cgroups_cannot_be_written(ctx: &Ctx) -> Outcome {
    for options in [&["ro"] as &[&str], &[]] {
        let b =
            Bundle::new(ctx)?
                .user_namespace()
                .mount("/sys/fs/cgroup", "cgroup", "cgroup", options);
        no_cgroup_is_made(ctx, b)?;
    }
    ctx.nothing_left()
}

/// What `runc spec --rootless` writes: /sys of the host, recursive and read-only.
///
/// Seen to fail: without the recursive read-only flag for /sys in `plan/mounts.rs:bind`: `a
/// cgroup of the host was made`.
fn crun_1_31_submounts_of_a_read_only_host_sys_are_read_only(ctx: &Ctx) -> Outcome {
    let mut b = Bundle::new(ctx)?.user_namespace();
    if let Some(mounts) = b.config["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "sysfs");
    }
    let b = b.mount(
        "/sys",
        "none",
        "/sys",
        &["rbind", "nosuid", "noexec", "nodev", "ro"],
    );
    no_cgroup_is_made(ctx, b)?;
    ctx.nothing_left()
}

/// A release_agent is in the root of a v1 hierarchy only, and cgroups are mounted read-only.
///
/// Seen to fail: with the whole hierarchy bound (the path left out of `V1Mount::bind` in
/// `launch/parent.rs:cgroup_mounts`): `what can be reached: found
/// "/sys/fs/cgroup/blkio/release_agent…`; without MS_RDONLY for
/// `rootfs/cgroupfs.rs:mount_hierarchy`: `found "written: /sys/fs/cgroup/blkio…`.
fn cve_2022_0492_the_release_agent_is_out_of_reach(ctx: &Ctx) -> Outcome {
    for own_namespace in [false, true] {
        let b = Bundle::new(ctx)?
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"])
            .shell(
                "for file in /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent; do \
                 test -e $file && echo $file; done; \
                 for dir in /sys/fs/cgroup /sys/fs/cgroup/*; do \
                 mkdir $dir/made 2>/dev/null && echo written: $dir; \
                 echo 1 2>/dev/null >$dir/notify_on_release && echo written: $dir/notify; done; true",
            );
        let b = if own_namespace {
            b.namespace("cgroup", None)
        } else {
            b
        };
        check_eq!(b.run()?.ok()?.stdout, "", "what can be reached");
    }
    ctx.nothing_left()
}
