//! Bad use: one clear line and runc's exit code, for every verb that `--help` names.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, fail};
use crate::{check, check_eq, tests};
use std::fs;
use std::path::Path;
use std::process::Stdio;

tests!("usage":
    unknown_flags_are_refused_by_every_verb,
    too_many_arguments_are_refused_by_every_verb,
    missing_arguments_are_refused_by_every_verb,
    flags_without_their_value_are_refused_by_every_verb,
    unknown_and_empty_ids_are_refused_by_every_verb,
    verbs_in_the_wrong_state_are_refused,
    signals_that_do_not_exist_are_refused,
    numbers_that_overflow_are_refused,
    a_process_file_that_cannot_be_read_is_refused,
    an_unknown_verb_is_refused_with_3,
    a_slip_is_answered_with_the_word_that_was_meant,
    root_may_be_relative_and_must_not_be_the_root,
    bad_global_flags_are_refused,
    a_closed_stdout_is_no_failure,
    a_full_stdout_is_one_line,
    help_of_every_verb_has_one_example,
    help_and_version_in_every_spelling,
    completions_complete_verbs_and_flags,
    completion_of_an_unknown_shell_is_refused,
);

/// A verb with what its help says of it.
struct Verb {
    name: String,
    help: String,
}

impl Verb {
    /// Its arguments as the usage line has them.
    fn usage(&self) -> &str {
        let line = self.help.lines().find(|line| line.starts_with("Usage: "));
        line.unwrap_or_default()
    }

    /// Whether it takes the id of a container that there is.
    fn takes_an_id(&self) -> bool {
        self.usage().contains("<CONTAINER-ID>") && !self.makes_one()
    }

    /// Whether its id is that of a new container.
    fn makes_one(&self) -> bool {
        ["create", "run", "restore"].contains(&self.name.as_str())
    }

    /// runc's exit code of its failures.
    fn code(&self) -> i32 {
        match self.name.as_str() {
            "exec" => 255,
            _ => 1,
        }
    }

    /// Its long flags, with whether they want a value.
    fn flags(&self) -> Vec<(String, bool)> {
        let options = self.help.split("\nOptions:\n").nth(1).unwrap_or_default();
        let lines = options.lines().take_while(|line| !line.is_empty());
        lines
            .filter_map(|line| {
                let (_, rest) = line.split_once("--")?;
                let end = rest.find([' ', '[']).unwrap_or(rest.len());
                Some((rest[..end].to_string(), rest[end..].starts_with(" <")))
            })
            .collect()
    }
}

/// All verbs that the help text names.
fn verbs(ctx: &Ctx) -> Outcome<Vec<Verb>> {
    let help = ctx.rt(&["--help"]).run()?.ok()?.stdout;
    let list = help.split("\nCommands:\n").nth(1).because("Commands:")?;
    let mut verbs = Vec::new();
    for line in list.lines().take_while(|line| !line.is_empty()) {
        let name = line.split_whitespace().next().because(line)?.to_string();
        let help = ctx.rt(&[&name, "--help"]).run()?.ok()?.stdout;
        verbs.push(Verb { name, help });
    }
    check!(verbs.len() > 12, "{} verbs in {help}", verbs.len());
    Ok(verbs)
}

/// Runs command lines that have to be refused in one line that says one of the words.
#[derive(Default)]
struct Refused {
    wrong: Vec<String>,
}

impl Refused {
    fn require(&mut self, ctx: &Ctx, args: &[&str], code: i32, says: &[&str]) -> Outcome {
        let tried = ctx
            .rt(args)
            .run()?
            .refused_with(code)
            .and_then(|output| output.says(says));
        match tried {
            Ok(output) if output.stdout.is_empty() => {}
            Ok(output) => self
                .wrong
                .push(format!("{args:?} prints {}", output.stdout)),
            Err(stop) => self.wrong.push(format!("{args:?}: {stop}")),
        }
        Ok(())
    }

    fn end(self, ctx: &Ctx) -> Outcome {
        if !self.wrong.is_empty() {
            return fail(self.wrong.join("\n"));
        }
        ctx.nothing_left()
    }
}

fn unknown_flags_are_refused_by_every_verb(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    for verb in verbs(ctx)? {
        for flag in ["--no-such-flag", "--no-such-flag=1", "-Z"] {
            let words = ["unknown flag"];
            refused.require(ctx, &[&verb.name, flag, "x"], 1, &words)?;
        }
    }
    refused.end(ctx)
}

fn too_many_arguments_are_refused_by_every_verb(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    for verb in verbs(ctx)? {
        let usage = verb.usage();
        // Lists of ids, and command lines of their own, have no end.
        if usage.contains("...") {
            continue;
        }
        let mut args = vec![verb.name.as_str()];
        let takes = usage.matches(" <").count() + usage.matches(" [").count();
        let first = match verb.name.as_str() {
            "completion" => "bash",
            "mounts" => "add",
            _ => "a",
        };
        args.push(first);
        // A second one may be a signal.
        args.extend(["TERM", "c", "d", "e"].iter().take(takes.max(1)));
        refused.require(ctx, &args, 1, &["one argument too many"])?;
    }
    refused.end(ctx)
}

fn missing_arguments_are_refused_by_every_verb(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    let mut tried = 0;
    for verb in verbs(ctx)? {
        if verb.usage().contains(" <") {
            refused.require(ctx, &[&verb.name], 1, &["missing argument"])?;
            tried += 1;
        }
    }
    check!(tried > 8, "{tried} verbs with arguments");
    refused.end(ctx)
}

fn flags_without_their_value_are_refused_by_every_verb(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    let mut tried = 0;
    for verb in verbs(ctx)? {
        for (flag, _) in verb.flags().iter().filter(|(_, valued)| *valued) {
            let flag = format!("--{flag}");
            let words = [format!("missing value of {flag}")];
            refused.require(ctx, &[&verb.name, &flag], 1, &[&words[0]])?;
            tried += 1;
        }
    }
    check!(tried > 25, "{tried} flags");
    refused.end(ctx)
}

fn unknown_and_empty_ids_are_refused_by_every_verb(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    let b = Bundle::new(ctx)?;
    b.write()?;
    let bundle = b.dir.to_string_lossy();
    for verb in verbs(ctx)? {
        let more: &[&str] = match verb.name.as_str() {
            "exec" => &["true"],
            "mounts" => &["/dev/null"],
            _ => &[],
        };
        let before: &[&str] = match verb.name.as_str() {
            "mounts" => &["add"],
            _ => &[],
        };
        if verb.takes_an_id() {
            let args = [&[verb.name.as_str()], before, &["nosuch"], more].concat();
            refused.require(ctx, &args, verb.code(), &["container does not exist"])?;
        }
        if verb.takes_an_id() || verb.makes_one() {
            let flags = verb.flags();
            let has_bundle = flags.iter().any(|(flag, _)| flag == "bundle");
            let options: &[&str] = match has_bundle {
                true => &["--bundle", &bundle],
                false => &[],
            };
            for id in ["", "../x", "a/b"] {
                let args = [&[verb.name.as_str()], before, options, &[id], more].concat();
                let words = ["invalid container id", "container id", "invalid id"];
                refused.require(ctx, &args, verb.code(), &words)?;
            }
        }
    }
    refused.end(ctx)
}

fn verbs_in_the_wrong_state_are_refused(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    let created = Bundle::new(ctx)?.create()?;
    let id = created.id.as_str();
    refused.require(ctx, &["resume", id], 1, &["not paused"])?;
    let running = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let id = running.id.as_str();
    for (args, words) in [
        (&["start", id][..], "running"),
        (&["resume", id], "not paused"),
        (&["delete", id], "running"),
    ] {
        refused.require(ctx, args, 1, &[words])?;
    }
    ctx.rt(&["pause", id]).run()?.ok()?;
    refused.require(ctx, &["pause", id], 1, &["paused", "not running"])?;
    refused.require(ctx, &["exec", id, "true"], 255, &["paused"])?;
    refused.require(ctx, &["start", id], 1, &["paused"])?;
    ctx.rt(&["kill", id, "KILL"]).run()?.ok()?;
    ctx.until("it has stopped", || {
        crate::procs::reap_all();
        let state = ctx.rt(&["state", id]).run();
        state.is_ok_and(|output| output.stdout.contains("\"stopped\""))
    })?;
    for (args, code) in [
        (&["start", id][..], 1),
        (&["kill", id, "TERM"], 1),
        (&["pause", id], 1),
        (&["resume", id], 1),
        (&["exec", id, "true"], 255),
    ] {
        refused.require(ctx, args, code, &["stopped", "not running", "not paused"])?;
    }
    ctx.rt(&["delete", id]).run()?.ok()?;
    ctx.rt(&["delete", "--force", &created.id]).run()?.ok()?;
    refused.end(ctx)
}

fn signals_that_do_not_exist_are_refused(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    for signal in [
        "NOSUCH",
        "SIG",
        "65",
        "-1",
        "999999999999999999999",
        "SIGRTMIN+99",
        "RTMAX+1",
        "",
        "TERM ",
        "9x",
    ] {
        // With two dashes before it, -1 is no flag.
        let words = ["unknown signal", "unknown flag"];
        refused.require(ctx, &["kill", "--", &c.id, signal], 1, &words)?;
    }
    c.status_is("running")?;
    ctx.rt(&["delete", "--force", &c.id]).run()?.ok()?;
    refused.end(ctx)
}

fn numbers_that_overflow_are_refused(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    let huge = "99999999999999999999999";
    for verb in ["create", "run", "exec"] {
        for number in [huge, "4294967296", "-1", "1e3", "0x10", " 1", ""] {
            let value = format!("--preserve-fds={number}");
            let words = ["--preserve-fds"];
            refused.require(
                ctx,
                &[verb, &value, "x", "true"][..if verb == "exec" { 4 } else { 3 }],
                1,
                &words,
            )?;
        }
    }
    for (flag, value) in [
        ("--user", huge),
        ("--user", "1:4294967296"),
        ("--user", "-1"),
        ("--additional-gids", huge),
        ("--additional-gids", "nobody"),
    ] {
        let value = format!("{flag}={value}");
        let words = [flag, "group number", "number"];
        refused.require(ctx, &["exec", &value, "x", "true"], 1, &words)?;
    }
    refused.end(ctx)
}

fn a_process_file_that_cannot_be_read_is_refused(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let text = ctx.dir.join("text");
    fs::write(&text, "no json")?;
    let (dir, text) = (ctx.dir.to_string_lossy(), text.to_string_lossy());
    for (file, words) in [
        ("/nosuch/process.json", "/nosuch/process.json"),
        (&*dir, "directory"),
        (&*text, "not valid JSON"),
        ("/dev/null", "empty"),
    ] {
        let args = ["exec", "--process", file, &c.id];
        refused.require(ctx, &args, 255, &[words])?;
    }
    ctx.rt(&["delete", "--force", &c.id]).run()?.ok()?;
    refused.end(ctx)
}

fn an_unknown_verb_is_refused_with_3(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    for verb in ["nosuch", "", "CREATE", "creat e", "ünknown"] {
        refused.require(ctx, &[verb], 3, &["unknown command"])?;
        refused.require(ctx, &["help", verb], 3, &["unknown command"])?;
    }
    refused.end(ctx)
}

fn a_slip_is_answered_with_the_word_that_was_meant(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    refused.require(ctx, &["craete"], 3, &["did you mean create?"])?;
    refused.require(
        ctx,
        &["delete", "--forse", "x"],
        1,
        &["did you mean --force?"],
    )?;
    refused.end(ctx)
}

fn root_may_be_relative_and_must_not_be_the_root(ctx: &Ctx) -> Outcome {
    let words = ["--root must not be /"];
    for root in ["/", "//", "/."] {
        let cmd = ctx.rt(&["list"]).global(&["--root", root]);
        cmd.run()?.refused()?.says(&words)?;
    }
    // As in runc, from the current directory.
    let b = Bundle::new(ctx)?;
    let cmd = b.verb::<&str>("create", &[])?.global(&["--root", "own"]);
    cmd.cwd(&ctx.dir).run()?.ok()?;
    check!(
        ctx.dir.join("own").join(&b.id).is_dir(),
        "no state in ./own"
    );
    let delete = ctx.rt(&["delete", "--force", &b.id]);
    delete
        .global(&["--root", "own"])
        .cwd(&ctx.dir)
        .run()?
        .ok()?;
    ctx.nothing_left()
}

fn bad_global_flags_are_refused(ctx: &Ctx) -> Outcome {
    for (flags, words) in [
        (&["--nosuch"][..], "unknown flag --nosuch"),
        (&["--log-format", "xml"], "use text or json"),
        (
            &["--log-level", "loud"],
            "use error, warning, info or debug",
        ),
        (
            &["--cgroup-manager", "own"],
            "use cgroupfs, systemd or disabled",
        ),
        (&["--rootless", "maybe"], "use true, false or auto"),
        (&["--debug=perhaps"], "use true or false"),
    ] {
        let output = ctx.rt(&["list"]).global(flags).run()?.refused()?;
        output.says(&[words])?;
    }
    ctx.nothing_left()
}

/// Verbs that print, with what they need.
fn printing(id: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["state", id],
        vec!["list"],
        vec!["list", "--format", "json"],
        vec!["ps", "--format", "json", id],
        vec!["features"],
        vec!["info"],
        vec!["completion", "bash"],
        vec!["--help"],
        vec!["--version"],
        vec!["create", "--help"],
    ]
}

/// Standard streams that are closed are /dev/null, as Go's runtime has it: nothing else may be
/// written to in their place.
fn a_closed_stdout_is_no_failure(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    for args in printing(&c.id) {
        let within = ["sh", "-c", "exec \"$0\" \"$@\" >&-"];
        let output = ctx.rt(&args).within(&within).run()?.ok()?;
        check_eq!(output.stderr.as_str(), "", "stderr of {args:?}");
    }
    c.status_is("running")?;
    ctx.rt(&["delete", "--force", &c.id]).run()?.ok()?;
    ctx.nothing_left()
}

fn a_full_stdout_is_one_line(ctx: &Ctx) -> Outcome {
    let c = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    for args in printing(&c.id) {
        let full = fs::OpenOptions::new().write(true).open("/dev/full")?;
        let err = ctx.dir.join("err");
        let stderr = fs::File::create(&err)?;
        let cmd = ctx.rt(&args);
        let mut running = cmd.spawn_with(Stdio::null(), full.into(), stderr.into())?;
        check_eq!(running.wait()?, 1, "exit code of {args:?}");
        let text = fs::read_to_string(&err)?;
        check_eq!(text.lines().count(), 1, "lines of {args:?}: {text}");
        check!(text.contains("cannot write to standard output"), "{text}");
    }
    ctx.rt(&["delete", "--force", &c.id]).run()?.ok()?;
    ctx.nothing_left()
}

fn help_of_every_verb_has_one_example(ctx: &Ctx) -> Outcome {
    for verb in verbs(ctx)? {
        let (_, example) = verb.help.split_once("\nExample:\n").because(&verb.name)?;
        let lines: Vec<&str> = example.lines().collect();
        check_eq!(lines.len(), 1, "examples of {}", verb.name);
        let word = format!(" {} ", verb.name);
        check!(
            lines[0].starts_with("  corten ") && format!("{} ", lines[0]).contains(&word),
            "{}",
            lines[0]
        );
        check!(!verb.usage().is_empty(), "no usage of {}", verb.name);
    }
    Ok(())
}

fn help_and_version_in_every_spelling(ctx: &Ctx) -> Outcome {
    for verb in verbs(ctx)? {
        for args in [
            [verb.name.as_str(), "-h"],
            ["help", &verb.name],
            ["h", &verb.name],
        ] {
            let output = ctx.rt(&args).run()?.ok()?;
            check_eq!(output.stdout, verb.help, "{args:?}");
        }
    }
    let version = ctx.rt(&["--version"]).run()?.ok()?.stdout;
    for short in ["-v", "-V"] {
        check_eq!(ctx.rt(&[short]).run()?.ok()?.stdout, version, "{short}");
    }
    let lines: Vec<&str> = version.lines().collect();
    check!(lines[0].starts_with("corten version "), "{version}");
    check!(lines.contains(&"spec: 1.3.0"), "{version}");
    Ok(())
}

/// A script for each shell that is installed, and what it offers for a word that was begun.
fn completions_complete_verbs_and_flags(ctx: &Ctx) -> Outcome {
    let bin = ctx.dir.join("bin");
    fs::create_dir(&bin)?;
    std::os::unix::fs::symlink(&ctx.runtime, bin.join("corten"))?;
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut shells = 0;
    for (shell, file) in [
        ("bash", "corten.bash"),
        ("zsh", "_corten"),
        ("fish", "corten.fish"),
    ] {
        let script = ctx.rt(&["completion", shell]).run()?.ok()?.stdout;
        check!(script.contains("console-socket"), "{shell}: {script}");
        fs::write(ctx.dir.join(file), script)?;
        if !Path::new("/usr/bin").join(shell).exists() && !Path::new("/bin").join(shell).exists() {
            continue;
        }
        shells += 1;
        let file = ctx.dir.join(file).to_string_lossy().into_owned();
        for (line, offered) in [
            ("corten featu", "features"),
            ("corten create --consol", "--console-socket"),
            ("corten --log-for", "--log-format"),
            ("corten doct", "doctor"),
        ] {
            let program = match shell {
                "bash" => format!(
                    "source {file}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
                     _corten corten \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
                     printf '%s\\n' \"${{COMPREPLY[@]}}\""
                ),
                "fish" => format!("source {file}; complete -C '{line}'"),
                // What zsh would offer takes a terminal: the script is only read.
                _ => format!(
                    "autoload -Uz compinit; compinit -D; source {file}; \
                     whence -f _corten | grep -o -e {offered}"
                ),
            };
            let output = ctx
                .host(&[shell, "-c", &program])
                .env("PATH", &path)
                .run()?;
            check!(
                output
                    .stdout
                    .lines()
                    .any(|word| word.split('\t').next() == Some(offered)),
                "{shell} offers for {line:?}: {} {}",
                output.stdout,
                output.stderr
            );
        }
    }
    check!(shells > 0, "no shell to try");
    Ok(())
}

fn completion_of_an_unknown_shell_is_refused(ctx: &Ctx) -> Outcome {
    let mut refused = Refused::default();
    refused.require(ctx, &["completion", "tcsh"], 1, &["use bash, zsh or fish"])?;
    refused.require(ctx, &["completion", ""], 1, &["bash", "shell"])?;
    refused.end(ctx)
}
