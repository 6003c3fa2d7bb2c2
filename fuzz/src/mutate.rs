//! The mutator of the JSON targets: most of the time a change of structure, sometimes one of
//! bytes, which alone would nearly always end in "not valid JSON".

use std::sync::OnceLock;

use corten::config::names;
use corten::plan::seccomp;
use serde_json::Value;

use crate::breaking::{Random, Words, break_one, write};

/// Changes the JSON in the first `size` bytes of `data` in place; the new size. `None` where
/// it is not JSON or grows beyond `max_size`: then bytes are to be changed.
pub fn structure(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> Option<usize> {
    let mut random = Random::new(u64::from(seed));
    if random.one_in(6) {
        return None;
    }
    let mut config: Value = serde_json::from_slice(data.get(..size)?).ok()?;
    for _ in 0..=random.below(3) {
        break_one(&mut config, &mut random, words(), max_size / 4);
    }
    let text = write(&config);
    if text.len() > max_size {
        return None;
    }
    data.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(text.len())
}

/// Other words that mean something somewhere in config.json.
const MORE: &str = "bind rbind ro rw rro nosuid nodev noexec tmpcopyup idmap ridmap remount \
    rslave shared private unbindable strictatime mode=755 size=64k size=10% nr_inodes=1 \
    copy-symlink src-nofollow proc sysfs tmpfs cgroup cgroup2 mqueue devpts overlay none \
    monotonic boottime LINUX LINUX32 c b u p a rwm r w m CAP_ALL 0-3,7 0-N:2/4 all \
    1.3.0 2.0.0 hugepages-2MB 2MB 1GB 64KB memory.max cpu.max io.max ../x memory/x \
    net.ipv4.ip_forward kernel.shmmax fs.mqueue.msg_max net/core/somaxconn kernel.hostname \
    socket socketcall semop ipc write read clone personality openat2 \
    /run/listener eth0 lo L3:0=f MB:0=10 system.slice:corten:x default unconfined \
    system_u:object_r:container_t:s0:c1,c2 /proc/self/ns/net /dev/null /dev/fuse";

fn words() -> &'static Words {
    static WORDS: OnceLock<Words> = OnceLock::new();
    WORDS.get_or_init(|| {
        let properties = include_str!("../../src/config/properties.txt");
        let mut members: Vec<String> = properties
            .split(['\n', '.', '[', ']', '*'])
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        members.sort();
        members.dedup();
        let lists: [&[&str]; 12] = [
            &names::NAMESPACES,
            &names::RLIMITS,
            &names::CAPABILITIES,
            &names::SCHEDULER_POLICIES,
            &names::SCHEDULER_FLAGS,
            &names::IO_PRIORITY_CLASSES,
            &names::MEMORY_POLICIES,
            &names::MEMORY_POLICY_FLAGS,
            seccomp::known_actions(),
            seccomp::known_operators(),
            seccomp::known_archs(),
            seccomp::known_flags(),
        ];
        let listed = lists.into_iter().flatten().copied();
        Words {
            names: members,
            values: listed
                .chain(MORE.split_whitespace())
                .map(str::to_owned)
                .collect(),
        }
    })
}
