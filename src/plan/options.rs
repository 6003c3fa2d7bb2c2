//! The words of `mounts[].options`: what each means.

use std::ffi::CStr;

use crate::sys::mount::MountAttr;

/// What a word does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Sets or clears an `MS_*` flag of the mount or of the file system.
    Flag { flag: u64, on: bool },
    /// The same for the mount and all mounts below it.
    Recursive { flag: u64, on: bool },
    /// Changes the propagation afterwards.
    Propagation(u64),
    /// Makes it a bind mount.
    Bind { recursive: bool },
    /// Changes a mount that is there already.
    Remount,
    /// Fills the new tmpfs with what the directory held.
    TmpCopyUp,
    /// Shows ids through a mapping.
    IdMap { recursive: bool },
    /// Makes a link like the source, if that is one, instead of a mount (crun).
    CopySymlink,
    /// Binds the source itself, if it is a link (crun).
    SrcNoFollow,
    /// Mounts on the destination itself, if it is a link (crun).
    DestNoFollow,
    /// Means nothing.
    Nothing,
}

const REC: u64 = libc::MS_REC;
/// MS_NOSYMFOLLOW of linux/mount.h (Linux 5.10).
const NOSYMFOLLOW: u64 = 256;
const LAZYTIME: u64 = 1 << 25;

const fn on(flag: u64) -> Word {
    Word::Flag { flag, on: true }
}

const fn off(flag: u64) -> Word {
    Word::Flag { flag, on: false }
}

const fn ron(flag: u64) -> Word {
    Word::Recursive { flag, on: true }
}

const fn roff(flag: u64) -> Word {
    Word::Recursive { flag, on: false }
}

/// All words, sorted (mount(8), runc's and crun's man pages).
const WORDS: &[(&str, Word)] = &[
    ("acl", on(libc::MS_POSIXACL)),
    ("async", off(libc::MS_SYNCHRONOUS)),
    ("atime", off(libc::MS_NOATIME)),
    ("bind", Word::Bind { recursive: false }),
    ("copy-symlink", Word::CopySymlink),
    ("defaults", Word::Nothing),
    ("dest-nofollow", Word::DestNoFollow),
    ("dev", off(libc::MS_NODEV)),
    ("diratime", off(libc::MS_NODIRATIME)),
    ("dirsync", on(libc::MS_DIRSYNC)),
    ("exec", off(libc::MS_NOEXEC)),
    ("idmap", Word::IdMap { recursive: false }),
    ("iversion", on(libc::MS_I_VERSION)),
    ("lazytime", on(LAZYTIME)),
    ("loud", off(libc::MS_SILENT)),
    ("mand", on(libc::MS_MANDLOCK)),
    ("noacl", off(libc::MS_POSIXACL)),
    ("noatime", on(libc::MS_NOATIME)),
    ("nodev", on(libc::MS_NODEV)),
    ("nodiratime", on(libc::MS_NODIRATIME)),
    ("noexec", on(libc::MS_NOEXEC)),
    ("noiversion", off(libc::MS_I_VERSION)),
    ("nolazytime", off(LAZYTIME)),
    ("nomand", off(libc::MS_MANDLOCK)),
    ("norelatime", off(libc::MS_RELATIME)),
    ("nostrictatime", off(libc::MS_STRICTATIME)),
    ("nosuid", on(libc::MS_NOSUID)),
    ("nosymfollow", on(NOSYMFOLLOW)),
    ("private", Word::Propagation(libc::MS_PRIVATE)),
    ("rasync", roff(libc::MS_SYNCHRONOUS)),
    ("ratime", roff(libc::MS_NOATIME)),
    ("rbind", Word::Bind { recursive: true }),
    ("rdev", roff(libc::MS_NODEV)),
    ("rdiratime", roff(libc::MS_NODIRATIME)),
    ("rdirsync", ron(libc::MS_DIRSYNC)),
    ("relatime", on(libc::MS_RELATIME)),
    ("remount", Word::Remount),
    ("rexec", roff(libc::MS_NOEXEC)),
    ("ridmap", Word::IdMap { recursive: true }),
    ("rmand", ron(libc::MS_MANDLOCK)),
    ("rnoatime", ron(libc::MS_NOATIME)),
    ("rnodev", ron(libc::MS_NODEV)),
    ("rnodiratime", ron(libc::MS_NODIRATIME)),
    ("rnoexec", ron(libc::MS_NOEXEC)),
    ("rnomand", roff(libc::MS_MANDLOCK)),
    ("rnorelatime", roff(libc::MS_RELATIME)),
    ("rnostrictatime", roff(libc::MS_STRICTATIME)),
    ("rnosuid", ron(libc::MS_NOSUID)),
    ("rnosymfollow", ron(NOSYMFOLLOW)),
    ("ro", on(libc::MS_RDONLY)),
    ("rprivate", Word::Propagation(libc::MS_PRIVATE | REC)),
    ("rrelatime", ron(libc::MS_RELATIME)),
    ("rro", ron(libc::MS_RDONLY)),
    ("rrw", roff(libc::MS_RDONLY)),
    ("rshared", Word::Propagation(libc::MS_SHARED | REC)),
    ("rslave", Word::Propagation(libc::MS_SLAVE | REC)),
    ("rstrictatime", ron(libc::MS_STRICTATIME)),
    ("rsuid", roff(libc::MS_NOSUID)),
    ("rsymfollow", roff(NOSYMFOLLOW)),
    ("rsync", ron(libc::MS_SYNCHRONOUS)),
    ("runbindable", Word::Propagation(libc::MS_UNBINDABLE | REC)),
    ("rw", off(libc::MS_RDONLY)),
    ("shared", Word::Propagation(libc::MS_SHARED)),
    ("silent", on(libc::MS_SILENT)),
    ("slave", Word::Propagation(libc::MS_SLAVE)),
    ("src-nofollow", Word::SrcNoFollow),
    ("strictatime", on(libc::MS_STRICTATIME)),
    ("suid", off(libc::MS_NOSUID)),
    ("symfollow", off(NOSYMFOLLOW)),
    ("sync", on(libc::MS_SYNCHRONOUS)),
    ("tmpcopyup", Word::TmpCopyUp),
    ("unbindable", Word::Propagation(libc::MS_UNBINDABLE)),
];

/// Every word that is understood, for `features`.
pub fn known() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(name, _)| *name)
}

/// `idmap` or `ridmap`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct IdMapWord {
    /// `ridmap`: for the mount and all below it.
    pub recursive: bool,
    /// What follows the equals sign (crun).
    pub text: Option<String>,
}

/// What the options of one mount say together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `MS_*` flags for mount(2) of a file system.
    pub flags: u64,
    /// `MS_*` flags that a new file system gets from the recursive words: nothing is below it.
    pub recursive_flags: u64,
    /// The same for a bind mount, with what is cleared by name.
    pub attr: MountAttr,
    /// For the mount and all below it.
    pub recursive_attr: MountAttr,
    /// Changes of propagation, in order.
    pub propagation: Vec<u64>,
    /// `bind` (`Some(false)`) or `rbind` (`Some(true)`).
    pub bind: Option<bool>,
    /// `remount` was there.
    pub remount: bool,
    /// `tmpcopyup` was there.
    pub tmpcopyup: bool,
    /// `idmap` or `ridmap`, if one was there.
    pub idmap: Option<IdMapWord>,
    /// `copy-symlink` was there.
    pub copy_symlink: bool,
    /// `src-nofollow` was there.
    pub src_nofollow: bool,
    /// `dest-nofollow` was there.
    pub dest_nofollow: bool,
    /// The rest, for the file system, joined by commas.
    pub data: String,
}

/// Flags of a mount in both of the kernel's forms. `MS_RELATIME` is the
/// absence of the other two access time bits.
const ATTRS: [(u64, u64); 8] = [
    (libc::MS_RDONLY, libc::MOUNT_ATTR_RDONLY),
    (libc::MS_NOSUID, libc::MOUNT_ATTR_NOSUID),
    (libc::MS_NODEV, libc::MOUNT_ATTR_NODEV),
    (libc::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC),
    (libc::MS_NODIRATIME, libc::MOUNT_ATTR_NODIRATIME),
    (libc::MS_NOATIME, libc::MOUNT_ATTR_NOATIME),
    (libc::MS_STRICTATIME, libc::MOUNT_ATTR_STRICTATIME),
    (NOSYMFOLLOW, libc::MOUNT_ATTR_NOSYMFOLLOW),
];

/// `MOUNT_ATTR_*` bits of `MS_*` flags; flags of file systems (`sync`) have none.
pub fn attr_of_flags(flags: u64) -> u64 {
    ATTRS
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .fold(0, |bits, (_, bit)| bits | bit)
}

/// What fsconfig(2) calls the `MS_*` flags that belong to a superblock.
const SUPERBLOCK: [(u64, &CStr); 7] = [
    (libc::MS_RDONLY, c"ro"),
    (libc::MS_SYNCHRONOUS, c"sync"),
    (libc::MS_DIRSYNC, c"dirsync"),
    (libc::MS_MANDLOCK, c"mand"),
    (LAZYTIME, c"lazytime"),
    // Options of the file systems that have them.
    (libc::MS_I_VERSION, c"iversion"),
    (libc::MS_POSIXACL, c"acl"),
];

/// The words of fsconfig(2) for `MS_*` flags.
pub fn superblock_words(flags: u64) -> impl Iterator<Item = &'static CStr> {
    SUPERBLOCK
        .iter()
        .filter(move |(flag, _)| flags & flag != 0)
        .map(|(_, word)| *word)
}

/// The bits to set for a flag, and the group of bits that excludes one another.
fn attr_of(flag: u64) -> (u64, u64) {
    let group = if flag & ATIME != 0 {
        libc::MOUNT_ATTR__ATIME
    } else {
        0
    };
    (attr_of_flags(flag), group)
}

fn change(attr: &mut MountAttr, flag: u64, on: bool) {
    let (bits, group) = attr_of(flag);
    if on {
        attr.set = attr.set & !group | bits;
        attr.clear = attr.clear & !bits | group;
    } else {
        attr.set &= !bits;
        // The kernel wants the whole group cleared or none of it.
        attr.clear |= bits | group;
    }
}

/// How access times are kept: mount(2) takes the strictest of these, not the last.
const ATIME: u64 = libc::MS_NOATIME | libc::MS_STRICTATIME | libc::MS_RELATIME;

fn set(flags: &mut u64, flag: u64, on: bool) {
    let group = if on && flag & ATIME != 0 { ATIME } else { flag };
    *flags = *flags & !group | if on { flag } else { 0 };
}

impl Options {
    fn map_ids(&mut self, recursive: bool, text: Option<&str>) {
        let idmap = self.idmap.get_or_insert_default();
        idmap.recursive |= recursive;
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            idmap.text = Some(text.to_owned());
        }
    }

    /// A word that is not in the table: a mapping in crun's form, or the file system's own.
    fn unknown(&mut self, word: &str) {
        match word.split_once('=') {
            Some(("idmap", text)) => self.map_ids(false, Some(text)),
            Some(("ridmap", text)) => self.map_ids(true, Some(text)),
            _ if word.is_empty() => {}
            _ => {
                if !self.data.is_empty() {
                    self.data.push(',');
                }
                self.data.push_str(word);
            }
        }
    }
}

/// Reads the words of one mount; the last of two that contradict wins.
pub fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Options {
    let mut options = Options::default();
    for word in words {
        let Ok(found) = WORDS.binary_search_by(|(name, _)| (*name).cmp(word)) else {
            options.unknown(word);
            continue;
        };
        match WORDS[found].1 {
            Word::Flag { flag, on } => {
                set(&mut options.flags, flag, on);
                change(&mut options.attr, flag, on);
            }
            Word::Recursive { flag, on } => {
                set(&mut options.recursive_flags, flag, on);
                change(&mut options.recursive_attr, flag, on);
            }
            Word::Propagation(flags) => options.propagation.push(flags),
            Word::Bind { recursive } => {
                options.bind = Some(recursive || options.bind == Some(true))
            }
            Word::Remount => options.remount = true,
            Word::TmpCopyUp => options.tmpcopyup = true,
            Word::IdMap { recursive } => options.map_ids(recursive, None),
            Word::CopySymlink => options.copy_symlink = true,
            Word::SrcNoFollow => options.src_nofollow = true,
            Word::DestNoFollow => options.dest_nofollow = true,
            Word::Nothing => {}
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Options {
        parse(text.split(','))
    }

    #[test]
    fn words_are_sorted_so_that_the_search_finds_them() {
        assert!(WORDS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn flags_and_data_are_told_apart() {
        let o = parse_text("nosuid,strictatime,mode=755,size=65536k,noexec");
        assert_eq!(
            o.flags,
            libc::MS_NOSUID | libc::MS_STRICTATIME | libc::MS_NOEXEC
        );
        assert_eq!(o.data, "mode=755,size=65536k");
        assert_eq!(o.bind, None);
    }

    #[test]
    fn the_last_word_of_a_pair_wins() {
        let o = parse_text("ro,rw");
        assert_eq!(o.flags, 0);
        assert_eq!(
            o.attr,
            MountAttr {
                clear: libc::MOUNT_ATTR_RDONLY,
                ..MountAttr::default()
            }
        );
        let o = parse_text("rw,ro");
        assert_eq!(
            o.attr,
            MountAttr {
                set: libc::MOUNT_ATTR_RDONLY,
                ..MountAttr::default()
            }
        );
    }

    #[test]
    fn access_time_words_clear_the_whole_group() {
        for word in [
            "noatime",
            "relatime",
            "strictatime",
            "atime",
            "norelatime",
            "nostrictatime",
        ] {
            let o = parse_text(word);
            assert_eq!(
                o.attr.clear & libc::MOUNT_ATTR__ATIME,
                libc::MOUNT_ATTR__ATIME,
                "{word}"
            );
        }
        let o = parse_text("strictatime,noatime");
        assert_eq!(o.attr.set, libc::MOUNT_ATTR_NOATIME);
        assert_eq!(o.flags, libc::MS_NOATIME);
        assert_eq!(parse_text("noatime,relatime").flags, libc::MS_RELATIME);
    }

    #[test]
    fn rbind_wins_over_bind_in_any_order() {
        assert_eq!(parse_text("bind").bind, Some(false));
        assert_eq!(parse_text("bind,rbind").bind, Some(true));
        assert_eq!(parse_text("rbind,bind").bind, Some(true));
    }

    #[test]
    fn recursive_words_do_not_touch_the_mount_itself_alone() {
        let o = parse_text("rbind,rro,rnosuid");
        assert_eq!(o.attr, MountAttr::default());
        assert_eq!(
            o.recursive_attr.set,
            libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID
        );
    }

    #[test]
    fn recursive_words_of_the_superblock_reach_a_new_file_system_and_no_bind() {
        let o = parse_text("rsync,rdirsync,rmand,rro,rmand,rnomand");
        assert_eq!(
            o.recursive_flags,
            libc::MS_SYNCHRONOUS | libc::MS_DIRSYNC | libc::MS_RDONLY
        );
        // MS_SYNCHRONOUS is the number of MOUNT_ATTR_NOATIME: it must not become that.
        assert_eq!(o.recursive_attr.set, libc::MOUNT_ATTR_RDONLY);
        assert_eq!(parse_text("rsync,rasync").recursive_flags, 0);
    }

    #[test]
    fn flags_of_a_superblock_have_words_and_those_of_a_mount_have_none() {
        let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_SYNCHRONOUS | libc::MS_NOATIME;
        assert!(superblock_words(flags).eq([c"ro", c"sync"]));
    }

    #[test]
    fn id_mappings_are_words_of_their_own_and_never_file_system_options() {
        for (text, recursive, mapping) in [
            ("idmap", false, None),
            ("ridmap", true, None),
            ("idmap,ridmap", true, None),
            ("idmap=", false, None),
            (
                "idmap=uids=0-1-10;gids=0-1-10",
                false,
                Some("uids=0-1-10;gids=0-1-10"),
            ),
            ("ridmap=uids=@0-1-10", true, Some("uids=@0-1-10")),
        ] {
            let o = parse_text(text);
            assert_eq!(
                o.idmap,
                Some(IdMapWord {
                    recursive,
                    text: mapping.map(str::to_owned)
                }),
                "{text}"
            );
            assert_eq!(o.data, "", "{text}");
        }
        assert_eq!(parse_text("idmapper=1").data, "idmapper=1");
    }

    #[test]
    fn crun_s_words_for_links_are_known() {
        let o = parse_text("copy-symlink,src-nofollow,dest-nofollow");
        assert!(o.copy_symlink && o.src_nofollow && o.dest_nofollow);
        assert_eq!(o.data, "");
    }

    #[test]
    fn propagation_keeps_its_order() {
        let o = parse_text("rprivate,shared");
        assert_eq!(
            o.propagation,
            [libc::MS_PRIVATE | libc::MS_REC, libc::MS_SHARED]
        );
    }
}
