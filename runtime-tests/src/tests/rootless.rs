//! The runtime run by an ordinary user: the life of his containers, what he joins and adds.

use crate::bundle::Bundle;
use crate::command::Output;
use crate::context::Ctx;
use crate::outcome::{Outcome, skip};
use crate::user::{ID, NAME};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::os::unix::fs::chown;
use std::path::Path;

tests!("rootless":
    a_generated_rootless_config_runs,
    a_container_goes_through_its_life,
    the_state_is_kept_below_xdg_runtime_dir,
    root_of_a_user_namespace_alone_keeps_it_there_too,
    a_container_is_killed_and_deleted_without_a_cgroup,
    the_oom_score_is_set,
    the_oom_score_is_set_where_a_user_namespace_is_joined,
    a_seccomp_profile_holds,
    a_user_joins_the_namespaces_of_his_container,
    exec_sets_the_oom_score,
    exec_writes_labels_without_a_procfs_of_its_own,
);

/// A bundle for the user, who has no ranges.
pub(super) fn plain(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    ctx.use_user(false)?;
    Bundle::new(ctx)?.rootless(ID)
}

pub(super) fn refusal(b: &Bundle<'_>, says: &[&str]) -> Outcome<Output> {
    let output = b.create_refused()?;
    for text in says {
        check!(
            output.stderr.contains(text),
            "the error lacks {text:?}: {}",
            output.stderr
        );
    }
    Ok(output)
}

pub(super) fn words(text: &str) -> Vec<Vec<u32>> {
    let numbers = |line: &str| {
        line.split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect()
    };
    text.lines().map(numbers).collect()
}

fn a_generated_rootless_config_runs(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?;
    let dir = b.dir.to_string_lossy().into_owned();
    ctx.rt(&["spec", "--rootless", "--bundle", &dir])
        .run()?
        .ok()?;
    let path = b.dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/probe", "facts"]);
    let mut b = b;
    b.config = config;
    let output = b.run()?.ok()?;
    let facts = crate::facts::Facts(serde_json::from_str(&output.stdout)?);
    check_eq!(words(&facts.text("uid_map")?), [[0, ID, 1]], "uid_map");
    check_eq!(words(&facts.text("gid_map")?), [[0, ID, 1]], "gid_map");
    check_eq!(facts.status("Uid")?, "0 0 0 0", "user inside");
    check_eq!(facts.mount_type("/proc")?, "proc", "/proc");
    check_eq!(facts.text("hostname")?, "corten", "hostname");
    ctx.nothing_left()
}

fn a_container_goes_through_its_life(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?.shell("echo here; sleep 1000");
    let c = b.create()?;
    let state = c.state()?;
    check_eq!(state["status"], "created", "status");
    let list = ctx.rt(&["list", "--format", "json"]).run()?.ok()?.stdout;
    let list: Value = serde_json::from_str(&list)?;
    check_eq!(list[0]["owner"], NAME, "owner");
    c.start()?;
    c.wait_stdout("here")?;
    c.status_is("running")?;
    let pid = c.pid()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    check!(
        status.contains(&format!("Uid:\t{ID}\t{ID}")),
        "it does not run as the user: {status}"
    );
    c.kill("KILL")?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    c.delete()?.ok()?;
    ctx.nothing_left()
}

fn the_state_is_kept_below_xdg_runtime_dir(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?.args(&["/bin/sleep", "1000"]);
    b.write()?;
    let run = ctx.dir.join("run");
    std::fs::create_dir(&run)?;
    chown(&run, Some(ID), Some(ID))?;
    let dir = b.dir.to_string_lossy().into_owned();
    let user = |args: &[&str]| {
        let mut all = vec![crate::user::runtime(ctx).to_string_lossy().into_owned()];
        all.extend(args.iter().map(|a| a.to_string()));
        let launch = ctx
            .as_user
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut wrapper = vec![ctx.probe.to_string_lossy().into_owned(), "as".to_string()];
        wrapper.extend(launch.iter().cloned());
        ctx.host(&all)
            .within(&wrapper)
            .env("XDG_RUNTIME_DIR", &run.to_string_lossy())
            .run()?
            .ok()
    };
    user(&["create", "--bundle", &dir, &b.id])?;
    check!(
        run.join("corten").join(&b.id).join("state.json").exists(),
        "no state below XDG_RUNTIME_DIR"
    );
    user(&["start", &b.id])?;
    user(&["delete", "--force", &b.id])?;
    check!(!run.join("corten").join(&b.id).exists(), "state is left");
    Ok(())
}

/// Whether the runtime keeps its state in `$XDG_RUNTIME_DIR` when it is started like this (`watch`
/// makes the directory). Where it should it is waited for.
fn state_dir_of(ctx: &Ctx, wrapper: &[&str], user: &str, should: bool) -> Outcome<bool> {
    let runtime_dir = ctx.dir.join(format!("xdg{}", ctx.next()));
    std::fs::create_dir(&runtime_dir)?;
    let runtime = ctx.runtime.to_string_lossy();
    let argv: Vec<&str> = wrapper
        .iter()
        .copied()
        .chain([runtime.as_ref(), "watch"])
        .collect();
    let watch = ctx.host(&argv).env("USER", user);
    let mut watch = watch
        .env("XDG_RUNTIME_DIR", &runtime_dir.to_string_lossy())
        .spawn()?;
    let state = runtime_dir.join("corten");
    let found = match should {
        true => ctx
            .until("the state directory is made", || state.exists())
            .is_ok(),
        false => {
            std::thread::sleep(std::time::Duration::from_millis(500));
            state.exists()
        }
    };
    let _ = watch.child.kill();
    watch.wait()?;
    Ok(found)
}

fn root_of_a_user_namespace_alone_keeps_it_there_too(ctx: &Ctx) -> Outcome {
    let unshare = ["unshare", "--user", "--map-root-user"];
    if ctx
        .host(&["unshare", "--user", "--map-root-user", "true"])
        .run()?
        .code
        != 0
    {
        return skip("unshare makes no user namespace here");
    }
    let hosts = Path::new("/run/corten");
    let was_there = hosts.exists();
    check!(
        state_dir_of(ctx, &unshare, "somebody", true)?,
        "root of a user namespace alone"
    );
    let nameless = [&unshare[..], &["env", "-u", "USER"]].concat();
    check!(
        state_dir_of(ctx, &nameless, "somebody", true)?,
        "without $USER, as Podman starts the runtime"
    );
    check!(
        !state_dir_of(ctx, &unshare, "root", false)?,
        "one that is root to itself"
    );
    check!(
        !state_dir_of(ctx, &[], "somebody", false)?,
        "the host's root"
    );
    if !was_there {
        // Empty, or somebody else's by now.
        let _ = std::fs::remove_dir(hosts);
    }
    Ok(())
}

fn a_container_is_killed_and_deleted_without_a_cgroup(ctx: &Ctx) -> Outcome {
    let c = plain(ctx)?
        .shell("sleep 1000 & sleep 1000 & echo here; wait")
        .detach()?;
    c.wait_stdout("here")?;
    let of = |process: &str| {
        let text = std::fs::read_to_string(format!("/proc/{process}/cgroup"))?;
        Ok::<_, crate::outcome::Stop>(crate::cgroups::known(&text, &ctx.hierarchies))
    };
    let (cgroup, own) = (of(&c.pid()?.to_string())?, of("self")?);
    check_eq!(cgroup, own, "cgroup, which should be the caller's");
    let pid = c.pid()?;
    c.verb(&["kill", "--all"], &["KILL"]).run()?.ok()?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    c.wait_status("stopped")?;
    c.delete()?.ok()?;
    ctx.nothing_left()?;
    let c = plain(ctx)?.shell("sleep 1000 & echo here; wait").detach()?;
    c.wait_stdout("here")?;
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn the_oom_score_is_set(ctx: &Ctx) -> Outcome {
    let facts = plain(ctx)?.set("/process/oomScoreAdj", 500).facts()?;
    check_eq!(facts.text("oom_score_adj")?, "500", "oom_score_adj");
    Ok(())
}

fn the_oom_score_is_set_where_a_user_namespace_is_joined(ctx: &Ctx) -> Outcome {
    let first = plain(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let path = format!("/proc/{}/ns/user", first.pid()?);
    let facts = Bundle::new(ctx)?
        .rootless(ID)?
        .namespace("user", Some(&path))
        .set("/process/oomScoreAdj", 501)
        .facts()?;
    check_eq!(facts.text("oom_score_adj")?, "501", "oom_score_adj");
    Ok(())
}

fn a_seccomp_profile_holds(ctx: &Ctx) -> Outcome {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]
    });
    for no_new_privileges in [false, true] {
        let output = plain(ctx)?
            .set("/linux/seccomp", profile.clone())
            .set("/process/noNewPrivileges", no_new_privileges)
            .shell("mkdir /tmp/x; echo $?")
            .run()?
            .ok()?;
        check!(
            output.stderr.contains("No space left"),
            "the filter does not hold: {}",
            output.stderr
        );
    }
    Ok(())
}

fn exec_sets_the_oom_score(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?.set("/process/oomScoreAdj", 500);
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    check_eq!(
        c.exec_says(&[], "cat /proc/self/oom_score_adj")?,
        "500",
        "oom_score_adj"
    );
    Ok(())
}

fn exec_writes_labels_without_a_procfs_of_its_own(ctx: &Ctx) -> Outcome {
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return skip("SELinux is enabled: the label would have to be one of its policy");
    }
    let refused = |c: &crate::container::Container, by: &str| {
        let label = ["--process-label", "corten_u:corten_r:no_such_t:s0"];
        let output = c.exec(&label, &["/bin/true"]).run()?;
        check!(
            output.code != 0 && output.stderr.contains("/process/selinuxLabel"),
            "exec by {by} did not come as far as the label: {}",
            output.stderr
        );
        Ok(())
    };
    let by_root = Bundle::new(ctx)?
        .user_namespace()
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    refused(&by_root, "root")?;
    // A user could not.
    by_root.delete_force()?.ok()?;
    let c = plain(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    refused(&c, "a user")
}

fn a_user_joins_the_namespaces_of_his_container(ctx: &Ctx) -> Outcome {
    let first = plain(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let pid = first.pid()?;
    let mut b = Bundle::new(ctx)?.rootless(ID)?.remove("/hostname");
    for (kind, name) in [("user", "user"), ("ipc", "ipc"), ("uts", "uts")] {
        b = b.namespace(kind, Some(&format!("/proc/{pid}/ns/{name}")));
    }
    let facts = b.facts()?;
    for name in ["user", "ipc", "uts"] {
        let wanted = std::fs::read_link(format!("/proc/{pid}/ns/{name}"))?;
        check_eq!(facts.namespace(name)?, wanted.to_string_lossy(), "{name}");
    }
    check_eq!(facts.text("hostname")?, first.id, "hostname");
    check_eq!(facts.status("Uid")?, "0 0 0 0", "user");
    Ok(())
}
