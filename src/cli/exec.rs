//! `exec`: one more process in a container that runs.

use anyhow::{Context as _, Result, bail};

use super::args::{Exec, Global};
use super::{context, create, read_file};
use crate::cgroup::Beneath;
use crate::config;
use crate::config::spec::{Capabilities, Process, Text};
use crate::container::template::Template;
use crate::container::{Status, status};
use crate::launch::exec::{Request, exec as launch, open_init};
use crate::launch::foreground::{self, Signals};

/// Runs a process in a container; gives its exit code.
///
/// # Errors
/// Why it does not run.
pub fn exec(global: &Global, args: Exec) -> Result<u8> {
    let entry = context::entry(global, &args.id)?;
    let state = entry.read_state()?;
    // The descriptor first, the look after: what it stands for is then the init.
    let init = open_init(&state)?;
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
        Some(path) => read_file::read(path, "process")?,
        None => Vec::new(),
    };
    let name = match &args.process {
        Some(path) => {
            let name = path.display().to_string();
            let parsed = config::parse_process(&file);
            template.process = parsed.map_err(|error| error.in_file(&name))?;
            name
        }
        None => {
            apply(&mut template.process, &args)?;
            "process".to_owned()
        }
    };
    let checked = config::check_process(&template.process);
    for warning in checked.map_err(|error| error.in_file(&name))? {
        log::warn!("{}", warning.in_file(&name));
    }
    let cgroups = args.cgroups.iter().map(|text| Beneath::parse(text));
    let cgroups = cgroups
        .collect::<Result<_, _>>()
        .map_err(|why| anyhow::anyhow!("--cgroup: {why}"))?;
    let (listen_fds, listen_env) = create::socket_activation();
    let request = Request {
        state: &state,
        init: init.context("cannot exec in a stopped container")?,
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
        launch(&request)?;
        return Ok(0);
    }
    // Before the clone, so that no signal and no child's end is missed.
    let signals = Signals::block().context("cannot watch for signals")?;
    let running = launch(&request)?;
    let code = foreground::wait(&running, &signals, None).context("cannot wait for the process")?;
    // The process ends here, and the kernel closes all at once.
    std::mem::forget((running, signals, request, entry));
    // Exit codes have eight bits.
    Ok(code as u8)
}

/// Changes the container's own process by the flags, as runc does.
fn apply(process: &mut Process<'_>, args: &Exec) -> Result<()> {
    if args.args.is_empty() {
        bail!("exec needs a command, or --process FILE (see 'corten exec --help')");
    }
    let text = |text: &String| Text::from(text.clone());
    process.args = args.args.iter().map(text).collect();
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    if let Some(cwd) = &given(&args.cwd) {
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
    if let Some(profile) = &given(&args.apparmor) {
        process.apparmor_profile = Some(text(profile));
    }
    if let Some(label) = &given(&args.process_label) {
        process.selinux_label = Some(text(label));
    }
    if !args.caps.is_empty() {
        let sets = process
            .capabilities
            .get_or_insert_with(Capabilities::default);
        // Not inheritable: a program without file capabilities has no use for it
        // (CVE-2022-29162). What the container's own process may inherit is ambient too,
        // as runc has it: else another user than root would not get it.
        let inheritable = &sets.inheritable;
        let ambient = args
            .caps
            .iter()
            .filter(|cap| inheritable.iter().any(|i| i == cap.as_str()));
        sets.ambient.extend(ambient.map(text));
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(args.caps.iter().map(text));
        }
    }
    Ok(())
}
