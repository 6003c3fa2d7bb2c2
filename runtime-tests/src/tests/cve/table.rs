//! docs/security-tests.md and the tests are in step.

use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check, suite, tests};

tests!("cve": the_table_of_security_tests_names_every_test_and_no_other);

const TABLE: &str = include_str!("../../../../docs/security-tests.md");

/// Every `topic::test` in backquotes.
fn named() -> Vec<&'static str> {
    let quoted = TABLE.split('`').skip(1).step_by(2);
    quoted
        .filter(|text| text.contains("::") && !text.contains([' ', '/', '.']))
        .collect()
}

/// Seen to fail: with a name of the table changed: `the table names …, which is no test`; with a
/// row taken out: `… is not in the table`.
fn the_table_of_security_tests_names_every_test_and_no_other(_: &Ctx) -> Outcome {
    let named = named();
    check!(!named.is_empty(), "no test is named in the table");
    for name in &named {
        check!(
            suite::find(name).is_some(),
            "the table names {name}, which is no test"
        );
    }
    for test in suite::select(&["cve::".to_string()]) {
        check!(
            named.contains(&test.name),
            "{} is not in the table",
            test.name
        );
    }
    Ok(())
}
