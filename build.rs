//! Builds the exec stub (src/sys/stub) for the target, so that the binary can
//! carry its image, leaves the tables for unwinding out of it, and hands the
//! commit to `--version`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    build_stub();
    leave_out_unwind_tables();
    println!("cargo:rerun-if-changed=.git/HEAD");
    let commit = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .output();
    if let Ok(output) = commit
        && output.status.success()
    {
        println!(
            "cargo:rustc-env=CORTEN_COMMIT={}",
            String::from_utf8_lossy(&output.stdout).trim()
        );
    }
}

/// Debug builds keep them for backtraces.
fn leave_out_unwind_tables() {
    let script = "src/sys/no_unwind.ld";
    println!("cargo:rerun-if-changed={script}");
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
        println!("cargo:rustc-link-arg-bin=corten=-Wl,--no-eh-frame-hdr,-T,{root}/{script}");
    }
}

/// rustc is called by hand: the stub is no_std and has no start files, which a
/// cargo target of the same package cannot be. rust-lld comes with every
/// toolchain, so no cross linker is needed.
fn build_stub() {
    let stub = Path::new("src/sys/stub");
    println!("cargo:rerun-if-changed={}", stub.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("stub");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let status = Command::new(rustc)
        .arg(stub.join("main.rs"))
        .args([
            "--crate-name",
            "stub",
            "--crate-type",
            "bin",
            "--edition",
            "2024",
            "--target",
            &target,
        ])
        .args([
            "-C",
            "panic=abort",
            "-C",
            "opt-level=s",
            "-C",
            "lto=fat",
            "-C",
            "relocation-model=static",
            "-C",
            "strip=symbols",
        ])
        .args([
            "-C",
            "target-feature=-crt-static",
            "-C",
            "force-unwind-tables=no",
        ])
        .args([
            "-C",
            "linker=rust-lld",
            "-C",
            "linker-flavor=ld.lld",
            "-C",
            "link-self-contained=no",
        ])
        .args([
            "-C",
            "link-arg=--gc-sections",
            "-C",
            "link-arg=-static",
            "-C",
            "link-arg=-nostdlib",
        ])
        .args([
            "-C",
            "link-arg=-z",
            "-C",
            "link-arg=norelro",
            "-C",
            "link-arg=--no-rosegment",
        ])
        .args([
            "-C",
            "link-arg=-z",
            "-C",
            "link-arg=noseparate-code",
            "-C",
            "link-arg=--build-id=none",
        ])
        .args([
            "-C",
            "link-arg=--no-eh-frame-hdr",
            "-C",
            "default-linker-libraries=no",
        ])
        .arg("-o")
        .arg(&out)
        .status()
        .expect("rustc runs");
    assert!(status.success(), "the exec stub does not build");
}
