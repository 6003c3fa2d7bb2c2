//! Mounts: every kind that engines emit, options, propagation, read-only root.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check, check_eq, tests};
use std::fs;

tests!("mounts":
    the_usual_mounts_have_the_right_types_and_options,
    mounts_show_their_sources,
    tmpfs_takes_size_and_mode,
    a_bind_mount_shows_a_directory_and_writes_through,
    a_bind_mount_shows_a_file,
    a_bind_source_is_relative_to_the_bundle,
    a_read_only_bind_refuses_writes,
    a_bind_takes_nosuid_nodev_noexec,
    a_bind_does_without_the_options_of_a_tmpfs,
    bind_without_bind_option_but_by_type_is_not_needed,
    rbind_brings_submounts_and_bind_does_not,
    rro_makes_submounts_read_only,
    missing_destinations_are_made,
    a_destination_behind_a_link_stays_in_the_rootfs,
    a_destination_that_is_a_link_to_nothing_is_made_in_the_rootfs,
    a_destination_with_dots_stays_in_the_rootfs,
    mounts_are_done_in_order,
    a_later_mount_hides_an_earlier_one,
    propagation_of_a_mount_is_set,
    cgroup_v1_mounts_show_the_containers_controllers,
    cgroup_v1_mounts_in_a_cgroup_namespace_work,
    ro_remount_of_a_tmpfs_holds,
    mqueue_is_usable,
    atime_options_are_applied,
    a_file_system_image_option_string_reaches_the_kernel,
    a_bind_mount_of_a_device_node_works,
);

fn mounts_show_their_sources(ctx: &Ctx) -> Outcome {
    let named = |b: Bundle<'_>| -> Outcome<String> {
        let line = "for m in /proc /dev /dev/shm /sys; do grep \" $m \" /proc/self/mounts | cut -d' ' -f1; done";
        b.set("/mounts/0/source", "p").says(line)
    };
    check_eq!(named(Bundle::new(ctx)?)?, "p\ntmpfs\nshm\nsysfs", "sources");
    Ok(())
}

fn the_usual_mounts_have_the_right_types_and_options(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.facts()?;
    let wanted: [(&str, &str, &[&str]); 6] = [
        ("/proc", "proc", &["rw", "nosuid", "nodev", "noexec"]),
        (
            "/dev",
            "tmpfs",
            &["rw", "nosuid", "mode=755", "size=65536k"],
        ),
        (
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "mode=620", "ptmxmode=666", "gid=5"],
        ),
        (
            "/dev/shm",
            "tmpfs",
            &["nosuid", "nodev", "noexec", "size=65536k"],
        ),
        ("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
    ];
    for (point, kind, options) in wanted {
        check_eq!(facts.mount_type(point)?, kind, "type of {point}");
        let found = facts.mount_options(point)?;
        for option in options {
            check!(
                found.iter().any(|f| f == option),
                "{point} lacks {option}: {found:?}"
            );
        }
    }
    check_eq!(
        facts.text("mountinfo")?.lines().count(),
        7,
        "number of mounts"
    );
    Ok(())
}

fn tmpfs_takes_size_and_mode(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.mount("/t", "tmpfs", "tmpfs", &["size=1m", "mode=1770", "noexec"]);
    let said = b.says("stat -c %a /t; dd if=/dev/zero of=/t/x bs=1k count=2000 2>&1 | grep -c space; grep ' /t ' /proc/self/mountinfo")?;
    check!(
        said.starts_with("1770\n1\n"),
        "mode, and a write beyond the size: {said}"
    );
    check!(
        said.contains("noexec") && said.contains("size=1024k"),
        "options: {said}"
    );
    Ok(())
}

/// A folder beside the bundle with one file.
pub fn volume(ctx: &Ctx) -> Outcome<String> {
    let dir = ctx.dir.join(format!("volume{}", ctx.next()));
    fs::create_dir_all(dir.join("sub"))?;
    fs::write(dir.join("file"), "content\n")?;
    if let Some(id) = ctx.driver.user {
        crate::user::own(&dir, id)?;
    }
    Ok(dir.to_string_lossy().into_owned())
}

fn a_bind_mount_shows_a_directory_and_writes_through(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?.mount("/data", "bind", &dir, &["rbind", "rw"]);
    check_eq!(
        b.says("cat /data/file; echo new > /data/made")?,
        "content",
        "file in the volume"
    );
    check_eq!(
        fs::read_to_string(format!("{dir}/made"))?,
        "new\n",
        "file written by the container"
    );
    Ok(())
}

fn a_bind_mount_shows_a_file(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?
        .mount(
            "/etc/hosts",
            "bind",
            &format!("{dir}/file"),
            &["rbind", "rprivate"],
        )
        .mount(
            "/srv/new/file",
            "bind",
            &format!("{dir}/file"),
            &["bind", "ro"],
        );
    check_eq!(
        b.says("cat /etc/hosts /srv/new/file")?,
        "content\ncontent",
        "files"
    );
    Ok(())
}

fn a_bind_source_is_relative_to_the_bundle(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.mount("/data", "bind", "vol", &["bind"]);
    fs::create_dir(b.dir.join("vol"))?;
    fs::write(b.dir.join("vol/file"), "relative")?;
    check_eq!(b.says("cat /data/file")?, "relative", "file");
    Ok(())
}

fn a_read_only_bind_refuses_writes(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?.mount("/data", "bind", &dir, &["bind", "ro"]);
    let said =
        b.says("touch /data/made 2>&1; cat /data/file; grep ' /data ' /proc/self/mountinfo")?;
    check!(
        said.contains("Read-only file system"),
        "writing to a read-only bind: {said}"
    );
    fs::write(format!("{dir}/host"), "the source stays writable")?;
    Ok(())
}

fn a_bind_takes_nosuid_nodev_noexec(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let facts = Bundle::new(ctx)?
        .mount(
            "/data",
            "bind",
            &dir,
            &["bind", "nosuid", "nodev", "noexec"],
        )
        .facts()?;
    let found = facts.mount_options("/data")?;
    for option in ["rw", "nosuid", "nodev", "noexec"] {
        check!(
            found.iter().any(|f| f == option),
            "/data lacks {option}: {found:?}"
        );
    }
    Ok(())
}

fn a_bind_does_without_the_options_of_a_tmpfs(ctx: &Ctx) -> Outcome {
    // As the OCI's runtime-tools write them.
    let dir = volume(ctx)?;
    let options = ["nosuid", "strictatime", "mode=755", "size=1k", "bind"];
    let b = Bundle::new(ctx)?.mount("/data", "", &dir, &options);
    let output = b.shell("cat /data/file").run()?.ok()?;
    check_eq!(output.stdout, "content\n", "output");
    output.says(&["/options/2", "mode=755", "/options/3", "size=1k", "ignored"])?;
    // What means to protect is not left out.
    let refused = ["bind", "readonly"];
    let b = Bundle::new(ctx)?.mount("/data", "", &dir, &refused);
    b.create_refused()?.says(&["/options", "\"readonly\""])?;
    Ok(())
}

fn bind_without_bind_option_but_by_type_is_not_needed(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?.mount("/data", "none", &dir, &["rbind"]);
    check_eq!(b.says("cat /data/file")?, "content", "bind with type none");
    Ok(())
}

const WITH_SUBMOUNT: &str =
    "mount -t tmpfs sub \"$0/sub\" && touch \"$0/sub/inner\" && exec \"$@\"";

/// Starts the runtime in a mount namespace where a tmpfs lies on VOLUME/sub.
pub fn in_submount_namespace(dir: &str) -> Vec<String> {
    [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        WITH_SUBMOUNT,
        dir,
    ]
    .map(str::to_string)
    .to_vec()
}

fn rbind_brings_submounts_and_bind_does_not(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    for (option, wanted) in [("rbind", "inner\n"), ("bind", "")] {
        let b = Bundle::new(ctx)?
            .mount("/data", "bind", &dir, &[option])
            .shell("ls /data/sub");
        let cmd = b
            .verb::<&str>("run", &[])?
            .within(&in_submount_namespace(&dir));
        check_eq!(cmd.run()?.ok()?.stdout, wanted, "/data/sub with {option}");
    }
    Ok(())
}

fn rro_makes_submounts_read_only(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let line = "touch /data/a 2>&1; touch /data/sub/b 2>&1; true";
    for (option, refused) in [("rro", 2), ("ro", 1)] {
        let b = Bundle::new(ctx)?
            .mount("/data", "bind", &dir, &["rbind", option])
            .shell(line);
        let cmd = b
            .verb::<&str>("run", &[])?
            .within(&in_submount_namespace(&dir));
        let said = cmd.run()?.ok()?.stdout;
        check_eq!(
            said.matches("Read-only").count(),
            refused,
            "refused writes with {option}"
        );
    }
    Ok(())
}

fn missing_destinations_are_made(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?
        .mount("/deep/er/dir", "bind", &dir, &["bind"])
        .mount("/deep/er/file", "bind", &format!("{dir}/file"), &["bind"])
        .mount("/other/tmp", "tmpfs", "tmpfs", &[]);
    check_eq!(
        b.says("cat /deep/er/dir/file /deep/er/file; ls /other")?,
        "content\ncontent\ntmp",
        "files"
    );
    Ok(())
}

fn a_destination_behind_a_link_stays_in_the_rootfs(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let trap = ctx.dir.join("trap");
    fs::create_dir(&trap)?;
    let b = Bundle::new(ctx)?.mount("/link/data", "bind", &dir, &["bind"]);
    // Absolute, so it means another place inside than outside.
    std::os::unix::fs::symlink(&trap, b.rootfs().join("link"))?;
    let output = b.shell("cat /link/data/file").run()?;
    check_eq!(
        fs::read_dir(&trap)?.count(),
        0,
        "entries made outside the rootfs"
    );
    if output.code == 0 {
        check_eq!(output.stdout, "content\n", "the volume behind the link");
    }
    ctx.nothing_left()
}

fn a_destination_that_is_a_link_to_nothing_is_made_in_the_rootfs(ctx: &Ctx) -> Outcome {
    // As /etc/resolv.conf of many images.
    let dir = volume(ctx)?;
    let file = format!("{dir}/file");
    for (link, target, made) in [
        ("etc/relative", "../run/not/there", "run/not/there"),
        ("etc/absolute", "/run/no/such", "run/no/such"),
        ("etc/far", "../../../../../run/up", "run/up"),
        ("etc/chain", "absolute", "run/no/such"),
    ] {
        let b = Bundle::new(ctx)?.mount(&format!("/{link}"), "bind", &file, &["bind"]);
        std::os::unix::fs::symlink("/run/no/such", b.rootfs().join("etc/absolute"))?;
        if link != "etc/absolute" {
            std::os::unix::fs::symlink(target, b.rootfs().join(link))?;
        }
        check_eq!(b.says(&format!("cat /{made}"))?, "content", "{link}");
    }
    let b = Bundle::new(ctx)?.mount("/loop", "bind", &file, &["bind"]);
    std::os::unix::fs::symlink("loop", b.rootfs().join("loop"))?;
    b.create_refused()?;
    ctx.nothing_left()
}

fn a_destination_with_dots_stays_in_the_rootfs(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let up = "/mnt/../../../../../../../../escaped";
    let b = Bundle::new(ctx)?.mount(up, "bind", &dir, &["bind"]);
    let output = b.shell("cat /escaped/file").run()?;
    check!(
        !std::path::Path::new("/escaped").exists(),
        "/escaped was made on the host"
    );
    check!(
        output.code != 0 || output.stdout == "content\n",
        "found {}",
        output.stdout
    );
    ctx.nothing_left()
}

fn mounts_are_done_in_order(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?
        .mount("/a", "tmpfs", "tmpfs", &[])
        .mount("/a/b", "bind", &dir, &["bind"])
        .mount("/a/b/sub", "tmpfs", "tmpfs", &[]);
    let said = b.says("grep -o ' /a[^ ]* ' /proc/self/mountinfo; cat /a/b/file")?;
    let words: Vec<&str> = said.split_whitespace().collect();
    check_eq!(
        words,
        ["/a", "/a/b", "/a/b/sub", "content"],
        "mounts in order"
    );
    Ok(())
}

fn a_later_mount_hides_an_earlier_one(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?
        .mount("/a", "bind", &dir, &["bind"])
        .mount("/a", "tmpfs", "tmpfs", &[]);
    check_eq!(b.says("ls /a")?, "", "what is seen at /a");
    Ok(())
}

fn propagation_of_a_mount_is_set(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    for (option, wanted) in [
        ("rshared", "shared:"),
        ("private", ""),
        ("unbindable", "unbindable"),
    ] {
        let facts = Bundle::new(ctx)?
            .mount("/data", "bind", &dir, &["rbind", option])
            .facts()?;
        let fields = facts.mount("/data")?;
        let tag = if fields[6] == "-" {
            ""
        } else {
            fields[6].as_str()
        };
        let fits = tag.starts_with(wanted) && (tag.is_empty() == wanted.is_empty());
        check!(fits, "propagation of a mount with {option}: {fields:?}");
    }
    Ok(())
}

fn cgroup_v1_mounts_show_the_containers_controllers(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let options = ["ro", "nosuid", "noexec", "nodev"];
    let b = Bundle::new(ctx)?
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &options)
        .set("/linux/resources/memory/limit", 64 << 20);
    let said = b.says(
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes; cat /sys/fs/cgroup/pids/cgroup.procs; \
         touch /sys/fs/cgroup/x 2>&1; echo 1 2>&1 >/sys/fs/cgroup/memory/memory.limit_in_bytes; \
         grep ' /sys/fs/cgroup/memory ' /proc/self/mountinfo",
    )?;
    check!(
        said.starts_with(&format!("{}\n1\n", 64 << 20)),
        "the container's own cgroup: {said}"
    );
    check!(
        said.contains("Read-only file system"),
        "the mount is writable: {said}"
    );
    check!(
        said.contains("- cgroup "),
        "no cgroup mount of memory: {said}"
    );
    Ok(())
}

fn cgroup_v1_mounts_in_a_cgroup_namespace_work(ctx: &Ctx) -> Outcome {
    ctx.v1("memory")?;
    let b = Bundle::new(ctx)?
        .namespace("cgroup", None)
        .mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["ro", "nosuid", "noexec", "nodev"],
        )
        .set("/linux/resources/memory/limit", 64 << 20);
    let said = b.says("cat /sys/fs/cgroup/memory/memory.limit_in_bytes")?;
    check_eq!(said, (64 << 20).to_string(), "limit seen inside");
    Ok(())
}

fn ro_remount_of_a_tmpfs_holds(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.mount("/t", "tmpfs", "tmpfs", &["ro", "size=64k"]);
    let said = b.says("touch /t/x 2>&1; true")?;
    check!(
        said.contains("Read-only file system"),
        "a read-only tmpfs took a file: {said}"
    );
    Ok(())
}

fn mqueue_is_usable(ctx: &Ctx) -> Outcome {
    check_eq!(
        Bundle::new(ctx)?.says("touch /dev/mqueue/q && ls /dev/mqueue")?,
        "q",
        "queue"
    );
    Ok(())
}

fn atime_options_are_applied(ctx: &Ctx) -> Outcome {
    for (option, wanted) in [("noatime", "noatime"), ("relatime", "relatime")] {
        let facts = Bundle::new(ctx)?
            .mount("/t", "tmpfs", "tmpfs", &[option])
            .facts()?;
        let found = facts.mount_options("/t")?;
        check!(
            found.iter().any(|f| f == wanted),
            "{option} gives {found:?}"
        );
    }
    let facts = Bundle::new(ctx)?
        .mount("/t", "tmpfs", "tmpfs", &["strictatime"])
        .facts()?;
    let found = facts.mount_options("/t")?;
    check!(
        !found.iter().any(|f| f.ends_with("atime")),
        "strictatime gives {found:?}"
    );
    Ok(())
}

fn a_file_system_image_option_string_reaches_the_kernel(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.mount(
        "/t",
        "tmpfs",
        "tmpfs",
        &["nr_inodes=100", "uid=1000", "gid=1001"],
    );
    let said = b.says("stat -c '%u %g' /t; grep ' /t ' /proc/self/mountinfo")?;
    check!(
        said.starts_with("1000 1001\n") && said.contains("nr_inodes=100"),
        "{said}"
    );
    Ok(())
}

fn a_bind_mount_of_a_device_node_works(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.mount("/dev/also-null", "bind", "/dev/null", &["bind"]);
    check_eq!(
        b.says("stat -c '%F %t:%T' /dev/also-null")?,
        "character special file 1:3",
        "node"
    );
    Ok(())
}
