//! Builds a bundle: a rootfs and a config.json in the shape that Docker emits,
//! edited by JSON pointer.

use crate::command::{Cmd, Output};
use crate::container::Container;
use crate::context::Ctx;
use crate::driver::{Driver, mapping};
use crate::facts::Facts;
use crate::outcome::{Because, Outcome};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A bundle that may still be edited.
pub struct Bundle<'a> {
    ctx: &'a Ctx,
    /// The bundle's folder.
    pub dir: PathBuf,
    /// The id that the container gets unless a test gives another.
    pub id: String,
    /// What config.json will hold.
    pub config: Value,
}

/// The capabilities that Docker gives by default.
pub const DOCKER_CAPS: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

fn base_config(id: &str, cgroup: Value) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "hostname": id,
        "root": {"path": "rootfs"},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": DOCKER_CAPS, "effective": DOCKER_CAPS, "permitted": DOCKER_CAPS
            }
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]}
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [
                {"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"},
                {"type": "network"}
            ]
        }
    })
}

impl<'a> Bundle<'a> {
    /// A new bundle with its own rootfs, id and cgroup; runs `/bin/true`.
    pub fn new(ctx: &'a Ctx) -> Outcome<Bundle<'a>> {
        let number = ctx.next();
        let dir = ctx.dir.join(format!("b{number}"));
        crate::rootfs::make(&ctx.base, &dir.join("rootfs"))?;
        let id = format!("c{number}");
        let config = base_config(&id, ctx.cgroups_path(&id));
        let bundle = Bundle {
            ctx,
            dir,
            id,
            config,
        };
        match ctx.driver {
            Driver { user: None, .. } => Ok(bundle),
            Driver {
                user: Some(id),
                systemd: true,
            } => bundle.of_user(id),
            Driver {
                user: Some(id),
                systemd: false,
            } => bundle.remove("/linux/cgroupsPath").of_user(id),
        }
    }

    /// A user cannot do without a user namespace.
    fn of_user(self, id: u32) -> Outcome<Bundle<'a>> {
        crate::user::own(&self.dir, id)?;
        let etc = self.ctx.user_files();
        Ok(self
            .namespace("user", None)
            .set("/linux/uidMappings", mapping(id, "subuid", &etc)?)
            .set("/linux/gidMappings", mapping(id, "subgid", &etc)?))
    }

    /// Where the rootfs is on the host.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Makes a folder of the rootfs: root of a user namespace may make none there.
    pub fn folder(self, path: &str) -> Outcome<Bundle<'a>> {
        let path = self.rootfs().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(&path).because(path.display())?;
        Ok(self)
    }

    /// Sets the value at a JSON pointer; missing objects on the way are made.
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Bundle<'a> {
        *place(&mut self.config, pointer) = value.into();
        self
    }

    /// Appends to the array at a JSON pointer, which is made when missing.
    pub fn push(mut self, pointer: &str, value: impl Into<Value>) -> Bundle<'a> {
        let array = place(&mut self.config, pointer);
        if !array.is_array() {
            *array = json!([]);
        }
        if let Some(items) = array.as_array_mut() {
            items.push(value.into());
        }
        self
    }

    /// Removes the member that a JSON pointer names.
    pub fn remove(mut self, pointer: &str) -> Bundle<'a> {
        if let Some((parent, key)) = pointer.rsplit_once('/')
            && let Some(object) = place(&mut self.config, parent).as_object_mut()
        {
            object.remove(key);
        }
        self
    }

    /// Sets the command line of the container's process.
    pub fn args<S: AsRef<str>>(self, args: &[S]) -> Bundle<'a> {
        let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        self.set("/process/args", json!(args))
    }

    /// Runs a line of busybox's shell.
    pub fn shell(self, line: &str) -> Bundle<'a> {
        self.args(&["/bin/sh", "-c", line])
    }

    /// Adds a mount.
    pub fn mount(
        self,
        destination: &str,
        kind: &str,
        source: &str,
        options: &[&str],
    ) -> Bundle<'a> {
        self.push(
            "/mounts",
            json!({"destination": destination, "type": kind, "source": source, "options": options}),
        )
    }

    /// Adds a namespace; a path makes the container join that one.
    pub fn namespace(self, kind: &str, path: Option<&str>) -> Bundle<'a> {
        let mut bundle = self.without_namespace(kind);
        let mut value = json!({"type": kind});
        if let Some(path) = path {
            value["path"] = json!(path);
        }
        if kind == "user" && path.is_some() && bundle.ctx.driver.user.is_some() {
            bundle = bundle.remove("/linux/uidMappings");
            bundle = bundle.remove("/linux/gidMappings");
        }
        bundle.push("/linux/namespaces", value)
    }

    /// Takes a namespace off the list: the container stays in the caller's.
    pub fn without_namespace(mut self, kind: &str) -> Bundle<'a> {
        if let Some(list) = place(&mut self.config, "/linux/namespaces").as_array_mut() {
            list.retain(|namespace| namespace["type"] != kind);
        }
        self
    }

    /// Adds a user namespace where container ids 0..65535 are host ids 100000 and up; that of
    /// a user stays as it is.
    pub fn user_namespace(self) -> Bundle<'a> {
        if self.ctx.driver.user.is_some() {
            return self;
        }
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        self.namespace("user", None)
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
    }

    /// Shapes it as `spec --rootless` does, for a user with this id: the rootfs is his,
    /// his own id is root inside, and nothing is asked for that he cannot have.
    pub fn rootless(self, id: u32) -> Outcome<Bundle<'a>> {
        crate::user::own(&self.dir, id)?;
        let map = json!([{"containerID": 0, "hostID": id, "size": 1}]);
        let mut bundle = self
            .namespace("user", None)
            .without_namespace("network")
            .remove("/linux/cgroupsPath")
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map);
        for mount in bundle.config["mounts"].as_array_mut().into_iter().flatten() {
            match mount["destination"].as_str() {
                Some("/dev/pts") => mount["options"] = json!(["newinstance", "ptmxmode=0666"]),
                Some("/sys") => {
                    mount["type"] = json!("none");
                    mount["source"] = json!("/sys");
                    mount["options"] = json!(["rbind", "nosuid", "noexec", "nodev", "ro"]);
                }
                _ => {}
            }
        }
        Ok(bundle)
    }

    /// Gives all five capability sets (bounding, effective, permitted; the rest empty).
    pub fn capabilities(self, names: &[&str]) -> Bundle<'a> {
        let sets = json!({"bounding": names, "effective": names, "permitted": names});
        self.set("/process/capabilities", sets)
    }

    /// Writes config.json.
    pub fn write(&self) -> Outcome {
        self.ctx.driver.can_run(&self.config)?;
        if let Some(id) = self.ctx.driver.user {
            crate::user::own(&self.dir, id)?;
        }
        let path = self.dir.join("config.json");
        let text = serde_json::to_vec_pretty(&self.config)?;
        std::fs::write(&path, text).because(path.display())
    }

    /// `verb --bundle DIR OPTIONS ID`, with config.json written.
    pub fn verb<S: AsRef<str>>(&self, verb: &str, options: &[S]) -> Outcome<Cmd<'a>> {
        self.write()?;
        let dir = self.dir.to_string_lossy();
        let mut args = vec![verb, "--bundle", &dir];
        args.extend(options.iter().map(AsRef::as_ref));
        args.push(&self.id);
        Ok(self.ctx.rt(&args))
    }

    /// `run` in the foreground; nothing may be left of it.
    pub fn run(&self) -> Outcome<Output> {
        self.verb::<&str>("run", &[])?.run()
    }

    /// Runs the probe in the foreground and returns the JSON it prints.
    pub fn probe<S: AsRef<str>>(self, args: &[S]) -> Outcome<Value> {
        let mut argv = vec!["/bin/probe"];
        argv.extend(args.iter().map(AsRef::as_ref));
        let output = self.args(&argv).run()?.ok()?;
        serde_json::from_str(&output.stdout)
            .because(format!("the probe's output `{}`", output.stdout))
    }

    /// What a process sees in a container of this bundle.
    pub fn facts(self) -> Outcome<Facts> {
        self.probe(&["facts"]).map(Facts)
    }

    /// The same, where the runtime is started by these words.
    pub fn facts_within(self, words: &[&str]) -> Outcome<Facts> {
        let run = self.args(&["/bin/probe", "facts"]).verb::<&str>("run", &[]);
        let output = run?.within(words).run()?.ok()?;
        let value = serde_json::from_str(&output.stdout).because("the probe's output")?;
        Ok(Facts(value))
    }

    /// Runs a shell line in the foreground and returns what it printed, trimmed.
    pub fn says(self, line: &str) -> Outcome<String> {
        Ok(self.shell(line).run()?.ok()?.stdout.trim().to_string())
    }

    /// `create`, which must succeed; the harness deletes the container afterwards.
    pub fn create(&self) -> Outcome<Container<'a>> {
        self.create_with::<&str>(&[])
    }

    /// `create` with further options.
    pub fn create_with<S: AsRef<str>>(&self, options: &[S]) -> Outcome<Container<'a>> {
        self.launch("create", options)
    }

    /// `run --detach`, which must succeed; the harness deletes the container afterwards.
    pub fn detach(&self) -> Outcome<Container<'a>> {
        self.launch("run", &["--detach"])
    }

    /// `create` or `run --detach` with options; the container's output is kept for `Container`.
    pub fn launch<S: AsRef<str>>(&self, verb: &str, options: &[S]) -> Outcome<Container<'a>> {
        let output = self.ctx.dir.join(format!("{}-output", self.id));
        self.ctx.created(&self.id);
        self.verb(verb, options)?
            .output(output.clone())
            .run()?
            .ok()?;
        Ok(Container::new(self.ctx, &self.id, &self.dir, output))
    }

    /// `create` that must be refused in one line, with nothing left behind.
    pub fn create_refused(&self) -> Outcome<Output> {
        let output = self.verb::<&str>("create", &[])?.run()?.refused()?;
        self.ctx.nothing_left()?;
        Ok(output)
    }
}

/// The value at a pointer; missing objects are made, `-` is not supported.
fn place<'v>(root: &'v mut Value, pointer: &str) -> &'v mut Value {
    pointer.split('/').skip(1).fold(root, |value, key| {
        match (value.is_array(), key.parse::<usize>()) {
            (true, Ok(index)) => &mut value[index],
            _ => &mut value[key],
        }
    })
}

#[cfg(test)]
mod tests {
    use super::place;
    use serde_json::json;

    #[test]
    fn place_reaches_members_of_objects_and_arrays() {
        let mut value = json!({"a": [{"b": 1}, {"b": 2}]});
        *place(&mut value, "/a/1/b") = json!(3);
        assert_eq!(value, json!({"a": [{"b": 1}, {"b": 3}]}));
    }

    #[test]
    fn place_makes_missing_objects() {
        let mut value = json!({});
        *place(&mut value, "/a/b/c") = json!("x");
        assert_eq!(value, json!({"a": {"b": {"c": "x"}}}));
    }
}
