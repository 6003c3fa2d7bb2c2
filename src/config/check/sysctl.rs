//! `linux.sysctl`: only what belongs to one of the container's namespaces.

use crate::config::error::ConfigError;
use crate::config::names;
use crate::config::place::Place;
use crate::config::spec::{Map, Text};
use crate::config::sysctl;

use super::namespaces::{Kind, Namespaces};

/// Whose a kernel parameter is.
enum Owner {
    Namespace(Kind),
    /// `kernel.hostname`, for which config.json has a member of its own.
    HostnameMember,
    Host,
}

/// Checks the keys. Whether a network namespace that is joined is the host's
/// own shows when it is opened.
pub(super) fn check(
    at: &Place<'_>,
    parameters: &Map<'_, Text<'_>>,
    namespaces: &Namespaces<'_, '_>,
) -> Result<(), ConfigError> {
    for key in parameters.keys() {
        let place = at.member(key);
        if !sysctl::is_well_formed(key) {
            return Err(place.error(format_args!(
                "sysctl {:?} is not a name such as net.ipv4.ip_forward",
                key
            )));
        }
        match owner(key) {
            Owner::Namespace(kind) if namespaces.has(kind) => {}
            Owner::Namespace(kind) => {
                let name = names::NAMESPACES.get(kind as usize).unwrap_or(&"");
                return Err(place
                    .error(format_args!(
                        "sysctl {key:?} is not allowed in the host's {name} namespace"
                    ))
                    .with_hint(format!("add {{\"type\": \"{name}\"}} to /linux/namespaces")));
            }
            Owner::HostnameMember => {
                return Err(place
                    .error(format_args!(
                        "sysctl {key:?} is not allowed as it conflicts with the OCI \"hostname\" \
                         field"
                    ))
                    .with_hint("set /hostname"));
            }
            // The words that people search for.
            Owner::Host => {
                return Err(place
                    .error(format_args!(
                        "sysctl {key:?} is not in a separate kernel namespace"
                    ))
                    .with_hint("set it on the host"));
            }
        }
    }
    Ok(())
}

/// The parameters that are per namespace, as runc 1.5 has them.
fn owner(key: &str) -> Owner {
    let mut components = sysctl::components(key);
    let first = components.next().unwrap_or("");
    let second = components.next().unwrap_or("");
    let is_leaf = components.next().is_none();
    match (first, second) {
        (
            "kernel",
            "msgmax" | "msgmnb" | "msgmni" | "sem" | "shmall" | "shmmax" | "shmmni"
            | "shm_rmid_forced",
        ) if is_leaf => Owner::Namespace(Kind::Ipc),
        ("kernel", "domainname") if is_leaf => Owner::Namespace(Kind::Uts),
        ("kernel", "hostname") if is_leaf => Owner::HostnameMember,
        ("fs", "mqueue") if !is_leaf => Owner::Namespace(Kind::Ipc),
        ("net", name) if !name.is_empty() => Owner::Namespace(Kind::Network),
        ("user", name) if !name.is_empty() => Owner::Namespace(Kind::User),
        _ => Owner::Host,
    }
}
