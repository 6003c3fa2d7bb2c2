//! Words for processes that were killed and do not end: which they are and what they wait for.
//! Asked only when all patience is used up, so it may cost.

use std::fmt::Write as _;

use super::{Record, freeze};

/// Processes that an error names.
const NAMED: usize = 8;

/// Threads that are looked at to find the one that is waited for.
const THREADS: usize = 64;

/// Where the kernel's first process of a pid namespace waits for all others.
const LAST_OF_ITS_NAMESPACE: &str = "zap_pid_ns_processes";

impl Record {
    /// One process and what it waits for, such as `pid 7 (dd) in uninterruptible sleep
    /// (nfs_wait)`. `None` once it has gone.
    pub fn why_stuck(&self, pid: i32) -> Option<String> {
        process(u32::try_from(pid).ok()?, self.freezer_v1().as_deref(), true)
    }

    /// The same for several, shortened.
    pub(super) fn why_all_stuck(&self, pids: &[u32]) -> String {
        list(pids, self.freezer_v1().as_deref())
    }

    /// The root of the freezer's hierarchy, if it is one of v1. On v2 the frozen do die.
    fn freezer_v1(&self) -> Option<String> {
        let directory = self.freezer().filter(|directory| !directory.v2)?;
        Some(format!("{}/{}", self.root, directory.hierarchy))
    }
}

fn list(pids: &[u32], freezer: Option<&str>) -> String {
    let mut text = String::new();
    for pid in pids.iter().take(NAMED) {
        if let Some(words) = process(*pid, freezer, false) {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{words}");
        }
    }
    if pids.len() > NAMED {
        let _ = write!(text, ", and {} more", pids.len() - NAMED);
    }
    text
}

/// With `others`, also whom the first of a pid namespace waits for.
fn process(pid: u32, freezer: Option<&str>, others: bool) -> Option<String> {
    let directory = format!("/proc/{pid}");
    let leader = Task::read(&directory)?;
    let mut text = format!("pid {pid} ({}) ", leader.name);
    if let Some(path) = freezer.and_then(|freezer| frozen_by(&directory, freezer)) {
        text.push_str(&path);
        return Some(text);
    }
    let (task, wchan) = waiting(&directory, leader);
    let wchan = std::fs::read_to_string(wchan + "/wchan").unwrap_or_default();
    let place = match wchan.trim() {
        // 0 stands for none, and for what the caller may not know.
        "" | "0" => String::new(),
        place => format!(" ({place})"),
    };
    if others && wchan.trim() == LAST_OF_ITS_NAMESPACE {
        let rest = namespace_of(&directory).map_or(Vec::new(), |own| members(&own, pid));
        let rest = list(&rest, freezer);
        if !rest.is_empty() {
            let _ = write!(text, "waiting for the others of its pid namespace: {rest}");
            return Some(text);
        }
    }
    match task.state {
        'D' => text.push_str("in uninterruptible sleep"),
        'R' => text.push_str("running"),
        'S' | 'I' => text.push_str("sleeping"),
        'T' | 't' => text.push_str("stopped"),
        'Z' => {
            let parent = Task::read(&format!("/proc/{}", task.parent));
            let name = parent.map_or(String::new(), |parent| format!(" ({})", parent.name));
            let _ = write!(
                text,
                "ended, and pid {}{name} does not reap it",
                task.parent
            );
        }
        other => text.extend(["in state ", other.encode_utf8(&mut [0; 4])]),
    }
    text.push_str(&place);
    Some(text)
}

/// The thread that keeps a process from ending, with its directory: one in uninterruptible
/// sleep before any other, and one that lives before one that has ended.
fn waiting(directory: &str, leader: Task) -> (Task, String) {
    let rank = |task: &Task| match task.state {
        'D' => 2,
        'Z' | 'X' => 0,
        _ => 1,
    };
    let mut found = (leader, directory.to_owned());
    let threads = std::fs::read_dir(format!("{directory}/task"));
    for thread in threads.into_iter().flatten().flatten().take(THREADS) {
        let path = thread.path().display().to_string();
        if let Some(task) = Task::read(&path)
            && rank(&task) > rank(&found.0)
        {
            found = (task, path);
        }
    }
    found
}

/// The cgroup of v1 that holds a process frozen. Such a process does not die.
fn frozen_by(process: &str, freezer: &str) -> Option<String> {
    let membership = std::fs::read_to_string(format!("{process}/cgroup")).ok()?;
    let path = membership.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        names
            .split(',')
            .any(|name| name == "freezer")
            .then_some(path)
    })?;
    let path = format!("{freezer}{}", path.trim_end_matches('/'));
    freeze::frozen_at(&path, false).map(|path| format!("frozen by {path}"))
}

fn namespace_of(process: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("{process}/ns/pid")).ok()
}

/// Whoever else is in a pid namespace.
fn members(namespace: &std::path::Path, but: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && pid != but
            && namespace_of(&format!("/proc/{pid}")).as_deref() == Some(namespace)
        {
            found.push(pid);
        }
    }
    found
}

/// What a stat file of /proc tells (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Task {
    name: String,
    state: char,
    parent: u32,
}

impl Task {
    fn read(directory: &str) -> Option<Task> {
        let text = std::fs::read(format!("{directory}/stat")).ok()?;
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Option<Task> {
        let (_, rest) = text.split_once('(')?;
        // The name is the process's own choice.
        let (name, rest) = rest.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Task {
            name: name.chars().flat_map(printable).collect(),
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
        })
    }
}

/// A character on the one line of a message.
pub(super) fn printable(c: char) -> impl Iterator<Item = char> {
    let (escaped, plain) = match c.is_control() {
        true => (Some(c.escape_default()), None),
        false => (None, Some(c)),
    };
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_lines_is_told_on_one_line() {
        let task = Task::parse("12 (a) R (b\n\x1b) D 7 1 1 0").unwrap();
        assert_eq!(task.name, "a) R (b\\n\\u{1b}");
        assert_eq!((task.state, task.parent), ('D', 7));
        assert_eq!(Task::parse("12 (a"), None);
        assert_eq!(Task::parse("12 (a) "), None);
    }

    #[test]
    fn long_lists_are_cut_and_who_has_gone_is_left_out() {
        let own = std::process::id();
        let text = list(&[own; 11], None);
        assert_eq!(text.matches(&format!("pid {own} (")).count(), NAMED);
        assert!(text.ends_with(", and 3 more"), "{text}");
        assert_eq!(list(&[u32::MAX], None), "");
        assert_eq!(process(u32::MAX, None, true), None);
    }

    #[test]
    fn who_has_ended_is_told_with_the_one_who_does_not_reap_it() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let id = rustix::process::WaitId::Pid(pid);
        let flags = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(id, flags).unwrap();
        let text = process(child.id(), None, false).unwrap();
        child.wait().unwrap();
        let own = std::process::id();
        assert!(
            text.contains(&format!("(true) ended, and pid {own} (")),
            "{text}"
        );
    }
}
