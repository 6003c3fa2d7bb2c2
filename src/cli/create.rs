//! `create`, and what `run` shares with it.

use std::time::SystemTime;

use anyhow::Result;

use super::args::{Create, Global};
use super::{context, time};
use crate::container::Id;
use crate::launch::{self, Mode, Request};

/// Makes a container that waits for `start`.
///
/// # Errors
/// Why it cannot be made.
pub fn create(global: &Global, args: Create) -> Result<()> {
    launch::launch(&request(global, args, Mode::Create)?)?;
    Ok(())
}

/// The launch that the flags describe.
///
/// # Errors
/// An id that is none, a manager that is not there.
pub fn request(global: &Global, args: Create, mode: Mode) -> Result<Request> {
    Ok(Request {
        id: Id::new(&args.id)?,
        root: context::root(global)?,
        manager: context::manager(global)?,
        bundle: args.bundle,
        console_socket: args.console_socket,
        pidfd_socket: args.pidfd_socket,
        pid_file: args.pid_file,
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        preserve_fds: args.preserve_fds,
        mode,
        created: time::rfc3339_nano(SystemTime::now()),
    })
}
