//! Rules of `mounts`.

use serde_json::{Value, json};

use super::{accepts, refuses, warns};

fn mount(destination: &str, fstype: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": fstype, "source": "/x", "options": options})
}

#[test]
fn destinations_are_paths() {
    refuses(&[
        (
            "/mounts/-",
            mount("", "tmpfs", &[]),
            "/mounts/10/destination",
            "missing",
        ),
        (
            "/mounts/-",
            mount(&"/a".repeat(2048), "tmpfs", &[]),
            "/mounts/10/destination",
            "4096 bytes",
        ),
        (
            "/mounts/-",
            json!({"destination": "/a\u{0}b"}),
            "/mounts/10/destination",
            "NUL",
        ),
    ]);
    warns(&[(
        "/mounts/-",
        mount("data", "tmpfs", &[]),
        "/mounts/10/destination",
        "deprecated",
    )]);
}

#[test]
fn options_that_a_bind_does_without_are_warned_of() {
    for (fstype, options) in [("bind", ["ro", "size=1k"]), ("", ["rbind", "mode=755"])] {
        let at = "/mounts/10/options/1";
        warns(&[("/mounts/-", mount("/a", fstype, &options), at, "ignored")]);
    }
    accepts(&[("/mounts/-", mount("/a", "tmpfs", &["size=1k"]))]);
}

#[test]
fn a_source_may_be_longer_than_a_name_but_not_than_a_path() {
    let source = |length| json!({"destination": "/a", "source": "x".repeat(length)});
    accepts(&[("/mounts/-", source(4095))]);
    refuses(&[(
        "/mounts/-",
        source(4096),
        "/mounts/10/source",
        "at most 4095",
    )]);
}

#[test]
fn proc_is_not_covered_but_for_the_files_that_runc_allows() {
    accepts(&[
        ("/mounts/-", mount("/proc/cpuinfo", "bind", &["bind"])),
        ("/mounts/-", mount("/proc//./net/dev", "bind", &["bind"])),
        ("/mounts/-", mount("/proc", "bind", &["rbind"])),
        ("/mounts/-", mount("/proc/../data", "tmpfs", &[])),
        ("/mounts/-", mount("/processes", "tmpfs", &[])),
        ("/mounts/-", mount("/data/proc", "proc", &[])),
        ("/mounts/-", mount("/proc", "proc", &[])),
    ]);
    for destination in [
        "/proc/acpi",
        "/x/../proc/self",
        "/proc/cpuinfo/x",
        "/proc/net",
    ] {
        refuses(&[(
            "/mounts/-",
            mount(destination, "bind", &["bind"]),
            "/mounts/10/destination",
            "inside /proc",
        )]);
    }
    refuses(&[(
        "/mounts/-",
        mount("/proc", "tmpfs", &[]),
        "/mounts/10/destination",
        "not of type proc",
    )]);
}

#[test]
fn id_mapped_mounts_have_both_kinds_of_mappings() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    accepts(&[(
        "/mounts/-",
        json!({"destination": "/a", "uidMappings": map, "gidMappings": map}),
    )]);
    refuses(&[
        (
            "/mounts/-",
            json!({"destination": "/a", "uidMappings": map}),
            "/mounts/10/gidMappings",
            "with uidMappings",
        ),
        (
            "/mounts/-",
            json!({"destination": "/a", "gidMappings": map}),
            "/mounts/10/uidMappings",
            "with gidMappings",
        ),
    ]);
}
