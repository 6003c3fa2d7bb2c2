//! `watch`: the stream of state changes.

use std::time::SystemTime;

use anyhow::Result;
use serde::Serialize;

use super::args::{self, Global, ListFormat};
use super::{context, print, time};
use crate::container::watch::{Change, Watch};
use crate::container::{Id, InvalidId};

/// Prints what containers are, and each change, until those that were named are deleted.
///
/// # Errors
/// One that does not exist, or nothing can be watched.
pub fn watch(global: &Global, args: &args::Watch) -> Result<()> {
    follow(global, &args.ids, args.format)
}

/// The same for other verbs.
///
/// # Errors
/// As [`watch`].
pub fn follow(global: &Global, ids: &[String], format: ListFormat) -> Result<()> {
    // This may go on for months.
    crate::sys::alloc::reuse_memory();
    let ids: Vec<Id> = ids
        .iter()
        .map(|id| Id::new(id))
        .collect::<Result<_, InvalidId>>()?;
    let mut watch = Watch::new(context::store(global)?, &ids)?;
    if format == ListFormat::Table {
        print::text("TIME                            STATUS    PID      EXIT  ID\n")?;
    }
    while let Some(change) = watch.next_change()? {
        let time = time::rfc3339_nano(SystemTime::now());
        match format {
            ListFormat::Json => print::line(&serde_json::to_string(&Line::new(&change, &time))?)?,
            ListFormat::Table => print::text(&row(&change, &time))?,
        }
    }
    Ok(())
}

/// One line of JSON, in the shape of the lines of `events`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    r#type: &'static str,
    id: &'a str,
    status: &'static str,
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_status: Option<i32>,
    time: &'a str,
}

impl<'a> Line<'a> {
    fn new(change: &'a Change, time: &'a str) -> Line<'a> {
        Line {
            r#type: "state",
            id: &change.id,
            status: change.word(),
            pid: change.pid,
            exit_status: change.exit_status,
            time,
        }
    }
}

fn row(change: &Change, time: &str) -> String {
    let exit = change.exit_status.map(|code| code.to_string());
    format!(
        "{time:<30}  {:<8}  {:<7}  {:<4}  {}\n",
        change.word(),
        change.pid,
        exit.as_deref().unwrap_or("-"),
        change.id
    )
}
