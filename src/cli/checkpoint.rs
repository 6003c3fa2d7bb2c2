//! `checkpoint`, and what `restore` shares with it.

use std::path::absolute;

use anyhow::{Context as _, Result};

use super::args::{Checkpoint, Global};
use super::context;
use crate::checkpoint::{Options, dump};

/// Writes a checkpoint of a container.
///
/// # Errors
/// Why there is none.
pub fn checkpoint(global: &Global, args: Checkpoint) -> Result<()> {
    let entry = context::entry(global, &args.id)?;
    let mut request = args.request;
    request.options = options(request.options)?;
    Ok(dump::checkpoint(&entry, &request)?)
}

/// What both verbs are told, with paths that hold in every directory.
///
/// # Errors
/// There is no current directory.
pub fn options(given: Options) -> Result<Options> {
    let work_path = given.work_path.map(absolute).transpose();
    Ok(Options {
        image_path: absolute(given.image_path).context("--image-path")?,
        work_path: work_path.context("--work-path")?,
        ..given
    })
}
