//! What is worked out from systemd's words. The conversation itself is tried by the black-box tests
//! `systemd_bus` and `systemd`.

use super::*;

#[test]
fn the_version_is_the_first_number() {
    for (text, number) in [
        ("252.36-1~deb12u1", Some(252)),
        ("v245.4-1.fc32", Some(245)),
        ("\"245\"", Some(245)),
        ("239", Some(239)),
        ("", None),
        ("v", None),
        ("systemd 250", None),
        ("99999999999", None),
    ] {
        assert_eq!(version(text), number, "{text}");
    }
}

#[test]
fn the_inits_cgroup_has_to_be_the_units() {
    let of = |path: &str| cgroup_of(&format!("1:cpu:/x\n0::{path}\n"), "a.scope");
    assert_eq!(of("/system.slice/a.scope").unwrap(), "system.slice/a.scope");
    assert_eq!(of("/a.scope").unwrap(), "a.scope");
    for elsewhere in [
        "/",
        "/system.slice/b.scope",
        "/system.slice/a.scope/b",
        "/../a.scope.d",
    ] {
        let error = of(elsewhere).unwrap_err().to_string();
        assert!(
            error.contains("a.scope") && error.contains(elsewhere),
            "{error}"
        );
    }
    assert!(cgroup_of("", "a.scope").is_err());
    assert!(cgroup_of("0::/_cgroup.scope\n", "cgroup.scope").is_ok());
}
