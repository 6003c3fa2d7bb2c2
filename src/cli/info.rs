//! `info`: the host.

use anyhow::Result;
use serde_json::Value;

use super::args::Info;
use super::print;
use crate::config::printable;
use crate::examine::show::object;
use crate::host::{self, Fact, Verdict};

/// Prints what the host has, with a verdict on each fact.
///
/// # Errors
/// write(2).
pub fn info(args: &Info) -> Result<()> {
    let facts = host::facts();
    match args.json {
        true => print::line(&as_json(&facts)),
        false => print::text(&as_text(&facts)),
    }
}

fn as_text(facts: &[Fact]) -> String {
    let mut text = format!("corten {}\n", env!("CARGO_PKG_VERSION"));
    if let Some(commit) = option_env!("CORTEN_COMMIT") {
        text += &format!("commit {commit}\n");
    }
    let mut group = "";
    for fact in facts {
        if group != fact.group {
            group = fact.group;
            text += &format!("\n{group}\n");
        }
        let value = printable(&fact.value);
        text += &format!("  {:<8}{}: {value}\n", fact.verdict.word(), fact.name);
        if !fact.advice.is_empty() {
            text += &format!("          {}\n", fact.advice);
        }
    }
    let count = |verdict| facts.iter().filter(|fact| fact.verdict == verdict).count();
    text + &format!(
        "\n{} ok, {} warnings, {} missing\n",
        count(Verdict::Ok),
        count(Verdict::Warn),
        count(Verdict::Missing)
    )
}

fn as_json(facts: &[Fact]) -> String {
    let facts: Vec<Value> = facts
        .iter()
        .map(|fact| {
            object(vec![
                ("group", fact.group.into()),
                ("name", fact.name.into()),
                ("value", fact.value.as_str().into()),
                ("verdict", fact.verdict.word().into()),
                ("advice", fact.advice.into()),
            ])
        })
        .collect();
    let whole = object(vec![
        ("version", env!("CARGO_PKG_VERSION").into()),
        (
            "commit",
            option_env!("CORTEN_COMMIT").map_or(Value::Null, Value::from),
        ),
        ("spec", super::args::SPEC_VERSION.into()),
        ("facts", facts.into()),
    ]);
    format!("{whole:#}")
}
