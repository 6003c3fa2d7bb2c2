//! Id-mapped mounts: whose files a mount shows, and whom it lets write.

use super::mounts::{in_submount_namespace, volume};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

tests!("mounts_idmap":
    a_bind_shows_ids_through_its_mapping_with_and_without_a_word,
    what_a_mapped_user_writes_belongs_to_the_id_of_the_file_system,
    idmap_alone_takes_the_mapping_of_the_user_namespace,
    idmap_alone_takes_the_mapping_of_a_joined_user_namespace,
    own_mappings_count_from_the_host_in_a_user_namespace,
    ridmap_maps_what_is_mounted_below_and_idmap_does_not,
    each_mount_has_its_own_mapping,
    a_single_file_is_id_mapped,
    the_mapping_of_crun_s_option_is_applied,
    crun_s_relative_mapping_counts_from_the_container,
    a_new_tmpfs_is_id_mapped,
    a_new_tmpfs_is_id_mapped_in_a_user_namespace,
    an_id_mapped_tmpfs_inherits_a_mode_and_copies_up,
    a_file_system_on_a_block_device_is_id_mapped,
    flags_and_propagation_hold_on_an_id_mapped_mount,
    mounts_of_an_id_mapped_bind_never_reach_a_shared_host,
    mappings_that_cannot_be_are_refused,
    file_systems_without_id_mappings_are_refused,
    a_foreground_run_waits_for_its_container_and_not_for_the_helper,
    features_say_that_mounts_are_id_mapped,
);

/// Skips before Linux 5.12, which brought id-mapped mounts.
fn kernel_maps_ids() -> Outcome {
    if crate::facts::kernel()? < (5, 12) {
        return skip("id-mapped mounts came with Linux 5.12");
    }
    Ok(())
}

/// Skips before Linux 6.3, which brought them for tmpfs.
fn kernel_maps_ids_of_tmpfs() -> Outcome {
    if crate::facts::kernel()? < (6, 3) {
        return skip("id-mapped mounts of tmpfs came with Linux 6.3");
    }
    Ok(())
}

/// A volume with a file of user 0 and one of user 1000 and group 1001.
fn mixed(ctx: &Ctx) -> Outcome<String> {
    let dir = volume(ctx)?;
    fs::write(format!("{dir}/other"), "")?;
    chown(format!("{dir}/other"), Some(1000), Some(1001))?;
    Ok(dir)
}

fn map(inside: u32, outside: u32, size: u32) -> Value {
    json!([{"containerID": inside, "hostID": outside, "size": size}])
}

fn mapped(destination: &str, kind: &str, source: &str, options: &[&str], uids: Value) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options,
        "uidMappings": uids, "gidMappings": map(0, 6000, 2000)})
}

const OWNERS: &str = "stat -c %u:%g /v/file /v/other";

fn a_bind_shows_ids_through_its_mapping_with_and_without_a_word(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = mixed(ctx)?;
    for options in [
        &["rbind"] as &[&str],
        &["rbind", "idmap"],
        &["rbind", "ridmap"],
        &["bind", "idmap"],
    ] {
        let b = Bundle::new(ctx)?.push(
            "/mounts",
            mapped("/v", "bind", &dir, options, map(0, 5000, 2000)),
        );
        check_eq!(
            b.says(OWNERS)?,
            "5000:6000\n6000:7001",
            "owners with {options:?}"
        );
    }
    check_eq!(
        fs::metadata(format!("{dir}/file"))?.uid(),
        0,
        "owner on the host"
    );
    ctx.nothing_left()
}

fn what_a_mapped_user_writes_belongs_to_the_id_of_the_file_system(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = mixed(ctx)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
    let b = Bundle::new(ctx)?
        .push(
            "/mounts",
            mapped("/v", "bind", &dir, &["rbind", "idmap"], map(0, 5000, 2000)),
        )
        .set("/process/user", json!({"uid": 6234, "gid": 6000}));
    check_eq!(
        b.says("touch /v/made && stat -c %u:%g /v/made")?,
        "6234:6000",
        "inside"
    );
    let made = fs::metadata(format!("{dir}/made"))?;
    check_eq!((made.uid(), made.gid()), (1234, 0), "on the host");
    // An id that the mapping lacks cannot own anything there.
    let b = Bundle::new(ctx)?.push(
        "/mounts",
        mapped("/v", "bind", &dir, &["rbind", "idmap"], map(0, 5000, 2000)),
    );
    let said = b.says("touch /v/refused 2>&1; true")?;
    check!(said.contains("too large"), "an unmapped user wrote: {said}");
    Ok(())
}

fn idmap_alone_takes_the_mapping_of_the_user_namespace(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = mixed(ctx)?;
    for word in ["idmap", "ridmap", "idmap="] {
        let b = Bundle::new(ctx)?.folder("/v")?.user_namespace().mount(
            "/v",
            "bind",
            &dir,
            &["rbind", word],
        );
        let said = b.says(&format!("{OWNERS}; touch /v/made; stat -c %u:%g /v/made"))?;
        check_eq!(said, "0:0\n1000:1001\n0:0", "owners with {word}");
        let made = fs::metadata(format!("{dir}/made"))?;
        check_eq!((made.uid(), made.gid()), (0, 0), "on the host with {word}");
    }
    // Without the word they are the host's, which are nobody inside.
    let b = Bundle::new(ctx)?
        .folder("/v")?
        .user_namespace()
        .mount("/v", "bind", &dir, &["rbind"]);
    check_eq!(
        b.says(OWNERS)?,
        "65534:65534\n65534:65534",
        "owners without idmap"
    );
    ctx.nothing_left()
}

fn idmap_alone_takes_the_mapping_of_a_joined_user_namespace(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = mixed(ctx)?;
    let pause = Bundle::new(ctx)?
        .user_namespace()
        .args(&["/bin/sleep", "1000"])
        .detach()?;
    let b = Bundle::new(ctx)?
        .folder("/v")?
        .namespace("user", Some(&format!("/proc/{}/ns/user", pause.pid()?)))
        .mount("/v", "bind", &dir, &["rbind", "idmap"]);
    check_eq!(b.says(OWNERS)?, "0:0\n1000:1001", "owners");
    Ok(())
}

fn own_mappings_count_from_the_host_in_a_user_namespace(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = mixed(ctx)?;
    let mount = json!({"destination": "/v", "type": "bind", "source": dir, "options": ["rbind", "idmap"],
        "uidMappings": map(0, 100_007, 1), "gidMappings": map(0, 100_000, 2000)});
    let b = Bundle::new(ctx)?
        .folder("/v")?
        .user_namespace()
        .push("/mounts", mount);
    check_eq!(b.says(OWNERS)?, "7:0\n65534:1001", "owners");
    Ok(())
}

fn ridmap_maps_what_is_mounted_below_and_idmap_does_not(ctx: &Ctx) -> Outcome {
    kernel_maps_ids_of_tmpfs()?;
    let dir = volume(ctx)?;
    for (word, wanted) in [("ridmap", "5000\n5000\n"), ("idmap", "5000\n0\n")] {
        let b = Bundle::new(ctx)?
            .push(
                "/mounts",
                mapped("/v", "bind", &dir, &["rbind", word], map(0, 5000, 10)),
            )
            .shell("stat -c %u /v/file /v/sub/inner");
        let cmd = b
            .verb::<&str>("run", &[])?
            .within(&in_submount_namespace(&dir));
        check_eq!(cmd.run()?.ok()?.stdout, wanted, "owners with {word}");
    }
    Ok(())
}

fn each_mount_has_its_own_mapping(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = volume(ctx)?;
    let mut b = Bundle::new(ctx)?.mount("/plain", "bind", &dir, &["bind"]);
    for (name, outside) in [("/a", 7000), ("/b", 8000), ("/c", 7000)] {
        b = b.push(
            "/mounts",
            mapped(name, "bind", &dir, &["bind"], map(0, outside, 10)),
        );
    }
    check_eq!(
        b.says("stat -c %u /plain/file /a/file /b/file /c/file")?,
        "0\n7000\n8000\n7000",
        "owners"
    );
    Ok(())
}

fn a_single_file_is_id_mapped(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = volume(ctx)?;
    let file = format!("{dir}/file");
    let b = Bundle::new(ctx)?.push(
        "/mounts",
        mapped("/srv/new", "bind", &file, &["bind"], map(0, 5000, 10)),
    );
    check_eq!(
        b.says("stat -c %u /srv/new; cat /srv/new")?,
        "5000\ncontent",
        "the file"
    );
    Ok(())
}

fn the_mapping_of_crun_s_option_is_applied(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = mixed(ctx)?;
    let word = "idmap=uids=0-7000-1#1000-8000-5;gids=0-0-2000";
    let b = Bundle::new(ctx)?.mount("/v", "bind", &dir, &["rbind", word]);
    check_eq!(b.says(OWNERS)?, "7000:0\n8000:1001", "owners");
    Ok(())
}

fn crun_s_relative_mapping_counts_from_the_container(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = mixed(ctx)?;
    let word = "idmap=uids=@0-5-1#@1000-10-1;gids=@0-0-2000";
    let b = Bundle::new(ctx)?.folder("/v")?.user_namespace().mount(
        "/v",
        "bind",
        &dir,
        &["rbind", word],
    );
    check_eq!(b.says(OWNERS)?, "5:0\n10:1001", "owners");
    Ok(())
}

fn a_new_tmpfs_is_id_mapped(ctx: &Ctx) -> Outcome {
    kernel_maps_ids_of_tmpfs()?;
    let options = ["nosuid", "size=1m", "mode=750", "idmap"];
    let b = Bundle::new(ctx)?.push(
        "/mounts",
        mapped("/v", "tmpfs", "mine", &options, map(0, 5000, 10)),
    );
    let said = b.says("stat -c '%u:%g %a' /v; grep ' /v ' /proc/self/mountinfo")?;
    check!(
        said.starts_with("5000:6000 750\n"),
        "the root of the tmpfs: {said}"
    );
    for wanted in ["nosuid", "idmapped", "- tmpfs mine ", "size=1024k"] {
        check!(said.contains(wanted), "no {wanted}: {said}");
    }
    Ok(())
}

fn a_new_tmpfs_is_id_mapped_in_a_user_namespace(ctx: &Ctx) -> Outcome {
    kernel_maps_ids_of_tmpfs()?;
    let b = Bundle::new(ctx)?
        .folder("/v")?
        .user_namespace()
        .mount("/v", "tmpfs", "tmpfs", &["idmap", "mode=700"])
        .folder("/r")?
        .mount("/r", "tmpfs", "tmpfs", &["idmap", "ro"]);
    let said =
        b.says("stat -c '%u:%g %a' /v; touch /v/x && stat -c %u:%g /v/x; touch /r/x 2>&1; true")?;
    check!(said.starts_with("0:0 700\n0:0\n"), "owners: {said}");
    check!(said.contains("Read-only file system"), "ro: {said}");
    Ok(())
}

fn an_id_mapped_tmpfs_inherits_a_mode_and_copies_up(ctx: &Ctx) -> Outcome {
    kernel_maps_ids_of_tmpfs()?;
    for user in [false, true] {
        let mut b = Bundle::new(ctx)?;
        let base = if user { 100_000 } else { 0 };
        for (name, mode) in [("inherit", 0o1700), ("copy", 0o710)] {
            let dir = b.rootfs().join(name);
            fs::create_dir(&dir)?;
            fs::write(dir.join("file"), "held\n")?;
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode))?;
            for path in [dir.join("file"), dir] {
                chown(path, Some(base + 3), Some(base + 4))?;
            }
        }
        if user {
            b = b.user_namespace();
        }
        let ids = map(0, base, 10);
        for (name, options) in [
            ("/inherit", &["ro"] as &[_]),
            ("/copy", &["tmpcopyup", "ro"]),
        ] {
            let mount = json!({"destination": name, "type": "tmpfs", "source": "tmpfs",
                "options": options, "uidMappings": ids, "gidMappings": ids});
            b = b.push("/mounts", mount);
        }
        let said = b.says(
            "stat -c %a /inherit; ls /inherit; stat -c '%a %u:%g' /copy /copy/file; \
             cat /copy/file; touch /copy/x /inherit/x 2>&1; true",
        )?;
        check!(
            said.starts_with("1700\n710 3:4\n644 3:4\nheld\n"),
            "with a user namespace: {user}: {said}"
        );
        check_eq!(
            said.matches("Read-only").count(),
            2,
            "refused writes: {said}"
        );
    }
    Ok(())
}

fn a_file_system_on_a_block_device_is_id_mapped(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let image = ctx.dir.join("image");
    fs::File::create(&image)?.set_len(4 << 20)?;
    let image = image.to_string_lossy().into_owned();
    let made = ctx.host(&["mkfs.ext4", "-q", "-F", &image]).run();
    if !made.is_ok_and(|output| output.code == 0) {
        return skip("no mkfs.ext4 on this machine");
    }
    // The kernel frees the loop device with the last that holds it: this descriptor, the mount.
    let found = ctx.host(&["losetup", "--find", "--show", &image]).run()?;
    if found.code != 0 {
        return skip(format!("no loop device: {}", found.stderr.trim()));
    }
    let device = found.stdout.trim().to_string();
    let b = Bundle::new(ctx)?
        .push(
            "/mounts",
            mapped(
                "/v",
                "ext4",
                &device,
                &["idmap", "noatime"],
                map(0, 5000, 10),
            ),
        )
        .shell("stat -c %u /v/lost+found; grep ' /v ' /proc/self/mountinfo");
    let output = b.run();
    ctx.host(&["losetup", "--detach", &device]).run()?.ok()?;
    let said = output?.ok()?.stdout;
    check!(said.starts_with("5000\n"), "owner: {said}");
    check!(said.contains("noatime,idmapped - ext4"), "mount: {said}");
    ctx.nothing_left()
}

fn flags_and_propagation_hold_on_an_id_mapped_mount(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = volume(ctx)?;
    let options = [
        "rbind", "idmap", "ro", "nosuid", "rnodev", "noexec", "rshared",
    ];
    for user in [false, true] {
        let mut b = Bundle::new(ctx)?.folder("/v")?.folder("/t")?;
        if user {
            b = b.user_namespace();
        }
        // Before Linux 6.3 no tmpfs is id-mapped.
        let points: &[&str] = match crate::facts::kernel()? < (6, 3) {
            true => &["/v"],
            false => &["/v", "/t"],
        };
        for (name, kind, source) in [("/v", "bind", dir.as_str()), ("/t", "tmpfs", "tmpfs")] {
            if !points.contains(&name) {
                continue;
            }
            let words = &options[usize::from(kind == "tmpfs")..];
            let first = if user { 100_000 } else { 5000 };
            b = b.push(
                "/mounts",
                mapped(name, kind, source, words, map(0, first, 10)),
            );
        }
        let facts = b.facts()?;
        for point in points {
            let found = facts.mount_options(point)?;
            for option in ["ro", "nosuid", "nodev", "noexec", "idmapped"] {
                check!(
                    found.iter().any(|f| f == option),
                    "{point} lacks {option}: {found:?}"
                );
            }
            let fields = facts.mount(point)?;
            check!(fields[6].starts_with("shared:"), "{point}: {fields:?}");
        }
    }
    Ok(())
}

fn mounts_of_an_id_mapped_bind_never_reach_a_shared_host(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = volume(ctx)?;
    for mode in ["", "rslave", "private"] {
        let mut b = super::rootfs::mounter(ctx, &dir, &["rbind", "ridmap"])?;
        let last = b.config["mounts"].as_array().because("mounts")?.len() - 1;
        for maps in ["uidMappings", "gidMappings"] {
            b = b.set(&format!("/mounts/{last}/{maps}"), map(0, 0, 10));
        }
        if !mode.is_empty() {
            b = b.set("/linux/rootfsPropagation", mode);
        }
        check_eq!(
            super::rootfs::mounts_added(ctx, &b)?,
            0,
            "mounts left by `{mode}`"
        );
    }
    ctx.nothing_left()
}

/// Refused in one line that holds all of these texts.
fn refused(b: &Bundle, texts: &[&str]) -> Outcome {
    let output = b.create_refused()?;
    for text in texts {
        check!(
            output.stderr.contains(text),
            "no {text:?} in: {}",
            output.stderr.trim()
        );
    }
    Ok(())
}

fn mappings_that_cannot_be_are_refused(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = volume(ctx)?;
    let plain = |options: &[&str]| {
        Ok::<_, crate::outcome::Stop>(Bundle::new(ctx)?.mount("/v", "bind", &dir, options))
    };
    refused(
        &plain(&["rbind", "idmap"])?,
        &["/mounts/6/options", "user namespace", "uidMappings"],
    )?;
    for text in ["idmap=uids=0-0-1", "idmap=x", "ridmap=uids=0-0;gids=0-0-1"] {
        refused(&plain(&["rbind", text])?, &["/mounts/6/options"])?;
    }
    let relative = "idmap=uids=@0-65536-1;gids=@0-0-1";
    refused(
        &plain(&["rbind", relative])?.user_namespace(),
        &["/mounts/6/options", "not in one mapping"],
    )?;
    let one = json!({"destination": "/v", "type": "bind", "source": dir, "options": ["rbind"],
        "uidMappings": map(0, 0, 1)});
    refused(
        &Bundle::new(ctx)?.push("/mounts", one),
        &["/mounts/6/gidMappings", "uidMappings"],
    )?;
    // What the kernel refuses: ranges that overlap, in the form that is not looked into before.
    let overlap = "idmap=uids=0-0-10#5-20-10;gids=0-0-10";
    refused(&plain(&["rbind", overlap])?, &["/mounts/6", "overlap"])
}

fn file_systems_without_id_mappings_are_refused(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let ids = || map(0, 5000, 10);
    for (name, kind, text) in [
        ("/v", "mqueue", "no id-mapped mounts"),
        ("/v", "sysfs", "no id-mapped mounts"),
        ("/v", "cgroup", "cannot be id-mapped"),
        ("/proc", "proc", "cannot be id-mapped"),
    ] {
        let b = Bundle::new(ctx)?.push("/mounts", mapped(name, kind, kind, &["idmap"], ids()));
        refused(&b, &["/mounts/6", text])?;
    }
    // procfs is what a bind of the host's /proc shows.
    let b = Bundle::new(ctx)?.push("/mounts", mapped("/v", "bind", "/proc", &["bind"], ids()));
    refused(&b, &["/mounts/6", "no id-mapped mounts"])?;
    // Its root would belong to nobody inside, who could not give it its mode. (Before Linux 6.3
    // it has no mappings at all.)
    let (place, text) = match crate::facts::kernel()? < (6, 3) {
        true => ("/mounts/6", "no id-mapped mounts"),
        false => ("/mounts/6/options", "mode="),
    };
    let b = Bundle::new(ctx)?
        .folder("/v")?
        .user_namespace()
        .push("/mounts", mapped("/v", "tmpfs", "tmpfs", &[], ids()));
    refused(&b, &[place, text])?;
    let remount = mapped("/dev/shm", "tmpfs", "shm", &["remount", "idmap"], ids());
    refused(
        &Bundle::new(ctx)?.push("/mounts", remount),
        &["/mounts/6", "there already"],
    )
}

fn a_foreground_run_waits_for_its_container_and_not_for_the_helper(ctx: &Ctx) -> Outcome {
    kernel_maps_ids()?;
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?
        .push(
            "/mounts",
            mapped("/v", "bind", &dir, &["rbind"], map(0, 5000, 10)),
        )
        .shell("sleep 0.3; exit 7");
    b.run()?.code_is(7)?;
    ctx.nothing_left()
}

fn features_say_that_mounts_are_id_mapped(ctx: &Ctx) -> Outcome {
    let features = ctx.features()?;
    check_eq!(
        features["linux"]["mountExtensions"]["idmap"]["enabled"],
        json!(true),
        "idmap"
    );
    Ok(())
}
