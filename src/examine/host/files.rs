//! Files that a bundle names and that are not there, or are not what they have to be.

use std::path::Path;

use rustix::fs::{Access, FileType, access};

use super::{Look, NEWNS};
use crate::examine::cover::{Cover, Found};
use crate::examine::program;
use crate::plan::mounts::{SourceLink, What};
use crate::sys::errno_text;

impl Look<'_> {
    /// The root file system, and what is run in it.
    pub(super) fn root_and_program(&mut self) {
        let plan = &self.planned.plan;
        let path = plan.root.path.to_string_lossy().into_owned();
        let cover = match Cover::new(&plan.root.path, &plan.mounts) {
            Ok(cover) => cover,
            Err(errno) => {
                let why = errno_text(errno.raw_os_error());
                let hint = "it is relative to the bundle, or absolute, and has to be a directory";
                return self.error(
                    "/root/path",
                    &format!("the root file system {path}: {why}"),
                    hint,
                );
            }
        };
        // In a mount namespace that is joined, files are found elsewhere.
        if plan.namespaces.joins(NEWNS) {
            return;
        }
        if let Some((message, hint)) = program::problem(&cover, &plan.process) {
            self.error("/process/args/0", &message, &hint.unwrap_or_default());
        }
        let cwd = plan.process.cwd.to_string_lossy();
        match cover.find(&cwd) {
            Found::File(_, stat) if !is_directory(stat.st_mode) => self.error(
                "/process/cwd",
                &format!("{cwd} is not a directory in the root file system"),
                "name a directory: one that is not there is made",
            ),
            _ => {}
        }
        for (index, hook) in self.spec.hooks.start_container.iter().enumerate() {
            if let Err(errno) = program::file(&cover, &hook.path) {
                let why = errno_text(errno.raw_os_error());
                self.error(
                    &format!("/hooks/startContainer/{index}/path"),
                    &format!("the hook's program {}: {why}", hook.path),
                    "this kind runs in the container: the program has to be in its files",
                );
            }
        }
    }

    /// What is bound.
    pub(super) fn sources(&mut self, bundle: &Path) {
        for (index, mount) in self.planned.plan.mounts.iter().enumerate() {
            let What::Bind { source, link, .. } = &mount.what else {
                continue;
            };
            let path = bundle.join(Path::new(&*source.to_string_lossy()));
            let there = match link {
                SourceLink::Follow => rustix::fs::stat(&path).map(drop),
                SourceLink::Bind | SourceLink::Copy => rustix::fs::lstat(&path).map(drop),
            };
            if let Err(errno) = there {
                let why = errno_text(errno.raw_os_error());
                self.error(
                    &format!("/mounts/{index}/source"),
                    &format!("the source {}: {why}", path.display()),
                    "make it on the host first, or leave the mount out",
                );
            }
        }
    }

    /// Programs of hooks that run on the host.
    pub(super) fn hooks(&mut self) {
        // startContainer's run in the container, and were looked for there.
        let on_host = |(kind, _): &(&str, _)| *kind != "startContainer";
        for (kind, list) in self.spec.hooks.kinds().into_iter().filter(on_host) {
            for (index, hook) in list.iter().enumerate() {
                let why = match rustix::fs::stat(hook.path.as_str()) {
                    Err(errno) => errno_text(errno.raw_os_error()),
                    Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                        "it is not a regular file".to_owned()
                    }
                    Ok(_) => match access(hook.path.as_str(), Access::EXEC_OK) {
                        Ok(()) => continue,
                        Err(errno) => errno_text(errno.raw_os_error()),
                    },
                };
                self.error(
                    &format!("/hooks/{kind}/{index}/path"),
                    &format!("the hook's program {}: {why}", hook.path),
                    "it is looked for on the host: install it, or leave the hook out",
                );
            }
        }
    }
}

fn is_directory(mode: u32) -> bool {
    FileType::from_raw_mode(mode) == FileType::Directory
}
