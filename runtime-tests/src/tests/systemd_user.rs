//! A user's containers with his own systemd.

use super::systemd::{cgroup, file, prefix, scope};
use crate::bundle::Bundle;
use crate::command::Cmd;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, procs, tests};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

tests!("systemd_user":
    a_users_container_is_in_his_systemd,
    a_users_container_is_joined_by_exec,
    exec_goes_where_a_users_containers_processes_are,
    exec_goes_into_a_cgroup_beneath_a_users_container,
);

/// A user with a systemd of his own, and what his commands begin with.
struct User {
    id: u32,
    words: Vec<String>,
}

fn user(ctx: &Ctx) -> Outcome<User> {
    scope(ctx, "")?;
    let Some(id) = crate::user::with_systemd() else {
        return skip("no user has a systemd of his own here (loginctl enable-linger USER)");
    };
    let copy = crate::user::runtime(ctx);
    std::fs::copy(&ctx.runtime, &copy).because(copy.display())?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    chown(ctx.state_root(), Some(id), Some(id))?;
    let gid = std::fs::metadata(format!("/run/user/{id}"))?.gid();
    let words = [
        "setpriv".to_owned(),
        format!("--reuid={id}"),
        format!("--regid={gid}"),
        "--clear-groups".to_owned(),
        "env".to_owned(),
        format!("XDG_RUNTIME_DIR=/run/user/{id}"),
        copy.to_string_lossy().into_owned(),
        format!("--root={}", ctx.state_root().display()),
    ];
    Ok(User {
        id,
        words: words.to_vec(),
    })
}

impl User {
    fn rt<'a>(&self, ctx: &'a Ctx, args: &[&str]) -> Cmd<'a> {
        let words: Vec<&str> = self
            .words
            .iter()
            .map(String::as_str)
            .chain(args.iter().copied())
            .collect();
        ctx.host(&words)
    }

    /// A bundle of his that sleeps.
    fn bundle<'a>(&self, ctx: &'a Ctx) -> Outcome<Bundle<'a>> {
        let bundle = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
        bundle.rootless(self.id)
    }

    /// Creates a container of his; its pid.
    fn create<'a>(
        &self,
        ctx: &'a Ctx,
        bundle: Bundle<'a>,
        path: &str,
    ) -> Outcome<(Bundle<'a>, i32)> {
        let limits = json!({"memory": {"limit": 134_217_728}, "pids": {"limit": 55}});
        let bundle = bundle
            .set("/linux/resources", limits)
            .set("/linux/cgroupsPath", path);
        bundle.write()?;
        let dir = bundle.dir.to_string_lossy().into_owned();
        let output = ctx.dir.join("user-output");
        let create = self.rt(
            ctx,
            &["--systemd-cgroup", "create", "--bundle", &dir, &bundle.id],
        );
        create.output(output).run()?.ok()?;
        let state = self.rt(ctx, &["state", &bundle.id]).run()?.ok()?;
        let state: Value = serde_json::from_str(&state.stdout)?;
        Ok((bundle, state["pid"].as_i64().because("pid")? as i32))
    }
}

fn a_users_container_is_in_his_systemd(ctx: &Ctx) -> Outcome {
    let user = user(ctx)?;
    let (bundle, pid) = user.create(ctx, user.bundle(ctx)?, "")?;
    let dir = cgroup(pid)?;
    let above = format!(
        "user@{}.service/user.slice/corten-{}.scope",
        user.id, bundle.id
    );
    check!(dir.ends_with(&above), "{}", dir.display());
    check_eq!(file(&dir, "memory.max")?, "134217728", "memory.max");
    check_eq!(file(&dir, "pids.max")?, "55", "pids.max");
    user.rt(ctx, &["start", &bundle.id]).run()?.ok()?;
    user.rt(ctx, &["delete", "--force", &bundle.id])
        .run()?
        .ok()?;
    check!(!dir.exists(), "{} is left", dir.display());
    ctx.nothing_left()
}

fn a_users_container_is_joined_by_exec(ctx: &Ctx) -> Outcome {
    let user = user(ctx)?;
    let path = format!("-.slice:{}:exec", prefix(ctx));
    let (bundle, pid) = user.create(ctx, user.bundle(ctx)?, &path)?;
    user.rt(ctx, &["start", &bundle.id]).run()?.ok()?;
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let output = user
        .rt(ctx, &["exec", &bundle.id, "cat", "/proc/self/cgroup"])
        .run()?
        .ok()?;
    check_eq!(output.stdout, own, "cgroup of exec");
    user.rt(ctx, &["delete", "--force", &bundle.id])
        .run()?
        .ok()?;
    ctx.nothing_left()
}

/// A container that has made the cgroups `init`, for its own process, and `other`; the path of its own from the root.
fn with_cgroups_beneath<'a>(
    ctx: &'a Ctx,
    user: &User,
    last: &str,
) -> Outcome<(Bundle<'a>, String)> {
    let make = "cd /sys/fs/cgroup && mkdir init other && echo 1 >init/cgroup.procs";
    let bundle = user
        .bundle(ctx)?
        .namespace("cgroup", None)
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .shell(&format!("{make} && {last} && echo made; sleep 1000"));
    let path = format!("-.slice:{}:beneath", prefix(ctx));
    let (bundle, pid) = user.create(ctx, bundle, &path)?;
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    user.rt(ctx, &["start", &bundle.id]).run()?.ok()?;
    let output = ctx.dir.join("user-output.out");
    ctx.until("the container has made its cgroups", || {
        std::fs::read_to_string(&output).is_ok_and(|text| text.contains("made"))
    })?;
    Ok((bundle, own.trim_end().to_owned()))
}

/// Where a process of `exec` is, as the host sees it: its own cgroup namespace begins at the container's.
fn exec_is_in(ctx: &Ctx, user: &User, flags: &[&str], bundle: &Bundle, cgroup: &str) -> Outcome {
    let pid_file = bundle.dir.join("exec.pid");
    let _ = std::fs::remove_file(&pid_file);
    let pid_file = pid_file.to_string_lossy();
    let mut args = vec!["exec", "--detach", "--pid-file", &pid_file];
    args.extend(flags);
    args.extend([bundle.id.as_str(), "/bin/sleep", "1000"]);
    user.rt(ctx, &args).run()?.ok()?;
    let pid: i32 = std::fs::read_to_string(&*pid_file)?.parse()?;
    let place = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    // The pid namespace does not end before it is reaped.
    procs::signal(pid, Signal::KILL);
    procs::reap(pid, ctx.timeout / 3);
    check_eq!(place.trim_end(), cgroup, "cgroup of exec {flags:?}");
    Ok(())
}

fn exec_goes_where_a_users_containers_processes_are(ctx: &Ctx) -> Outcome {
    let user = user(ctx)?;
    // A cgroup whose controllers are given to those beneath it takes no process.
    let (bundle, own) = with_cgroups_beneath(ctx, &user, "echo +pids >cgroup.subtree_control")?;
    exec_is_in(ctx, &user, &[], &bundle, &format!("{own}/init"))?;
    user.rt(ctx, &["delete", "--force", &bundle.id])
        .run()?
        .ok()?;
    ctx.nothing_left()
}

fn exec_goes_into_a_cgroup_beneath_a_users_container(ctx: &Ctx) -> Outcome {
    let user = user(ctx)?;
    let (bundle, own) = with_cgroups_beneath(ctx, &user, "true")?;
    exec_is_in(ctx, &user, &[], &bundle, &own)?;
    exec_is_in(
        ctx,
        &user,
        &["--cgroup", "other"],
        &bundle,
        &format!("{own}/other"),
    )?;
    user.rt(ctx, &["delete", "--force", &bundle.id])
        .run()?
        .ok()?;
    ctx.nothing_left()
}
