//! The smaller members of `linux.resources`: pids, hugepageLimits, network, rdma and unified.

use std::borrow::Cow;

use super::builder::{Builder, Place};
use super::{Missing, ResourceError, Version};
use crate::config::spec::Resources;

const PIDS: &str = "/linux/resources/pids/limit";
const CLASS_ID: &str = "/linux/resources/network/classID";
const UNIFIED: &str = "/linux/resources/unified";

pub(super) fn plan(b: &mut Builder, resources: &Resources) -> Result<(), ResourceError> {
    plan_pids(b, resources)?;
    plan_huge_pages(b, resources)?;
    plan_network(b, resources)?;
    plan_rdma(b, resources)?;
    plan_unified(b, resources)
}

fn plan_pids(b: &mut Builder, resources: &Resources) -> Result<(), ResourceError> {
    let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) else {
        return Ok(());
    };
    let place = b.place("pids", "pids", PIDS)?;
    // 0 is a limit, since runc 1.4: no further task. It is set after the init has joined.
    let value = if limit < 0 {
        "max".to_owned()
    } else {
        limit.to_string()
    };
    b.write(place, "pids.max", value, PIDS);
    Ok(())
}

fn plan_huge_pages(b: &mut Builder, resources: &Resources) -> Result<(), ResourceError> {
    for (index, page) in resources.hugepage_limits.iter().enumerate() {
        let at = format!("/linux/resources/hugepageLimits/{index}");
        let size = page.page_size.as_str();
        let digits = size.trim_end_matches(|c: char| c.is_ascii_uppercase());
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            let message = format!("\"{size}\" is not a page size such as \"2MB\" or \"1GB\"");
            return Err(ResourceError::new(format!("{at}/pageSize"), message));
        }
        let at = Cow::Owned(format!("{at}/limit"));
        let place = b.place("hugetlb", "hugetlb", &at)?;
        let suffix = match place.version {
            Version::V1 => "limit_in_bytes",
            Version::V2 => "max",
        };
        b.write(
            place,
            format!("hugetlb.{size}.{suffix}"),
            page.limit,
            at.clone(),
        );
        // Reservations are limited apart since Linux 5.7.
        b.write(
            place,
            format!("hugetlb.{size}.rsvd.{suffix}"),
            page.limit,
            at,
        )
        .missing = Missing::Skip;
    }
    Ok(())
}

fn plan_network(b: &mut Builder, resources: &Resources) -> Result<(), ResourceError> {
    let Some(network) = resources.network.as_ref() else {
        return Ok(());
    };
    // 0 is "not set" to runc.
    let class_id = network.class_id.filter(|class_id| *class_id != 0);
    if b.pure_v2().is_some() {
        if class_id.is_some() || !network.priorities.is_empty() {
            b.warn(
                "/linux/resources/network",
                "ignored: cgroup v2 has no network controllers",
            );
        }
        return Ok(());
    }
    if let Some(class_id) = class_id {
        let place = b.place("net_cls", "net_cls", CLASS_ID)?;
        b.write(place, "net_cls.classid", class_id, CLASS_ID);
    }
    for (index, interface) in network.priorities.iter().enumerate() {
        let at = Cow::Owned(format!("/linux/resources/network/priorities/{index}"));
        let place = b.place("net_prio", "net_prio", &at)?;
        let value = format!("{} {}", interface.name, interface.priority);
        b.write(place, "net_prio.ifpriomap", value, at);
    }
    Ok(())
}

fn plan_rdma(b: &mut Builder, resources: &Resources) -> Result<(), ResourceError> {
    for (device, limits) in &resources.rdma {
        let at = Cow::Owned(format!("/linux/resources/rdma/{}", escape(device)));
        let mut value = device.to_string();
        if let Some(handles) = limits.hca_handles {
            value += &format!(" hca_handle={handles}");
        }
        if let Some(objects) = limits.hca_objects {
            value += &format!(" hca_object={objects}");
        }
        if value.len() == device.len() {
            continue;
        }
        let place = b.place("rdma", "rdma", &at)?;
        b.write(place, "rdma.max", value, at);
    }
    Ok(())
}

fn plan_unified(b: &mut Builder, resources: &Resources) -> Result<(), ResourceError> {
    if resources.unified.is_empty() {
        return Ok(());
    }
    const V1: &str = "the host uses cgroup v1, and this property needs cgroup v2";
    let Some(directory) = b.unified() else {
        return Err(ResourceError::new(UNIFIED, V1));
    };
    for (file, value) in &resources.unified {
        let at = Cow::Owned(format!("{UNIFIED}/{}", escape(file)));
        let controller = match file.split_once('.') {
            Some((controller, name))
                if !controller.is_empty() && !name.is_empty() && !file.contains('/') =>
            {
                controller
            }
            _ => {
                let message = format!("\"{file}\" is not a file name such as \"memory.high\"");
                return Err(ResourceError::new(at, message));
            }
        };
        // `cgroup.*` belongs to no controller. Beside v1, v2 may have the others.
        let place = match controller {
            "cgroup" => Place {
                version: Version::V2,
                directory,
            },
            _ => b.place(controller, controller, &at)?,
        };
        if place.version == Version::V1 {
            return Err(ResourceError::new(at, V1));
        }
        for line in value.split('\n').filter(|line| !line.is_empty()) {
            b.write(place, file.to_string(), line, at.clone());
        }
    }
    Ok(())
}

/// A key as a component of a JSON pointer (RFC 6901, section 3).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
