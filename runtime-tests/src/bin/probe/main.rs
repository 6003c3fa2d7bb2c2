//! The helper program of the tests: one static binary that runs inside
//! containers (and as a hook, or in front of the runtime) and does one thing.
//!
//! `facts` prints what the process sees; the other words act. Results are one
//! line of JSON on stdout unless said otherwise.

mod acts;
mod criu;
mod facts;
mod hook;
mod launch;
mod old_kernel;
mod raw;
mod resctrl;
mod spy;
mod stuck;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (word, rest) = match words.split_first() {
        Some((word, rest)) => (*word, rest),
        None => ("", &[][..]),
    };
    let done = match word {
        "facts" => facts::print(),
        "syscall" => acts::syscall(rest, false),
        "syscall32" => acts::syscall(rest, true),
        "open" => acts::open(rest),
        "mknod" => acts::mknod(rest),
        "exit" => acts::exit(rest),
        "catch" => acts::catch(rest),
        "ignore" => acts::ignore(rest),
        "leave-keyring" => acts::leave_keyring(rest),
        "write" => acts::write(rest),
        "echo" => acts::echo(),
        "eat" => acts::eat(rest),
        "fork" => acts::fork(rest),
        "orphan" => acts::orphan(rest),
        "notify" => acts::notify(rest),
        "winsize" => acts::winsize(rest),
        "thread-syscall" => acts::thread_syscall(rest),
        "agent" => acts::agent(rest),
        "threads" => acts::threads(),
        "sleeping-threads" => acts::sleeping_threads(),
        "hook" => hook::run(rest),
        "stuck" => stuck::run(rest),
        "spy" => spy::run(rest),
        "watch" => watch::run(rest),
        "as" => launch::run(rest),
        "fake-criu" => criu::run(rest),
        "resctrl" => resctrl::run(rest),
        _ => Err(std::io::Error::other(format!("unknown word `{word}`"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe {word}: {error}");
            ExitCode::from(99)
        }
    }
}
