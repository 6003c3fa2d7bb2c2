//! The rules of cgroup v2's tree: who may be where, who gets controllers, who owns what.

use crate::bundle::Bundle;
use crate::command::Running;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, Stop, skip};
use crate::{cgroups, check, check_eq, procs, tests};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

tests!("cgroup_v2_tree":
    a_container_runs_beneath_a_cgroup_with_processes,
    a_limit_beneath_a_cgroup_with_processes_is_explained,
    controllers_of_threads_are_kept_from_a_cgroup_with_processes,
    what_is_beneath_a_threaded_cgroup_is_explained,
    a_cgroup_with_controllers_for_others_is_explained,
    a_full_cgroup_above_is_explained,
    a_cgroup_with_processes_is_refused_on_v1,
    a_cgroup_with_processes_is_refused_on_v2,
    a_frozen_cgroup_is_refused_on_v1,
    a_frozen_cgroup_is_refused_on_v2,
    a_writable_cgroup_is_handed_over_to_the_containers_root,
    a_writable_cgroup_is_handed_over_to_the_processs_user,
    no_other_cgroup_is_handed_over,
    a_group_that_runs_out_of_memory_is_killed_as_a_whole as Serial,
);

fn sleeping(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]))
}

fn pure(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    ctx.use_pure_v2()?;
    sleeping(ctx)
}

fn read(path: &Path) -> Outcome<String> {
    let text = std::fs::read_to_string(path).because(path.display())?;
    Ok(text.trim().to_string())
}

/// A cgroup of the test's own and a process in it.
fn busy(ctx: &Ctx, dir: PathBuf) -> Outcome<(PathBuf, Running)> {
    std::fs::create_dir_all(&dir)?;
    let process = ctx.host(&["sleep", "1000"]).spawn()?;
    let file = dir.join("cgroup.procs");
    std::fs::write(&file, process.pid().to_string()).because(file.display())?;
    ctx.stays();
    Ok((dir, process))
}

fn end(process: &mut Running) -> Outcome {
    procs::signal(process.pid(), rustix::process::Signal::KILL);
    process.wait()?;
    Ok(())
}

fn a_container_runs_beneath_a_cgroup_with_processes(ctx: &Ctx) -> Outcome {
    let b = pure(ctx)?.set("/linux/cgroupsPath", format!("{}/busy/c", ctx.prefix));
    let (dir, mut process) = busy(ctx, ctx.cgroup_dir(ctx.v2("")?, "busy"))?;
    let c = b.detach()?;
    check_eq!(
        cgroups::pids(&dir.join("c")),
        [c.pid()?],
        "processes of the container's cgroup"
    );
    check_eq!(
        read(&dir.join("cgroup.subtree_control"))?,
        "",
        "controllers"
    );
    check_eq!(read(&dir.join("cgroup.type"))?, "domain", "cgroup.type");
    c.delete_force()?.ok()?;
    end(&mut process)?;
    std::fs::remove_dir(&dir)?;
    ctx.nothing_left()
}

/// The container is refused, and the cgroup above it stays what it was.
fn refused_beneath_processes(ctx: &Ctx, pointer: &str, value: serde_json::Value) -> Outcome {
    let b = pure(ctx)?
        .set("/linux/cgroupsPath", format!("{}/busy/c", ctx.prefix))
        .set(pointer, value);
    let (dir, mut process) = busy(ctx, ctx.cgroup_dir(ctx.v2("")?, "busy"))?;
    b.create_refused()?
        .says(&[pointer])?
        .says(&["/busy/cgroup.subtree_control: "])?
        .says(&["resource busy"])?
        .says(&["there are processes in this cgroup itself"])?
        .says(&["move them to a cgroup beneath it"])?;
    check_eq!(read(&dir.join("cgroup.type"))?, "domain", "cgroup.type");
    check_eq!(
        read(&dir.join("cgroup.subtree_control"))?,
        "",
        "controllers"
    );
    end(&mut process)?;
    std::fs::remove_dir(&dir)?;
    ctx.nothing_left()
}

fn a_limit_beneath_a_cgroup_with_processes_is_explained(ctx: &Ctx) -> Outcome {
    ctx.v2("hugetlb")?;
    let limit = json!([{"pageSize": "2MB", "limit": 8388608}]);
    let pointer = "/linux/resources/hugepageLimits";
    refused_beneath_processes(ctx, pointer, limit)
}

/// The kernel would take them, and the cgroup would be one of threads from then on.
fn controllers_of_threads_are_kept_from_a_cgroup_with_processes(ctx: &Ctx) -> Outcome {
    ctx.v2("pids")?;
    refused_beneath_processes(ctx, "/linux/resources/pids/limit", json!(20))
}

fn what_is_beneath_a_threaded_cgroup_is_explained(ctx: &Ctx) -> Outcome {
    let path = format!("{}/threads/c", ctx.prefix);
    let b = pure(ctx)?.set("/linux/cgroupsPath", path);
    let dir = ctx.cgroup_dir(ctx.v2("")?, "threads");
    std::fs::create_dir_all(dir.join("of"))?;
    std::fs::write(dir.join("of/cgroup.type"), "threaded")?;
    ctx.stays();
    b.create_refused()?
        .says(&["/linux/cgroupsPath: cannot start a process in "])?
        .says(&["/threads is above it, and what is beneath it is for threads"])?
        .says(&["choose another linux.cgroupsPath"])?;
    ctx.v2("hugetlb")?;
    let limit = json!([{"pageSize": "2MB", "limit": 8388608}]);
    b.set("/linux/resources/hugepageLimits", limit)
        .create_refused()?
        .says(&["/linux/resources/hugepageLimits/0/limit"])?
        .says(&["(its cgroup.type is domain threaded)"])?;
    for dir in [dir.join("of"), dir] {
        std::fs::remove_dir(&dir).because(dir.display())?;
    }
    ctx.nothing_left()
}

fn a_cgroup_with_controllers_for_others_is_explained(ctx: &Ctx) -> Outcome {
    ctx.v2("hugetlb")?;
    // The runtime itself hands the controller down to it.
    let limit = json!([{"pageSize": "2MB", "limit": 8388608}]);
    let c = pure(ctx)?
        .set("/linux/cgroupsPath", format!("{}/above/c", ctx.prefix))
        .set("/linux/resources/hugepageLimits", limit);
    let above = ctx.cgroup_dir(ctx.v2("")?, "above");
    std::fs::create_dir_all(&above)?;
    c.create()?.delete_force()?.ok()?;
    ctx.stays();
    let has = read(&above.join("cgroup.subtree_control"))?;
    check!(has.contains("hugetlb"), "controllers: {has}");
    pure(ctx)?
        .set("/linux/cgroupsPath", format!("{}/above", ctx.prefix))
        .create_refused()?
        .says(&["/linux/cgroupsPath: cannot start a process in "])?
        .says(&["cgroup v2 wants processes in the leaves"])?;
    ctx.nothing_left()
}

fn a_full_cgroup_above_is_explained(ctx: &Ctx) -> Outcome {
    ctx.v2("pids")?;
    let path = |name: &str| format!("{}/full/{name}", ctx.prefix);
    let dir = ctx.cgroup_dir(ctx.v2("")?, "full");
    std::fs::create_dir_all(&dir)?;
    // The first hands the controllers down, to the cgroup above as well.
    let first = pure(ctx)?
        .set("/linux/cgroupsPath", path("first"))
        .create()?;
    ctx.stays();
    std::fs::write(dir.join("pids.max"), "1").because("pids.max")?;
    pure(ctx)?
        .set("/linux/cgroupsPath", path("second"))
        .create_refused()?
        .says(&["/full is 1, and 1 tasks are in it"])?;
    first.delete_force()?.ok()?;
    std::fs::remove_dir(&dir)?;
    ctx.nothing_left()
}

fn used_is_refused(ctx: &Ctx, b: &Bundle, dir: PathBuf) -> Outcome {
    let refusal = || {
        b.create_refused()?
            .says(&["/linux/cgroupsPath: cannot use "])?
            .says(&["container's cgroup is not empty: 1 process(es) found"])?;
        Ok::<_, Stop>(())
    };
    let (own, mut process) = busy(ctx, dir.clone())?;
    refusal()?;
    check_eq!(cgroups::pids(&own), [process.pid()], "who was there before");
    // As well in a cgroup beneath it.
    let beneath = dir.join("beneath");
    std::fs::create_dir(&beneath)?;
    std::fs::write(beneath.join("cgroup.procs"), process.pid().to_string())?;
    ctx.stays();
    refusal()?;
    end(&mut process)?;
    for dir in [beneath, dir] {
        std::fs::remove_dir(&dir).because(dir.display())?;
    }
    ctx.nothing_left()
}

fn a_cgroup_with_processes_is_refused_on_v1(ctx: &Ctx) -> Outcome {
    let b = sleeping(ctx)?;
    used_is_refused(ctx, &b, ctx.cgroup_dir(ctx.v1("freezer")?, &b.id))
}

fn a_cgroup_with_processes_is_refused_on_v2(ctx: &Ctx) -> Outcome {
    let b = pure(ctx)?;
    used_is_refused(ctx, &b, ctx.cgroup_dir(ctx.v2("")?, &b.id))
}

fn frozen_is_refused(ctx: &Ctx, b: &Bundle, dir: PathBuf, words: (&str, &str, &str)) -> Outcome {
    let (file, frozen, thawed) = words;
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join(file), frozen)?;
    ctx.stays();
    b.create_refused()?
        .says(&["/linux/cgroupsPath: cannot use "])?
        .says(&["container's cgroup unexpectedly frozen"])?;
    std::fs::write(dir.join(file), thawed)?;
    let c = b.detach()?;
    c.delete_force()?.ok()?;
    check!(!dir.exists(), "{} is left", dir.display());
    ctx.nothing_left()
}

fn a_frozen_cgroup_is_refused_on_v1(ctx: &Ctx) -> Outcome {
    let b = sleeping(ctx)?;
    let dir = ctx.cgroup_dir(ctx.v1("freezer")?, &b.id);
    frozen_is_refused(ctx, &b, dir, ("freezer.state", "FROZEN", "THAWED"))
}

fn a_frozen_cgroup_is_refused_on_v2(ctx: &Ctx) -> Outcome {
    let b = pure(ctx)?;
    let dir = ctx.cgroup_dir(ctx.v2("")?, &b.id);
    frozen_is_refused(ctx, &b, dir, ("cgroup.freeze", "1", "0"))
}

/// With a cgroup namespace, and its cgroup mounted with these options.
fn mounting<'a>(b: Bundle<'a>, options: &[&str]) -> Bundle<'a> {
    b.namespace("cgroup", None)
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", options)
}

/// The directory and the files of the kernel's list belong to `uid`, the others to root, and all
/// of them to root's group.
pub(super) fn owner_is(dir: &Path, uid: u32) -> Outcome {
    let list = read(Path::new("/sys/kernel/cgroup/delegate"))?;
    let mut listed = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            continue;
        }
        let is_listed = list.lines().any(|line| line == name);
        listed += u32::from(is_listed);
        let wanted = if is_listed { uid } else { 0 };
        let found = entry.metadata()?;
        check_eq!((found.uid(), found.gid()), (wanted, 0), "owner of {name}");
    }
    check!(listed >= 3, "{listed} files of the list");
    let found = std::fs::metadata(dir)?;
    check_eq!(
        (found.uid(), found.gid()),
        (uid, 0),
        "owner of the directory"
    );
    let above = dir.parent().because("the cgroup above")?;
    check_eq!(std::fs::metadata(above)?.uid(), 0, "owner of the one above");
    Ok(())
}

fn a_writable_cgroup_is_handed_over_to_the_containers_root(ctx: &Ctx) -> Outcome {
    let script = "cd /sys/fs/cgroup; mkdir own/deeper -p && echo 0 > own/deeper/cgroup.procs && \
                  grep ^0:: /proc/self/cgroup; echo 1 > cgroup.max.depth || echo refused; \
                  echo 1 > cgroup.freeze || echo refused; echo done; sleep 1000";
    let b = mounting(pure(ctx)?.user_namespace(), &["nosuid", "rw"]).shell(script);
    let c = b.detach()?;
    let dir = ctx.cgroup_dir(ctx.v2("")?, &c.id);
    c.wait_stdout("done")?;
    let said = c.stdout()?;
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("/bin/sh"))
        .collect();
    check_eq!(
        lines,
        ["0::/own/deeper", "refused", "refused", "done"],
        "what the container may"
    );
    owner_is(&dir, 100_000)?;
    check_eq!(c.exec_says(&[], "echo entered")?, "entered", "exec");
    c.delete_force()?.ok()?;
    ctx.nothing_left()
}

fn a_writable_cgroup_is_handed_over_to_the_processs_user(ctx: &Ctx) -> Outcome {
    let b = mounting(pure(ctx)?, &[]).set("/process/user", json!({"uid": 7, "gid": 7}));
    let c = b.create()?;
    owner_is(&ctx.cgroup_dir(ctx.v2("")?, &c.id), 7)
}

fn no_other_cgroup_is_handed_over(ctx: &Ctx) -> Outcome {
    let user = json!({"uid": 7, "gid": 7});
    let bundle = || Ok::<_, Stop>(pure(ctx)?.set("/process/user", user.clone()));
    let not_own = bundle()?.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    let joined = bundle()?
        .namespace("cgroup", Some("/proc/self/ns/cgroup"))
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    for (what, b) in [
        ("read-only", mounting(bundle()?, &["ro"])),
        ("not mounted", bundle()?.namespace("cgroup", None)),
        ("the caller's cgroup namespace", not_own),
        ("a joined cgroup namespace", joined),
    ] {
        let c = b.create()?;
        ctx.note(what);
        owner_is(&ctx.cgroup_dir(ctx.v2("")?, &c.id), 0)?;
    }
    Ok(())
}

fn a_group_that_runs_out_of_memory_is_killed_as_a_whole(ctx: &Ctx) -> Outcome {
    ctx.v2("memory")?;
    if !ctx.hierarchies.iter().all(cgroups::Hierarchy::is_v2) {
        return skip("the memory controller is on cgroup v1");
    }
    let limits = json!({"memory": {"limit": 33554432, "swap": 33554432},
                        "unified": {"memory.oom.group": "1"}});
    let b = Bundle::new(ctx)?
        .set("/linux/resources", limits)
        .shell("/bin/probe eat 200; echo survived");
    let output = b.run()?.code_is(137)?;
    check_eq!(output.stdout, "", "what is said after the kill");
    ctx.nothing_left()
}
