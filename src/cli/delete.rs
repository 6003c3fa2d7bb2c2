//! `delete`.

use anyhow::Result;

use super::args::{Delete, Global};
use super::context;
use crate::container::delete::DeleteError;
use crate::container::{self, Id, State, Status, StoreError};
use crate::launch::hooks;

/// Removes what is left of containers.
///
/// # Errors
/// The first that cannot be removed. With `--force`, one that is not there is none.
pub fn delete(global: &Global, args: &Delete) -> Result<()> {
    let store = context::store(global)?;
    for id in &args.ids {
        let entry = match store.open(&Id::new(id)?) {
            Err(StoreError::Missing(_)) if args.force => continue,
            result => result?,
        };
        match container::delete::delete(&entry, args.force) {
            // Another delete was quicker.
            Err(DeleteError::Store(StoreError::Missing(_))) if args.force => {}
            result => {
                if let Some(state) = result? {
                    poststop(&state);
                }
            }
        }
    }
    Ok(())
}

/// Runs the poststop hooks. The spec: a failing one is a warning.
pub fn poststop(state: &State) {
    if state.poststop.is_empty() {
        return;
    }
    let text = serde_json::to_vec(&state.for_hooks(Status::Stopped, None)).unwrap_or_default();
    for error in hooks::run_all("poststop", &state.poststop, &text) {
        log::warn!("{error}");
    }
}
