//! Valid configurations, broken at random places: refused in one line that says where, or
//! taken; and nothing is left of either.
//!
//! `BROKEN_CASES` sets how many cases are tried, `BROKEN_SEED` the first one's seed. A failure
//! names its seed; with `BROKEN_CASES=1` that case alone is repeated.
//!
//! What is drawn at random is run as root, so `create` stands in a mount, network, ipc and uts
//! namespace of this test alone, and `tamed` takes out what would reach the machine.

use super::engines::config as example;
use crate::breaking::{Random, Words, break_one, write};
use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, fail};
use crate::tests;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

tests!("broken":
    configurations_that_are_broken_at_random as Long,
);

/// Cases of one run unless `BROKEN_CASES` says otherwise: a few seconds.
const CASES: u64 = 300;
/// The longest text that is put in, in bytes.
const LONGEST: usize = 70_000;
/// The longest line that an error may be, in bytes.
const LINE_MAX: usize = 10_000;
/// Seconds after which a command counts as stuck.
const STUCK: &str = "20";

/// Namespaces of this test alone. They are kept by descriptors, since a process in them would
/// count as left behind.
struct Apart {
    _kept: Vec<File>,
    enter: Vec<String>,
}

impl Apart {
    fn new() -> Outcome<Apart> {
        let namespaces = [
            ("mnt", "mount"),
            ("net", "net"),
            ("ipc", "ipc"),
            ("uts", "uts"),
        ];
        let mut holder = Command::new("unshare")
            .args(["-m", "-n", "-i", "-u", "--propagation", "private", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .because("unshare, of the package util-linux")?;
        // It is there once it answers.
        let mut answer = [0];
        holder.stdin.as_mut().because("stdin")?.write_all(b"x")?;
        holder
            .stdout
            .as_mut()
            .because("stdout")?
            .read_exact(&mut answer)?;
        let (mut kept, mut enter) = (Vec::new(), vec!["nsenter".to_string()]);
        for (file, option) in namespaces {
            let namespace = File::open(format!("/proc/{}/ns/{file}", holder.id()))?;
            enter.push(format!(
                "--{option}=/proc/{}/fd/{}",
                std::process::id(),
                namespace.as_raw_fd()
            ));
            kept.push(namespace);
        }
        enter.push("--".to_string());
        holder.kill()?;
        holder.wait()?;
        Ok(Apart { _kept: kept, enter })
    }

    /// A wrapper that starts a command in them, and kills it when it is stuck.
    fn wrapper(&self) -> Vec<String> {
        let limit = ["timeout", "-k", "1", STUCK].map(str::to_string);
        limit.into_iter().chain(self.enter.clone()).collect()
    }

    /// The mounts in them.
    fn mounts(&self, ctx: &Ctx) -> Outcome<BTreeSet<String>> {
        let argv = self.enter.iter().map(String::as_str);
        let argv: Vec<&str> = argv.chain(["cat", "/proc/self/mountinfo"]).collect();
        let output = ctx.host(&argv).run()?.ok()?;
        Ok(output.stdout.lines().map(str::to_string).collect())
    }
}

fn configurations_that_are_broken_at_random(ctx: &Ctx) -> Outcome {
    ctx.usual_driver()?;
    let shapes = shapes(ctx)?;
    let apart = Apart::new()?;
    let mounts = apart.mounts(ctx)?;
    for (name, shape) in &shapes {
        match attempt(ctx, &apart, shape, true) {
            Ok(true) => {}
            Ok(false) => return fail(format!("the shape {name} as it is is refused")),
            Err(stop) => return fail(format!("the shape {name} as it is: {stop}")),
        }
    }
    let words = words(&shapes);
    let first = from_env("BROKEN_SEED")?.unwrap_or(1);
    let cases = from_env("BROKEN_CASES")?.unwrap_or(CASES);
    let begin = Instant::now();
    let (mut taken, mut failures) = (0, Vec::new());
    for seed in first..first + cases {
        let mut random = Random::new(seed);
        let (name, shape) = random.pick(&shapes);
        let mut config = shape.clone();
        let mut changes = Vec::new();
        for _ in 0..1 + random.below(2) {
            changes.push(break_one(&mut config, &mut random, &words, LONGEST));
        }
        match attempt(ctx, &apart, &config, random.one_in(2)) {
            Ok(true) => taken += 1,
            Ok(false) => {}
            Err(stop) => {
                let text: String = stop.to_string().chars().take(600).collect();
                failures.push(format!(
                    "BROKEN_SEED={seed}, {name} with {}: {text}",
                    changes.join("; ")
                ));
                // So that the next case starts clean; what this misses stays a failure.
                for entry in fs::read_dir(ctx.state_root())? {
                    let id = entry?.file_name().to_string_lossy().into_owned();
                    ctx.rt(&["delete", "--force", &id])
                        .within(&["timeout", STUCK])
                        .run()?;
                }
            }
        }
        if failures.len() >= 20 {
            break;
        }
    }
    ctx.note(format!(
        "BROKEN_SEED={first} BROKEN_CASES={cases}: {taken} taken, {} failures, {} s",
        failures.len(),
        begin.elapsed().as_secs()
    ));
    if let Some(report) = std::env::var_os("BROKEN_REPORT") {
        fs::write(report, ctx.story())?;
    }
    let left: Vec<_> = apart.mounts(ctx)?.difference(&mounts).cloned().collect();
    if !left.is_empty() {
        failures.push(format!("mounts are left: {left:?}"));
    }
    if failures.is_empty() {
        Ok(())
    } else {
        fail(failures.join("\n"))
    }
}

fn from_env(name: &str) -> Outcome<Option<u64>> {
    match std::env::var(name) {
        Ok(text) => text.parse().because(name).map(Some),
        Err(_) => Ok(None),
    }
}

/// Creates a container from the configuration, starts it if told so, and deletes it; whether
/// `create` took it.
fn attempt(ctx: &Ctx, apart: &Apart, config: &Value, start: bool) -> Outcome<bool> {
    let b = Bundle::new(ctx)?;
    let mut config = config.clone();
    let cgroup = b.config["linux"]["cgroupsPath"]
        .as_str()
        .because("cgroup")?;
    let dir = b.dir.to_string_lossy();
    tame(&mut config, &dir, cgroup);
    let text = write(&config);
    fs::write(b.dir.join("config.json"), &text)?;
    for (name, content) in [("hosts", "127.0.0.1 localhost\n"), ("hostname", "x\n")] {
        fs::write(b.dir.join(name), content)?;
    }
    let id = format!(
        "{}-{}",
        ctx.prefix.trim_start_matches('/').replace('/', "-"),
        b.id
    );
    let log = ctx.dir.join("broken.log");
    let log = log.to_string_lossy();

    let create = ctx
        // Its keys would count for some minutes against the quota of a mapped user.
        .rt(&["create", "--no-new-keyring", "--bundle", &dir, &id])
        .global(&["--log", &log]);
    let output = create.within(&apart.wrapper()).run()?;
    let taken = output.code == 0;
    if taken {
        if start {
            // The program may be anything by now; that start comes to an end is all that counts.
            let output = ctx.rt(&["start", &id]).within(&["timeout", STUCK]).run()?;
            if output.code != 0 {
                judge_line(&output.code, &output.stderr)?;
            }
        }
        ctx.rt(&["delete", "--force", &id])
            .within(&["timeout", STUCK])
            .run()?
            .ok()?;
    } else {
        judge_line(&output.code, &output.stderr)?;
        judge_place(output.stderr.trim_end(), &text)?;
    }
    ctx.nothing_left()?;
    for hierarchy in &ctx.hierarchies {
        // The cgroup that is made when the configuration names none.
        if hierarchy.mount.join(&id).exists() {
            return fail(format!(
                "left behind: {}",
                hierarchy.mount.join(&id).display()
            ));
        }
    }
    let expected = ["config.json", "hostname", "hosts", "rootfs"];
    for entry in fs::read_dir(&b.dir)? {
        let name = entry?.file_name();
        if !expected.iter().any(|known| name == *known) {
            return fail(format!("left in the bundle: {}", name.display()));
        }
    }
    // Its mounts are gone, as was just seen, so nothing else is reached.
    fs::remove_dir_all(&b.dir)?;
    Ok(taken)
}

/// Requires what an error of a verb has to be: code 1, and one line that can be shown.
fn judge_line(code: &i32, stderr: &str) -> Outcome {
    let lines: Vec<&str> = stderr.lines().collect();
    let [line] = lines.as_slice() else {
        return fail(format!("{} lines: {stderr}", lines.len()));
    };
    if *code != 1 || line.contains("panicked") {
        return fail(format!("exit code {code}: {line}"));
    }
    if line.is_empty() || line.len() > LINE_MAX || line.chars().any(char::is_control) {
        return fail(format!("a line of {} bytes: {line:?}", line.len()));
    }
    Ok(())
}

/// Requires that the line names a place: a JSON pointer to a value of the text or to one that
/// is missing from it, or line and column of what is not JSON.
fn judge_place(line: &str, text: &str) -> Outcome {
    const MEMBERS: [&str; 10] = [
        "ociVersion",
        "process",
        "root",
        "hostname",
        "domainname",
        "mounts",
        "hooks",
        "annotations",
        "linux",
        "vm",
    ];
    let starts = line.match_indices('/').map(|(at, _)| &line[at..]);
    let mut pointers = starts.filter(|rest| {
        let member = rest[1..].split(['/', ':', ' ']).next().unwrap_or_default();
        MEMBERS.contains(&member)
    });
    let config = serde_json::from_str::<Value>(text);
    let Some(rest) = pointers.next() else {
        let whole = line.contains("config.json: ") && line.contains("line ");
        return match config {
            Err(_) if whole => Ok(()),
            _ => fail(format!("no JSON pointer: {line}")),
        };
    };
    // Too deep for this parser, or JSON only up to the error.
    let Ok(config) = config else {
        return Ok(());
    };
    let pointer = rest.split(": ").next().unwrap_or(rest);
    let pointer = pointer
        .split(' ')
        .next()
        .unwrap_or(pointer)
        .trim_end_matches(':');
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    // Escaped or cut names cannot be looked up, nor such as hold a space.
    let readable = !rest.contains('\\') && !rest.contains('…');
    let found = config.pointer(pointer).is_some() || config.pointer(parent).is_some();
    if readable && !found {
        return fail(format!("{pointer} is not in the configuration: {line}"));
    }
    Ok(())
}

/// The configurations that are broken.
fn shapes(ctx: &Ctx) -> Outcome<Vec<(String, Value)>> {
    let mut shapes = vec![
        ("plain".to_string(), Bundle::new(ctx)?.config),
        ("full".to_string(), full(ctx)?),
        (
            "mapped".to_string(),
            Bundle::new(ctx)?.user_namespace().config,
        ),
    ];
    for name in ["docker", "kubernetes"] {
        let mut config = example(name)?;
        config["root"]["path"] = json!("rootfs");
        if let Some(mounts) = config["mounts"].as_array_mut() {
            // Files of the pod that are not here.
            mounts.retain(|mount| !mount["source"].to_string().contains("POD_DIR"));
            for mount in mounts {
                if mount["source"] == "resolv.conf" {
                    mount["source"] = json!("hosts");
                }
            }
        }
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            for namespace in namespaces.iter_mut().filter_map(Value::as_object_mut) {
                namespace.remove("path");
            }
        }
        if ctx.v1("hugetlb").is_err() {
            config["linux"]["resources"] = json!({});
        }
        shapes.push((name.to_string(), config));
    }
    Ok(shapes)
}

/// A configuration that has much of what there is.
fn full(ctx: &Ctx) -> Outcome<Value> {
    let hook = json!([{"path": "/bin/true", "args": ["true", "x"], "env": ["A=b"], "timeout": 5}]);
    let mut b = Bundle::new(ctx)?
        .namespace("cgroup", None)
        .namespace("time", None)
        .mount(
            "/tmp/t",
            "tmpfs",
            "tmpfs",
            &["nodev", "mode=1777", "size=64k", "tmpcopyup"],
        )
        .mount(
            "/etc/hosts",
            "bind",
            "hosts",
            &["rbind", "rro", "nosuid", "rslave"],
        )
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "relatime"])
        .set("/domainname", "example.org")
        .set("/annotations", json!({"org.example/a": "b", "empty": ""}))
        .set("/root/readonly", true)
        .set("/process/terminal", false)
        .set(
            "/process/user",
            json!({"uid": 1000, "gid": 1000, "umask": 18, "additionalGids": [5]}),
        )
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024}]),
        )
        .set("/process/noNewPrivileges", true)
        .set("/process/oomScoreAdj", 500)
        .set(
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 4}),
        )
        .set(
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "nice": 5, "flags": []}),
        )
        .set(
            "/process/execCPUAffinity",
            json!({"initial": "0", "final": "0"}),
        )
        .set("/process/capabilities/inheritable", json!(["CAP_NET_RAW"]))
        .set("/process/capabilities/ambient", json!(["CAP_NET_RAW"]))
        .set(
            "/linux/timeOffsets",
            json!({"monotonic": {"secs": 1000, "nanosecs": 5}}),
        )
        .set("/linux/personality", json!({"domain": "LINUX"}))
        .set("/linux/rootfsPropagation", "slave")
        .set("/linux/maskedPaths", json!(["/proc/kcore", "/proc/nosuch"]))
        .set("/linux/readonlyPaths", json!(["/proc/sys"]))
        .set(
            "/linux/sysctl",
            json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "100"}),
        )
        .set(
            "/linux/devices",
            json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229,
                    "fileMode": 438, "uid": 0, "gid": 0}]),
        )
        .set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "syscalls": [
                    {"names": ["swapon", "swapoff"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                    {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [
                        {"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}
                ]
            }),
        );
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        b = b.set(&format!("/hooks/{kind}"), hook.clone());
    }
    let limits = [
        (
            "memory",
            "/memory",
            json!({"limit": 64 << 20, "reservation": 32 << 20, "swappiness": 50}),
        ),
        (
            "cpu",
            "/cpu",
            json!({"shares": 512, "quota": 50_000, "period": 100_000, "burst": 1000}),
        ),
        ("pids", "/pids", json!({"limit": 50})),
        (
            "devices",
            "/devices",
            json!([{"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}]),
        ),
        (
            "hugetlb",
            "/hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 4 << 20}]),
        ),
        ("net_cls", "/network/classID", json!(65_537)),
        (
            "blkio",
            "/blockIO",
            json!({"throttleReadBpsDevice":
            [{"major": 7, "minor": 0, "rate": 1_000_000}]}),
        ),
    ];
    for (controller, place, value) in limits {
        if ctx.v1(controller).is_ok() {
            b = b.set(&format!("/linux/resources{place}"), value);
        }
    }
    Ok(b.config)
}

/// What may be put in: the members and texts of the shapes, and words that neither name a
/// file of the machine nor reach beyond a mount namespace, as "remount" does.
fn words(shapes: &[(String, Value)]) -> Words {
    const NAMES: &str = "memoryPolicy intelRdt netDevices mountLabel apparmorProfile selinuxLabel \
        consoleSize uidMappings gidMappings unified rdma network blockIO cpu memory pids \
        listenerPath listenerMetadata defaultErrnoRet closID schemata nodes mode disableOOMKiller \
        useHierarchy checkBeforeUpdate realtimeRuntime idle cpus mems weight leafWeight \
        weightDevice commandLine priorities domainname size hostID containerID vm solaris x-new";
    const VALUES: &str = "bind rbind ro rw rro nosuid noexec private shared unbindable idmap ridmap \
        tmpcopyup copy-symlink mode=755 size=64k nr_inodes=1 proc sysfs tmpfs cgroup mqueue devpts \
        c b u p a rwm 0-3,7 0-N:2/4 all MPOL_BIND SCHED_FIFO SCHED_DEADLINE RLIMIT_NPROC RLIMIT_AS \
        CAP_SYS_ADMIN CAP_ALL SCMP_ACT_NOTIFY SCMP_ACT_KILL SCMP_CMP_MASKED_EQ LINUX32 boottime \
        network user time cgroup unconfined memory.max 2MB net.ipv4.ip_forward fs.mqueue.msg_max";
    fn collect(value: &Value, words: &mut Words) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    words.names.push(key.clone());
                    collect(value, words);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
            _ => {}
        }
    }
    let split = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let mut words = Words {
        names: split(NAMES),
        values: split(VALUES),
    };
    shapes
        .iter()
        .for_each(|(_, shape)| collect(shape, &mut words));
    words.names.sort();
    words.names.dedup();
    words
}

/// Takes out what would reach the machine, wherever the breaking has put it: paths on the host
/// are moved into the bundle, cgroups below the test's own, programs of hooks are harmless.
fn tame(config: &mut Value, dir: &str, cgroup: &str) {
    tame_member("", config, dir, cgroup);
}

fn tame_member(key: &str, value: &mut Value, dir: &str, cgroup: &str) {
    match value {
        Value::Object(members) => {
            let is_root = key == "root";
            for (name, value) in members.iter_mut() {
                let name = name.trim_start_matches("@@raw:");
                let name = if is_root && name == "path" {
                    "source"
                } else {
                    name
                };
                tame_member(name, value, dir, cgroup);
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| tame_member(key, item, dir, cgroup)),
        Value::String(text) if text.starts_with("@@raw:") => {}
        Value::String(text) => match key {
            "cgroupsPath" => {
                let own = text.trim_start_matches('/').replace("..", "dots");
                *text = format!("{cgroup}/{own}");
            }
            "source" if text.contains('/') || text.starts_with('.') => {
                let inside = text.replace("..", "dots");
                *text = match inside.trim_matches(['/', '.']) {
                    "" => format!("{dir}/rootfs/./"),
                    _ if inside.starts_with(dir) => inside,
                    inside => format!("{dir}/rootfs/{inside}"),
                };
            }
            // Of a hook or a namespace, a device or a listener: no other program, no other
            // container, nobody's socket.
            "path" | "listenerPath" if reaches(text) => {
                *text = format!("{dir}/hosts");
            }
            _ => {}
        },
        _ => {}
    }
}

/// Whether a path is of something on the host that is neither harmless nor a device, which is
/// made in the container.
fn reaches(path: &str) -> bool {
    path != "/bin/true" && !path.starts_with("/dev/") && Path::new(path).exists()
}
