//! `corten checkpoint`, and the flags that `restore` has in common with it.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::{Definition, Verb, flag};
use crate::checkpoint::dump::Request;
use crate::checkpoint::{CgroupsMode, NetworkLock, Options};

/// Arguments of `corten checkpoint`.
#[derive(Debug, PartialEq)]
pub struct Checkpoint {
    /// The container.
    pub id: String,
    /// What is to be written; its paths are the caller's words.
    pub request: Request,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "checkpoint",
    define: |command| {
        command
            .about("Write the state of a running container to disk (needs CRIU)")
            .args(images())
            .args(own())
            .arg(flag::id())
            .after_help("Example:\n  corten checkpoint --image-path /srv/checkpoint web")
    },
    read: |mut matches| Verb::Checkpoint(read(&mut matches)),
};

/// The flags that both verbs have.
pub(super) fn images() -> Vec<Arg> {
    vec![
        flag::path(
            "image-path",
            "DIR",
            "Directory of the checkpoint [default: ./checkpoint]",
        ),
        flag::path(
            "work-path",
            "DIR",
            "Directory of CRIU's logs [default: the checkpoint's]",
        ),
        flag::switch("tcp-established", "Keep open TCP connections"),
        flag::switch("ext-unix-sk", "Keep unix sockets that lead outside"),
        flag::switch(
            "shell-job",
            "Allow a session leader outside (the caller's terminal)",
        ),
        flag::switch("file-locks", "Keep file locks"),
        flag::switch("lazy-pages", "Load memory when it is needed (userfaultfd)"),
        flag::switch("auto-dedup", "Keep memory that is in several images once"),
        Arg::new("manage-cgroups-mode")
            .long("manage-cgroups-mode")
            .value_name("MODE")
            .help("soft, full, strict or ignore cgroups [default: soft]")
            .value_parser(ValueParser::new(parse_mode)),
        Arg::new("network-lock")
            .long("network-lock")
            .value_name("METHOD")
            .help("iptables, nftables or skip [default: iptables]")
            .value_parser(ValueParser::new(parse_lock)),
        Arg::new("empty-ns")
            .long("empty-ns")
            .value_name("NAMESPACE")
            .help("Make it empty; only network, which always is (repeat)")
            .action(ArgAction::Append)
            .value_parser(ValueParser::new(parse_empty_ns)),
    ]
}

fn own() -> Vec<Arg> {
    vec![
        flag::path(
            "parent-path",
            "DIR",
            "The pre-dump before this one, from the checkpoint's directory",
        ),
        flag::switch("leave-running", "Let the container run on"),
        flag::switch(
            "tcp-skip-in-flight",
            "Leave out TCP connections that are being made",
        ),
        flag::switch("link-remap", "Give open files without a name one again"),
        Arg::new("status-fd")
            .long("status-fd")
            .value_name("N")
            .help("Descriptor that gets a byte when --lazy-pages is ready")
            .allow_negative_numbers(true)
            .value_parser(value_parser!(i32)),
        Arg::new("page-server")
            .long("page-server")
            .value_name("ADDRESS:PORT")
            .help("Send the memory to a page server")
            .value_parser(ValueParser::new(parse_server)),
        flag::switch(
            "pre-dump",
            "Write the memory alone and let the container run on",
        ),
    ]
}

fn read(matches: &mut ArgMatches) -> Checkpoint {
    Checkpoint {
        id: flag::take_id(matches),
        request: Request {
            options: read_images(matches),
            parent_path: take_path(matches, "parent-path"),
            leave_running: flag::is_on(matches, "leave-running"),
            tcp_skip_in_flight: flag::is_on(matches, "tcp-skip-in-flight"),
            link_remap: flag::is_on(matches, "link-remap"),
            // runc's default is -1.
            status_fd: matches.remove_one("status-fd").filter(|fd| *fd != -1),
            page_server: matches.remove_one("page-server"),
            pre_dump: flag::is_on(matches, "pre-dump"),
        },
    }
}

/// Reads [`images`].
pub(super) fn read_images(matches: &mut ArgMatches) -> Options {
    Options {
        image_path: take_path(matches, "image-path").unwrap_or_else(|| "checkpoint".into()),
        work_path: take_path(matches, "work-path"),
        tcp_established: flag::is_on(matches, "tcp-established"),
        ext_unix_sk: flag::is_on(matches, "ext-unix-sk"),
        shell_job: flag::is_on(matches, "shell-job"),
        file_locks: flag::is_on(matches, "file-locks"),
        lazy_pages: flag::is_on(matches, "lazy-pages"),
        auto_dedup: flag::is_on(matches, "auto-dedup"),
        cgroups_mode: matches
            .remove_one("manage-cgroups-mode")
            .unwrap_or_default(),
        network_lock: matches.remove_one("network-lock"),
    }
}

/// An empty path is none, as for runc.
fn take_path(matches: &mut ArgMatches, name: &str) -> Option<PathBuf> {
    flag::take_path(matches, name).filter(|path| !path.as_os_str().is_empty())
}

fn parse_mode(word: &str) -> Result<CgroupsMode, &'static str> {
    match word {
        "" => Ok(CgroupsMode::Default),
        "soft" => Ok(CgroupsMode::Soft),
        "full" => Ok(CgroupsMode::Full),
        "strict" => Ok(CgroupsMode::Strict),
        "ignore" => Ok(CgroupsMode::Ignore),
        _ => Err("use soft, full, strict or ignore"),
    }
}

fn parse_lock(word: &str) -> Result<NetworkLock, &'static str> {
    match word {
        "iptables" => Ok(NetworkLock::Iptables),
        "nftables" => Ok(NetworkLock::Nftables),
        "skip" => Ok(NetworkLock::Skip),
        _ => Err("use iptables, nftables or skip"),
    }
}

fn parse_empty_ns(word: &str) -> Result<(), &'static str> {
    match word {
        "network" => Ok(()),
        _ => Err("only a network namespace can be made empty (network)"),
    }
}

/// `ADDRESS:PORT`; an address with colons stands in brackets.
fn parse_server(text: &str) -> Result<(String, u16), &'static str> {
    let (address, port) = text.rsplit_once(':').ok_or("use ADDRESS:PORT")?;
    let inside = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    let address = inside.unwrap_or(address);
    if address.is_empty() || inside.is_none() && address.contains([':', '[', ']']) {
        return Err("use ADDRESS:PORT, or [ADDRESS]:PORT if the address has colons");
    }
    match port.parse() {
        Ok(port) if port != 0 && !text.contains('+') => Ok((address.to_owned(), port)),
        _ => Err("the port is no number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_server;

    #[test]
    fn a_page_server_is_an_address_and_a_port() {
        let ok = |text, address: &str, port| {
            assert_eq!(parse_server(text), Ok((address.to_owned(), port)));
        };
        ok("10.0.0.1:27", "10.0.0.1", 27);
        ok("[fe80::1]:65535", "fe80::1", 65535);
        for wrong in [
            "",
            ":",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:-1",
            "a:+1",
            "fe80::1:2",
            "[]:1",
            "a:1x",
        ] {
            assert!(parse_server(wrong).is_err(), "{wrong}");
        }
    }
}
