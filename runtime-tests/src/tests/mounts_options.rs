//! Every word of `mounts[].options`: what it changes, on new file systems and on binds.

use super::mounts::{in_submount_namespace, volume};
use super::rootfs::{PRIVATE, SHARED};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::facts::Facts;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::Value;
use std::fs;

tests!("mounts_options":
    every_word_that_features_lists_is_understood,
    features_list_every_word_of_runc_and_crun,
    flags_of_a_mount_are_set_and_taken_back,
    flags_of_a_mount_are_set_and_taken_back_on_a_bind,
    a_bind_keeps_the_flags_of_its_source_that_are_not_named,
    recursive_flags_reach_every_submount as Long,
    recursive_words_of_the_superblock_leave_binds_alone,
    access_times_are_as_the_last_word_says,
    flags_of_the_superblock_reach_the_file_system,
    propagation_words_work_on_every_kind_of_mount as Long,
    a_file_system_with_a_propagation_word_is_as_without,
    an_overlay_with_long_options_takes_a_propagation_word,
    remount_changes_a_file_system,
    a_remount_of_a_bind_keeps_what_is_not_named,
    a_remount_in_a_user_namespace_keeps_the_flags_of_the_source,
    a_plain_remount_in_a_user_namespace_is_refused_with_a_hint,
    a_bind_in_a_user_namespace_of_a_source_with_flags_keeps_them,
    a_remount_of_what_is_no_mount_is_refused,
    a_bind_by_its_type_alone_is_a_bind,
    a_bind_with_options_of_a_file_system_is_refused,
    a_mount_label_without_selinux_is_refused,
);

fn words(ctx: &Ctx) -> Outcome<Vec<String>> {
    let features: Value = serde_json::from_str(&ctx.rt(&["features"]).run()?.ok()?.stdout)?;
    let words = features["mountOptions"]
        .as_array()
        .because("mountOptions")?;
    Ok(words
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_string)
        .collect())
}

fn every_word_that_features_lists_is_understood(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    // A word that is not understood would be an option of tmpfs, and refused.
    let own_kind = [
        "bind",
        "rbind",
        "remount",
        "idmap",
        "ridmap",
        "copy-symlink",
        "src-nofollow",
    ];
    let words = words(ctx)?;
    let mut b = Bundle::new(ctx)?;
    for (index, word) in words.iter().enumerate() {
        // ext4 and others have it, tmpfs has not.
        if own_kind.contains(&word.as_str()) || word == "iversion" || word == "acl" {
            continue;
        }
        b = b.mount(&format!("/t/{index}"), "tmpfs", "tmpfs", &[word]);
        if word != "tmpcopyup" {
            b = b.mount(&format!("/b/{index}"), "bind", &dir, &["rbind", word]);
        }
    }
    b.run()?.ok()?;
    let refused = Bundle::new(ctx)?.mount("/t", "tmpfs", "tmpfs", &["nosuchword"]);
    refused.create_refused().map(drop)
}

fn features_list_every_word_of_runc_and_crun(ctx: &Ctx) -> Outcome {
    let wanted = "async atime bind defaults dev diratime dirsync exec mand noatime nodev nodiratime noexec \
        nomand norelatime nostrictatime nosuid private rprivate slave rslave shared rshared unbindable \
        runbindable rbind relatime remount ro rw strictatime suid sync iversion noiversion lazytime \
        nolazytime silent loud symfollow nosymfollow rro rrw rsuid rnosuid rdev rnodev rexec rnoexec ratime \
        rnoatime rdiratime rnodiratime rrelatime rnorelatime rstrictatime rnostrictatime rsymfollow \
        rnosymfollow rsync rasync rdirsync rmand rnomand tmpcopyup idmap ridmap copy-symlink src-nofollow \
        dest-nofollow";
    let words = words(ctx)?;
    for word in wanted.split_whitespace() {
        check!(words.iter().any(|w| w == word), "mountOptions lacks {word}");
    }
    check!(words.is_sorted(), "mountOptions are not sorted: {words:?}");
    Ok(())
}

/// Each of these sets a flag that mountinfo shows, and the word beside it takes it back.
const PAIRS: [(&str, &str); 6] = [
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    ("nodiratime", "diratime"),
    ("nosymfollow", "symfollow"),
];

fn shows(facts: &Facts, point: &str, word: &str) -> Outcome<bool> {
    Ok(facts.mount(point)?[5].split(',').any(|found| found == word))
}

fn flags_of_a_mount_are_set_and_taken_back(ctx: &Ctx) -> Outcome {
    pairs_on(ctx, "tmpfs", "tmpfs", None)
}

fn flags_of_a_mount_are_set_and_taken_back_on_a_bind(ctx: &Ctx) -> Outcome {
    pairs_on(ctx, "bind", &volume(ctx)?, Some("bind"))
}

fn pairs_on(ctx: &Ctx, kind: &str, source: &str, first: Option<&str>) -> Outcome {
    let mut b = Bundle::new(ctx)?;
    for (set, clear) in PAIRS {
        for (name, words) in [
            (set, &[set] as &[_]),
            (clear, &[set, clear]),
            ("both", &[clear, set]),
        ] {
            let words: Vec<&str> = first.into_iter().chain(words.iter().copied()).collect();
            b = b.mount(&format!("/m/{set}-{name}"), kind, source, &words);
        }
    }
    let facts = b.facts()?;
    for (set, clear) in PAIRS {
        check!(
            shows(&facts, &format!("/m/{set}-{set}"), set)?,
            "{kind} with {set}"
        );
        check!(
            !shows(&facts, &format!("/m/{set}-{clear}"), set)?,
            "{kind} with {set},{clear}"
        );
        check!(
            shows(&facts, &format!("/m/{set}-both"), set)?,
            "{kind} with {clear},{set}"
        );
    }
    Ok(())
}

/// Starts a command where a tmpfs with flags lies on the volume `$0`, with one more below.
const WITH_FLAGS: &str = "mount -t tmpfs -o ro,nosuid,nodev,noexec x \"$0\" && exec \"$@\"";

fn flagged(dir: &str) -> [String; 7] {
    let wrapper = [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        WITH_FLAGS,
    ];
    let mut wrapper = wrapper.map(str::to_string).to_vec();
    wrapper.push(dir.to_string());
    // `sh -c` takes the volume as $0.
    [
        wrapper[0].clone(),
        wrapper[1].clone(),
        format!("{}={}", wrapper[2], wrapper[3]),
        wrapper[4].clone(),
        wrapper[5].clone(),
        wrapper[6].clone(),
        wrapper[7].clone(),
    ]
}

/// Runs the probe's facts in the namespace that a wrapper makes.
fn facts_within<S: AsRef<str>>(b: Bundle, wrapper: &[S]) -> Outcome<Facts> {
    let b = b.args(&["/bin/probe", "facts"]);
    let output = b.verb::<&str>("run", &[])?.within(wrapper).run()?.ok()?;
    Ok(Facts(serde_json::from_str(&output.stdout)?))
}

fn a_bind_keeps_the_flags_of_its_source_that_are_not_named(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?
        .mount("/plain", "bind", &dir, &["bind"])
        .mount("/named", "bind", &dir, &["bind", "nosymfollow", "exec"])
        .mount("/rw", "bind", &dir, &["bind", "rw"]);
    let facts = facts_within(b, &flagged(&dir))?;
    for (point, wanted) in [
        ("/plain", "ro,nosuid,nodev,noexec"),
        ("/named", "ro,nosuid,nodev,nosymfollow"),
        ("/rw", "rw,nosuid,nodev,noexec"),
    ] {
        let found = &facts.mount(point)?[5];
        for word in wanted.split(',') {
            check!(
                found.split(',').any(|f| f == word),
                "{point} lacks {word}: {found}"
            );
        }
    }
    check!(
        !shows(&facts, "/named", "noexec")?,
        "exec did not take noexec away"
    );
    Ok(())
}

fn recursive_flags_reach_every_submount(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    for (set, clear) in [
        ("rro", "rrw"),
        ("rnosuid", "rsuid"),
        ("rnodev", "rdev"),
        ("rnoexec", "rexec"),
        ("rnoatime", "ratime"),
        ("rnodiratime", "rdiratime"),
        ("rnosymfollow", "rsymfollow"),
    ] {
        let flag = &set[1..];
        let b = Bundle::new(ctx)?
            .mount("/set", "bind", &dir, &["rbind", set])
            .mount("/not", "bind", &dir, &["rbind", set, clear])
            .mount("/new", "tmpfs", "tmpfs", &[set]);
        let facts = facts_within(b, &in_submount_namespace(&dir))?;
        for point in ["/set", "/set/sub", "/new"] {
            check!(shows(&facts, point, flag)?, "{point} with {set}");
        }
        for point in ["/not", "/not/sub"] {
            check!(!shows(&facts, point, flag)?, "{point} with {set},{clear}");
        }
    }
    for (word, wanted) in [
        ("rrelatime", "relatime"),
        ("rnorelatime", "relatime"),
        ("rnostrictatime", "relatime"),
        ("rstrictatime", ""),
    ] {
        let b = Bundle::new(ctx)?.mount("/set", "bind", &dir, &["rbind", "noatime", word]);
        let facts = facts_within(b, &in_submount_namespace(&dir))?;
        for point in ["/set", "/set/sub"] {
            let found = &facts.mount(point)?[5];
            let times: Vec<&str> = found.split(',').filter(|f| f.ends_with("atime")).collect();
            check_eq!(times.join(","), wanted, "{point} with {word}");
        }
    }
    Ok(())
}

fn recursive_words_of_the_superblock_leave_binds_alone(ctx: &Ctx) -> Outcome {
    // A bind shares its superblock with the host. The number of MS_SYNCHRONOUS is that of
    // MOUNT_ATTR_NOATIME: crun 1.29 gives the mount that.
    let dir = volume(ctx)?;
    let facts = Bundle::new(ctx)?
        .mount("/plain", "bind", &dir, &["rbind"])
        .mount(
            "/sync",
            "bind",
            &dir,
            &["rbind", "rsync", "rdirsync", "rmand", "sync"],
        )
        .facts()?;
    check_eq!(facts.mount("/sync")?[5], facts.mount("/plain")?[5], "flags");
    Ok(())
}

fn access_times_are_as_the_last_word_says(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    for (words, wanted) in [
        (&["noatime"] as &[&str], "noatime"),
        (&["noatime", "atime"], "relatime"),
        (&["relatime"], "relatime"),
        (&["strictatime"], ""),
        (&["strictatime", "nostrictatime"], "relatime"),
        (&["strictatime", "noatime"], "noatime"),
        (&["relatime", "norelatime"], "relatime"),
    ] {
        let bind: Vec<&str> = ["bind"].iter().chain(words).copied().collect();
        let facts = Bundle::new(ctx)?
            .mount("/b", "bind", &dir, &bind)
            .mount("/t", "tmpfs", "tmpfs", words)
            .facts()?;
        for point in ["/b", "/t"] {
            let found = &facts.mount(point)?[5];
            let times: Vec<&str> = found.split(',').filter(|f| f.ends_with("atime")).collect();
            check_eq!(times.join(","), wanted, "{point} with {words:?}");
        }
    }
    Ok(())
}

fn flags_of_the_superblock_reach_the_file_system(ctx: &Ctx) -> Outcome {
    for (words, shown, wanted) in [
        (&["sync"] as &[&str], "sync", true),
        (&["rsync"], "sync", true),
        (&["sync", "async"], "sync", false),
        (&["rsync", "rasync"], "sync", false),
        (&["dirsync"], "dirsync", true),
        (&["rdirsync"], "dirsync", true),
        (&["lazytime"], "lazytime", true),
        (&["lazytime", "nolazytime"], "lazytime", false),
        (
            &[
                "silent",
                "loud",
                "defaults",
                "nomand",
                "rnomand",
                "noiversion",
            ],
            "sync",
            false,
        ),
        (&["ro"], "ro", true),
        (&["ro", "rw"], "ro", false),
    ] {
        // As it is mounted in one call, and as a detached mount.
        for detached in [false, true] {
            let mut all = words.to_vec();
            if detached {
                all.push("private");
            }
            let facts = Bundle::new(ctx)?
                .mount("/t", "tmpfs", "tmpfs", &all)
                .facts()?;
            let fields = facts.mount("/t")?;
            let found = fields.last().because("options")?;
            check_eq!(
                found.split(',').any(|f| f == shown),
                wanted,
                "{shown} with {all:?}: {found}"
            );
        }
    }
    Ok(())
}

/// The propagation field of mountinfo, without the number of the peer group.
fn propagation(facts: &Facts, point: &str) -> Outcome<String> {
    let fields = facts.mount(point)?;
    let end = fields
        .iter()
        .position(|field| field == "-")
        .because("mountinfo")?;
    let tags = fields[6..end]
        .iter()
        .map(|tag| tag.split(':').next().unwrap_or(""));
    Ok(tags.collect::<Vec<_>>().join(","))
}

fn propagation_words_work_on_every_kind_of_mount(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    // A bind of what is shared outside is a slave of it, unless it is private.
    for (word, wanted, of_shared) in [
        ("private", "", ""),
        ("rprivate", "", ""),
        ("shared", "shared", "shared,master"),
        ("rshared", "shared", "shared,master"),
        ("slave", "", "master"),
        ("rslave", "", "master"),
        ("unbindable", "unbindable", "unbindable"),
        ("runbindable", "unbindable", "unbindable"),
    ] {
        for (machine, bind) in [(&PRIVATE[..], wanted), (&SHARED, of_shared)] {
            let b = Bundle::new(ctx)?
                .set("/mounts/0/options", serde_json::json!([word, "nosuid"]))
                .mount("/b", "bind", &dir, &["rbind", word])
                .mount("/t", "tmpfs", "tmpfs", &[word, "size=1m"])
                .mount("/etc", "tmpfs", "tmpfs", &[word, "tmpcopyup"])
                .mount("/q", "mqueue", "mqueue", &[word])
                .mount("/s", "sysfs", "sysfs", &["ro", word])
                .mount("/cg", "cgroup", "cgroup", &["ro", word])
                .mount("/dev/shm", "", "", &["remount", "bind", word]);
            let facts = b.facts_within(machine)?;
            check_eq!(propagation(&facts, "/b")?, bind, "/b with {word}");
            for point in ["/proc", "/t", "/etc", "/q", "/s", "/cg", "/dev/shm"] {
                check_eq!(propagation(&facts, point)?, wanted, "{point} with {word}");
            }
        }
    }
    // The last word wins; a slave of a peer group that is left is private again.
    let facts = Bundle::new(ctx)?
        .mount(
            "/t",
            "tmpfs",
            "tmpfs",
            &["shared", "slave", "unbindable", "shared"],
        )
        .facts()?;
    check_eq!(propagation(&facts, "/t")?, "shared", "several words");
    Ok(())
}

fn a_file_system_with_a_propagation_word_is_as_without(ctx: &Ctx) -> Outcome {
    // It is made in another way: all else has to be the same.
    let words = [
        "nosuid",
        "noatime",
        "ro",
        "size=2m",
        "nr_inodes=50",
        "mode=1711",
        "uid=7",
        "gid=8",
    ];
    let detached: Vec<&str> = words.iter().copied().chain(["private"]).collect();
    let facts = Bundle::new(ctx)?
        .mount("/plain", "tmpfs", "mine", &words)
        .mount("/detached", "tmpfs", "mine", &detached)
        .mount(
            "/pts",
            "devpts",
            "devpts",
            &[
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
                "private",
            ],
        )
        .facts()?;
    let (plain, found) = (facts.mount("/plain")?, facts.mount("/detached")?);
    check_eq!(found[5..], plain[5..], "mountinfo");
    let pts = facts.mount_options("/pts")?;
    for option in ["gid=5", "mode=620", "ptmxmode=666"] {
        check!(
            pts.iter().any(|f| f == option),
            "devpts lacks {option}: {pts:?}"
        );
    }
    Ok(())
}

fn an_overlay_with_long_options_takes_a_propagation_word(ctx: &Ctx) -> Outcome {
    // fsconfig(2) takes 255 bytes a value, mount(2) a page.
    let long = "x".repeat(200);
    let base = ctx.dir.join(&long).join(&long);
    for name in ["lower", "upper", "work"] {
        fs::create_dir_all(base.join(name))?;
    }
    fs::write(base.join("lower/file"), "below\n")?;
    let option = |key: &str, name: &str| format!("{key}={}", base.join(name).display());
    let (lower, upper, work) = (
        option("lowerdir", "lower"),
        option("upperdir", "upper"),
        option("workdir", "work"),
    );
    let all = [lower.as_str(), &upper, &work, "unbindable", "nosuid"];
    let b = Bundle::new(ctx)?.mount("/o", "overlay", "overlay", &all);
    let said = b.says("cat /o/file; echo new >/o/made; grep -c ' /o ' /proc/self/mountinfo; grep ' /o ' /proc/self/mountinfo")?;
    check!(said.starts_with("below\n1\n"), "overlay: {said}");
    check!(
        said.contains("nosuid") && said.contains(" unbindable - overlay "),
        "overlay: {said}"
    );
    check_eq!(
        fs::read_to_string(base.join("upper/made"))?,
        "new\n",
        "the upper layer"
    );
    ctx.nothing_left()
}

fn remount_changes_a_file_system(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .mount("/t", "tmpfs", "tmpfs", &["size=1m"])
        .mount("/t/sub", "tmpfs", "tmpfs", &[])
        .mount(
            "/t",
            "tmpfs",
            "tmpfs",
            &["remount", "ro", "size=2m", "nosuid"],
        );
    let said =
        b.says("grep ' /t ' /proc/self/mountinfo; touch /t/x 2>&1; touch /t/sub/x && echo fine")?;
    check!(
        said.contains("ro,nosuid") && said.contains("size=2048k"),
        "remounted: {said}"
    );
    check!(
        said.contains("Read-only") && said.ends_with("fine"),
        "writes: {said}"
    );
    Ok(())
}

fn a_remount_of_a_bind_keeps_what_is_not_named(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let facts = Bundle::new(ctx)?
        .mount(
            "/v",
            "bind",
            &dir,
            &["bind", "nosuid", "nodev", "noexec", "noatime"],
        )
        .mount("/v", "bind", &dir, &["remount", "bind", "ro", "exec"])
        .facts()?;
    let found = &facts.mount("/v")?[5];
    check_eq!(found, "ro,nosuid,nodev,noatime", "flags after the remount");
    Ok(())
}

fn a_remount_in_a_user_namespace_keeps_the_flags_of_the_source(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let bind = ["bind"];
    let b = Bundle::new(ctx)?
        .folder("/v")?
        .user_namespace()
        .mount("/v", "bind", &dir, &bind)
        .mount("/v", "", "", &["remount", "bind", "noatime"]);
    let facts = facts_within(b, &flagged(&dir))?;
    check_eq!(
        facts.mount("/v")?[5],
        "ro,nosuid,nodev,noexec,noatime",
        "flags"
    );
    ctx.nothing_left()
}

fn a_plain_remount_in_a_user_namespace_is_refused_with_a_hint(ctx: &Ctx) -> Outcome {
    // The superblock of sysfs is the host's: no remount but that of the mount is allowed.
    let b = Bundle::new(ctx)?
        .user_namespace()
        .mount("/sys", "sysfs", "sysfs", &["remount", "ro"]);
    let output = b.create_refused()?;
    check!(
        output.stderr.contains("/mounts/6/options") && output.stderr.contains("remount,bind"),
        "{}",
        output.stderr
    );
    let bind = |word| -> Outcome<Bundle> {
        let words = ["remount", "bind", word];
        let b = Bundle::new(ctx)?.user_namespace();
        Ok(b.mount("/sys", "sysfs", "sysfs", &words))
    };
    let facts = bind("nosymfollow")?.facts()?;
    let found = &facts.mount("/sys")?[5];
    check!(
        found.contains("nosymfollow") && found.contains("ro,nosuid,nodev,noexec"),
        "{found}"
    );
    // How its access times are kept is locked: it is as on the host.
    let output = bind("strictatime")?.create_refused()?;
    check!(
        output.stderr.contains("/mounts/6/options") && output.stderr.contains("taken away"),
        "{}",
        output.stderr
    );
    ctx.nothing_left()
}

fn a_bind_in_a_user_namespace_of_a_source_with_flags_keeps_them(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?
        .folder("/v")?
        .user_namespace()
        .mount("/v", "bind", &dir, &["rbind", "rprivate"])
        .folder("/w")?
        .mount("/w", "bind", &dir, &["bind", "noatime", "ro"]);
    let facts = facts_within(b, &flagged(&dir))?;
    check_eq!(
        facts.mount("/v")?[5],
        "ro,nosuid,nodev,noexec,relatime",
        "flags"
    );
    check_eq!(
        facts.mount("/w")?[5],
        "ro,nosuid,nodev,noexec,noatime",
        "flags"
    );
    Ok(())
}

fn a_remount_of_what_is_no_mount_is_refused(ctx: &Ctx) -> Outcome {
    for (destination, words, pointer) in [
        (
            "/etc",
            &["remount", "bind", "ro"] as &[_],
            "/mounts/6/options",
        ),
        ("/etc", &["remount", "ro"], "/mounts/6/options"),
        (
            "/nosuch",
            &["remount", "bind", "ro"],
            "/mounts/6/destination",
        ),
    ] {
        let output = Bundle::new(ctx)?
            .mount(destination, "", "", words)
            .create_refused()?;
        check!(output.stderr.contains(pointer), "{}", output.stderr);
    }
    Ok(())
}

fn a_bind_by_its_type_alone_is_a_bind(ctx: &Ctx) -> Outcome {
    // runc and crun hand the type to the kernel, which has no such file system; youki binds.
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?.mount("/v", "bind", &dir, &["ro"]);
    let said = b.says("cat /v/file; touch /v/x 2>&1; true")?;
    check!(
        said.starts_with("content\n") && said.contains("Read-only"),
        "{said}"
    );
    Ok(())
}

fn a_bind_with_options_of_a_file_system_is_refused(ctx: &Ctx) -> Outcome {
    let dir = volume(ctx)?;
    for words in [
        &["bind", "size=1m"] as &[_],
        &["rbind", "context=x"],
        &["remount", "bind", "mode=7"],
    ] {
        let output = Bundle::new(ctx)?
            .mount("/v", "bind", &dir, words)
            .create_refused()?;
        check!(
            output.stderr.contains("/mounts/6/options") && output.stderr.contains("bind mount"),
            "{}",
            output.stderr
        );
    }
    Ok(())
}

fn a_mount_label_without_selinux_is_refused(ctx: &Ctx) -> Outcome {
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return skip("SELinux is enabled on this machine");
    }
    let label = "system_u:object_r:container_file_t:s0:c1,c2";
    let output = Bundle::new(ctx)?
        .set("/linux/mountLabel", label)
        .create_refused()?;
    check!(
        output.stderr.contains("/linux/mountLabel") && output.stderr.contains("SELinux"),
        "{}",
        output.stderr
    );
    // No label is none.
    Bundle::new(ctx)?
        .set("/linux/mountLabel", "")
        .run()?
        .ok()
        .map(drop)
}
