//! Rootless with something missing: helpers, rights, namespaces, a directory for the state. What
//! works without it works, and what does not says why.

use super::rootless::{plain, words};
use super::rootless_ids::{of_root, ranged};
use crate::bundle::Bundle;
use crate::command::{Cmd, Output};
use crate::context::Ctx;
use crate::outcome::{Outcome, skip};
use crate::user::ID;
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

tests!("rootless_without":
    one_id_needs_no_helper,
    without_the_helpers_the_own_id_alone_is_mapped,
    a_helper_without_its_rights_is_named,
    a_helper_that_no_new_privs_weakens_is_named,
    a_limit_of_no_user_namespaces_is_named,
    a_sysctl_that_forbids_user_namespaces_is_named,
    a_chroot_that_forbids_user_namespaces_is_named,
    an_apparmor_that_restricts_user_namespaces_is_named,
    a_state_directory_that_cannot_be_made_is_explained,
    root_of_a_user_namespace_of_one_id_runs_containers,
    root_of_a_user_namespace_of_one_id_executes_in_them,
    groups_that_cannot_be_set_there_are_refused,
);

/// The user's environment without newuidmap and newgidmap.
const NO_PATH: (&str, &str) = ("PATH", "/nonexistent");

fn one_id_needs_no_helper(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?;
    let run = b.verb::<&str>("run", &[])?.env(NO_PATH.0, NO_PATH.1);
    let output = run.run()?.ok()?;
    check_eq!(output.stderr, "", "stderr");
    ctx.nothing_left()
}

fn without_the_helpers_the_own_id_alone_is_mapped(ctx: &Ctx) -> Outcome {
    ctx.use_user(true)?;
    let b = of_root(ctx)?.args(&["/bin/cat", "/proc/self/uid_map"]);
    let run = b.verb::<&str>("run", &[])?.env(NO_PATH.0, NO_PATH.1);
    let output = run.run()?.ok()?;
    check_eq!(words(&output.stdout), [[0, ID, 1]], "uid_map");
    output.says(&["the container gets the caller's own id only"])?;
    ctx.nothing_left()
}

fn a_helper_without_its_rights_is_named(ctx: &Ctx) -> Outcome {
    let b = ranged(ctx)?;
    let dir = ctx.dir.join("helpers");
    std::fs::create_dir(&dir)?;
    for name in ["newuidmap", "newgidmap"] {
        // A copy has the bits no more.
        let to = dir.join(name);
        std::fs::copy(Path::new("/usr/bin").join(name), &to)?;
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755))?;
    }
    let create = b.verb::<&str>("create", &[])?;
    create
        .env("PATH", &dir.to_string_lossy())
        .run()?
        .refused()?
        .says(&["/newgidmap is neither set-uid root nor has it a file capability"])?;
    ctx.nothing_left()
}

fn a_helper_that_no_new_privs_weakens_is_named(ctx: &Ctx) -> Outcome {
    let b = ranged(ctx)?;
    let create = b.verb::<&str>("create", &[])?;
    create
        .within(&["setpriv", "--no-new-privs"])
        .run()?
        .refused()?
        .says(&["the runtime was started with no_new_privs"])?;
    ctx.nothing_left()
}

/// Starts a command with these lines of a shell before it, as root in a mount namespace of its own.
fn after<'a>(cmd: Cmd<'a>, lines: &str) -> Cmd<'a> {
    let script = format!("{lines}; exec \"$@\"");
    cmd.within(&["unshare", "--mount", "sh", "-ec", &script, "sh"])
}

fn a_limit_of_no_user_namespaces_is_named(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.user_namespace();
    // The limit is one of each user namespace: the machine's stays.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
    let own = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-ec",
        script,
        "sh",
    ];
    if ctx.host(&own).run()?.code != 0 {
        return skip("unshare makes no user namespace here");
    }
    b.remove("/linux/cgroupsPath")
        .verb::<&str>("create", &[])?
        .within(&own)
        .run()?
        .refused()?
        .says(&["/linux/namespaces: cannot make a process with the namespaces user"])?
        .says(&["user.max_user_namespaces is 0: raise it with sysctl"])?;
    ctx.nothing_left()
}

/// The caller's root is a copy of the tree: chroot(2) forbids user namespaces.
const CHROOT: &str = "mount --rbind / \"$0\"; exec chroot \"$0\" \"$@\"";

fn in_a_chroot<'a>(ctx: &Ctx, cmd: Cmd<'a>, lines: &str) -> Outcome<Cmd<'a>> {
    let root = ctx.dir.join("chroot");
    std::fs::create_dir(&root)?;
    let script = format!("{lines}\n{CHROOT}");
    let root = root.to_string_lossy();
    Ok(cmd.within(&["unshare", "--mount", "sh", "-ec", &script, root.as_ref()]))
}

/// Lines that put a file over /proc/sys/kernel, with which a distribution says no.
fn sysctl(ctx: &Ctx, name: &str, value: u32) -> Outcome<String> {
    let dir = ctx.dir.join("sysctl");
    std::fs::create_dir(&dir)?;
    std::fs::write(dir.join(name), format!("{value}\n"))?;
    Ok(format!("mount --bind {} /proc/sys/kernel", dir.display()))
}

fn a_sysctl_that_forbids_user_namespaces_is_named(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?;
    let lines = sysctl(ctx, "unprivileged_userns_clone", 0)?;
    // The chroot is what makes the kernel refuse.
    in_a_chroot(ctx, b.verb::<&str>("create", &[])?, &lines)?
        .run()?
        .refused()?
        .says(&["set kernel.unprivileged_userns_clone to 1 with sysctl"])?;
    ctx.nothing_left()
}

fn a_chroot_that_forbids_user_namespaces_is_named(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?;
    in_a_chroot(ctx, b.verb::<&str>("create", &[])?, "")?
        .run()?
        .refused()?
        .says(&["/linux/namespaces: cannot make a process with the namespaces user"])?
        .says(&["a user namespace cannot be made in a chroot"])?;
    ctx.nothing_left()
}

fn an_apparmor_that_restricts_user_namespaces_is_named(ctx: &Ctx) -> Outcome {
    // Nobody may mount this in a user namespace.
    let b = plain(ctx)?
        // What covers the sysctls would forbid a procfs.
        .without_namespace("pid")
        .mount("/mnt", "debugfs", "debugfs", &[]);
    let create = || b.verb::<&str>("create", &[]);
    let refusal = |output: Output| -> Outcome<bool> {
        let output = output.code_is(1)?.says(&["cannot mount debugfs"])?;
        Ok(output.stderr.contains("AppArmor takes users' rights"))
    };
    if !Path::new("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").exists() {
        check!(
            !refusal(create()?.run()?)?,
            "AppArmor is blamed without reason"
        );
    }
    let lines = sysctl(ctx, "apparmor_restrict_unprivileged_userns", 1)?;
    check!(
        refusal(after(create()?, &lines).run()?)?,
        "the sysctl is not named"
    );
    ctx.nothing_left()
}

fn a_state_directory_that_cannot_be_made_is_explained(ctx: &Ctx) -> Outcome {
    let b = plain(ctx)?;
    b.write()?;
    let closed = ctx.dir.join("closed");
    std::fs::create_dir(&closed)?;
    let absent = closed.join("absent");
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    // The last is as if the variable were not there.
    for runtime_dir in [shown(&closed), shown(&absent), String::new()] {
        let bundle = shown(&b.dir);
        let output = user(ctx, false, &[], &["create", "--bundle", &bundle, &b.id])
            .env("XDG_RUNTIME_DIR", &runtime_dir)
            .run()?
            .refused()?
            .says(&["permission denied"])?
            .says(&["set XDG_RUNTIME_DIR or --root"])?;
        let wanted = match runtime_dir.as_str() {
            "" => "/run/corten",
            dir => dir,
        };
        check!(output.stderr.contains(wanted), "{}", output.stderr);
    }
    Ok(())
}

/// The runtime without `--root`, run by the user through another program, with groups that he
/// brings along or without.
fn user<'a>(ctx: &'a Ctx, groups: bool, via: &[&str], args: &[&str]) -> Cmd<'a> {
    let id = ID.to_string();
    let brought = format!("--groups={id},{}", ID + 1);
    let groups = if groups {
        brought.as_str()
    } else {
        "--clear-groups"
    };
    let etc = ctx.user_files();
    let (probe, etc) = (ctx.probe.to_string_lossy(), etc.to_string_lossy());
    let runtime = crate::user::runtime(ctx);
    let runtime = runtime.to_string_lossy();
    let mut argv = vec![probe.as_ref(), "as", "--files", etc.as_ref()];
    argv.extend(["setpriv", "--reuid", &id, "--regid", &id, groups]);
    argv.extend(via);
    argv.push(&runtime);
    argv.extend(args);
    ctx.host(&argv)
}

/// A user namespace in which the user is root and there is no other id.
const ONE_ID: [&str; 3] = ["unshare", "--user", "--map-root-user"];

fn root_of_a_user_namespace_of_one_id_runs_containers(ctx: &Ctx) -> Outcome {
    for groups in [false, true] {
        let own = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        let with = plain(ctx)?
            .set("/linux/uidMappings", own.clone())
            .set("/linux/gidMappings", own);
        let without = of_outer_namespace(ctx)?;
        for (b, map) in [(with, [0, 0, 1]), (without, [0, ID, 1])] {
            let b = b.args(&["/bin/probe", "facts"]);
            b.write()?;
            let (root, bundle) = (ctx.state_root(), b.dir.to_string_lossy().into_owned());
            let args = [
                "--root",
                &root.to_string_lossy(),
                "run",
                "-b",
                &bundle,
                &b.id,
            ];
            let output = user(ctx, groups, &ONE_ID, &args).run()?.ok()?;
            let facts: Value = serde_json::from_str(&output.stdout)?;
            let facts = crate::facts::Facts(facts);
            check_eq!(words(&facts.text("uid_map")?), [map], "uid_map");
            check_eq!(facts.status("Uid")?, "0 0 0 0", "user inside");
            check_eq!(facts.mount_type("/proc")?, "proc", "/proc");
            ctx.nothing_left()?;
        }
    }
    Ok(())
}

fn root_of_a_user_namespace_of_one_id_executes_in_them(ctx: &Ctx) -> Outcome {
    let b = of_outer_namespace(ctx)?.args(&["/bin/sleep", "1000"]);
    b.write()?;
    let script = "rt=\"$1 --root $2\"; $rt run -d -b $3 $4 </dev/null >/dev/null 2>&1 && \
                  $rt exec $4 /bin/busybox id -u; \
                  $rt exec --additional-gids 5 $4 /bin/true; echo $?; $rt delete --force $4";
    let mut via = ONE_ID.to_vec();
    via.extend(["sh", "-c", script, "sh"]);
    let (root, bundle) = (ctx.state_root(), b.dir.to_string_lossy().into_owned());
    for groups in [false, true] {
        let args = [&*root.to_string_lossy(), &bundle, &b.id];
        let output = user(ctx, groups, &via, &args).run()?.ok()?;
        check_eq!(output.stdout.trim(), "0\n255", "user, refusal of groups");
        let output = output.says(&["/process/user/additionalGids"])?;
        check_eq!(output.stderr.trim().lines().count(), 1, "lines on stderr");
        ctx.nothing_left()?;
    }
    Ok(())
}

/// A bundle without a user namespace of its own, for the root of another.
fn of_outer_namespace(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(plain(ctx)?
        .without_namespace("user")
        .remove("/linux/uidMappings")
        .remove("/linux/gidMappings"))
}

fn groups_that_cannot_be_set_there_are_refused(ctx: &Ctx) -> Outcome {
    let b = of_outer_namespace(ctx)?.set(
        "/process/user",
        json!({"uid": 0, "gid": 0, "additionalGids": [0]}),
    );
    b.write()?;
    for groups in [false, true] {
        let (root, bundle) = (ctx.state_root(), b.dir.to_string_lossy().into_owned());
        let args = [
            "--root",
            &root.to_string_lossy(),
            "create",
            "-b",
            &bundle,
            &b.id,
        ];
        let output = user(ctx, groups, &ONE_ID, &args).run()?.refused()?;
        output.says(&["/process/user/additionalGids: cannot set"])?;
        ctx.nothing_left()?;
    }
    Ok(())
}
