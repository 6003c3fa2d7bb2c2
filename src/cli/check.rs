//! `check`: what is wrong with a bundle.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::args::{Check, Global, Rootless};
use super::{context, print};
use crate::config::printable;
use crate::examine::{self, Examination, Finding, Request, Severity, show};

/// Prints what is wrong with a bundle; the exit code is 1 if it cannot be run.
///
/// # Errors
/// There is no bundle that could be read.
pub fn check(global: &Global, args: &Check) -> Result<u8> {
    let bundle = args.bundle.clone().unwrap_or_else(|| ".".into());
    let request = Request {
        manager: context::manager(global)?,
        rootless: match global.rootless {
            Rootless::Auto => !rustix::process::geteuid().is_root(),
            Rootless::True => true,
            Rootless::False => false,
        },
        bundle,
    };
    let examination = examine::examine(&request)?;
    match args.json {
        true => print::line(&as_json(&request, &examination, args.plan)?)?,
        false => print::text(&as_text(&examination, args.plan))?,
    }
    Ok(u8::from(examination.count(Severity::Error) > 0))
}

fn as_text(examination: &Examination, plan: bool) -> String {
    let mut text = String::new();
    for finding in &examination.findings {
        text += &lines(finding);
    }
    if plan {
        text += &show::outline(&examination.plan);
    }
    let (errors, warnings) = (
        examination.count(Severity::Error),
        examination.count(Severity::Warning),
    );
    let verdict = match errors {
        0 => "this bundle can be run",
        _ => "this bundle cannot be run",
    };
    text + &format!("{verdict}: {errors} errors, {warnings} warnings\n")
}

/// One finding: what it is, and below it what stands there and how to mend it.
fn lines(finding: &Finding) -> String {
    let severity = word(finding.severity);
    let pointer = match finding.pointer.as_str() {
        "" => "config.json",
        pointer => pointer,
    };
    let mut text = format!(
        "{severity}: {}: {}\n",
        printable(pointer),
        printable(&finding.message)
    );
    if let Some(value) = &finding.value {
        text += &format!("  found: {}\n", printable(value));
    }
    if let Some(hint) = &finding.hint {
        text += &format!("  mend: {}\n", printable(hint));
    }
    text
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn as_json(request: &Request, examination: &Examination, plan: bool) -> Result<String> {
    let findings: Vec<Value> = examination
        .findings
        .iter()
        .map(|finding| {
            json!({
                "severity": word(finding.severity),
                "pointer": finding.pointer,
                "message": finding.message,
                "found": finding.value,
                "mend": finding.hint,
            })
        })
        .collect();
    let mut object = Map::new();
    let errors = examination.count(Severity::Error);
    object.insert("bundle".to_owned(), request.bundle.to_string_lossy().into());
    object.insert("ok".to_owned(), (errors == 0).into());
    object.insert("errors".to_owned(), errors.into());
    object.insert(
        "warnings".to_owned(),
        examination.count(Severity::Warning).into(),
    );
    object.insert("findings".to_owned(), findings.into());
    if plan {
        let sections = examination.plan.iter();
        let sections: Map<String, Value> = sections
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        object.insert("plan".to_owned(), sections.into());
    }
    Ok(serde_json::to_string_pretty(&object)?)
}
