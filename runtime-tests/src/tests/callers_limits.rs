//! Resource limits that the runtime is started with, and those of the program while hooks run.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Outcome, skip};
use crate::{check, tests};
use serde_json::json;

tests!("callers_limits":
    a_file_size_limit_is_an_error_in_one_line,
    a_limit_of_open_files_is_an_error_in_one_line,
    a_memory_limit_is_an_error_in_one_line,
    a_start_container_hook_runs_under_the_programs_file_size_limit,
);

/// `prlimit` with this limit, which is to start the runtime.
fn limited(limit: &str) -> Outcome<[&str; 2]> {
    match std::path::Path::new("/usr/bin/prlimit").exists() {
        true => Ok(["prlimit", limit]),
        false => skip("prlimit is not installed"),
    }
}

/// The same for the size of files; what is said goes through a pipe, which has no size.
fn limited_size(limit: &str) -> Outcome<Vec<&str>> {
    let piped = [
        "bash",
        "-o",
        "pipefail",
        "-c",
        "\"$@\" 2>&1 | cat >&2",
        "piped",
    ];
    Ok([&piped[..], &limited(limit)?].concat())
}

fn a_file_size_limit_is_an_error_in_one_line(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    // Nothing, and the record but not what the init becomes.
    for limit in ["--fsize=0", "--fsize=6000"] {
        for (verb, options) in [
            ("create", vec![]),
            ("run", vec![]),
            ("run", vec!["--detach"]),
        ] {
            b.verb(verb, &options)?
                .within(&limited_size(limit)?)
                .run()?
                .refused()?
                .says(&["file too large (is RLIMIT_FSIZE too low?)"])?;
            ctx.nothing_left()?;
        }
    }
    let c = b.detach()?;
    for options in [&[][..], &["--detach"]] {
        c.exec(options, &["/bin/true"])
            .within(&limited_size("--fsize=0")?)
            .run()?
            .refused_with(255)?
            .says(&["file too large (is RLIMIT_FSIZE too low?)"])?;
    }
    Ok(())
}

fn a_limit_of_open_files_is_an_error_in_one_line(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    for limit in ["--nofile=4", "--nofile=7"] {
        b.verb::<&str>("create", &[])?
            .within(&limited(limit)?)
            .run()?
            .refused()?
            .says(&[
                "too many open files (is RLIMIT_NOFILE too low?)",
                "No file descriptors",
            ])?;
        ctx.nothing_left()?;
    }
    Ok(())
}

fn a_memory_limit_is_an_error_in_one_line(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    b.verb::<&str>("create", &[])?
        .within(&limited("--data=200000")?)
        .run()?
        .refused()?
        .says(&["no more memory (is RLIMIT_AS or RLIMIT_DATA too low?)"])?;
    ctx.nothing_left()
}

fn a_start_container_hook_runs_under_the_programs_file_size_limit(ctx: &Ctx) -> Outcome {
    let script = "read -r state; test -n \"$state\" && ln -s $? /tmp/read";
    let b = Bundle::new(ctx)?
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0}]),
        )
        .push(
            "/hooks/startContainer",
            json!({"path": "/bin/sh", "args": ["sh", "-c", script]}),
        );
    let read = b.rootfs().join("tmp/read");
    b.run()?.ok()?;
    check!(read.is_symlink(), "the hook did not get the state");
    Ok(())
}
