//! What a container takes over from its caller: what was asked for, and nothing else.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::json;

tests!("inheritance":
    groups_of_the_caller_do_not_leak,
    umask_of_the_caller_does_not_leak,
    signal_mask_and_dispositions_of_the_caller_do_not_leak,
    rlimits_not_named_are_the_callers,
    the_session_keyring_is_new,
    no_new_keyring_keeps_the_callers,
    the_process_leads_its_own_session,
    only_the_three_standard_descriptors_are_open,
    standard_streams_that_are_closed_are_dev_null,
    preserve_fds_passes_that_many_on,
    descriptors_beyond_preserve_fds_do_not_leak,
    listen_fds_are_passed_on,
    names_of_listen_fds_go_with_them,
    listen_fds_of_another_process_are_not_passed_on,
    the_parent_death_signal_is_off,
    the_cgroup_of_the_caller_does_not_leak,
);

/// The probe as launcher of the runtime, in surroundings that must not leak.
fn dirty<'a>(ctx: &'a Ctx, options: &'a [&'a str]) -> Vec<String> {
    let mut words = vec![ctx.probe.to_string_lossy().into_owned(), "as".to_string()];
    words.extend(options.iter().map(|option| option.to_string()));
    words
}

fn groups_of_the_caller_do_not_leak(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/grep", "Groups", "/proc/self/status"]);
    let cmd = b
        .verb::<&str>("run", &[])?
        .within(&dirty(ctx, &["--groups", "4711,4712"]));
    let said = cmd.run()?.ok()?.stdout;
    check_eq!(said.trim(), "Groups:", "supplementary groups");
    Ok(())
}

fn umask_of_the_caller_does_not_leak(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.shell("grep Umask /proc/self/status; stat -c %a /made /dev/null");
    let b = b.set("/process/cwd", "/made");
    let cmd = b
        .verb::<&str>("run", &[])?
        .within(&dirty(ctx, &["--umask", "0177"]));
    let said = cmd.run()?.ok()?.stdout.replace('\t', " ");
    check_eq!(
        said,
        "Umask: 0022\n755\n666\n",
        "umask, mode of a made folder, mode of /dev/null"
    );
    Ok(())
}

fn signal_mask_and_dispositions_of_the_caller_do_not_leak(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.args(&["/bin/grep", "^Sig", "/proc/self/status"]);
    let dirt = [
        "--ignore", "1", "--ignore", "3", "--ignore", "13", "--block", "10", "--block", "15",
        "--ignore", "40",
    ];
    let cmd = b.verb::<&str>("run", &[])?.within(&dirty(ctx, &dirt));
    let said = cmd.run()?.ok()?.stdout;
    for line in said.lines().filter(|line| !line.starts_with("SigQ")) {
        check!(line.ends_with("\t0000000000000000"), "{line}");
    }
    Ok(())
}

fn rlimits_not_named_are_the_callers(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.shell("ulimit -S -n; ulimit -H -n; ulimit -S -c");
    let set = "ulimit -S -n 500; ulimit -H -n 600; ulimit -c 0; exec \"$0\" \"$@\"";
    let said = b
        .verb::<&str>("run", &[])?
        .within(&["/bin/sh", "-c", set])
        .run()?
        .ok()?
        .stdout;
    check_eq!(said, "500\n600\n0\n", "soft and hard NOFILE, CORE");
    Ok(())
}

/// Keeps the caller's session keyring apart from the machine's, with a known name.
fn keyring_facts(ctx: &Ctx, options: &[&str]) -> Outcome<(serde_json::Value, serde_json::Value)> {
    let probe = ctx.probe.to_string_lossy().into_owned();
    let mine = ctx.host(&[probe.as_str(), "facts"]).run()?.ok()?.stdout;
    let mine: serde_json::Value = serde_json::from_str(&mine)?;
    let mut b = Bundle::new(ctx)?.args(&["/bin/probe", "facts"]);
    b.id = "a-keyrings-owner".to_string();
    let facts: serde_json::Value =
        serde_json::from_str(&b.verb("run", options)?.run()?.ok()?.stdout)?;
    Ok((mine["keyring"].clone(), facts["keyring"].clone()))
}

fn the_session_keyring_is_new(ctx: &Ctx) -> Outcome {
    let (mine, found) = keyring_facts(ctx, &[])?;
    check!(
        found["serial"] != mine["serial"],
        "the keyring is the caller's: {found}"
    );
    let text = found["description"].as_str().because("description")?;
    let name = text.rsplit(';').next().unwrap_or_default();
    check!(
        name.contains("a-keyrings-owner"),
        "the keyring's name lacks the container's id: {text}"
    );
    Ok(())
}

fn no_new_keyring_keeps_the_callers(ctx: &Ctx) -> Outcome {
    let (mine, found) = keyring_facts(ctx, &["--no-new-keyring"])?;
    check_eq!(
        found["serial"],
        mine["serial"],
        "serial of the session keyring"
    );
    Ok(())
}

fn the_process_leads_its_own_session(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.facts()?;
    check_eq!(facts.0["sid"], facts.0["pid"], "session");
    let facts = Bundle::new(ctx)?.without_namespace("pid").facts()?;
    check_eq!(
        facts.0["sid"],
        facts.0["pid"],
        "session without a pid namespace"
    );
    Ok(())
}

/// Numbers and targets of the descriptors that a shell in the container sees.
fn descriptors(ctx: &Ctx, options: &[&str], open: &str) -> Outcome<String> {
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "facts"]);
    let cmd = b.verb("run", options)?;
    let line = format!("{open} exec \"$0\" \"$@\"");
    let output = cmd.within(&["/bin/bash", "-c", &line]).run()?.ok()?;
    let facts: serde_json::Value = serde_json::from_str(&output.stdout)?;
    let all = facts["descriptors"].as_object().because("descriptors")?;
    // The reading of the folder itself holds one open; it lies in /proc.
    let seen = all
        .iter()
        .filter(|(_, target)| !target.to_string().contains("/proc/"));
    Ok(seen
        .map(|(number, _)| number.as_str())
        .collect::<Vec<_>>()
        .join(" "))
}

fn only_the_three_standard_descriptors_are_open(ctx: &Ctx) -> Outcome {
    check_eq!(descriptors(ctx, &[], "")?, "0 1 2", "descriptors");
    Ok(())
}

const OPEN: &str = "exec 3</etc/passwd 4</etc/group 5</etc/hosts 17</etc/fstab;";

fn standard_streams_that_are_closed_are_dev_null(ctx: &Ctx) -> Outcome {
    // Files that the runtime opens must not take their numbers: its messages would land there.
    let b = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]);
    ctx.created(&b.id);
    let closed = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    b.verb::<&str>("create", &[])?.within(&closed).run()?.ok()?;
    let state = ctx.rt(&["state", &b.id]).run()?.ok()?;
    let state: serde_json::Value = serde_json::from_str(&state.stdout)?;
    for fd in 0..3 {
        let link = format!("/proc/{}/fd/{fd}", state["pid"]);
        let found = std::fs::read_link(&link).because(&link)?;
        check_eq!(found.to_string_lossy(), "/dev/null", "stream {fd}");
    }
    Ok(())
}

fn preserve_fds_passes_that_many_on(ctx: &Ctx) -> Outcome {
    check_eq!(
        descriptors(ctx, &["--preserve-fds", "2"], OPEN)?,
        "0 1 2 3 4",
        "descriptors"
    );
    Ok(())
}

fn descriptors_beyond_preserve_fds_do_not_leak(ctx: &Ctx) -> Outcome {
    check_eq!(descriptors(ctx, &[], OPEN)?, "0 1 2", "descriptors");
    Ok(())
}

fn listen_fds_are_passed_on(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.shell("echo $LISTEN_FDS $LISTEN_PID; readlink /proc/self/fd/3");
    let cmd = b.verb::<&str>("run", &[])?.env("LISTEN_FDS", "1");
    let line = "exec 3</dev/zero; LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let said = cmd.within(&["/bin/sh", "-c", line]).run()?.ok()?.stdout;
    check_eq!(
        said,
        "1 1\n/dev/zero\n",
        "LISTEN_FDS, LISTEN_PID and descriptor 3"
    );
    Ok(())
}

fn names_of_listen_fds_go_with_them(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.shell("echo $LISTEN_FDS $LISTEN_FDNAMES");
    let cmd = b.verb::<&str>("run", &[])?.env("LISTEN_FDNAMES", "web:ctl");
    let line =
        "exec 3</dev/zero 4</dev/zero; export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let said = cmd.within(&["/bin/sh", "-c", line]).run()?.ok()?.stdout;
    check_eq!(said, "2 web:ctl\n", "LISTEN_FDS and LISTEN_FDNAMES");
    Ok(())
}

fn listen_fds_of_another_process_are_not_passed_on(ctx: &Ctx) -> Outcome {
    for pid in ["1", "", "x"] {
        let inside = "echo ${LISTEN_FDS-none} ${LISTEN_FDNAMES-none}; ls /proc/self/fd | wc -l";
        let b = Bundle::new(ctx)?.shell(inside);
        let cmd = b.verb::<&str>("run", &[])?.env("LISTEN_PID", pid);
        let cmd = cmd.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "web");
        let line = "exec 3</dev/zero; exec \"$0\" \"$@\"";
        let said = cmd.within(&["/bin/sh", "-c", line]).run()?.ok()?.stdout;
        // The fourth is the directory that is read.
        check_eq!(said, "none none\n4\n", "with LISTEN_PID={pid:?}");
    }
    Ok(())
}

fn the_parent_death_signal_is_off(ctx: &Ctx) -> Outcome {
    check_eq!(
        Bundle::new(ctx)?.facts()?.0["parent_death_signal"],
        json!(0),
        "signal"
    );
    Ok(())
}

fn the_cgroup_of_the_caller_does_not_leak(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?;
    let wanted = ctx.cgroup(&b.id);
    let text = crate::cgroups::known(&b.facts()?.text("cgroup")?, &ctx.hierarchies);
    check!(!text.is_empty(), "/proc/self/cgroup shows nothing");
    // The unified hierarchy of a hybrid machine is judged in cgroup_v1.
    let v1_only = text.lines().count() > 1;
    for line in text
        .lines()
        .filter(|line| !(v1_only && line.starts_with("0::")))
    {
        check!(
            line.ends_with(&wanted),
            "/proc/self/cgroup shows {line}, wanted {wanted}"
        );
    }
    Ok(())
}
