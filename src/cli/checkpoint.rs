//! `checkpoint`, and what `restore` shares with it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::args::{Checkpoint, Global, Images};
use super::context;
use crate::checkpoint::{Options, dump};

/// Writes a checkpoint of a container.
///
/// # Errors
/// Why there is none.
pub fn checkpoint(global: &Global, args: Checkpoint) -> Result<()> {
    let entry = context::entry(global, &args.id)?;
    let request = dump::Request {
        options: options(args.images)?,
        parent_path: args.parent_path,
        leave_running: args.leave_running,
        tcp_skip_in_flight: args.tcp_skip_in_flight,
        link_remap: args.link_remap,
        status_fd: args.status_fd,
        page_server: args.page_server,
        pre_dump: args.pre_dump,
    };
    Ok(dump::checkpoint(&entry, &request)?)
}

/// What both verbs are told.
///
/// # Errors
/// There is no current directory.
pub fn options(args: Images) -> Result<Options> {
    let image_path = args
        .image_path
        .unwrap_or_else(|| PathBuf::from("checkpoint"));
    Ok(Options {
        image_path: std::path::absolute(image_path).context("--image-path")?,
        work_path: args
            .work_path
            .map(std::path::absolute)
            .transpose()
            .context("--work-path")?,
        tcp_established: args.tcp_established,
        ext_unix_sk: args.ext_unix_sk,
        shell_job: args.shell_job,
        file_locks: args.file_locks,
        lazy_pages: args.lazy_pages,
        auto_dedup: args.auto_dedup,
        cgroups_mode: args.cgroups_mode,
        network_lock: args.network_lock,
    })
}
