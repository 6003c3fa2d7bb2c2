//! The readers on what kernels said: texts of Linux 6.18 (v1) and 6.12 (v2), in trees of plain files.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::types::*;
use super::*;
use crate::cgroup::record::Directory;

/// A tree of plain files in the place of a cgroup file system.
struct Tree(PathBuf);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Tree {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("corten-stats-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Tree(root)
    }

    fn stats(&self, hierarchies: &[(&str, bool)]) -> Stats {
        let directories = hierarchies.iter().map(|(hierarchy, v2)| Directory {
            hierarchy: (*hierarchy).to_owned(),
            v2: *v2,
            levels: 0,
        });
        let record = Record {
            root: self.0.display().to_string(),
            path: "c".to_owned(),
            directories: directories.collect(),
            unit: None,
        };
        record.stats().unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn entry(major: u64, minor: u64, op: &str, value: u64) -> BlkioEntry {
    BlkioEntry {
        major,
        minor,
        op: op.to_owned(),
        value,
    }
}

const V1: &[(&str, &str)] = &[
    (
        "cpu,cpuacct/c/cpu.stat",
        "nr_periods 7\nnr_throttled 3\nthrottled_time 123456\nnr_bursts 0\nburst_time 0\n",
    ),
    ("cpu,cpuacct/c/cpuacct.usage", "14398209\n"),
    ("cpu,cpuacct/c/cpuacct.stat", "user 2\nsystem 1\n"),
    ("cpu,cpuacct/c/cpuacct.usage_percpu", "2876704 11521505 \n"),
    (
        "cpu,cpuacct/c/cpuacct.usage_all",
        "cpu user system\n0 5 6\n1 7 8\n",
    ),
    ("cpuset/c/cpuset.cpus", "0-2,7\n"),
    ("cpuset/c/cpuset.mems", "0\n"),
    ("cpuset/c/cpuset.sched_load_balance", "1\n"),
    ("cpuset/c/cpuset.sched_relax_domain_level", "-1\n"),
    (
        "memory/c/memory.stat",
        "cache 4096\nrss 57344\ntotal_cache 8192\n",
    ),
    ("memory/c/memory.usage_in_bytes", "462848\n"),
    ("memory/c/memory.max_usage_in_bytes", "2551808\n"),
    ("memory/c/memory.limit_in_bytes", "9223372036854771712\n"),
    ("memory/c/memory.failcnt", "4\n"),
    ("memory/c/memory.kmem.tcp.usage_in_bytes", "0\n"),
    (
        "memory/c/memory.kmem.tcp.limit_in_bytes",
        "9223372036854771712\n",
    ),
    ("pids/c/pids.current", "1\n"),
    ("pids/c/pids.max", "max\n"),
    ("blkio/c/blkio.bfq.io_serviced_recursive", "Total 0\n"),
    (
        "blkio/c/blkio.throttle.io_serviced_recursive",
        "8:0 Read 124\n8:0 Write 104\n8:0 Total 228\nTotal 228\n",
    ),
    (
        "blkio/c/blkio.throttle.io_service_bytes_recursive",
        "8:0 Read 1282048\nTotal 1282048\n",
    ),
    ("blkio/c/blkio.sectors_recursive", "8:0 6792\n"),
];

#[test]
fn v1_counters_are_read_and_what_is_zero_is_left_out_as_runc_does() {
    let tree = Tree::new(V1);
    let hierarchies = [
        "cpu,cpuacct",
        "cpuset",
        "memory",
        "pids",
        "blkio",
        "freezer",
    ];
    let stats = tree.stats(&hierarchies.map(|name| (name, false)));
    assert_eq!(
        serde_json::to_string(&stats.cpu).unwrap(),
        r#"{"usage":{"total":14398209,"percpu":[2876704,11521505],"percpu_kernel":[6,8],"percpu_user":[5,7],"kernel":10000000,"user":20000000},"throttling":{"periods":7,"throttledPeriods":3,"throttledTime":123456}}"#
    );
    assert_eq!(
        serde_json::to_string(&stats.cpuset).unwrap(),
        r#"{"cpus":[0,1,2,7],"cpu_exclusive":0,"mems":[0],"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":1,"sched_relax_domain_level":-1}"#
    );
    assert_eq!(
        serde_json::to_string(&stats.memory).unwrap(),
        r#"{"cache":4096,"usage":{"limit":9223372036854771712,"usage":462848,"max":2551808,"failcnt":4},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":9223372036854771712,"failcnt":0},"raw":{"cache":4096,"rss":57344,"total_cache":8192}}"#
    );
    assert_eq!(
        serde_json::to_string(&stats.pids).unwrap(),
        r#"{"current":1}"#
    );
    assert_eq!(
        serde_json::to_string(&stats.blkio).unwrap(),
        r#"{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":1282048}],"ioServicedRecursive":[{"major":8,"op":"Read","value":124},{"major":8,"op":"Write","value":104},{"major":8,"op":"Total","value":228}],"sectorsRecursive":[{"major":8,"value":6792}]}"#
    );
}

const V2: &[(&str, &str)] = &[
    (
        "c/cpu.stat",
        "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 9\nnr_throttled 4\nthrottled_usec 77\n",
    ),
    (
        "c/cpu.pressure",
        "some avg10=0.00 avg60=1.50 avg300=100.00 total=42\n",
    ),
    ("c/memory.stat", "anon 10\nfile 4096\nkernel 20\n"),
    ("c/memory.current", "1000\n"),
    ("c/memory.max", "4000\n"),
    ("c/memory.peak", "3000\n"),
    ("c/memory.swap.current", "11\n"),
    ("c/memory.swap.max", "500\n"),
    (
        "c/memory.pressure",
        "some avg10=0.12 avg60=0.00 avg300=0.00 total=1\nfull avg10=2.00 avg60=0.00 avg300=0.01 total=9\n",
    ),
    (
        "c/io.stat",
        "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n254:16 \n8:16 rbytes=5\n",
    ),
    ("c/pids.current", "3\n"),
    ("c/pids.max", "20\n"),
];

#[test]
fn v2_counters_are_read_into_the_same_shape() {
    let tree = Tree::new(V2);
    let stats = tree.stats(&[("", true)]);
    assert_eq!(
        serde_json::to_string(&stats.cpu).unwrap(),
        r#"{"usage":{"total":5000000,"kernel":2000000,"user":3000000},"throttling":{"periods":9,"throttledPeriods":4,"throttledTime":77000},"psi":{"some":{"avg10":0,"avg60":1.5,"avg300":100,"total":42},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}}"#
    );
    // Memory and swap together, as on v1.
    assert_eq!(
        serde_json::to_string(&stats.memory).unwrap(),
        r#"{"cache":4096,"usage":{"limit":4000,"usage":1000,"max":3000,"failcnt":0},"swap":{"limit":4500,"usage":1011,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0},"raw":{"anon":10,"file":4096,"kernel":20},"psi":{"some":{"avg10":0.12,"avg60":0,"avg300":0,"total":1},"full":{"avg10":2,"avg60":0,"avg300":0.01,"total":9}}}"#
    );
    assert_eq!(
        stats.pids,
        Pids {
            current: 3,
            limit: 20
        }
    );
    let bytes = [
        entry(8, 0, "Read", 1),
        entry(8, 0, "Write", 2),
        entry(8, 16, "Read", 5),
    ];
    assert_eq!(stats.blkio.io_service_bytes_recursive, bytes);
    let operations = [entry(8, 0, "Read", 3), entry(8, 0, "Write", 4)];
    assert_eq!(stats.blkio.io_serviced_recursive, operations);
    assert_eq!(stats.blkio.psi, None);
}

#[test]
fn unlimited_swap_is_unlimited_together_with_memory() {
    let mut files = V2.to_vec();
    for (name, text) in &mut files {
        if *name == "c/memory.swap.max" {
            *text = "max\n";
        }
    }
    let stats = Tree::new(&files).stats(&[("", true)]);
    assert_eq!(stats.memory.swap.limit, u64::MAX);
    assert_eq!(stats.memory.swap.usage, 1011);
}

#[test]
fn without_a_controller_tasks_are_counted_and_the_rest_is_zero() {
    let tree = Tree::new(&[("c/cgroup.procs", "12\n13\n")]);
    let stats = tree.stats(&[("", true)]);
    let expected = Stats {
        pids: Pids {
            current: 2,
            limit: 0,
        },
        ..Stats::default()
    };
    assert_eq!(stats, expected);
}

#[test]
fn beside_v1_only_what_v1_lacks_is_taken_from_v2() {
    let mut files = V2
        .iter()
        .map(|(path, text)| (format!("unified/{path}"), *text))
        .collect::<Vec<_>>();
    files.push(("pids/c/pids.current".to_owned(), "1\n"));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), *text))
        .collect();
    let tree = Tree::new(&files);
    let all = ["pids", "cpu,cpuacct", "memory", "blkio"];
    let mut directories: Vec<(&str, bool)> = all.iter().map(|name| (*name, false)).collect();
    directories.push(("unified", true));
    let of_v1 = Stats {
        pids: Pids {
            current: 1,
            limit: 0,
        },
        ..Stats::default()
    };
    assert_eq!(tree.stats(&directories), of_v1);
    // Where v1 has pids alone, v2 has the others.
    let stats = tree.stats(&[("pids", false), ("unified", true)]);
    assert_eq!(stats.pids, of_v1.pids);
    assert_ne!(stats.cpu, of_v1.cpu);
    let alone = Tree::new(V2).stats(&[("", true)]);
    assert_eq!(
        (stats.cpu, stats.memory, stats.blkio),
        (alone.cpu, alone.memory, alone.blkio)
    );
}

#[test]
fn huge_pages_have_the_kernels_names() {
    for (name, size) in [
        ("hugepages-2048kB", Some("2MB")),
        ("hugepages-1048576kB", Some("1GB")),
        ("hugepages-64kB", Some("64KB")),
        ("other", None),
    ] {
        assert_eq!(parse::huge_page_size(name).as_deref(), size);
    }
}

#[test]
fn lists_and_numbers_of_all_forms_are_understood() {
    assert_eq!(parse::list("0-2,7\n"), [0, 1, 2, 7]);
    assert_eq!(parse::list("\n"), [0; 0]);
    assert_eq!(parse::list("3-1,x,5"), [5]);
    assert_eq!(parse::number("max\n"), Some(u64::MAX));
    assert_eq!(parse::number("-5"), Some(0));
    assert_eq!(parse::number("5 6"), None);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "([a-z_]{0,8}[ =:]|[0-9]{0,22}[ :.\n-]|max|some |full |avg10=|.){0,60}") {
        let _ = (parse::number(&text), parse::list(&text), parse::blkio(&text), parse::io_stat(&text));
        let _ = (parse::psi(&text), parse::usage_all(&text), parse::numbers(&text), parse::value_of(&text, "a"));
        let _ = (parse::keyed(&text).count(), parse::huge_page_size(&text));
    }

    #[test]
    fn what_psi_prints_is_read_back(whole in 0u32..101, part in 0u32..100, total: u64) {
        let psi = parse::psi(&format!("some avg10={whole}.{part:02} avg60=0.00 avg300=0.00 total={total}\n"));
        proptest::prop_assert_eq!(psi.some.avg10, Percent(whole * 100 + part));
        proptest::prop_assert_eq!(psi.some.total, total);
    }
}
