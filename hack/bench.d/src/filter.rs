//! The seccomp program for the floor: a balanced tree over ranges of system call numbers, from the `linux.seccomp`
//! section. It covers what the example bundles use (x86_64 with x32, x86, equality on the low half of an argument)
//! and refuses the rest; it stands for a cheap program of the same meaning, not for a general compiler.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

const HEADERS: &str = "/usr/include/x86_64-linux-gnu/asm";
const X32_BIT: u32 = 0x4000_0000;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const RET_KILL: u32 = 0x8000_0000;
const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ERRNO: u32 = 0x0005_0000;

// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// One instruction: code, jump if true, jump if false, constant (struct sock_filter).
type Instruction = (u16, u8, u8, u32);

/// What happens to one system call: the first (argument, value) that matches allows it, else `otherwise`.
#[derive(Clone, PartialEq)]
struct Verdict {
    allowed_if: Vec<(u32, u32)>,
    otherwise: u32,
}

/// The program as bytes of `struct sock_filter`.
pub fn compile(seccomp: &Value) -> Result<Vec<u8>, String> {
    let default = action(seccomp, "defaultAction", "defaultErrnoRet")?;
    let mut native = numbers("unistd_64.h")?;
    // Both number spaces are of AUDIT_ARCH_X86_64: bit 30 keeps them apart.
    native.extend(numbers("unistd_x32.h")?);
    let native = tree(&ranges(seccomp, &native, default)?);
    let x86 = tree(&ranges(seccomp, &numbers("unistd_32.h")?, default)?);

    let mut program = vec![
        (LOAD, 0, 0, ARCH),
        (IF_EQUAL, 1, 0, AUDIT_ARCH_X86_64),
        (JUMP, 0, 0, 1 + native.len() as u32),
        (LOAD, 0, 0, NUMBER),
    ];
    program.extend(native);
    program.extend([
        (IF_EQUAL, 1, 0, AUDIT_ARCH_I386),
        (RETURN, 0, 0, RET_KILL),
        (LOAD, 0, 0, NUMBER),
    ]);
    program.extend(x86);
    Ok(program
        .iter()
        .flat_map(|&(code, yes, no, k)| {
            let [a, b] = code.to_ne_bytes();
            let [c, d, e, f] = k.to_ne_bytes();
            [a, b, yes, no, c, d, e, f]
        })
        .collect())
}

/// The kernel's headers (linux-libc-dev) are the one table of all three number spaces on a Debian machine.
fn numbers(header: &str) -> Result<Vec<(String, u32)>, String> {
    let path = format!("{HEADERS}/{header}");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e} (linux-libc-dev)"))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
            let x32 = number
                .trim_matches(['(', ')'])
                .strip_prefix("__X32_SYSCALL_BIT + ");
            let number = match x32 {
                Some(number) => X32_BIT + number.parse::<u32>().ok()?,
                None => number.parse().ok()?,
            };
            Some((name.to_owned(), number))
        })
        .collect())
}

fn action(of: &Value, key: &str, errno_key: &str) -> Result<u32, String> {
    match of[key].as_str() {
        Some("SCMP_ACT_ALLOW") => Ok(RET_ALLOW),
        Some("SCMP_ACT_ERRNO") => {
            let errno = of[errno_key].as_u64().unwrap_or(libc::EPERM as u64);
            Ok(RET_ERRNO | errno as u32)
        }
        other => Err(format!("the floor's filter knows no action {other:?}")),
    }
}

/// The number line cut into ranges of one verdict each: (first number, verdict), from 0 upwards.
fn ranges(
    seccomp: &Value,
    numbers: &[(String, u32)],
    default: u32,
) -> Result<Vec<(u32, Verdict)>, String> {
    let fallback = Verdict {
        allowed_if: Vec::new(),
        otherwise: default,
    };
    let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
    for rule in seccomp["syscalls"].as_array().into_iter().flatten() {
        let action = action(rule, "action", "errnoRet")?;
        let condition = match rule["args"].as_array().map(Vec::as_slice) {
            None | Some([]) => None,
            Some([arg]) if arg["op"] == "SCMP_CMP_EQ" && action == RET_ALLOW => Some((
                arg["index"].as_u64().unwrap_or(0) as u32,
                arg["value"].as_u64().unwrap_or(0) as u32,
            )),
            Some(other) => return Err(format!("the floor's filter knows no condition {other:?}")),
        };
        for name in rule["names"].as_array().into_iter().flatten() {
            for (_, number) in numbers.iter().filter(|(known, _)| name == known) {
                let verdict = verdicts.entry(*number).or_insert(fallback.clone());
                match condition {
                    Some(condition) => verdict.allowed_if.push(condition),
                    None => verdict.otherwise = action,
                }
            }
        }
    }
    let mut ranges = vec![(0, fallback.clone())];
    for (&number, verdict) in &verdicts {
        // The call before this number ended a run; what lies between gets the default.
        if ranges.last().is_some_and(|(_, last)| last != verdict) {
            match ranges.last_mut() {
                Some((first, last)) if *first == number => *last = verdict.clone(),
                _ => ranges.push((number, verdict.clone())),
            }
        }
        if !verdicts.contains_key(&(number + 1)) {
            ranges.push((number + 1, fallback.clone()));
        }
    }
    ranges.dedup_by(|next, previous| next.1 == previous.1);
    Ok(ranges)
}

fn tree(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    let [(_, verdict)] = ranges else {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let (left, right) = (tree(low), tree(high));
        let mut code = match u8::try_from(left.len()) {
            Ok(skip) => vec![(IF_AT_LEAST, skip, 0, high[0].0)],
            // Conditional jumps reach 255 instructions, JA all of them.
            Err(_) => vec![
                (IF_AT_LEAST, 0, 1, high[0].0),
                (JUMP, 0, 0, left.len() as u32),
            ],
        };
        code.extend(left);
        code.extend(right);
        return code;
    };
    let mut code = Vec::new();
    for &(index, value) in &verdict.allowed_if {
        code.extend([
            (LOAD, 0, 0, ARGS + 8 * index),
            (IF_EQUAL, 0, 1, value),
            (RETURN, 0, 0, RET_ALLOW),
        ]);
    }
    code.push((RETURN, 0, 0, verdict.otherwise));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the part of a program that looks at the number and the arguments.
    fn run(code: &[Instruction], number: u32, args: [u32; 6]) -> u32 {
        let (mut at, mut loaded) = (0, number);
        loop {
            let (code, yes, no, k) = code[at];
            at += 1 + match code {
                LOAD => {
                    loaded = args[((k - ARGS) / 8) as usize];
                    0
                }
                JUMP => k as usize,
                IF_EQUAL => usize::from(if loaded == k { yes } else { no }),
                IF_AT_LEAST => usize::from(if loaded >= k { yes } else { no }),
                _ => return k,
            };
        }
    }

    #[test]
    fn the_tree_gives_every_number_the_verdict_of_its_rule() {
        let seccomp = serde_json::json!({"syscalls": [
            {"names": ["even"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["third"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 1, "value": 8, "op": "SCMP_CMP_EQ"}]},
            {"names": ["fifth"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}]});
        // Enough ranges that the jumps of the upper levels do not fit a byte.
        let name = |n| match n {
            3 => "third",
            5 => "fifth",
            n if n % 2 == 0 => "even",
            _ => "unknown",
        };
        let numbers: Vec<_> = (0..2000).map(|n| (name(n).to_owned(), n)).collect();
        let default = RET_ERRNO | 38;
        let code = tree(&ranges(&seccomp, &numbers, default).unwrap());
        for number in 0..2100 {
            let wanted = match name(number) {
                "even" if number < 2000 => RET_ALLOW,
                "fifth" => RET_ERRNO | 7,
                _ => default,
            };
            assert_eq!(run(&code, number, [0; 6]), wanted, "{number}");
        }
        assert_eq!(run(&code, 3, [0, 8, 0, 0, 0, 0]), RET_ALLOW);
    }

    #[test]
    fn dockers_profile_makes_a_small_program() {
        let text = include_str!("../../../bundles/docker/config.json");
        let spec: Value = serde_json::from_str(text).unwrap();
        match compile(&spec["linux"]["seccomp"]) {
            Ok(program) => assert!(program.len() / 8 < 1000, "{}", program.len() / 8),
            Err(error) => assert!(error.contains(HEADERS), "{error}"),
        }
    }
}
