//! Differential tests: the compiled program, run by an interpreter of BPF, against a second
//! reading of the section; and tests of single promises (meaning, errors).

#![cfg_attr(not(test), allow(dead_code, unused_imports))]

mod errors;
mod machine;
mod meaning;
mod oracle;
mod random;

use machine::{Data, run, verify};
use oracle::{Oracle, machine_archs};
use random::{Random, section as random_section};

use super::{Arch, compile};
use crate::config::spec::Seccomp;

const X32: u32 = 1 << 30;
const NATIVES: [Arch; 3] = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64];

const DOCKER: &str = include_str!("fixtures/docker.json");

fn parse(text: &str) -> Seccomp<'_> {
    serde_json::from_str(text).expect("a section")
}

/// Compares program and oracle over numbers, architectures and arguments; the number of
/// points compared.
fn compare(section: &Seccomp<'_>, native: Arch, random: &mut Random, what: &str) -> usize {
    let program = compile(section, native).unwrap_or_else(|error| panic!("{what}: {error}"));
    verify(&program.insns);
    let oracle = Oracle::new(section, native);
    let mut audits: Vec<u32> = machine_archs(native).iter().map(|arch| arch.1).collect();
    audits.dedup();
    audits.extend([0x4000_0003, 0x8000_0016, 0]);
    let low = (0..=600).flat_map(|nr| [nr, nr | X32]);
    let odd = [
        0x3fff_ffff,
        0x7fff_ffff,
        0x8000_0000,
        0xc000_0001,
        u32::MAX - 1,
        u32::MAX,
    ];
    let private = 0xe_fffe..0xf_0012;
    let mut points = 0;
    for nr in low.chain(odd).chain(private) {
        for &arch in &audits {
            let view = oracle.view(nr, arch);
            let interesting = view.interesting();
            let samples = if interesting.is_empty() {
                1
            } else {
                24 + 4 * interesting.len()
            };
            for sample in 0..samples {
                let mut args = [0; 6].map(|_: u64| random::value(random));
                for (index, arg) in args.iter_mut().enumerate() {
                    let values: Vec<u64> = interesting
                        .iter()
                        .filter(|it| it.0 == index)
                        .map(|it| it.1)
                        .collect();
                    if !values.is_empty() && !random.one_in(8) {
                        let one = values.get(sample).copied();
                        let value = one.unwrap_or_else(|| random.pick(&values));
                        *arg = near(random, value);
                    }
                }
                let data = Data { nr, arch, args };
                let (found, expected) = (run(&program.insns, &data).0, view.verdict(&data));
                assert_eq!(found, expected, "{what}: {data:#x?}\n{section:#?}");
                points += 1;
            }
        }
    }
    points
}

/// Compares program and oracle for calls as the kernel gives them to the filter: number,
/// architecture, arguments. Sections that do not compile are none to compare.
#[cfg(fuzzing)]
pub fn require_agreement(section: &Seccomp<'_>, native: Arch, calls: &[(u32, u32, [u64; 6])]) {
    let Ok(program) = compile(section, native) else {
        return;
    };
    if program.insns.is_empty() {
        return;
    }
    verify(&program.insns);
    let oracle = Oracle::new(section, native);
    for &(nr, arch, args) in calls {
        let data = Data { nr, arch, args };
        let (found, expected) = (
            run(&program.insns, &data).0,
            oracle.view(nr, arch).verdict(&data),
        );
        assert_eq!(found, expected, "{native:?}: {data:#x?}\n{section:#?}");
    }
}

/// The value, or one that differs from it a little or in its high word.
fn near(random: &mut Random, value: u64) -> u64 {
    match random.below(8) {
        0 => value.wrapping_add(1),
        1 => value.wrapping_sub(1),
        2 => value ^ (1 << 32),
        3 => value ^ (1 << 63),
        4 => value & 0xffff_ffff,
        5 => value | 0xffff_ffff_0000_0000,
        _ => value,
    }
}

#[test]
fn random_sections_mean_what_a_second_reading_says() {
    let all = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
    ];
    let (mut points, mut contradictions) = (0, 0);
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    for seed in seed.map_or(0..240, |seed: u64| seed..seed + 1) {
        let mut random = Random::new(seed);
        let native = NATIVES[seed as usize % 3];
        let section = random_section(&mut random, &all);
        match compile(&section, native) {
            Err(error) if error.message.contains("another action") => contradictions += 1,
            _ => points += compare(&section, native, &mut random, &format!("SEED={seed}")),
        }
    }
    println!("{points} points, {contradictions} contradictory sections");
    assert!(
        contradictions < 40,
        "{contradictions} contradictory sections"
    );
}

#[test]
fn docker_profile_means_what_a_second_reading_says() {
    let mut section = parse(DOCKER);
    let mut random = Random::new(1);
    compare(&section, Arch::X86_64, &mut random, "docker");
    section.default_errno_ret = None;
    compare(&section, Arch::X86_64, &mut random, "docker with EPERM");
    section.architectures.clear();
    for native in NATIVES {
        compare(&section, native, &mut random, "docker, native alone");
    }
    section.architectures = vec!["SCMP_ARCH_ARM".into()];
    compare(&section, Arch::Aarch64, &mut random, "docker on ARM");
}

/// Podman's profile for amd64 and no capabilities, from its own format.
fn installed_profile(text: &str) -> Option<Seccomp<'_>> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Filter {
        arches: Option<Vec<String>>,
        caps: Option<Vec<String>>,
    }
    let whole: serde_json::Value = serde_json::from_str(text).ok()?;
    let mut section: Seccomp<'_> = serde_json::from_str(text).ok()?;
    let mut filters = whole["syscalls"].as_array()?.iter().map(|rule| {
        let read =
            |key: &str| serde_json::from_value::<Filter>(rule[key].clone()).unwrap_or_default();
        let includes = read("includes");
        includes.caps.is_none()
            && includes
                .arches
                .is_none_or(|arches| arches.iter().any(|it| it == "amd64"))
    });
    section.syscalls.retain(|_| filters.next().unwrap_or(false));
    section.architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        .map(Into::into)
        .into();
    Some(section)
}

#[test]
fn installed_profile_of_podman_means_what_a_second_reading_says() {
    let path = "/usr/share/containers/seccomp.json";
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: {path} is not installed");
        return;
    };
    let section = installed_profile(&text).expect("a profile");
    compare(&section, Arch::X86_64, &mut Random::new(2), path);
}

#[test]
fn docker_profile_is_short_and_shallow() {
    let mut section = parse(DOCKER);
    for errno in [section.default_errno_ret, None] {
        section.default_errno_ret = errno;
        let program = compile(&section, Arch::X86_64).expect("compiles");
        let arch = machine_archs(Arch::X86_64)[0].1;
        let steps = |nr| run(&program.insns, &Data::new(arch, nr, 0)).1;
        let deepest = (0..500).map(steps).max().expect("some");
        println!(
            "default errno {errno:?}: {} instructions, at most {deepest} steps",
            program.insns.len()
        );
        assert!(
            program.insns.len() <= 200,
            "{} instructions",
            program.insns.len()
        );
        assert!(deepest <= 20, "{deepest} steps");
    }
}
