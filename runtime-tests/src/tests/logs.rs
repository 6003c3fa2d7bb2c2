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
    journald_gets_entries_of_its_own_protocol,
    syslog_gets_lines_as_of_the_c_library,
    a_log_daemon_that_is_not_there_is_one_line,
    a_file_can_be_named_as_one,
    a_log_that_cannot_be_written_is_one_line,
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

/// Words before a command, which a script runs in a mount namespace of its own.
fn alone(script: &str) -> [&str; 7] {
    [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-ec",
        script,
    ]
}

/// What a daemon on the socket `path` is sent by a refused command; `before` makes the
/// directory of `path` in a mount namespace of its own.
fn sent(ctx: &Ctx, path: &str, before: &str, options: &[&str]) -> Outcome<Vec<u8>> {
    let own = ctx.dir.join(format!("socket{}", ctx.next()));
    let socket = std::os::unix::net::UnixDatagram::bind(&own)?;
    let script = format!(
        "{before}; touch {path} && mount --bind {} {path} && exec \"$0\" \"$@\"",
        own.display()
    );
    let cmd = ctx
        .rt(&["start", "nosuch"])
        .global(options)
        .within(&alone(&script));
    // People see the reason too.
    cmd.run()?.refused()?.says(&["container does not exist"])?;
    socket.set_nonblocking(true)?;
    let mut text = vec![0; 65536];
    let length = socket.recv(&mut text).because("a datagram")?;
    text.truncate(length);
    Ok(text)
}

const RUN: &str = "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal";
const JOURNAL: &str = "/run/systemd/journal/socket";

fn journald_gets_entries_of_its_own_protocol(ctx: &Ctx) -> Outcome {
    let entry = sent(ctx, JOURNAL, RUN, &["--log", "journald:web-1"])?;
    let text = String::from_utf8_lossy(&entry).into_owned();
    let fields: Vec<&str> = text.lines().collect();
    check_eq!(fields[0], "PRIORITY=3", "the first field");
    check!(
        fields[1].starts_with("MESSAGE=") && fields[1].contains("container does not exist"),
        "{text}"
    );
    check_eq!(
        fields[2..],
        ["ID=web-1", "SYSLOG_IDENTIFIER=corten"],
        "the others"
    );
    let json = ["--log", "journald:", "--log-format", "json"];
    let entry = sent(ctx, JOURNAL, RUN, &json)?;
    let text = String::from_utf8_lossy(&entry).into_owned();
    let message = text.lines().find_map(|line| line.strip_prefix("MESSAGE="));
    let message: Value = serde_json::from_str(message.because("a message")?)?;
    check_eq!(message["level"], json!("error"), "level");
    check!(text.contains("\nID=corten\n"), "{text}");
    Ok(())
}

fn syslog_gets_lines_as_of_the_c_library(ctx: &Ctx) -> Outcome {
    let dev = "mount -t tmpfs tmpfs /dev; mknod -m 666 /dev/null c 1 3";
    let line = sent(ctx, "/dev/log", dev, &["--log", "syslog:web-1"])?;
    let line = String::from_utf8_lossy(&line).into_owned();
    // Facility "user", severity "error", then Mmm dd hh:mm:ss.
    let rest = line.strip_prefix("<11>").because(&line)?;
    check!(rest.len() > 16 && rest.as_bytes()[15] == b' ', "{line}");
    check_eq!(rest.as_bytes()[9], b':', "the time in {line}");
    let text = &rest[16..];
    check!(
        text.starts_with("web-1: ") && text.contains("container does not exist"),
        "{line}"
    );
    Ok(())
}

fn a_log_daemon_that_is_not_there_is_one_line(ctx: &Ctx) -> Outcome {
    for (target, before, path) in [
        ("journald:x", RUN, JOURNAL),
        (
            "syslog:x",
            "mount -t tmpfs tmpfs /dev; mknod /dev/null c 1 3",
            "/dev/log",
        ),
    ] {
        let script = format!("{before}; exec \"$0\" \"$@\"");
        let cmd = ctx
            .rt(&["list"])
            .global(&["--log", target])
            .within(&alone(&script));
        cmd.run()?.refused()?.says(&[path])?;
    }
    Ok(())
}

fn a_file_can_be_named_as_one(ctx: &Ctx) -> Outcome {
    let path = ctx.dir.join("journald:x");
    let target = format!("file:{}", path.display());
    let cmd = ctx.rt(&["start", "nosuch"]).global(&["--log", &target]);
    cmd.run()?.refused()?;
    check!(
        std::fs::read_to_string(&path)?.contains("level=error"),
        "nothing in it"
    );
    Ok(())
}

fn a_log_that_cannot_be_written_is_one_line(ctx: &Ctx) -> Outcome {
    for target in ["/nosuch/dir/log", "/", "file:/nosuch/log"] {
        let cmd = ctx.rt(&["list"]).global(&["--log", target]);
        cmd.run()?.refused()?.says(&["open /"])?;
    }
    Ok(())
}
