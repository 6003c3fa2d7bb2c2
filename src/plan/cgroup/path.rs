//! Where the container's cgroup is: `linux.cgroupsPath`.

use super::ResourceError;

const POINTER: &str = "/linux/cgroupsPath";

/// The cgroup's path from the root of every hierarchy, without a slash at either end.
///
/// A relative path starts at `base`, which is the root too for root, as in crun. Without a
/// path it is `id`.
pub(super) fn resolve(path: Option<&str>, id: &str, base: &str) -> Result<String, ResourceError> {
    let given = match path {
        None | Some("") => id,
        Some(path) => path,
    };
    let mut clean = String::with_capacity(given.len());
    if !given.starts_with('/') {
        clean.push_str(base);
    }
    let base = clean.len();
    for component in given.split('/').filter(|component| !component.is_empty()) {
        if component == "." || component == ".." {
            return Err(ResourceError::new(
                POINTER,
                format!("\"{given}\" has a component \"{component}\", which is not allowed"),
            ));
        }
        if !clean.is_empty() {
            clean.push('/');
        }
        clean.push_str(component);
    }
    if clean.len() == base {
        return Err(ResourceError::new(
            POINTER,
            format!("\"{given}\" is the root cgroup, which cannot be a container's"),
        ));
    }
    Ok(clean)
}
