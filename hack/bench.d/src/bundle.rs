//! The private copy of an example bundle that one runtime works on.

use crate::filter;
use crate::sandbox::{PARENT, Sandbox};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Copies the bundle at `from` for the container `id` and returns the copy's directory.
///
/// The copy is the same container with its own cgroup below the bench's parent, the shared root file system by absolute
/// path, and a compact config.json as engines write it. `rootfs` (a link) and `seccomp.bpf` are for the floor.
pub fn copy(from: &Path, id: &str, sandbox: &Sandbox) -> Result<PathBuf, String> {
    let name = from.file_name().unwrap_or_default();
    let to = sandbox.work.join("bundles").join(id).join(name);
    let staying = sleeper(&to);
    fs::create_dir_all(&staying).map_err(|e| format!("{}: {e}", staying.display()))?;
    for entry in fs::read_dir(from).map_err(|e| format!("{}: {e}", from.display()))? {
        let path = entry
            .map_err(|e| format!("{}: {e}", from.display()))?
            .path();
        if path.is_file() {
            for to in [&to, &staying] {
                fs::copy(&path, to.join(path.file_name().unwrap_or_default()))
                    .map_err(|e| format!("{}: {e}", path.display()))?;
            }
        }
    }

    let config = to.join("config.json");
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", config.display());
    let text = fs::read(&config).map_err(|e| at(&e))?;
    let mut spec: Value = serde_json::from_slice(&text).map_err(|e| at(&e))?;
    let rootfs = from
        .join(spec["root"]["path"].as_str().unwrap_or("rootfs"))
        .canonicalize()
        .map_err(|e| {
            format!(
                "the root file system of {}: {e} (run hack/rootfs)",
                from.display()
            )
        })?;
    spec["root"]["path"] = rootfs.display().to_string().into();
    spec["linux"]["cgroupsPath"] = format!("/{PARENT}/{id}").into();
    if let Some(controllers) = &sandbox.v2_controllers {
        drop_absent_limits(&mut spec["linux"]["resources"], controllers);
    }
    fs::write(&config, spec.to_string()).map_err(|e| at(&e))?;
    let mut stays = spec.clone();
    stays["process"]["args"] = serde_json::json!(["/bin/sleep", "1000"]);
    fs::write(staying.join("config.json"), stays.to_string()).map_err(|e| at(&e))?;

    std::os::unix::fs::symlink(&rootfs, to.join("rootfs")).map_err(|e| at(&e))?;
    if spec["linux"]["seccomp"].is_object() {
        let program = filter::compile(&spec["linux"]["seccomp"])?;
        fs::write(to.join("seccomp.bpf"), program).map_err(|e| at(&e))?;
    }
    Ok(to)
}

/// Where the copy is whose payload stays.
pub fn sleeper(copy: &Path) -> PathBuf {
    copy.join("sleeper")
}

/// Takes out the limits whose controller cgroup v2 does not have here (because v1 holds it).
fn drop_absent_limits(resources: &mut Value, controllers: &[String]) {
    let Some(resources) = resources.as_object_mut() else {
        return;
    };
    for (limit, controller) in [
        ("memory", "memory"),
        ("cpu", "cpu"),
        ("pids", "pids"),
        ("blockIO", "io"),
    ] {
        if !controllers.iter().any(|c| c == controller) {
            resources.remove(limit);
        }
    }
}
