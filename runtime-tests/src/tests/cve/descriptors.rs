//! Descriptors: none of the host's tree is in a container's reach, whoever opened it.

use super::{SLEEP, calls, replace_by_link, strace};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::sockets::FdSocket;
use crate::{check, check_eq, tests};
use rustix::fs::{FileType, makedev, stat};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

tests!("cve":
    cve_2015_3627_streams_are_not_opened_in_the_image,
    cve_2016_9962_a_waiting_init_holds_no_descriptor_of_the_host,
    cve_2016_9962_a_neighbour_cannot_look_into_a_waiting_init,
    cve_2024_21626_no_descriptor_serves_as_working_directory,
    cve_2024_21626_no_descriptor_serves_as_program,
    cve_2024_21626_every_descriptor_is_opened_close_on_exec,
    cve_2020_15257_no_socket_is_offered,
    crun_1_31_an_init_is_undumpable_before_it_joins_a_namespace,
);

/// A shell that opens the host's root as descriptors 3 to 20, then starts the runtime.
const LEAKY: [&str; 3] = [
    "bash",
    "-c",
    "for n in {3..20}; do eval \"exec $n</\"; done; exec \"$0\" \"$@\"",
];

/// Closed streams are the host's /dev/null, whatever the image has there.
///
/// Seen to fail: without `open_standard_streams` in `sys/entry.rs:run`: `/proc/31675/fd/0: No
/// such file or directory`.
fn cve_2015_3627_streams_are_not_opened_in_the_image(ctx: &Ctx) -> Outcome {
    let trap = super::trap(ctx)?;
    let b = Bundle::new(ctx)?.args(&SLEEP);
    for name in [
        "dev/null",
        "dev/stdin",
        "dev/stdout",
        "dev/console",
        "dev/tty",
    ] {
        replace_by_link(&b, name, trap.join("made"))?;
    }
    let pid_file = ctx.dir.join("pid");
    let pid_file = pid_file.to_string_lossy();
    ctx.created(&b.id);
    let closed = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    let create = b.verb("create", &["--pid-file", &pid_file])?;
    create.within(&closed).run()?.ok()?;
    let pid = fs::read_to_string(&*pid_file)?;
    for fd in 0..3 {
        let link = format!("/proc/{}/fd/{fd}", pid.trim());
        let found = stat(&link).because(&link)?;
        check!(
            found.st_rdev == makedev(1, 3),
            "stream {fd} is {:?}",
            FileType::from_raw_mode(found.st_mode)
        );
    }
    super::untouched(&trap)
}

/// What a waiting init may have open, besides the streams.
fn known(target: &str) -> bool {
    target.starts_with("/memfd:corten-init")
        || target.starts_with("socket:[")
        || target.ends_with("/exec.fifo")
        || target.ends_with("/exec.fifo.new")
}

/// Seen to fail: without `hide_callers_descriptors` in `launch/attempt.rs:clone_init`: `the waiting
/// init holds / open as 3`.
fn cve_2016_9962_a_waiting_init_holds_no_descriptor_of_the_host(ctx: &Ctx) -> Outcome {
    let plain = Bundle::new(ctx)?;
    let user = Bundle::new(ctx)?.user_namespace();
    let volume = ctx.dir.join("volume");
    fs::create_dir(&volume)?;
    let more = Bundle::new(ctx)?
        .mount("/srv", "bind", &volume.to_string_lossy(), &["rbind", "ro"])
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"])
        .set(
            "/linux/maskedPaths",
            json!(["/proc/version", "/sys/firmware"]),
        )
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        .push("/hooks/createContainer", json!({"path": "/bin/true"}));
    for b in [plain, user, more] {
        for leaky in [false, true] {
            let create = b.verb::<&str>("create", &[])?;
            let create = if leaky { create.within(&LEAKY) } else { create };
            create.run()?.ok()?;
            let state = ctx.rt(&["state", &b.id]).run()?.ok()?;
            let state: Value = serde_json::from_str(&state.stdout)?;
            for entry in fs::read_dir(format!("/proc/{}/fd", state["pid"]))?.flatten() {
                let number: i32 = entry.file_name().to_string_lossy().parse()?;
                let target = fs::read_link(entry.path())?;
                let target = target.to_string_lossy();
                check!(
                    number < 3 || known(&target),
                    "the waiting init holds {target} open as {number}"
                );
            }
            super::removed(ctx, &b)?;
        }
    }
    ctx.nothing_left()
}

/// A container in the same pid namespace, with the same user and capabilities.
///
/// Seen to fail: without `prctl(PR_SET_DUMPABLE, 0)` in `sys/stub/main.rs:stub_main`: `seen
/// through /proc: bin dev etc …`.
fn cve_2016_9962_a_neighbour_cannot_look_into_a_waiting_init(ctx: &Ctx) -> Outcome {
    let first = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    let shared = format!("/proc/{}/ns/pid", first.pid()?);
    let waiting = Bundle::new(ctx)?
        .namespace("pid", Some(&shared))
        .args(&SLEEP);
    let waiting = waiting.create()?;
    let inside = fs::read_to_string(format!("/proc/{}/status", waiting.pid()?))?;
    let numbers = inside.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let number = numbers
        .and_then(|n| n.split_whitespace().last())
        .because("NSpid")?;
    let line = format!(
        "ls /proc/{number}/root/ 2>/dev/null; \
         for fd in /proc/{number}/fd/*; do readlink $fd; done; \
         readlink /proc/{number}/exe; head -c 1 /proc/{number}/environ 2>/dev/null; true"
    );
    let spy = Bundle::new(ctx)?
        .namespace("pid", Some(&shared))
        .shell(&line);
    let said = spy.run()?.ok()?.stdout;
    check!(said.is_empty(), "seen through /proc: {said}");
    Ok(())
}

/// Seen to fail: without RESOLVE_IN_ROOT and NO_MAGICLINKS (each alone keeps such links out) in
/// `rootfs/resolve.rs:open_resolved`, and without the look at getcwd in
/// `launch/program.rs:prepare`: `taken as working directory: /proc/self/fd/3`. With the look
/// at getcwd all descriptors are refused, and `/proc/self/cwd` is the first that is taken.
fn cve_2024_21626_no_descriptor_serves_as_working_directory(ctx: &Ctx) -> Outcome {
    let mut b = Bundle::new(ctx)?.shell("echo taken; pwd; ls -d ../../../../etc/fstab");
    let mut places = Vec::new();
    for number in 3..24 {
        places.push(format!("/proc/self/fd/{number}"));
    }
    for number in [3, 4, 7, 8, 20] {
        places.push(format!("/proc/self/fd/{number}/"));
        places.push(format!("/proc/thread-self/fd/{number}/tmp"));
        places.push(format!("/proc/1/fd/{number}/../.."));
        places.push(format!("/link/{number}"));
    }
    let others = [
        "/proc/self/cwd",
        "/proc/1/root",
        "/proc/self/root/../..",
        "/proc/self/fd/0",
    ];
    places.extend(others.map(str::to_string));
    replace_by_link(&b, "link", "/proc/self/fd")?;
    for place in places {
        b = b.set("/process/cwd", place.as_str());
        for preserve in [&[] as &[&str], &["--preserve-fds", "18"]] {
            let output = b.verb("run", preserve)?.within(&LEAKY).run()?;
            check!(
                !output.stdout.contains("taken"),
                "taken as working directory: {place}"
            );
            output.refused()?.says(&["/process/cwd"])?;
        }
    }
    ctx.nothing_left()
}

/// An image's entry point that goes through a descriptor of the host's tree, which is closed by
/// execve only after it has been followed.
///
/// Seen to fail: without `hide_callers_descriptors` in `launch/attempt.rs:clone_init`: `the host's program
/// ran through descriptor 3`.
fn cve_2024_21626_no_descriptor_serves_as_program(ctx: &Ctx) -> Outcome {
    let program = ctx.dir.join("busybox");
    fs::copy(ctx.base.join("busybox"), &program)?;
    let program = program.to_string_lossy();
    for number in 3..24 {
        let through = format!("/proc/self/fd/{number}{program}");
        let b = Bundle::new(ctx)?.args(&[&through, "echo", "escaped"]);
        let output = b.verb::<&str>("run", &[])?.within(&LEAKY).run()?;
        check!(
            !output.stdout.contains("escaped"),
            "the host's program ran through descriptor {number}"
        );
        let b = Bundle::new(ctx)?.set("/process/args", json!(["sh", "-c", "echo escaped"]));
        let dir = Path::new(&through).parent().because("parent")?;
        let b = b.push("/process/env", format!("PATH={}", dir.display()));
        let output = b.verb::<&str>("run", &[])?.within(&LEAKY).run()?;
        check!(
            !output.stdout.contains("escaped"),
            "found by PATH: {number}"
        );
    }
    ctx.nothing_left()
}

/// The life of a container with much in its configuration, as strace reports it: `create`, then
/// `delete` before anything of the container's own has run.
fn traced_life(ctx: &Ctx, filter: &str) -> Outcome<Vec<(String, String, String)>> {
    let volume = ctx.dir.join("volume");
    fs::create_dir(&volume)?;
    let socket = FdSocket::bind(&ctx.dir.join("console"))?;
    let path = socket.path.to_string_lossy().into_owned();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]});
    let mut all = Vec::new();
    for user in [false, true] {
        let b = Bundle::new(ctx)?
            .set("/process/terminal", true)
            .set("/root/readonly", true)
            .mount("/srv", "bind", &volume.to_string_lossy(), &["rbind", "ro"])
            .mount("/tmp", "tmpfs", "tmpfs", &["tmpcopyup"])
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"])
            .namespace("cgroup", None)
            .set(
                "/linux/maskedPaths",
                json!(["/proc/version", "/sys/firmware"]),
            )
            .set("/linux/readonlyPaths", json!(["/proc/sys"]))
            .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
            .set("/linux/seccomp", profile.clone())
            .set("/linux/resources/pids/limit", 64)
            .push(
                "/linux/devices",
                json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}),
            )
            .args(&SLEEP);
        let b = if user { b.user_namespace() } else { b };
        let (words, report) = strace(ctx, &["-e", filter])?;
        let create = b.verb("create", &["--console-socket", &path])?;
        create.within(&words).run()?.ok()?;
        ctx.rt(&["delete", "--force", &b.id])
            .within(&words_for(&words, "delete"))
            .run()?
            .ok()?;
        // The report is complete when the tracer has ended with all that it traces.
        ctx.nothing_left()?;
        all.extend(calls(&report)?);
        let of_delete = report.with_extension("delete");
        all.extend(calls(&of_delete)?);
    }
    check!(!all.is_empty(), "strace has reported nothing");
    Ok(all)
}

/// The same strace with another file for its report.
fn words_for(words: &[String], ending: &str) -> Vec<String> {
    let place = words
        .iter()
        .position(|word| word == "-o")
        .map_or(0, |at| at + 1);
    let mut words = words.to_vec();
    words[place] = format!("{}.{ending}", words[place]);
    words
}

/// Seen to fail: without O_CLOEXEC in `rootfs/dev.rs:open_verified`: `descriptor 66 outlives
/// execve: openat(AT_FDCWD, "/dev/null", O_RDONLY|O_NOFOLLOW|O_PATH) = 66`.
fn cve_2024_21626_every_descriptor_is_opened_close_on_exec(ctx: &Ctx) -> Outcome {
    const MAKERS: &str = "trace=open,openat,openat2,open_tree,fsopen,fsmount,fspick,socket,\
        socketpair,accept,accept4,memfd_create,pipe,pipe2,dup,dup3,fcntl,epoll_create,\
        epoll_create1,eventfd2,inotify_init1,signalfd4,timerfd_create,ioctl,recvmsg";
    let mut seen = 0;
    for (_, name, arguments) in traced_life(ctx, MAKERS)? {
        let Some(result) = arguments.rsplit(" = ").next() else {
            continue;
        };
        let fd: i32 = match result.split(' ').next().unwrap_or_default().parse() {
            Ok(fd) if fd > 2 => fd,
            _ => continue,
        };
        let makes = match name.as_str() {
            "fcntl" => arguments.contains("F_DUPFD"),
            "ioctl" => arguments.contains("TIOCGPTPEER"),
            "recvmsg" => arguments.contains("SCM_RIGHTS"),
            _ => true,
        };
        if !makes {
            continue;
        }
        seen += 1;
        // strace shows the flags of this one as a number.
        let flags = arguments
            .split(')')
            .next()
            .and_then(|a| a.rsplit("0x").next());
        let number = flags.and_then(|flags| u32::from_str_radix(flags, 16).ok());
        let bit = rustix::fs::OFlags::CLOEXEC.bits();
        let set = name == "ioctl" && number.is_some_and(|flags| flags & bit != 0);
        check!(
            set || arguments.contains("CLOEXEC"),
            "descriptor {fd} outlives execve: {name}({arguments}"
        );
    }
    check!(seen > 50, "only {seen} descriptors were seen to be made");
    Ok(())
}

/// containerd's shim listened on an abstract socket, which every container without a network
/// namespace of its own could reach.
///
/// Seen to fail: with a socket bound to an abstract name in `cli/create.rs:create`: `a socket is
/// offered: bind(3, {sa_family=AF_UNIX, sun_path=@"corten-822"}, 13) = 0`.
fn cve_2020_15257_no_socket_is_offered(ctx: &Ctx) -> Outcome {
    let all = traced_life(ctx, "trace=%network,openat")?;
    for (_, name, arguments) in &all {
        let offers = ["bind", "listen", "accept", "accept4"].contains(&name.as_str());
        check!(!offers, "a socket is offered: {name}({arguments}");
        let abstract_name = arguments.contains("sun_path=@");
        check!(!abstract_name, "an abstract socket: {name}({arguments}");
    }
    // Where systemd makes the cgroups it is asked for them.
    let asks_systemd = |arguments: &str| {
        ctx.driver.systemd && (arguments.contains("/systemd/private") || arguments.contains("/bus"))
    };
    let connects = all
        .iter()
        .filter(|(_, name, arguments)| name == "connect" && !asks_systemd(arguments))
        .count();
    check_eq!(connects, 2, "connections, to the console sockets");
    Ok(())
}

/// Seen to fail: without `set_dumpable_behavior` in `launch/attempt.rs:clone_init`: `setns(28,
/// CLONE_NEWNET) = 0 while dumpable`; with a new user namespace, without `undumpable` in
/// `launch/init.rs:steps`: `the stub is run while dumpable`.
fn crun_1_31_an_init_is_undumpable_before_it_joins_a_namespace(ctx: &Ctx) -> Outcome {
    let other = Bundle::new(ctx)?.args(&SLEEP).detach()?;
    let namespace = |kind: &str| format!("/proc/{}/ns/{kind}", other.pid().unwrap_or(0));
    let kinds = [
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("pid", "pid"),
    ];
    for user in [false, true] {
        let mut b = Bundle::new(ctx)?.remove("/hostname").args(&SLEEP);
        for (kind, file) in kinds.iter().filter(|(kind, _)| !(user && *kind == "pid")) {
            b = b.namespace(kind, Some(&namespace(file)));
        }
        // What sysfs needs is not there with another's network namespace.
        if let Some(mounts) = b.config["mounts"].as_array_mut() {
            mounts.retain(|m| m["type"] != "sysfs" && m["type"] != "mqueue");
        }
        let b = if user { b.user_namespace() } else { b };
        let (words, report) = strace(
            ctx,
            &[
                "-e",
                "trace=prctl,setns,clone3,clone,unshare,execve,execveat",
            ],
        )?;
        let output = b.verb::<&str>("create", &[])?.within(&words).run()?;
        output.ok()?;
        super::removed(ctx, &b)?;
        ctx.until("strace has ended", || {
            let me = rustix::process::getpid().as_raw_nonzero().get();
            let living = crate::procs::descendants(me);
            !living
                .iter()
                .any(|pid| crate::procs::describe(*pid).contains("strace "))
        })?;
        judge_setns(&calls(&report)?, user)?;
    }
    Ok(())
}

/// Goes through what each process does. A child is as dumpable as its parent was, whose line may
/// come later in the report than the child's first.
fn judge_setns(all: &[(String, String, String)], user: bool) -> Outcome {
    let runtime = all
        .first()
        .map(|(pid, ..)| pid.clone())
        .because("an empty report")?;
    let mut hidden: Vec<String> = Vec::new();
    let mut known = vec![runtime.clone()];
    let mut joined = 0;
    for (pid, name, arguments) in all {
        if !known.contains(pid) {
            if hidden.contains(&runtime) {
                hidden.push(pid.clone());
            }
            known.push(pid.clone());
        }
        match name.as_str() {
            // A process that is made dumpable by execve is the stub, which hides itself again.
            "execveat" if *pid != runtime => {
                check!(hidden.contains(pid), "the stub is run while dumpable");
            }
            "prctl" if arguments.starts_with("PR_SET_DUMPABLE, SUID_DUMP_DISABLE") => {
                hidden.push(pid.clone());
            }
            // The runtime itself is not among the container's processes.
            "setns" if *pid != runtime => {
                joined += 1;
                check!(hidden.contains(pid), "setns({arguments} while dumpable");
            }
            _ => {}
        }
    }
    check!(joined > 0 || user, "no namespace was joined");
    check!(
        known.iter().skip(1).all(|pid| hidden.contains(pid)),
        "an init that never is undumpable"
    );
    Ok(())
}
