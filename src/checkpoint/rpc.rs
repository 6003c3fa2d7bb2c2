//! CRIU's RPC: which numbers its messages and fields have (criu's images/rpc.proto), what
//! is asked and what is answered.

use super::wire::{Fields, Message, Value};

/// Kinds of requests and answers (`criu_req_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Writes a checkpoint.
    Dump = 1,
    /// Restores one.
    Restore = 2,
    /// Writes the memory alone.
    PreDump = 4,
    /// Tells of a stage, and waits for the answer.
    Notify = 6,
    /// What criu and the kernel can do.
    Features = 9,
    /// criu's version.
    Version = 10,
}

/// Fields of `criu_opts`.
pub mod option {
    macro_rules! fields {
        ($($name:ident = $number:literal,)*) => {
            $(#[doc = concat!("Field ", stringify!($number), ".")] pub const $name: u32 = $number;)*
        };
    }
    fields! {
        IMAGES_DIR_FD = 1, PID = 2, LEAVE_RUNNING = 3, EXT_UNIX_SK = 4, TCP_ESTABLISHED = 5,
        EVASIVE_DEVICES = 6, SHELL_JOB = 7, FILE_LOCKS = 8, LOG_LEVEL = 9, LOG_FILE = 10,
        PAGE_SERVER = 11, NOTIFY_SCRIPTS = 12, ROOT = 13, PARENT_IMG = 14, TRACK_MEM = 15,
        AUTO_DEDUP = 16, WORK_DIR_FD = 17, LINK_REMAP = 18, MANAGE_CGROUPS = 24, CGROUP_ROOT = 25,
        RST_SIBLING = 26, INHERIT_FD = 27, MANAGE_CGROUPS_MODE = 34, EXTERNAL = 37, EMPTY_NS = 38,
        JOIN_NS = 39, FREEZE_CGROUP = 44, TCP_SKIP_IN_FLIGHT = 46, LAZY_PAGES = 48,
        ORPHAN_PTS_MASTER = 50, CONFIG_FILE = 51, TCP_CLOSE = 52, LSM_PROFILE = 53,
        LSM_MOUNT_CONTEXT = 63, NETWORK_LOCK = 64, MNTNS_COMPAT_MODE = 65,
    }
}

/// A request with its options.
pub fn request(kind: Kind, options: Option<&Message>) -> Message {
    let mut request = Message::default();
    request.number(1, kind as i64);
    if let Some(options) = options {
        request.message(2, options);
    }
    request
}

/// Says that a stage may pass, or not.
pub fn passed(success: bool) -> Message {
    let mut request = request(Kind::Notify, None);
    request.flag(3, success);
    request
}

/// Asks whether the kernel and criu can track written memory, and load pages lazily.
pub fn features(mem_track: bool, lazy_pages: bool) -> Message {
    let mut wanted = Message::default();
    wanted.flag(1, mem_track).flag(2, lazy_pages);
    let mut request = request(Kind::Features, None);
    request.message(5, &wanted);
    request
}

/// A pair of texts, as `inherit_fd`, `cgroup_root` and others begin.
pub fn pair(first: impl AsRef<[u8]>, second: impl AsRef<[u8]>) -> Message {
    let mut pair = Message::default();
    pair.text(1, first).text(2, second);
    pair
}

/// What criu says (`criu_resp`).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its kind as a number: it may be one that is not known here.
    pub kind: i32,
    /// Whether what was asked for was done.
    pub success: bool,
    /// Why not.
    pub errno: i32,
    /// Why not, in words.
    pub message: String,
    /// The restored init.
    pub pid: Option<i32>,
    /// A stage.
    pub notify: Option<Notify>,
    /// Whether memory can be tracked and lazily loaded.
    pub features: (bool, bool),
    /// The version as one number: 31701 is 3.17.1.
    pub version: i32,
}

/// A stage that criu has come to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Its name.
    pub stage: String,
    /// The init that is being restored, where there is one.
    pub pid: i32,
}

impl Answer {
    /// Reads an answer; `None` if the bytes are none.
    pub fn read(bytes: &[u8]) -> Option<Answer> {
        let mut answer = Answer {
            kind: -1,
            ..Answer::default()
        };
        for field in Fields(bytes) {
            let (field, value) = field?;
            match field {
                1 => answer.kind = value.int()?,
                2 => answer.success = value.flag(),
                4 => answer.pid = number_in(&value, 1)?,
                5 => answer.notify = Some(Notify::read(&value)?),
                7 => answer.errno = value.int().unwrap_or_default(),
                8 => {
                    let has = |field| Some(number_in(&value, field)?.unwrap_or(0) != 0);
                    answer.features = (has(1)?, has(2)?);
                }
                9 => answer.message = value.text(),
                10 => answer.version = version(&value)?,
                _ => {}
            }
        }
        (answer.kind >= 0).then_some(answer)
    }

    /// Whether it is of this kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind as i32
    }
}

impl Notify {
    fn read(value: &Value<'_>) -> Option<Notify> {
        let mut notify = Notify::default();
        for field in Fields(value.bytes()) {
            match field? {
                (1, value) => notify.stage = value.text(),
                (2, value) => notify.pid = value.int()?,
                _ => {}
            }
        }
        Some(notify)
    }
}

/// A number of a message within a message.
fn number_in(value: &Value<'_>, wanted: u32) -> Option<Option<i32>> {
    let mut found = None;
    for field in Fields(value.bytes()) {
        let (field, value) = field?;
        if field == wanted {
            found = value.int();
        }
    }
    Some(found)
}

/// `criu_version`: what is built from git counts as the next minor version.
fn version(value: &Value<'_>) -> Option<i32> {
    let part = |field| Some(number_in(value, field)?.unwrap_or(0).clamp(0, 9999));
    let from_git = Fields(value.bytes())
        .flatten()
        .any(|(field, value)| field == 3 && !value.bytes().is_empty());
    let (minor, sublevel) = match from_git {
        true => (part(2)? + 1, 0),
        false => (part(2)?, part(4)?),
    };
    Some(part(1)? * 10_000 + minor * 100 + sublevel)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(build: impl FnOnce(&mut Message)) -> Option<Answer> {
        let mut message = Message::default();
        build(&mut message);
        Answer::read(message.as_bytes())
    }

    #[test]
    fn a_version_is_one_number() {
        let version = |build: fn(&mut Message)| {
            let mut version = Message::default();
            build(&mut version);
            let answer = answer(|m| {
                m.number(1, 10).flag(2, true).message(10, &version);
            });
            answer.map(|answer| answer.version)
        };
        assert_eq!(
            version(|m| {
                m.number(1, 3).number(2, 17).number(4, 1);
            }),
            Some(31701)
        );
        assert_eq!(
            version(|m| {
                m.number(1, 4).number(2, 0).text(3, "v4.0-12-gabc");
            }),
            Some(40100)
        );
    }

    #[test]
    fn a_stage_comes_with_the_init() {
        let mut notify = Message::default();
        notify.text(1, "post-restore").number(2, 4711);
        let answer = answer(|m| {
            m.number(1, 6).flag(2, true).message(5, &notify);
        });
        let notify = Notify {
            stage: "post-restore".to_owned(),
            pid: 4711,
        };
        assert_eq!(answer.and_then(|a| a.notify), Some(notify));
    }

    #[test]
    fn an_answer_without_a_kind_or_with_a_broken_part_is_none() {
        assert_eq!(
            answer(|m| {
                m.flag(2, true);
            }),
            None
        );
        assert_eq!(
            answer(|m| {
                m.number(1, 2).text(4, b"\x08");
            }),
            None,
            "a pid that is cut short"
        );
        assert_eq!(
            answer(|m| {
                m.number(1, 1 << 40);
            }),
            None
        );
    }

    #[test]
    fn a_request_is_its_kind_and_its_options() {
        let mut options = Message::default();
        options.number(option::IMAGES_DIR_FD, 5);
        let request = request(Kind::Dump, Some(&options));
        assert_eq!(request.as_bytes(), [8, 1, 0x12, 2, 8, 5]);
        assert_eq!(passed(true).as_bytes(), [8, 6, 0x18, 1]);
    }
}
