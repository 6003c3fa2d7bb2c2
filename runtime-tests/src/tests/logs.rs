//! What goes to stderr and to `--log`, in which form.

use super::output::is_time;
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};

tests!("logs":
    json_logs_have_level_msg_and_time,
    text_logs_have_time_level_and_msg,
    logs_are_appended,
    errors_go_to_stderr_and_to_the_log,
    debug_logs_more,
    log_level_is_understood,
);

/// A refused command with a log; what is in the log.
fn logged(ctx: &Ctx, options: &[&str]) -> Outcome<String> {
    let path = ctx.dir.join("log");
    let text = path.to_string_lossy().into_owned();
    let cmd = ctx
        .rt(&["start", "nosuch"])
        .global(&["--log", &text])
        .global(options);
    cmd.run()?.refused()?;
    std::fs::read_to_string(&path).because(path.display())
}

fn json_logs_have_level_msg_and_time(ctx: &Ctx) -> Outcome {
    let text = logged(ctx, &["--log-format", "json"])?;
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).because(line)?;
        for key in ["level", "msg", "time"] {
            check!(entry[key].is_string(), "no {key} in {line}");
        }
        is_time(&entry["time"])?;
    }
    let last: Value = serde_json::from_str(text.lines().last().because("a line")?)?;
    check_eq!(last["level"], json!("error"), "level");
    check!(
        last["msg"].to_string().contains("container does not exist"),
        "msg: {last}"
    );
    Ok(())
}

fn text_logs_have_time_level_and_msg(ctx: &Ctx) -> Outcome {
    let text = logged(ctx, &["--log-format", "text"])?;
    let last = text.lines().last().because("a line")?;
    check!(
        last.starts_with("time=\"") && last.contains(" level=error msg=\""),
        "{last}"
    );
    Ok(())
}

fn logs_are_appended(ctx: &Ctx) -> Outcome {
    let once = logged(ctx, &[])?;
    let twice = logged(ctx, &[])?;
    check_eq!(
        twice.lines().count(),
        2 * once.lines().count(),
        "lines after two commands"
    );
    check!(twice.starts_with(&once), "the log was written anew");
    Ok(())
}

fn errors_go_to_stderr_and_to_the_log(ctx: &Ctx) -> Outcome {
    let log = ctx.dir.join("log").to_string_lossy().into_owned();
    let cmd = ctx
        .rt(&["state", "nosuch"])
        .global(&["--log", &log, "--log-format", "json"]);
    cmd.run()?.refused()?.says(&["container does not exist"])?;
    check!(
        std::fs::read_to_string(&log)?.contains("container does not exist"),
        "nothing in the log"
    );
    Ok(())
}

fn debug_logs_more(ctx: &Ctx) -> Outcome {
    let log = ctx.dir.join("log").to_string_lossy().into_owned();
    let b = Bundle::new(ctx)?;
    let cmd = b.verb::<&str>("run", &[])?;
    cmd.global(&["--debug", "--log", &log, "--log-format", "json"])
        .run()?
        .ok()?;
    let text = std::fs::read_to_string(&log)?;
    check!(
        text.contains("\"level\":\"debug\""),
        "no debug line with --debug: {text}"
    );
    Ok(())
}

fn log_level_is_understood(ctx: &Ctx) -> Outcome {
    let log = ctx.dir.join("log").to_string_lossy().into_owned();
    for (level, debug) in [("debug", true), ("warning", false), ("error", false)] {
        let b = Bundle::new(ctx)?;
        let _ = std::fs::remove_file(&log);
        let cmd = b.verb::<&str>("run", &[])?;
        cmd.global(&["--log-level", level, "--log", &log])
            .run()?
            .ok()?;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        check_eq!(
            text.contains("level=debug"),
            debug,
            "debug lines with --log-level {level}"
        );
    }
    Ok(())
}
