//! The bench's command line.

use crate::container::Runtime;
use std::path::{Path, PathBuf};
use std::process::Command;

const USAGE: &str = "usage: hack/bench [--rounds N] [--quick] [--only WORD,…] [--runtimes NAME,…] [--v2] [--out FILE]
  --rounds N       how often each container lives in each pass (30)
  --quick          --rounds 5
  --only WORD,…    of plain docker, cycle run exec kill events update crowd, back-to-back spaced memory syscalls: of each of the three kinds
                   only those that are named; all of a kind of which none is named
  --runtimes N,…   of corten floor crun runc, or NAME=PATH; ratios are the first one's to the others
  --v2             with cgroup2 on /sys/fs/cgroup, without the limits that it has no controller for
  --out FILE       write the tables there, too";

/// The words of `--only`, by kind.
const WORDS: [&[&str]; 3] = [
    &["plain", "docker"],
    &["cycle", "run", "exec", "kill", "events", "update", "crowd"],
    &["back-to-back", "spaced", "memory", "syscalls"],
];

/// What was asked for.
pub struct Options {
    pub rounds: usize,
    pub v2: bool,
    pub out: Option<PathBuf>,
    pub runtimes: Vec<Runtime>,
    pub bundles: Vec<PathBuf>,
    only: Vec<String>,
}

impl Options {
    /// Reads the arguments; `hack/bench` adds the environment variables `BUNDLES` and `CORTEN`.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            rounds: 30,
            v2: false,
            out: None,
            runtimes: Vec::new(),
            bundles: Vec::new(),
            only: Vec::new(),
        };
        let mut runtimes = "corten,floor,crun,runc".to_owned();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value\n{USAGE}"));
            match arg.as_str() {
                "--rounds" => {
                    let text = value()?;
                    options.rounds = text.parse().map_err(|e| format!("--rounds {text}: {e}"))?;
                }
                "--quick" => options.rounds = 5,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--runtimes" => runtimes = value()?,
                "--v2" => options.v2 = true,
                "--help" => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                "--out" => options.out = Some(value()?.into()),
                _ => return Err(format!("{arg} is not known\n{USAGE}")),
            }
        }
        let known = |word: &String| WORDS.iter().any(|kind| kind.contains(&word.as_str()));
        if let Some(word) = options.only.iter().find(|word| !known(word)) {
            return Err(format!("--only {word} is not known\n{USAGE}"));
        }
        options.runtimes = runtimes.split(',').map(runtime).collect::<Result<_, _>>()?;
        let bundles = PathBuf::from(std::env::var_os("BUNDLES").unwrap_or("bundles".into()));
        options.bundles = WORDS[0]
            .iter()
            .filter(|name| options.wants(name))
            .map(|name| bundles.join(name))
            .collect();
        Ok(options)
    }

    /// Whether a word's part is to be measured.
    pub fn wants(&self, word: &str) -> bool {
        let asked = |word: &&str| self.only.iter().any(|only| only == word);
        let kind = WORDS.iter().find(|kind| kind.contains(&word));
        asked(&word) || !kind.is_some_and(|kind| kind.iter().any(asked))
    }

    /// What a runtime says it is, in one line.
    pub fn version(&self, runtime: &Runtime) -> String {
        let output = Command::new(&runtime.path).arg("--version").output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        let line = text
            .ok()
            .and_then(|text| Some(text.lines().next()?.to_owned()));
        line.unwrap_or("no version".to_owned())
    }
}

/// Finds a runtime by `NAME=PATH` or by name.
fn runtime(word: &str) -> Result<Runtime, String> {
    let (name, path) = match word.split_once('=') {
        Some((name, path)) => (name, PathBuf::from(path)),
        None => (word, find(word)?),
    };
    let path = path
        .canonicalize()
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Runtime {
        name: name.to_owned(),
        path,
    })
}

fn find(name: &str) -> Result<PathBuf, String> {
    match name {
        "corten" => std::env::var_os("CORTEN")
            .map(PathBuf::from)
            .ok_or("CORTEN does not name the binary: call hack/bench".to_owned()),
        // The floor is built beside the bench.
        "floor" => std::env::current_exe()
            .map(|exe| exe.with_file_name("floor"))
            .map_err(|e| format!("the path of the bench: {e}")),
        _ => ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
            .iter()
            .map(|dir| Path::new(dir).join(name))
            .find(|path| path.is_file())
            .ok_or(format!("{name} is not installed")),
    }
}
