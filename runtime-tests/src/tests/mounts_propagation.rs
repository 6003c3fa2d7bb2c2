//! The words of `mounts[].options` for propagation.

use super::mounts::volume;
use super::rootfs::{PRIVATE, SHARED};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::facts::Facts;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use std::fs;

tests!("mounts_propagation":
    propagation_words_work_on_every_kind_of_mount as Long,
    a_file_system_with_a_propagation_word_is_as_without,
    an_overlay_with_long_options_takes_a_propagation_word,
);

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
