//! Keeps docs/cli.md and clap's definitions in step: each command and each flag has one row, no
//! row is without one, and the tests that a row names are there.

use std::collections::{BTreeMap, BTreeSet};

use super::command;
use crate::config::coverage::{black_box_tests, quoted};

const PAGE: &str = include_str!("../../../docs/cli.md");

/// What clap knows: `create`, `create --bundle`, `--root`, each with its short form.
fn defined() -> BTreeMap<String, Option<String>> {
    let root = command();
    let mut found = BTreeMap::new();
    let mut add = |verb: &str, command: &clap::Command| {
        for arg in command.get_arguments() {
            if let Some(long) = arg.get_long() {
                let key = format!("{verb} --{long}").trim_start().to_owned();
                let short = arg.get_short().map(|short| format!("-{short}"));
                assert_eq!(found.insert(key, short), None, "{verb} --{long}");
            }
        }
    };
    add("", &root);
    for verb in root.get_subcommands() {
        add(verb.get_name(), verb);
    }
    let verbs = root.get_subcommands();
    found.extend(verbs.map(|verb| (verb.get_name().to_owned(), None)));
    found
}

/// The cells of the table's rows.
fn rows() -> Vec<Vec<&'static str>> {
    let (_, table) = PAGE.split_once("\n|---|---|---|---|---|\n").unwrap();
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    lines
        .map(|line| line.split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn every_command_and_flag_has_one_row_and_no_row_is_invented() {
    let mut missing = defined();
    let mut wrong = Vec::new();
    for row in rows() {
        let names = quoted(row[1]);
        let short = names.get(1).cloned();
        match missing.remove(&names[0]) {
            Some(known) if known == short => {}
            Some(known) => wrong.push(format!("{}: the short form is {known:?}", names[0])),
            None => wrong.push(format!("{}: twice, or not there", names[0])),
        }
    }
    let missing: Vec<&String> = missing.keys().collect();
    assert!(
        missing.is_empty(),
        "without a row in docs/cli.md: {missing:#?}"
    );
    assert!(wrong.is_empty(), "in docs/cli.md: {wrong:#?}");
}

#[test]
fn every_row_says_what_who_else_and_names_tests_that_there_are() {
    let tests: BTreeSet<String> = black_box_tests();
    assert!(tests.len() > 200, "tests are found");
    let mut wrong = Vec::new();
    for row in rows() {
        let [_, name, what, runc, crun, shown, _] = row[..] else {
            panic!("not a row of five cells: {row:?}");
        };
        if [what, runc, crun].iter().any(|cell| cell.is_empty()) {
            wrong.push(format!("{name}: an empty cell"));
        }
        let shown = quoted(shown);
        if shown.is_empty() {
            wrong.push(format!("{name}: no test"));
        }
        let unknown = shown.iter().filter(|test| !tests.contains(*test));
        wrong.extend(unknown.map(|test| format!("{name}: no test {test}")));
    }
    assert!(wrong.is_empty(), "in docs/cli.md: {wrong:#?}");
}
