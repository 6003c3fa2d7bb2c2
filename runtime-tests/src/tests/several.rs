//! Verbs on several containers: delete of several ids, kill and delete by regular expression,
//! as crun has them.

use crate::bundle::Bundle;
use crate::command::Output;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Outcome, fail};
use crate::{check, check_eq, tests};

tests!("several":
    kill_reaches_all_whose_names_match,
    kill_by_expression_tells_each_that_does_not_run,
    kill_all_and_expression_go_together,
    delete_removes_all_whose_names_match,
    delete_by_expression_leaves_the_running_and_tells_each,
    delete_of_several_goes_on_after_a_failure,
    expressions_are_extended_and_not_anchored,
    an_expression_that_is_none_is_one_line,
    no_match_is_no_error,
    without_the_flag_an_expression_is_a_name,
);

/// A running container of this name.
fn named<'a>(ctx: &'a Ctx, name: &str) -> Outcome<Container<'a>> {
    let mut b = Bundle::new(ctx)?;
    b.id = name.to_string();
    b.set("/linux/cgroupsPath", ctx.cgroups_path(name))
        .args(&["/bin/sleep", "1000"])
        .detach()
}

fn end(c: &Container) -> Outcome {
    let pid = c.pid()?;
    c.kill("KILL")?;
    c.wait_pid(pid).map(drop)
}

/// So many lines on stderr, and exit code 1.
fn lines(output: Output, count: usize) -> Outcome<Output> {
    let output = output.code_is(1)?;
    let found = output
        .stderr
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    match found == count {
        true => Ok(output),
        false => fail(format!(
            "{found} lines instead of {count}:\n{}",
            output.stderr
        )),
    }
}

fn ids(ctx: &Ctx) -> Outcome<String> {
    let text = ctx.rt(&["list", "-q"]).run()?.ok()?.stdout;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn kill_reaches_all_whose_names_match(ctx: &Ctx) -> Outcome {
    let (a, b, other) = (
        named(ctx, "web-1")?,
        named(ctx, "web-2")?,
        named(ctx, "db-1")?,
    );
    let pids = (a.pid()?, b.pid()?);
    ctx.rt(&["kill", "--regex", "^web-[0-9]+$", "KILL"])
        .run()?
        .ok()?;
    check_eq!(a.wait_pid(pids.0)?, 137, "exit code of the first");
    check_eq!(b.wait_pid(pids.1)?, 137, "exit code of the second");
    other.status_is("running")
}

fn kill_by_expression_tells_each_that_does_not_run(ctx: &Ctx) -> Outcome {
    let (a, b, c) = (
        named(ctx, "web-1")?,
        named(ctx, "web-2")?,
        named(ctx, "web-3")?,
    );
    end(&a)?;
    end(&c)?;
    let pid = b.pid()?;
    let output = lines(ctx.rt(&["kill", "-r", "web", "KILL"]).run()?, 2)?;
    check_eq!(b.wait_pid(pid)?, 137, "exit code of the one between");
    output
        .says(&["container web-1: container not running"])?
        .says(&["container web-3"])?;
    Ok(())
}

fn kill_all_and_expression_go_together(ctx: &Ctx) -> Outcome {
    let a = named(ctx, "web-1")?;
    let pid = a.pid()?;
    ctx.rt(&["kill", "-a", "-r", "web", "KILL"]).run()?.ok()?;
    check_eq!(a.wait_pid(pid)?, 137, "exit code");
    Ok(())
}

fn delete_removes_all_whose_names_match(ctx: &Ctx) -> Outcome {
    for name in ["web-1", "web-2", "db-1"] {
        named(ctx, name)?;
    }
    ctx.rt(&["delete", "--force", "--regex", "^web"])
        .run()?
        .ok()?;
    check_eq!(ids(ctx)?, "db-1", "containers that are left");
    ctx.rt(&["delete", "-f", "-r", "^db", "^cache"])
        .run()?
        .ok()?;
    ctx.nothing_left()
}

fn delete_by_expression_leaves_the_running_and_tells_each(ctx: &Ctx) -> Outcome {
    for name in ["web-1", "web-2", "web-3"] {
        let c = named(ctx, name)?;
        if name == "web-2" {
            end(&c)?;
        }
    }
    let output = lines(ctx.rt(&["delete", "--regex", "web"]).run()?, 2)?;
    output.says(&["web-1"])?.says(&["web-3"])?;
    check_eq!(ids(ctx)?, "web-1 web-3", "containers that are left");
    Ok(())
}

fn delete_of_several_goes_on_after_a_failure(ctx: &Ctx) -> Outcome {
    let (a, b) = (named(ctx, "a")?, named(ctx, "b")?);
    end(&a)?;
    end(&b)?;
    let running = named(ctx, "c")?;
    let output = ctx.rt(&["delete", "a", "nosuch", "c", "../x", "b"]).run()?;
    let output = lines(output, 3)?;
    output
        .says(&["nosuch"])?
        .says(&["invalid container id"])?
        .says(&["running"])?;
    check_eq!(ids(ctx)?, "c", "containers that are left");
    // With force what is not there is no failure.
    ctx.rt(&["delete", "--force", "nosuch", "c"]).run()?.ok()?;
    drop(running);
    ctx.nothing_left()
}

fn expressions_are_extended_and_not_anchored(ctx: &Ctx) -> Outcome {
    for name in ["my-web", "a.b", "acb", "x_1"] {
        named(ctx, name)?;
    }
    ctx.rt(&["delete", "-f", "-r", "a\\.b|^my-"]).run()?.ok()?;
    check_eq!(ids(ctx)?, "acb x_1", "containers that are left");
    Ok(())
}

fn an_expression_that_is_none_is_one_line(ctx: &Ctx) -> Outcome {
    let c = named(ctx, "web-1")?;
    for args in [["kill", "-r", "(web"], ["delete", "-r", "[a"]] {
        let output = ctx.rt(&args).run()?.refused()?;
        output.says(&["is no regular expression"])?;
    }
    c.status_is("running")
}

fn no_match_is_no_error(ctx: &Ctx) -> Outcome {
    let c = named(ctx, "web-1")?;
    for args in [["kill", "-r", "^x"], ["delete", "-r", "^x"]] {
        let output = ctx.rt(&args).run()?.ok()?;
        check!(output.stderr.is_empty(), "{}", output.stderr);
    }
    c.status_is("running")
}

fn without_the_flag_an_expression_is_a_name(ctx: &Ctx) -> Outcome {
    let c = named(ctx, "web-1")?;
    ctx.rt(&["kill", "web", "KILL"])
        .run()?
        .refused()?
        .says(&["does not exist"])?;
    ctx.rt(&["delete", "-f", "we."]).run()?.ok()?;
    c.status_is("running")
}
