//! `mounts add` and `mounts remove`.

use anyhow::{Context as _, Result, bail};

use super::args::{Global, Mounts, MountsAction};
use super::{context, read_file};
use crate::config;
use crate::container::template::Template;
use crate::container::{Status, status};
use crate::launch::exec::open_init;
use crate::launch::hotplug::Target;

/// Changes the mounts of a container that runs.
///
/// # Errors
/// The first mount that cannot be made or unmounted.
pub fn mounts(global: &Global, args: &Mounts) -> Result<()> {
    let entry = context::entry(global, &args.id)?;
    let state = entry.read_state()?;
    // The descriptor first, the look after: what it stands for is then the init.
    let init = open_init(&state)?;
    let status = status::of(&state, entry.dir());
    // Nothing of the host's files stays open while the container's mounts are entered.
    drop(entry);
    match (status, init) {
        (Status::Created | Status::Running | Status::Paused, Some(init)) => {
            let template: Template<'_> = serde_json::from_slice(state.template.as_bytes())
                .with_context(|| format!("the state of container {:?} is incomplete", args.id))?;
            let target = Target {
                state: &state,
                init,
                template: &template,
            };
            change(&target, args)
        }
        (Status::Creating, _) => {
            bail!("cannot change the mounts of a container that is being created")
        }
        _ => bail!("cannot change the mounts of a stopped container"),
    }
}

fn change(target: &Target<'_>, args: &Mounts) -> Result<()> {
    let text = read_file::read(&args.file, "mounts")?;
    let name = args.file.display().to_string();
    let (mounts, alone) = config::parse_mounts(&text).map_err(|error| error.in_file(&name))?;
    if mounts.is_empty() {
        bail!("{name}: there are no mounts in it");
    }
    let result = match args.action {
        MountsAction::Add => target.add(&mounts),
        MountsAction::Remove => target.remove(&mounts),
    };
    result.map_err(|error| {
        let text = error.to_string();
        let text = text.strip_prefix("config.json: ").unwrap_or(&text);
        // What is not about one of the mounts is not about the file.
        match text.strip_prefix("/mounts/") {
            Some(rest) if alone => anyhow::anyhow!("{name}: /{rest}"),
            Some(_) => anyhow::anyhow!("{name}: {text}"),
            None => anyhow::anyhow!("{text}"),
        }
    })
}
