//! The hand-written parsers and clap must not differ: thousands of generated
//! command lines, right and wrong, go through both.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

/// xorshift64: the same command lines on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, from: &'a [OsString]) -> &'a OsString {
        &from[self.below(from.len())]
    }
}

/// Words worth trying with a verb: its own flags in their spellings, those of
/// other verbs, values, and what breaks parsers.
fn vocabulary(command: &Command) -> Vec<OsString> {
    let mut words = Vec::new();
    for arg in command.get_arguments() {
        let spellings = arg.get_long().map(|long| format!("--{long}"));
        for flag in spellings
            .into_iter()
            .chain(arg.get_short().map(|short| format!("-{short}")))
        {
            for suffix in ["", "=", "=true", "=false", "=7", "=/a b", "x", "=--x", "=-"] {
                words.push(format!("{flag}{suffix}"));
            }
            words.extend([flag.clone(), flag.clone(), flag[1..].to_owned()]);
            words.push(flag.trim_start_matches('-').to_owned());
        }
    }
    let common = "a|web|web-1|.|..|/run/x|KILL|SIGRTMIN+3|15|-9|0|-1|99999999999|true|--|-|---|--=|\
                  --unknown|-z|--help|-h||ä|=|--b|-bundle|--bundle|-f|-fa|--fo|--forc|+3";
    words.extend(common.split('|').map(str::to_owned));
    let mut words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    words.push(OsString::from_vec(b"not\xffutf8".to_vec()));
    words.push(OsString::from_vec(b"--bundle=\xff".to_vec()));
    words
}

#[test]
fn the_fast_path_says_what_clap_says() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for verb in ["create", "start", "state", "kill", "delete", "run", "exec"] {
        let definition = VERBS
            .iter()
            .find(|definition| definition.name == verb)
            .unwrap();
        let words = vocabulary(&definition.command());
        let (mut taken, mut good) = (0, 0);
        for _ in 0..6000 {
            let args: Vec<OsString> = (0..random.below(6))
                .map(|_| random.pick(&words).clone())
                .collect();
            let by_clap = definition.parse(&args).ok();
            good += usize::from(by_clap.is_some());
            if let Some(by_hand) = fast::parse(OsStr::new(verb), &args) {
                assert_eq!(Some(by_hand), by_clap, "{verb} {args:?}");
                taken += 1;
            }
        }
        // Otherwise the comparison above would have compared little.
        assert!(
            taken > 100 && good > 200,
            "{verb}: {taken} fast of {good} good"
        );
    }
}

#[test]
fn the_command_lines_of_engines_take_the_fast_path() {
    for line in [
        "create --bundle /b --pid-file /p --no-pivot --no-new-keyring --preserve-fds 3 web",
        "create --bundle=/b --console-socket=/c --pidfd-socket /s web",
        "create -b /b web",
        "start web",
        "state web",
        "kill web 9",
        "kill --all web KILL",
        "kill web SIGTERM -a",
        "delete web",
        "delete --force web",
        "run -d --keep --no-subreaper --bundle /b web",
        "exec --process /p --detach --pid-file /f web",
        "exec --process /p --console-socket /c --detach --pid-file /f web",
        "exec -t -u 1:2 -e A=1 --env B=2 --cwd /x --cap CAP_KILL web sh -c true",
    ] {
        let mut words = line.split(' ').map(OsString::from);
        let verb = words.next().unwrap();
        let args: Vec<OsString> = words.collect();
        assert!(fast::parse(&verb, &args).is_some(), "{line}");
    }
}

#[test]
fn global_flags_peeled_by_hand_are_the_ones_that_help_shows() {
    let mut random = Random(0xdead_beef_cafe_f00d);
    let root = go_style::boolean_values(global::define(Command::new("corten")));
    let values = ["text", "json", "true", "auto", "systemd", "debug", "/x"];
    for _ in 0..3000 {
        let mut argv: Vec<OsString> = Vec::new();
        for _ in 0..random.below(4) {
            let flags: Vec<&clap::Arg> = root
                .get_arguments()
                .filter(|arg| arg.get_id() != "version")
                .collect();
            let flag = flags[random.below(flags.len())];
            let dashes = if random.below(4) == 0 { "-" } else { "--" };
            let name = flag.get_long().unwrap_or_default();
            let value = values[random.below(values.len())];
            match random.below(3) {
                0 => argv.push(format!("{dashes}{name}={value}").into()),
                1 if flag.is_require_equals_set() => argv.push(format!("{dashes}{name}").into()),
                _ => argv.extend([format!("{dashes}{name}").into(), value.into()]),
            }
        }
        argv.extend(["state".into(), "web".into()]);
        check_global(&argv);
    }
}

/// clap leaves the words of `--log-format` and the like to `global`, so where
/// the hand-written parser stops at a bad word only that is required of it.
fn check_global(argv: &[OsString]) {
    let whole = go_style::boolean_values(command()).no_binary_name(true);
    let by_clap = whole
        .clone()
        .try_get_matches_from(go_style::double_dashes(&whole, argv));
    let mut global = Global::default();
    let verb = match global::peel(&mut global, argv) {
        Ok(global::Peeled::Verb(verb, _)) => verb,
        Ok(_) => panic!("no verb in {argv:?}"),
        Err(reason) => {
            assert!(reason.starts_with("invalid value"), "{argv:?}: {reason}");
            return;
        }
    };
    match by_clap {
        Ok(matches) => {
            assert_eq!(
                matches.subcommand_name().map(OsStr::new),
                Some(verb),
                "{argv:?}"
            );
            let root = matches
                .get_one::<OsString>("root")
                .map(std::path::PathBuf::from);
            assert_eq!(global.root, root, "{argv:?}");
            assert_eq!(
                global.log.as_ref(),
                matches.get_one::<OsString>("log"),
                "{argv:?}"
            );
        }
        // A word such as "json" after a switch is a verb to both.
        Err(error) => assert!(definition(verb).is_err(), "{argv:?}: {error}"),
    }
}
