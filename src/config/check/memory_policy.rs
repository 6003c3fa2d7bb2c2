//! `linux.memoryPolicy`, by the rules of set_mempolicy(2).

use crate::config::error::ConfigError;
use crate::config::list;
use crate::config::names;
use crate::config::place::Place;
use crate::config::spec::MemoryPolicy;

/// The highest number of a memory node (`NODES_SHIFT` is at most 10).
const NODE_MAX: u32 = 1023;

/// Checks mode, nodes and flags, and that they go together.
pub(super) fn check(at: &Place<'_>, policy: &MemoryPolicy<'_>) -> Result<(), ConfigError> {
    let mode = policy.mode.as_str();
    names::require_known(
        &at.member("mode"),
        "memory policy",
        &names::MEMORY_POLICIES,
        mode,
    )?;

    let nodes_place = at.member("nodes");
    let mut has_nodes = false;
    for range in list::ranges(policy.nodes.as_deref().unwrap_or("")) {
        let range = range.map_err(|error| nodes_place.error(error))?;
        if *range.end() > NODE_MAX {
            return Err(nodes_place.error(format_args!(
                "there is no memory node {} (at most {NODE_MAX})",
                range.end()
            )));
        }
        has_nodes = true;
    }
    match mode {
        "MPOL_DEFAULT" | "MPOL_LOCAL" if has_nodes => {
            return Err(nodes_place.error(format_args!("{mode} takes no nodes")));
        }
        // Without nodes MPOL_PREFERRED means the local one.
        "MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED" => {}
        _ if !has_nodes => {
            return Err(nodes_place.error(format_args!("{mode} needs at least one node")));
        }
        _ => {}
    }
    check_flags(&at.member("flags"), policy, has_nodes)
}

fn check_flags(
    at: &Place<'_>,
    policy: &MemoryPolicy<'_>,
    has_nodes: bool,
) -> Result<(), ConfigError> {
    for (index, flag) in policy.flags.iter().enumerate() {
        let place = at.element(index);
        names::require_known(
            &place,
            "memory policy flag",
            &names::MEMORY_POLICY_FLAGS,
            flag,
        )?;
    }
    let has = |name: &str| policy.flags.iter().any(|flag| *flag == name);
    let is_static = has("MPOL_F_STATIC_NODES");
    let is_relative = has("MPOL_F_RELATIVE_NODES");
    let mode = policy.mode.as_str();
    if is_static && is_relative {
        return Err(at.error("MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other"));
    }
    if (is_static || is_relative) && !has_nodes && mode != "MPOL_DEFAULT" {
        return Err(at.error(format_args!(
            "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES need nodes, {mode} has none"
        )));
    }
    if has("MPOL_F_NUMA_BALANCING") && !matches!(mode, "MPOL_BIND" | "MPOL_PREFERRED_MANY") {
        return Err(at.error(format_args!(
            "MPOL_F_NUMA_BALANCING goes with MPOL_BIND and MPOL_PREFERRED_MANY, not {mode}"
        )));
    }
    Ok(())
}
