//! What a run with `--as-user` does not try, and why: tests of what root alone may do, or
//! may do here. Anything else has to work for a user too.

use crate::outcome::{Outcome, skip};

/// Tests (`topic::` stands for all of a topic) and what they need.
struct Group {
    reason: &'static str,
    tests: &'static [&'static str],
}

const GROUPS: &[Group] = &[
    Group {
        reason: "CRIU needs root",
        tests: &["checkpoint::", "restore::", "criu::"],
    },
    Group {
        reason: "moving network devices needs root",
        tests: &["net_devices::"],
    },
    Group {
        reason: "mapping ids of mounts needs root",
        tests: &[
            "mounts_idmap::",
            "hotplug::an_id_mapped_bind_shows_other_ids",
        ],
    },
    Group {
        reason: "making device nodes needs root",
        tests: &[
            "devices::the_default_devices_are_there_and_open_to_all",
            "devices::a_configured_fifo_is_made",
            "devices::a_configured_device_replaces_a_default_one",
            "devices::nodes_may_be_made_though_not_opened",
        ],
    },
    Group {
        reason: "device rules need root",
        tests: &[
            "cgroup_v2::default_devices_are_allowed",
            "cgroup_v2::devices_are_denied_and_allowed",
            "devices::a_device_without_a_rule_is_denied",
            "devices::without_rules_all_other_devices_are_denied",
            "devices::read_and_write_are_allowed_one_by_one",
        ],
    },
    Group {
        reason: "the mappings are those of root's containers",
        tests: &[
            "namespaces::user_mappings_are_written",
            "namespaces::root_of_a_user_namespace_owns_what_it_makes_as_the_mapped_user",
            "namespaces::a_user_namespace_with_several_mappings_works",
            "namespaces_joined::a_joined_user_namespace_keeps_its_mapping",
            "namespaces_joined::mappings_of_a_joined_user_namespace_have_to_be_its_own",
            "namespaces_joined::time_offsets_are_set_in_a_joined_user_namespace",
            "exec_namespaces::a_joined_user_namespace",
            "old_kernel::on_a_kernel_like_5_10_mounts_are_added_and_removed",
            "hotplug::a_user_namespace_gets_binds",
            "bad_config::user_namespaces_without_mappings",
            "process::user_and_groups_are_set",
            "nested::",
        ],
    },
    Group {
        reason: "raising priorities needs root",
        tests: &[
            "process::scheduler_is_set",
            "scheduling::reset_on_fork_is_set",
            "scheduling::a_real_time_policy_is_set_with_its_priority",
            "scheduling::a_deadline_is_set",
            "scheduling::a_deadline_with_a_hook_that_it_forbids_is_refused",
            "scheduling::every_policy_without_privileges_is_set",
            "scheduling::every_io_priority_class_is_set",
            "exec_confinement::scheduler_and_io_priority",
        ],
    },
    Group {
        reason: "flags of the host's mounts are locked for a user",
        tests: &[
            "mounts_options::every_word_that_features_lists_is_understood",
            "mounts_options::flags_of_a_mount_are_set_and_taken_back_on_a_bind",
            "mounts_options::a_bind_keeps_the_flags_of_its_source_that_are_not_named",
            "mounts_options::recursive_flags_reach_every_submount",
            "mounts_options::access_times_are_as_the_last_word_says",
            "mounts_remount::a_remount_of_a_bind_keeps_what_is_not_named",
            "mounts_remount::a_remount_in_a_user_namespace_keeps_the_flags_of_the_source",
            "mounts_remount::a_bind_in_a_user_namespace_of_a_source_with_flags_keeps_them",
            "old_kernel::on_a_kernel_like_5_10_every_flag_of_a_bind_is_set",
            "mounts::a_bind_does_without_the_options_of_a_tmpfs",
            "mounts::rbind_brings_submounts_and_bind_does_not",
            "mounts_propagation::an_overlay_with_long_options_takes_a_propagation_word",
        ],
    },
    Group {
        reason: "mounts of a user do not reach the host",
        tests: &[
            "rootfs::rootfs_propagation_slave_hears_the_host",
            "rootfs::rootfs_propagation_is_set",
            "rootfs::a_shared_bind_in_a_shared_root_gives_its_mounts_to_the_host",
            "old_kernel::on_a_kernel_like_5_10_propagation_is_set",
            "hotplug::the_hosts_mounts_come_in_and_the_containers_do_not_go_out",
            "mount_tree::it_is_attached_once_and_whole_in_a_user_namespace",
            "mount_tree::no_new_file_system_is_mounted_by_mount",
            "mounts_many::thousands_of_nested_and_stacked_mounts_work",
            "hooks::each_kind_runs_in_its_namespaces",
        ],
    },
    Group {
        reason: "the host's mount namespace, or another's, is not the user's to mount in",
        tests: &[
            "namespaces_joined::a_tree_of_its_own_is_made_apart_from_the_hosts_mount_namespace",
            "namespaces_joined::no_way_up_leads_out_of_a_tree_made_apart",
            "namespaces_joined::a_tree_made_apart_has_a_terminal",
        ],
    },
    Group {
        reason: "the host shows its own ids, not the container's",
        tests: &[
            "mount_tree::options_are_those_of_mount",
            "mounts::the_usual_mounts_have_the_right_types_and_options",
            "mounts_propagation::a_file_system_with_a_propagation_word_is_as_without",
            "old_kernel::on_a_kernel_like_5_10_binds_have_their_flags",
            "output::list_prints_a_table",
            "output::list_prints_json",
        ],
    },
    Group {
        reason: "files and cgroups that the test makes are root's",
        tests: &[
            "mounts_links::words_for_links_work_in_a_user_namespace",
            "mounts_tmpfs::tmpcopyup_copies_files_links_modes_and_owners",
            "mounts_tmpfs::tmpcopyup_keeps_the_mode_and_owner_that_options_give",
            "rootless_mounts::a_mount_point_that_cannot_be_made_is_explained",
            "cve::cve_2026_88265_a_dev_null_that_is_a_link_gives_no_file_of_the_host_away",
            "cve::cve_2023_25809_the_hosts_cgroups_cannot_be_written",
            "cve::crun_1_31_submounts_of_a_read_only_host_sys_are_read_only",
            "cve::cve_2022_2989_groups_are_those_of_the_configuration_alone",
            "logs::journald_gets_entries_of_its_own_protocol",
            "logs::syslog_gets_lines_as_of_the_c_library",
            "rdt::",
            "removing::",
            "cgroup_v2_tree::a_frozen_cgroup_is_refused_on_v2",
            "old_kernel::on_a_kernel_like_5_10_files_are_bound_read_only",
            "hotplug::a_remount_changes_flags",
            "exec::a_cgroup_beneath_on_cgroup_v2_is_joined",
            "exec_failures::a_program_that_may_not_be_run",
            "output::spec_does_not_overwrite",
            "output::spec_rootless_has_a_user_namespace",
        ],
    },
    Group {
        reason: "the harness's keyring is root's",
        tests: &[
            "inheritance::no_new_keyring_keeps_the_callers",
            "exec_confinement::without_a_keyring_of_its_own",
        ],
    },
    Group {
        reason: "a umask without the owner's rights leaves a user nothing",
        tests: &["inheritance::umask_of_the_caller_does_not_leak"],
    },
    Group {
        reason: "the limit would be the harness's",
        tests: &[
            "callers_limits::a_limit_of_open_files_is_an_error_in_one_line",
            "rootless_without::a_limit_of_no_user_namespaces_is_named",
        ],
    },
    Group {
        reason: "asks the system's systemd, or has a user of its own",
        tests: &[
            "systemd::",
            "systemd_user::",
            "systemd_bus::",
            "systemd_answers::",
        ],
    },
    Group {
        reason: "tries many configurations, some of which need root",
        tests: &[
            "check::what_check_refuses_create_refuses_at_the_same_place",
            "check::what_check_takes_runs",
        ],
    },
    Group {
        reason: "breaks what makes a configuration a user's",
        tests: &[
            "bad_config::values_of_the_wrong_type",
            "bad_config::namespaces_that_do_not_fit",
            "bad_config::devices_that_do_not_fit",
            "cgroup_layouts::a_host_without_hierarchies_says_what_is_missing",
        ],
    },
    Group {
        reason: "the cgroups of a user's containers are his before",
        tests: &[
            "cgroup_v2_tree::a_writable_cgroup_is_handed_over_to_the_containers_root",
            "cgroup_v2_tree::a_writable_cgroup_is_handed_over_to_the_processs_user",
            "cgroup_v2_tree::no_other_cgroup_is_handed_over",
        ],
    },
    Group {
        reason: "newuidmap, which has descriptors and connections of its own, would be traced too",
        tests: &[
            "cve::cve_2024_21626_every_descriptor_is_opened_close_on_exec",
            "cve::cve_2020_15257_no_socket_is_offered",
        ],
    },
    Group {
        reason: "asks for --rootless=false",
        tests: &["output::global_options_of_runc_and_crun_are_understood"],
    },
];

/// Further ones where the user has no cgroup.
const WITHOUT_CGROUP: &[&str] = &[
    "cgroup_v1::",
    "cgroup_v1_more::",
    "cgroup_v2::",
    "events::",
    "exec::",
    "exec_failures::",
    "exec_streams::a_terminal_goes_to_the_console_socket",
    "exec_streams::console_size_of_a_process_file_is_applied",
    "exec_namespaces::on_cgroup_v2",
    "old_kernel::",
    "pause::",
    "ps::",
    "update::",
    "update_files::",
    "update_refusals::",
    "usage::a_closed_stdout_is_no_failure",
    "usage::a_full_stdout_is_one_line",
    "usage::verbs_in_the_wrong_state_are_refused",
    "wait::a_status_can_be_waited_for",
    "watch::",
    "bad_config::",
    "check::",
    "cve::cve_2022_0492_the_release_agent_is_out_of_reach",
    "cve::cve_2024_3154_annotations_change_nothing",
    "foreground::run_ends_with_the_init_though_a_child_outside_a_pid_namespace_holds_stdout",
    "hook_details::a_time_limit_ends_the_children_of_a_hook_too",
    "hotplug::created_and_paused_containers_take_mounts",
    "inheritance::the_cgroup_of_the_caller_does_not_leak",
    "lifecycle::a_frozen_container_is_paused_and_delete_force_removes_it",
    "lifecycle::delete_kills_processes_that_the_init_left_in_a_shared_pid_namespace",
    "lifecycle::kill_all_reaches_every_process_without_a_pid_namespace",
    "labels::labels_are_written_in_joined_user_and_pid_namespaces",
    "mounts_propagation::propagation_words_work_on_every_kind_of_mount",
];

fn names(entry: &str, test: &str) -> bool {
    match entry.ends_with("::") {
        true => test.starts_with(entry),
        false => test == entry,
    }
}

/// Skips a test that a user's run does not try.
pub fn skip_for_user(test: &str, has_cgroup: bool) -> Outcome {
    for group in GROUPS {
        if group.tests.iter().any(|entry| names(entry, test)) {
            return skip(group.reason);
        }
    }
    if !has_cgroup && WITHOUT_CGROUP.iter().any(|entry| names(entry, test)) {
        return skip("this user has no cgroup");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{GROUPS, WITHOUT_CGROUP, names};

    #[test]
    fn every_entry_names_a_test() {
        let all = crate::suite::select(&[]);
        let entries = GROUPS.iter().flat_map(|group| group.tests);
        for entry in entries.chain(WITHOUT_CGROUP) {
            assert!(all.iter().any(|test| names(entry, test.name)), "{entry}");
        }
    }
}
