//! What systemd is told, compared with what runc tells it.

use proptest::prelude::*;

use super::*;
use crate::config::spec::Linux;
use crate::plan::cgroup::{Host, Manager, ResourceError, plan};

const V2: [&str; 7] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
const V1: [&str; 7] = [
    "name=systemd",
    "cpu",
    "cpuset",
    "memory",
    "devices",
    "blkio",
    "pids",
];

fn v2() -> Host {
    Host::v2("/sys/fs/cgroup", &V2)
}

fn planned(host: &Host, linux: &str, user: bool) -> Result<CgroupPlan, ResourceError> {
    let linux: Linux = serde_json::from_str(linux).unwrap();
    plan(Manager::Systemd { user }, &linux, "id", host)
}

fn shown(properties: &[Property]) -> Vec<String> {
    let shown = |p: &Property| match &p.value {
        Value::Uint64(u64::MAX) => format!("{}=infinity", p.name),
        Value::Uint64(n) => format!("{}={n}", p.name),
        Value::Text(text) => format!("{}={text}", p.name),
        Value::Bool(value) => format!("{}={value}", p.name),
        Value::Array(_, values) => {
            let values: Vec<String> = values
                .iter()
                .map(|value| match value {
                    Value::Byte(n) => n.to_string(),
                    Value::Text(text) => text.clone(),
                    other => format!("{other:?}"),
                })
                .collect();
            format!("{}={values:?}", p.name)
        }
        other => format!("{}={other:?}", p.name),
    };
    properties.iter().map(shown).collect()
}

fn limits(host: &Host, resources: &str) -> Vec<String> {
    let linux = format!(r#"{{"resources": {resources}}}"#);
    shown(&planned(host, &linux, false).unwrap().unit.unwrap().limits)
}

#[test]
fn a_path_is_slice_prefix_and_name() {
    for (path, user, base, unit, slice, cgroup) in [
        (
            "",
            false,
            "",
            "corten-id.scope",
            "system.slice",
            "system.slice/corten-id.scope",
        ),
        (
            "",
            true,
            "u/m",
            "corten-id.scope",
            "user.slice",
            "u/m/user.slice/corten-id.scope",
        ),
        (
            "system.slice:docker:12ab",
            false,
            "",
            "docker-12ab.scope",
            "system.slice",
            "system.slice/docker-12ab.scope",
        ),
        (
            "a-b-c.slice:cri:x",
            false,
            "",
            "cri-x.scope",
            "a-b-c.slice",
            "a.slice/a-b.slice/a-b-c.slice/cri-x.scope",
        ),
        (
            "::n",
            false,
            "",
            "-n.scope",
            "system.slice",
            "system.slice/-n.scope",
        ),
        (
            "-.slice:p:n",
            false,
            "",
            "p-n.scope",
            "-.slice",
            "p-n.scope",
        ),
        ("-:p:n", false, "", "p-n.scope", "-.slice", "p-n.scope"),
        (
            "x.slice:p:x-pod.slice",
            false,
            "",
            "x-pod.slice",
            "x.slice",
            "x.slice/x-pod.slice",
        ),
        (
            ":p:app.service",
            false,
            "",
            "p-app.service.scope",
            "system.slice",
            "system.slice/p-app.service.scope",
        ),
    ] {
        let (got, path) = resolve(Some(path), "id", user, base).unwrap();
        assert_eq!(
            (got.name.as_str(), got.slice.as_str(), path.as_str()),
            (unit, slice, cgroup)
        );
        assert_eq!(got.user, user);
    }
    let (unit, _) = resolve(None, "a+b", false, "").unwrap();
    assert_eq!(unit.name, r"corten-a\x2bb.scope");
}

#[test]
fn a_path_that_names_no_unit_is_refused() {
    let long = format!("::{}", "x".repeat(250));
    for path in [
        "/system.slice/x",
        "x",
        "a:b",
        "a:b:c:d",
        "a:b:c",
        "-a.slice:b:c",
        "a--b.slice:b:c",
        "a-.slice:b:c",
        ".slice:b:c",
        "a/b.slice:p:c",
        "s.slice:p/q:c",
        "s.slice:p:",
        "s.slice:p:../../x",
        "s.slice:p:a b",
        "s.slice::-.slice",
        "s.slice::a--b.slice",
        "s.slice:p:a+b",
        "s.slice:p:ü",
        &long,
    ] {
        let error = resolve(Some(path), "id", false, "").unwrap_err();
        assert_eq!(error.pointer, "/linux/cgroupsPath", "{path}");
        assert!(!error.message.contains('\n'));
    }
}

#[test]
fn a_scope_is_delegated_and_counted() {
    let unit = planned(&v2(), "{}", false).unwrap().unit.unwrap();
    assert_eq!(
        shown(&unit.properties),
        [
            "Description=corten container id",
            "Slice=system.slice",
            "Delegate=true",
            "MemoryAccounting=true",
            "CPUAccounting=true",
            "IOAccounting=true",
            "TasksAccounting=true",
            "DefaultDependencies=false",
            "CollectMode=inactive-or-failed",
        ]
    );
    let slice = r#"{"cgroupsPath": "a.slice:x:a-b.slice", "resources": {"unified": {"memory.oom.group": "1"}}}"#;
    let unit = planned(&v2(), slice, false).unwrap().unit.unwrap();
    let shown = shown(&unit.properties);
    assert_eq!(shown[1], r#"Wants=["a.slice"]"#);
    assert!(
        !shown.iter().any(|p| p.starts_with("Delegate")),
        "{shown:?}"
    );
    assert_eq!(shown.last().unwrap(), "OOMPolicy=kill");
}

/// The properties of runc's table (docs/systemd.md), and the rounding of its addCPUQuota.
#[test]
fn limits_of_v2_become_the_properties_that_runc_sends() {
    let table: &[(&str, &[&str])] = &[
        ("{}", &[]),
        (
            r#"{"memory": {"limit": 4096, "reservation": 2048, "swap": 8192}}"#,
            &["MemorySwapMax=4096", "MemoryMax=4096", "MemoryLow=2048"],
        ),
        (
            r#"{"memory": {"limit": -1}}"#,
            &["MemorySwapMax=infinity", "MemoryMax=infinity"],
        ),
        (r#"{"cpu": {"shares": 1024}}"#, &["CPUWeight=100"]),
        (r#"{"cpu": {"shares": 1024, "idle": 1}}"#, &["CPUWeight=0"]),
        (
            r#"{"cpu": {"shares": 1024, "idle": 0}}"#,
            &["CPUWeight=100"],
        ),
        (
            r#"{"cpu": {"quota": 20001, "period": 40000}}"#,
            &["CPUQuotaPeriodUSec=40000", "CPUQuotaPerSecUSec=510000"],
        ),
        // A little more than twelve percent: never less than what was asked for.
        (
            r#"{"cpu": {"quota": 120000, "period": 999999}}"#,
            &["CPUQuotaPeriodUSec=999999", "CPUQuotaPerSecUSec=130000"],
        ),
        (
            r#"{"cpu": {"quota": -1, "period": 40000}}"#,
            &["CPUQuotaPeriodUSec=40000", "CPUQuotaPerSecUSec=infinity"],
        ),
        (
            r#"{"cpu": {"quota": 50000}}"#,
            &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=500000"],
        ),
        (
            r#"{"cpu": {"cpus": "0-2,9", "mems": "0"}}"#,
            &[r#"AllowedCPUs=["7", "2"]"#, r#"AllowedMemoryNodes=["1"]"#],
        ),
        (r#"{"pids": {"limit": 9}}"#, &["TasksMax=9"]),
        (r#"{"pids": {"limit": -1}}"#, &["TasksMax=infinity"]),
        (r#"{"pids": {"limit": 0}}"#, &[]),
        (r#"{"blockIO": {"weight": 100}}"#, &["IOWeight=100"]),
        (r#"{"blockIO": {"weight": 1000}}"#, &["IOWeight=10000"]),
        (
            r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 100}]}}"#,
            &[],
        ),
        (
            r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}"#,
            &[],
        ),
        (
            r#"{"unified": {"cpu.max": "max 50000", "cpu.weight": "7", "cpuset.cpus": "1", "memory.high": "max",
                "memory.low": "1", "memory.min": "2", "memory.swap.max": "0", "pids.max": "max", "io.max": "8:0 rbps=1"}}"#,
            &[
                "CPUQuotaPeriodUSec=50000",
                "CPUQuotaPerSecUSec=infinity",
                "CPUWeight=7",
                r#"AllowedCPUs=["2"]"#,
                "MemoryHigh=infinity",
                "MemoryLow=1",
                "MemoryMin=2",
                "MemorySwapMax=0",
                "TasksMax=infinity",
            ],
        ),
        // The later one counts, as in the files.
        (
            r#"{"pids": {"limit": 9}, "unified": {"pids.max": "8"}}"#,
            &["TasksMax=8"],
        ),
        // The kernel may know better; systemd is not asked.
        (
            r#"{"unified": {"cpuset.cpus": "0-7:2/4", "cpu.max": "1 2 3 0", "memory.max": "0"}}"#,
            &["CPUQuotaPeriodUSec=2", "CPUQuotaPerSecUSec=500000"],
        ),
        (
            r#"{"unified": {"cpu.max": "1 0", "cpuset.mems": "99999999", "cpuset.cpus": "3-1"}}"#,
            &[],
        ),
    ];
    for (resources, properties) in table {
        assert_eq!(&limits(&v2(), resources), properties, "{resources}");
    }
}

#[test]
fn an_init_that_makes_processes_has_room_for_them() {
    for (limit, while_it_starts) in [(1, "3"), (2, "3"), (9, "9"), (-1, "infinity")] {
        let linux = format!(r#"{{"resources": {{"pids": {{"limit": {limit}}}}}}}"#);
        let unit = planned(&v2(), &linux, false).unwrap().unit.unwrap();
        let starting = unit.with_room_to_start();
        assert_eq!(
            shown(&starting.limits),
            [format!("TasksMax={while_it_starts}")]
        );
    }
}

#[test]
fn a_newer_property_says_which_systemd_has_it() {
    let resources = r#"{"cpu": {"idle": 1, "period": 1000, "cpus": "0"}, "memory": {"limit": 1}}"#;
    let linux = format!(r#"{{"resources": {resources}}}"#);
    let unit = planned(&v2(), &linux, false).unwrap().unit.unwrap();
    let since: Vec<(&str, u32)> = unit
        .limits
        .iter()
        .map(|p| (p.name.as_ref(), p.since))
        .collect();
    for known in [
        ("CPUWeight", 252),
        ("CPUQuotaPeriodUSec", 242),
        ("AllowedCPUs", 244),
        ("MemoryMax", 0),
    ] {
        assert!(since.contains(&known), "{known:?} {since:?}");
    }
    assert_eq!(unit.limits[0].pointer, "/linux/resources/memory/limit");
}

#[test]
fn v1_has_the_properties_of_its_own() {
    let host = Host::v1("/sys/fs/cgroup", &V1);
    let resources = r#"{"memory": {"limit": 4096, "reservation": 1}, "cpu": {"shares": 7, "quota": 3000, "period": 10000},
        "blockIO": {"weight": 70}, "pids": {"limit": 3},
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "b", "major": 8, "minor": 1, "access": "r"},
            {"allow": true, "type": "c", "major": 10, "access": "rw"}]}"#;
    let linux = format!(r#"{{"resources": {resources}}}"#);
    let plan = planned(&host, &linux, false).unwrap();
    let unit = plan.unit.unwrap();
    let (devices, others): (Vec<_>, Vec<_>) = unit
        .limits
        .into_iter()
        .partition(|p| p.name.starts_with("Device"));
    assert_eq!(
        shown(&others),
        [
            "MemoryLimit=4096",
            "CPUShares=7",
            "CPUQuotaPeriodUSec=10000",
            "BlockIOWeight=70",
            "TasksMax=3",
            "CPUQuotaPerSecUSec=300000",
        ]
    );
    assert_eq!(shown(&devices)[0], "DevicePolicy=strict");
    let allowed = format!("{:?}", devices[1].value);
    for entry in [
        "/dev/block/8:1",
        "/dev/char/1:3",
        "char-*",
        "block-*",
        "char-pts",
    ] {
        assert!(
            allowed.contains(&format!("{entry:?}")),
            "{entry}: {allowed}"
        );
    }
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    assert!(plan.warnings[0].contains("c 10:* rw"));
    let user = planned(&host, "{}", true).unwrap_err();
    assert!(user.message.contains("cgroup v2"), "{user}");
}

#[test]
fn on_v2_systemd_is_told_nothing_of_devices() {
    let resources = r#"{"devices": [{"allow": false, "access": "rwm"}]}"#;
    assert!(limits(&v2(), resources).is_empty());
    let linux = format!(r#"{{"resources": {resources}}}"#);
    assert!(
        planned(&v2(), &linux, false)
            .unwrap()
            .device_program
            .is_some()
    );
}

fn annotated(name: &str, value: &str) -> Result<Property, ResourceError> {
    let key = format!("org.systemd.property.{name}");
    annotations([(key.as_str(), value), ("other", "x")]).map(|mut all| all.remove(0))
}

#[test]
fn annotations_are_properties_in_gvariants_text_format() {
    use Value::*;
    let text = |text: &str| Text(text.to_owned());
    for (given, value) in [
        ("true", Bool(true)),
        (" false ", Bool(false)),
        ("boolean true", Bool(true)),
        ("5", Int32(5)),
        ("-5", Int32(-5)),
        ("0x10", Int32(16)),
        ("010", Int32(8)),
        ("1.5", Double(1.5f64.to_bits())),
        ("byte 255", Byte(255)),
        ("int16 -32768", Int16(i16::MIN)),
        ("uint16 7", Uint16(7)),
        ("uint32 7", Uint32(7)),
        ("int64 -7", Int64(-7)),
        ("uint64 18446744073709551615", Uint64(u64::MAX)),
        ("@t 7", Uint64(7)),
        ("double 2", Double(2f64.to_bits())),
        ("'inactive-or-failed'", text("inactive-or-failed")),
        (r#""a\"'b\u00e4\n\\""#, text("a\"'bä\n\\")),
        ("objectpath '/a/b'", ObjectPath("/a/b".to_owned())),
        ("signature 'a(ss)'", Signature("a(ss)".to_owned())),
        ("['a', \"b\"]", Value::texts(["a", "b"])),
        ("@as []", Value::texts([])),
        ("[byte 1, 2]", Value::bytes([1, 2])),
        ("@ay [1, 0x2]", Value::bytes([1, 2])),
        (
            "[('/dev/null', 'rw')]",
            Array(
                "(ss)".to_owned(),
                vec![Struct(vec![text("/dev/null"), text("rw")])],
            ),
        ),
        (
            "@a(st) [('x', 1)]",
            Array("(st)".to_owned(), vec![Struct(vec![text("x"), Uint64(1)])]),
        ),
        ("(1,)", Struct(vec![Int32(1)])),
        ("<'x'>", Variant(Box::new(text("x")))),
    ] {
        assert_eq!(annotated("Abc", given).unwrap().value, value, "{given}");
    }
}

#[test]
fn seconds_become_microseconds() {
    for (name, given, on_bus, value) in [
        (
            "TimeoutStopSec",
            "uint64 5",
            "TimeoutStopUSec",
            Some(5_000_000),
        ),
        ("TimeoutStopSec", "1.5", "TimeoutStopUSec", Some(1_500_000)),
        (
            "TimeoutStopSec",
            "byte 1",
            "TimeoutStopUSec",
            Some(1_000_000),
        ),
        ("TimeoutStopUSec", "uint64 5", "TimeoutStopUSec", Some(5)),
    ] {
        let property = annotated(name, given).unwrap();
        assert_eq!(property.name, on_bus);
        assert_eq!(Some(property.value), value.map(Value::Uint64));
        assert_eq!(
            property.pointer,
            format!("/annotations/org.systemd.property.{name}")
        );
    }
    for given in ["-1", "'5'", "uint64 18446744073709551615", "-0.5", "1e300"] {
        assert!(annotated("TimeoutStopSec", given).is_err(), "{given}");
    }
    assert_eq!(annotated("ASec", "5").unwrap().name, "ASec");
}

#[test]
fn what_is_no_property_is_refused_at_its_annotation() {
    for (name, value) in [
        ("", "1"),
        ("Ab", "1"),
        ("A-bc", "1"),
        ("Abc/d", "1"),
        ("Abc", ""),
        ("Abc", "x"),
        ("Abc", "'"),
        ("Abc", "'a' 'b'"),
        ("Abc", "[]"),
        ("Abc", "['a', 1]"),
        ("Abc", "()"),
        ("Abc", "{}"),
        ("Abc", "byte 256"),
        ("Abc", "4294967296"),
        ("Abc", "@u 'a'"),
        ("Abc", "@a 1"),
        ("Abc", "@(ss) ('a',)"),
        ("Abc", "@as <'a'>"),
        ("Abc", "'\\u12'"),
        ("Abc", "'\\u0000'"),
        ("Abc", "objectpath 'a'"),
        ("Abc", "signature 'z'"),
        ("Abc", "nan"),
        ("Abc", "inf"),
        ("Abc", "uint64 -1"),
        ("Abc", "0x"),
        ("Abc", "0x+1"),
        ("Abc", "+-1"),
        ("Abc", "[1"),
        ("Abc", "<1"),
        ("Abc", "just 1"),
    ] {
        let error = annotated(name, value).unwrap_err();
        assert!(
            error
                .pointer
                .starts_with("/annotations/org.systemd.property."),
            "{name} {value}"
        );
        assert!(!error.message.contains('\n'), "{}", error.message);
    }
    let deep = "[".repeat(5000);
    assert!(
        annotated("Abc", &deep)
            .unwrap_err()
            .message
            .contains("deep")
    );
    assert!(annotated("Abc", &format!("@{} 1", "a".repeat(5000))).is_err());
    assert!(annotated("Abc", &format!("({})", "1,".repeat(300))).is_err());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}|[\\[\\]()<>@'\"a-z0-9, \\\\.-]{0,40}") {
        let _ = annotated("Abc", &text);
    }

    #[test]
    fn any_path_is_a_unit_below_its_slice_or_refused(path in "[a-c.:/+-]{0,12}(slice)?:[a-c.:/-]{0,3}:[a-c./-]{0,5}(\\.slice)?") {
        if let Ok((unit, cgroup)) = resolve(Some(&path), "id", false, "base") {
            prop_assert!(cgroup.starts_with("base/"), "{cgroup}");
            let last = format!("/{}", unit.name);
            prop_assert!(cgroup.ends_with(&last), "{}", cgroup);
            prop_assert!(!cgroup.split('/').any(|level| matches!(level, "" | "." | "..")));
        }
    }
}
