//! `delete`.

use anyhow::Result;

use super::args::{Delete, Global};
use super::context;
use crate::container::delete::DeleteError;
use crate::container::{self, Id, Store, StoreError};
use crate::launch::hooks;

/// Removes what is left of containers; gives the exit code. A failure is a line, and the
/// others are removed all the same.
///
/// # Errors
/// The last failure; those before it are told already. With `--force`, a container that is
/// not there is none.
pub fn delete(global: &Global, args: &Delete) -> Result<()> {
    let store = context::store(global)?;
    if args.regex {
        let ids = context::matching(&store, &args.ids)?;
        return context::each(&ids, |id| one(&store, id, true, args.force));
    }
    context::each(&args.ids, |id| {
        one(&store, &Id::new(id)?, false, args.force)
    })
}

/// `found` is one that was there a moment ago.
fn one(store: &Store, id: &Id, found: bool, force: bool) -> Result<()> {
    let forgiving = force || found;
    let entry = match store.open(id) {
        Err(StoreError::Missing(_)) if forgiving => return Ok(()),
        result => result?,
    };
    match container::delete::delete(&entry, force) {
        // Another delete was quicker.
        Err(DeleteError::Store(StoreError::Missing(_))) if forgiving => {}
        result => {
            if let Some(state) = result? {
                hooks::poststop(&state);
            }
        }
    }
    Ok(())
}
