//! Labels of security modules: AppArmor profiles and SELinux labels of the process. `hack/vm` has a kernel with each.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use rustix::fs::getxattr;
use serde_json::json;
use std::path::Path;

tests!("labels":
    an_apparmor_profile_holds_for_the_process,
    an_apparmor_profile_holds_with_no_new_privileges_and_another_user,
    start_container_hooks_run_under_the_apparmor_profile,
    an_apparmor_profile_holds_in_a_user_namespace_and_a_joined_pid_namespace,
    an_unknown_apparmor_profile_is_one_clear_line,
    without_apparmor_a_profile_is_one_clear_line,
    a_selinux_label_holds_for_the_process,
    an_unknown_selinux_label_is_one_clear_line,
    without_selinux_a_label_is_one_clear_line,
    labels_are_written_in_joined_user_and_pid_namespaces,
    a_mount_label_holds_for_new_file_systems,
    an_unknown_mount_label_is_refused,
);

fn apparmor() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.trim() == "Y")
        && Path::new("/sys/kernel/security/apparmor").exists()
}

fn selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// A profile in the kernel that goes with the test. It allows all but `/secret`.
struct Profile<'a> {
    ctx: &'a Ctx,
    name: String,
    file: String,
}

impl<'a> Profile<'a> {
    fn load(ctx: &'a Ctx) -> Outcome<Profile<'a>> {
        if !apparmor() {
            return skip("AppArmor is not enabled on this machine");
        }
        let name = format!("corten-test-{}-{}", std::process::id(), ctx.next());
        let file = ctx.dir.join(&name).to_string_lossy().into_owned();
        let text = format!(
            "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n file,\n capability,\n network,\n mount,\n \
             umount,\n signal,\n ptrace,\n unix,\n deny /secret r,\n}}\n"
        );
        std::fs::write(&file, text)?;
        let parser = ctx.host(&["apparmor_parser", "-K", "-r", &file]).run()?;
        if parser.code == 127 {
            return skip("no apparmor_parser on this machine");
        }
        parser.ok()?;
        Ok(Profile { ctx, name, file })
    }

    /// A bundle with the profile and a file that it denies.
    fn bundle(&self) -> Outcome<Bundle<'a>> {
        let b = Bundle::new(self.ctx)?.set("/process/apparmorProfile", self.name.as_str());
        std::fs::write(b.rootfs().join("secret"), "told\n")?;
        Ok(b)
    }

    fn enforced(&self) -> String {
        format!("{} (enforce)", self.name)
    }
}

impl Drop for Profile<'_> {
    fn drop(&mut self) {
        // What cannot be removed stays in the kernel until it restarts: nothing that a test could do about.
        let _ = self.ctx.host(&["apparmor_parser", "-R", &self.file]).run();
    }
}

/// What the process sees of its label, and whether it can read `/secret`.
const LOOK: &str = "cat /proc/self/attr/current; cat /secret 2>&1; true";

fn held(said: &str, profile: &Profile<'_>) -> Outcome {
    let (label, secret) = said.split_once('\n').because(said)?;
    check_eq!(label, profile.enforced(), "label");
    check!(
        secret.contains("Permission denied"),
        "what is denied can be read: {said}"
    );
    Ok(())
}

fn an_apparmor_profile_holds_for_the_process(ctx: &Ctx) -> Outcome {
    let profile = Profile::load(ctx)?;
    held(&profile.bundle()?.says(LOOK)?, &profile)?;
    // Created and started apart, too: the waiting process has not got it yet.
    let c = profile.bundle()?.shell(LOOK).create()?;
    c.start()?;
    c.wait_status("stopped")?;
    held(c.stdout()?.trim(), &profile)
}

fn an_apparmor_profile_holds_with_no_new_privileges_and_another_user(ctx: &Ctx) -> Outcome {
    let profile = Profile::load(ctx)?;
    let b = profile
        .bundle()?
        .set("/process/noNewPrivileges", true)
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    held(&b.says(LOOK)?, &profile)
}

fn start_container_hooks_run_under_the_apparmor_profile(ctx: &Ctx) -> Outcome {
    let profile = Profile::load(ctx)?;
    let write = format!("({LOOK}) >/tmp/hook");
    let b = profile.bundle()?.push(
        "/hooks/startContainer",
        json!({"path": "/bin/sh", "args": ["sh", "-c", write]}),
    );
    let said = b.says("cat /tmp/hook; cat /proc/self/attr/current")?;
    let (hook, process) = said.rsplit_once('\n').because(&said)?;
    held(hook, &profile)?;
    check_eq!(
        process,
        profile.enforced(),
        "label of the process after the hook"
    );
    Ok(())
}

fn an_apparmor_profile_holds_in_a_user_namespace_and_a_joined_pid_namespace(ctx: &Ctx) -> Outcome {
    let profile = Profile::load(ctx)?;
    held(&profile.bundle()?.user_namespace().says(LOOK)?, &profile)?;
    let neighbour = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let path = format!("/proc/{}/ns/pid", neighbour.pid()?);
    held(
        &profile.bundle()?.namespace("pid", Some(&path)).says(LOOK)?,
        &profile,
    )?;
    neighbour.delete_force()?.ok().map(drop)
}

fn refused_line(b: Bundle<'_>, ctx: &Ctx, member: &str, words: &[&str]) -> Outcome {
    let output = b.create_refused()?;
    for word in words {
        check!(
            output.stderr.contains(word),
            "no `{word}`: {}",
            output.stderr
        );
    }
    check!(
        output.stderr.contains(member),
        "no pointer: {}",
        output.stderr
    );
    ctx.nothing_left()
}

fn an_unknown_apparmor_profile_is_one_clear_line(ctx: &Ctx) -> Outcome {
    if !apparmor() {
        return skip("AppArmor is not enabled on this machine");
    }
    let b = Bundle::new(ctx)?.set("/process/apparmorProfile", "corten-no-such-profile");
    let words = [
        "corten-no-such-profile",
        "no profile of this name is loaded",
    ];
    refused_line(b, ctx, "/process/apparmorProfile", &words)
}

fn without_apparmor_a_profile_is_one_clear_line(ctx: &Ctx) -> Outcome {
    if apparmor() {
        return skip("AppArmor is enabled on this machine");
    }
    let b = Bundle::new(ctx)?.set("/process/apparmorProfile", "corten-some-profile");
    refused_line(
        b,
        ctx,
        "/process/apparmorProfile",
        &["AppArmor is not enabled"],
    )
}

fn a_selinux_label_holds_for_the_process(ctx: &Ctx) -> Outcome {
    if !selinux() {
        return skip("SELinux is not enabled on this machine");
    }
    // The runtime's own label with another level: one that every policy with levels has.
    let own = std::fs::read_to_string("/proc/self/attr/current")?;
    let mut parts = own.trim_end_matches(['\0', '\n']).splitn(4, ':');
    let mut part = || parts.next().because(&own);
    let label = format!("{}:{}:{}:s0:c1,c2", part()?, part()?, part()?);
    let b = Bundle::new(ctx)?.set("/process/selinuxLabel", label.as_str());
    let said = b.says("cat /proc/self/attr/current")?;
    check_eq!(said.trim_end_matches('\0'), label, "label");
    Ok(())
}

fn an_unknown_selinux_label_is_one_clear_line(ctx: &Ctx) -> Outcome {
    if !selinux() {
        return skip("SELinux is not enabled on this machine");
    }
    let label = "corten_u:corten_r:no_such_t:s0";
    let b = Bundle::new(ctx)?.set("/process/selinuxLabel", label);
    refused_line(
        b,
        ctx,
        "/process/selinuxLabel",
        &[label, "the policy has no such label"],
    )
}

fn without_selinux_a_label_is_one_clear_line(ctx: &Ctx) -> Outcome {
    if selinux() {
        return skip("SELinux is enabled on this machine");
    }
    let b = Bundle::new(ctx)?.set("/process/selinuxLabel", "system_u:system_r:container_t:s0");
    refused_line(b, ctx, "/process/selinuxLabel", &["SELinux is not enabled"])
}

/// No procfs can be mounted there that has an entry for the init: it is not in the pid
/// namespace yet, and has no rights over the one that it is in.
fn labels_are_written_in_joined_user_and_pid_namespaces(ctx: &Ctx) -> Outcome {
    let neighbour = Bundle::new(ctx)?
        .user_namespace()
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let pid = neighbour.pid()?;
    for member in ["/process/apparmorProfile", "/process/selinuxLabel"] {
        // One that no policy has: the error is that of the write.
        let output = Bundle::new(ctx)?
            .namespace("user", Some(&format!("/proc/{pid}/ns/user")))
            .namespace("pid", Some(&format!("/proc/{pid}/ns/pid")))
            .set(member, "corten_u:corten_r:no_such_t:s0")
            .verb::<&str>("create", &[])?
            .run()?
            .refused()?;
        check!(
            output.stderr.contains(member),
            "it did not come as far as the label: {}",
            output.stderr
        );
    }
    Ok(())
}

/// A label that Debian's policies have; its comma would end a mount option that is not quoted.
const MOUNT_LABEL: &str = "system_u:object_r:tmp_t:s0:c1,c2";

/// The SELinux label of a file.
fn label_of(path: &Path) -> Outcome<String> {
    let mut value = [0; 256];
    let length = getxattr(path, "security.selinux", &mut value).because(path.display())?;
    let text = String::from_utf8_lossy(&value[..length]);
    Ok(text.trim_end_matches('\0').to_string())
}

fn a_mount_label_holds_for_new_file_systems(ctx: &Ctx) -> Outcome {
    if !selinux() {
        return skip("SELinux is not enabled on this machine");
    }
    let bound = ctx.dir.join("bound");
    std::fs::create_dir(&bound)?;
    let b = Bundle::new(ctx)?
        .set("/linux/mountLabel", MOUNT_LABEL)
        .mount("/new", "tmpfs", "tmpfs", &["size=1m"])
        .mount("/copied", "tmpfs", "tmpfs", &["tmpcopyup"])
        .mount("/bound", "bind", &bound.to_string_lossy(), &["rbind"]);
    std::fs::create_dir(b.rootfs().join("copied"))?;
    std::fs::write(b.rootfs().join("copied/file"), "")?;
    let c = b.create()?;
    let root = format!("/proc/{}/root", c.pid()?);
    std::fs::write(format!("{root}/new/file"), "")?;
    let labelled = [
        "new",
        "new/file",
        "copied",
        "copied/file",
        "dev",
        "dev/null",
        "dev/pts",
        "dev/shm",
        "dev/mqueue",
    ];
    for path in labelled {
        check_eq!(
            label_of(&Path::new(&root).join(path))?,
            MOUNT_LABEL,
            "{path}"
        );
    }
    // What was there before keeps its own.
    for path in ["", "bound", "proc", "sys"] {
        let label = label_of(&Path::new(&root).join(path))?;
        check!(label != MOUNT_LABEL, "/{path} was labelled");
    }
    c.delete_force()?.ok().map(drop)
}

fn an_unknown_mount_label_is_refused(ctx: &Ctx) -> Outcome {
    if !selinux() {
        return skip("SELinux is not enabled on this machine");
    }
    let label = "corten_u:object_r:no_such_t:s0";
    let b = Bundle::new(ctx)?.set("/linux/mountLabel", label);
    refused_line(b, ctx, "/mounts/1", &["/dev"])
}
