//! Keeps docs/spec-coverage.md and the schema of the runtime-spec in step: each property has one
//! row, and what a row says of the code and of its tests is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The files of the schema, by the names that they refer to each other with.
const SCHEMA: [(&str, &str); 4] = [
    (
        "config-schema.json",
        include_str!("fixtures/schema/config-schema.json"),
    ),
    (
        "config-linux.json",
        include_str!("fixtures/schema/config-linux.json"),
    ),
    ("defs.json", include_str!("fixtures/schema/defs.json")),
    (
        "defs-linux.json",
        include_str!("fixtures/schema/defs-linux.json"),
    ),
];

/// Members of config.json that are other systems'.
const OTHER_SYSTEMS: [&str; 5] = ["vm", "windows", "solaris", "zos", "freebsd"];

/// What a row can say is done with a property.
const STATUSES: [&str; 4] = ["applied", "exec only", "refused", "ignored"];

fn definition(file: &str, pointer: &str) -> Value {
    let (_, text) = SCHEMA.iter().find(|(name, _)| *name == file).unwrap();
    let schema: Value = serde_json::from_str(text).unwrap();
    schema.pointer(pointer).unwrap().clone()
}

/// Collects the properties of `node` of `file`, which describes what is at `path`.
fn walk(file: &str, node: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = node["$ref"].as_str() {
        let (other, pointer) = reference.split_once('#').unwrap();
        let other = if other.is_empty() { file } else { other };
        walk(other, &definition(other, pointer), path, found);
    }
    for several in ["allOf", "anyOf", "oneOf"] {
        for node in node[several].as_array().into_iter().flatten() {
            walk(file, node, path, found);
        }
    }
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        if OTHER_SYSTEMS.contains(&path.as_str()) {
            continue;
        }
        walk(file, child, &path, found);
        found.insert(path);
    }
    walk_if_there(file, &node["items"], &format!("{path}[]"), found);
    let any = format!("{path}.*");
    walk_if_there(file, &node["additionalProperties"], &any, found);
    for child in node["patternProperties"].as_object().into_iter().flatten() {
        walk(file, child.1, &any, found);
    }
}

fn walk_if_there(file: &str, node: &Value, path: &str, found: &mut BTreeSet<String>) {
    if node.is_object() {
        walk(file, node, path, found);
    }
}

/// Every property of config.json that Linux has: `[]` is for the elements of an array, `*` for
/// any member.
fn properties() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let schema = definition("config-schema.json", "");
    walk("config-schema.json", &schema, "", &mut found);
    found
}

fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A row of the table.
struct Row {
    property: String,
    status: String,
    places: Vec<String>,
    tests: Vec<String>,
}

/// What stands between backticks.
pub(crate) fn quoted(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(checkout().join("docs/spec-coverage.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, property, status, places, tests, _] = cells[..] else {
            panic!("not a row of four cells: {line}");
        };
        Row {
            property: quoted(property).concat(),
            status: status.to_owned(),
            places: quoted(places),
            tests: quoted(tests),
        }
    };
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    lines.map(row).collect()
}

/// All Rust files below a directory of the checkout, as text.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            all.push((path, text));
        }
    }
    all
}

/// `topic::promise` of every black-box test: the lists that `tests!` is given.
pub(crate) fn black_box_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in sources(&checkout().join("runtime-tests/src/tests")) {
        let Some((_, list)) = text.split_once("\ntests!(\"") else {
            continue;
        };
        let (topic, list) = list.split_once("\":").unwrap();
        let (list, _) = list.split_once(");").unwrap();
        let entries = list.split(',').map(str::trim).filter(|e| !e.is_empty());
        names.extend(entries.map(|entry| {
            let name = entry.split(' ').next().unwrap_or_default();
            format!("{topic}::{name}")
        }));
    }
    names
}

/// The name of every unit test.
fn unit_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in sources(&checkout().join("src")) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            let name = pair[1]
                .strip_prefix("fn ")
                .and_then(|l| l.split('(').next());
            if let ("#[test]", Some(name)) = (pair[0], name) {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

#[test]
fn the_schema_has_the_properties_that_the_parser_is_tried_with() {
    let listed: BTreeSet<String> = include_str!("properties.txt")
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(properties(), listed);
}

#[test]
fn every_property_of_the_schema_has_one_row_and_no_row_is_without_a_property() {
    let (mut missing, mut rest) = (properties(), Vec::new());
    for row in rows() {
        if !missing.remove(&row.property) {
            rest.push(row.property);
        }
    }
    assert!(missing.is_empty(), "without a row: {missing:?}");
    assert!(rest.is_empty(), "twice, or not of the schema: {rest:?}");
}

#[test]
fn every_row_says_what_is_done_and_where_and_names_tests_that_there_are() {
    let (black_box, unit) = (black_box_tests(), unit_tests());
    assert!(black_box.len() > 200 && unit.len() > 200, "tests are found");
    let mut wrong = Vec::new();
    for row in rows() {
        let status = STATUSES.iter().find(|word| row.status.starts_with(**word));
        let status = status.copied().unwrap_or_default();
        if status.is_empty() {
            wrong.push(format!("{}: unknown status {}", row.property, row.status));
        }
        if row.tests.is_empty() {
            wrong.push(format!("{}: no test", row.property));
        }
        for place in row.places {
            let path = checkout().join("src").join(&place);
            if !path.is_dir() && !path.with_extension("rs").is_file() {
                wrong.push(format!("{}: no src/{place}", row.property));
            }
        }
        for test in row.tests {
            let known = if test.contains("::") {
                &black_box
            } else {
                &unit
            };
            if !known.contains(&test) {
                wrong.push(format!("{}: no test {test}", row.property));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
