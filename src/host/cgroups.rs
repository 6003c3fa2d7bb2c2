//! The layout of the cgroups, and what the caller may do with them.

use rustix::fs::{Access, access};

use super::{Facts, Verdict, read};
use crate::cgroup::Cgroupfs;
use crate::plan::cgroup::Host;

pub(super) fn add(facts: &mut Facts) {
    facts.group = "cgroups";
    let host = match Cgroupfs::open() {
        Ok(cgroupfs) => cgroupfs.host().clone(),
        Err(error) => {
            facts.add(
                "layout",
                &error.to_string(),
                Verdict::Missing,
                "mount the cgroup file systems on /sys/fs/cgroup, or use --cgroup-manager=disabled",
            );
            return;
        }
    };
    facts.check(
        "layout",
        host.is_unified(),
        layout(&host),
        Verdict::Warn,
        "v1 works; v2 is faster and has more (pressure, cgroup.kill, clone into the cgroup): \
         boot with systemd.unified_cgroup_hierarchy=1",
    );
    let v1: Vec<String> = host
        .hierarchies
        .iter()
        .map(|hierarchy| hierarchy.controllers.join("+"))
        .collect();
    if !v1.is_empty() {
        facts.ok("v1 controllers", &v1.join(" "));
    }
    let unified = host.unified.as_ref();
    let v2 = unified.map(|unified| unified.controllers.join(" "));
    if let Some(controllers) = &v2 {
        let wanted = ["cpu", "cpuset", "io", "memory", "pids"];
        let lacks = |name: &&str| {
            let mut words = controllers.split(' ');
            !words.any(|word| word == *name) && host.hierarchy_of(name).is_none()
        };
        facts.check(
            "v2 controllers",
            // io is called blkio on v1.
            !wanted.iter().filter(|name| **name != "io").any(lacks),
            match controllers.is_empty() {
                true => "none",
                false => controllers,
            },
            Verdict::Warn,
            "limits of a controller that is not there are refused",
        );
    }
    let own = read("/proc/self/cgroup");
    let directory = match unified {
        Some(unified) if host.is_unified() => {
            let path = own.lines().find_map(|line| line.strip_prefix("0::"));
            host.root
                .join(&unified.directory)
                .join(path.unwrap_or_default().trim_start_matches('/'))
        }
        _ => {
            let first = host.hierarchies.first();
            host.root.join(first.map_or("", |h| h.directory.as_str()))
        }
    };
    let writable = access(&directory, Access::WRITE_OK).is_ok();
    facts.check(
        "may be made",
        writable,
        &format!(
            "{} in {}",
            if writable { "yes" } else { "no" },
            directory.display()
        ),
        Verdict::Warn,
        "containers go without limits, or need a delegated cgroup: \
         systemd-run --user --scope -p Delegate=yes",
    );
    if let (Some(unified), false) = (unified, rustix::process::geteuid().is_root()) {
        let uid = rustix::process::geteuid().as_raw();
        let file = host.root.join(&unified.directory).join(format!(
            "user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers"
        ));
        let delegated = std::fs::read_to_string(file).unwrap_or_default();
        let delegated = delegated.trim();
        facts.check(
            "delegated to the user",
            delegated.contains("memory") && delegated.contains("cpu"),
            match delegated.is_empty() {
                true => "none",
                false => delegated,
            },
            Verdict::Warn,
            "Delegate=cpu cpuset io memory pids in a drop-in of user@.service gives all",
        );
    }
}

/// The layout in systemd's words.
fn layout(host: &Host) -> &'static str {
    match (host.hierarchies.is_empty(), &host.unified) {
        (true, Some(_)) => "v2 (unified)",
        (true, None) => "none",
        (false, None) => "v1 (legacy)",
        (false, Some(unified)) if unified.controllers.is_empty() => "v1 with an empty v2 (hybrid)",
        (false, Some(_)) => "v1 and v2 with controllers (hybrid)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_names() {
        assert_eq!(layout(&Host::v2("/", &["cpu"])), "v2 (unified)");
        let v1 = || Host::v1("/", &["memory"]);
        assert_eq!(layout(&v1()), "v1 (legacy)");
        assert_eq!(
            layout(&v1().with_unified(&[])),
            "v1 with an empty v2 (hybrid)"
        );
        assert_eq!(
            layout(&v1().with_unified(&["hugetlb"])),
            "v1 and v2 with controllers (hybrid)"
        );
        assert_eq!(layout(&Host::default()), "none");
    }
}
