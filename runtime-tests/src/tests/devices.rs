//! Device nodes: the default ones, configured ones, and who may use which.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Outcome, fail};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};

tests!("devices":
    the_default_devices_are_there_and_open_to_all,
    the_usual_links_are_there,
    there_is_no_console_without_a_terminal,
    configured_devices_have_their_type_number_mode_and_owner,
    a_configured_fifo_is_made,
    a_configured_device_outside_dev_is_made,
    a_configured_device_replaces_a_default_one,
    devices_work_in_a_user_namespace,
    a_device_without_a_rule_is_denied,
    default_devices_are_allowed_though_all_are_denied,
    read_and_write_are_allowed_one_by_one,
    nodes_may_be_made_though_not_opened,
    pty_slaves_can_be_opened,
    without_rules_all_other_devices_are_denied,
);

const DEFAULTS: [(&str, &str); 6] = [
    ("null", "1:3"),
    ("zero", "1:5"),
    ("full", "1:7"),
    ("random", "1:8"),
    ("urandom", "1:9"),
    ("tty", "5:0"),
];

fn the_default_devices_are_there_and_open_to_all(ctx: &Ctx) -> Outcome {
    let mut line = "stat -c '%n %F %t:%T %a %u:%g'".to_string();
    let mut wanted = String::new();
    for (name, number) in DEFAULTS {
        line.push_str(&format!(" /dev/{name}"));
        wanted.push_str(&format!(
            "/dev/{name} character special file {number} 666 0:0\n"
        ));
    }
    check_eq!(
        Bundle::new(ctx)?.says(&line)?,
        wanted.trim(),
        "default devices"
    );
    Ok(())
}

fn the_usual_links_are_there(ctx: &Ctx) -> Outcome {
    let said = Bundle::new(ctx)?.says(
        "cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done; echo x >> /dev/stdout",
    )?;
    let lines: Vec<&str> = said.lines().collect();
    let [fd, stdin, stdout, stderr, ptmx, last] = lines[..] else {
        return fail(format!("not the six lines that were asked for: {said}"));
    };
    let links = [fd, stdin, stdout, stderr];
    let wanted = [
        "/proc/self/fd",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
        "/proc/self/fd/2",
    ];
    check_eq!(links, wanted, "links");
    check!(ptmx.ends_with("pts/ptmx"), "ptmx leads to {ptmx}");
    check_eq!(last, "x", "what /dev/stdout takes");
    Ok(())
}

fn there_is_no_console_without_a_terminal(ctx: &Ctx) -> Outcome {
    check_eq!(
        Bundle::new(ctx)?.says("test -e /dev/console && echo there; true")?,
        "",
        "console"
    );
    Ok(())
}

fn device(path: &str, kind: &str, major: u32, minor: u32) -> Value {
    json!({"path": path, "type": kind, "major": major, "minor": minor,
           "fileMode": 0o640, "uid": 1000, "gid": 1001})
}

fn configured_devices_have_their_type_number_mode_and_owner(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?
        .push("/linux/devices", device("/dev/fuse", "c", 10, 229))
        .push("/linux/devices", device("/dev/net/tun", "u", 10, 200))
        .push("/linux/devices", device("/dev/disk0", "b", 254, 0));
    let said = b.says("stat -c '%F %t:%T %a %u:%g' /dev/fuse /dev/net/tun /dev/disk0")?;
    let wanted = "character special file a:e5 640 1000:1001\n\
                  character special file a:c8 640 1000:1001\n\
                  block special file fe:0 640 1000:1001";
    check_eq!(said, wanted, "configured devices");
    Ok(())
}

fn a_configured_fifo_is_made(ctx: &Ctx) -> Outcome {
    let fifo = json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o600});
    let b = Bundle::new(ctx)?.push("/linux/devices", fifo);
    check_eq!(b.says("stat -c '%F %a' /dev/pipe")?, "fifo 600", "fifo");
    Ok(())
}

fn a_configured_device_outside_dev_is_made(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.push("/linux/devices", device("/srv/deep/null", "c", 1, 3));
    check_eq!(
        b.says("stat -c '%F %t:%T' /srv/deep/null")?,
        "character special file 1:3",
        "node"
    );
    Ok(())
}

fn a_configured_device_replaces_a_default_one(ctx: &Ctx) -> Outcome {
    let null = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3,
                      "fileMode": 0o600, "uid": 5, "gid": 6});
    let rule = json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"});
    let b = Bundle::new(ctx)?
        .push("/linux/devices", null)
        .push("/linux/resources/devices", rule);
    check_eq!(
        b.says("stat -c '%t:%T %a %u:%g' /dev/null")?,
        "1:3 600 5:6",
        "node"
    );
    Ok(())
}

fn devices_work_in_a_user_namespace(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.user_namespace();
    let said = b.says(
        "head -c 3 /dev/zero | wc -c; echo x > /dev/null && echo fine; stat -c %t:%T /dev/full",
    )?;
    check_eq!(said, "3\nfine\n1:7", "use of the default devices");
    Ok(())
}

fn denied_all() -> Value {
    json!([{"allow": false, "access": "rwm"}])
}

/// Opens a device in the container; the errno.
fn open(b: Bundle, path: &str, mode: &str) -> Outcome<Value> {
    Ok(b.probe(&["open", path, mode])?["errno"].clone())
}

/// The kernel's log; opened for writing, because reading would ask for a capability too.
const KMSG: (u32, u32) = (1, 11);

/// Device numbers of /dev/fuse; opening it does nothing yet.
const FUSE: (u32, u32) = (10, 229);

fn with_kmsg(ctx: &Ctx) -> Outcome<Bundle<'_>> {
    let node =
        json!({"path": "/dev/k", "type": "c", "major": KMSG.0, "minor": KMSG.1, "fileMode": 0o666});
    Ok(Bundle::new(ctx)?.push("/linux/devices", node))
}

fn a_device_without_a_rule_is_denied(ctx: &Ctx) -> Outcome {
    ctx.v1("devices")?;
    let b = with_kmsg(ctx)?.set("/linux/resources/devices", denied_all());
    check_eq!(
        open(b, "/dev/k", "w")?,
        json!(libc::EPERM),
        "errno of opening a denied device"
    );
    Ok(())
}

fn default_devices_are_allowed_though_all_are_denied(ctx: &Ctx) -> Outcome {
    for (name, _) in DEFAULTS {
        let b = Bundle::new(ctx)?.set("/linux/resources/devices", denied_all());
        let errno = open(b, &format!("/dev/{name}"), "r")?;
        // There is no controlling terminal here: ENXIO comes after permission is given.
        let wanted = if name == "tty" { libc::ENXIO } else { 0 };
        check_eq!(errno, json!(wanted), "errno of opening /dev/{name}");
    }
    Ok(())
}

fn read_and_write_are_allowed_one_by_one(ctx: &Ctx) -> Outcome {
    ctx.v1("devices")?;
    let node =
        json!({"path": "/dev/f", "type": "c", "major": FUSE.0, "minor": FUSE.1, "fileMode": 0o666});
    for (access, r, w) in [("r", 0, libc::EPERM), ("w", libc::EPERM, 0), ("rw", 0, 0)] {
        let rule =
            json!({"allow": true, "type": "c", "major": FUSE.0, "minor": FUSE.1, "access": access});
        for (mode, wanted) in [("r", r), ("w", w)] {
            let b = Bundle::new(ctx)?
                .push("/linux/devices", node.clone())
                .set("/linux/resources/devices", denied_all())
                .push("/linux/resources/devices", rule.clone());
            check_eq!(
                open(b, "/dev/f", mode)?,
                json!(wanted),
                "opening for {mode}, allowed {access}"
            );
        }
    }
    Ok(())
}

fn nodes_may_be_made_though_not_opened(ctx: &Ctx) -> Outcome {
    ctx.v1("devices")?;
    let rules = json!([{"allow": false, "access": "rwm"},
                       {"allow": true, "type": "c", "access": "m"}]);
    let b = Bundle::new(ctx)?.set("/linux/resources/devices", rules);
    let made = b.probe(&["mknod", "/tmp/k", "c", "1", "11"])?;
    check_eq!(made["errno"], json!(0), "errno of mknod");
    let b = Bundle::new(ctx)?.set("/linux/resources/devices", denied_all());
    let b = b.shell("/bin/probe mknod /tmp/k c 1 11; /bin/probe open /tmp/k r");
    let said = b.run()?.ok()?.stdout;
    check!(
        said.ends_with("{\"errno\":1}\n"),
        "opening a node that the container made: {said}"
    );
    Ok(())
}

fn pty_slaves_can_be_opened(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.set("/linux/resources/devices", denied_all());
    check_eq!(
        open(b, "/dev/ptmx", "rw")?,
        json!(0),
        "errno of opening /dev/ptmx"
    );
    Ok(())
}

fn without_rules_all_other_devices_are_denied(ctx: &Ctx) -> Outcome {
    ctx.v1("devices")?;
    // What runc does and engines rely on: no list means the default list.
    let b = with_kmsg(ctx)?;
    let list = b.says("cat /proc/self/cgroup >/dev/null; /bin/probe open /dev/k w")?;
    check_eq!(list, "{\"errno\":1}", "opening a device that no rule names");
    Ok(())
}
