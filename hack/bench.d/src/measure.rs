//! The three ways of measuring a scenario: its time, its memory, its system calls.

use crate::container::Container;
use crate::scenario::Scenario;
use crate::sys::{self, Prepared, Stdio};
use std::cell::RefCell;
use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// One value of one row of the tables.
pub struct Sample {
    pub runtime: String,
    /// A step's name, or a sum's.
    pub row: &'static str,
    pub what: What,
    /// ns for times, KiB for memory, a count for system calls.
    pub value: u64,
}

/// What a sample measures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// From before the spawn to after the wait.
    Wall,
    /// User and system time of the runtime's processes and of the init as far as the verb was its cause.
    Cpu,
    /// Peak resident memory of the runtime's process.
    Peak,
    /// Resident memory of the init that waits for `start`.
    InitRss,
    /// The same, what is shared counted in parts.
    InitPss,
    /// System calls of all the runtime's processes.
    Syscalls,
}

/// What of every time is the price of starting a small static program at all, ns: the floor that only prints a line.
pub fn empty_program() -> Option<u64> {
    let null = || {
        Some(
            File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .ok()?
                .into(),
        )
    };
    let stdio = Stdio {
        null: null()?,
        log: null()?,
    };
    let floor = std::env::current_exe().ok()?.with_file_name("floor");
    let command = Prepared::new(&[floor.display().to_string(), "--version".to_owned()]).ok()?;
    let once = || {
        let before = sys::now();
        let pid = sys::spawn(&command, &stdio).ok()?;
        sys::wait(pid, 0).ok()?;
        Some(sys::now() - before)
    };
    (0..50).filter_map(|_| once()).min()
}

/// Lives the scenario once and times every step; each step comes `gap` after the one before.
pub fn time(
    container: &Container,
    scenario: &Scenario,
    gap: Duration,
    samples: &mut Vec<Sample>,
) -> Result<(), String> {
    let mut steps: Vec<(&'static str, u64, u64)> = Vec::with_capacity(scenario.steps.len());
    let init = container.live(
        scenario,
        &mut |step, command, stdio| {
            if !gap.is_zero() && step.is_measured() {
                sleep(gap);
            }
            let before = sys::now();
            let pid = sys::spawn(command, stdio).map_err(|e| e.to_string())?;
            let usage = sys::wait(pid, 0).map_err(|e| e.to_string())?;
            let wall = sys::now() - before;
            let usage = usage.ok_or("wait4 came back without a child")?;
            if step.is_measured() {
                steps.push((step.name, wall, usage.cpu));
            }
            Ok(usage.status)
        },
        &mut |_| {},
    )?;

    let mut add = |row, wall, cpu| {
        for (what, value) in [(What::Wall, wall), (What::Cpu, cpu)] {
            samples.push(Sample {
                runtime: container.runtime.clone(),
                row,
                what,
                value,
            });
        }
    };
    for &(row, wall, cpu) in &steps {
        let init = if row == "create" { init.cpu_created } else { 0 };
        add(row, wall, cpu + init);
    }
    if let Some((row, parts)) = scenario.sum {
        let of_sum = || steps.iter().filter(|(name, ..)| parts.contains(name));
        add(
            row,
            of_sum().map(|(_, wall, _)| wall).sum(),
            of_sum().map(|(.., cpu)| cpu).sum::<u64>() + init.cpu,
        );
    }
    Ok(())
}

/// Lives the scenario once and takes the peak memory of every step and what the waiting init holds.
pub fn memory(
    container: &Container,
    scenario: &Scenario,
    samples: &mut Vec<Sample>,
) -> Result<(), String> {
    let samples = RefCell::new(samples);
    let add = |row, what, value| {
        samples.borrow_mut().push(Sample {
            runtime: container.runtime.clone(),
            row,
            what,
            value,
        });
    };
    container.live(
        scenario,
        &mut |step, command, stdio| {
            let peak = |pid| field(&format!("/proc/{pid}/status"), "VmHWM:");
            let (status, peak) =
                sys::run_to_peak(command, stdio, peak).map_err(|e| e.to_string())?;
            if step.is_measured() {
                add(step.name, What::Peak, peak);
            }
            Ok(status)
        },
        &mut |pid| {
            for (what, file, key) in [
                (What::InitRss, "status", "VmRSS:"),
                (What::InitPss, "smaps_rollup", "Pss:"),
            ] {
                if let Some(value) = field(&format!("/proc/{pid}/{file}"), key) {
                    add("waiting init", what, value);
                }
            }
        },
    )?;
    Ok(())
}

/// A number from a `Key:  123 kB` file.
fn field(path: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Lives the scenario once under `strace -f` and counts the system calls of every step, up to the end of the runtime's
/// first process: what the init does after that (wait for `start`, become the payload) is not the verb's.
pub fn syscalls(
    container: &Container,
    scenario: &Scenario,
    work: &Path,
    samples: &mut Vec<Sample>,
) -> Result<(), String> {
    let trace = work.join("trace");
    let samples = RefCell::new(samples);
    container.live(
        scenario,
        &mut |step, command, stdio| {
            if !step.is_measured() {
                let pid = sys::spawn(command, stdio).map_err(|e| e.to_string())?;
                let usage = sys::wait(pid, 0).map_err(|e| e.to_string())?;
                return Ok(usage.map_or(-1, |usage| usage.status));
            }
            let _ = fs::remove_file(&trace);
            let at = trace.display().to_string();
            let strace = ["/usr/bin/strace", "-f", "-q", "-I2", "-s0", "-o", &at];
            let command = command.prefixed(&strace).map_err(|e| e.to_string())?;
            let strace = sys::spawn(&command, stdio).map_err(|e| e.to_string())?;
            let mut ended = false;
            let status = loop {
                if let Some(usage) = sys::wait(strace, libc::WNOHANG).map_err(|e| e.to_string())? {
                    break usage.status;
                }
                if !ended && fs::read_to_string(&trace).is_ok_and(|text| first_ended(&text)) {
                    // The init is left to itself: strace lets go of it and ends.
                    ended = true;
                    sys::kill(strace, libc::SIGTERM);
                }
                sleep(Duration::from_millis(2));
            };
            let text = fs::read_to_string(&trace).map_err(|e| format!("{at}: {e}"))?;
            samples.borrow_mut().push(Sample {
                runtime: container.runtime.clone(),
                row: step.name,
                what: What::Syscalls,
                value: calls(&text),
            });
            // strace's own status after a signal is the signal's: the log tells how the runtime ended.
            Ok(if ended {
                i32::from(!first_succeeded(&text))
            } else {
                status
            })
        },
        &mut |_| {},
    )?;
    Ok(())
}

fn first_line_of_end(trace: &str) -> Option<&str> {
    let (pid, _) = trace.trim_start().split_once(' ')?;
    trace.lines().find(|line| {
        line.split_once(' ')
            .is_some_and(|(who, what)| who == pid && what.trim_start().starts_with("+++ "))
    })
}

fn first_ended(trace: &str) -> bool {
    first_line_of_end(trace).is_some()
}

fn first_succeeded(trace: &str) -> bool {
    first_line_of_end(trace).is_some_and(|line| line.contains("+++ exited with 0 +++"))
}

/// Counts each call once: at its whole line or at its beginning, not where it is resumed.
fn calls(trace: &str) -> u64 {
    let end = first_line_of_end(trace).map_or(trace.len(), |line| {
        line.as_ptr() as usize - trace.as_ptr() as usize
    });
    trace[..end]
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, what)| {
            what.trim_start()
                .starts_with(|c: char| c.is_ascii_lowercase())
        })
        .count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "10 execve(\"a\", 0x1) = 0\n10 clone3( <unfinished ...>\n11 setsid() = 11\n\
        10 <... clone3 resumed>) = 11\n10 --- SIGCHLD {} ---\n10 +++ exited with 0 +++\n11 read(3, \n";

    #[test]
    fn a_call_counts_once_and_only_until_the_runtime_has_ended() {
        assert_eq!(calls(TRACE), 3);
        assert!(first_ended(TRACE) && first_succeeded(TRACE));
    }
}
