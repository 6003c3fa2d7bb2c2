//! A container whose pid namespace others join, and that looks into them while they are made.

use super::SLEEP;
use crate::bundle::{Bundle, DOCKER_CAPS};
use crate::context::Ctx;
use crate::outcome::Outcome;
use crate::{check, tests};
use std::fs;
use std::os::unix::fs::MetadataExt;

tests!("cve":
    crun_1_31_a_neighbour_with_ptrace_never_sees_the_host_through_an_init as Long,
);

/// How many join.
const NEIGHBOURS: usize = 30;

/// With CAP_SYS_PTRACE and no user namespace, being undumpable is no protection: what keeps the
/// host out of sight is that an init is in there only when it has nothing of the host any more.
///
/// Seen to fail: with the pid namespace joined around the clone (`launch/namespaces.rs:enter`:
/// `of_parent` with NEWPID always): `seen of the host: found /proc/…/root`.
fn crun_1_31_a_neighbour_with_ptrace_never_sees_the_host_through_an_init(ctx: &Ctx) -> Outcome {
    let marker = ctx.dir.join("marker");
    fs::write(&marker, "")?;
    let binary = fs::metadata(&ctx.runtime)?;
    let (device, inode) = (binary.dev().to_string(), binary.ino().to_string());
    let mut capabilities = DOCKER_CAPS.to_vec();
    capabilities.extend(["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"]);
    let spy = Bundle::new(ctx)?
        .capabilities(&capabilities)
        .args(&[
            "/bin/probe",
            "spy",
            &marker.to_string_lossy(),
            &device,
            &inode,
        ])
        .detach()?;
    spy.wait_stdout("spying")?;
    let shared = format!("/proc/{}/ns/pid", spy.pid()?);
    let volume = ctx.dir.join("volume");
    fs::create_dir(&volume)?;
    for _ in 0..NEIGHBOURS {
        let b = Bundle::new(ctx)?
            .namespace("pid", Some(&shared))
            .mount("/srv", "bind", &volume.to_string_lossy(), &["rbind"])
            .args(&SLEEP);
        let c = b.create()?;
        c.start()?;
        c.delete_force()?.ok()?;
    }
    let said = spy.stdout()?;
    let found: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("found "))
        .collect();
    check!(found.is_empty(), "seen of the host: {}", found.join(", "));
    let saw = said.lines().filter(|line| line.starts_with("saw ")).count();
    check!(
        saw >= NEIGHBOURS / 2,
        "only {saw} processes of the {NEIGHBOURS} were seen at all"
    );
    Ok(())
}
