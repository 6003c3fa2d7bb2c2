//! `create`, and what `run` shares with it.

use std::time::SystemTime;

use anyhow::Result;

use super::args::{Create, Global};
use super::{context, time};
use crate::container::Id;
use crate::launch::{self, Mode, Request, notify};

/// Makes a container that waits for `start`.
///
/// # Errors
/// Why it cannot be made.
pub fn create(global: &Global, args: Create) -> Result<()> {
    let launched = launch::launch(&request(global, args, Mode::Create)?)?;
    // The process ends here, and the kernel closes all at once.
    std::mem::forget(launched);
    Ok(())
}

/// The launch that the flags describe.
///
/// # Errors
/// An id that is none, a manager that is not there.
pub fn request(global: &Global, args: Create, mode: Mode) -> Result<Request> {
    let (listen_fds, listen_env) = socket_activation();
    Ok(Request {
        id: Id::new(&args.id)?,
        root: context::root(global)?,
        manager: context::manager(global)?,
        rootless: context::rootless(global),
        bundle: args.bundle,
        config: args.config,
        console_socket: args.console_socket,
        pidfd_socket: args.pidfd_socket,
        pid_file: args.pid_file,
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        preserve_fds: args.preserve_fds.saturating_add(listen_fds),
        listen_env,
        notify: notify::host_socket().is_some(),
        mode,
        created: time::rfc3339_nano(SystemTime::now()),
    })
}

/// Descriptors that systemd passed for the container (sd_listen_fds(3)): how many,
/// and the environment that tells the program, which is process 1 to itself.
pub fn socket_activation() -> (u32, Vec<String>) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let for_us = || number("LISTEN_PID") == Some(std::process::id());
    match number("LISTEN_FDS") {
        Some(count) if count > 0 && for_us() => {
            let mut env = vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()];
            env.extend(
                std::env::var("LISTEN_FDNAMES")
                    .ok()
                    .map(|n| format!("LISTEN_FDNAMES={n}")),
            );
            (count, env)
        }
        _ => (0, Vec::new()),
    }
}
