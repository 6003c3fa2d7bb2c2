//! `corten spec`: writes a config.json to begin with, the same as runc's. The
//! content is src/cli/spec.json; what depends on host and user is edited in.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};

use super::args;
use super::log::errno_text;

const TEMPLATE: &str = include_str!("spec.json");

/// What an ordinary user cannot have, and what stands in its place: a network
/// namespace of one's own has no way out, sysfs needs that namespace, group 5
/// (tty) is not mapped, and device rules need root.
const ROOTLESS: [(&str, &str); 4] = [
    ("\"type\": \"network\"", "\"type\": \"user\""),
    (
        "\"type\": \"sysfs\",\n\t\t\t\"source\": \"sysfs\",\n\t\t\t\"options\": [\n",
        "\"type\": \"none\",\n\t\t\t\"source\": \"/sys\",\n\t\t\t\"options\": [\n\t\t\t\t\"rbind\",\n",
    ),
    (",\n\t\t\t\t\"gid=5\"", ""),
    (
        "\"resources\": {\n\t\t\t\"devices\": [\n\t\t\t\t{\n\t\t\t\t\t\"allow\": false,\n\
         \t\t\t\t\t\"access\": \"rwm\"\n\t\t\t\t}\n\t\t\t]\n\t\t}",
        "\"uidMappings\": [\n\t\t\t{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": EUID,\n\
         \t\t\t\t\"size\": 1\n\t\t\t}\n\t\t],\n\
         \t\t\"gidMappings\": [\n\t\t\t{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": EGID,\n\
         \t\t\t\t\"size\": 1\n\t\t\t}\n\t\t]",
    ),
];

/// With cgroup v2 the container gets a cgroup namespace, as in runc.
const CGROUP_NAMESPACE: (&str, &str) = (
    "\"type\": \"mount\"\n\t\t\t}",
    "\"type\": \"mount\"\n\t\t\t},\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}",
);

/// config.json was not written.
#[derive(Debug)]
pub enum SpecError {
    /// There is one already; it is never overwritten.
    Exists(PathBuf),
    /// The file could not be made.
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // runc's words.
            SpecError::Exists(path) => {
                write!(f, "File {} exists. Remove it first", path.display())
            }
            SpecError::Write { path, source } => {
                write!(f, "write {}: {}", path.display(), errno_text(source))
            }
        }
    }
}

impl std::error::Error for SpecError {}

/// Writes config.json into the bundle.
///
/// # Errors
/// [`SpecError`]: the file is there already, or cannot be made.
pub fn write(args: &args::Spec) -> Result<(), SpecError> {
    let user = args
        .rootless
        .then(|| (geteuid().as_raw(), getegid().as_raw()));
    let text = config(user, is_cgroup_v2());
    let name = args.file.as_deref().unwrap_or(Path::new("config.json"));
    let path = args.bundle.as_deref().unwrap_or(Path::new("")).join(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SpecError::Exists(name.to_owned()),
        _ => SpecError::Write { path, source },
    })
}

/// The text of config.json; `user` is the effective user and group of a
/// rootless one.
pub fn config(user: Option<(u32, u32)>, cgroup_v2: bool) -> String {
    let mut text = TEMPLATE.to_owned();
    if let Some((uid, gid)) = user {
        for (from, to) in ROOTLESS {
            text = text.replacen(from, to, 1);
        }
        text = text
            .replacen("EUID", &uid.to_string(), 1)
            .replacen("EGID", &gid.to_string(), 1);
    }
    if cgroup_v2 {
        text = text.replacen(CGROUP_NAMESPACE.0, CGROUP_NAMESPACE.1, 1);
    }
    text
}

/// Whether /sys/fs/cgroup itself is cgroup v2; hybrid hosts count as v1.
fn is_cgroup_v2() -> bool {
    // CGROUP2_SUPER_MAGIC of linux/magic.h.
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == 0x6367_7270)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Spec;

    fn parsed(text: &str) -> Spec<'_> {
        let oracle: oci_spec::runtime::Spec = serde_json::from_str(text).unwrap();
        assert_eq!(oracle.version(), args::SPEC_VERSION);
        serde_json::from_str(text).unwrap()
    }

    fn namespaces(text: &str) -> Vec<String> {
        let linux = parsed(text).linux.unwrap();
        linux
            .namespaces
            .iter()
            .map(|namespace| namespace.kind.to_string())
            .collect()
    }

    #[test]
    fn both_forms_are_what_oci_spec_and_corten_read() {
        let spec = config(None, false);
        assert_eq!(spec, TEMPLATE);
        let linux = parsed(&spec).linux.unwrap();
        assert_eq!(linux.resources.devices.len(), 1);
        assert!(linux.uid_mappings.is_empty());
        assert_eq!(namespaces(&spec), ["pid", "network", "ipc", "uts", "mount"]);
    }

    #[test]
    fn a_rootless_one_asks_for_nothing_that_needs_root() {
        let text = config(Some((1000, 100)), false);
        assert_eq!(namespaces(&text), ["pid", "user", "ipc", "uts", "mount"]);
        let spec = parsed(&text);
        let linux = spec.linux.unwrap();
        assert_eq!(
            (linux.uid_mappings[0].host_id, linux.uid_mappings[0].size),
            (1000, 1)
        );
        assert_eq!(
            (linux.gid_mappings[0].host_id, linux.gid_mappings[0].size),
            (100, 1)
        );
        assert!(linux.resources.devices.is_empty());
        let sys = spec
            .mounts
            .iter()
            .find(|mount| mount.destination == "/sys")
            .unwrap();
        assert_eq!(sys.source.as_deref(), Some("/sys"));
        assert_eq!(sys.options, ["rbind", "nosuid", "noexec", "nodev", "ro"]);
        let mut options = spec.mounts.iter().flat_map(|mount| &mount.options);
        assert!(!options.any(|option| option.starts_with("gid=")));
    }

    #[test]
    fn cgroup_v2_adds_the_cgroup_namespace() {
        let all = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
        assert_eq!(namespaces(&config(None, true)), all);
        assert_eq!(namespaces(&config(Some((1, 1)), true))[1], "user");
    }

    #[test]
    fn an_existing_config_json_is_left_alone() {
        let bundle = std::env::temp_dir().join(format!("corten-spec-{}", std::process::id()));
        std::fs::create_dir(&bundle).unwrap();
        let args = args::Spec {
            bundle: Some(bundle.clone()),
            file: None,
            rootless: false,
        };
        write(&args).unwrap();
        let again = write(&args).unwrap_err();
        std::fs::remove_dir_all(&bundle).unwrap();
        assert_eq!(
            again.to_string(),
            "File config.json exists. Remove it first"
        );
        let gone = write(&args).unwrap_err().to_string();
        assert!(
            gone.ends_with("/config.json: no such file or directory"),
            "{gone}"
        );
    }
}
