//! Labels of security modules: AppArmor profiles and SELinux labels of the process. `hack/vm` has a kernel with each.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::facts::Facts;
use crate::outcome::{Because, Outcome, Stop, skip};
use crate::{check, check_eq, tests};
use rustix::fs::{XattrFlags, getxattr, setxattr};
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
    an_enforced_selinux_type_cannot_read_what_its_policy_denies,
    an_unknown_selinux_label_is_one_clear_line,
    without_selinux_a_label_is_one_clear_line,
    the_session_keyring_has_the_selinux_label,
    exec_joins_the_labelled_keyring,
    a_keyring_that_exec_makes_has_the_label_of_its_process,
    without_a_selinux_label_the_keyring_has_the_runtimes,
    a_keyring_that_is_kept_is_not_labelled,
    keys_are_labelled_only_with_a_selinux_label,
    exec_gives_the_containers_apparmor_profile_or_that_of_the_flag,
    exec_gives_the_containers_selinux_label_or_that_of_the_flag,
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

/// The harness's label, which is the runtime's too; skips without SELinux.
fn own_label() -> Outcome<String> {
    if !selinux() {
        return skip("SELinux is not enabled on this machine");
    }
    let own = std::fs::read_to_string("/proc/self/attr/current")?;
    Ok(own.trim_end_matches(['\0', '\n']).to_string())
}

/// That label with another level: one that every policy with levels has.
fn own_label_at(level: &str) -> Outcome<String> {
    let own = own_label()?;
    let mut parts = own.splitn(4, ':');
    let mut part = || parts.next().because(&own);
    Ok(format!("{}:{}:{}:{level}", part()?, part()?, part()?))
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

const OWN_LABEL: &str = "tr -d '\\0' < /proc/self/attr/current";

fn exec_gives_the_containers_apparmor_profile_or_that_of_the_flag(ctx: &Ctx) -> Outcome {
    let (profile, other) = (Profile::load(ctx)?, Profile::load(ctx)?);
    let c = profile.bundle()?.args(&["/bin/sleep", "1000"]).detach()?;
    check_eq!(c.exec_says(&[], OWN_LABEL)?, profile.enforced(), "profile");
    let denied = c.exec_says(&[], "cat /secret 2>&1 | grep -c denied")?;
    check_eq!(denied, "1", "what the profile denies");
    let said = c.exec_says(&["--apparmor", &other.name], OWN_LABEL)?;
    check_eq!(said, other.enforced(), "profile of --apparmor");
    let plain = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let said = plain.exec_says(&["--apparmor", &other.name], OWN_LABEL)?;
    check_eq!(said, other.enforced(), "profile of --apparmor alone");
    let unknown = ["--apparmor", "nosuch-profile"];
    c.exec(&unknown, &["/bin/true"]).run()?.refused_with(255)?;
    Ok(())
}

fn exec_gives_the_containers_selinux_label_or_that_of_the_flag(ctx: &Ctx) -> Outcome {
    let (label, other) = (own_label_at("s0:c1,c2")?, own_label_at("s0:c3,c4")?);
    let b = Bundle::new(ctx)?.set("/process/selinuxLabel", label.as_str());
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    check_eq!(c.exec_says(&[], OWN_LABEL)?, label, "label");
    let said = c.exec_says(&["--process-label", &other], OWN_LABEL)?;
    check_eq!(said, other, "label of --process-label");
    Ok(())
}

fn a_selinux_label_holds_for_the_process(ctx: &Ctx) -> Outcome {
    let label = own_label_at("s0:c1,c2")?;
    let b = Bundle::new(ctx)?.set("/process/selinuxLabel", label.as_str());
    let said = b.says("cat /proc/self/attr/current")?;
    check_eq!(said.trim_end_matches('\0'), label, "label");
    Ok(())
}

/// With the types of hack/vm.d/corten.cil: one may read everything but the other.
fn an_enforced_selinux_type_cannot_read_what_its_policy_denies(ctx: &Ctx) -> Outcome {
    let enforce = std::fs::read_to_string("/sys/fs/selinux/enforce").unwrap_or_default();
    if enforce.trim() != "1" {
        return skip("SELinux enforces nothing here (hack/vm --lsm enforcing)");
    }
    let label = "system_u:system_r:corten_t:s0";
    if std::fs::write("/sys/fs/selinux/context", label).is_err() {
        return skip("the policy has no corten_t (hack/vm --lsm enforcing)");
    }
    let b = Bundle::new(ctx)?.set("/process/selinuxLabel", label);
    let secret = b.rootfs().join("secret");
    std::fs::write(&secret, "the secret")?;
    let denied = b"system_u:object_r:corten_secret_t:s0\0";
    setxattr(&secret, "security.selinux", denied, XattrFlags::empty()).because("label")?;
    let look = "cat /proc/self/attr/current; echo; head -c 4 /etc/passwd; echo; cat /secret 2>&1";
    let c = b.args(&["/bin/sleep", "1000"]).detach()?;
    let wanted = format!("{label}\nroot\ncat: can't open '/secret': Permission denied");
    let said = c.exec(&[], &["/bin/sh", "-c", look]).run()?.stdout;
    check_eq!(said.replace('\0', "").trim(), wanted, "what exec can read");
    let first = std::fs::read_to_string(format!("/proc/{}/attr/current", c.pid()?))?;
    check_eq!(first.trim_end_matches(['\0', '\n']), label, "label");
    c.delete_force()?.ok().map(drop)
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

/// A keyring made for a container or for a process of `exec` has the container's id in its name
/// and this label, and the label for new keys does not outlive it.
fn labelled(facts: &Facts, id: &str, label: &str, where_: &str) -> Outcome {
    let keyring = &facts.0["keyring"];
    check_eq!(keyring["label"], label, "label of the keyring {where_}");
    let text = keyring["description"].as_str().because(keyring)?;
    let name = text.rsplit(';').next().unwrap_or_default();
    check!(
        name.contains(id),
        "the keyring {where_} is not {id}'s: {text}"
    );
    check_eq!(facts.text("keycreate")?, "", "label of new keys {where_}");
    Ok(())
}

/// A bundle whose container has an id of its own: keyrings are found by name, those of other tests too.
fn alone(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    let mut b = Bundle::new(ctx)?;
    b.id = format!("labelled-{}-{}", std::process::id(), ctx.next());
    Ok(b)
}

/// Seen to fail: without `label_keys` in `launch/init.rs:new_keyring`: `label of the keyring of
/// run: found …:s0`.
fn the_session_keyring_has_the_selinux_label(ctx: &Ctx) -> Outcome {
    let label = own_label_at("s0:c1,c2")?;
    let bundle = || Ok::<_, Stop>(alone(ctx)?.set("/process/selinuxLabel", label.as_str()));
    let c = bundle()?.args(&["/bin/probe", "facts"]).create()?;
    c.start()?;
    c.wait_status("stopped")?;
    let facts = Facts(serde_json::from_str(&c.stdout()?)?);
    labelled(&facts, &c.id, &label, "of create")?;

    let neighbour = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let path = format!("/proc/{}/ns/pid", neighbour.pid()?);
    let another = json!({"uid": 1000, "gid": 1000});
    for (b, what) in [
        (bundle()?, "of run"),
        (bundle()?.user_namespace(), "in a user namespace"),
        (
            bundle()?.namespace("pid", Some(&path)),
            "in a joined pid namespace",
        ),
        (
            bundle()?
                .set("/process/user", another)
                .set("/process/noNewPrivileges", true),
            "of another user",
        ),
    ] {
        let id = b.id.clone();
        labelled(&b.facts()?, &id, &label, what)?;
    }
    Ok(())
}

fn exec_joins_the_labelled_keyring(ctx: &Ctx) -> Outcome {
    let label = own_label_at("s0:c1,c2")?;
    let other = own_label_at("s0:c3,c5")?;
    let b = alone(ctx)?.set("/process/selinuxLabel", label.as_str());
    let c = b.shell("/bin/probe facts; exec sleep 1000").detach()?;
    c.wait_stdout("}\n")?;
    let own: serde_json::Value = serde_json::from_str(&c.stdout()?)?;
    for (options, process) in [(&[][..], &label), (&["--process-label", &other], &other)] {
        let said = c.exec_says(options, "cat /proc/self/attr/current")?;
        check_eq!(said.trim_end_matches('\0'), process, "label of {options:?}");
        let facts = c.exec_facts(options)?;
        check_eq!(facts.0["keyring"], own["keyring"], "keyring of {options:?}");
        labelled(&facts, &c.id, &label, "of exec")?;
    }
    Ok(())
}

/// Seen to fail: without `label_keys` in `launch/init.rs:new_keyring`: `label of the keyring of
/// exec: found …:s0`.
fn a_keyring_that_exec_makes_has_the_label_of_its_process(ctx: &Ctx) -> Outcome {
    let label = own_label_at("s0:c1,c2")?;
    let other = own_label_at("s0:c3,c5")?;
    for (options, process) in [(&[][..], &label), (&["--process-label", &other], &other)] {
        let b = alone(ctx)?.set("/process/selinuxLabel", label.as_str());
        let sleep = ["/bin/probe", "leave-keyring", "/bin/sleep", "1000"];
        let c = b.args(&sleep).detach()?;
        // The kernel frees it some time after its last process has left it.
        let name = format!("_ses.{}:", c.id);
        ctx.until("the container's keyring is gone", || {
            std::fs::read_to_string("/proc/keys").is_ok_and(|keys| !keys.contains(&name))
        })?;
        labelled(&c.exec_facts(options)?, &c.id, process, "of exec")?;
    }
    Ok(())
}

fn without_a_selinux_label_the_keyring_has_the_runtimes(ctx: &Ctx) -> Outcome {
    let label = own_label()?;
    let other = own_label_at("s0:c3,c5")?;
    let b = alone(ctx)?.set("/linux/mountLabel", MOUNT_LABEL);
    let c = b.shell("/bin/probe facts; exec sleep 1000").detach()?;
    c.wait_stdout("}\n")?;
    let own = Facts(serde_json::from_str(&c.stdout()?)?);
    labelled(&own, &c.id, &label, "of create")?;
    // A process with a label of its own finds the keyring as it is.
    for options in [&[][..], &["--process-label", &other]] {
        let facts = c.exec_facts(options)?;
        check_eq!(
            facts.0["keyring"],
            own.0["keyring"],
            "keyring of {options:?}"
        );
    }
    Ok(())
}

fn a_keyring_that_is_kept_is_not_labelled(ctx: &Ctx) -> Outcome {
    let label = own_label_at("s0:c1,c2")?;
    let probe = ctx.probe.to_string_lossy().into_owned();
    let mine = ctx.host(&[probe.as_str(), "facts"]).run()?.ok()?.stdout;
    let mine: serde_json::Value = serde_json::from_str(&mine)?;
    let b = alone(ctx)?.set("/process/selinuxLabel", label.as_str());
    let c = b
        .args(&["/bin/sleep", "1000"])
        .launch("run", &["--detach", "--no-new-keyring"])?;
    let found = c.exec_facts(&[])?.0;
    check_eq!(found["keyring"], mine["keyring"], "keyring");
    Ok(())
}

/// Needs no SELinux: without it, the label is refused where it is written.
fn keys_are_labelled_only_with_a_selinux_label(ctx: &Ctx) -> Outcome {
    if ctx.host(&["strace", "-V"]).run()?.code == 127 {
        return skip("no strace on this machine");
    }
    let trace = ctx.dir.join("trace").to_string_lossy().into_owned();
    let strace = ["strace", "-f", "-e", "trace=openat", "-o", &trace];
    let opened = |b: Bundle<'_>| -> Outcome<bool> {
        b.verb::<&str>("run", &[])?.within(&strace).run()?;
        Ok(std::fs::read_to_string(&trace)?.contains("attr/keycreate"))
    };
    check!(
        !opened(Bundle::new(ctx)?)?,
        "without a label keycreate was opened"
    );
    let empty = Bundle::new(ctx)?.set("/process/selinuxLabel", "");
    check!(!opened(empty)?, "with an empty label keycreate was opened");
    let label = "system_u:system_r:unconfined_t:s0";
    let labelled = Bundle::new(ctx)?.set("/process/selinuxLabel", label);
    check!(opened(labelled)?, "with a label keycreate was not opened");
    Ok(())
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
