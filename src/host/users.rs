//! User namespaces, and the ids that the caller may map.

use std::path::Path;

use super::{Facts, Verdict, number, read};
use crate::launch::denied::{in_path, is_set_uid};
use crate::launch::ids::ranges_of;

pub(super) fn add(facts: &mut Facts) {
    facts.group = "user namespaces";
    facts.there(
        "in the kernel",
        Path::new("/proc/self/ns/user").exists(),
        Verdict::Missing,
        "the kernel was built without CONFIG_USER_NS: no rootless containers, no id mappings",
    );
    let most = number("/proc/sys/user/max_user_namespaces");
    facts.check(
        "user.max_user_namespaces",
        most.is_none_or(|most| most > 0),
        &shown(most),
        Verdict::Missing,
        "raise it with sysctl: none can be made",
    );
    let clone = number("/proc/sys/kernel/unprivileged_userns_clone");
    if clone.is_some() {
        facts.check(
            "kernel.unprivileged_userns_clone",
            clone != Some(0),
            &shown(clone),
            Verdict::Warn,
            "only root may make one: set it to 1 for rootless containers",
        );
    }
    let restricted = number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    if restricted.is_some() {
        facts.check(
            "kernel.apparmor_restrict_unprivileged_userns",
            restricted != Some(1),
            &shown(restricted),
            Verdict::Warn,
            "AppArmor takes users' rights in them away: give corten a profile with `userns,`",
        );
    }
    let setgroups = read("/proc/self/setgroups");
    if setgroups == "deny" {
        facts.add(
            "setgroups",
            &setgroups,
            Verdict::Warn,
            "corten runs in a user namespace that denies additional groups",
        );
    }
    let uid = rustix::process::geteuid();
    for (name, file) in [("subuid", "/etc/subuid"), ("subgid", "/etc/subgid")] {
        let ranges = ranges_of(file, uid.as_raw());
        let text: Vec<String> = ranges
            .iter()
            .map(|(first, count)| format!("{first}:{count}"))
            .collect();
        let joined = text.join(" ");
        facts.check(
            name,
            uid.is_root() || !ranges.is_empty(),
            match text.is_empty() {
                true => "none",
                false => &joined,
            },
            Verdict::Warn,
            "the caller can map the own id only: usermod --add-subuids 100000-165535 \
             --add-subgids 100000-165535 USER",
        );
    }
    for helper in ["newuidmap", "newgidmap"] {
        let value = match (in_path(helper), is_set_uid(helper)) {
            (None, _) => "not there",
            (_, false) => "not set-uid",
            _ => "set-uid",
        };
        facts.check(
            helper,
            uid.is_root() || value == "set-uid",
            value,
            Verdict::Warn,
            "more than the own id can only be mapped with it: install the package uidmap",
        );
    }
}

fn shown(number: Option<u64>) -> String {
    number.map_or("not there".to_owned(), |number| number.to_string())
}
