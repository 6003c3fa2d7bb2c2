//! What the words of `mounts[].options` and the kinds of mounts turn into.

use super::*;

fn plan_with(linux: &str, json: &str) -> Result<MountPlan, ConfigError> {
    let linux: Linux<'_> = serde_json::from_str(linux).unwrap();
    let mount: Mount<'_> = serde_json::from_str(json).unwrap();
    let namespaces = crate::plan::namespaces::plan(&linux).unwrap();
    let before = Mount {
        fstype: Some("tmpfs".into()),
        destination: "/before".into(),
        ..Mount::default()
    };
    let mut plans = plan(&[before, mount], "/bundle", &linux, &namespaces)?;
    Ok(plans.pop().unwrap())
}

fn plan_json(json: &str) -> Result<MountPlan, ConfigError> {
    plan_with("{}", json)
}

fn filesystem(linux: &str, json: &str) -> Filesystem {
    match plan_with(linux, json).unwrap().what {
        What::Filesystem(filesystem) => filesystem,
        what => panic!("{what:?}"),
    }
}

#[test]
fn options_are_read_as_mount_reads_them() {
    let read = |text: &str| -> Vec<String> {
        key_values(text)
            .iter()
            .map(|(key, value)| match value {
                Some(value) => format!("{}>{}", key.to_string_lossy(), value.to_string_lossy()),
                None => key.to_string_lossy().into_owned(),
            })
            .collect()
    };
    assert_eq!(
        read("size=1k,,huge,a=b=c,=d,e="),
        ["size>1k", "huge", "a>b=c", "e>"]
    );
    let label = r#"context="u:r:t:s0:c1,c2",size=1k"#;
    assert_eq!(read(label), ["context>u:r:t:s0:c1,c2", "size>1k"]);
}

#[test]
fn a_bind_source_is_relative_to_the_bundle() {
    let m = plan_json(r#"{"destination":"/a","source":"x","options":["rbind","ro"]}"#).unwrap();
    assert_eq!(
        m.what,
        What::Bind {
            source: c"/bundle/x".to_owned(),
            recursive: true,
            link: SourceLink::Follow,
            attr: MountAttr {
                set: libc::MOUNT_ATTR_RDONLY,
                ..MountAttr::default()
            },
            recursive_attr: MountAttr::default(),
        }
    );
    assert_eq!(m.destination, c"a".to_owned());
}

#[test]
fn a_procfs_shows_its_source() {
    let json = r#"{"destination":"/proc","type":"proc","source":"p","options":["hidepid=2"]}"#;
    let What::Proc { data, .. } = plan_json(json).unwrap().what else {
        panic!("no procfs");
    };
    let wanted = [(c"hidepid", c"2"), (c"source", c"p")];
    assert_eq!(
        data,
        wanted.map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
    );
}

#[test]
fn only_proc_on_proc_is_the_runtimes_own() {
    let m = plan_json(r#"{"destination":"/proc/","type":"proc"}"#).unwrap();
    assert!(matches!(m.what, What::Proc { .. }));
    let m = plan_json(r#"{"destination":"/x/proc","type":"proc"}"#).unwrap();
    assert!(matches!(m.what, What::Filesystem(_)));
}

#[test]
fn a_mount_without_type_or_bind_is_refused_with_its_pointer() {
    let e = plan_json(r#"{"destination":"/a","source":"x"}"#).unwrap_err();
    assert_eq!(e.pointer, "/mounts/1/type");
}

#[test]
fn a_bind_with_file_system_options_is_refused() {
    let e = plan_json(r#"{"destination":"/a","source":"/x","options":["bind","huge=always"]}"#);
    assert_eq!(e.unwrap_err().pointer, "/mounts/1/options");
}

#[test]
fn a_mount_on_the_root_is_refused() {
    for destination in ["/", "/..", "//."] {
        let json = format!(r#"{{"destination":"{destination}","type":"tmpfs"}}"#);
        assert_eq!(
            plan_json(&json).unwrap_err().pointer,
            "/mounts/1/destination"
        );
    }
    let remount = r#"{"destination":"/","options":["remount","bind","ro"]}"#;
    assert!(plan_json(remount).is_ok());
}

#[test]
fn a_bind_without_source_is_refused() {
    let e = plan_json(r#"{"destination":"/a","options":["bind"]}"#);
    assert_eq!(e.unwrap_err().pointer, "/mounts/1/source");
}

#[test]
fn a_bind_does_without_the_options_of_a_tmpfs_alone() {
    let bind = |option: &str| {
        plan_json(&format!(
            r#"{{"destination":"/a","source":"/b","options":["bind","{option}"]}}"#
        ))
    };
    for option in ["size=1k", "mode=755", "uid=1"] {
        assert!(matches!(bind(option).unwrap().what, What::Bind { .. }));
    }
    // A word that means to protect something is never left out.
    for option in ["readonly", "size", "context=a:b:c:s0", "mode755=1", "=1"] {
        assert_eq!(
            bind(option).unwrap_err().pointer,
            "/mounts/1/options",
            "{option}"
        );
    }
}

#[test]
fn recursive_flags_reach_a_new_file_system() {
    let json = r#"{"destination":"/a","type":"tmpfs","options":["rro","rsync"]}"#;
    assert_eq!(
        filesystem("{}", json).flags,
        libc::MS_RDONLY | libc::MS_SYNCHRONOUS
    );
}

#[test]
fn only_a_tmpfs_without_a_mode_inherits_one() {
    for (fstype, options, inherits) in [
        ("tmpfs", r#""size=1k""#, true),
        ("tmpfs", r#""mode=755""#, false),
        ("tmpfs", r#""size=1k","mode=0755""#, false),
        ("tmpfs", r#""moderate=1""#, true),
        ("mqueue", r#""ro""#, false),
    ] {
        let json = format!(r#"{{"destination":"/a","type":"{fstype}","options":[{options}]}}"#);
        assert_eq!(filesystem("{}", &json).inherits_mode, inherits, "{json}");
    }
}

#[test]
fn the_label_goes_to_file_systems_that_take_one() {
    let linux = r#"{"mountLabel":"system_u:object_r:container_file_t:s0:c1,c2"}"#;
    let label = c"system_u:object_r:container_file_t:s0:c1,c2".to_owned();
    for (fstype, options, wanted) in [
        ("tmpfs", "ro", Some(&label)),
        ("devpts", "newinstance", Some(&label)),
        ("mqueue", "ro", Some(&label)),
        ("sysfs", "ro", None),
        ("tmpfs", "context=other", None),
        ("tmpfs", "rootcontext=other", Some(&label)),
    ] {
        let json = format!(r#"{{"destination":"/a","type":"{fstype}","options":["{options}"]}}"#);
        assert_eq!(filesystem(linux, &json).label.as_ref(), wanted, "{json}");
        assert_eq!(filesystem("{}", &json).label, None);
    }
    let json = r#"{"destination":"/c","type":"cgroup"}"#;
    assert!(matches!(
        plan_with(linux, json).unwrap().what,
        What::Cgroup { label: Some(_), .. }
    ));
}

#[test]
fn a_label_that_would_leave_its_quotes_is_refused() {
    for label in [r#"a\"b"#, r"a\\b", r"a\nb"] {
        let linux = format!(r#"{{"mountLabel":"{label}"}}"#);
        let e = plan_with(&linux, r#"{"destination":"/a","type":"tmpfs"}"#);
        assert_eq!(e.unwrap_err().pointer, "/linux/mountLabel", "{label}");
    }
}

#[test]
fn words_for_links_are_for_binds() {
    let of = |options: &str| {
        plan_json(&format!(
            r#"{{"destination":"/a","source":"/x","options":[{options}]}}"#
        ))
        .map(|plan| (plan.what, plan.on_link))
    };
    for (options, wanted, on_link) in [
        (r#""bind""#, SourceLink::Follow, false),
        (r#""bind","copy-symlink""#, SourceLink::Copy, false),
        (r#""bind","src-nofollow""#, SourceLink::Bind, false),
        (
            r#""bind","src-nofollow","dest-nofollow""#,
            SourceLink::Bind,
            true,
        ),
    ] {
        let (what, found) = of(options).unwrap();
        assert!(
            matches!(what, What::Bind { link, .. } if link == wanted),
            "{options}: {what:?}"
        );
        assert_eq!(found, on_link, "{options}");
    }
    for options in [
        r#""bind","copy-symlink","src-nofollow""#,
        r#""bind","copy-symlink","dest-nofollow""#,
        r#""bind","copy-symlink","idmap=uids=0-0-1;gids=0-0-1""#,
    ] {
        assert!(of(options).unwrap_err().pointer.starts_with("/mounts/1"));
    }
    for word in ["copy-symlink", "src-nofollow"] {
        let json = format!(r#"{{"destination":"/a","type":"tmpfs","options":["{word}"]}}"#);
        assert_eq!(plan_json(&json).unwrap_err().pointer, "/mounts/1/options");
    }
}

#[test]
fn tmpcopyup_is_for_tmpfs() {
    let of = |fstype: &str| {
        plan_json(&format!(
            r#"{{"destination":"/a","type":"{fstype}","options":["tmpcopyup"]}}"#
        ))
    };
    assert!(of("tmpfs").is_ok());
    assert_eq!(of("mqueue").unwrap_err().pointer, "/mounts/1/options");
}

#[test]
fn a_remount_of_a_bind_changes_what_is_named_alone() {
    let json = r#"{"destination":"/a","options":["remount","bind","ro","exec"]}"#;
    let What::RemountBind { attr, .. } = plan_json(json).unwrap().what else {
        panic!("no remount of a bind");
    };
    assert_eq!(attr.set, libc::MOUNT_ATTR_RDONLY);
    assert_eq!(attr.clear, libc::MOUNT_ATTR_NOEXEC);
    let json = r#"{"destination":"/a","options":["remount","ro","exec","size=1k"]}"#;
    assert_eq!(
        plan_json(json).unwrap().what,
        What::Remount {
            flags: libc::MS_RDONLY,
            data: c"size=1k".to_owned(),
        }
    );
}

#[test]
fn what_has_no_ids_of_its_own_is_not_mapped() {
    let mapped = r#""uidMappings":[{"containerID":0,"hostID":0,"size":1}],
        "gidMappings":[{"containerID":0,"hostID":0,"size":1}]"#;
    for (mount, refused) in [
        (r#""destination":"/proc","type":"proc""#, true),
        (r#""destination":"/c","type":"cgroup""#, true),
        (r#""destination":"/a","options":["remount","ro"]"#, true),
        (r#""destination":"/a","type":"tmpfs""#, false),
        (
            r#""destination":"/a","source":"/x","options":["bind"]"#,
            false,
        ),
    ] {
        let found = plan_json(&format!("{{{mount},{mapped}}}"));
        match found {
            Ok(plan) => assert!(plan.idmap.is_some() && !refused, "{mount}"),
            Err(error) => assert!(error.pointer == "/mounts/1" && refused, "{mount}"),
        }
    }
}
