//! What is measured: each scenario is a container's life as a list of verbs. A new measured verb is one more `Step`,
//! a new life one more `Scenario`; nothing else knows their names.

/// One command of a runtime.
pub struct Step {
    /// The row in the tables.
    pub name: &'static str,
    /// The arguments after `--root DIR`; `{id}`, `{bundle}`, `{sleeper}` (the same bundle with a payload that stays)
    /// and `{pidfile}` are filled in.
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
    /// The step only sets the scene: nothing of it is measured.
    Scene,
    /// The same, and the container is one of [`CROWD`]: the others are copies of its record.
    Crowd,
    /// A scene's end: the init is to be waited for, and the crowd goes.
    SceneEnds,
}

/// A container's life.
pub struct Scenario {
    /// The word for `--only`.
    pub name: &'static str,
    pub steps: &'static [Step],
    /// A further row: its name, and the steps whose sum it is.
    pub sum: Option<(&'static str, &'static [&'static str])>,
    /// The runtimes that cannot do it.
    pub lacks: &'static [&'static str],
}

impl Step {
    /// Whether it is a row of the tables.
    pub fn is_measured(&self) -> bool {
        !matches!(self.then, Then::Scene | Then::Crowd | Then::SceneEnds)
    }
}

/// How many containers there are in a crowd.
pub const CROWD: usize = 500;

/// A container that runs.
const SCENE: Step = Step {
    name: "scene",
    args: &[
        "run",
        "--detach",
        "--bundle",
        "{sleeper}",
        "--pid-file",
        "{pidfile}",
        "{id}",
    ],
    then: Then::Scene,
};

const SCENE_ENDS: Step = Step {
    name: "scene ends",
    args: &["delete", "--force", "{id}"],
    then: Then::SceneEnds,
};

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
        lacks: &[],
    },
    Scenario {
        name: "run",
        steps: &[Step {
            name: "run",
            args: &["run", "--bundle", "{bundle}", "{id}"],
            then: Then::Go,
        }],
        sum: None,
        lacks: &[],
    },
    Scenario {
        name: "exec",
        steps: &[
            SCENE,
            Step {
                name: "exec",
                args: &["exec", "{id}", "/bin/true"],
                then: Then::Go,
            },
            SCENE_ENDS,
        ],
        sum: None,
        lacks: &["floor"],
    },
    Scenario {
        name: "kill",
        steps: &[
            SCENE,
            Step {
                name: "kill",
                args: &["kill", "{id}", "KILL"],
                then: Then::InitEnds,
            },
            Step {
                name: "delete after kill",
                args: &["delete", "{id}"],
                then: Then::Go,
            },
        ],
        sum: None,
        lacks: &["floor"],
    },
    Scenario {
        name: "events",
        steps: &[
            SCENE,
            Step {
                name: "events --stats",
                args: &["events", "--stats", "{id}"],
                then: Then::Go,
            },
            SCENE_ENDS,
        ],
        sum: None,
        // crun has no such verb.
        lacks: &["floor", "crun"],
    },
    Scenario {
        name: "update",
        steps: &[
            SCENE,
            Step {
                name: "update",
                args: &[
                    "update",
                    "--memory",
                    "536870912",
                    "--cpu-quota",
                    "50000",
                    "{id}",
                ],
                then: Then::Go,
            },
            SCENE_ENDS,
        ],
        sum: None,
        lacks: &["floor"],
    },
    Scenario {
        name: "crowd",
        steps: &[
            Step {
                name: "crowd",
                args: SCENE.args,
                then: Then::Crowd,
            },
            Step {
                name: "state among 500",
                args: &["state", "{id}"],
                then: Then::Go,
            },
            Step {
                name: "list of 500",
                args: &["list"],
                then: Then::Go,
            },
            Step {
                name: "list --quiet of 500",
                args: &["list", "--quiet"],
                then: Then::Go,
            },
            SCENE_ENDS,
        ],
        sum: None,
        lacks: &["floor"],
    },
];
