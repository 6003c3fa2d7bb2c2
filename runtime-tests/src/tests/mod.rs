//! The tests, one file per topic; each name states a promise.

mod bad_config;
mod bad_input;
mod broken;
mod callers_limits;
mod capabilities;
mod cgroup_disabled;
mod cgroup_layouts;
mod cgroup_v1;
mod cgroup_v1_more;
mod cgroup_v2;
mod cgroup_v2_tree;
mod check;
mod checkpoint;
mod criu;
mod cve;
mod devices;
mod engines;
mod events;
mod exec;
mod exec_confinement;
mod exec_failures;
mod exec_namespaces;
mod exec_security;
mod exec_streams;
mod foreground;
mod hook_details;
mod hooks;
mod hotplug;
mod info;
mod inheritance;
mod killed;
mod labels;
mod lifecycle;
mod locking;
mod logs;
mod mount_tree;
mod mounts;
mod mounts_idmap;
mod mounts_links;
mod mounts_many;
mod mounts_options;
mod mounts_propagation;
mod mounts_remount;
mod mounts_tmpfs;
mod namespaces;
mod namespaces_joined;
mod nested;
mod net_devices;
mod notify;
mod old_kernel;
mod os_container;
mod output;
mod pause;
mod process;
mod ps;
mod rdt;
mod removing;
mod restore;
mod rootfs;
mod rootless;
mod rootless_cgroups;
mod rootless_ids;
mod rootless_mounts;
mod rootless_without;
mod scheduling;
mod seccomp;
mod seccomp_actions;
mod security;
mod several;
mod systemd;
mod systemd_answers;
mod systemd_bus;
mod systemd_user;
mod terminal;
mod update;
mod update_files;
mod update_refusals;
mod usage;
mod wait;
mod watch;

use crate::suite::Test;

/// All topics.
pub const ALL: &[&[Test]] = &[
    lifecycle::TESTS,
    foreground::TESTS,
    terminal::TESTS,
    namespaces::TESTS,
    namespaces_joined::TESTS,
    net_devices::TESTS,
    mount_tree::TESTS,
    mounts::TESTS,
    mounts_options::TESTS,
    mounts_remount::TESTS,
    mounts_propagation::TESTS,
    mounts_links::TESTS,
    mounts_tmpfs::TESTS,
    mounts_idmap::TESTS,
    mounts_many::TESTS,
    rootfs::TESTS,
    removing::TESTS,
    rootless::TESTS,
    nested::TESTS,
    rootless_mounts::TESTS,
    rootless_cgroups::TESTS,
    rootless_ids::TESTS,
    rootless_without::TESTS,
    devices::TESTS,
    process::TESTS,
    rdt::TESTS,
    inheritance::TESTS,
    callers_limits::TESTS,
    capabilities::TESTS,
    scheduling::TESTS,
    seccomp::TESTS,
    seccomp_actions::TESTS,
    hooks::TESTS,
    hook_details::TESTS,
    cgroup_disabled::TESTS,
    cgroup_layouts::TESTS,
    cgroup_v1::TESTS,
    cgroup_v1_more::TESTS,
    cgroup_v2::TESTS,
    cgroup_v2_tree::TESTS,
    bad_input::TESTS,
    bad_config::TESTS,
    broken::TESTS,
    output::TESTS,
    logs::TESTS,
    locking::TESTS,
    killed::TESTS,
    security::TESTS,
    cve::rootfs::TESTS,
    cve::proc::TESTS,
    cve::devices::TESTS,
    cve::descriptors::TESTS,
    cve::binary::TESTS,
    cve::confinement::TESTS,
    cve::neighbours::TESTS,
    cve::races::TESTS,
    cve::input::TESTS,
    cve::table::TESTS,
    engines::TESTS,
    labels::TESTS,
    old_kernel::TESTS,
    exec::TESTS,
    exec_confinement::TESTS,
    exec_failures::TESTS,
    exec_namespaces::TESTS,
    exec_security::TESTS,
    exec_streams::TESTS,
    pause::TESTS,
    checkpoint::TESTS,
    restore::TESTS,
    criu::TESTS,
    ps::TESTS,
    hotplug::TESTS,
    notify::TESTS,
    several::TESTS,
    wait::TESTS,
    watch::TESTS,
    check::TESTS,
    info::TESTS,
    update::TESTS,
    update_files::TESTS,
    update_refusals::TESTS,
    events::TESTS,
    usage::TESTS,
    systemd_bus::TESTS,
    systemd_answers::TESTS,
    systemd::TESTS,
    systemd_user::TESTS,
    os_container::TESTS,
];
