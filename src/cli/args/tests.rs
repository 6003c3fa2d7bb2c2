//! What the command line promises to people and engines.

use std::path::{Path, PathBuf};

use log::LevelFilter;

use super::*;

fn parsed(line: &str) -> Result<Invocation, Usage> {
    let words = std::iter::once("corten").chain(line.split(' ').filter(|word| !word.is_empty()));
    parse(words.map(OsString::from))
}

fn verb(line: &str) -> Verb {
    parsed(line).unwrap().verb
}

/// Message and exit code of a wrong command line.
fn wrong(line: &str) -> (String, u8) {
    match parsed(line) {
        Err(Usage::Wrong { message, code, .. }) => (message, code),
        other => panic!("{line}: {other:?}"),
    }
}

fn shown(line: &str) -> String {
    match parsed(line) {
        Err(Usage::Show(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn clap_finds_no_fault_in_the_definitions() {
    command().debug_assert();
}

#[test]
fn the_flags_of_containerd_are_understood() {
    let line = "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json \
                --systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /c web";
    let Invocation { global, verb } = parsed(line).unwrap();
    assert_eq!(
        global.root.as_deref(),
        Some(Path::new("/run/containerd/runc/k8s.io"))
    );
    assert_eq!(global.log.as_deref(), Some(OsStr::new("/b/log.json")));
    assert_eq!(global.log_format, LogFormat::Json);
    assert_eq!(global.cgroup_manager, CgroupManager::Systemd);
    assert_eq!(global.log_level, LevelFilter::Info);
    let expected = Create {
        id: "web".to_owned(),
        bundle: PathBuf::from("/b"),
        pid_file: Some(PathBuf::from("/b/init.pid")),
        console_socket: Some(PathBuf::from("/c")),
        ..Create::default()
    };
    assert_eq!(verb, Verb::Create(expected));
}

#[test]
fn flags_may_stand_behind_the_positionals() {
    let Verb::Kill(kill) = verb("kill web 9 --all") else {
        panic!()
    };
    assert_eq!(
        (kill.id.as_str(), kill.signal.number(), kill.all),
        ("web", 9, true)
    );
}

#[test]
fn go_s_spellings_of_flags_are_understood() {
    let Verb::Run(run) = verb("run -bundle /b -detach=false --keep=T -pid-file=/p web") else {
        panic!()
    };
    assert_eq!(run.create.bundle, Path::new("/b"));
    assert_eq!(run.create.pid_file.as_deref(), Some(Path::new("/p")));
    assert_eq!((run.detach, run.keep), (false, true));
    assert_eq!(
        parsed("-root=/r -debug list").unwrap().global.log_level,
        LevelFilter::Debug
    );
}

#[test]
fn the_last_of_a_repeated_flag_counts() {
    let Verb::List(list) = verb("list --format json -f=table --quiet --quiet=false") else {
        panic!()
    };
    assert_eq!(
        list,
        List {
            format: ListFormat::Table,
            quiet: false
        }
    );
    let global = parsed("--root /a --systemd-cgroup --root /b --cgroup-manager disabled list");
    assert_eq!(
        global.as_ref().unwrap().global.root.as_deref(),
        Some(Path::new("/b"))
    );
    assert_eq!(
        global.unwrap().global.cgroup_manager,
        CgroupManager::Disabled
    );
}

#[test]
fn two_dashes_end_the_flags() {
    assert_eq!(
        verb("delete -f -- -web"),
        Verb::Delete(Delete {
            ids: vec!["-web".into()],
            force: true,
            regex: false,
        })
    );
    assert_eq!(
        verb("-- state web"),
        Verb::State(State { id: "web".into() })
    );
}

#[test]
fn an_empty_bundle_is_the_current_directory() {
    let Verb::Create(create) = verb("create --bundle= web") else {
        panic!()
    };
    assert_eq!(create.bundle, Path::new("."));
}

#[test]
fn wrong_usage_is_one_line_with_runc_s_exit_code() {
    for (line, message) in [
        (
            "create --foo x",
            "create: unknown flag --foo (see 'corten create --help')",
        ),
        (
            "create",
            "create: missing argument <CONTAINER-ID> (see 'corten create --help')",
        ),
        (
            "start",
            "start: missing argument <CONTAINER-ID>... (see 'corten start --help')",
        ),
        (
            "state a b",
            "state: one argument too many: \"b\" (see 'corten state --help')",
        ),
        (
            "create x --bundle",
            "create: missing value of --bundle (see 'corten create --help')",
        ),
        (
            "create --bundel /b x",
            "create: unknown flag --bundel, did you mean --bundle? (see 'corten create --help')",
        ),
        (
            "create --preserve-fds -1 x",
            "create: invalid value \"-1\" for --preserve-fds: -1 is not in 0..=4294967295 (see 'corten create --help')",
        ),
        (
            "kill web -9",
            "kill: unknown signal \"-9\": use a name such as TERM or SIGTERM, or a number up to 64 (see 'corten kill --help')",
        ),
        (
            "run --detach=maybe x",
            "run: invalid value \"maybe\" for --detach: use true or false (see 'corten run --help')",
        ),
        (
            "list -f xml",
            "list: invalid value \"xml\" for --format: use table or json (see 'corten list --help')",
        ),
        (
            "kill web BOGUS",
            "kill: unknown signal \"BOGUS\": use a name such as TERM or SIGTERM, or a number up to 64 (see 'corten kill --help')",
        ),
        ("--foo list", "unknown flag --foo (see 'corten --help')"),
        ("--root", "missing value of --root (see 'corten --help')"),
        (
            "--debug=maybe list",
            "invalid value \"maybe\" for --debug: use true or false (see 'corten --help')",
        ),
        (
            "--log-format xml list",
            "invalid value \"xml\" for --log-format: use text or json (see 'corten --help')",
        ),
    ] {
        assert_eq!(wrong(line), (message.to_owned(), 1));
    }
    assert_eq!(
        wrong("frobnicate"),
        (
            "unknown command \"frobnicate\" (see 'corten --help')".to_owned(),
            3
        )
    );
}

#[test]
fn a_wrong_command_line_still_says_where_the_log_is() {
    let Err(Usage::Wrong { global, .. }) = parsed("--log /l create --foo x") else {
        panic!()
    };
    assert_eq!(global.log.as_deref(), Some(OsStr::new("/l")));
}

#[test]
fn every_verb_s_help_has_an_example() {
    for verb in VERBS {
        for line in [
            format!("{} --help", verb.name),
            format!("{} -h", verb.name),
            format!("help {}", verb.name),
        ] {
            let help = shown(&line);
            assert!(
                help.contains(&format!("Usage: corten {}", verb.name)),
                "{help}"
            );
            let (_, example) = help.split_once("\nExample:\n  corten ").unwrap();
            assert_eq!(example.trim_end().lines().count(), 1, "{help}");
            assert!(help.lines().all(|line| line.len() <= 100), "{help}");
        }
    }
}

#[test]
fn help_of_the_program_names_every_verb() {
    let help = shown("--help");
    assert_eq!(help, shown(""));
    assert_eq!(help, shown("help"));
    for verb in VERBS {
        assert!(help.contains(&format!("\n  {} ", verb.name)), "{help}");
    }
}

#[test]
fn version_has_runc_s_lines() {
    let text = shown("--version");
    assert_eq!(text, shown("-v"));
    assert!(text.starts_with("corten version "), "{text}");
    assert!(text.lines().any(|line| line == "spec: 1.3.0"), "{text}");
}

#[test]
fn what_follows_the_id_of_ps_is_the_host_s() {
    let Verb::Ps(ps) = verb("ps -f json web -aux --format x -- -f table") else {
        panic!()
    };
    let options = ["-aux", "--format", "x", "--", "-f", "table"];
    let expected = Ps {
        id: "web".to_owned(),
        format: ListFormat::Json,
        options: options.map(OsString::from).to_vec(),
    };
    assert_eq!(ps, expected);
}

#[test]
fn update_takes_runc_s_flags() {
    let Verb::Update(update) = verb(
        "update -r - --blkio-weight 500 --cpu-period 100000 --cpu-quota -1 --cpu-burst=5 \
         -cpu-share 512 --cpu-rt-period 9 --cpu-rt-runtime -7 --cpu-idle 1 --cpuset-cpus 0-3 \
         --cpuset-mems 0 --memory 64m --memory-reservation 1.5G --memory-swap -1 --pids-limit -1 \
         --kernel-memory 1 --kernel-memory-tcp -1 --l3-cache-schema L3:0=f --mem-bw-schema=MB:0=20 web",
    ) else {
        panic!()
    };
    let expected = Update {
        id: "web".to_owned(),
        resources: Some("-".into()),
        devices: false,
        blkio_weight: Some(500),
        cpu_period: Some(100_000),
        cpu_quota: Some(-1),
        cpu_burst: Some(5),
        cpu_share: Some(512),
        cpu_rt_period: Some(9),
        cpu_rt_runtime: Some(-7),
        cpu_idle: Some(1),
        cpuset_cpus: Some("0-3".to_owned()),
        cpuset_mems: Some("0".to_owned()),
        memory: Some(64 << 20),
        memory_reservation: Some(3 << 29),
        memory_swap: Some(-1),
        pids_limit: Some(-1),
        l3_cache_schema: Some("L3:0=f".to_owned()),
        mem_bw_schema: Some("MB:0=20".to_owned()),
        ignored: vec!["kernel-memory", "kernel-memory-tcp"],
    };
    assert_eq!(*update, expected);
    assert!(!shown("update --help").contains("kernel-memory"));
}

#[test]
fn events_takes_go_s_durations() {
    let events = |line: &str| match verb(line) {
        Verb::Events(events) => (events.interval.as_millis(), events.stats),
        other => panic!("{other:?}"),
    };
    assert_eq!(events("events web"), (5_000, false));
    assert_eq!(
        events("events --interval 1m30s --stats web"),
        (90_000, true)
    );
    for (interval, says) in [
        ("5", "missing unit"),
        ("0s", "duration interval must be greater than 0"),
        ("-1s", "duration interval must be greater than 0"),
        ("x", "no duration"),
    ] {
        let (message, code) = wrong(&format!("events --interval {interval} web"));
        assert!(message.contains(says) && code == 1, "{message}");
    }
}
