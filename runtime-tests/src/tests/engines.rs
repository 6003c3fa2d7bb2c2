//! Bundles in the shapes that Docker and Kubernetes emit.

use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, skip};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

tests!("engines":
    a_docker_shaped_bundle_runs,
    a_docker_shaped_bundle_goes_through_its_life,
    a_kubernetes_shaped_pod_runs,
);

/// The folder of example bundles: `$BUNDLES`, or that of the checkout.
fn bundles() -> PathBuf {
    let checkout = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
    std::env::var_os("BUNDLES").map_or_else(checkout, PathBuf::from)
}

/// The config.json of an example bundle; skips the test when there is none.
pub fn config(name: &str) -> Outcome<Value> {
    let path = bundles().join(name).join("config.json");
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).because(path.display()),
        Err(_) => skip(format!("no {} (set BUNDLES)", path.display())),
    }
}

/// A bundle with the example's config, but our rootfs, cgroup and command.
fn shaped<'a>(ctx: &'a Ctx, name: &str) -> Outcome<Bundle<'a>> {
    let mut b = Bundle::new(ctx)?;
    let cgroup = b.config["linux"]["cgroupsPath"].clone();
    b.config = config(name)?;
    b = b
        .set("/root/path", "rootfs")
        .set("/linux/cgroupsPath", cgroup);
    // Files of the engine's state folder lie beside the example's config.json.
    let example = bundles().join(name);
    for mount in b.config["mounts"].as_array_mut().into_iter().flatten() {
        let source = mount["source"].as_str().unwrap_or_default().to_string();
        let options = mount["options"].to_string();
        if options.contains("bind\"") && !source.starts_with('/') {
            mount["source"] = json!(
                example
                    .join(source)
                    .canonicalize()
                    .because(example.display())?
            );
        }
    }
    Ok(b)
}

fn a_docker_shaped_bundle_runs(ctx: &Ctx) -> Outcome {
    let facts = shaped(ctx, "docker")?.facts()?;
    check_eq!(facts.status("Seccomp")?, "2", "seccomp mode");
    check!(facts.mount("/etc/hosts").is_ok(), "no mount on /etc/hosts");
    ctx.nothing_left()
}

fn life(c: &Container) -> Outcome {
    c.status_is("created")?;
    c.start()?;
    c.status_is("running")?;
    let pid = c.pid()?;
    c.kill("KILL")?;
    check_eq!(c.wait_pid(pid)?, 137, "exit code");
    c.delete()?.ok().map(drop)
}

fn a_docker_shaped_bundle_goes_through_its_life(ctx: &Ctx) -> Outcome {
    life(
        &shaped(ctx, "docker")?
            .args(&["/bin/sleep", "1000"])
            .create()?,
    )?;
    ctx.nothing_left()
}

fn a_kubernetes_shaped_pod_runs(ctx: &Ctx) -> Outcome {
    config("kubernetes")?;
    let pause = Bundle::new(ctx)?.args(&["/bin/sleep", "1000"]).detach()?;
    let mut b = Bundle::new(ctx)?;
    let cgroup = b.config["linux"]["cgroupsPath"].clone();
    // The example's own script lays out what a kubelet would and fills in the config.
    let fill = bundles()
        .join("kubernetes/fill")
        .to_string_lossy()
        .into_owned();
    let pid = pause.pid()?.to_string();
    let filled = ctx
        .host(&[fill.as_str(), &pid, &b.dir.to_string_lossy()])
        .run()?;
    if filled.code == 127 {
        return skip("jq is not installed, which bundles/kubernetes/fill needs");
    }
    filled.ok()?;
    b.config = serde_json::from_slice(&std::fs::read(b.dir.join("config.json"))?)?;
    let b = b
        .set("/root/path", "rootfs")
        .set("/linux/cgroupsPath", cgroup);
    let net = std::fs::read_link(format!("/proc/{pid}/ns/net"))?;
    let c = b.args(&["/bin/sleep", "1000"]).create()?;
    let joined = std::fs::read_link(format!("/proc/{}/ns/net", c.pid()?))?;
    check_eq!(joined, net, "network namespace of the pod");
    life(&c)?;
    pause.delete_force()?.ok()?;
    ctx.nothing_left()
}
