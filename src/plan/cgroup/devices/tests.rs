//! The device rules against a direct reading of them: the program in a small eBPF machine, the
//! writes in a model of the kernel's v1 controller.

use super::*;
use crate::plan::cgroup::{Host, Manager, plan as plan_cgroup};

/// Says what the rules mean: for each access the last rule that speaks of it decides.
fn reading(rules: &[Rule], node: Nodes, access: u32) -> bool {
    (0..3)
        .map(|bit| Access(1 << bit))
        .filter(|bit| access & bit.0 != 0)
        .all(|bit| {
            let speaks = |rule: &&Rule| rule.nodes.cover(&node) && !rule.access.and(bit).is_empty();
            rules
                .iter()
                .rev()
                .find(speaks)
                .is_some_and(|rule| rule.allow)
        })
}

/// Runs a device program.
fn run(program: &[u64], node: Nodes, access: u32) -> bool {
    let kind = match node.kind {
        Kind::Block => 1,
        Kind::Char => 2,
        Kind::Any => panic!("a node has a kind"),
    };
    let context = [
        access << 16 | kind,
        node.major.unwrap(),
        node.minor.unwrap(),
    ];
    let mut registers: [Option<u32>; 11] = [None; 11];
    let mut next: usize = 0;
    for _ in 0..program.len() {
        let [code, pair, o0, o1, v0, v1, v2, v3] = program[next].to_ne_bytes();
        let (target, source) = if cfg!(target_endian = "little") {
            (usize::from(pair & 15), usize::from(pair >> 4))
        } else {
            (usize::from(pair >> 4), usize::from(pair & 15))
        };
        let offset = i16::from_ne_bytes([o0, o1]);
        let value = u32::from_ne_bytes([v0, v1, v2, v3]);
        let read = |register: usize| registers[register].expect("a register that was set");
        let mut jump = false;
        match code {
            0x61 => {
                assert_eq!(source, 1, "loads are from the context");
                registers[target] = Some(context[usize::try_from(offset).unwrap() / 4]);
            }
            0xb4 => registers[target] = Some(value),
            0xbc => registers[target] = Some(read(source)),
            0x54 => registers[target] = Some(read(target) & value),
            0x74 => registers[target] = Some(read(target) >> value),
            0x05 => jump = true,
            0x56 => jump = read(target) != value,
            0x46 => jump = read(target) & value != 0,
            0x95 => return read(0) != 0,
            other => panic!("unknown operation {other:#x}"),
        }
        next += 1;
        if jump {
            assert!(offset >= 0, "jumps go forward");
            next += usize::try_from(offset).unwrap();
        }
    }
    panic!("the program does not end");
}

/// Whether every instruction can be reached: old kernels refuse programs with others.
fn all_reached(program: &[u64]) -> bool {
    let mut reached = vec![false; program.len()];
    let mut work = vec![0];
    while let Some(at) = work.pop() {
        if std::mem::replace(&mut reached[at], true) {
            continue;
        }
        let [code, _, o0, o1, ..] = program[at].to_ne_bytes();
        let target = at + 1 + usize::try_from(i16::from_ne_bytes([o0, o1])).unwrap_or(0);
        match code {
            0x95 => {}
            0x05 => work.push(target),
            0x56 | 0x46 => work.extend([at + 1, target]),
            _ => work.push(at + 1),
        }
    }
    reached.into_iter().all(|reached| reached)
}

/// A model of security/device_cgroup.c: a default and exceptions, told apart by their nodes.
#[derive(Default)]
struct Kernel {
    allow_by_default: bool,
    exceptions: Vec<(Nodes, Access)>,
}

impl Kernel {
    fn write(&mut self, allow: bool, value: &str) {
        if value.starts_with('a') {
            *self = Kernel {
                allow_by_default: allow,
                exceptions: Vec::new(),
            };
            return;
        }
        let mut parts = value.split([' ', ':']);
        let mut part = || parts.next().unwrap();
        let kind = if part() == "b" {
            Kind::Block
        } else {
            Kind::Char
        };
        let (major, minor) = (part().parse().ok(), part().parse().ok());
        let (nodes, access) = (Nodes { kind, major, minor }, Access::parse(part()).unwrap());
        let known = self
            .exceptions
            .iter()
            .position(|(known, _)| *known == nodes);
        match (allow == self.allow_by_default, known) {
            (true, Some(known)) => {
                let left = self.exceptions[known].1.without(access);
                self.exceptions[known].1 = left;
            }
            (true, None) => {}
            (false, Some(known)) => self.exceptions[known].1 = self.exceptions[known].1.or(access),
            (false, None) => self.exceptions.push((nodes, access)),
        }
    }

    fn allows(&self, node: Nodes, access: Access) -> bool {
        let excepted = self
            .exceptions
            .iter()
            .any(|(nodes, allowed)| nodes.cover(&node) && !allowed.and(access).is_empty());
        excepted != self.allow_by_default
    }
}

/// Numbers that look random and are the same each time (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn number(&mut self) -> Option<u32> {
        [None, Some(0), Some(1), Some(5), Some(u32::MAX)][self.below(5) as usize]
    }

    fn rule(&mut self) -> Rule {
        let kind = [Kind::Any, Kind::Block, Kind::Char][self.below(3) as usize];
        let access = if self.below(3) == 0 {
            Access::ALL
        } else {
            Access(1 + self.below(7) as u32)
        };
        let (major, minor) = (self.number(), self.number());
        let pointer = Cow::Borrowed(DEVICES);
        Rule {
            allow: self.below(2) == 0,
            nodes: Nodes { kind, major, minor },
            access,
            pointer,
        }
    }

    fn node(&mut self) -> Nodes {
        let kind = [Kind::Block, Kind::Char][self.below(2) as usize];
        let (major, minor) = (self.number().or(Some(7)), self.number().or(Some(7)));
        Nodes { kind, major, minor }
    }
}

#[test]
fn the_program_decides_as_the_rules_read() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..3_000 {
        let count = random.below(9);
        let rules: Vec<Rule> = (0..count).map(|_| random.rule()).collect();
        let program = generate_checked(&rules);
        for _ in 0..20 {
            let (node, access) = (random.node(), 1 + random.below(7) as u32);
            assert_eq!(
                run(&program, node, access),
                reading(&rules, node, access),
                "{node} {access:b} under {rules:?}"
            );
        }
    }
}

fn generate_checked(rules: &[Rule]) -> Vec<u64> {
    let program = program::generate(rules);
    assert!(all_reached(&program), "{rules:?}");
    program
}

#[test]
fn a_program_that_is_left_out_would_have_allowed_everything() {
    let mut random = Random(77);
    let mut left_out = 0;
    for _ in 0..3_000 {
        let rules: Vec<Rule> = (0..3).map(|_| random.rule()).collect();
        if program::allows_everything(&rules) {
            left_out += 1;
            let node = random.node();
            assert!(
                (1..8).all(|access| reading(&rules, node, access)),
                "{rules:?}"
            );
        }
    }
    assert!(left_out > 0);
}

#[test]
fn v1_writes_do_what_the_rules_say_or_are_refused() {
    let mut random = Random(42);
    let (mut expressed, mut refused) = (0, 0);
    for _ in 0..5_000 {
        let count = random.below(5);
        let rules: Vec<Rule> = (0..count).map(|_| random.rule()).collect();
        let host = Host::v1("/", &["devices"]);
        let mut builder = Builder::new("x".to_owned(), &host);
        builder.add_hierarchies();
        let place = builder.devices().unwrap();
        if v1::plan(&mut builder, place, &rules).is_err() {
            refused += 1;
            continue;
        }
        expressed += 1;
        let mut kernel = Kernel {
            allow_by_default: true,
            ..Kernel::default()
        };
        for write in builder.finish().writes {
            kernel.write(write.file == "devices.allow", &write.value);
        }
        for _ in 0..20 {
            let (node, bit) = (random.node(), Access(1 << random.below(3)));
            assert_eq!(
                kernel.allows(node, bit),
                reading(&rules, node, bit.0),
                "{node} {bit} under {rules:?}"
            );
        }
    }
    assert!(expressed > 1_000 && refused > 100, "{expressed} {refused}");
}

impl Kernel {
    /// `devices.list`.
    fn list(&self) -> String {
        if self.allow_by_default {
            return "a *:* rwm\n".to_owned();
        }
        let given = self
            .exceptions
            .iter()
            .filter(|(_, access)| !access.is_empty());
        given
            .map(|(nodes, access)| format!("{nodes} {access}\n"))
            .collect()
    }

    /// One with the writes of `rules`, and these.
    fn of(rules: &[Rule]) -> Option<(Kernel, Vec<(String, String)>)> {
        let host = Host::v1("/", &["devices"]);
        let mut builder = Builder::new("x".to_owned(), &host);
        builder.add_hierarchies();
        let place = builder.devices()?;
        v1::plan(&mut builder, place, rules).ok()?;
        let writes = builder.finish().writes.into_iter();
        let writes: Vec<_> = writes.map(|w| (w.file.into_owned(), w.value)).collect();
        let mut kernel = Kernel {
            allow_by_default: true,
            ..Kernel::default()
        };
        for (file, value) in &writes {
            kernel.write(file == "devices.allow", value);
        }
        Some((kernel, writes))
    }
}

#[test]
fn an_exchange_of_v1_lists_has_no_moment_that_denies_what_both_allow() {
    let mut random = Random(4711);
    let (mut exchanges, mut anew) = (0, 0);
    for _ in 0..5_000 {
        let mut rules = |denied: bool| -> Vec<Rule> {
            let count = 1 + random.below(4);
            let given = (0..count).map(|_| random.rule());
            // Most lists allow what they name.
            given
                .map(|rule| Rule {
                    allow: rule.allow || denied,
                    ..rule
                })
                .collect()
        };
        let (old, new) = (rules(true), rules(true));
        let (Some((mut kernel, _)), Some((wanted, writes))) = (Kernel::of(&old), Kernel::of(&new))
        else {
            continue;
        };
        let before = Kernel::of(&old).unwrap().0;
        let lines = writes
            .iter()
            .map(|(file, value)| (file.as_str(), value.as_str()));
        let Some(changes) = exchanged(lines, &kernel.list()) else {
            assert!(before.allow_by_default || wanted.allow_by_default);
            anew += 1;
            continue;
        };
        exchanges += 1;
        let asked: Vec<_> = (0..20)
            .map(|_| (random.node(), Access(1 << random.below(3))))
            .collect();
        for (file, value) in &changes {
            kernel.write(*file == "devices.allow", value);
            for &(node, bit) in &asked {
                let both = before.allows(node, bit) && wanted.allows(node, bit);
                let any = before.allows(node, bit) || wanted.allows(node, bit);
                let now = kernel.allows(node, bit);
                assert!(now || !both, "{node} {bit}: {old:?} to {new:?}");
                assert!(!now || any, "{node} {bit}: {old:?} to {new:?}");
            }
        }
        for (node, bit) in asked {
            assert_eq!(kernel.allows(node, bit), wanted.allows(node, bit));
        }
    }
    assert!(exchanges > 1_000 && anew > 100, "{exchanges} {anew}");
}

#[test]
fn a_list_that_stays_takes_no_write() {
    let now = "c *:* m\nc 1:3 rwm\n";
    let writes = [
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 rwm"),
        ("devices.allow", "c *:* m"),
    ];
    assert_eq!(exchanged(writes.into_iter(), now), Some(Vec::new()));
    let less = exchanged(
        [("devices.deny", "a"), ("devices.allow", "c 1:3 r")].into_iter(),
        now,
    );
    let expected = [
        "devices.allow c 1:3 r",
        "devices.deny c *:* m",
        "devices.deny c 1:3 wm",
    ];
    let less: Vec<String> = less
        .unwrap()
        .iter()
        .map(|(file, value)| format!("{file} {value}"))
        .collect();
    assert_eq!(less, expected);
}

fn v1_writes(linux: &str) -> Result<Vec<String>, ResourceError> {
    let linux = serde_json::from_str(linux).unwrap();
    let plan = plan_cgroup(
        Manager::Cgroupfs,
        &linux,
        "id",
        &Host::v1("/", &["devices"]),
    )?;
    Ok(plan
        .writes
        .into_iter()
        .map(|write| format!("{}={}", write.file, write.value))
        .collect())
}

#[test]
fn every_container_gets_the_default_devices_and_no_others() {
    let expected = [
        "devices.deny=a",
        "devices.allow=c *:* m",
        "devices.allow=b *:* m",
        "devices.allow=c 1:3 rwm",
        "devices.allow=c 1:8 rwm",
        "devices.allow=c 1:7 rwm",
        "devices.allow=c 5:0 rwm",
        "devices.allow=c 1:5 rwm",
        "devices.allow=c 1:9 rwm",
        "devices.allow=c 136:* rwm",
        "devices.allow=c 5:2 rwm",
    ];
    assert_eq!(v1_writes("{}").unwrap(), expected);
    let docker = r#"{"resources": {"devices": [{"allow": false, "access": "rwm"}]}}"#;
    assert_eq!(v1_writes(docker).unwrap(), expected);
}

#[test]
fn a_device_of_the_bundle_at_a_default_path_takes_the_default_rule_away() {
    let linux = r#"{"devices": [{"type": "c", "path": "/dev/full", "major": 9, "minor": 9}]}"#;
    assert!(
        !v1_writes(linux)
            .unwrap()
            .contains(&"devices.allow=c 1:7 rwm".to_owned())
    );
}

#[test]
fn a_privileged_container_may_use_everything() {
    let linux = r#"{"resources": {"devices": [{"allow": true, "access": "rwm"}]}}"#;
    assert_eq!(v1_writes(linux).unwrap(), ["devices.allow=a"]);
    let linux = serde_json::from_str(linux).unwrap();
    let host = Host::v2("/", &[]);
    let plan = plan_cgroup(Manager::Cgroupfs, &linux, "id", &host).unwrap();
    assert!(!plan.device_program.unwrap().instructions.is_empty());
}

#[test]
fn a_malformed_rule_is_refused_with_its_place() {
    for (rule, pointer) in [
        (r#"{"allow": true}"#, "/linux/resources/devices/0/access"),
        (
            r#"{"allow": true, "access": "rx"}"#,
            "/linux/resources/devices/0/access",
        ),
        (
            r#"{"allow": true, "access": "r", "type": "p"}"#,
            "/linux/resources/devices/0/type",
        ),
        (
            r#"{"allow": true, "access": "r", "major": -2}"#,
            "/linux/resources/devices/0/major",
        ),
        (
            r#"{"allow": true, "access": "r", "minor": 4294967296}"#,
            "/linux/resources/devices/0/minor",
        ),
    ] {
        let linux = format!(r#"{{"resources": {{"devices": [{rule}]}}}}"#);
        assert_eq!(v1_writes(&linux).unwrap_err().pointer, pointer, "{rule}");
    }
    let hole = r#"{"resources": {"devices": [
        {"allow": true, "type": "c", "access": "rwm"},
        {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rw"}]}}"#;
    assert_eq!(
        v1_writes(hole).unwrap_err().pointer,
        "/linux/resources/devices/1"
    );
}
