//! The directories that CRIU reads and writes in. Images may come from anywhere, and CRIU
//! opens them by name: what lies there is looked at before it does.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxAttributes, StatxFlags};

use super::{CheckpointError, images_error};
use crate::rootfs::calls::open_tree;
use crate::rootfs::resolve;
use crate::sys::fd::write_all;
use crate::sys::mount::{MountAttr, mount_setattr};
use crate::sys::{Errno, io_errno};

/// The file in which runc, and Corten, note what the standard streams were.
const DESCRIPTORS: &str = "descriptors.json";
/// Three short strings.
const DESCRIPTORS_MAX: u64 = 16 * 1024;
/// What a log is searched up to.
const LOG_MAX: u64 = 4 * 1024 * 1024;
/// How many checkpoints of memory may stand behind one another.
const PARENTS_MAX: usize = 128;
/// CRIU's name for the directory of the one before.
const PARENT: &str = "parent";

/// What CRIU opens by name in the directory of work files, beside its log.
const WORK_FILES: [&[u8]; 3] = [b"stats-dump", b"stats-restore", b"irmap-cache"];

/// What a directory is for.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Images,
    /// Of work files: engines keep more there.
    Work,
}

/// An open directory of images or work files.
#[derive(Debug)]
pub struct Images {
    /// Its path, for messages.
    pub path: PathBuf,
    dir: OwnedFd,
}

impl Images {
    /// Opens a directory that is there, and looks at what lies in it.
    ///
    /// # Errors
    /// It is none, or holds what CRIU must not open by name.
    pub fn open(path: &Path) -> Result<Images, CheckpointError> {
        Images::open_for(path, Use::Images)
    }

    /// The same; makes it, with what is above it, if it is not there.
    ///
    /// # Errors
    /// As [`Images::open`].
    pub fn make(path: &Path) -> Result<Images, CheckpointError> {
        make_directory(path)?;
        Images::open(path)
    }

    /// The same for work files. The path may be a link, as containerd's is, and Podman names the
    /// directory in which conmon has its fifos.
    ///
    /// # Errors
    /// As [`Images::open`].
    pub fn work(path: &Path) -> Result<Images, CheckpointError> {
        make_directory(path)?;
        let path = std::fs::canonicalize(path)
            .map_err(|error| images_error(path, "cannot find the directory", io_errno(error)))?;
        Images::open_for(&path, Use::Work)
    }

    fn open_for(path: &Path, purpose: Use) -> Result<Images, CheckpointError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| images_error(path, "cannot open the directory", errno))?;
        let images = Images {
            path: path.to_owned(),
            dir,
        };
        images.check(images.dir.as_fd(), &images.path, (purpose, PARENTS_MAX))?;
        Ok(images)
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The same directory as the mount namespace of a process has it: CRIU mounts in it.
    ///
    /// # Errors
    /// There it is another, or none.
    pub fn inside(&self, pid: i32) -> Result<Images, CheckpointError> {
        use std::os::unix::ffi::OsStrExt as _;
        let failed = |errno| images_error(&self.path, "cannot open the directory again", errno);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty());
        let root = root.map_err(failed)?;
        let path = std::ffi::CString::new(self.path.as_os_str().as_bytes()).unwrap_or_default();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dir = resolve::open(root.as_fd(), &path, flags).map_err(failed)?;
        let identity = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|s| (s.st_dev, s.st_ino));
        if identity(dir.as_fd()).map_err(failed)? != identity(self.fd()).map_err(failed)? {
            return Err(failed(Errno::STALE));
        }
        Ok(Images {
            path: self.path.clone(),
            dir,
        })
    }

    /// The same directory, with the host's ids in it shown as those of a user namespace: CRIU
    /// also opens images as the namespace's root. Above it lies what does in its file system,
    /// for links to the checkpoints before.
    ///
    /// # Errors
    /// `EINVAL`: its file system has no id-mapped mounts; those of open_tree(2),
    /// mount_setattr(2), openat2(2).
    pub fn mapped(&self, namespace: BorrowedFd<'_>) -> Result<Images, Errno> {
        use std::os::unix::ffi::OsStrExt as _;
        let c_path = |path: &Path| std::ffi::CString::new(path.as_os_str().as_bytes());
        let invalid = |_| Errno::INVAL;
        let path = std::fs::canonicalize(&self.path).map_err(io_errno)?;
        let mut top = path.as_path();
        while !is_mount_root(top)? {
            top = top.parent().ok_or(Errno::INVAL)?;
        }
        let tree = open_tree(&c_path(top).map_err(invalid)?, false)?;
        let attr = MountAttr {
            set: libc::MOUNT_ATTR_IDMAP,
            userns_fd: namespace.as_raw_fd() as u64,
            ..MountAttr::default()
        };
        mount_setattr(tree.as_fd(), false, &attr)?;
        let below = path.strip_prefix(top).unwrap_or(Path::new(""));
        let below = c_path(&Path::new("/").join(below)).map_err(invalid)?;
        let dir = resolve::open(tree.as_fd(), &below, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let identity = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|s| (s.st_dev, s.st_ino));
        if identity(dir.as_fd())? != identity(self.fd())? {
            return Err(Errno::STALE);
        }
        Ok(Images {
            path: self.path.clone(),
            dir,
        })
    }

    /// Only files may lie there. Through a link CRIU would read the container's memory from
    /// a file of the host, write its log over it, or punch holes into it (`--auto-dedup`); a
    /// fifo it would wait for. Beside work files there may be fifos that it has no name of.
    fn check(
        &self,
        dir: BorrowedFd<'_>,
        path: &Path,
        (purpose, parents): (Use, usize),
    ) -> Result<(), CheckpointError> {
        let read = |errno| images_error(path, "cannot read the directory", errno);
        for entry in Dir::read_from(dir).map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let shown = || path.join(name.to_string_lossy().as_ref());
            let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| images_error(&shown(), "cannot inspect it", errno))?;
            let what = match FileType::from_raw_mode(stat.st_mode) {
                // CRIU's socket for pages that come later is left behind.
                FileType::RegularFile | FileType::Directory | FileType::Socket => continue,
                FileType::Symlink if name.to_bytes() == PARENT.as_bytes() => {
                    self.check_parent(dir, &shown(), parents)?;
                    continue;
                }
                FileType::Fifo
                    if purpose == Use::Work && !WORK_FILES.contains(&name.to_bytes()) =>
                {
                    continue;
                }
                FileType::Symlink => "a link",
                FileType::Fifo => "a fifo",
                _ => "a device",
            };
            let why = format!("is {what}: a directory of CRIU's images may hold only files");
            return Err(CheckpointError::Images(shown(), why));
        }
        Ok(())
    }

    fn check_parent(
        &self,
        dir: BorrowedFd<'_>,
        path: &Path,
        parents: usize,
    ) -> Result<(), CheckpointError> {
        let Some(left) = parents.checked_sub(1) else {
            let why = format!("more than {PARENTS_MAX} checkpoints one behind the other");
            return Err(CheckpointError::Images(self.path.clone(), why));
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, PARENT, flags, Mode::empty()) {
            Ok(parent) => self.check(parent.as_fd(), path, (Use::Images, left)),
            Err(errno) => Err(images_error(path, "cannot open the directory", errno)),
        }
    }

    /// Makes an empty file for CRIU's log, that nobody else can read, in place of what has
    /// its name.
    ///
    /// # Errors
    /// unlinkat(2), openat(2).
    pub fn fresh_log(&self, name: &str) -> Result<(), CheckpointError> {
        let path = self.path.join(name);
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(images_error(&path, "cannot remove the old log", errno)),
        }
        self.create(name)
            .map(drop)
            .map_err(|errno| images_error(&path, "cannot make the log", errno))
    }

    fn create(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, name, flags, Mode::from_raw_mode(0o600))
    }

    /// The first error of CRIU's log: the others mostly follow from it.
    pub fn first_error(&self, log: &str) -> Option<String> {
        first_error(&self.read(log, LOG_MAX).ok()?)
    }

    /// Notes what the standard streams of the init are.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_descriptors(&self, streams: &[String]) -> Result<(), CheckpointError> {
        let failed = |errno| images_error(&self.path.join(DESCRIPTORS), "cannot write it", errno);
        match rustix::fs::unlinkat(&self.dir, DESCRIPTORS, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let text = serde_json::to_vec(streams).unwrap_or_default();
        let file = self.create(DESCRIPTORS).map_err(failed)?;
        write_all(&file, &text).map_err(failed)
    }

    /// What the standard streams were; only those that the caller's take the place of are given.
    ///
    /// # Errors
    /// The file is not there, too large or not what it should be.
    pub fn read_descriptors(&self) -> Result<Vec<Option<String>>, CheckpointError> {
        let path = self.path.join(DESCRIPTORS);
        let text = self
            .read(DESCRIPTORS, DESCRIPTORS_MAX + 1)
            .map_err(|errno| images_error(&path, "cannot read it", errno))?;
        if text.len() as u64 > DESCRIPTORS_MAX {
            let why = format!("is larger than {DESCRIPTORS_MAX} bytes");
            return Err(CheckpointError::Images(path, why));
        }
        parse_descriptors(&text).map_err(|why| CheckpointError::Images(path, why))
    }

    /// The first part of a file, at most so much.
    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Errno> {
        use std::io::Read as _;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty())?;
        let mut text = Vec::new();
        std::fs::File::from(file)
            .take(limit)
            .read_to_end(&mut text)
            .map_err(io_errno)?;
        Ok(text)
    }
}

fn make_directory(path: &Path) -> Result<(), CheckpointError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(path)
        .map_err(|error| images_error(path, "cannot make the directory", io_errno(error)))
}

fn is_mount_root(path: &Path) -> Result<bool, Errno> {
    let stat = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn parse_descriptors(text: &[u8]) -> Result<Vec<Option<String>>, String> {
    let streams: Vec<String> =
        serde_json::from_slice(text).map_err(|error| format!("is no list of names: {error}"))?;
    if streams.len() > 3 {
        // Its place in the list would make it a descriptor that is not the caller's.
        return Err("names more than the three standard streams".to_owned());
    }
    Ok(streams.into_iter().map(inherited).collect())
}

/// Names that `restore` gives the caller's streams to: anything else is left to CRIU.
fn inherited(name: String) -> Option<String> {
    let number = name
        .strip_prefix("pipe:[")
        .and_then(|n| n.strip_suffix(']'));
    let is_pipe = number.is_some_and(|n| digits(n, |b| b.is_ascii_digit()));
    (is_pipe || is_outside(&name)).then_some(name)
}

/// `file[18:4]`, CRIU's name of a file on a mount that is not the container's: the numbers
/// of mount and file, hexadecimal.
pub fn is_outside(name: &str) -> bool {
    let numbers = name.strip_prefix("file[").and_then(|n| n.strip_suffix(']'));
    let numbers = numbers.and_then(|numbers| numbers.split_once(':'));
    let hex = |n: &str| digits(n, |b| b.is_ascii_hexdigit());
    numbers.is_some_and(|(mount, file)| hex(mount) && hex(file))
}

fn digits(text: &str, is_digit: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(is_digit)
}

/// `Error (criu/x.c:1): text`, without the time in front.
pub fn first_error(log: &[u8]) -> Option<String> {
    let mut lines = log.split(|&b| b == b'\n');
    lines.find_map(|line| {
        let at = line.windows(5).position(|word| word == b"Error")?;
        let text = String::from_utf8_lossy(&line[at..]);
        let text: String = text.chars().filter(|c| !c.is_control()).take(500).collect();
        // What it tries out before it begins counts as errors too.
        let noise = ["exited, status=", "tun: Unable to create tun"];
        let is_noise = noise.iter().any(|noise| text.contains(noise));
        (!is_noise).then(|| text.trim_end().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pipes_are_taken_from_the_list_and_no_more_than_three() {
        let parse = |text: &str| parse_descriptors(text.as_bytes());
        let expected = vec![None, Some("pipe:[12]".to_owned()), None];
        assert_eq!(
            parse(r#"["/dev/null","pipe:[12]","/etc/shadow pipe:[1]"]"#),
            Ok(expected)
        );
        assert!(is_outside("file[18:4]") && !is_outside("file[18:4]:x]"));
        for none in [
            "pipe:[]",
            "file[]",
            "file[1]",
            "file[:]",
            "file[g:1]",
            "pipe:[1]x",
            "pipe:[-1]",
            "xpipe:[1]",
            "pipe:[1]:2]",
        ] {
            assert_eq!(inherited(none.to_owned()), None, "{none}");
        }
        assert!(parse(r#"["pipe:[1]","pipe:[1]","pipe:[1]","pipe:[1]"]"#).is_err());
        for broken in ["", "{}", "[1]", "[\"a\"", "null"] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_first_error_is_told_without_its_time() {
        let log =
            b"(00.01) Warn  (a.c:1): x\n(00.02) Error (b.c:2): why\x1b\n(00.03) Error (c.c:3): y\n";
        assert_eq!(first_error(log).as_deref(), Some("Error (b.c:2): why"));
        let log = b"(0.1) Error (util.c:642): exited, status=1\nError (x.c:1): execvp failed\n";
        assert_eq!(
            first_error(log).as_deref(),
            Some("Error (x.c:1): execvp failed")
        );
        assert_eq!(first_error(b"all is well\n"), None);
    }
}
