//! `list`.

use anyhow::Result;

use super::args::{Global, List, ListFormat};
use super::{context, print};
use crate::container::{Entry, State, Status, StoreError, status};

/// Prints the containers there are.
///
/// # Errors
/// The state directory cannot be read.
pub fn list(global: &Global, args: &List) -> Result<()> {
    let store = context::store(global)?;
    let ids = store.ids()?;
    if args.quiet {
        return print::text(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    let mut containers: Vec<(State, Status)> = Vec::with_capacity(ids.len());
    let mut buffer = Vec::new();
    for id in ids {
        let read = |entry: Entry| status::read(&entry, &mut buffer);
        match store.open(&id).and_then(read) {
            Ok(container) => containers.push(container),
            // It went away meanwhile.
            Err(StoreError::Missing(_)) => {}
            Err(error) => log::error!("{error}"),
        }
    }
    match args.format {
        ListFormat::Json => json(&containers),
        ListFormat::Table => print::text(&table(&containers)),
    }
}

fn json(containers: &[(State, Status)]) -> Result<()> {
    let owners: Vec<String> = containers
        .iter()
        .map(|(s, _)| context::user_name(s.owner))
        .collect();
    let printed: Vec<_> = containers
        .iter()
        .zip(&owners)
        .map(|((state, status), owner)| state.printed(*status, owner))
        .collect();
    print::line(&serde_json::to_string(&printed)?)
}

/// runc's table: columns at least 12 wide, three spaces between them.
fn table(containers: &[(State, Status)]) -> String {
    let mut rows = vec![
        ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (state, status) in containers {
        let pid = if *status == Status::Stopped {
            0
        } else {
            state.pid
        };
        rows.push(vec![
            state.id.clone(),
            pid.to_string(),
            status.to_string(),
            state.bundle.clone(),
            state.created.clone(),
            context::user_name(state.owner),
        ]);
    }
    let columns = rows[0].len();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count() + 3)
            .max()
            .unwrap_or(0)
            .max(12)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == columns {
                text.push_str(cell);
            } else {
                text.push_str(&format!("{cell:<width$}", width = widths[column]));
            }
        }
        text.push('\n');
    }
    text
}
