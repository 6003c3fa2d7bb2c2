//! The five capability sets.

use crate::bundle::{Bundle, DOCKER_CAPS};
use crate::context::Ctx;
use crate::outcome::{Because, Outcome};
use crate::{check, check_eq, tests};
use serde_json::{Value, json};

tests!("capabilities":
    all_five_sets_are_as_configured,
    empty_sets_leave_none,
    without_the_section_there_are_none,
    sets_not_named_are_empty,
    inheritable_and_ambient_are_empty_by_default,
    bounding_holds_what_is_named_and_no_more,
    another_user_keeps_ambient_capabilities_through_execve,
    another_user_without_ambient_has_none_after_execve,
    unknown_capabilities_are_ignored_with_a_warning,
    securebits_are_off,
    capabilities_work_in_a_user_namespace,
);

/// Numbers of capabilities, from <linux/capability.h>.
fn mask(names: &[&str]) -> Outcome<u64> {
    const NUMBERS: [(&str, u32); 17] = [
        ("CAP_CHOWN", 0),
        ("CAP_DAC_OVERRIDE", 1),
        ("CAP_FOWNER", 3),
        ("CAP_FSETID", 4),
        ("CAP_KILL", 5),
        ("CAP_SETGID", 6),
        ("CAP_SETUID", 7),
        ("CAP_SETPCAP", 8),
        ("CAP_NET_BIND_SERVICE", 10),
        ("CAP_NET_ADMIN", 12),
        ("CAP_NET_RAW", 13),
        ("CAP_SYS_CHROOT", 18),
        ("CAP_SYS_ADMIN", 21),
        ("CAP_MKNOD", 27),
        ("CAP_AUDIT_WRITE", 29),
        ("CAP_SETFCAP", 31),
        ("CAP_BPF", 39),
    ];
    let number = |name: &str| {
        NUMBERS
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, bit)| 1u64 << bit)
    };
    names
        .iter()
        .try_fold(0, |all, name| Ok(all | number(name).because(name)?))
}

const SETS: [(&str, &str); 5] = [
    ("bounding", "CapBnd"),
    ("effective", "CapEff"),
    ("permitted", "CapPrm"),
    ("inheritable", "CapInh"),
    ("ambient", "CapAmb"),
];

fn with_sets(ctx: &Ctx, sets: Value) -> Outcome<Bundle<'_>> {
    Ok(Bundle::new(ctx)?.set("/process/capabilities", sets))
}

fn all_five_sets_are_as_configured(ctx: &Ctx) -> Outcome {
    let b = with_sets(
        ctx,
        json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SYS_ADMIN"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "effective": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "inheritable": ["CAP_CHOWN", "CAP_KILL"],
            "ambient": ["CAP_KILL"]
        }),
    )?;
    // For another user than root, execve keeps of permitted and effective what is ambient.
    let facts = b
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .facts()?;
    check_eq!(
        facts.caps("CapBnd")?,
        mask(&["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SYS_ADMIN"])?,
        "bounding"
    );
    check_eq!(
        facts.caps("CapInh")?,
        mask(&["CAP_CHOWN", "CAP_KILL"])?,
        "inheritable"
    );
    for set in ["CapAmb", "CapPrm", "CapEff"] {
        check_eq!(facts.caps(set)?, mask(&["CAP_KILL"])?, "{set}");
    }
    Ok(())
}

fn empty_sets_leave_none(ctx: &Ctx) -> Outcome {
    let none =
        json!({"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []});
    let facts = with_sets(ctx, none)?.facts()?;
    for (set, key) in SETS {
        check_eq!(facts.caps(key)?, 0, "{set}");
    }
    Ok(())
}

fn without_the_section_there_are_none(ctx: &Ctx) -> Outcome {
    for b in [
        Bundle::new(ctx)?.remove("/process/capabilities"),
        Bundle::new(ctx)?.set("/process/capabilities", Value::Null),
    ] {
        let facts = b.facts()?;
        for (set, key) in SETS {
            check_eq!(facts.caps(key)?, 0, "{set}");
        }
    }
    Ok(())
}

fn sets_not_named_are_empty(ctx: &Ctx) -> Outcome {
    let facts = with_sets(ctx, json!({}))?.facts()?;
    for (set, key) in SETS {
        check_eq!(facts.caps(key)?, 0, "{set}");
    }
    Ok(())
}

fn inheritable_and_ambient_are_empty_by_default(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?.facts()?;
    check_eq!(facts.caps("CapInh")?, 0, "inheritable");
    check_eq!(facts.caps("CapAmb")?, 0, "ambient");
    check_eq!(facts.caps("CapEff")?, mask(DOCKER_CAPS)?, "effective");
    check_eq!(facts.caps("CapPrm")?, mask(DOCKER_CAPS)?, "permitted");
    Ok(())
}

fn bounding_holds_what_is_named_and_no_more(ctx: &Ctx) -> Outcome {
    let names = ["CAP_NET_ADMIN", "CAP_BPF"];
    check_eq!(
        Bundle::new(ctx)?
            .capabilities(&names)
            .facts()?
            .caps("CapBnd")?,
        mask(&names)?,
        "bounding"
    );
    Ok(())
}

fn another_user_keeps_ambient_capabilities_through_execve(ctx: &Ctx) -> Outcome {
    let names = json!(["CAP_NET_BIND_SERVICE"]);
    let sets = json!({"bounding": names, "effective": names, "permitted": names,
                      "inheritable": names, "ambient": names});
    let user = json!({"uid": 1000, "gid": 1000});
    let facts = with_sets(ctx, sets)?.set("/process/user", user).facts()?;
    for (set, key) in SETS {
        check_eq!(facts.caps(key)?, mask(&["CAP_NET_BIND_SERVICE"])?, "{set}");
    }
    Ok(())
}

fn another_user_without_ambient_has_none_after_execve(ctx: &Ctx) -> Outcome {
    let facts = Bundle::new(ctx)?
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .facts()?;
    check_eq!(facts.caps("CapEff")?, 0, "effective");
    check_eq!(facts.caps("CapPrm")?, 0, "permitted");
    check_eq!(facts.caps("CapBnd")?, mask(DOCKER_CAPS)?, "bounding");
    Ok(())
}

fn unknown_capabilities_are_ignored_with_a_warning(ctx: &Ctx) -> Outcome {
    let b = Bundle::new(ctx)?.capabilities(&["CAP_KILL", "CAP_NO_SUCH_THING"]);
    let log = ctx.dir.join("log");
    let cmd = b
        .args(&["/bin/grep", "CapEff", "/proc/self/status"])
        .verb::<&str>("run", &[])?;
    let said = cmd
        .global(&["--log", &log.to_string_lossy()])
        .run()?
        .ok()?
        .stdout;
    check!(
        said.trim().ends_with("0000000000000020"),
        "effective capabilities: {said}"
    );
    let log = std::fs::read_to_string(&log)?;
    check!(
        log.contains("CAP_NO_SUCH_THING"),
        "the log does not name the capability: {log}"
    );
    check!(
        log.contains("warn"),
        "the log's level is not warning: {log}"
    );
    ctx.nothing_left()
}

fn securebits_are_off(ctx: &Ctx) -> Outcome {
    check_eq!(
        Bundle::new(ctx)?.facts()?.0["securebits"],
        json!(0),
        "securebits"
    );
    let user = json!({"uid": 1000, "gid": 1000});
    let facts = Bundle::new(ctx)?.set("/process/user", user).facts()?;
    check_eq!(
        facts.0["securebits"],
        json!(0),
        "securebits of another user"
    );
    Ok(())
}

fn capabilities_work_in_a_user_namespace(ctx: &Ctx) -> Outcome {
    let names = ["CAP_CHOWN", "CAP_SYS_ADMIN"];
    let facts = Bundle::new(ctx)?
        .user_namespace()
        .capabilities(&names)
        .facts()?;
    for key in ["CapBnd", "CapEff", "CapPrm"] {
        check_eq!(facts.caps(key)?, mask(&names)?, "{key}");
    }
    Ok(())
}
