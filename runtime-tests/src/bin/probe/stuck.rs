//! `probe stuck DIR COMMAND...`: a process that no signal ends. In a mount namespace of its own
//! it puts a FUSE file system on DIR that takes requests and never answers, runs the command,
//! which has to touch DIR, and prints `stuck` once it does: from then on the kernel waits for the
//! answer, even of a killed process. That ends with this process.

use crate::raw;
use rustix::mount::{MountFlags, mount};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;

const INIT: u32 = 26;
/// Version 7.31, nothing optional (fuse(4)).
const VERSION: [u32; 2] = [7, 31];

pub fn run(args: &[&str]) -> io::Result<()> {
    let [dir, program, args @ ..] = args else {
        return Err(io::Error::other("usage: stuck DIR COMMAND..."));
    };
    let mut fuse = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")?;
    raw::unshare_mounts()?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0",
        fuse.as_raw_fd()
    );
    let options = std::ffi::CString::new(options)?;
    mount(
        "stuck",
        *dir,
        "fuse",
        MountFlags::empty(),
        options.as_c_str(),
    )?;
    Command::new(program).args(args).spawn()?;
    let mut buffer = vec![0u8; 256 * 1024];
    let mut said = false;
    loop {
        let length = fuse.read(&mut buffer)?;
        let request = &buffer[..length];
        let opcode = request[4..].first_chunk().map(|b| u32::from_ne_bytes(*b));
        if opcode != Some(INIT) {
            if !said {
                println!("stuck");
                said = true;
            }
            continue;
        }
        let mut reply = vec![0; 16 + 64];
        reply[..4].copy_from_slice(&80u32.to_ne_bytes());
        reply[8..16].copy_from_slice(&request[8..16]);
        reply[16..20].copy_from_slice(&VERSION[0].to_ne_bytes());
        reply[20..24].copy_from_slice(&VERSION[1].to_ne_bytes());
        fuse.write_all(&reply)?;
    }
}
