//! Whether a process holds the lock of a container's directory.
//!
//! Asked only when a lock is in the way of `delete --force`, so it may cost more
//! than the lock itself. It ends nobody; that is `delete`'s to decide.

use std::os::fd::BorrowedFd;

/// Whether `pid` took the lock (flock(2)) on `dir` and still has it open: a number
/// alone could meanwhile be another process's. `false` when it cannot be told.
pub fn holds(pid: i32, dir: BorrowedFd<'_>) -> bool {
    let Ok(stat) = rustix::fs::fstat(dir) else {
        return false;
    };
    let Ok(locks) = std::fs::read_to_string("/proc/locks") else {
        return false;
    };
    locks.lines().any(|line| names(line, pid, stat.st_ino)) && has_open(pid, &stat)
}

/// Which process holds the lock, if it can be told.
pub fn of(dir: BorrowedFd<'_>) -> Option<i32> {
    let stat = rustix::fs::fstat(dir).ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pids = locks.lines().filter_map(|line| {
        let pid = line.split_ascii_whitespace().nth(4)?.parse().ok()?;
        names(line, pid, stat.st_ino).then_some(pid)
    });
    pids.into_iter().find(|pid| has_open(*pid, &stat))
}

/// Whether a line of /proc/locks (proc_locks(5)) is a lock that `pid` holds on the
/// file with this inode. The device is left to [`has_open`]: some file systems show
/// another one there than stat(2) gives.
fn names(line: &str, pid: i32, inode: u64) -> bool {
    let mut fields = line.split_ascii_whitespace().skip(1);
    // A waiter has "->" before the kind.
    fields.next() == Some("FLOCK")
        && fields.nth(2).and_then(|field| field.parse().ok()) == Some(pid)
        && fields
            .next()
            .and_then(|file| file.rsplit(':').next()?.parse().ok())
            == Some(inode)
}

fn has_open(pid: i32, wanted: &rustix::fs::Stat) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    files.flatten().any(|file| {
        rustix::fs::stat(file.path())
            .is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (wanted.st_dev, wanted.st_ino))
    })
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_waiter_and_other_kinds_of_locks_are_no_holders() {
        assert!(names(
            "1: FLOCK  ADVISORY  WRITE 70 00:1a:567 0 EOF",
            70,
            567
        ));
        for line in [
            "1: -> FLOCK  ADVISORY  WRITE 70 00:1a:567 0 EOF",
            "1: POSIX  ADVISORY  WRITE 70 00:1a:567 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 71 00:1a:567 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 70 00:1a:568 0 EOF",
            "",
        ] {
            assert!(!names(line, 70, 567), "{line}");
        }
    }
}
