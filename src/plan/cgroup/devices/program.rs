//! Device rules as a program of type `BPF_PROG_TYPE_CGROUP_DEVICE` (cgroup v2).
//!
//! The program walks the rules from the last to the first and keeps the accesses that are still
//! open: an allowing rule closes those it speaks of, and once none is left the answer is yes; a
//! denying rule that speaks of an open one answers no. What no rule speaks of is denied.
//! The instruction set is that of Linux 5.1 (32-bit jumps).

use super::{Access, Kind, Nodes, Rule};

// Registers.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const OPEN: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Operation codes: class, source and operation (linux/bpf_common.h, linux/bpf.h).
const LOAD_U32: u8 = 0x61;
const MOV_IMM: u8 = 0xb4;
const MOV_REG: u8 = 0xbc;
const AND_IMM: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_NE: u8 = 0x56;
const JUMP_ANY_BIT: u8 = 0x46;
const EXIT: u8 = 0x95;

// `access_type` of struct bpf_cgroup_dev_ctx.
const BLOCK: u32 = 1;
const CHAR: u32 = 2;

/// Whether the rules allow every access to every device.
pub(super) fn allows_everything(rules: &[Rule]) -> bool {
    rules
        .iter()
        .rev()
        .take_while(|rule| rule.allow)
        .any(|rule| rule.nodes == Nodes::ALL && rule.access == Access::ALL)
}

/// The program for `rules`.
pub(super) fn generate(rules: &[Rule]) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_U32, KIND, CONTEXT, 0, 0),
        instruction(MOV_REG, OPEN, KIND, 0, 0),
        instruction(AND_IMM, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, OPEN, 0, 0, 16),
        instruction(LOAD_U32, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_U32, MINOR, CONTEXT, 8, 0),
    ];
    for (index, rule) in rules.iter().enumerate().rev() {
        if rules[index + 1..]
            .iter()
            .any(|later| decides_for(later, rule))
        {
            continue;
        }
        append(&mut program, rule);
        // The kernel refuses instructions that cannot be reached.
        if rule.nodes == Nodes::ALL && rule.access == Access::ALL {
            return program;
        }
    }
    answer(&mut program, false);
    program
}

/// Whether `later` leaves nothing to `rule`.
fn decides_for(later: &Rule, rule: &Rule) -> bool {
    later.nodes.cover(&rule.nodes) && rule.access.without(later.access).is_empty()
}

fn append(program: &mut Vec<u64>, rule: &Rule) {
    let body = body(rule);
    let tests = tests(&rule.nodes);
    for (index, (register, value)) in tests.iter().enumerate() {
        let to_next_rule = tests.len() - index - 1 + body.len();
        program.push(jump(JUMP_NE, *register, to_next_rule, *value));
    }
    program.extend(body);
}

/// The registers that a node has to agree with.
fn tests(nodes: &Nodes) -> Vec<(u8, u32)> {
    let kind = match nodes.kind {
        Kind::Any => None,
        Kind::Block => Some(BLOCK),
        Kind::Char => Some(CHAR),
    };
    [(KIND, kind), (MAJOR, nodes.major), (MINOR, nodes.minor)]
        .into_iter()
        .filter_map(|(register, value)| Some((register, value?)))
        .collect()
}

/// What is done if the node agrees.
fn body(rule: &Rule) -> Vec<u64> {
    let mut body = Vec::with_capacity(4);
    let access = rule.access.0;
    match (rule.allow, rule.access == Access::ALL) {
        (_, true) => {}
        (true, false) => {
            body.push(instruction(AND_IMM, OPEN, 0, 0, !access));
            body.push(jump(JUMP_NE, OPEN, 2, 0));
        }
        (false, false) => {
            body.push(jump(JUMP_ANY_BIT, OPEN, 1, access));
            body.push(jump(JUMP, 0, 2, 0));
        }
    }
    answer(&mut body, rule.allow);
    body
}

fn answer(program: &mut Vec<u64>, allow: bool) {
    program.push(instruction(MOV_IMM, RESULT, 0, 0, allow.into()));
    program.push(instruction(EXIT, 0, 0, 0, 0));
}

/// A jump over `distance` instructions; a rule has at most nine.
fn jump(code: u8, register: u8, distance: usize, value: u32) -> u64 {
    instruction(code, register, 0, distance as i16, value)
}

/// `struct bpf_insn` in memory order. The two registers share a byte as C bit fields do.
fn instruction(code: u8, target: u8, source: u8, offset: i16, value: u32) -> u64 {
    let registers = if cfg!(target_endian = "little") {
        source << 4 | target
    } else {
        target << 4 | source
    };
    let [offset_0, offset_1] = offset.to_ne_bytes();
    let [value_0, value_1, value_2, value_3] = value.to_ne_bytes();
    u64::from_ne_bytes([
        code, registers, offset_0, offset_1, value_0, value_1, value_2, value_3,
    ])
}
