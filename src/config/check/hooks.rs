//! `hooks`.

use crate::config::error::{ConfigError, Warning};
use crate::config::place::Place;
use crate::config::spec::{Hook, Hooks};

use super::paths;
use super::process;

/// Checks the hooks of all six kinds.
pub(super) fn check(
    at: &Place<'_>,
    hooks: &Hooks<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ConfigError> {
    for (kind, list) in hooks.kinds() {
        let place = at.member(kind);
        for (index, hook) in list.iter().enumerate() {
            check_hook(&place.element(index), hook, warnings)?;
        }
    }
    Ok(())
}

fn check_hook(
    at: &Place<'_>,
    hook: &Hook<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ConfigError> {
    paths::require_absolute(&at.member("path"), "the hook's path", &hook.path)?;
    if let Some(timeout) = hook.timeout
        && timeout <= 0
    {
        return Err(at
            .member("timeout")
            .error(format_args!(
                "{timeout} seconds are out of range (1 or more)"
            ))
            .with_hint("leave it out for no timeout"));
    }
    let env = at.member("env");
    for (index, variable) in hook.env.iter().flatten().enumerate() {
        // runc hands them on as they are.
        if let Err(problem) = process::check_variable(variable) {
            warnings.push(env.element(index).warning(problem));
        }
    }
    Ok(())
}
