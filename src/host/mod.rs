//! `corten info`: what the host has of what Corten uses, what is in the way, and what to do
//! about it. It reads files, and asks the kernel with calls that it has to refuse.

mod cgroups;
mod features;
mod limits;
mod users;

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::launch::denied::in_path;

/// What is thought of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It will do, or may bite.
    Warn,
    /// Something that Corten uses is not there.
    Missing,
}

impl Verdict {
    /// `ok`, `warn` or `missing`.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Missing => "missing",
        }
    }
}

/// Something about the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it belongs to.
    pub group: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// What was found.
    pub value: String,
    /// What is thought of it.
    pub verdict: Verdict,
    /// What to do, or what follows, if it is not well.
    pub advice: &'static str,
}

/// Facts in the making.
#[derive(Default)]
struct Facts {
    group: &'static str,
    list: Vec<Fact>,
}

impl Facts {
    // These are called a hundred times: in line they would be a tenth of a megabyte.
    #[inline(never)]
    fn add(&mut self, name: &'static str, value: &str, verdict: Verdict, advice: &'static str) {
        self.list.push(Fact {
            group: self.group,
            name,
            value: value.to_owned(),
            verdict,
            advice: if verdict == Verdict::Ok { "" } else { advice },
        });
    }

    #[inline(never)]
    fn ok(&mut self, name: &'static str, value: &str) {
        self.add(name, value, Verdict::Ok, "");
    }

    /// Well if it is so, and else as bad as `otherwise`.
    #[inline(never)]
    fn check(
        &mut self,
        name: &'static str,
        holds: bool,
        value: &str,
        otherwise: Verdict,
        advice: &'static str,
    ) {
        let verdict = if holds { Verdict::Ok } else { otherwise };
        self.add(name, value, verdict, advice);
    }

    /// The same for what is there or not.
    #[inline(never)]
    fn there(&mut self, name: &'static str, there: bool, otherwise: Verdict, advice: &'static str) {
        let value = if there { "yes" } else { "no" };
        self.check(name, there, value, otherwise, advice);
    }
}

/// All facts, by groups.
#[inline(never)]
pub fn facts() -> Vec<Fact> {
    let mut facts = Facts::default();
    kernel(&mut facts);
    cgroups::add(&mut facts);
    labels(&mut facts);
    users::add(&mut facts);
    features::add(&mut facts);
    limits::add(&mut facts);
    tools(&mut facts);
    facts.list
}

fn kernel(facts: &mut Facts) {
    facts.group = "kernel";
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    facts.check(
        "release",
        version(&release) >= (5, 10),
        &release,
        Verdict::Missing,
        "Corten needs Linux 5.10 or newer",
    );
    facts.ok("machine", &uname.machine().to_string_lossy());
}

fn labels(facts: &mut Facts) {
    facts.group = "labels";
    let list = read("/sys/kernel/security/lsm");
    facts.check(
        "modules",
        !list.is_empty(),
        if list.is_empty() { "unknown" } else { &list },
        Verdict::Warn,
        "mount securityfs on /sys/kernel/security to see them",
    );
    let on = |yes: bool| if yes { "enabled" } else { "off" };
    let apparmor = read("/sys/module/apparmor/parameters/enabled").starts_with('Y');
    facts.ok("apparmor", on(apparmor));
    facts.ok("selinux", on(Path::new("/sys/fs/selinux/enforce").exists()));
    let landlock = list.split(',').any(|name| name == "landlock");
    facts.ok("landlock", on(landlock));
}

fn tools(facts: &mut Facts) {
    facts.group = "tools";
    let criu = in_path("criu").map_or("not there".to_owned(), |path| path.display().to_string());
    facts.check(
        "criu",
        in_path("criu").is_some(),
        &criu,
        Verdict::Warn,
        "checkpoint and restore need it: install criu",
    );
    facts.there(
        "ps",
        in_path("ps").is_some(),
        Verdict::Warn,
        "`corten ps` without --format json needs it: install procps",
    );
    facts.there(
        "systemd",
        Path::new("/run/systemd/system").is_dir(),
        Verdict::Warn,
        "there is no systemd to manage cgroups: use --cgroup-manager cgroupfs",
    );
    facts.there(
        "resctrl",
        Path::new("/sys/fs/resctrl/info").is_dir(),
        Verdict::Warn,
        "linux.intelRdt cannot be used: no such CPU, or resctrl is not mounted",
    );
}

/// Major and minor number of a kernel's release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The running kernel's.
fn kernel_version() -> (u32, u32) {
    version(&rustix::system::uname().release().to_string_lossy())
}

/// A file's text without white space around it; empty if it cannot be read.
fn read(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

fn number(path: &str) -> Option<u64> {
    read(path).parse().ok()
}

/// The resource limits in the order of the kernel's numbers.
const RESOURCES: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// The runtime's own soft and hard limit; nothing stands for none.
pub fn limit(resource: u32) -> (Option<u64>, Option<u64>) {
    match RESOURCES.get(resource as usize) {
        Some(resource) => {
            let limit = getrlimit(*resource);
            (limit.current, limit.maximum)
        }
        None => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        assert_eq!(version("6.18.5-amd64"), (6, 18));
        assert_eq!(version("5.10.0+x"), (5, 10));
        assert_eq!(version("7.2-rc1"), (7, 2));
        assert_eq!(version("?"), (0, 0));
    }

    #[test]
    fn the_resource_limits_are_the_kernels() {
        use crate::config::names::RLIMITS;
        for (resource, name) in RESOURCES.iter().zip(RLIMITS) {
            let word = format!("RLIMIT_{resource:?}").to_ascii_uppercase();
            assert_eq!(word, name);
        }
    }

    #[test]
    fn every_fact_that_is_not_well_says_what_to_do() {
        let facts = facts();
        assert!(facts.len() > 30);
        for fact in &facts {
            assert_eq!(
                fact.verdict == Verdict::Ok,
                fact.advice.is_empty(),
                "{fact:?}"
            );
        }
        let mut names: Vec<_> = facts.iter().map(|f| (f.group, f.name)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), facts.len(), "names differ");
    }
}
