//! What is measured: each scenario is a container's life as a list of verbs. A new measured verb is one more `Step`,
//! a new life one more `Scenario`; nothing else knows their names.

/// One command of a runtime.
pub struct Step {
    /// The row in the tables.
    pub name: &'static str,
    /// The arguments after `--root DIR`; `{id}`, `{bundle}` and `{pidfile}` are filled in.
    pub args: &'static [&'static str],
    /// What to do afterwards, outside the measured part.
    pub then: Then,
}

/// What follows a step.
pub enum Then {
    /// Nothing: the next step can follow at once.
    Go,
    /// A container was created: its init waits for `start` and can be looked at.
    InitWaits,
    /// The payload runs: wait for its end.
    InitEnds,
}

/// A container's life.
pub struct Scenario {
    /// The word for `--only`.
    pub name: &'static str,
    pub steps: &'static [Step],
    /// A further row: its name, and the steps whose sum it is.
    pub sum: Option<(&'static str, &'static [&'static str])>,
}

/// Every scenario, in the order of the tables.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "cycle",
        steps: &[
            Step {
                name: "create",
                args: &[
                    "create",
                    "--bundle",
                    "{bundle}",
                    "--pid-file",
                    "{pidfile}",
                    "{id}",
                ],
                then: Then::InitWaits,
            },
            Step {
                name: "state",
                args: &["state", "{id}"],
                then: Then::Go,
            },
            Step {
                name: "start",
                args: &["start", "{id}"],
                then: Then::InitEnds,
            },
            Step {
                name: "delete",
                args: &["delete", "{id}"],
                then: Then::Go,
            },
        ],
        sum: Some(("cycle", &["create", "start", "delete"])),
    },
    Scenario {
        name: "run",
        steps: &[Step {
            name: "run",
            args: &["run", "--bundle", "{bundle}", "{id}"],
            then: Then::Go,
        }],
        sum: None,
    },
];
