//! The other JSON that is read: the record of a container (state.json), which an older or
//! newer version may have written, and the process of `exec --process`.
#![no_main]

use corten::config;
use corten::container::{State, Status};
use corten_fuzz::{mutate, require_clear, require_clear_warnings};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::structure(data, size, max_size, seed)
        .unwrap_or_else(|| fuzzer_mutate(data, size, max_size))
});

fuzz_target!(|text: &[u8]| {
    record(text);
    let checked = config::parse_process(text).and_then(|process| config::check_process(&process));
    match checked {
        Ok(warnings) => require_clear_warnings(&warnings, text),
        Err(error) => require_clear(&error, text),
    }
});

/// What is read means the same when it was written and is read again, and what hooks and
/// `state` get of it is JSON.
fn record(text: &[u8]) {
    let Ok(state) = serde_json::from_slice::<State>(text) else {
        return;
    };
    let written = serde_json::to_vec(&state).expect("a record can be written");
    let again: State = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(state, again);
    let (head, tail) = state.for_hooks_around_pid(Status::Creating);
    let whole = format!("{head}1{tail}");
    let shown: serde_json::Value = serde_json::from_str(&whole).expect("hooks get JSON");
    assert_eq!(shown["pid"], 1);
    assert_eq!(shown["id"], serde_json::Value::from(state.id.as_str()));
}
