//! How the runtime is driven in this run: as root or as a user, with which cgroup driver. Tests need not
//! know: the bundles and the commands that the harness makes follow it. A test whose subject is a
//! way of its own (a path of cgroupfs, another user) is skipped in the ways that it does not speak of.

use crate::cgroups::{self, Hierarchy};
use crate::outcome::{Because, Outcome, fail, skip};
use crate::user;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The way of this run; root with cgroupfs by default.
#[derive(Clone, Default)]
pub struct Driver {
    /// Whether systemd makes the cgroups (`--cgroup-manager systemd`).
    pub systemd: bool,
    /// Who runs the runtime, if not root (`--as-user`).
    pub user: Option<u32>,
}

impl Driver {
    /// The way that the command line asks for: with systemd a user is one who has a systemd of his
    /// own, without it the harness's own, whom no file of the machine knows.
    pub fn choose(systemd: bool, as_user: bool) -> Result<Driver, String> {
        if systemd && !Path::new("/run/systemd/private").exists() {
            return Err("--cgroup-manager systemd: systemd is not process 1 here".to_string());
        }
        let user = match (systemd, as_user) {
            (_, false) => None,
            (false, true) => Some(user::ID),
            (true, true) => Some(user::with_systemd().ok_or(
                "--as-user: no user has a systemd of his own here (loginctl enable-linger USER)",
            )?),
        };
        Ok(Driver { systemd, user })
    }

    /// The arguments that make the process of one test choose the same.
    pub fn arguments(&self) -> Vec<&'static str> {
        let mut all = Vec::new();
        if self.systemd {
            all.push("--cgroup-manager=systemd");
        }
        if self.user.is_some() {
            all.push("--as-user");
        }
        all
    }

    /// Why a test with a user of its own is skipped, if it is.
    pub fn no_other_user(&self) -> Option<&'static str> {
        match (self.systemd, self.user) {
            (_, Some(_)) => Some("has a user of its own: --as-user changes nothing"),
            (true, None) => Some("its user has no systemd"),
            (false, None) => None,
        }
    }

    /// Skips what is not for this way: another cgroup than the harness chose, limits of a
    /// user who has none.
    pub fn can_run(&self, config: &Value) -> Outcome {
        let linux = &config["linux"];
        let path = &linux["cgroupsPath"];
        if self.systemd && !path.as_str().is_some_and(|path| path.contains(':')) {
            return skip("its cgroupsPath is not for systemd");
        }
        if self.user.is_none() {
            return Ok(());
        }
        can_user(config)?;
        if self.systemd {
            return Ok(());
        }
        let limits = linux["resources"].as_object().into_iter().flatten();
        if !path.is_null() || limits.into_iter().any(|(name, _)| name != "devices") {
            return skip("a user without a cgroup has no limits");
        }
        Ok(())
    }

    /// The slice of the run, without its suffix; its tests' slices are in it.
    fn stem(run_dir: &Path) -> String {
        let name = run_dir.file_name().unwrap_or_default().to_string_lossy();
        name.replace('-', "_")
    }

    /// The cgroup above those of all tests of a run, which is named as its folder is; no other run
    /// makes or removes anything in it.
    pub fn run_cgroup(&self, run_dir: &Path) -> String {
        match self.systemd {
            false => cgroups::run_prefix(run_dir),
            true => format!("{}/{}.slice", self.root(), Driver::stem(run_dir)),
        }
    }

    /// The cgroup above all: that of the user's systemd, or the root, which is written as nothing.
    pub fn root(&self) -> String {
        match (self.systemd, self.user) {
            (true, Some(id)) => format!("/user.slice/user-{id}.slice/user@{id}.service"),
            _ => String::new(),
        }
    }

    /// The cgroup above all containers of one test.
    pub fn test_cgroup(&self, run_dir: &Path, index: usize) -> String {
        let above = self.run_cgroup(run_dir);
        match self.systemd {
            false => format!("{above}/{index}"),
            true => format!("{above}/{}-{index}.slice", Driver::stem(run_dir)),
        }
    }

    /// The cgroup of this name in that of the test.
    pub fn cgroup(&self, above: &str, name: &str) -> String {
        match (self.systemd, name.split_once('/')) {
            (false, _) => format!("{above}/{name}"),
            (true, None) => format!("{above}/{}-{name}.scope", slice(above)),
            (true, Some((first, rest))) => {
                format!("{above}/{}-{first}.scope/{rest}", slice(above))
            }
        }
    }

    /// The `linux.cgroupsPath` that leads there.
    pub fn cgroups_path(&self, above: &str, name: &str) -> Value {
        match (self.systemd, self.user) {
            (false, None) => json!(format!("{above}/{name}")),
            (false, Some(_)) => Value::Null,
            (true, _) => json!(format!("{0}.slice:{0}:{name}", slice(above))),
        }
    }

    /// Removes what tests have left in cgroups, and the slices, which systemd keeps.
    pub fn end(&self, hierarchies: &[Hierarchy], run_dir: &Path) {
        let above = self.run_cgroup(run_dir);
        cgroups::destroy(hierarchies, &above, Duration::from_secs(2));
        if !self.systemd {
            return;
        }
        let unit = format!("{}.slice", Driver::stem(run_dir));
        let mut systemctl = match self.user {
            None => Command::new("systemctl"),
            Some(id) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={id}"), format!("--regid={id}")]);
                command.args(["--clear-groups", "systemctl", "--user"]);
                command.env("XDG_RUNTIME_DIR", format!("/run/user/{id}"));
                command
            }
        };
        // An empty slice more is no reason to fail.
        let _ = systemctl
            .args(["stop", &unit])
            .stderr(Stdio::null())
            .status();
    }
}

/// Skips what no user may do, whatever cgroup he has.
fn can_user(config: &Value) -> Outcome {
    let linux = &config["linux"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let namespaces = list(&linux["namespaces"]);
    match namespaces.iter().find(|n| n["type"] == "user") {
        None => return skip("a user cannot do without a user namespace"),
        Some(user) if user["path"].is_null() => {
            if namespaces.iter().any(|n| !n["path"].is_null()) {
                return skip("joins a namespace without the user namespace that it belongs to");
            }
        }
        Some(_) => {}
    }
    let made = |device: &Value| {
        device["path"]
            .as_str()
            .is_some_and(|p| !Path::new(p).exists())
    };
    if list(&linux["devices"]).iter().any(made) {
        return skip("making device nodes needs root");
    }
    Ok(())
}

/// The name of the slice whose cgroup this is, without its suffix.
fn slice(cgroup: &str) -> &str {
    let name = cgroup.rsplit_once('/').map_or(cgroup, |(_, name)| name);
    name.strip_suffix(".slice").unwrap_or(name)
}

/// The ids of a user's containers: his own for root, then what /etc/subuid gives him.
pub fn mapping(id: u32, file: &str, etc: &Path) -> Outcome<Value> {
    let own = json!({"containerID": 0, "hostID": id, "size": 1});
    let passwd = std::fs::read_to_string(etc.join("passwd"))?;
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let name = passwd
        .lines()
        .map(fields)
        .find(|f| f.get(2).is_some_and(|uid| *uid == id.to_string()));
    let name = name.because("the user in passwd")?.swap_remove(0);
    let ranges = std::fs::read_to_string(etc.join(file)).unwrap_or_default();
    let Some(range) = ranges.lines().map(fields).find(|f| f[0] == name) else {
        return Ok(json!([own]));
    };
    match range.as_slice() {
        [_, first, count] => {
            let (first, count): (u32, u32) = (first.parse()?, count.parse()?);
            Ok(json!([own, {"containerID": 1, "hostID": first, "size": count.min(65_535)}]))
        }
        _ => fail(format!("a line of {file}: {range:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::Driver;
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn the_cgroup_is_where_the_path_leads() {
        let run = Path::new("/tmp/corten-tests.7");
        let cgroupfs = Driver::default();
        let above = cgroupfs.test_cgroup(run, 3);
        assert_eq!(cgroupfs.cgroup(&above, "c0/x"), "/corten-tests.7/3/c0/x");
        assert_eq!(
            cgroupfs.cgroups_path(&above, "c0"),
            json!("/corten-tests.7/3/c0")
        );

        let systemd = Driver {
            systemd: true,
            user: Some(1000),
        };
        let above = systemd.test_cgroup(run, 3);
        assert_eq!(
            systemd.cgroup(&above, "c0/x"),
            "/user.slice/user-1000.slice/user@1000.service/corten_tests.7.slice/\
             corten_tests.7-3.slice/corten_tests.7-3-c0.scope/x"
        );
        assert_eq!(
            systemd.cgroups_path(&above, "c0"),
            json!("corten_tests.7-3.slice:corten_tests.7-3:c0")
        );
    }
}
