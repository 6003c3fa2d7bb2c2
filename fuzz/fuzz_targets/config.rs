//! config.json, from its bytes to everything that is worked out before the first effect:
//! parse, check, the plan, the cgroup's plan on hosts of every kind, the seccomp filter.
#![no_main]

use corten::config::{self, ConfigError, Spec};
use corten::plan::cgroup::{Host, Manager, V1, V2};
use corten::plan::seccomp::{self, Arch};
use corten::plan::{self, cgroup};
use corten_fuzz::{mutate, require_clear, require_clear_warnings, require_line};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

const BUNDLE: &str = "/bundle";

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::structure(data, size, max_size, seed)
        .unwrap_or_else(|| fuzzer_mutate(data, size, max_size))
});

fuzz_target!(|text: &[u8]| {
    if let Err(error) = all(text) {
        require_clear(&error, text);
    }
});

/// As launch/parent.rs goes through it.
fn all(text: &[u8]) -> Result<(), ConfigError> {
    let spec = config::parse(text)?;
    require_clear_warnings(&config::check(&spec)?, text);
    plan::plan(&spec, BUNDLE)?;
    seccomp_filter(&spec)?;
    let absent = config::spec::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&absent);
    let root = "/sys/fs/cgroup";
    let hosts = [
        Host::v1(root, &V1),
        Host::v1(root, &V1).with_unified(&["hugetlb"]),
        Host::v2(root, &V2),
        Host::v2(root, &["hugetlb"]),
        Host::default(),
    ];
    let mut first = Ok(());
    for host in &hosts {
        match cgroup::plan(Manager::Cgroupfs, linux, "id", host) {
            Ok(plan) => plan.warnings.iter().for_each(|line| require_line(line)),
            Err(error) => {
                let error = ConfigError::new(error.pointer, error.message);
                require_clear(&error, text);
                first = first.and(Err(error));
            }
        }
    }
    first
}

fn seccomp_filter(spec: &Spec<'_>) -> Result<(), ConfigError> {
    let Some(section) = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()) else {
        return Ok(());
    };
    let as_config = |error: seccomp::SeccompError| ConfigError::new(error.pointer, error.message);
    seccomp::check(section).map_err(as_config)?;
    for native in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64] {
        let program = seccomp::compile(section, native).map_err(as_config)?;
        assert!(program.insns.len() <= 4096);
        program.warnings.iter().for_each(|line| require_line(line));
    }
    Ok(())
}
