//! `linux.intelRdt`.

use crate::config::error::ConfigError;
use crate::config::place::Place;
use crate::config::spec::IntelRdt;

/// Checks the group's name and the lines for its schemata file.
pub(super) fn check(at: &Place<'_>, rdt: &IntelRdt<'_>) -> Result<(), ConfigError> {
    if let Some(name) = &rdt.clos_id
        // "/" alone is the default class (runc 1.4).
        && *name != "/"
        && (matches!(name.as_str(), "." | "..") || name.contains(['/', '\n']))
    {
        return Err(at.member("closID").error(format_args!(
            "{name:?} is not the name of a class of service (one directory name, or \"/\")"
        )));
    }
    let schemata = at.member("schemata");
    for (index, line) in rdt.schemata.iter().enumerate() {
        if line.contains('\n') {
            return Err(schemata
                .element(index)
                .error("one element is one line: there is a line break in it"));
        }
    }
    if let Some(schema) = &rdt.mem_bw_schema
        && (!schema.starts_with("MB:") || schema.contains('\n'))
    {
        return Err(at.member("memBwSchema").error(format_args!(
            "{schema:?} is not one line that starts with \"MB:\""
        )));
    }
    Ok(())
}
