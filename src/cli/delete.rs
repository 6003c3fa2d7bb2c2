//! `delete`.

use anyhow::Result;

use super::args::{Delete, Global};
use super::context;
use crate::container::delete::DeleteError;
use crate::container::{self, Id, StoreError};
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
                    hooks::poststop(&state);
                }
            }
        }
    }
    Ok(())
}
