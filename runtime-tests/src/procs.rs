//! Processes: who descends from whom, waiting with a limit, killing all of a tree.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process, pidfd_open, wait, waitpid,
};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Waits until the process has ended; false when the limit passed first.
pub fn wait_ended(pid: Pid, limit: Duration) -> bool {
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let limit = Timespec {
        tv_sec: limit.as_secs() as i64,
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&limit)), Ok(n) if n > 0)
}

/// State letter (`R`, `S`, `Z`, …) and parent of a process; none when it is gone.
pub fn stat(pid: i32) -> Option<(char, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = text.rsplit_once(") ")?.1;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The command line of a process for messages; its name when it has none.
pub fn describe(pid: i32) -> String {
    let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&cmdline).replace('\0', " ");
    if !text.trim().is_empty() {
        return format!("{pid} ({})", text.trim());
    }
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{pid} [{}]", comm.trim())
}

/// All live processes that descend from `ancestor`, zombies left out.
pub fn descendants(ancestor: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<(i32, char)>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        if let Some((state, parent)) = stat(pid) {
            children.entry(parent).or_default().push((pid, state));
        }
    }
    let (mut found, mut queue) = (Vec::new(), vec![ancestor]);
    while let Some(parent) = queue.pop() {
        for (pid, state) in children.remove(&parent).unwrap_or_default() {
            queue.push(pid);
            if state != 'Z' {
                found.push(pid);
            }
        }
    }
    found
}

/// Collects every dead child of this process.
pub fn reap_all() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// Sends a signal; a process that is gone already is no error.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // ESRCH is what the caller wants to reach anyway.
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process sleeps in poll(2): a verb that waits for events has set up all its watches
/// then.
pub fn polls(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|at| at.contains("poll"))
}

/// Kills all that descends from this process until nothing is left or `limit` has passed.
pub fn kill_descendants(limit: Duration) {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let end = Instant::now() + limit;
    loop {
        let living = descendants(me);
        if living.is_empty() || Instant::now() > end {
            break;
        }
        for pid in living {
            signal(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
        reap_all();
    }
    reap_all();
}

/// How a child ended: its code, or 128 + signal as a shell counts.
pub fn exit_code(status: WaitStatus) -> i32 {
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

/// Waits for one child (direct, or adopted as subreaper) and returns its exit code.
pub fn reap(pid: i32, limit: Duration) -> Option<i32> {
    let pid = Pid::from_raw(pid)?;
    if !wait_ended(pid, limit) {
        return None;
    }
    let (_, status) = waitpid(Some(pid), WaitOptions::empty()).ok()??;
    Some(exit_code(status))
}
