//! Every word of `mounts[].options`: what it changes, on new file systems and on binds.

use super::mounts::{in_submount_namespace, volume};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::facts::Facts;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::Value;

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
    a_bind_by_its_type_alone_is_a_bind,
    a_bind_with_options_of_a_file_system_is_refused,
    a_mount_label_without_selinux_is_refused,
);

fn words(ctx: &Ctx) -> Outcome<Vec<String>> {
    let features = ctx.features()?;
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

pub(super) fn flagged(dir: &str) -> [String; 7] {
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
pub(super) fn facts_within<S: AsRef<str>>(b: Bundle, wrapper: &[S]) -> Outcome<Facts> {
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
        &["bind", "huge=always"] as &[_],
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
