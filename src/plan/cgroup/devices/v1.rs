//! Device rules as writes to `devices.allow` and `devices.deny` of cgroup v1.
//!
//! The kernel keeps a default and a list of exceptions, and takes an exception back only if it is
//! told the very same nodes: a denial of one node out of an allowed range would be lost without a
//! word. So the list that the rules amount to is worked out here, and rules that no such list can
//! express are refused, as runc does.

use std::borrow::Cow;

use super::{Access, Kind, Nodes, ResourceError, Rule};
use crate::plan::cgroup::builder::{Builder, Place};

/// What the kernel will hold.
struct List {
    allow_by_default: bool,
    exceptions: Vec<Exception>,
}

struct Exception {
    nodes: Nodes,
    access: Access,
    pointer: Cow<'static, str>,
}

pub(super) fn plan(b: &mut Builder, place: Place, rules: &[Rule]) -> Result<(), ResourceError> {
    let mut list = List {
        allow_by_default: false,
        exceptions: Vec::new(),
    };
    for rule in rules {
        list.apply(rule)?;
    }
    let (file, exceptions) = if list.allow_by_default {
        ("devices.allow", "devices.deny")
    } else {
        ("devices.deny", "devices.allow")
    };
    b.write(place, file, "a", super::DEVICES);
    for Exception {
        nodes,
        access,
        pointer,
    } in list.exceptions
    {
        b.write(place, exceptions, format!("{nodes} {access}"), pointer);
    }
    Ok(())
}

/// The writes that lead from the list `now` (the text of `devices.list`) to the one that `writes`
/// make of an empty one, with no moment at which an access is denied that both allow: what is
/// new is allowed before what is old is denied. `None` where the kernel can only begin anew,
/// because everything is or will be allowed.
pub fn exchanged<'w>(
    writes: impl Iterator<Item = (&'w str, &'w str)>,
    now: &str,
) -> Option<Vec<(&'static str, String)>> {
    const ALLOW: &str = "devices.allow";
    const DENY: &str = "devices.deny";
    let mut writes = writes;
    if writes.next() != Some((DENY, "a")) || now.lines().any(|line| line.starts_with("a ")) {
        return None;
    }
    let wanted: Vec<(&str, &str)> = writes
        .filter_map(|(_, value)| value.rsplit_once(' '))
        .collect();
    let mut changes: Vec<(&str, String)> = wanted
        .iter()
        .map(|(nodes, access)| (ALLOW, format!("{nodes} {access}")))
        .collect();
    for (nodes, access) in now.lines().filter_map(|line| line.rsplit_once(' ')) {
        let kept = wanted.iter().find(|(wanted, _)| *wanted == nodes);
        let is_kept = |letter: &char| kept.is_some_and(|(_, kept)| kept.contains(*letter));
        let lost: String = access.chars().filter(|letter| !is_kept(letter)).collect();
        if !lost.is_empty() {
            changes.push((DENY, format!("{nodes} {lost}")));
        }
    }
    changes.retain(|(file, value)| *file == DENY || !now.lines().any(|line| line == value));
    Some(changes)
}

impl List {
    fn apply(&mut self, rule: &Rule) -> Result<(), ResourceError> {
        if rule.nodes == Nodes::ALL && rule.access == Access::ALL {
            self.allow_by_default = rule.allow;
            self.exceptions.clear();
            return Ok(());
        }
        // The kernel reads "a" as everything, whatever stands behind it.
        let kinds: &[Kind] = match rule.nodes.kind {
            Kind::Any => &[Kind::Block, Kind::Char],
            Kind::Block => &[Kind::Block],
            Kind::Char => &[Kind::Char],
        };
        for &kind in kinds {
            let nodes = Nodes { kind, ..rule.nodes };
            if rule.allow == self.allow_by_default {
                self.remove(rule, nodes)?;
            } else {
                self.add(rule, nodes);
            }
        }
        Ok(())
    }

    fn add(&mut self, rule: &Rule, nodes: Nodes) {
        match self
            .exceptions
            .iter_mut()
            .find(|exception| exception.nodes == nodes)
        {
            Some(known) => known.access = known.access.or(rule.access),
            None => self.exceptions.push(Exception {
                nodes,
                access: rule.access,
                pointer: rule.pointer.clone(),
            }),
        }
    }

    fn remove(&mut self, rule: &Rule, nodes: Nodes) -> Result<(), ResourceError> {
        for exception in &mut self.exceptions {
            let common = exception.access.and(rule.access);
            if common.is_empty() || !exception.nodes.meet(&nodes) {
                continue;
            }
            if !nodes.cover(&exception.nodes) {
                let message = format!(
                    "cgroup v1 cannot express this rule: it is an exception from \"{} {}\" ({})",
                    exception.nodes, exception.access, exception.pointer
                );
                return Err(ResourceError::new(rule.pointer.as_ref(), message));
            }
            exception.access = exception.access.without(common);
        }
        self.exceptions
            .retain(|exception| !exception.access.is_empty());
        Ok(())
    }
}
