//! `exec`: one more process in a container that runs.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::args::{Exec, Global};
use super::{context, create};
use crate::cgroup::Beneath;
use crate::config;
use crate::config::spec::{Capabilities, Process, Text};
use crate::container::template::Template;
use crate::container::{Status, status};
use crate::launch::exec::{Request, exec as launch};
use crate::launch::foreground::{self, Signals};

/// Runs a process in a container; gives its exit code.
///
/// # Errors
/// Why it does not run.
pub fn exec(global: &Global, args: Exec) -> Result<u8> {
    let entry = context::entry(global, &args.id)?;
    let state = entry.read_state()?;
    match status::of(&state, entry.dir()) {
        Status::Stopped => bail!("cannot exec in a stopped container"),
        Status::Creating => bail!("cannot exec in a container that is being created"),
        Status::Paused if !args.ignore_paused => {
            bail!("cannot exec in a paused container (use --ignore-paused to override)")
        }
        Status::Paused | Status::Created | Status::Running => {}
    }
    let mut template: Template<'_> = serde_json::from_slice(state.template.as_bytes())
        .with_context(|| {
            format!(
                "the state of container {:?} has no process to follow",
                args.id
            )
        })?;
    let file = match &args.process {
        Some(path) => read_file(path)?,
        None => Vec::new(),
    };
    match &args.process {
        Some(path) => {
            let in_file = |error: config::ConfigError| error.in_file(path.display().to_string());
            template.process = config::parse_process(&file).map_err(in_file)?;
            for warning in config::check_process(&template.process).map_err(in_file)? {
                log::warn!("{}: {warning}", path.display());
            }
        }
        None => {
            apply(&mut template.process, &args)?;
            for warning in config::check_process(&template.process)? {
                log::warn!("{warning}");
            }
        }
    }
    let cgroups = args.cgroups.iter().map(|text| Beneath::parse(text));
    let cgroups = cgroups
        .collect::<Result<_, _>>()
        .map_err(|why| anyhow::anyhow!("--cgroup: {why}"))?;
    let (listen_fds, listen_env) = create::socket_activation();
    let request = Request {
        state: &state,
        template: &template,
        detached: args.detach,
        console_socket: args.console_socket,
        pidfd_socket: args.pidfd_socket,
        pid_file: args.pid_file,
        preserve_fds: args.preserve_fds.saturating_add(listen_fds),
        listen_env,
        cgroups,
    };
    if args.detach {
        launch(&request).context("exec failed")?;
        return Ok(0);
    }
    // Before the clone, so that no signal and no child's end is missed.
    let signals = Signals::block().context("cannot watch for signals")?;
    let running = launch(&request).context("exec failed")?;
    let code = foreground::wait(&running, &signals).context("cannot wait for the process")?;
    // Exit codes have eight bits.
    Ok(code as u8)
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin()
            .read_to_end(&mut text)
            .context("cannot read the process from standard input")?;
        return Ok(text);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Changes the container's own process by the flags, as runc does.
fn apply(process: &mut Process<'_>, args: &Exec) -> Result<()> {
    if args.args.is_empty() {
        bail!("exec needs a command, or --process FILE (see 'corten exec --help')");
    }
    let text = |text: &String| Text::from(text.clone());
    process.args = args.args.iter().map(text).collect();
    if let Some(cwd) = &args.cwd {
        process.cwd = text(cwd);
    }
    process.env.extend(args.env.iter().map(text));
    process.terminal = args.tty.unwrap_or(process.terminal);
    if let Some((uid, gid)) = args.user {
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
    }
    process.user.additional_gids.extend(&args.additional_gids);
    process.no_new_privileges = args.no_new_privs.unwrap_or(process.no_new_privileges);
    if args.apparmor.is_some() {
        process.apparmor_profile = args.apparmor.as_ref().map(text);
    }
    if args.process_label.is_some() {
        process.selinux_label = args.process_label.as_ref().map(text);
    }
    if !args.caps.is_empty() {
        let sets = process
            .capabilities
            .get_or_insert_with(Capabilities::default);
        // Not inheritable: a program without file capabilities has no use for it
        // (CVE-2022-29162).
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(args.caps.iter().map(text));
        }
    }
    Ok(())
}
