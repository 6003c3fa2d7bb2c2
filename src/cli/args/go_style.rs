//! What Go's flag package takes and clap does not. Long flags with a single
//! dash: `-bundle DIR` is `--bundle DIR` to runc, where clap would read
//! `-b undle`. Switches with a value: `--keep=false`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction, Command};

use super::flag;

/// Lets the switches of `command` take `=true` and `=false` too. Only for
/// parsing: in a help text it would be noise.
pub fn boolean_values(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(flag::parse_bool),
        _ => arg,
    })
}

/// Gives the long flags of `command` their second dash.
pub fn double_dashes(command: &Command, args: &[OsString]) -> Vec<OsString> {
    // What follows the first positional of such a command is a command line
    // of its own.
    let stops = command
        .get_positionals()
        .any(|positional| positional.is_trailing_var_arg_set());
    let mut result = Vec::with_capacity(args.len());
    let mut ended = false;
    let mut is_value = false;
    for arg in args {
        let is_flag = arg.as_bytes().starts_with(b"-") && arg != "-";
        if ended || !is_flag {
            ended |= stops && !is_value;
            is_value = false;
            result.push(arg.clone());
            continue;
        }
        ended = arg == "--";
        is_value = takes_next(command, arg);
        let single = !arg.as_bytes().starts_with(b"--");
        result.push(if single && long(command, arg).is_some() {
            dashed(arg)
        } else {
            arg.clone()
        });
    }
    result
}

/// The long flag that `arg` names, with one dash or two.
fn long<'a>(command: &'a Command, arg: &OsStr) -> Option<&'a Arg> {
    let text = arg.as_bytes().strip_prefix(b"-")?;
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let name = text.split(|byte| *byte == b'=').next()?;
    command.get_arguments().find(|known| {
        known
            .get_long()
            .is_some_and(|known| known.len() > 1 && known.as_bytes() == name)
    })
}

/// Whether the next word is the value of the flag `arg`.
fn takes_next(command: &Command, arg: &OsStr) -> bool {
    let short = |known: &&Arg| {
        known
            .get_short()
            .is_some_and(|short| arg.as_bytes() == format!("-{short}").as_bytes())
    };
    long(command, arg)
        .or_else(|| command.get_arguments().find(short))
        .is_some_and(|known| known.get_action().takes_values() && !known.is_require_equals_set())
        && !arg.as_bytes().contains(&b'=')
}

fn dashed(arg: &OsStr) -> OsString {
    OsString::from_vec([b"-", arg.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(command: &Command, line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        double_dashes(command, &args)
            .join(OsStr::new(" "))
            .into_string()
            .unwrap()
    }

    fn command() -> Command {
        Command::new("exec").args([
            flag::path("cwd", "DIR", "").short('c'),
            flag::switch("tty", "").short('t'),
            Arg::new("id"),
        ])
    }

    #[test]
    fn only_long_flags_of_the_command_get_a_second_dash() {
        let command = boolean_values(command());
        for (line, expected) in [
            ("-cwd /x web -tty=false", "--cwd /x web --tty=false"),
            ("-c /x -t web", "-c /x -t web"),
            ("-other - web", "-other - web"),
            ("-tty -- -tty", "--tty -- -tty"),
        ] {
            assert_eq!(translated(&command, line), expected);
        }
    }

    #[test]
    fn the_command_line_of_an_exec_is_left_alone() {
        let program = Arg::new("program").num_args(0..).trailing_var_arg(true);
        let command = boolean_values(command().arg(program));
        assert_eq!(
            translated(&command, "-cwd web web ls -tty"),
            "--cwd web web ls -tty"
        );
        assert_eq!(
            translated(&command, "-c=/ -tty web -cwd"),
            "-c=/ --tty web -cwd"
        );
    }
}
