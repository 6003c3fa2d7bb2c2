//! Containers whose first process is systemd, on pure cgroup v2. Their root is Debian's; `hack/vm` has one in /srv/os,
//! elsewhere `OS_ROOTFS` names it.

use crate::bundle::Bundle;
use crate::container::Container;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome, fail, skip};
use crate::{cgroups, check, check_eq, procs, tests};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

tests!("os_container":
    systemd_boots_and_stops_on_its_signal as Long,
    systemd_boots_in_a_scope_of_the_hosts as LongSerial,
    systemd_boots_in_a_user_namespace as Long,
    delete_force_removes_all_cgroups_of_a_booted_system as Long,
);

/// How long a boot and a halt may take: emulated, twenty seconds are usual.
const LIMIT: Duration = Duration::from_secs(300);

/// A bundle over Debian, as engines shape it for a systemd: a fresh overlay, tmpfs where systemd wants
/// them, its own writable cgroups.
struct System<'a> {
    ctx: &'a Ctx,
    bundle: Bundle<'a>,
    /// The container's cgroup.
    cgroup: PathBuf,
}

impl<'a> System<'a> {
    fn new(ctx: &'a Ctx) -> Outcome<System<'a>> {
        let debian = std::env::var_os("OS_ROOTFS").unwrap_or_else(|| "/srv/os".into());
        let debian = PathBuf::from(debian);
        if !debian.join("lib/systemd/systemd").exists() {
            return skip(format!(
                "no Debian with systemd in {} (OS_ROOTFS; hack/vm has one)",
                debian.display()
            ));
        }
        if !ctx.hierarchies.iter().all(cgroups::Hierarchy::is_v2) {
            return skip("not cgroup v2 alone");
        }
        ctx.v2("memory")?;
        if ctx.driver.user.is_some() {
            return skip("the root file system is root's");
        }
        let bundle = Bundle::new(ctx)?
            .args(&["/sbin/init"])
            .push("/process/env", "container=oci")
            .namespace("cgroup", None)
            .mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["rw", "nosuid", "noexec", "nodev", "relatime"],
            )
            .mount("/run", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=755"])
            .mount("/run/lock", "tmpfs", "tmpfs", &["nosuid", "nodev"])
            .mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev"])
            .set("/linux/resources/memory/limit", 268_435_456)
            .set("/linux/resources/pids/limit", 300);
        let over = bundle.rootfs();
        std::fs::remove_dir_all(&over)?;
        std::fs::create_dir(&over)?;
        let changes = bundle.dir.join("changes");
        for dir in ["upper", "work"] {
            std::fs::create_dir_all(changes.join(dir))?;
        }
        let options = format!(
            "metacopy=on,lowerdir={},upperdir={1}/upper,workdir={1}/work",
            debian.display(),
            changes.display()
        );
        let options = CString::new(options).because("the options of overlay")?;
        mount(
            "overlay",
            &over,
            "overlay",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .because("overlay")?;
        let cgroup = ctx.cgroup_dir(ctx.v2("")?, &bundle.id);
        Ok(System {
            ctx,
            bundle,
            cgroup,
        })
    }

    fn start(&self, global: &[&str]) -> Outcome<Container<'a>> {
        self.ctx.created(&self.bundle.id);
        let output = self.ctx.dir.join("console");
        let create = self.bundle.verb::<&str>("create", &[])?.global(global);
        create.output(output.clone()).run()?.ok()?;
        let c = Container::new(self.ctx, &self.bundle.id, &self.bundle.dir, output);
        c.start()?;
        Ok(c)
    }

    /// Waits until all units are started or have failed; the answer of systemctl.
    fn booted(&self, c: &Container<'_>) -> Outcome<String> {
        let end = Instant::now() + LIMIT;
        let ask = ["systemctl", "is-system-running", "--wait"];
        // Before it listens, systemctl says that it is offline.
        let state = loop {
            let said = c.exec(&[], &ask).run()?.stdout.trim().to_owned();
            let early = ["", "offline", "initializing", "starting"].contains(&said.as_str());
            if !early || Instant::now() > end {
                break said;
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        let failed = c
            .exec(&[], &["systemctl", "--failed", "--plain", "--no-legend"])
            .run()?
            .stdout;
        self.ctx.note(format!("{state}; failed units: {failed}"));
        match state.as_str() {
            "running" | "degraded" => Ok(state),
            other => fail(format!("the system is {other}: {}", c.stdout()?)),
        }
    }

    /// Its services have cgroups of their own below the container's, and the limits are the container's.
    fn has_cgroups(&self) -> Outcome {
        let service = self.cgroup.join("system.slice/systemd-journald.service");
        check!(
            !cgroups::pids(&service).is_empty(),
            "no process in {}",
            service.display()
        );
        let first = cgroups::pids(&self.cgroup.join("init.scope"));
        check!(!first.is_empty(), "systemd is not in its init.scope");
        let limit = std::fs::read_to_string(self.cgroup.join("memory.max"))?;
        check_eq!(limit.trim(), "268435456", "memory.max");
        Ok(())
    }

    /// SIGRTMIN+3 ends it, and `delete` removes what it had made.
    fn halts(&self, c: &Container<'_>) -> Outcome {
        let pid = c.pid()?;
        c.kill("SIGRTMIN+3")?;
        if procs::reap(pid, LIMIT).is_none() {
            return fail(format!("it does not stop: {}", c.stdout()?));
        }
        c.wait_status("stopped")?;
        c.delete()?.ok()?;
        self.clean()
    }

    fn clean(&self) -> Outcome {
        check!(!self.cgroup.exists(), "{} is left", self.cgroup.display());
        unmount(self.bundle.rootfs(), UnmountFlags::empty())
            .because("the container's root is in use still")?;
        self.ctx.nothing_left()
    }
}

fn systemd_boots_and_stops_on_its_signal(ctx: &Ctx) -> Outcome {
    let system = System::new(ctx)?;
    let c = system.start(&[])?;
    system.booted(&c)?;
    system.has_cgroups()?;
    let init = c.exec(
        &[],
        &["systemctl", "show", "-p", "Virtualization", "--value"],
    );
    check_eq!(
        init.run()?.ok()?.stdout.trim(),
        "container-other",
        "what systemd takes it for"
    );
    system.halts(&c)
}

fn systemd_boots_in_a_scope_of_the_hosts(ctx: &Ctx) -> Outcome {
    if !Path::new("/run/systemd/private").exists() {
        return skip("systemd is not process 1 here (try hack/vm)");
    }
    let mut system = System::new(ctx)?;
    let name = format!(
        "os{}",
        ctx.prefix.replace(|c: char| !c.is_ascii_digit(), "x")
    );
    let unit = format!("{name}-{}.scope", system.bundle.id);
    let path = format!(":{name}:{}", system.bundle.id);
    system.bundle = system.bundle.set("/linux/cgroupsPath", path);
    system.cgroup = Path::new("/sys/fs/cgroup/system.slice").join(&unit);
    let c = system.start(&["--systemd-cgroup"])?;
    system.booted(&c)?;
    system.has_cgroups()?;
    // The host's systemd writes what it knows of again, and must not touch what is below the scope.
    ctx.host(&["systemctl", "daemon-reload"]).run()?.ok()?;
    system.has_cgroups()?;
    let echo = ["systemd-run", "--wait", "--quiet", "/bin/true"];
    c.exec(&[], &echo).run()?.ok()?;
    system.halts(&c)
}

/// Its root may make cgroups below the container's and nowhere else: the kernel wants the files to be his.
fn systemd_boots_in_a_user_namespace(ctx: &Ctx) -> Outcome {
    let mut system = System::new(ctx)?;
    system.bundle = system.bundle.user_namespace();
    let over = system.bundle.rootfs().to_string_lossy().into_owned();
    ctx.host(&["chown", "-R", "-h", "100000:100000", &over])
        .run()?
        .ok()?;
    let c = system.start(&[])?;
    system.booted(&c)?;
    system.has_cgroups()?;
    let owner = std::fs::metadata(system.cgroup.join("system.slice"))?.uid();
    check_eq!(owner, 100_000, "owner of the cgroups below");
    system.halts(&c)
}

/// Killed at full run: cgroups in cgroups, some with processes, all go within the time of one command.
fn delete_force_removes_all_cgroups_of_a_booted_system(ctx: &Ctx) -> Outcome {
    let system = System::new(ctx)?;
    let c = system.start(&[])?;
    system.booted(&c)?;
    system.has_cgroups()?;
    let below = cgroups::tree(&system.cgroup).len();
    check!(below > 5, "only {below} cgroups");
    c.delete_force()?.ok()?;
    system.clean()
}
