//! Runs the selected tests, each in a process of its own, and reports.

use crate::isolate::limit;
use crate::options::Options;
use crate::outcome::{Because, Outcome};
use crate::suite::{Test, select};
use crate::{cgroups, leaks, procs, rootfs, user};
use rustix::process::Pid;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a test's process may need beyond its limit to clean up after itself.
const CLEANING: Duration = Duration::from_secs(20);

/// How one test ended.
struct Done {
    name: &'static str,
    outcome: String,
    detail: String,
    ms: u128,
}

/// Runs all; true when none failed.
pub fn run_all(options: &Options) -> Outcome<bool> {
    let run_dir = std::env::temp_dir().join(format!("corten-tests.{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&run_dir);
    let base = run_dir.join("base");
    rootfs::make_base(&base)?;
    if options.driver.user.is_some() {
        user::copy_for_run(&options.runtime, &base)?;
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let tests = select(&options.filters);
    let numbered: Vec<(usize, &Test)> = tests.into_iter().enumerate().collect();
    let (alone, beside): (Vec<_>, Vec<_>) = numbered
        .into_iter()
        .partition(|(_, test)| test.kind.is_alone());
    let done = Mutex::new(Vec::new());
    batch(options, &run_dir, beside, options.jobs, &done);
    batch(options, &run_dir, alone, 1, &done);
    procs::kill_descendants(Duration::from_secs(2));
    options.driver.end(&cgroups::hierarchies(), &run_dir);
    if leaks::unmount_under(&run_dir) {
        std::fs::remove_dir_all(&run_dir).because(run_dir.display())?;
    }
    let done = done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    report(options, &done)
}

/// Runs these tests, `jobs` at a time.
fn batch(
    options: &Options,
    run_dir: &Path,
    tests: Vec<(usize, &'static Test)>,
    jobs: usize,
    done: &Mutex<Vec<Done>>,
) {
    let queue = Mutex::new(VecDeque::from(tests));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(|p| p.into_inner()).pop_front();
                    let Some((index, test)) = next else { return };
                    let result = run_test(options, run_dir, index, test);
                    print_line(&result);
                    done.lock().unwrap_or_else(|p| p.into_inner()).push(result);
                }
            });
        }
    });
}

fn print_line(done: &Done) {
    let ms = done.ms;
    match done.outcome.as_str() {
        "passed" => println!("ok       {:6} ms  {}", ms, done.name),
        "skipped" => println!("skipped  {:6} ms  {}: {}", ms, done.name, done.detail),
        // The whole story comes at the end, which a run that is stopped does not reach.
        _ => {
            let first = done.detail.lines().next().unwrap_or_default();
            println!("FAILED   {:6} ms  {}: {first}", ms, done.name);
        }
    }
}

/// Starts the process of one test, waits for it and reads its result.
fn run_test(options: &Options, run_dir: &Path, index: usize, test: &'static Test) -> Done {
    let begin = Instant::now();
    let result = try_test(options, run_dir, index, test);
    let (outcome, detail) = result.unwrap_or_else(|stop| ("failed".to_string(), stop.to_string()));
    // The folder is cleared here and not in the test's process, which may have died.
    let dir = run_dir.join(index.to_string());
    if leaks::unmount_under(&dir) {
        let _ = std::fs::remove_dir_all(dir);
    }
    Done {
        name: test.name,
        outcome,
        detail,
        ms: begin.elapsed().as_millis(),
    }
}

fn try_test(
    options: &Options,
    run_dir: &Path,
    index: usize,
    test: &Test,
) -> Outcome<(String, String)> {
    let log: PathBuf = run_dir.join(format!("{index}.log"));
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exec-one", test.name, "--runtime"])
        .arg(&options.runtime)
        .arg("--run-dir")
        .arg(run_dir)
        .args(["--index", &index.to_string()])
        .args(options.driver.arguments())
        .args(["--timeout", &options.timeout.as_secs().to_string()])
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?)
        .spawn()?;
    let pid = Pid::from_child(&child);
    if !procs::wait_ended(pid, limit(test.kind, options.timeout) + CLEANING) {
        for descendant in procs::descendants(child.id() as i32) {
            procs::signal(descendant, rustix::process::Signal::KILL);
        }
        child.kill()?;
    }
    let status = child.wait()?;
    match std::fs::read_to_string(run_dir.join(format!("{index}.result"))) {
        Ok(text) => {
            let value: Value = serde_json::from_str(&text)?;
            let field = |key: &str| value[key].as_str().unwrap_or_default().to_string();
            Ok((field("outcome"), field("detail")))
        }
        Err(_) => {
            let prefix = options.driver.test_cgroup(run_dir, index);
            cgroups::destroy(&cgroups::hierarchies(), &prefix, Duration::from_secs(5));
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            Ok((
                "failed".to_string(),
                format!("the test's process died: {status}\n{said}"),
            ))
        }
    }
}

/// Prints the failures and the closing line, writes the JSON report.
fn report(options: &Options, done: &[Done]) -> Outcome<bool> {
    let count = |word: &str| done.iter().filter(|d| d.outcome == word).count();
    let (passed, failed, skipped) = (count("passed"), count("failed"), count("skipped"));
    for failure in done.iter().filter(|d| d.outcome == "failed") {
        println!("\n--- {}\n{}", failure.name, failure.detail.trim_end());
    }
    if let Some(path) = &options.json {
        let tests: Vec<Value> = done
            .iter()
            .map(|d| {
                json!({"name": d.name, "outcome": d.outcome, "detail": d.detail,
                       "ms": d.ms as u64})
            })
            .collect();
        let all = json!({"runtime": options.runtime, "tests": tests});
        std::fs::write(path, all.to_string()).because(path.display())?;
    }
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}
