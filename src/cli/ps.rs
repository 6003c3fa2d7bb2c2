//! `ps`: the processes of a container, as its cgroup has them.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

use super::args::{Global, ListFormat, Ps};
use super::{context, print};
use crate::launch::hooks::one_line;

/// Prints the processes of a container.
///
/// # Errors
/// It has no cgroup that tells, or the host's ps(1) fails or prints no pids.
pub fn ps(global: &Global, args: &Ps) -> Result<()> {
    let state = context::entry(global, &args.id)?.read_state()?;
    if !state.cgroup.lists_processes() {
        bail!(
            "cannot list the processes of container {}: it has no cgroup of its own \
             (it was made with --cgroup-manager=disabled or without the right to make one)",
            args.id
        );
    }
    let pids = state.cgroup.processes()?;
    match args.format {
        ListFormat::Json => print::line(&serde_json::to_string(&pids)?),
        ListFormat::Table => print::bytes(&of_these(&host_ps(&args.options)?, &pids)?),
    }
}

/// What ps(1) of the host prints.
fn host_ps(options: &[OsString]) -> Result<Vec<u8>> {
    let mut command = Command::new("ps");
    match options {
        [] => command.arg("-ef"),
        options => command.args(options),
    };
    let ran = command.stdin(Stdio::null()).output();
    let Output {
        status,
        stdout,
        stderr,
    } = match ran {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("exec: \"ps\": executable file not found in $PATH (Debian's package is procps)")
        }
        ran => ran.context("cannot run ps")?,
    };
    let said = one_line(&String::from_utf8_lossy(&stderr));
    match (status.code(), status.signal()) {
        (Some(0), _) => {}
        (Some(code), _) => bail!("ps: exit status {code}: {said}"),
        (None, signal) => bail!("ps: killed by signal {}", signal.unwrap_or_default()),
    }
    if !said.is_empty() {
        log::warn!("ps: {said}");
    }
    Ok(stdout)
}

/// The heading and the lines of these processes.
fn of_these(table: &[u8], pids: &[u32]) -> Result<Vec<u8>> {
    let mut lines = table.split_inclusive(|byte| *byte == b'\n');
    let heading = lines.next().unwrap_or_default();
    let column = fields(heading)
        .position(|name| name == b"PID")
        .ok_or_else(|| anyhow!("couldn't find PID field in ps output"))?;
    let mut chosen = heading.to_vec();
    for line in lines.filter(|line| fields(line).next().is_some()) {
        let pid = fields(line)
            .nth(column)
            .and_then(|field| std::str::from_utf8(field).ok()?.parse().ok())
            .ok_or_else(|| {
                let line = String::from_utf8_lossy(line);
                anyhow!(
                    "unable to parse pid: ps printed {:?} (columns with spaces have to follow PID)",
                    line.trim_end()
                )
            })?;
        if pids.contains(&pid) {
            chosen.extend_from_slice(line);
        }
    }
    Ok(chosen)
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty())
}

#[cfg(test)]
mod tests {
    use super::of_these;

    fn chosen(table: &str, pids: &[u32]) -> Result<String, String> {
        let lines = of_these(table.as_bytes(), pids).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(lines).unwrap())
    }

    #[test]
    fn lines_are_chosen_by_the_column_that_is_called_pid() {
        let table =
            "UID   PID  PPID CMD\nroot    1     0 init\n17     12     1 a b\nroot   13    12 12\n";
        let expected = "UID   PID  PPID CMD\n17     12     1 a b\n";
        assert_eq!(chosen(table, &[12]).unwrap(), expected);
        assert_eq!(chosen(table, &[]).unwrap(), "UID   PID  PPID CMD\n");
    }

    #[test]
    fn output_without_pids_is_refused() {
        for (table, message) in [
            ("CMD\na\n", "couldn't find PID field in ps output"),
            ("", "couldn't find PID field in ps output"),
            (
                "CMD PID\na b 12\n",
                "unable to parse pid: ps printed \"a b 12\" (columns with spaces have to follow PID)",
            ),
            (
                "CMD PID\na\n",
                "unable to parse pid: ps printed \"a\" (columns with spaces have to follow PID)",
            ),
        ] {
            assert_eq!(chosen(table, &[12]).unwrap_err(), message);
        }
    }
}
