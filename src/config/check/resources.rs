//! `linux.resources`: signs, ranges that no kernel takes, names.

use crate::config::error::ConfigError;
use crate::config::list;
use crate::config::place::Place;
use crate::config::spec::{BlockIo, Cpu, HugepageLimit, Map, Memory, Rdma, Resources, Text};

use super::devices;
use super::network;

/// Checks all limits. What depends on the version of the cgroups is left to
/// `plan` and the kernel.
pub(super) fn check(at: &Place<'_>, resources: &Resources<'_>) -> Result<(), ConfigError> {
    devices::check_rules(&at.member("devices"), &resources.devices)?;
    if let Some(memory) = &resources.memory {
        check_memory(&at.member("memory"), memory)?;
    }
    if let Some(cpu) = &resources.cpu {
        check_cpu(&at.member("cpu"), cpu)?;
    }
    if let Some(block_io) = &resources.block_io {
        check_block_io(&at.member("blockIO"), block_io)?;
    }
    check_hugepages(&at.member("hugepageLimits"), &resources.hugepage_limits)?;
    if let Some(network) = &resources.network {
        let at_network = at.member("network");
        let priorities = at_network.member("priorities");
        for (index, priority) in network.priorities.iter().enumerate() {
            let place = priorities.element(index);
            network::require_interface_name(&place.member("name"), &priority.name)?;
        }
    }
    check_rdma_names(&at.member("rdma"), &resources.rdma)?;
    check_unified(&at.member("unified"), &resources.unified)
}

/// A device's name is the first word of a line in rdma.max.
fn check_rdma_names(at: &Place<'_>, devices: &Map<'_, Rdma>) -> Result<(), ConfigError> {
    match devices
        .keys()
        .find(|name| name.is_empty() || name.contains(char::is_whitespace))
    {
        Some(name) => Err(at.member(name).error(format_args!(
            "{name:?} is not the name of an RDMA device such as \"mlx5_1\""
        ))),
        None => Ok(()),
    }
}

fn check_memory(at: &Place<'_>, memory: &Memory) -> Result<(), ConfigError> {
    for (name, bytes) in [
        ("limit", memory.limit),
        ("reservation", memory.reservation),
        ("swap", memory.swap),
    ] {
        if let Some(bytes) = bytes
            && bytes < -1
        {
            return Err(at.member(name).error(format_args!(
                "{bytes} is out of range (bytes, or -1 for no limit)"
            )));
        }
    }
    if let (Some(limit), Some(swap)) = (memory.limit, memory.swap)
        && limit > 0
        && swap > 0
        && swap < limit
    {
        return Err(at
            .member("swap")
            .error(format_args!(
                "memory and swap together ({swap}) are less than memory alone ({limit})"
            ))
            .with_hint("swap counts the memory too"));
    }
    // runc takes u64::MAX, which is Go's -1, for "not set".
    if let Some(swappiness) = memory.swappiness
        && swappiness > 100
        && swappiness != u64::MAX
    {
        return Err(at
            .member("swappiness")
            .error(format_args!("{swappiness} is out of range (0 to 100)")));
    }
    Ok(())
}

/// A negative quota means no limit, whatever the number: engines write several.
fn check_cpu(at: &Place<'_>, cpu: &Cpu<'_>) -> Result<(), ConfigError> {
    if let Some(idle) = cpu.idle
        && !(0..=1).contains(&idle)
    {
        return Err(at
            .member("idle")
            .error(format_args!("{idle} is out of range (0 or 1)")));
    }
    for (name, list) in [("cpus", &cpu.cpus), ("mems", &cpu.mems)] {
        if let Some(list) = list {
            list::check_bitmap_list(list).map_err(|error| at.member(name).error(error))?;
        }
    }
    Ok(())
}

fn check_block_io(at: &Place<'_>, block_io: &BlockIo) -> Result<(), ConfigError> {
    check_weights(at, block_io.weight, block_io.leaf_weight)?;
    let weights = at.member("weightDevice");
    for (index, device) in block_io.weight_device.iter().enumerate() {
        let place = weights.element(index);
        check_numbers(&place, device.major, device.minor)?;
        check_weights(&place, device.weight, device.leaf_weight)?;
    }
    for (name, throttles) in [
        ("throttleReadBpsDevice", &block_io.throttle_read_bps_device),
        (
            "throttleWriteBpsDevice",
            &block_io.throttle_write_bps_device,
        ),
        (
            "throttleReadIOPSDevice",
            &block_io.throttle_read_iops_device,
        ),
        (
            "throttleWriteIOPSDevice",
            &block_io.throttle_write_iops_device,
        ),
    ] {
        let list = at.member(name);
        for (index, device) in throttles.iter().enumerate() {
            check_numbers(&list.element(index), device.major, device.minor)?;
        }
    }
    Ok(())
}

/// 0 means "not set", as in runc.
fn check_weights(
    at: &Place<'_>,
    weight: Option<u16>,
    leaf_weight: Option<u16>,
) -> Result<(), ConfigError> {
    for (name, weight) in [("weight", weight), ("leafWeight", leaf_weight)] {
        if let Some(weight) = weight
            && weight != 0
            && !(10..=1000).contains(&weight)
        {
            return Err(at
                .member(name)
                .error(format_args!("{weight} is out of range (10 to 1000)")));
        }
    }
    Ok(())
}

fn check_numbers(at: &Place<'_>, major: i64, minor: i64) -> Result<(), ConfigError> {
    for (name, number) in [("major", major), ("minor", minor)] {
        if !(0..=i64::from(u32::MAX)).contains(&number) {
            return Err(at
                .member(name)
                .error(format_args!("{number} is out of range (0 to {})", u32::MAX)));
        }
    }
    Ok(())
}

fn check_hugepages(at: &Place<'_>, limits: &[HugepageLimit<'_>]) -> Result<(), ConfigError> {
    for (index, limit) in limits.iter().enumerate() {
        if !is_page_size(&limit.page_size) {
            return Err(at.element(index).member("pageSize").error(format_args!(
                "{:?} is not the size of a page such as \"64KB\", \"2MB\" or \"1GB\"",
                limit.page_size
            )));
        }
    }
    Ok(())
}

/// A number that does not start with 0, and KB, MB or GB: the kernel names its
/// files so.
fn is_page_size(text: &str) -> bool {
    let number = ["KB", "MB", "GB"]
        .iter()
        .find_map(|unit| text.strip_suffix(unit));
    number.is_some_and(|number| {
        !number.is_empty()
            && !number.starts_with('0')
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn check_unified(at: &Place<'_>, unified: &Map<'_, Text<'_>>) -> Result<(), ConfigError> {
    for key in unified.keys() {
        if key.is_empty() || key.contains('/') || matches!(key.as_str(), "." | "..") {
            return Err(at.member(key).error(format_args!(
                "{:?} is not the name of a cgroup file such as \"memory.high\"",
                key
            )));
        }
    }
    Ok(())
}
