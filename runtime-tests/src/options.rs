//! The command line of the harness.

use crate::driver::Driver;
use std::path::PathBuf;
use std::time::Duration;

/// Shown after a usage error.
pub const USAGE: &str = "usage: runtime-tests --runtime PATH [--jobs N] [--timeout SECS] \
[--list] [--json FILE] \
[--cgroup-manager cgroupfs|systemd] [--as-user] [FILTER...]";

/// What this process is asked to be.
pub enum Mode {
    /// Print the names of the selected tests.
    List,
    /// Run the selected tests, each in a process of its own.
    All,
    /// Be the process of one test (the harness starts itself this way).
    One(One),
}

/// Where the process of one test finds its surroundings.
pub struct One {
    /// Full name, `topic::promise`.
    pub name: String,
    /// Folder of this run, shared by all its tests.
    pub run_dir: PathBuf,
    /// Number of the test within the run; names its folder and cgroup.
    pub index: usize,
}

/// The parsed command line.
pub struct Options {
    /// The runtime under test, absolute.
    pub runtime: PathBuf,
    /// How many tests run at the same time.
    pub jobs: usize,
    /// Time limit of one test, before a test's own factor.
    pub timeout: Duration,
    /// Where a machine-readable report goes.
    pub json: Option<PathBuf>,
    /// Who runs the runtime, and who makes the cgroups.
    pub driver: Driver,
    /// Substrings; a test runs when its name holds any of them.
    pub filters: Vec<String>,
    /// What to be.
    pub mode: Mode,
}

impl Options {
    /// Parses the arguments after the program's name; the error is one line.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut args = args;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Options {
            runtime: PathBuf::new(),
            jobs: cpus * 2,
            timeout: Duration::from_secs(30),
            json: None,
            driver: Driver::default(),
            filters: Vec::new(),
            mode: Mode::All,
        };
        let (mut systemd, mut as_user) = (false, false);
        let (mut one, mut run_dir, mut index) = (None, PathBuf::new(), 0);
        while let Some(arg) = args.next() {
            let (key, inline) = match arg.split_once('=') {
                Some((key, value)) if key.starts_with("--") => {
                    (key.to_string(), Some(value.to_string()))
                }
                _ => (arg, None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| args.next())
                    .ok_or_else(|| format!("{key} needs a value"))
            };
            match key.as_str() {
                "--runtime" => options.runtime = PathBuf::from(value()?),
                "--jobs" => options.jobs = number(&key, &value()?)?.max(1),
                "--timeout" => {
                    options.timeout = Duration::from_secs(number(&key, &value()?)? as u64)
                }
                "--json" => options.json = Some(PathBuf::from(value()?)),
                "--cgroup-manager" => {
                    systemd = match value()?.as_str() {
                        "systemd" => true,
                        "cgroupfs" => false,
                        other => return Err(format!("--cgroup-manager: no `{other}`")),
                    }
                }
                "--as-user" => as_user = true,
                "--list" => options.mode = Mode::List,
                "--exec-one" => one = Some(value()?),
                "--run-dir" => run_dir = PathBuf::from(value()?),
                "--index" => index = number(&key, &value()?)?,
                _ if key.starts_with("--") => return Err(format!("unknown option {key}")),
                _ => options.filters.push(key),
            }
        }
        if let Some(name) = one {
            options.mode = Mode::One(One {
                name,
                run_dir,
                index,
            });
        }
        if !matches!(options.mode, Mode::List) {
            options.runtime = find_runtime(&options.runtime)?;
            options.driver = Driver::choose(systemd, as_user)?;
        }
        Ok(options)
    }
}

fn number(key: &str, text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("{key}: `{text}` is not a number"))
}

/// Makes the runtime's path absolute; a bare name is looked up in `$PATH`.
fn find_runtime(given: &std::path::Path) -> Result<PathBuf, String> {
    if given.as_os_str().is_empty() {
        return Err("--runtime is missing".to_string());
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&search).map(|dir| dir.join(given));
    let bare = given.components().count() == 1 && !given.exists();
    let found = if bare {
        in_path.into_iter().find(|path| path.is_file())
    } else {
        Some(given.to_path_buf())
    };
    found
        .and_then(|path| path.canonicalize().ok())
        .ok_or_else(|| format!("--runtime {}: no such file", given.display()))
}
