//! One command line: built, run, recorded, judged.

use crate::context::Ctx;
use crate::outcome::{Because, Outcome, fail};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A command to be run.
pub struct Cmd<'a> {
    ctx: &'a Ctx,
    program: String,
    globals: Vec<String>,
    args: Vec<String>,
    wrapper: Vec<String>,
    env: Vec<(String, String)>,
    cwd: Option<PathBuf>,
    stdin: Option<Stdio>,
    output: Option<PathBuf>,
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; 128 + signal when a signal ended the command itself.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
    line: String,
}

/// A command that runs in the background with pipes for its stdio.
pub struct Running {
    /// The process; its stdin, stdout and stderr may be taken.
    pub child: Child,
}

fn code_of(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

fn strings<S: AsRef<str>>(items: &[S]) -> Vec<String> {
    items.iter().map(|item| item.as_ref().to_string()).collect()
}

impl<'a> Cmd<'a> {
    /// The runtime under test with the test's state root.
    pub fn runtime<S: AsRef<str>>(ctx: &'a Ctx, args: &[S]) -> Cmd<'a> {
        let mut cmd = Cmd::host(ctx, &[ctx.runtime.to_string_lossy()]);
        cmd.globals = vec![
            "--root".to_string(),
            ctx.state_root().to_string_lossy().into(),
        ];
        if ctx.driver.systemd {
            cmd.globals.push("--cgroup-manager=systemd".to_string());
        }
        cmd.args = strings(args);
        let mut launch = Vec::new();
        if ctx.pure_v2.load(Ordering::Relaxed) {
            launch.push("--cgroup2".to_string());
        }
        let view = ctx
            .view
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if !view.is_empty() {
            launch.extend(["--cgroups".to_string(), view.clone()]);
        }
        if ctx.old_kernel.load(Ordering::Relaxed) {
            launch.push("--old-kernel".to_string());
        }
        let as_user = ctx
            .as_user
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if !as_user.is_empty() {
            // Where the user can reach it.
            cmd.program = crate::user::runtime(ctx).to_string_lossy().into();
            launch.extend(as_user.iter().cloned());
            if let Some(id) = ctx.driver.user {
                cmd = cmd.env("XDG_RUNTIME_DIR", &format!("/run/user/{id}"));
            }
        }
        if !launch.is_empty() {
            cmd.wrapper = vec![ctx.probe.to_string_lossy().into(), "as".to_string()];
            cmd.wrapper.append(&mut launch);
        }
        cmd
    }

    /// A program of the host with its arguments.
    pub fn host<S: AsRef<str>>(ctx: &'a Ctx, argv: &[S]) -> Cmd<'a> {
        let mut argv = strings(argv).into_iter();
        Cmd {
            ctx,
            program: argv.next().unwrap_or_default(),
            globals: Vec::new(),
            args: argv.collect(),
            wrapper: Vec::new(),
            env: Vec::new(),
            cwd: None,
            stdin: None,
            output: None,
        }
    }

    /// Adds global options in front of the verb.
    pub fn global<S: AsRef<str>>(mut self, options: &[S]) -> Cmd<'a> {
        self.globals.extend(strings(options));
        self
    }

    /// Starts the command through another program that executes it.
    pub fn within<S: AsRef<str>>(mut self, wrapper: &[S]) -> Cmd<'a> {
        let mut all = strings(wrapper);
        all.append(&mut self.wrapper);
        self.wrapper = all;
        self
    }

    /// Sets a variable of the command's environment.
    pub fn env(mut self, key: &str, value: &str) -> Cmd<'a> {
        self.env.push((key.to_string(), value.to_string()));
        self
    }

    /// Gives the command this standard input.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Cmd<'a> {
        self.stdin = Some(stdin.into());
        self
    }

    /// Starts the command in this directory.
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Cmd<'a> {
        self.cwd = Some(dir.into());
        self
    }

    /// Keeps stdout and stderr in `PATH.out` and `PATH.err`, where the
    /// container's own output ends up too when it outlives the command.
    pub fn output(mut self, path: PathBuf) -> Cmd<'a> {
        self.output = Some(path);
        self
    }

    fn build(&mut self) -> (Command, String) {
        let mut argv = std::mem::take(&mut self.wrapper);
        argv.push(self.program.clone());
        argv.append(&mut self.globals);
        argv.append(&mut self.args);
        let line = argv.join(" ");
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        for (key, value) in &self.env {
            command.env(key, value);
        }
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        (command, line)
    }

    /// Runs it to its end. Output goes through files, so that a container that
    /// inherits stdio and lives on cannot hold the caller up.
    pub fn run(mut self) -> Outcome<Output> {
        let (mut command, line) = self.build();
        let base = self
            .output
            .take()
            .unwrap_or_else(|| self.ctx.dir.join(format!("cmd{}", self.ctx.next())));
        let (out, err) = (base.with_extension("out"), base.with_extension("err"));
        let create = |path: &PathBuf| {
            let file = File::create(path)?;
            // As a user's shell would have made it.
            std::os::unix::fs::fchown(&file, self.ctx.driver.user, self.ctx.driver.user)?;
            Ok::<_, std::io::Error>(file)
        };
        command
            .stdin(self.stdin.take().unwrap_or_else(Stdio::null))
            .stdout(create(&out)?)
            .stderr(create(&err)?);
        let place = self.ctx.note(format!("$ {line}"));
        let begin = Instant::now();
        let mut child = command.spawn().because(&line)?;
        drop(command);
        let status = child.wait()?;
        let output = Output {
            code: code_of(status),
            stdout: String::from_utf8_lossy(&std::fs::read(&out)?).into_owned(),
            stderr: String::from_utf8_lossy(&std::fs::read(&err)?).into_owned(),
            line,
        };
        let ms = begin.elapsed().as_millis();
        let mut ending = format!("\n  exit {} after {ms} ms", output.code);
        for text in [&output.stdout, &output.stderr] {
            if !text.trim().is_empty() {
                let short: String = text.trim().chars().take(400).collect();
                ending.push_str(&format!("\n  {}", short.replace('\n', "\n  ")));
            }
        }
        self.ctx.amend(place, &ending);
        Ok(output)
    }

    /// Starts it in the background; stdin, stdout and stderr are pipes.
    pub fn spawn(mut self) -> Outcome<Running> {
        let (mut command, line) = self.build();
        command
            .stdin(self.stdin.take().unwrap_or_else(Stdio::piped))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.ctx.note(format!("$ {line} &"));
        Ok(Running {
            child: command.spawn().because(&line)?,
        })
    }

    /// Starts it in the background with these three as its stdio.
    pub fn spawn_with(mut self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Outcome<Running> {
        let (mut command, line) = self.build();
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        self.ctx.note(format!("$ {line} &"));
        Ok(Running {
            child: command.spawn().because(&line)?,
        })
    }
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for the end; the exit code as in `Output`.
    pub fn wait(&mut self) -> Outcome<i32> {
        Ok(code_of(self.child.wait()?))
    }
}

impl Output {
    /// Fails unless the exit code is 0.
    pub fn ok(self) -> Outcome<Output> {
        self.code_is(0)
    }

    /// Fails unless the exit code is `code`.
    pub fn code_is(self, code: i32) -> Outcome<Output> {
        if self.code == code {
            return Ok(self);
        }
        fail(format!(
            "exit code {} instead of {code} of `{}`: {}",
            self.code,
            self.line,
            self.stderr.trim()
        ))
    }

    /// Fails unless the command was refused in the promised form: exit code 1
    /// and exactly one line on stderr.
    pub fn refused(self) -> Outcome<Output> {
        self.refused_with(1)
    }

    /// The same with another exit code: 255 is `exec`'s.
    pub fn refused_with(self, code: i32) -> Outcome<Output> {
        let output = self.code_is(code)?;
        let lines = output
            .stderr
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        if lines == 1 {
            return Ok(output);
        }
        fail(format!(
            "{lines} lines on stderr instead of one:\n{}",
            output.stderr.trim()
        ))
    }

    /// Fails unless stderr holds one of the texts, whatever the case of letters.
    pub fn says(self, any_of: &[&str]) -> Outcome<Output> {
        let found = self.stderr.to_lowercase();
        if any_of
            .iter()
            .any(|text| found.contains(&text.to_lowercase()))
        {
            return Ok(self);
        }
        fail(format!("stderr lacks {any_of:?}: {}", self.stderr.trim()))
    }
}
