//! `linux.resources.blockIO`.

use std::borrow::Cow;

use super::builder::{Builder, Place};
use super::{Missing, ResourceError, Version};
use crate::config::spec::{BlockIo, ThrottleDevice, WeightDevice};

const BLOCK_IO: &str = "/linux/resources/blockIO";

pub(super) fn plan(b: &mut Builder, io: Option<&BlockIo>) -> Result<(), ResourceError> {
    let Some(io) = io else { return Ok(()) };
    plan_weights(b, io)?;
    for (name, devices, file, key) in throttles(io) {
        for (index, device) in devices.iter().enumerate() {
            let at = Cow::Owned(format!("{BLOCK_IO}/{name}/{index}"));
            let place = b.place("blkio", "io", &at)?;
            let ThrottleDevice { major, minor, rate } = device;
            match place.version {
                Version::V1 => b.write(place, file, format!("{major}:{minor} {rate}"), at),
                // v2 writes "max" for no limit, v1 0.
                Version::V2 if *rate == 0 => {
                    b.write(place, "io.max", format!("{major}:{minor} {key}=max"), at)
                }
                Version::V2 => {
                    b.write(place, "io.max", format!("{major}:{minor} {key}={rate}"), at)
                }
            };
        }
    }
    Ok(())
}

type Throttle<'s> = (
    &'static str,
    &'s [ThrottleDevice],
    &'static str,
    &'static str,
);

/// Each list with its name in config.json, its file on v1 and its key in v2's `io.max`.
fn throttles<'s>(io: &'s BlockIo) -> [Throttle<'s>; 4] {
    [
        (
            "throttleReadBpsDevice",
            &io.throttle_read_bps_device,
            "blkio.throttle.read_bps_device",
            "rbps",
        ),
        (
            "throttleWriteBpsDevice",
            &io.throttle_write_bps_device,
            "blkio.throttle.write_bps_device",
            "wbps",
        ),
        (
            "throttleReadIOPSDevice",
            &io.throttle_read_iops_device,
            "blkio.throttle.read_iops_device",
            "riops",
        ),
        (
            "throttleWriteIOPSDevice",
            &io.throttle_write_iops_device,
            "blkio.throttle.write_iops_device",
            "wiops",
        ),
    ]
}

fn plan_weights(b: &mut Builder, io: &BlockIo) -> Result<(), ResourceError> {
    if let Some((weight, at, place)) = checked(b, io.weight, || format!("{BLOCK_IO}/weight"))? {
        write_weight(b, place, None, weight, at);
    }
    if let Some((weight, at, place)) =
        checked(b, io.leaf_weight, || format!("{BLOCK_IO}/leafWeight"))?
    {
        write_leaf_weight(b, place, None, weight, at);
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let pointer = |name| format!("{BLOCK_IO}/weightDevice/{index}/{name}");
        if let Some((weight, at, place)) = checked(b, device.weight, || pointer("weight"))? {
            write_weight(b, place, Some(device), weight, at);
        }
        if let Some((weight, at, place)) = checked(b, device.leaf_weight, || pointer("leafWeight"))?
        {
            write_leaf_weight(b, place, Some(device), weight, at);
        }
    }
    Ok(())
}

/// A weight that is set (0 is "not set" to runc) and in the range of the specification.
fn checked(
    b: &mut Builder,
    weight: Option<u16>,
    pointer: impl FnOnce() -> String,
) -> Result<Option<(u16, String, Place)>, ResourceError> {
    let Some(weight) = weight.filter(|weight| *weight != 0) else {
        return Ok(None);
    };
    let at = pointer();
    if !(10..=1000).contains(&weight) {
        return Err(ResourceError::new(
            at,
            format!("{weight} is out of range: 10 to 1000"),
        ));
    }
    let place = b.place("blkio", "io", &at)?;
    Ok(Some((weight, at, place)))
}

/// The value of a weight file: for one device, or the default.
fn line(device: Option<&WeightDevice>, weight: u64) -> String {
    match device {
        Some(device) => format!("{}:{} {weight}", device.major, device.minor),
        None => weight.to_string(),
    }
}

fn write_weight(
    b: &mut Builder,
    place: Place,
    device: Option<&WeightDevice>,
    weight: u16,
    at: String,
) {
    let value = line(device, weight.into());
    match (place.version, device.is_some()) {
        // Linux 5.0 dropped the CFQ scheduler and its files; BFQ has its own.
        (Version::V1, false) => {
            b.write(place, "blkio.weight", value, at).missing =
                Missing::Instead("blkio.bfq.weight", value.clone());
        }
        (Version::V1, true) => {
            b.write(place, "blkio.weight_device", value, at).missing =
                Missing::Instead("blkio.bfq.weight_device", value.clone());
        }
        // The file of the BFQ scheduler has v1's range, that of io.cost its own.
        (Version::V2, _) => {
            let instead = line(device, io_weight(weight));
            b.write(place, "io.bfq.weight", value, at).missing =
                Missing::Instead("io.weight", instead);
        }
    }
}

fn write_leaf_weight(
    b: &mut Builder,
    place: Place,
    device: Option<&WeightDevice>,
    weight: u16,
    at: String,
) {
    if place.version == Version::V2 {
        b.warn(&at, "ignored: cgroup v2 has no leaf weight");
        return;
    }
    let file = if device.is_some() {
        "blkio.leaf_weight_device"
    } else {
        "blkio.leaf_weight"
    };
    b.write(place, file, line(device, weight.into()), at);
}

/// Turns a weight of 10 to 1000 into one of `io.weight`, 1 to 10000, linearly, as runc does.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}
