//! Bad input: one clear line that names the place, exit code 1, nothing left behind.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Outcome, fail};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::fs;

tests!("bad_input":
    config_json_that_is_missing,
    config_json_that_is_no_json,
    ids_that_are_no_names,
    a_rootfs_that_is_absent_or_a_file,
    commands_that_cannot_be_executed,
    a_command_that_is_no_program,
    a_cwd_that_is_not_absolute,
    a_cwd_that_leaves_the_rootfs,
    a_terminal_without_anybody_to_take_it,
    a_console_socket_that_is_not_there,
    a_bundle_that_is_not_there,
    arguments_that_are_wrong,
    a_preserved_descriptor_that_is_not_open,
    warnings_do_not_spoil_the_one_line,
);

/// One bad config: what is edited, and what the line must name (any of these).
pub struct Case<'a> {
    pointer: &'a str,
    value: Value,
    names: &'a [&'a str],
}

pub fn case<'a>(pointer: &'a str, value: Value, names: &'a [&'a str]) -> Case<'a> {
    Case {
        pointer,
        value,
        names,
    }
}

/// Tries each case on a bundle of its own; reports all that do not hold.
pub fn all_refused(ctx: &Ctx, cases: &[Case]) -> Outcome {
    let mut wrong = Vec::new();
    for case in cases {
        let b = Bundle::new(ctx)?.set(case.pointer, case.value.clone());
        if let Err(stop) = b
            .create_refused()
            .and_then(|output| output.says(case.names))
        {
            wrong.push(format!("{} = {}: {stop}", case.pointer, case.value));
            ctx.rt(&["delete", "--force", &b.id]).run()?;
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        fail(wrong.join("\n"))
    }
}

fn config_json_that_is_missing(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    let dir = b.dir.to_string_lossy();
    for verb in ["create", "run"] {
        let output = ctx.rt(&[verb, "--bundle", &dir, &b.id]).run()?.refused()?;
        output.says(&["config.json"])?;
    }
    ctx.nothing_left()
}

fn config_json_that_is_no_json(ctx: &Ctx) -> Outcome {
    for text in [
        "",
        "{",
        "{\"process\": }",
        "[1, 2",
        "nonsense",
        "\u{0}",
        "[]",
        "\"text\"",
        "null",
    ] {
        let b = Bundle::new(ctx)?;
        fs::write(b.dir.join("config.json"), text)?;
        let dir = b.dir.to_string_lossy();
        let output = ctx
            .rt(&["create", "--bundle", &dir, &b.id])
            .run()?
            .refused()?;
        output.says(&["config.json", "json"])?;
        ctx.nothing_left()?;
    }
    Ok(())
}

fn ids_that_are_no_names(ctx: &Ctx) -> Outcome {
    let long = "x".repeat(1025);
    let b = Bundle::new(ctx)?;
    b.write()?;
    let dir = b.dir.to_string_lossy();
    let outside = ctx.dir.join("outside");
    fs::create_dir(&outside)?;
    for id in [
        "",
        ".",
        "..",
        "../outside",
        "a/b",
        "/abs",
        "a b",
        "a\nb",
        "ümlaut",
        "a:b",
        "a*",
        &long,
    ] {
        for verb in ["create", "run"] {
            let output = ctx.rt(&[verb, "--bundle", &dir, "--", id]).run()?;
            check!(
                output.code == 1,
                "{verb} takes the id {id:?}: exit code {}",
                output.code
            );
            let lines = output
                .stderr
                .lines()
                .filter(|line| !line.is_empty())
                .count();
            check!(
                lines == 1 || id.is_empty(),
                "{verb} of the id {id:?} prints {}",
                output.stderr
            );
        }
        for verb in ["start", "state", "kill", "delete"] {
            let output = ctx.rt(&[verb, "--", id]).run()?;
            check!(
                output.code == 1,
                "{verb} takes the id {id:?}: exit code {}",
                output.code
            );
        }
        ctx.rt(&["delete", "--force", "--", id]).run()?;
        check!(
            outside.is_dir(),
            "delete --force {id:?} removed a foreign folder"
        );
        check!(
            ctx.state_root().is_dir(),
            "delete --force {id:?} removed the state root"
        );
    }
    ctx.nothing_left()?;
    for id in ["a", "A-b_c+d.e", "0", "..a", "-dash"] {
        let output = ctx.rt(&["run", "--bundle", &dir, "--", id]).run()?;
        check_eq!(output.code, 0, "run with the id {id}");
    }
    ctx.nothing_left()
}

fn a_rootfs_that_is_absent_or_a_file(ctx: &Ctx) -> Outcome {
    let file = ctx.dir.join("a-file");
    fs::write(&file, "")?;
    all_refused(
        ctx,
        &[
            case("/root/path", json!("nosuch-rootfs"), &["nosuch-rootfs"]),
            case("/root/path", json!("/nosuch/rootfs"), &["/nosuch/rootfs"]),
            case("/root/path", json!(file), &["a-file"]),
        ],
    )
}

fn commands_that_cannot_be_executed(ctx: &Ctx) -> Outcome {
    let not_found = "executable file not found in $PATH";
    all_refused(
        ctx,
        &[
            case("/process/args", json!(["nosuch"]), &[not_found]),
            case(
                "/process/args",
                json!(["/nosuch/command"]),
                &["no such file or directory", not_found],
            ),
            case(
                "/process/args",
                json!(["/etc/passwd"]),
                &["permission denied"],
            ),
            case(
                "/process/args",
                json!(["/etc"]),
                &["permission denied", "is a directory"],
            ),
            case(
                "/process/args",
                json!(["./nosuch"]),
                &["no such file or directory", not_found],
            ),
            case(
                "/process/args",
                json!([""]),
                &[not_found, "/process/args/0"],
            ),
        ],
    )
}

fn a_command_that_is_no_program(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/no-program"]);
    let path = b.rootfs().join("bin/no-program");
    fs::write(&path, "neither ELF nor script")?;
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let output = b.run()?;
    check!(output.code != 0, "a file of text ran");
    output.says(&["exec format error"])?;
    ctx.nothing_left()
}

fn a_cwd_that_is_not_absolute(ctx: &Ctx) -> Outcome {
    all_refused(
        ctx,
        &[
            case("/process/cwd", json!("relative"), &["/process/cwd"]),
            case("/process/cwd", json!(""), &["/process/cwd"]),
            case("/process/cwd", json!("/etc/passwd"), &["/etc/passwd"]),
            case("/process/cwd", json!("/etc/passwd/below"), &["/etc/passwd"]),
        ],
    )
}

fn a_cwd_that_leaves_the_rootfs(ctx: &Ctx) -> Outcome {
    // CVE-2024-21626: through a descriptor of the host, one that is even handed on.
    let mut wrong = Vec::new();
    for number in 3..12 {
        let b = Bundle::new(ctx)?
            .set("/process/cwd", format!("/proc/self/fd/{number}"))
            .shell("ls; pwd; echo reached");
        let cmd = b.verb("run", &["--preserve-fds", "1"])?;
        let line = "exec 3</; exec \"$0\" \"$@\"";
        let output = cmd.within(&["/bin/bash", "-c", line]).run()?;
        if output.stdout.contains("reached") || output.code == 0 {
            wrong.push(format!("/proc/self/fd/{number}: {}", output.stdout));
        }
        ctx.nothing_left()?;
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        fail(wrong.join("\n"))
    }
}

fn a_terminal_without_anybody_to_take_it(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/terminal", true);
    b.create_refused()?.says(&["console"])?;
    let b = Bundle::new(ctx)?;
    let output = b
        .verb("create", &["--console-socket", "/nosuch"])?
        .run()?
        .refused()?;
    output.says(&["console", "terminal", "tty"])?;
    ctx.nothing_left()
}

fn a_console_socket_that_is_not_there(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/process/terminal", true);
    let output = b
        .verb("create", &["--console-socket", "/nosuch/socket"])?
        .run()?
        .refused()?;
    output.says(&["/nosuch/socket"])?;
    ctx.nothing_left()
}

fn a_bundle_that_is_not_there(ctx: &Ctx) -> Outcome {
    let output = ctx
        .rt(&["create", "--bundle", "/nosuch/bundle", "c"])
        .run()?
        .refused()?;
    output.says(&["/nosuch/bundle"])?;
    ctx.nothing_left()
}

fn arguments_that_are_wrong(ctx: &Ctx) -> Outcome {
    let wrong: [&[&str]; 10] = [
        &["create"],
        &["start"],
        &["state"],
        &["kill"],
        &["delete"],
        &["nosuch-verb"],
        &["create", "--nosuch-option", "c"],
        &["state", "a", "b"],
        &["start", "a", "b"],
        &["list", "--format", "nosuch"],
    ];
    for args in wrong {
        let output = ctx.rt(args).run()?;
        // runc's own code for an unknown verb is 3; nobody looks beyond "not 0".
        let fits = output.code == 1 || (args == ["nosuch-verb"] && output.code != 0);
        check!(fits, "{args:?} ends with {}", output.code);
        check!(
            !output.stderr.trim().is_empty(),
            "{args:?} says nothing on stderr"
        );
    }
    ctx.nothing_left()
}

fn a_preserved_descriptor_that_is_not_open(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    // The last does not fit into 32 bits together with the standard streams.
    for count in ["50", "4294967295"] {
        let output = b.verb("create", &["--preserve-fds", count])?.run()?;
        let output = output.refused()?;
        check!(
            output.stderr.contains("is not open"),
            "with {count}: {}",
            output.stderr
        );
    }
    ctx.nothing_left()
}

fn warnings_do_not_spoil_the_one_line(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .capabilities(&["CAP_NO_SUCH_THING"])
        .set("/unknown", json!({"key": 1}))
        .args(&["/nosuch"]);
    let log = ctx.dir.join("log");
    let cmd = b
        .verb::<&str>("create", &[])?
        .global(&["--log", &log.to_string_lossy()]);
    cmd.run()?.refused()?;
    ctx.nothing_left()
}
