//! `check`: what is wrong with a bundle.

use anyhow::Result;
use serde_json::Value;

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
            let text = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
            show::object(vec![
                ("severity", word(finding.severity).into()),
                ("pointer", finding.pointer.as_str().into()),
                ("message", finding.message.as_str().into()),
                ("found", text(&finding.value)),
                ("mend", text(&finding.hint)),
            ])
        })
        .collect();
    let errors = examination.count(Severity::Error);
    let warnings = examination.count(Severity::Warning);
    let mut members = vec![
        ("bundle", request.bundle.to_string_lossy().into()),
        ("ok", (errors == 0).into()),
        ("errors", errors.into()),
        ("warnings", warnings.into()),
        ("findings", findings.into()),
    ];
    if plan {
        members.push(("plan", show::object(examination.plan.clone())));
    }
    Ok(format!("{:#}", show::object(members)))
}
