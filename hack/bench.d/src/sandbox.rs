//! Where the measured runtimes work: a mount namespace of the bench's own with the cgroup hierarchies that all of them
//! accept, a tmpfs for their state, and one parent cgroup for all containers. Dropping it takes all of that away.

use crate::sys;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the cgroup file systems are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The cgroup above every measured container, as `/docker` is there before dockerd's first container.
pub const PARENT: &str = "corten-bench";

/// The place; one per run of the bench.
pub struct Sandbox {
    /// The tmpfs.
    pub work: PathBuf,
    /// The directories that hold a parent cgroup, one per hierarchy.
    parents: Vec<PathBuf>,
    /// The controllers that cgroup v2 offers; `None` on v1, where all that are mounted are.
    pub v2_controllers: Option<Vec<String>>,
    /// The v2 root's cgroup.subtree_control as it was: runtimes switch controllers on for good, on the host as well.
    v2_enabled: String,
}

const SUBTREE_CONTROL: &str = "/sys/fs/cgroup/cgroup.subtree_control";

impl Sandbox {
    /// Enters the place: from here on this process sees mounts of its own.
    pub fn enter(v2: bool) -> Result<Self, String> {
        let work = std::env::temp_dir().join(format!("corten-bench.{}", std::process::id()));
        fs::create_dir(&work).map_err(|e| format!("{}: {e}", work.display()))?;
        let mut sandbox = Self {
            work,
            parents: Vec::new(),
            v2_controllers: None,
            v2_enabled: String::new(),
        };
        sys::private_mounts().map_err(|e| format!("no mount namespace (root is needed): {e}"))?;
        let work = sandbox.work.display().to_string();
        sys::mount("bench", &work, "tmpfs", 0, "mode=755").map_err(|e| format!("{work}: {e}"))?;
        // Debian's crun 1.8.1 refuses a host with v1 and v2 side by side. Where there is no such mount, all is well.
        let _ = sys::detach(&format!("{CGROUPS}/unified"));
        if v2 {
            sys::mount("cgroup2", CGROUPS, "cgroup2", 0, "")
                .map_err(|e| format!("{CGROUPS}: {e}"))?;
        }
        sandbox.make_parents()?;
        Ok(sandbox)
    }

    fn make_parents(&mut self) -> Result<(), String> {
        let root = Path::new(CGROUPS);
        let hierarchies = if let Ok(controllers) =
            fs::read_to_string(root.join("cgroup.controllers"))
        {
            self.v2_controllers = Some(controllers.split_whitespace().map(str::to_owned).collect());
            self.v2_enabled = fs::read_to_string(SUBTREE_CONTROL).unwrap_or_default();
            vec![root.to_owned()]
        } else {
            let entries = fs::read_dir(root).map_err(|e| format!("{CGROUPS}: {e}"))?;
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.join("cgroup.procs").exists() && !path.is_symlink())
                .collect()
        };
        for hierarchy in hierarchies {
            let parent = hierarchy.join(PARENT);
            // A bench that was killed may have left it.
            fs::create_dir_all(&parent).map_err(|e| format!("{}: {e}", parent.display()))?;
            // A v1 cpuset without processors and memory takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if self.v2_controllers.is_none()
                    && let Ok(value) = fs::read(hierarchy.join(file))
                {
                    fs::write(parent.join(file), value)
                        .map_err(|e| format!("{}/{file}: {e}", parent.display()))?;
                }
            }
            self.parents.push(parent);
        }
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for parent in &self.parents {
            // What a failed container left: one level deep, and empty once its init is dead.
            for left in fs::read_dir(parent).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(left.path());
            }
            if let Err(error) = fs::remove_dir(parent) {
                eprintln!("bench: {}: {error}", parent.display());
            }
        }
        for controller in self.v2_controllers.iter().flatten() {
            if !self.v2_enabled.split_whitespace().any(|c| c == controller) {
                let _ = fs::write(SUBTREE_CONTROL, format!("-{controller}"));
            }
        }
        let _ = sys::detach(&self.work.display().to_string());
        let _ = fs::remove_dir(&self.work);
    }
}
