//! A container as later verbs see it: its id, its record, its status.

pub mod delete;
pub mod events;
mod holder;
pub mod id;
pub mod kill;
pub mod pause;
pub mod state;
pub mod status;
pub mod store;
pub mod template;
pub mod update;
pub mod wait;
pub mod watch;

pub use id::{Id, InvalidId};
pub use state::State;
pub use status::Status;
pub use store::{Entry, Store, StoreError};
