//! What a container uses, as the kernel counts it.
//!
//! The shape is that of runc's `events` ([`types`]); [`parse`] reads the kernel's texts and touches
//! no file, [`v1`] and [`v2`] know which file says what.

mod parse;
#[cfg(test)]
mod tests;
mod types;
mod v1;
mod v2;

use rustix::fs::CWD;
use rustix::io::Errno;

use super::{CgroupError, Record, file};
pub use types::{Blkio, Cpu, Cpuset, Hugetlb, Memory, Pids, Psi, Stats};

impl Record {
    /// Reads everything that the container's cgroup counts. A controller that is not there
    /// counts nothing.
    ///
    /// # Errors
    /// A file exists and cannot be read.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let mut stats = Stats::default();
        for directory in &self.directories {
            let files = Files(self.absolute(directory));
            match directory.v2 {
                true => v2::read(&files, |name| self.on_v1(name).is_none(), &mut stats)?,
                false => v1::read(&files, &directory.hierarchy, &mut stats)?,
            }
        }
        Ok(stats)
    }
}

/// The files of one directory. There are many: what reads one is not repeated for each.
struct Files(String);

impl Files {
    /// A file's text; `None` if the kernel has no such file, or no such counter behind it.
    #[inline(never)]
    fn text(&self, name: &str) -> Result<Option<String>, CgroupError> {
        let path = format!("{}/{name}", self.0);
        match file::read_all(CWD, &path) {
            Ok(text) => Ok(Some(text)),
            // What was counted is gone with the cgroup.
            Err(Errno::NOENT | Errno::OPNOTSUPP | Errno::NODEV) => Ok(None),
            Err(errno) => Err(CgroupError::kernel("read", path, errno)),
        }
    }

    /// A file with one number.
    #[inline(never)]
    fn number(&self, name: &str) -> Result<Option<u64>, CgroupError> {
        Ok(self.text(name)?.and_then(|text| parse::number(&text)))
    }

    /// The same, 0 where there is none.
    #[inline(never)]
    fn count(&self, name: &str) -> Result<u64, CgroupError> {
        Ok(self.number(name)?.unwrap_or_default())
    }
}

/// The sizes of huge pages as the kernel names its files, `2MB` and so on.
fn huge_pages() -> Vec<String> {
    let names = std::fs::read_dir("/sys/kernel/mm/hugepages");
    let mut sizes: Vec<String> = names
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| parse::huge_page_size(&entry.file_name().to_string_lossy()))
        .collect();
    sizes.sort();
    sizes
}
