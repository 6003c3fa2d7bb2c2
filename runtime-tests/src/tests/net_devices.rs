//! `linux.netDevices`: devices of the host move into the container, and come back when
//! nothing comes of it. The "host" is a network namespace of the test's own.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::netns::{Net, device};
use crate::outcome::{Outcome, fail, skip};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

tests!("net_devices":
    a_device_is_moved_renamed_and_up_with_its_addresses,
    a_device_without_a_name_keeps_the_hosts,
    a_name_template_takes_a_free_number,
    a_joined_namespace_gets_the_device_and_keeps_it,
    sysctls_and_hooks_find_the_device,
    a_device_goes_into_a_user_namespace,
    run_moves_devices_too,
    what_cannot_be_moved_is_refused_before_anything_is_made,
    a_device_that_the_kernel_keeps_is_refused_and_the_others_come_back,
    a_name_that_is_taken_inside_is_refused,
    a_failed_create_gives_the_device_back,
    a_create_killed_at_any_system_call_gives_the_device_back as Long,
    a_device_without_a_hardware_address_comes_back,
    a_stranger_with_the_name_and_no_hardware_address_is_not_taken,
    a_broken_record_with_a_held_namespace_is_removed_by_force,
    a_complete_container_keeps_its_device_when_it_is_deleted,
    without_devices_no_netlink_socket_is_opened,
);

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

fn inside(ctx: &Ctx, pid: i32, name: &str) -> Outcome<Value> {
    let enter = ["nsenter".to_owned(), format!("--net=/proc/{pid}/ns/net")];
    device(ctx, &enter, name)
}

fn bundle<'a>(ctx: &'a Ctx, devices: Value) -> Outcome<Bundle<'a>> {
    Ok(Bundle::new(ctx)?
        .args(&SLEEP)
        .set("/linux/netDevices", devices))
}

/// The container of a `create` in the namespace.
fn created<'a>(net: &Net<'a>, b: &Bundle<'a>) -> Outcome<crate::container::Container<'a>> {
    net.ctx.created(&b.id);
    net.create(b)?.run()?.ok()?;
    let output = net.ctx.dir.join(format!("{}-output", b.id));
    Ok(crate::container::Container::new(
        net.ctx, &b.id, &b.dir, output,
    ))
}

/// The label of an address begins with the device's name.
fn relabelled(mut device: Value, old: &str, new: &str) -> Value {
    for address in device["addresses"].as_array_mut().into_iter().flatten() {
        if let Some(label) = address["label"].as_str() {
            address["label"] = json!(label.replacen(old, new, 1));
        }
    }
    device
}

fn a_device_is_moved_renamed_and_up_with_its_addresses(ctx: &Ctx) -> Outcome {
    let net = Net::new(ctx)?;
    let before = net.device("va")?;
    check_eq!(
        before["addresses"].as_array().map(Vec::len),
        Some(4),
        "addresses that are to be kept: {before}"
    );
    let c = created(&net, &bundle(ctx, json!({"va": {"name": "eth7"}}))?)?;
    check_eq!(net.names()?, ["lo", "vb"], "devices left on the host");
    let after = inside(ctx, c.pid()?, "eth7")?;
    check_eq!(after, relabelled(before, "va", "eth7"), "the device inside");
    c.delete_force()?.ok()?;
    ctx.nothing_left_but(&[&net])
}

fn a_device_without_a_name_keeps_the_hosts(ctx: &Ctx) -> Outcome {
    let net = Net::new(ctx)?;
    // It was down: the spec wants it up.
    net.ip("link set vb down")?;
    let c = created(&net, &bundle(ctx, json!({"vb": {}}))?)?;
    check_eq!(net.names()?, ["lo", "va"], "devices left on the host");
    check_eq!(inside(ctx, c.pid()?, "vb")?["up"], json!(true), "up");
    Ok(())
}

fn a_name_template_takes_a_free_number(ctx: &Ctx) -> Outcome {
    let (net, joined) = (Net::new(ctx)?, Net::empty(ctx)?);
    joined.ip("link add eth0 type veth peer name other")?;
    let before = net.device("va")?;
    let b = bundle(
        ctx,
        json!({"va": {"name": "eth%d"}, "vb": {"name": "eth%d"}}),
    )?
    .namespace("network", Some(&joined.path()));
    created(&net, &b)?;
    check_eq!(net.names()?, ["lo"], "devices left on the host");
    let moved = joined.device("eth1")?;
    check_eq!(moved, relabelled(before, "va", "eth1"), "the first of them");
    check!(joined.device("eth2").is_ok(), "the second of them");
    Ok(())
}

fn a_joined_namespace_gets_the_device_and_keeps_it(ctx: &Ctx) -> Outcome {
    let (net, joined) = (Net::new(ctx)?, Net::empty(ctx)?);
    // The host's name is taken there, the new one is not.
    joined.ip("link add va type veth peer name other")?;
    let before = net.device("va")?;
    let b = bundle(ctx, json!({"va": {"name": "n0"}}))?.namespace("network", Some(&joined.path()));
    let c = created(&net, &b)?;
    c.delete_force()?.ok()?;
    // runtime-spec: the runtime MUST NOT move it out of the namespace again.
    check_eq!(net.names()?, ["lo", "vb"], "devices left on the host");
    check_eq!(
        joined.device("n0")?,
        relabelled(before, "va", "n0"),
        "the device in the joined namespace"
    );
    Ok(())
}

fn sysctls_and_hooks_find_the_device(ctx: &Ctx) -> Outcome {
    let net = Net::new(ctx)?;
    let seen = ctx.dir.join("seen");
    let script = format!(
        "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); \
         nsenter --net=/proc/$pid/ns/net ip link show dev e0 > {}",
        seen.display()
    );
    let b = bundle(ctx, json!({"va": {"name": "e0"}}))?
        .set("/linux/sysctl", json!({"net.ipv4.conf.e0.forwarding": "1"}))
        .push(
            "/hooks/createRuntime",
            json!({"path": "/bin/sh", "args": ["sh", "-c", script],
                   "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}),
        );
    let c = created(&net, &b)?;
    check!(
        std::fs::read_to_string(&seen)?.contains("e0"),
        "the hook does not see the device"
    );
    let value = ctx
        .host(&["cat", "/proc/sys/net/ipv4/conf/e0/forwarding"])
        .within(&[
            "nsenter".to_owned(),
            format!("--net=/proc/{}/ns/net", c.pid()?),
        ])
        .run()?
        .ok()?;
    check_eq!(value.stdout.trim(), "1", "the sysctl of the device");
    Ok(())
}

fn a_device_goes_into_a_user_namespace(ctx: &Ctx) -> Outcome {
    let net = Net::new(ctx)?;
    let before = net.device("va")?;
    let b = bundle(ctx, json!({"va": {}}))?.user_namespace();
    let c = created(&net, &b)?;
    check_eq!(inside(ctx, c.pid()?, "va")?, before, "the device inside");
    Ok(())
}

fn run_moves_devices_too(ctx: &Ctx) -> Outcome {
    let net = Net::new(ctx)?;
    let b = Bundle::new(ctx)?
        .set("/linux/netDevices", json!({"va": {"name": "e0"}}))
        .shell("ip addr show dev e0");
    let said = b
        .verb::<&str>("run", &[])?
        .within(&net.enter())
        .run()?
        .ok()?;
    for wanted in ["10.9.8.7/24", "fd00:9::7/64", ",UP"] {
        check!(said.stdout.contains(wanted), "{wanted}: {}", said.stdout);
    }
    gone(&net)?;
    ctx.nothing_left_but(&[&net])
}

fn what_cannot_be_moved_is_refused_before_anything_is_made(ctx: &Ctx) -> Outcome {
    let net = Net::new(ctx)?;
    let before = net.device("va")?;
    for (devices, wanted) in [
        (
            json!({"va": {}, "nosuch": {}}),
            "/linux/netDevices/nosuch: there is no network device",
        ),
        (
            json!({"va": {}, "lo": {"name": "x"}}),
            "/linux/netDevices/lo: a loopback device",
        ),
        (
            json!({"va": {"name": "a-name-that-is-too-long"}}),
            "/linux/netDevices/va/name",
        ),
        (json!({"va": {"name": "a%dx"}}), "/linux/netDevices/va/name"),
    ] {
        let b = bundle(ctx, devices)?;
        net.create(&b)?.run()?.refused()?.says(&[wanted])?;
        check_eq!(net.device("va")?, before, "the device of the host");
    }
    let b = bundle(ctx, json!({"va": {}}))?;
    b.verb::<&str>("create", &[])?
        .within(&["setpriv", "--bounding-set", "-net_admin"])
        .within(&net.enter())
        .run()?
        .refused()?
        .says(&["/linux/netDevices: moving network devices needs CAP_NET_ADMIN"])?;
    let b = bundle(ctx, json!({"va": {}}))?.namespace("network", Some(&net.path()));
    net.create(&b)?
        .run()?
        .refused()?
        .says(&["the container's network namespace is the runtime's own"])?;
    check_eq!(net.device("va")?, before, "the device of the host");
    ctx.nothing_left_but(&[&net])
}

fn a_device_that_the_kernel_keeps_is_refused_and_the_others_come_back(ctx: &Ctx) -> Outcome {
    let net = Net::new(ctx)?;
    net.ip("link add zbr type bridge")?;
    let before = net.device("va")?;
    let b = bundle(ctx, json!({"va": {"name": "e0"}, "zbr": {}}))?;
    net.create(&b)?
        .run()?
        .refused()?
        .says(&["/linux/netDevices/zbr: cannot move the network device"])?;
    check_eq!(net.device("va")?, before, "the device that was moved first");
    ctx.nothing_left_but(&[&net])
}

fn a_name_that_is_taken_inside_is_refused(ctx: &Ctx) -> Outcome {
    let (net, joined) = (Net::new(ctx)?, Net::empty(ctx)?);
    joined.ip("link add eth0 type veth peer name other")?;
    let before = net.device("va")?;
    let b =
        bundle(ctx, json!({"va": {"name": "eth0"}}))?.namespace("network", Some(&joined.path()));
    net.create(&b)?
        .run()?
        .refused()?
        .says(&["/linux/netDevices/va: the container's network namespace already has a device"])?;
    check_eq!(net.device("va")?, before, "the device of the host");
    ctx.nothing_left_but(&[&net, &joined])
}

fn a_failed_create_gives_the_device_back(ctx: &Ctx) -> Outcome {
    let net = Net::new(ctx)?;
    let before = net.device("va")?;
    net.ip("link set vb down")?;
    let peer = net.device("vb")?;
    let devices = json!({"va": {"name": "e0"}, "vb": {}});
    let late = bundle(ctx, devices.clone())?.args(&["/no/such/program"]);
    net.create(&late)?
        .run()?
        .refused()?
        .says(&["no such file"])?;
    check_eq!(net.device("va")?, before, "after a missing program");
    check_eq!(
        net.device("vb")?,
        peer,
        "what was down, after a missing program"
    );
    let hook =
        bundle(ctx, devices.clone())?.push("/hooks/createRuntime", json!({"path": "/bin/false"}));
    net.create(&hook)?.run()?.refused()?.says(&["hooks"])?;
    check_eq!(net.device("va")?, before, "after a hook that failed");
    // Out of a namespace that outlives the container, too.
    let joined = Net::empty(ctx)?;
    let b = bundle(ctx, devices)?
        .namespace("network", Some(&joined.path()))
        .args(&["/no/such/program"]);
    net.create(&b)?.run()?.refused()?.says(&["no such file"])?;
    check_eq!(net.device("va")?, before, "out of a joined namespace");
    check_eq!(joined.names()?, ["lo"], "devices in the joined namespace");
    drop(joined);
    ctx.nothing_left_but(&[&net])
}

/// How often `create` makes each system call.
fn calls(net: &Net, b: &Bundle) -> Outcome<BTreeMap<String, usize>> {
    let report = net.ctx.dir.join("calls");
    let wrapper = ["strace", "-qq", "-o", &report.to_string_lossy()].map(str::to_owned);
    b.verb::<&str>("create", &[])?
        .within(&wrapper)
        .within(&net.enter())
        .run()?
        .ok()?;
    let mut calls = BTreeMap::new();
    for line in std::fs::read_to_string(&report)?.lines() {
        if let Some((name, _)) = line.split_once('(') {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    Ok(calls)
}

fn a_create_killed_at_any_system_call_gives_the_device_back(ctx: &Ctx) -> Outcome {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("strace is not installed");
    }
    let net = Net::new(ctx)?;
    let before = net.device("va")?;
    let delete = |id: &str| ctx.rt(&["delete", "--force", id]).within(&net.enter());
    let b = bundle(ctx, json!({"va": {"name": "e%d"}}))?;
    let calls = calls(&net, &b)?;
    delete(&b.id).run()?.ok()?;
    gone(&net)?;
    net.make_pair()?;
    let fresh = net.device("va")?;
    let (mut tried, end) = (0, Instant::now() + Duration::from_secs(90));
    let mut states = BTreeMap::<&str, usize>::new();
    // The last act of `create` makes the container complete: from then on it keeps the device.
    let complete = |id: &str| ctx.state_root().join(id).join("exec.fifo").exists();
    // What moves devices, and what comes after that, first: time may be short.
    let mut moments: Vec<(&str, usize)> = calls
        .iter()
        .filter(|(name, _)| *name != "execve")
        .flat_map(|(name, count)| (1..=*count).rev().map(move |n| (name.as_str(), n)))
        .collect();
    let interesting = [
        "renameat",
        "setns",
        "open_tree",
        "move_mount",
        "umount2",
        "clone3",
        "sendto",
        "recvfrom",
        "sendmsg",
        "recvmsg",
    ];
    let rank = |name: &str| interesting.iter().position(|known| *known == name);
    moments.sort_by_key(|(name, _)| rank(name).unwrap_or(interesting.len()));
    check_eq!(
        before["mtu"],
        fresh["mtu"],
        "the device that was made again"
    );
    for (name, number) in moments {
        let inject = format!("inject={name}:signal=KILL:when={number}");
        // What is not traced is not tampered with either.
        let trace = format!("trace={name}");
        let wrapper = [
            "strace",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &trace,
            "-e",
            &inject,
        ];
        b.verb::<&str>("create", &[])?
            .within(&wrapper)
            .within(&net.enter())
            .run()?;
        let outside = net.names()?.iter().any(|name| name == "va");
        let complete = complete(&b.id);
        *states
            .entry(match (outside, complete) {
                (true, _) => "not moved",
                (false, false) => "moved",
                (false, true) => "complete",
            })
            .or_default() += 1;
        delete(&b.id).run()?.ok()?;
        ctx.nothing_left_but(&[&net])?;
        if complete {
            gone(&net)?;
            net.make_pair()?;
            continue;
        }
        let back = net.device("va")?;
        // A pair that was made again has another hardware address.
        let same = ["mtu", "up", "addresses"]
            .iter()
            .all(|m| back[m] == before[m]);
        if !same {
            return fail(format!(
                "killed at {name} number {number}: found {back}, wanted {before}"
            ));
        }
        tried += 1;
        let enough = states.get("moved").is_some_and(|n| *n > 5);
        if enough && Instant::now() > end {
            break;
        }
    }
    ctx.note(format!("({tried} moments tried: {states:?})"));
    check!(
        states.get("moved").is_some_and(|n| *n > 5),
        "no moment between the move and the end of create: {states:?}"
    );
    Ok(())
}

/// A device without a hardware address.
fn tun(net: &Net, name: &str) -> Outcome {
    let line = format!("ip tuntap add dev {name} mode tun");
    let words: Vec<&str> = line.split(' ').collect();
    let made = net.cmd(&words).run()?;
    if made.code != 0 {
        return skip(format!("no tun devices here: {}", made.stderr.trim()));
    }
    net.ip(&format!("addr add 10.9.6.1/24 dev {name}"))?;
    Ok(())
}

/// A device's number in its namespace.
fn number(net: &Net, name: &str) -> Outcome<Value> {
    let list: Value = serde_json::from_str(&net.ip(&format!("-j link show dev {name}"))?)?;
    Ok(list[0]["ifindex"].clone())
}

fn a_device_without_a_hardware_address_comes_back(ctx: &Ctx) -> Outcome {
    let net = Net::empty(ctx)?;
    tun(&net, "t0")?;
    let before = net.device("t0")?;
    let fails = |joined: &Net| {
        let b = bundle(ctx, json!({"t0": {"name": "e0"}}))?
            .namespace("network", Some(&joined.path()))
            .args(&["/no/such/program"]);
        net.create(&b)?.run()?.refused()?.says(&["no such file"])
    };
    fails(&Net::empty(ctx)?)?;
    check_eq!(
        net.device("t0")?,
        before,
        "the device, whose number was free"
    );
    let joined = Net::empty(ctx)?;
    tun(&joined, "x0")?;
    check_eq!(number(&net, "t0")?, number(&joined, "x0")?, "numbers");
    fails(&joined)?;
    check_eq!(
        net.device("t0")?,
        before,
        "the device, whose number was taken"
    );
    check_eq!(
        joined.names()?,
        ["lo", "x0"],
        "devices in the joined namespace"
    );
    drop(joined);
    ctx.nothing_left_but(&[&net])
}

fn a_stranger_with_the_name_and_no_hardware_address_is_not_taken(ctx: &Ctx) -> Outcome {
    let net = Net::empty(ctx)?;
    tun(&net, "t0")?;
    // While ours is away somebody makes another of its name on the host.
    let script = "ip tuntap add dev t0 mode tun && exit 1";
    let b = bundle(ctx, json!({"t0": {"name": "e0"}}))?.push(
        "/hooks/createRuntime",
        json!({"path": "/bin/sh", "args": ["sh", "-c", script],
               "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}),
    );
    net.create(&b)?
        .run()?
        .code_is(1)?
        .says(&["cannot bring the network device t0 back"])?;
    let stranger = net.device("t0")?;
    check_eq!(stranger["addresses"], json!([]), "the stranger's addresses");
    ctx.nothing_left_but(&[&net])
}

fn a_broken_record_with_a_held_namespace_is_removed_by_force(ctx: &Ctx) -> Outcome {
    let net = Net::new(ctx)?;
    let dir = ctx.state_root().join("broken");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("state.json"), "{")?;
    let held = dir.join("netns");
    std::fs::write(&held, "")?;
    ctx.host(&["mount", "--bind", &net.path(), &held.to_string_lossy()])
        .run()?
        .ok()?;
    ctx.rt(&["delete", "--force", "broken"])
        .run()?
        .ok()?
        .says(&["network devices had been moved"])?;
    check!(!dir.exists(), "the state directory is left");
    ctx.nothing_left_but(&[&net])
}

fn a_complete_container_keeps_its_device_when_it_is_deleted(ctx: &Ctx) -> Outcome {
    let net = Net::new(ctx)?;
    let c = created(&net, &bundle(ctx, json!({"va": {}}))?)?;
    c.start()?;
    c.delete_force()?.ok()?;
    gone(&net)
}

/// A virtual device is destroyed with its namespace, which the kernel does a little later.
fn gone(net: &Net) -> Outcome {
    net.ctx.until("the pair is gone with the namespace", || {
        net.names().is_ok_and(|names| names == ["lo"])
    })
}

fn without_devices_no_netlink_socket_is_opened(ctx: &Ctx) -> Outcome {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("strace is not installed");
    }
    let report = ctx.dir.join("sockets");
    let b = Bundle::new(ctx)?.args(&SLEEP);
    ctx.created(&b.id);
    b.verb::<&str>("create", &[])?
        .within(&[
            "strace",
            "-qq",
            "-e",
            "trace=socket",
            "-o",
            &report.to_string_lossy(),
        ])
        .run()?
        .ok()?;
    let sockets = std::fs::read_to_string(&report)?;
    check!(!sockets.contains("NETLINK"), "{sockets}");
    Ok(())
}

impl Ctx {
    /// As `nothing_left`, while the namespaces' holders live.
    fn nothing_left_but(&self, nets: &[&Net]) -> Outcome {
        let holders: Vec<String> = nets
            .iter()
            .map(|net| format!("process {} ", net.holder.pid()))
            .collect();
        let left: Vec<String> = crate::leaks::find(self)
            .into_iter()
            .filter(|line| !holders.iter().any(|holder| line.starts_with(holder)))
            .collect();
        match left.is_empty() {
            true => Ok(()),
            false => fail(format!("left behind:\n    {}", left.join("\n    "))),
        }
    }
}
