//! The command line: from argv to an [`Invocation`]. It knows the words, not
//! what they do, and makes no system call.
//!
//! clap is the one definition of the verbs, their flags and their help
//! ([`command`]); but building its tree costs more than all the rest of
//! `corten state`. So the global flags are peeled off by hand, the verbs that
//! engines call go through [`fast`], and clap sees the one verb that is left
//! (docs/decisions/0001-clap-fast-path.md). A new verb is one file here with
//! its struct and its [`Definition`], one line in [`VERBS`], one in [`Verb`].

mod check;
mod checkpoint;
mod completion;
mod create;
mod delete;
mod duration;
mod events;
mod exec;
mod explain;
mod fast;
mod features;
mod flag;
mod global;
mod go_style;
mod info;
mod kill;
mod list;
mod mounts;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
mod signal;
mod size;
mod spec;
mod start;
mod state;
mod update;
mod wait;
mod watch;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fmt;

use clap::{ArgMatches, Command};

pub use check::Check;
pub use checkpoint::Checkpoint;
pub use completion::{Completion, script as completion_script};
pub use create::Create;
pub use delete::Delete;
pub use events::Events;
pub use exec::Exec;
pub use global::{CgroupManager, Global, LogFormat, Rootless};
pub use info::Info;
pub use kill::Kill;
pub use list::{List, ListFormat};
pub use mounts::{Mounts, MountsAction};
pub use pause::Pause;
pub use ps::Ps;
pub use restore::Restore;
pub use resume::Resume;
pub use run::Run;
pub use signal::{Signal, UnknownSignal};
pub use spec::Spec;
pub use start::Start;
pub use state::State;
pub use update::Update;
pub use wait::{Awaited, Wait};
pub use watch::Watch;

/// The newest runtime-spec that is implemented; `--version` prints it.
pub const SPEC_VERSION: &str = "1.3.0";

/// One command line, understood.
#[derive(Debug, PartialEq)]
pub struct Invocation {
    /// The flags before the verb.
    pub global: Global,
    /// The verb with its flags and arguments.
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, PartialEq)]
pub enum Verb {
    /// Makes a container that waits for `start`.
    Create(Create),
    /// Lets created containers run their program.
    Start(Start),
    /// Prints the state of a container.
    State(State),
    /// Sends a signal.
    Kill(Kill),
    /// Removes what is left of containers.
    Delete(Delete),
    /// Create, start and, unless detached, wait and delete.
    Run(Run),
    /// Runs a further process in a container.
    Exec(Exec),
    /// Prints the containers there are.
    List(List),
    /// Prints the processes of a container.
    Ps(Ps),
    /// Stops the processes of a container where they stand.
    Pause(Pause),
    /// Lets them go on.
    Resume(Resume),
    /// Changes the limits of a container.
    Update(Box<Update>),
    /// Prints what a container uses and that it ran out of memory.
    Events(Events),
    /// Adds mounts to a container, or removes them.
    Mounts(Mounts),
    /// Waits for the end of containers.
    Wait(Wait),
    /// Prints the changes of containers' states.
    Watch(Watch),
    /// Writes the state of a container to disk.
    Checkpoint(Checkpoint),
    /// Runs a container from there.
    Restore(Restore),
    /// Writes a config.json to begin with.
    Spec(Spec),
    /// Prints what this runtime implements.
    Features,
    /// Says what is wrong with a bundle.
    Check(Check),
    /// Says what the host has.
    Info(Info),
    /// Prints a script for a shell.
    Completion(Completion),
}

/// Why there is nothing to run. `Display` gives the text to print.
#[derive(Debug, PartialEq)]
pub enum Usage {
    /// Help or version was asked for: text for stdout, exit code 0.
    Show(String),
    /// The command line is wrong: one line for stderr and the log.
    Wrong {
        /// The line, without the program's name in front.
        message: String,
        /// runc's exit code: 1, and 3 for a verb that does not exist.
        code: u8,
        /// The global flags as far as they were read, for `--log`.
        global: Global,
    },
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Usage::Show(text) => f.write_str(text),
            Usage::Wrong { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Usage {}

/// Everything that the command line knows about one verb.
struct Definition {
    name: &'static str,
    /// Adds description, flags, positionals and an example to an empty command.
    define: fn(Command) -> Command,
    /// Reads what clap found; the definition guarantees that it is there.
    read: fn(ArgMatches) -> Verb,
}

impl Definition {
    /// clap's definition of this verb alone.
    fn command(&self) -> Command {
        let command = Command::new(self.name).bin_name(format!("corten {}", self.name));
        (self.define)(command).args_override_self(true)
    }

    /// Parses what follows the verb; `Err` is clap's, help included.
    fn parse(&self, args: &[OsString]) -> Result<Verb, clap::Error> {
        let command = go_style::boolean_values(self.command()).no_binary_name(true);
        let args = go_style::double_dashes(&command, args);
        command.try_get_matches_from(args).map(self.read)
    }

    /// The text of `--help`.
    fn help(&self) -> String {
        self.command().render_help().to_string()
    }
}

/// The verbs in the order of the help text.
static VERBS: &[Definition] = &[
    create::DEFINITION,
    start::DEFINITION,
    run::DEFINITION,
    exec::DEFINITION,
    state::DEFINITION,
    list::DEFINITION,
    ps::DEFINITION,
    pause::DEFINITION,
    resume::DEFINITION,
    update::DEFINITION,
    events::DEFINITION,
    mounts::DEFINITION,
    wait::DEFINITION,
    watch::DEFINITION,
    checkpoint::DEFINITION,
    restore::DEFINITION,
    kill::DEFINITION,
    delete::DEFINITION,
    spec::DEFINITION,
    features::DEFINITION,
    check::DEFINITION,
    info::DEFINITION,
    completion::DEFINITION,
];

/// Understands a command line; `argv` begins with the program's name.
///
/// # Errors
/// [`Usage::Show`] when help or version was asked for or no verb was given,
/// [`Usage::Wrong`] for everything that cannot be understood.
pub fn parse(argv: impl Iterator<Item = OsString>) -> Result<Invocation, Usage> {
    let argv: Vec<OsString> = argv.skip(1).collect();
    let mut global = Global::default();
    match global::peel(&mut global, &argv) {
        Ok(global::Peeled::Verb(verb, args)) => match parse_verb(verb, args) {
            Ok(verb) => Ok(Invocation { global, verb }),
            Err(Stop::Show(text)) => Err(Usage::Show(text)),
            Err(Stop::Wrong { message, code }) => Err(Usage::Wrong {
                message,
                code,
                global,
            }),
        },
        Ok(global::Peeled::Help) => Err(Usage::Show(command().render_help().to_string())),
        Ok(global::Peeled::Version) => Err(Usage::Show(version())),
        Err(reason) => Err(Usage::Wrong {
            message: format!("{reason} (see 'corten --help')"),
            code: 1,
            global,
        }),
    }
}

/// clap's whole tree: for help, man pages, completions and tests.
pub fn command() -> Command {
    let root = global::define(Command::new("corten"));
    VERBS
        .iter()
        .fold(root, |root, verb| root.subcommand(verb.command()))
}

/// [`Usage`] before the global flags are added to it.
enum Stop {
    Show(String),
    Wrong { message: String, code: u8 },
}

fn parse_verb(name: &OsStr, args: &[OsString]) -> Result<Verb, Stop> {
    if let Some(verb) = fast::parse(name, args) {
        return Ok(verb);
    }
    if name == "help" || name == "h" {
        return Err(match args.first() {
            None => Stop::Show(command().render_help().to_string()),
            Some(verb) => match definition(verb) {
                Ok(definition) => Stop::Show(definition.help()),
                Err(unknown) => unknown,
            },
        });
    }
    let definition = definition(name)?;
    definition.parse(args).map_err(|error| match error.kind() {
        clap::error::ErrorKind::DisplayHelp => Stop::Show(definition.help()),
        _ => Stop::Wrong {
            message: explain::one_line(definition.name, &error),
            code: 1,
        },
    })
}

/// Second names of verbs; clap's aliases are these, for help.
const ALIASES: [(&str, &str); 1] = [("doctor", "info")];

fn definition(name: &OsStr) -> Result<&'static Definition, Stop> {
    let alias = ALIASES.iter().find(|(alias, _)| name == *alias);
    let own = alias.map_or(name, |(_, verb)| OsStr::new(verb));
    VERBS.iter().find(|verb| own == verb.name).ok_or_else(|| {
        let by_clap = command().no_binary_name(true).try_get_matches_from([name]);
        let hint = by_clap
            .err()
            .map(|error| explain::suggestion(&error))
            .unwrap_or_default();
        Stop::Wrong {
            message: format!("unknown command {name:?}{hint} (see 'corten --help')"),
            code: 3,
        }
    })
}

/// The text of `--version`, in runc's lines.
fn version() -> String {
    let mut text = format!("corten version {}\n", env!("CARGO_PKG_VERSION"));
    if let Some(commit) = option_env!("CORTEN_COMMIT") {
        text += &format!("commit: {commit}\n");
    }
    text + &format!("spec: {SPEC_VERSION}\n")
}
