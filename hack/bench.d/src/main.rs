//! `bench`: times OCI runtimes side by side on the example bundles, in one run and in turn, so that the machine's noise
//! hits all alike. `hack/bench` builds and calls it; docs/performance.md says what the figures mean.

mod bundle;
mod container;
mod filter;
mod measure;
mod options;
mod report;
mod sandbox;
mod scenario;
mod sys;

use container::Container;
use measure::{Sample, What};
use options::Options;
use sandbox::Sandbox;
use scenario::{SCENARIOS, Scenario};
use std::fmt::Write;
use std::time::Duration;

/// Rounds that fill the page cache and whose times are thrown away.
const WARM_UP: usize = 2;
/// Rounds of the memory pass: it varies by a page or two.
const MEMORY_ROUNDS: usize = 3;
/// The pause before every verb of the spaced pass: long enough for the kernel's RCU to fall idle.
const GAP: Duration = Duration::from_millis(100);

fn main() {
    let done = Options::parse(std::env::args().skip(1)).and_then(|options| bench(&options));
    if let Err(error) = done {
        eprintln!("bench: {error}");
        std::process::exit(1);
    }
}

fn bench(options: &Options) -> Result<(), String> {
    sys::catch_signals();
    let sandbox = Sandbox::enter(options.v2)?;
    sys::become_reaper().map_err(|e| format!("not a subreaper: {e}"))?;
    let names: Vec<String> = options.runtimes.iter().map(|r| r.name.clone()).collect();
    let mut report = head(options, &sandbox);

    for bundle in &options.bundles {
        let shape = bundle.file_name().unwrap_or_default().to_string_lossy();
        let scenarios: Vec<&'static Scenario> =
            SCENARIOS.iter().filter(|s| options.wants(s.name)).collect();
        let containers = options
            .runtimes
            .iter()
            .map(|runtime| {
                let id = format!("{}-{shape}", runtime.name);
                let copy = bundle::copy(bundle, &id, &sandbox)?;
                Container::new(runtime, &copy, &id, &sandbox.work, &scenarios)
                    .map_err(|e| format!("{}: {e}", runtime.name))
            })
            .collect::<Result<Vec<_>, String>>()?;
        let in_turn =
            |rounds, live: &mut dyn FnMut(&Container, &Scenario) -> Result<(), String>| {
                in_turn(rounds, &containers, &scenarios, live)
            };

        for (name, gap) in [("back-to-back", Duration::ZERO), ("spaced", GAP)] {
            if !options.wants(name) {
                continue;
            }
            let mut samples: Vec<Sample> = Vec::new();
            in_turn(WARM_UP, &mut |c, s| {
                measure::time(c, s, Duration::ZERO, &mut Vec::new())
            })?;
            in_turn(options.rounds, &mut |c, s| {
                measure::time(c, s, gap, &mut samples)
            })?;
            let _ = writeln!(report, "### {shape}, {name}\n");
            for what in [What::Wall, What::Cpu] {
                report += &report::table(&samples, what, &names);
            }
        }
        let mut samples: Vec<Sample> = Vec::new();
        if options.wants("memory") {
            in_turn(MEMORY_ROUNDS, &mut |c, s| {
                measure::memory(c, s, &mut samples)
            })?;
        }
        if options.wants("syscalls") {
            in_turn(1, &mut |c, s| {
                measure::syscalls(c, s, &sandbox.work, &mut samples)
            })?;
        }
        if !samples.is_empty() {
            let _ = writeln!(report, "### {shape}, memory and system calls\n");
            for what in [What::Peak, What::InitRss, What::InitPss, What::Syscalls] {
                report += &report::table(&samples, what, &names);
            }
        }
    }

    print!("{report}");
    match &options.out {
        Some(path) => std::fs::write(path, &report).map_err(|e| format!("{}: {e}", path.display())),
        None => Ok(()),
    }
}

/// Runs `live` for every container and scenario, round after round; every other round runs backwards, so that no
/// runtime always follows the same other one.
fn in_turn(
    rounds: usize,
    containers: &[Container],
    scenarios: &[&'static Scenario],
    live: &mut dyn FnMut(&Container, &Scenario) -> Result<(), String>,
) -> Result<(), String> {
    for round in 0..rounds {
        for index in 0..containers.len() {
            let container = if round % 2 == 0 {
                &containers[index]
            } else {
                &containers[containers.len() - 1 - index]
            };
            for scenario in scenarios {
                if scenario.lacks.contains(&container.runtime.as_str()) {
                    continue;
                }
                if sys::stopped() {
                    return Err("interrupted".to_owned());
                }
                live(container, scenario)?;
            }
        }
    }
    Ok(())
}

fn head(options: &Options, sandbox: &Sandbox) -> String {
    let mut head = format!(
        "Linux {}, {} processors, cgroup {}, {} rounds. Runtimes:\n\n",
        sys::kernel(),
        sys::processors(),
        if sandbox.v2_controllers.is_some() {
            "v2"
        } else {
            "v1"
        },
        options.rounds,
    );
    for runtime in &options.runtimes {
        let version = options.version(runtime);
        let _ = writeln!(head, "- {}: {version}", runtime.name);
    }
    if let Some(ns) = measure::empty_program() {
        let _ = writeln!(head, "\nAn empty program takes {} µs (minimum).", ns / 1000);
    }
    head.push('\n');
    head
}
