//! Moving devices into a network namespace, and back when a launch is undone.
//!
//! While a launch is under way the namespace is held by a mount of it in the
//! container's state directory. Without it a device would be gone with the init: the
//! kernel destroys most virtual ones together with their namespace. So whoever undoes
//! the launch, be it `delete --force` after the runtime was killed, finds them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};
use serde::{Deserialize, Serialize};

use super::message::{Address, Link, Request};
use super::socket::Socket;
use crate::config::ConfigError;
use crate::plan::network::{NetDevice, pointer};
use crate::sys::process::setns;
use crate::sys::{Errno, Result as SysResult, errno_text};

/// The mount that holds the namespace, in the state directory.
const HELD: &str = "netns";

const NEWNET: u64 = libc::CLONE_NEWNET as u64;
const UP: u32 = libc::IFF_UP as u32;

/// A device that is moved, as it was on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name on the host.
    pub host: String,
    /// Its name inside.
    pub inside: String,
    /// Its hardware address, which tells it from another that has taken its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hardware: Vec<u8>,
    /// Its number on the host, which tells it from another where there is no such address
    /// (tun, tunnels): the kernel keeps it over a move, unless it is taken there.
    #[serde(default)]
    pub index: i32,
    /// Whether it was up.
    pub up: bool,
    /// Its permanent addresses of global scope: a move drops all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
}

/// Looks the devices up on the host. Nothing is changed.
///
/// # Errors
/// One that is not there or cannot be moved, with its pointer.
pub fn find(plans: &[NetDevice]) -> Result<Vec<Device>, ConfigError> {
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let whole = |errno| failed("/linux/netDevices", "look at the network devices", errno);
    let own = rustix::thread::capabilities(None).map_err(whole)?;
    if !own
        .effective
        .contains(rustix::thread::CapabilitySet::NET_ADMIN)
    {
        return Err(ConfigError::new(
            "/linux/netDevices",
            "moving network devices needs CAP_NET_ADMIN, which the runtime does not have",
        )
        .with_hint("a rootless container cannot have them"));
    }
    let mut socket = Socket::open().map_err(whole)?;
    plans
        .iter()
        .map(|plan| look_up(&mut socket, plan))
        .collect()
}

fn look_up(socket: &mut Socket, plan: &NetDevice) -> Result<Device, ConfigError> {
    let at = |errno| failed(plan.pointer(), "look at the network device", errno);
    let Some(link) = socket.link(&plan.host).map_err(at)? else {
        return Err(ConfigError::new(
            plan.pointer(),
            format!(
                "there is no network device \"{}\" in the runtime's network namespace",
                plan.host
            ),
        ));
    };
    if link.flags & libc::IFF_LOOPBACK as u32 != 0 {
        return Err(ConfigError::new(
            plan.pointer(),
            "a loopback device cannot be moved: every network namespace has its own",
        ));
    }
    Ok(Device {
        host: plan.host.clone(),
        inside: plan.inside.clone(),
        hardware: link.hardware,
        index: link.index,
        up: link.flags & UP != 0,
        addresses: socket.addresses(link.index).map_err(at)?,
    })
}

/// Holds a network namespace for as long as its devices may have to come back.
///
/// # Errors
/// A file or a mount that cannot be made; the namespace is the runtime's own.
pub fn hold(dir: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<(), ConfigError> {
    let at = |errno| {
        failed(
            "/linux/netDevices",
            "hold the container's network namespace",
            errno,
        )
    };
    let own = own_namespace().map_err(at)?;
    if same(own.as_fd(), namespace).map_err(at)? {
        return Err(ConfigError::new(
            "/linux/netDevices",
            "the container's network namespace is the runtime's own: there is nowhere to move to",
        ));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, HELD, flags, Mode::from_raw_mode(0o600)).map_err(at)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(namespace, c"", flags).map_err(at)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&tree, c"", &file, c"", flags).map_err(at)
}

/// The names of the devices in a namespace.
///
/// # Errors
/// The namespace cannot be entered or looked at.
pub fn names(namespace: BorrowedFd<'_>) -> Result<Vec<String>, ConfigError> {
    open_in(namespace)
        .and_then(|mut socket| socket.names())
        .map_err(|errno| {
            failed(
                "/linux/netDevices",
                "look at the devices of the container's network namespace",
                errno,
            )
        })
}

/// Moves the devices into the namespace, gives them their new names and their old
/// addresses, and sets them up.
///
/// # Errors
/// The first that cannot be moved; what was moved before stays for [`restore`].
pub fn move_in(devices: &[Device], namespace: BorrowedFd<'_>) -> Result<(), ConfigError> {
    let whole = |errno| {
        failed(
            "/linux/netDevices",
            "enter the container's network namespace",
            errno,
        )
    };
    let mut outside = Socket::open().map_err(whole)?;
    let mut inside = open_in(namespace).map_err(whole)?;
    for device in devices {
        let at = |what: &str, errno| failed(pointer(&device.host), what, errno);
        let link = match outside.link(&device.host) {
            Ok(Some(link)) => link,
            Ok(None) => return Err(at("move the network device", Errno::NODEV)),
            Err(errno) => return Err(at("look at the network device", errno)),
        };
        outside
            .act(
                change_namespace(&link, &device.inside, namespace)
                    .map_err(|m| at("name the network device", m))?,
            )
            .map_err(|errno| move_error(device, errno))?;
        configure(&mut inside, device, &device.inside, true)
            .map_err(|errno| at("set up the network device inside", errno))?;
    }
    Ok(())
}

/// One request moves and renames, so that the new name clashes with none outside.
fn change_namespace(link: &Link, name: &str, to: BorrowedFd<'_>) -> SysResult<Request> {
    let request = Request::link(libc::RTM_NEWLINK, link.index, 0, 0)
        .with(libc::IFLA_NET_NS_FD, &to.as_raw_fd().to_ne_bytes())?
        .named(libc::IFLA_IFNAME, name)?;
    Ok(request)
}

/// Gives a device its addresses, but for those that it has, and sets it up.
fn configure(socket: &mut Socket, device: &Device, name: &str, up: bool) -> SysResult<()> {
    let link = socket.link(name)?.ok_or(Errno::NODEV)?;
    for address in &device.addresses {
        match socket.act(address.add(link.index, &device.host, name)?) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    if up && link.flags & UP == 0 {
        socket.act(Request::link(libc::RTM_NEWLINK, link.index, UP, UP))?;
    }
    Ok(())
}

/// Brings devices back that a launch has moved which is undone: to the host, with
/// their old names and addresses, and up if they were. Those that never left are not
/// touched. It can be repeated. What cannot be done is logged: the launch has failed
/// already, and what stays in the way should not keep the rest from being removed.
///
/// Nothing happens where no namespace is held.
pub fn restore(dir: BorrowedFd<'_>, devices: &[Device]) {
    let Some(namespace) = held(dir) else { return };
    let sockets = || {
        let own = own_namespace()?;
        Ok((own, Socket::open()?, open_in(namespace.as_fd())?))
    };
    let (own, mut outside, mut inside) = match sockets() {
        Ok(sockets) => sockets,
        Err(errno) => {
            let errno: Errno = errno;
            log::warn!(
                "cannot bring the network devices back: {}",
                errno_text(errno.raw_os_error())
            );
            return;
        }
    };
    for device in devices.iter().rev() {
        if let Err(errno) = restore_one(device, own.as_fd(), &mut outside, &mut inside) {
            log::warn!(
                "cannot bring the network device {} back: {}",
                device.host,
                errno_text(errno.raw_os_error())
            );
        }
    }
}

fn restore_one(
    device: &Device,
    own: BorrowedFd<'_>,
    outside: &mut Socket,
    inside: &mut Socket,
) -> SysResult<()> {
    let index = device.index;
    let same = |link: &Link| link.hardware == device.hardware;
    let is_ours = |link: &Link| same(link) && (!link.hardware.is_empty() || link.index == index);
    match outside.link(&device.host)? {
        // It never left, or came back when this was done before and cut short.
        Some(link) if is_ours(&link) => {}
        Some(_) => return Err(Errno::EXIST),
        None => {
            // Where another has its number it got a new one, and its name has to do.
            let renumbered = device.hardware.is_empty()
                && inside
                    .link_numbered(index)?
                    .is_some_and(|other| other.name != device.inside && other.name != device.host);
            let is_ours = |link: &Link| is_ours(link) || (renumbered && same(link));
            // The kernel may have moved it and then failed to rename it.
            let mut link = inside.link(&device.inside)?.filter(is_ours);
            if link.is_none() {
                link = inside.link(&device.host)?.filter(is_ours);
            }
            let link = link.ok_or(Errno::NODEV)?;
            inside.act(change_namespace(&link, &device.host, own)?)?;
        }
    }
    configure(outside, device, &device.host, device.up)
}

/// Lets the namespace go; says whether one was held. `path` is the state directory's.
pub fn release(dir: BorrowedFd<'_>, path: &Path) -> bool {
    let is_held = held(dir).is_some();
    if is_held {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        if let Err(errno) = rustix::mount::unmount(path.join(HELD), flags) {
            log::warn!(
                "cannot unmount {}: {}",
                path.join(HELD).display(),
                errno_text(errno.raw_os_error())
            );
        }
    }
    let _ = rustix::fs::unlinkat(dir, HELD, AtFlags::empty());
    is_held
}

/// The namespace that is held, if one is.
fn held(dir: BorrowedFd<'_>) -> Option<OwnedFd> {
    /// `NSFS_MAGIC` of linux/magic.h.
    const NSFS: rustix::fs::FsWord = 0x6e73_6673;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(dir, HELD, flags, Mode::empty()).ok()?;
    let kind = rustix::fs::fstatfs(&file).ok()?.f_type;
    (kind == NSFS).then_some(file)
}

/// A socket in another namespace; the process is back in its own afterwards.
fn open_in(namespace: BorrowedFd<'_>) -> SysResult<Socket> {
    let own = own_namespace()?;
    setns(namespace, NEWNET)?;
    let socket = Socket::open();
    setns(own.as_fd(), NEWNET)?;
    socket
}

fn own_namespace() -> SysResult<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, c"/proc/self/ns/net", flags, Mode::empty())
}

fn same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> SysResult<bool> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

fn failed(pointer: impl Into<String>, what: &str, errno: Errno) -> ConfigError {
    let why = errno_text(errno.raw_os_error());
    ConfigError::new(pointer, format!("cannot {what}: {why}"))
}

fn move_error(device: &Device, errno: Errno) -> ConfigError {
    let error = failed(pointer(&device.host), "move the network device", errno);
    match errno {
        Errno::INVAL | Errno::OPNOTSUPP => {
            error.with_hint("the kernel keeps devices of its kind in their namespace")
        }
        Errno::EXIST => error.with_hint(format!(
            "the container's network namespace already has a device \"{}\"",
            device.inside
        )),
        Errno::PERM => error.with_hint(
            "it needs CAP_NET_ADMIN over the host's network namespace and the container's",
        ),
        _ => error,
    }
}
