//! Kernels from 5.10 on: the promises of other topics, kept where the calls and flags that came later are refused
//! (`probe as --old-kernel` lists them). hack/vm tries the same on the kernels themselves.

use crate::bundle::Bundle;
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::suite::find;
use crate::tests::mounts::volume;
use crate::{check, check_eq, tests};
use std::sync::atomic::Ordering;

tests!("old_kernel":
    on_a_kernel_like_5_10_the_filter_is_in_front_of_the_runtime,
    on_a_kernel_like_5_10_a_docker_shaped_bundle_runs as Long,
    on_a_kernel_like_5_10_binds_have_their_flags as Long,
    on_a_kernel_like_5_10_every_flag_of_a_bind_is_set,
    on_a_kernel_like_5_10_files_are_bound_read_only,
    on_a_kernel_like_5_10_recursive_flags_reach_all_below,
    on_a_kernel_like_5_10_mounts_that_may_not_be_entered_get_their_flags,
    on_a_kernel_like_5_10_a_covered_mount_is_one_clear_line,
    on_a_kernel_like_5_10_propagation_is_set as Long,
    on_a_kernel_like_5_10_paths_are_masked_and_read_only as Long,
    on_a_kernel_like_5_10_user_namespaces_work as Long,
    on_a_kernel_like_5_10_no_descriptor_is_left_open as Long,
    on_a_kernel_like_5_10_pid_namespaces_are_joined as Long,
    on_a_kernel_like_5_10_neighbours_never_see_the_host as Long,
    on_a_kernel_like_5_10_hooks_run as Long,
    on_a_kernel_like_5_10_a_flag_of_seccomp_that_it_lacks_is_refused,
);

/// Starts the runtime behind the filter from now on.
fn hide(ctx: &Ctx) {
    ctx.old_kernel.store(true, Ordering::Relaxed);
}

/// Runs tests of other topics behind the filter.
fn keeps(ctx: &Ctx, promises: &[&str]) -> Outcome {
    hide(ctx);
    for promise in promises {
        ctx.note(format!("as {promise}"));
        (find(promise).because(promise)?.run)(ctx)?;
    }
    Ok(())
}

fn on_a_kernel_like_5_10_the_filter_is_in_front_of_the_runtime(ctx: &Ctx) -> Outcome {
    hide(ctx);
    // The filter is inherited by the container: mount_setattr and statmount are not there.
    for number in ["442", "457"] {
        let result = Bundle::new(ctx)?.probe(&["syscall", number])?;
        check_eq!(result["errno"], libc::ENOSYS, "errno of call {number}");
    }
    let flag = libc::CLOSE_RANGE_CLOEXEC.to_string();
    let result = Bundle::new(ctx)?.probe(&["syscall", "436", "100", "101", &flag])?;
    check_eq!(result["errno"], libc::EINVAL, "errno of close_range");
    Ok(())
}

fn on_a_kernel_like_5_10_a_docker_shaped_bundle_runs(ctx: &Ctx) -> Outcome {
    keeps(
        ctx,
        &[
            "engines::a_docker_shaped_bundle_runs",
            "engines::a_docker_shaped_bundle_goes_through_its_life",
        ],
    )
}

fn on_a_kernel_like_5_10_binds_have_their_flags(ctx: &Ctx) -> Outcome {
    keeps(
        ctx,
        &[
            "mounts::the_usual_mounts_have_the_right_types_and_options",
            "mounts::a_read_only_bind_refuses_writes",
            "mounts::a_bind_takes_nosuid_nodev_noexec",
            "mounts::rbind_brings_submounts_and_bind_does_not",
            "mounts::a_bind_mount_of_a_device_node_works",
            "mounts::ro_remount_of_a_tmpfs_holds",
            "mounts::atime_options_are_applied",
        ],
    )
}

fn on_a_kernel_like_5_10_every_flag_of_a_bind_is_set(ctx: &Ctx) -> Outcome {
    hide(ctx);
    let dir = volume(ctx)?;
    let flags = [
        "ro",
        "nosuid",
        "nodev",
        "noexec",
        "noatime",
        "nodiratime",
        "nosymfollow",
    ];
    for flag in flags {
        let b = Bundle::new(ctx)?.mount("/v", "bind", &dir, &["bind", "nosuid", flag]);
        let options = b.facts()?.mount_options("/v")?;
        for wanted in ["nosuid", flag] {
            check!(
                options.iter().any(|o| o == wanted),
                "no {wanted}: {options:?}"
            );
        }
    }
    let b = Bundle::new(ctx)?
        .mount("/plain", "bind", &dir, &["bind"])
        .mount("/v", "bind", &dir, &["bind", "ro", "noexec"])
        .mount("/w", "bind", &dir, &["bind", "ro", "rw", "strictatime"]);
    let facts = b.facts()?;
    // What is not named stays as the host has it.
    let times = |point| -> Outcome<Vec<String>> {
        let mut options = facts.mount_options(point)?;
        options.retain(|o| o.contains("atime"));
        Ok(options)
    };
    check_eq!(times("/v")?, times("/plain")?, "access times");
    let options = facts.mount("/w")?[5].clone();
    check_eq!(options, "rw", "options with strictatime");
    Ok(())
}

fn on_a_kernel_like_5_10_files_are_bound_read_only(ctx: &Ctx) -> Outcome {
    hide(ctx);
    let file = format!("{}/file", volume(ctx)?);
    let b = Bundle::new(ctx)?
        .mount("/etc/hosts", "bind", &file, &["bind", "ro"])
        .mount("/etc/hostname", "bind", &file, &["bind"]);
    let said = b.says(
        "cat /etc/hosts; echo x 2>&1 >> /etc/hosts; echo y >> /etc/hostname; ls -l /dev/null | cut -c1; cat /etc/hosts",
    )?;
    check!(said.starts_with("content\n"), "the file: {said}");
    check!(said.contains("Read-only"), "a write: {said}");
    check!(
        said.ends_with("c\ncontent\ny"),
        "/dev/null, and the other bind: {said}"
    );
    Ok(())
}

/// The runtime's wrapper: a mount namespace in which `prepare` has been run.
fn after(prepare: String) -> Vec<String> {
    let script = format!("mount --make-rprivate / && {prepare} && exec \"$@\"");
    ["unshare", "-m", "sh", "-c", &script, "sh"]
        .map(String::from)
        .to_vec()
}

fn on_a_kernel_like_5_10_recursive_flags_reach_all_below(ctx: &Ctx) -> Outcome {
    hide(ctx);
    let dir = volume(ctx)?;
    let prepare = format!(
        "mount -t tmpfs -o noexec t {dir}/sub && mkdir '{dir}/sub/a b' {dir}/sub/c && mount -t tmpfs t '{dir}/sub/a b' \
         && mount -t tmpfs -o nodev t {dir}/sub/c && touch {dir}/sub/f && mount --bind {dir}/file {dir}/sub/f"
    );
    let b = Bundle::new(ctx)?
        .mount("/v", "bind", &dir, &["rbind", "rro", "rnosuid"])
        .mount("/w", "bind", &dir, &["rbind"])
        .args(&["/bin/probe", "facts"]);
    b.write()?;
    let output = b
        .verb("run", &[] as &[&str])?
        .within(&after(prepare))
        .run()?
        .ok()?;
    let facts = crate::facts::Facts(serde_json::from_str(&output.stdout)?);
    let kept = [
        ("/v", ""),
        ("/v/sub", "noexec"),
        ("/v/sub/a\\040b", ""),
        ("/v/sub/c", "nodev"),
        ("/v/sub/f", ""),
    ];
    for (point, kept) in kept {
        let fields = facts.mount(point)?;
        let options: Vec<&str> = fields[5].split(',').collect();
        check!(
            options.contains(&"ro") && options.contains(&"nosuid"),
            "{point}: {options:?}"
        );
        check!(
            kept.is_empty() || options.contains(&kept),
            "{point} lost {kept}: {options:?}"
        );
    }
    for point in ["/w", "/w/sub", "/w/sub/c"] {
        let options = facts.mount(point)?[5].clone();
        check!(options.starts_with("rw"), "{point}: {options}");
    }
    Ok(())
}

/// As debugfs below /sys is for a user.
fn on_a_kernel_like_5_10_mounts_that_may_not_be_entered_get_their_flags(ctx: &Ctx) -> Outcome {
    hide(ctx);
    let dir = volume(ctx)?;
    let b = Bundle::new(ctx)?.user_namespace().folder("/v")?.mount(
        "/v",
        "bind",
        &dir,
        &["rbind", "rro"],
    );
    let closed = after(format!("mount -t tmpfs -o mode=700 t {dir}/sub"));
    let facts = b.facts_within(&closed.iter().map(String::as_str).collect::<Vec<_>>())?;
    for point in ["/v", "/v/sub"] {
        let options = facts.mount(point)?[5].clone();
        check!(options.starts_with("ro"), "{point} is writable: {options}");
    }
    ctx.nothing_left()
}

fn on_a_kernel_like_5_10_a_covered_mount_is_one_clear_line(ctx: &Ctx) -> Outcome {
    hide(ctx);
    let dir = volume(ctx)?;
    // Flags on the upper of two mounts alone would leave the lower one writable for who unmounts the upper.
    let prepare = format!("mount -t tmpfs t {dir}/sub && mount -t tmpfs t {dir}/sub");
    let b = Bundle::new(ctx)?.mount("/v", "bind", &dir, &["rbind", "rro"]);
    b.write()?;
    let refused = b
        .verb("run", &[] as &[&str])?
        .within(&after(prepare))
        .run()?
        .refused()?;
    refused.says(&["5.12"])?;
    ctx.nothing_left()
}

fn on_a_kernel_like_5_10_propagation_is_set(ctx: &Ctx) -> Outcome {
    keeps(
        ctx,
        &[
            "mounts::propagation_of_a_mount_is_set",
            "rootfs::rootfs_propagation_is_set",
            "rootfs::rootfs_propagation_slave_hears_the_host",
            "rootfs::mounts_of_a_container_never_reach_a_shared_host",
            "rootfs::a_shared_bind_in_a_shared_root_gives_its_mounts_to_the_host",
        ],
    )
}

fn on_a_kernel_like_5_10_paths_are_masked_and_read_only(ctx: &Ctx) -> Outcome {
    keeps(
        ctx,
        &[
            "rootfs::masked_paths_are_empty_and_read_only_paths_refuse_writes",
            "rootfs::a_read_only_root_refuses_writes_and_mounts_stay_writable",
            "rootfs::no_pivot_is_accepted",
        ],
    )
}

fn on_a_kernel_like_5_10_user_namespaces_work(ctx: &Ctx) -> Outcome {
    keeps(
        ctx,
        &[
            "devices::devices_work_in_a_user_namespace",
            "rootfs::mounts_of_a_user_namespace_never_reach_a_shared_host",
        ],
    )?;
    let dir = volume(ctx)?;
    let file = format!("{dir}/file");
    let b = Bundle::new(ctx)?
        .user_namespace()
        .mount("/v", "bind", &dir, &["rbind", "ro"])
        .mount("/etc/hosts", "bind", &file, &["bind", "ro"])
        .mount("/w", "bind", &dir, &["rbind", "rro", "rslave"]);
    // Root of the user namespace may make nothing in the host's directories.
    for point in ["v", "w"] {
        std::fs::create_dir(b.rootfs().join(point))?;
    }
    std::fs::write(b.rootfs().join("etc/hosts"), "")?;
    let facts = b.facts()?;
    for point in ["/v", "/w", "/etc/hosts"] {
        let options = facts.mount(point)?[5].clone();
        check!(options.starts_with("ro"), "{point}: {options}");
    }
    Ok(())
}

fn on_a_kernel_like_5_10_no_descriptor_is_left_open(ctx: &Ctx) -> Outcome {
    keeps(
        ctx,
        &[
            "inheritance::only_the_three_standard_descriptors_are_open",
            "inheritance::preserve_fds_passes_that_many_on",
            "inheritance::descriptors_beyond_preserve_fds_do_not_leak",
        ],
    )?;
    // Above all that the stub itself has open, too.
    let b = Bundle::new(ctx)?.args(&["/bin/probe", "facts"]);
    b.write()?;
    let high = ["bash", "-c", "exec 200</etc/passwd; exec \"$@\"", "bash"];
    let run = b.verb("run", &[] as &[&str])?.within(&high);
    let facts = crate::facts::Facts(serde_json::from_str(&run.run()?.ok()?.stdout)?);
    let open = facts.0["descriptors"].as_object().because("descriptors")?;
    check!(!open.contains_key("200"), "left open: {open:?}");
    Ok(())
}

fn on_a_kernel_like_5_10_pid_namespaces_are_joined(ctx: &Ctx) -> Outcome {
    keeps(
        ctx,
        &[
            "namespaces::a_pid_namespace_is_joined_without_being_its_first_process",
            "namespaces::user_and_pid_namespaces_of_another_container_are_joined_together",
            "namespaces::a_pid_namespace_is_joined_from_a_new_user_namespace",
            "namespaces::a_pid_namespace_that_has_ended_is_one_clear_line",
        ],
    )
}

/// Before Linux 6.17 somebody has to be in the pid namespace to open a procfs of it.
///
/// Seen to fail: with a helper that is a copy of the init and shares its descriptors
/// (`rootfs/inside.rs`): `seen of the host: found /proc/…/root`; with one that does not leave the
/// tree (`leave_the_tree`): the same.
fn on_a_kernel_like_5_10_neighbours_never_see_the_host(ctx: &Ctx) -> Outcome {
    keeps(
        ctx,
        &["cve::crun_1_31_a_neighbour_with_ptrace_never_sees_the_host_through_an_init"],
    )
}

fn on_a_kernel_like_5_10_hooks_run(ctx: &Ctx) -> Outcome {
    keeps(
        ctx,
        &[
            "hooks::all_six_kinds_run_in_order",
            "hooks::hooks_have_no_foreign_descriptors",
            "hooks::a_hook_that_takes_too_long_is_killed",
        ],
    )
}

fn on_a_kernel_like_5_10_a_flag_of_seccomp_that_it_lacks_is_refused(ctx: &Ctx) -> Outcome {
    keeps(
        ctx,
        &["seccomp_actions::before_linux_5_19_wait_killable_with_a_listener_is_refused"],
    )
}
