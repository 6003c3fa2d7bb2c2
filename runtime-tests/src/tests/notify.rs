//! sd_notify(3) from a container to the service manager that started the runtime.

use crate::bundle::Bundle;
use crate::command::Running;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, procs, tests};
use rustix::process::Signal;
use serde_json::json;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

tests!("notify":
    start_passes_ready_on_with_the_pid,
    a_detached_run_passes_ready_on_with_the_pid,
    run_in_the_foreground_stays_the_main_process,
    an_abstract_socket_is_told_too,
    the_program_finds_the_socket_where_runc_has_it,
    a_user_namespace_has_the_socket,
    start_ends_with_a_container_that_never_says_it,
    what_was_said_right_before_the_end_is_passed_on,
    without_a_service_manager_nothing_is_there,
    without_a_mount_namespace_nothing_is_there,
    a_created_container_is_started_without_a_service_manager,
    crun_1_31_only_ready_is_passed_on,
    crun_1_31_a_flood_does_not_hold_it_up,
    crun_1_31_the_mount_of_the_socket_is_private_and_read_only,
    crun_1_31_what_the_container_makes_of_the_directory_does_not_matter,
    a_start_that_was_killed_leaves_what_delete_removes,
    an_address_that_is_none_is_one_line,
);

/// A service manager: its socket, and what the runtime finds in its environment.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(ctx: &Ctx) -> Outcome<Manager> {
        let path = ctx.dir.join(format!("manager{}", ctx.next()));
        let socket = UnixDatagram::bind(&path)?;
        // The runtime may be a user's.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Manager { socket, path })
    }

    fn env(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// The next message. What came with it is closed, as a barrier wants it.
    fn hears(&self) -> Outcome<String> {
        let mut buffer = [0u8; 8192];
        let length = self.socket.recv(&mut buffer).because("a message")?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    fn hears_nothing(&self) -> Outcome {
        self.socket.set_nonblocking(true)?;
        let heard = self.socket.recv(&mut [0u8; 8192]).is_ok();
        self.socket.set_nonblocking(false)?;
        check!(!heard, "it was told something");
        Ok(())
    }
}

/// A program that says these things and waits.
fn saying<'a>(ctx: &'a Ctx, texts: &[&str]) -> Outcome<Bundle<'a>> {
    let mut args = vec!["/bin/probe", "notify"];
    args.extend(texts);
    Ok(Bundle::new(ctx)?.args(&args))
}

fn created<'a>(ctx: &'a Ctx, b: &Bundle<'a>, manager: &Manager) -> Outcome<Container<'a>> {
    let output = ctx.dir.join(format!("{}-output", b.id));
    ctx.created(&b.id);
    let create = b
        .verb::<&str>("create", &[])?
        .env("NOTIFY_SOCKET", &manager.env());
    create.output(output.clone()).run()?.ok()?;
    Ok(Container::new(ctx, &b.id, &b.dir, output))
}

fn start(ctx: &Ctx, c: &Container<'_>, manager: &Manager) -> Outcome<Running> {
    let start = ctx
        .rt(&["start", &c.id])
        .env("NOTIFY_SOCKET", &manager.env());
    start.spawn_with(Stdio::null(), Stdio::null(), Stdio::null())
}

/// The manager is told that the container is ready, and then `start` ends.
fn is_ready(c: &Container<'_>, manager: &Manager, starts: &mut Running) -> Outcome {
    check_eq!(
        manager.hears()?,
        format!("READY=1\nMAINPID={}\n", c.pid()?),
        "message"
    );
    check_eq!(manager.hears()?, "BARRIER=1", "second message");
    check_eq!(starts.wait()?, 0, "exit code");
    Ok(())
}

fn start_passes_ready_on_with_the_pid(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let c = created(
        ctx,
        &saying(ctx, &["STATUS=x", "A=b\\nREADY=1\\n"])?,
        &manager,
    )?;
    let mut starts = start(ctx, &c, &manager)?;
    is_ready(&c, &manager, &mut starts)?;
    c.status_is("running")?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn a_detached_run_passes_ready_on_with_the_pid(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let b = saying(ctx, &["READY=1"])?;
    ctx.created(&b.id);
    let run = b
        .verb("run", &["--detach"])?
        .env("NOTIFY_SOCKET", &manager.env());
    let mut run = run.spawn_with(Stdio::null(), Stdio::null(), Stdio::null())?;
    let told = manager.hears()?;
    check_eq!(manager.hears()?, "BARRIER=1", "second message");
    check_eq!(run.wait()?, 0, "exit code");
    let c = Container::new(ctx, &b.id, &b.dir, ctx.dir.join("x"));
    check_eq!(told, format!("READY=1\nMAINPID={}\n", c.pid()?), "message");
    Ok(())
}

fn run_in_the_foreground_stays_the_main_process(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let b = saying(ctx, &["READY=1", "READY=1"])?;
    ctx.created(&b.id);
    let run = b
        .verb::<&str>("run", &[])?
        .env("NOTIFY_SOCKET", &manager.env());
    let mut run = run.spawn_with(Stdio::null(), Stdio::null(), Stdio::null())?;
    check_eq!(manager.hears()?, "READY=1\n", "message");
    check_eq!(manager.hears()?, "BARRIER=1", "second message");
    ctx.rt(&["kill", &b.id, "KILL"]).run()?.ok()?;
    check_eq!(run.wait()?, 137, "exit code");
    manager.hears_nothing()?;
    ctx.nothing_left()
}

fn an_abstract_socket_is_told_too(ctx: &Ctx) -> Outcome {
    let name = format!("corten-test-{}-{}", std::process::id(), ctx.next());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let manager = Manager {
        socket,
        path: PathBuf::from(format!("@{name}")),
    };
    let c = created(ctx, &saying(ctx, &["READY=1"])?, &manager)?;
    let mut starts = start(ctx, &c, &manager)?;
    is_ready(&c, &manager, &mut starts)
}

fn the_program_finds_the_socket_where_runc_has_it(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let b = Bundle::new(ctx)?.shell("echo $NOTIFY_SOCKET; ls -l /run/notify; sleep 1000");
    let c = created(ctx, &b, &manager)?;
    let mut starts = start(ctx, &c, &manager)?;
    c.wait_stdout("notify.sock\n")?;
    ctx.until("the socket is listed", || {
        c.stdout().is_ok_and(|t| t.contains("srwxrwxrwx"))
    })?;
    check!(
        c.stdout()?.starts_with("/run/notify/notify.sock\n"),
        "{}",
        c.stdout()?
    );
    check!(starts.child.try_wait()?.is_none(), "start did not wait");
    c.kill("KILL")?;
    check_eq!(starts.wait()?, 0, "exit code");
    Ok(())
}

fn a_user_namespace_has_the_socket(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    // Where its root may make directories.
    let run = json!({"destination": "/run", "type": "tmpfs"});
    let b = saying(ctx, &["READY=1"])?
        .user_namespace()
        .push("/mounts", run);
    let c = created(ctx, &b, &manager)?;
    let mut starts = start(ctx, &c, &manager)?;
    is_ready(&c, &manager, &mut starts)?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn start_ends_with_a_container_that_never_says_it(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let c = created(ctx, &Bundle::new(ctx)?.shell("sleep 0.3; exit 4"), &manager)?;
    let mut starts = start(ctx, &c, &manager)?;
    check_eq!(starts.wait()?, 0, "exit code");
    c.status_is("stopped")?;
    manager.hears_nothing()
}

/// Seen to fail where one message is read once the init has ended.
fn what_was_said_right_before_the_end_is_passed_on(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let b = Bundle::new(ctx)?.shell(
        "while [ ! -e /go ]; do sleep 0.01; done; exec /bin/probe notify STATUS=a STATUS=b READY=1",
    );
    let c = created(ctx, &b, &manager)?;
    let pid = c.pid()?;
    let mut starts = start(ctx, &c, &manager)?;
    c.wait_status("running")?;
    // It wakes up to all of it at once.
    procs::signal(starts.pid(), Signal::STOP);
    ctx.until("start stands still", || {
        procs::stat(starts.pid()).is_some_and(|(state, _)| state == 'T')
    })?;
    std::fs::write(b.rootfs().join("go"), "")?;
    ctx.until("all is sent", || {
        c.stdout().is_ok_and(|text| text.lines().count() == 3)
    })?;
    c.kill("KILL")?;
    c.wait_status("stopped")?;
    procs::signal(starts.pid(), Signal::CONT);
    let told = manager.hears()?;
    check_eq!(told, format!("READY=1\nMAINPID={pid}\n"), "message");
    manager.hears()?;
    check_eq!(starts.wait()?, 0, "exit code");
    Ok(())
}

fn without_a_service_manager_nothing_is_there(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.shell("echo ${NOTIFY_SOCKET-none}; ls /run/notify");
    let output = b.run()?;
    check_eq!(output.stdout, "none\n", "output");
    check!(output.code != 0, "there is a /run/notify");
    Ok(())
}

fn without_a_mount_namespace_nothing_is_there(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let b = Bundle::new(ctx)?
        .without_namespace("mount")
        .set("/mounts", json!([]));
    let b = b.shell("echo ${NOTIFY_SOCKET-none}");
    let run = b
        .verb::<&str>("run", &[])?
        .env("NOTIFY_SOCKET", &manager.env());
    run.run()?.ok()?;
    ctx.nothing_left()
}

fn a_created_container_is_started_without_a_service_manager(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let c = created(ctx, &saying(ctx, &["READY=1"])?, &manager)?;
    c.start()?;
    // Nobody is there to hear it.
    c.wait_stdout("errno 2\n")?;
    c.delete_force()?.ok()?;
    // And the other way round.
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).create()?;
    let mut starts = start(ctx, &c, &manager)?;
    check_eq!(starts.wait()?, 0, "exit code");
    c.status_is("running")
}

/// Seen to fail where every line counts that begins with `READY=`: `it was told something`.
fn crun_1_31_only_ready_is_passed_on(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let others =
        "MAINPID=1 STOPPING=1 FDSTORE=1 WATCHDOG=trigger READY=0 'READY=1 MAINPID=1' '' x100";
    let ready = "'MAINPID=1\\nREADY=1\\nWATCHDOG_USEC=1\\nSTATUS=owned'";
    let b = Bundle::new(ctx)?.shell(&format!(
        "/bin/probe notify {others} & while [ ! -e /go ]; do sleep 0.01; done; \
         exec /bin/probe notify {ready}"
    ));
    let c = created(ctx, &b, &manager)?;
    let mut starts = start(ctx, &c, &manager)?;
    ctx.until("all is sent", || {
        c.stdout().is_ok_and(|text| text.lines().count() == 8)
    })?;
    std::thread::sleep(Duration::from_millis(100));
    manager.hears_nothing()?;
    std::fs::write(b.rootfs().join("go"), "")?;
    is_ready(&c, &manager, &mut starts)?;
    manager.hears_nothing()
}

fn crun_1_31_a_flood_does_not_hold_it_up(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let b = Bundle::new(ctx)?.shell(
        "for i in 1 2 3 4; do /bin/probe notify x60 x60 x60 x60 x60 x60 x60 x60 x60 x60 & done; \
         sleep 0.5; exec /bin/probe notify READY=1",
    );
    let c = created(ctx, &b, &manager)?;
    let mut starts = start(ctx, &c, &manager)?;
    std::thread::sleep(Duration::from_millis(200));
    let status = std::fs::read_to_string(format!("/proc/{}/status", starts.pid()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse().ok())
        .because("VmHWM")?;
    check!(peak < 40_000, "{peak} KB of memory");
    is_ready(&c, &manager, &mut starts)?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn crun_1_31_the_mount_of_the_socket_is_private_and_read_only(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let b = Bundle::new(ctx)?.shell("grep ' /run/notify ' /proc/self/mountinfo; sleep 1000");
    let c = created(ctx, &b, &manager)?;
    let mut starts = start(ctx, &c, &manager)?;
    c.wait_stdout("/run/notify")?;
    let line = c.stdout()?;
    let fields: Vec<&str> = line.split_whitespace().collect();
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        check!(
            fields[5].split(',').any(|o| o == option),
            "no {option}: {line}"
        );
    }
    check_eq!(fields[6], "-", "propagation in {line}");
    c.kill("KILL")?;
    starts.wait().map(drop)
}

/// Seen to fail where the state directory is expected to be as the runtime left it: delete
/// stops at "directory not empty"; and where only so many directories in one another are removed:
/// "is a directory".
fn crun_1_31_what_the_container_makes_of_the_directory_does_not_matter(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let victim = ctx.dir.join("victim");
    std::fs::create_dir(&victim)?;
    std::fs::write(victim.join("f"), "")?;
    let line = format!(
        "mount -o remount,rw,bind /run/notify || exit 3; cd /run/notify; mkdir -p a/b/c 1; \
         for i in $(seq 80); do mkdir -p e/e; cd e; touch f; done; cd /run/notify; \
         ln -s {} link; ln -s {0} a/notify.sock; rm notify.sock; ln -s {0}/f notify.sock; \
         echo done; sleep 1000",
        victim.display()
    );
    let b = Bundle::new(ctx)?
        .capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"])
        .shell(&line);
    let c = created(ctx, &b, &manager)?;
    let mut starts = start(ctx, &c, &manager)?;
    c.wait_stdout("done")?;
    c.kill("KILL")?;
    check_eq!(starts.wait()?, 0, "exit code");
    c.delete_force()?.ok()?;
    check!(victim.join("f").exists(), "a file of the host was removed");
    ctx.nothing_left()
}

fn a_start_that_was_killed_leaves_what_delete_removes(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    let c = created(
        ctx,
        &Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]),
        &manager,
    )?;
    let mut starts = start(ctx, &c, &manager)?;
    c.wait_status("running")?;
    procs::signal(starts.pid(), Signal::KILL);
    starts.wait()?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn an_address_that_is_none_is_one_line(ctx: &Ctx) -> Outcome {
    let manager = Manager::new(ctx)?;
    for address in ["relative", "vsock:2:1234"] {
        let c = created(ctx, &saying(ctx, &["READY=1"])?, &manager)?;
        let start = ctx.rt(&["start", &c.id]).env("NOTIFY_SOCKET", address);
        start
            .run()?
            .refused()?
            .says(&["cannot use $NOTIFY_SOCKET"])?;
        c.status_is("created")?;
    }
    Ok(())
}
