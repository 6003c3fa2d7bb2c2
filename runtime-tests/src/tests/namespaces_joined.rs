//! Namespaces of others that are joined.

use super::namespaces::{ALL, kernel_name, offset, own, with_all_eight};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::json;

tests!("namespaces_joined":
    a_container_joins_the_namespaces_of_another,
    a_pid_namespace_is_joined_without_being_its_first_process,
    the_first_process_in_a_joined_pid_namespace_leads_a_session,
    the_state_and_the_pid_file_name_the_process_in_a_joined_pid_namespace,
    a_limit_of_one_process_does_not_keep_out_of_a_joined_pid_namespace,
    a_pid_namespace_that_has_ended_is_one_clear_line,
    user_and_pid_namespaces_of_another_container_are_joined_together,
    a_pid_namespace_is_joined_from_a_new_user_namespace,
    a_joined_user_namespace_keeps_its_mapping,
    mappings_of_a_joined_user_namespace_have_to_be_its_own,
    all_eight_namespaces_of_a_container_are_joined,
    namespaces_of_several_containers_are_joined_at_once,
    a_user_namespace_is_joined_together_with_those_of_others,
    a_joined_mount_namespace_stays_as_it_is,
    a_tree_of_its_own_is_made_apart_from_a_joined_mount_namespace,
    a_tree_of_its_own_is_made_apart_from_the_hosts_mount_namespace,
    no_way_up_leads_out_of_a_tree_made_apart,
    a_tree_made_apart_has_masks_and_a_read_only_root,
    a_tree_made_apart_has_a_terminal,
    what_a_tree_made_apart_cannot_have_is_refused,
    time_offsets_are_set_in_a_joined_user_namespace,
);

fn a_container_joins_the_namespaces_of_another(ctx: &Ctx) -> Outcome {
    let pause = Bundle::new(ctx)?
        .namespace("cgroup", None)
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let pid = pause.pid()?;
    let mut b = Bundle::new(ctx)?.remove("/hostname");
    for kind in ["network", "ipc", "uts", "cgroup"] {
        b = b.namespace(kind, Some(&format!("/proc/{pid}/ns/{}", kernel_name(kind))));
    }
    let facts = b.facts()?;
    for kind in ["network", "ipc", "uts", "cgroup"] {
        let link = format!("/proc/{pid}/ns/{}", kernel_name(kind));
        let wanted = std::fs::read_link(&link).because(&link)?;
        check_eq!(
            facts.namespace(kernel_name(kind))?,
            wanted.to_string_lossy(),
            "{kind}"
        );
    }
    check_eq!(
        facts.text("hostname")?,
        pause.id,
        "hostname of the joined uts namespace"
    );
    Ok(())
}

fn a_pid_namespace_is_joined_without_being_its_first_process(ctx: &Ctx) -> Outcome {
    let pause = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let path = format!("/proc/{}/ns/pid", pause.pid()?);
    let facts = Bundle::new(ctx)?.namespace("pid", Some(&path)).facts()?;
    check_eq!(
        facts.namespace("pid")?,
        std::fs::read_link(&path)?.to_string_lossy(),
        "pid"
    );
    check!(facts.0["pid"] != json!(1), "pid 1 of a joined namespace");
    pause.status_is("running")
}

/// A container that sleeps, and the path of its pid namespace.
fn neighbour(ctx: &Ctx) -> Outcome<(crate::container::Container<'_>, String)> {
    let pause = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let path = format!("/proc/{}/ns/pid", pause.pid()?);
    Ok((pause, path))
}

fn the_first_process_in_a_joined_pid_namespace_leads_a_session(ctx: &Ctx) -> Outcome {
    let (_pause, path) = neighbour(ctx)?;
    // Fields 5 and 6 of stat: process group and session, 0 if they are of another namespace.
    let said = Bundle::new(ctx)?
        .namespace("pid", Some(&path))
        .says("read -r pid rest < /proc/self/stat; cut -d' ' -f1,5,6 /proc/$$/stat")?;
    let ids: Vec<&str> = said.split_whitespace().collect();
    check!(
        ids.len() == 3 && ids[0] == ids[1] && ids[0] == ids[2],
        "pid, group and session: {said:?}"
    );
    Ok(())
}

fn the_state_and_the_pid_file_name_the_process_in_a_joined_pid_namespace(ctx: &Ctx) -> Outcome {
    let (_pause, path) = neighbour(ctx)?;
    let file = ctx.dir.join("pid");
    let c = Bundle::new(ctx)?
        .namespace("pid", Some(&path))
        .args(&["/bin/sleep", "1000"])
        .create_with(&["--pid-file", &file.to_string_lossy()])?;
    let pid = c.pid()?;
    check_eq!(std::fs::read_to_string(&file)?, pid.to_string(), "pid file");
    check_eq!(
        std::fs::read_link(format!("/proc/{pid}/ns/pid"))?,
        std::fs::read_link(&path)?,
        "the process's own pid namespace"
    );
    c.start()?;
    check_eq!(c.pid()?, pid, "pid after the start");
    c.kill("KILL")?;
    c.wait_status("stopped")
}

fn a_limit_of_one_process_does_not_keep_out_of_a_joined_pid_namespace(ctx: &Ctx) -> Outcome {
    let (_pause, path) = neighbour(ctx)?;
    Bundle::new(ctx)?
        .namespace("pid", Some(&path))
        .set("/linux/resources/pids", json!({"limit": 1}))
        .args(&["/bin/true"])
        .run()?
        .ok()?;
    Ok(())
}

fn a_pid_namespace_that_has_ended_is_one_clear_line(ctx: &Ctx) -> Outcome {
    let (pause, path) = neighbour(ctx)?;
    // The file outlives the namespace's processes.
    let kept = ctx.dir.join("pidns");
    std::fs::write(&kept, "")?;
    ctx.host(&["mount", "--bind", &path, &kept.to_string_lossy()])
        .run()?
        .ok()?;
    pause.delete_force()?.ok()?;
    ctx.stays();
    let refused = Bundle::new(ctx)?
        .namespace("pid", Some(&kept.to_string_lossy()))
        .create_refused();
    ctx.host(&["umount", &kept.to_string_lossy()]).run()?.ok()?;
    let output = refused?.says(&["its first process has ended"])?;
    check!(
        output.stderr.contains("/linux/namespaces/") && output.stderr.contains("/path"),
        "no pointer: {}",
        output.stderr
    );
    ctx.nothing_left()
}

fn user_and_pid_namespaces_of_another_container_are_joined_together(ctx: &Ctx) -> Outcome {
    let pause = Bundle::new(ctx)?
        .user_namespace()
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let pid = pause.pid()?;
    let mut b = Bundle::new(ctx)?;
    for kind in ["user", "pid"] {
        b = b.namespace(kind, Some(&format!("/proc/{pid}/ns/{kind}")));
    }
    let facts = b.facts()?;
    for kind in ["user", "pid"] {
        check_eq!(
            facts.namespace(kind)?,
            std::fs::read_link(format!("/proc/{pid}/ns/{kind}"))?.to_string_lossy(),
            "{kind}"
        );
    }
    Ok(())
}

fn a_pid_namespace_is_joined_from_a_new_user_namespace(ctx: &Ctx) -> Outcome {
    let (_pause, path) = neighbour(ctx)?;
    let facts = Bundle::new(ctx)?
        .user_namespace()
        .namespace("pid", Some(&path))
        // A procfs of a pid namespace that it does not own cannot be mounted from there.
        .set(
            "/mounts",
            json!([
                {"destination": "/proc", "source": "/proc", "options": ["rbind", "ro"]},
                {"destination": "/dev", "type": "tmpfs", "options": ["mode=755"]},
            ]),
        )
        .facts()?;
    check_eq!(
        facts.namespace("pid")?,
        std::fs::read_link(&path)?.to_string_lossy(),
        "pid"
    );
    Ok(())
}

fn a_joined_user_namespace_keeps_its_mapping(ctx: &Ctx) -> Outcome {
    let pause = Bundle::new(ctx)?
        .user_namespace()
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let pid = pause.pid()?;
    let mut b = Bundle::new(ctx)?.remove("/hostname");
    for kind in ["user", "network", "ipc", "uts"] {
        b = b.namespace(kind, Some(&format!("/proc/{pid}/ns/{}", kernel_name(kind))));
    }
    let facts = b.facts()?;
    let map: Vec<String> = facts
        .text("uid_map")?
        .split_whitespace()
        .map(str::to_string)
        .collect();
    check_eq!(map, ["0", "100000", "65536"], "uid_map");
    check_eq!(facts.status("Uid")?, "0 0 0 0", "user inside");
    Ok(())
}

fn mappings_of_a_joined_user_namespace_have_to_be_its_own(ctx: &Ctx) -> Outcome {
    let pause = Bundle::new(ctx)?
        .user_namespace()
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let path = format!("/proc/{}/ns/user", pause.pid()?);
    // The kernel sorts them otherwise than they are given.
    let own = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let other = json!([{"containerID": 0, "hostID": 100_000, "size": 65_535}]);
    let joining = |uids: &serde_json::Value, gids: &serde_json::Value| {
        Ok::<_, crate::outcome::Stop>(
            Bundle::new(ctx)?
                .namespace("user", Some(&path))
                .set("/linux/uidMappings", uids.clone())
                .set("/linux/gidMappings", gids.clone()),
        )
    };
    joining(&own, &own)?.run()?.ok()?;
    joining(&own, &json!([]))?.run()?.ok()?;
    for (uids, gids, pointer) in [
        (&other, &own, "/linux/uidMappings: the user namespace"),
        (&own, &other, "/linux/gidMappings: the user namespace"),
    ] {
        joining(uids, gids)?
            .run()?
            .code_is(1)?
            .says(&[pointer])?
            .says(&["has other mappings"])?;
    }
    Ok(())
}

/// A bundle that joins this namespace of a container.
fn joining<'a>(b: Bundle<'a>, kind: &str, pid: i32) -> Bundle<'a> {
    b.namespace(kind, Some(&format!("/proc/{pid}/ns/{}", kernel_name(kind))))
}

/// Fails unless a process has the namespaces of these processes.
fn has_those_of(facts: &crate::facts::Facts, wanted: &[(&str, i32)]) -> Outcome {
    for (kind, pid) in wanted {
        let link = format!("/proc/{pid}/ns/{}", kernel_name(kind));
        let wanted = std::fs::read_link(&link).because(&link)?;
        check_eq!(
            facts.namespace(kernel_name(kind))?,
            wanted.to_string_lossy(),
            "{kind} namespace"
        );
    }
    Ok(())
}

/// A bundle without anything that needs a mount namespace of its own.
fn without_mounts(b: Bundle<'_>) -> Bundle<'_> {
    b.remove("/mounts")
        .remove("/hostname")
        .set("/root/path", "/")
}

fn all_eight_namespaces_of_a_container_are_joined(ctx: &Ctx) -> Outcome {
    let first = with_all_eight(ctx)?.detach()?;
    let pid = first.pid()?;
    let mut b = without_mounts(Bundle::new(ctx)?);
    let all: Vec<(&str, i32)> = ALL.into_iter().chain(["time"]).map(|k| (k, pid)).collect();
    for (kind, pid) in &all {
        b = joining(b, kind, *pid);
    }
    let facts = b.facts()?;
    has_those_of(&facts, &all)?;
    check_eq!(facts.text("hostname")?, first.id, "hostname");
    first.status_is("running")
}

fn namespaces_of_several_containers_are_joined_at_once(ctx: &Ctx) -> Outcome {
    let pause = |time: bool| {
        let mut b = Bundle::new(ctx)?
            .namespace("cgroup", None)
            .args(&["/bin/sleep", "1000"]);
        if time {
            b = b.namespace("time", None);
        }
        b.detach()
    };
    let (first, second, third) = (pause(true)?, pause(false)?, pause(false)?);
    let all = [
        ("network", first.pid()?),
        ("time", first.pid()?),
        ("ipc", second.pid()?),
        ("cgroup", second.pid()?),
        ("uts", third.pid()?),
        ("pid", third.pid()?),
    ];
    let mut b = Bundle::new(ctx)?.remove("/hostname");
    for (kind, pid) in all {
        b = joining(b, kind, pid);
    }
    let facts = b.facts()?;
    has_those_of(&facts, &all)?;
    check!(
        facts.namespace("mnt")? != own("mount")?,
        "the mount namespace is the host's"
    );
    Ok(())
}

fn a_user_namespace_is_joined_together_with_those_of_others(ctx: &Ctx) -> Outcome {
    let user = with_all_eight(ctx)?.detach()?;
    let user = user.pid()?;
    // A second container in the same user namespace, with others of its own.
    let second = joining(Bundle::new(ctx)?, "user", user)
        .namespace("cgroup", None)
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let second = second.pid()?;
    let all = [
        ("user", user),
        ("network", second),
        ("ipc", user),
        ("uts", second),
        ("cgroup", user),
        ("pid", second),
    ];
    let mut b = Bundle::new(ctx)?.remove("/hostname");
    for (kind, pid) in all {
        b = joining(b, kind, pid);
    }
    has_those_of(&b.facts()?, &all)
}

fn a_joined_mount_namespace_stays_as_it_is(ctx: &Ctx) -> Outcome {
    let first = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let pid = first.pid()?;
    let seen = || -> Outcome<(String, String)> {
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
        let names: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/root"))?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        Ok((mounts, names.join(" ")))
    };
    let before = seen()?;
    let b = joining(without_mounts(Bundle::new(ctx)?), "mount", pid);
    let facts = joining(b, "pid", pid).facts()?;
    has_those_of(&facts, &[("mount", pid)])?;
    check_eq!(seen()?, before, "mounts and root of the neighbour");
    // A root below that of the namespace.
    let said = joining(without_mounts(Bundle::new(ctx)?), "mount", pid)
        .set("/root/path", "/bin")
        .args(&["/busybox", "ls", "/"])
        .run()?
        .ok()?;
    check!(said.stdout.contains("busybox"), "{}", said.stdout);
    check_eq!(seen()?, before, "mounts and root of the neighbour");
    Ok(())
}

/// Sleeps with a file in a tmpfs, which shows whose tree it is.
const IN_A_TMPFS: &str = "echo here > /dev/shm/file; echo ready; exec sleep 1000";

/// What such a container shows, to itself and to `exec`, with its mount namespace that of `pid`.
fn has_its_own_tree(b: Bundle<'_>, pid: i32) -> Outcome {
    std::fs::write(b.rootfs().join("only-here"), "yes")?;
    let c = b.shell(IN_A_TMPFS).detach()?;
    c.wait_stdout("ready")?;
    let inode = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/mnt"));
    check_eq!(inode(c.pid()?)?, inode(pid)?, "mount namespace");
    let look = "cat /dev/shm/file /only-here; ls -d /sys/kernel; head -c 0 /dev/null && echo null";
    let said = c.exec_says(&[], look)?;
    check_eq!(said, "here\nyes/sys/kernel\nnull", "what is seen inside");
    c.delete_force()?.ok()?;
    Ok(())
}

fn a_tree_of_its_own_is_made_apart_from_a_joined_mount_namespace(ctx: &Ctx) -> Outcome {
    let mut neighbour = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", "echo; exec sleep 1000"])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = neighbour.stdout.take().because("its output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    let pid = neighbour.id() as i32;
    let mounts = || std::fs::read_to_string(format!("/proc/{pid}/mountinfo"));
    let before = mounts()?;
    let seen = has_its_own_tree(joining(Bundle::new(ctx)?, "mount", pid), pid);
    let after = mounts()?;
    neighbour.kill()?;
    neighbour.wait()?;
    seen?;
    check_eq!(after, before, "mounts of the neighbour");
    ctx.nothing_left()
}

fn a_tree_of_its_own_is_made_apart_from_the_hosts_mount_namespace(ctx: &Ctx) -> Outcome {
    let own = std::process::id() as i32;
    has_its_own_tree(Bundle::new(ctx)?.without_namespace("mount"), own)?;
    let none = Bundle::new(ctx)?.set("/linux/namespaces", json!([]));
    has_its_own_tree(none.remove("/hostname"), own)?;
    // The harness looks for mounts that are left on the host.
    ctx.nothing_left()
}

fn no_way_up_leads_out_of_a_tree_made_apart(ctx: &Ctx) -> Outcome {
    // How root leaves a chroot: from a second one, where `..` of a directory outside of it goes up for ever.
    let line = "exec 3</; exec chroot /in /bin/sh -c \
        'cd -P /proc/self/fd/3 && cd -P ../../../../../.. && /bin/ls -d only-here'";
    let b = Bundle::new(ctx)?
        .without_namespace("mount")
        .capabilities(&["CAP_SYS_CHROOT"]);
    std::fs::write(b.rootfs().join("only-here"), "yes")?;
    let programs = b.rootfs().join("bin");
    let b = b.mount("/in/proc", "proc", "proc", &[]).mount(
        "/in/bin",
        "",
        &programs.to_string_lossy(),
        &["bind"],
    );
    check_eq!(b.says(line)?, "only-here", "at the top");
    Ok(())
}

fn a_tree_made_apart_has_masks_and_a_read_only_root(ctx: &Ctx) -> Outcome {
    let own = std::process::id() as i32;
    let b = joining(Bundle::new(ctx)?, "mount", own)
        .set("/root/readonly", true)
        .set("/linux/maskedPaths", json!(["/proc/uptime"]))
        .set("/linux/readonlyPaths", json!(["/proc/sys"]));
    let line = "(echo x > /file) 2>&1 | grep -o Read-only; cat /proc/uptime; \
        (echo x > /proc/sys/kernel/hostname) 2>&1 | grep -o Read-only";
    check_eq!(b.says(line)?, "Read-only\nRead-only", "what is protected");
    Ok(())
}

fn a_tree_made_apart_has_a_terminal(ctx: &Ctx) -> Outcome {
    // The harness has none of its own, so the terminal is left to a socket that nobody reads.
    let socket = ctx.dir.join("console");
    let _listener = std::os::unix::net::UnixListener::bind(&socket)?;
    let b = Bundle::new(ctx)?
        .without_namespace("mount")
        .set("/process/terminal", true)
        .shell("test -t 0 && test -c /dev/console && echo yes > /told");
    let told = b.rootfs().join("told");
    let made = std::process::Command::new("mkfifo").arg(&told).status()?;
    check!(made.success(), "mkfifo: {made}");
    let option = socket.to_string_lossy().into_owned();
    let c = b.create_with(&["--console-socket", &option])?;
    c.start()?;
    // Read until the program has told it and ended.
    check_eq!(std::fs::read_to_string(&told)?, "yes\n", "told");
    Ok(())
}

fn what_a_tree_made_apart_cannot_have_is_refused(ctx: &Ctx) -> Outcome {
    let path = "/proc/self/ns/mnt";
    let hook = json!([{"path": "/bin/true"}]);
    without_mounts(Bundle::new(ctx)?)
        .namespace("mount", Some(path))
        .set("/hooks/createContainer", hook)
        .create_refused()?
        .says(&["/hooks/createContainer: needs a mount namespace"])?;
    Bundle::new(ctx)?
        .user_namespace()
        .namespace("mount", Some(path))
        .create_refused()?
        .says(&["/mounts: needs a mount namespace of the container's own"])?;
    Bundle::new(ctx)?
        .without_namespace("mount")
        .mount("/t", "tmpfs", "tmpfs", &["unbindable"])
        .create_refused()?
        .says(&["/options: needs a mount namespace"])?;
    ctx.nothing_left()
}

fn time_offsets_are_set_in_a_joined_user_namespace(ctx: &Ctx) -> Outcome {
    let first = Bundle::new(ctx)?
        .user_namespace()
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let pid = first.pid()?;
    offset(joining(Bundle::new(ctx)?, "user", pid))?;
    // Nothing but the time namespace is new.
    let mut b = without_mounts(Bundle::new(ctx)?);
    for kind in ["user", "pid", "network", "ipc", "uts", "mount"] {
        b = joining(b, kind, pid);
    }
    offset(b)
}
