//! Where systemd is spoken to (D-Bus specification, "Server Addresses").

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::net::SocketAddrUnix;

/// The end of the name of systemd's own sockets: who connects there speaks to systemd alone.
const PRIVATE: &str = "/systemd/private";

/// A place to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) socket: SocketAddrUnix,
    /// For messages.
    pub(super) shown: String,
    /// Whether a broker is in between, which wants to be greeted first.
    pub(super) broker: bool,
}

/// What the surroundings say of buses.
pub(super) struct Surroundings {
    /// `$DBUS_SESSION_BUS_ADDRESS`, or `$DBUS_SYSTEM_BUS_ADDRESS`.
    pub(super) address: Option<String>,
    /// `$XDG_RUNTIME_DIR`.
    pub(super) runtime_dir: Option<String>,
    /// The effective user.
    pub(super) uid: u32,
}

impl Surroundings {
    pub(super) fn find(user: bool) -> Surroundings {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Surroundings {
            address: var(match user {
                true => "DBUS_SESSION_BUS_ADDRESS",
                false => "DBUS_SYSTEM_BUS_ADDRESS",
            }),
            runtime_dir: var("XDG_RUNTIME_DIR"),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// The addresses of a user's systemd or the system's, to be tried in this order. Root speaks to
    /// systemd directly, as systemctl does: with many containers the broker is the slowest on the
    /// way, and it need not be there at all.
    pub(super) fn addresses(&self, user: bool) -> Vec<Address> {
        let mut addresses = self.address.as_deref().map(parse).unwrap_or_default();
        let paths = if user {
            let default = || format!("/run/user/{}", self.uid);
            let dir = self.runtime_dir.clone().unwrap_or_else(default);
            [format!("{dir}/bus"), format!("{dir}{PRIVATE}")]
        } else {
            ["/run/systemd/private", "/run/dbus/system_bus_socket"].map(str::to_owned)
        };
        for path in paths {
            addresses.extend(at(path.as_bytes()));
        }
        addresses
    }
}

fn at(path: &[u8]) -> Option<Address> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    Some(Address {
        socket: SocketAddrUnix::new(path).ok()?,
        shown: path.display().to_string(),
        broker: !path.as_os_str().as_bytes().ends_with(PRIVATE.as_bytes()),
    })
}

/// The sockets of an address list; other transports are left out.
fn parse(list: &str) -> Vec<Address> {
    let mut addresses = Vec::new();
    for entry in list.split(';') {
        let Some(values) = entry.strip_prefix("unix:") else {
            continue;
        };
        for pair in values.split(',') {
            match pair.split_once('=') {
                Some(("path", path)) => addresses.extend(unescape(path).and_then(|path| at(&path))),
                Some(("abstract", name)) => addresses.extend(unescape(name).and_then(|name| {
                    Some(Address {
                        socket: SocketAddrUnix::new_abstract_name(&name).ok()?,
                        shown: format!("@{}", String::from_utf8_lossy(&name)),
                        broker: true,
                    })
                })),
                _ => {}
            }
        }
    }
    addresses
}

/// A value in which bytes may be written as `%` and two digits.
fn unescape(value: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                (digit(rest.next())? * 16 + digit(rest.next())?) as u8
            }
            byte => byte,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: Option<&str>, runtime_dir: Option<&str>, user: bool) -> Vec<String> {
        let surroundings = Surroundings {
            address: address.map(str::to_owned),
            runtime_dir: runtime_dir.map(str::to_owned),
            uid: 7,
        };
        surroundings
            .addresses(user)
            .into_iter()
            .map(|a| format!("{}{}", a.shown, if a.broker { "" } else { "!" }))
            .collect()
    }

    #[test]
    fn systemd_is_looked_for_where_it_is() {
        let system = ["/run/systemd/private!", "/run/dbus/system_bus_socket"];
        assert_eq!(shown(None, Some("/x"), false), system);
        assert_eq!(
            shown(None, None, true),
            ["/run/user/7/bus", "/run/user/7/systemd/private!"]
        );
        assert_eq!(
            shown(
                Some("unix:path=/a%2cb,guid=1;tcp:host=x;unix:abstract=/q"),
                Some("/x"),
                true
            ),
            ["/a,b", "@/q", "/x/bus", "/x/systemd/private!"]
        );
        for none in [
            "",
            "unix:",
            "unix:path=%2",
            "unix:path=%zz",
            "unix:dir=/x",
            "path=/x",
        ] {
            assert_eq!(shown(Some(none), None, false), system, "{none}");
        }
        let long = format!("unix:path=/{}", "x".repeat(200));
        assert_eq!(shown(Some(&long), None, false), system);
    }
}
