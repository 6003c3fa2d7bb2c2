//! The short way for the verbs that engines call. It understands the plain
//! forms of their flags and returns `None` for everything else, wrong or only
//! unusual, which clap then judges. What it does return is what clap would
//! (`agreement` tests that).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::slice::Iter;

use super::exec::parse_user;
use super::{Create, Delete, Exec, Kill, Run, Start, State, Verb};

/// Parses what follows `verb`, if it is one of the seven and nothing is unusual.
pub fn parse(verb: &OsStr, args: &[OsString]) -> Option<Verb> {
    let words = Words {
        rest: args.iter(),
        inline: None,
    };
    match verb.as_bytes() {
        b"create" => create(words).map(Verb::Create),
        b"start" => ids(words, |_| None).map(|ids| Verb::Start(Start { ids })),
        b"state" => state(words).map(Verb::State),
        b"kill" => kill(words).map(Verb::Kill),
        b"delete" => delete(words).map(Verb::Delete),
        b"run" => run(words).map(Verb::Run),
        b"exec" => exec(words).map(Verb::Exec),
        _ => None,
    }
}

fn create(mut words: Words<'_>) -> Option<Create> {
    let mut create = Create::default();
    let mut id = None;
    while let Some(word) = words.next()? {
        match word {
            Word::Flag(name) => create_flag(&mut create, name, &mut words)?,
            Word::Positional(text) => set_once(&mut id, text)?,
        }
    }
    Some(Create { id: id?, ..create })
}

fn run(mut words: Words<'_>) -> Option<Run> {
    let mut run = Run::default();
    let mut id = None;
    while let Some(word) = words.next()? {
        match word {
            Word::Flag(b"detach" | b"d") => run.detach = words.on()?,
            Word::Flag(b"keep") => run.keep = words.on()?,
            Word::Flag(b"no-subreaper") => run.no_subreaper = words.on()?,
            Word::Flag(name) => create_flag(&mut run.create, name, &mut words)?,
            Word::Positional(text) => set_once(&mut id, text)?,
        }
    }
    run.create.id = id?;
    Some(run)
}

/// The flags that `create` and `run` share.
fn create_flag(create: &mut Create, name: &[u8], words: &mut Words<'_>) -> Option<()> {
    match name {
        b"bundle" | b"b" => create.set_bundle(words.path()?),
        b"console-socket" => create.console_socket = Some(words.path()?),
        b"pidfd-socket" => create.pidfd_socket = Some(words.path()?),
        b"pid-file" => create.pid_file = Some(words.path()?),
        b"no-pivot" => create.no_pivot = words.on()?,
        b"no-new-keyring" => create.no_new_keyring = words.on()?,
        b"preserve-fds" => create.preserve_fds = words.value()?.to_str()?.parse().ok()?,
        _ => return None,
    }
    Some(())
}

fn exec(mut words: Words<'_>) -> Option<Exec> {
    let mut exec = Exec::default();
    while let Some(word) = words.next()? {
        let name = match word {
            Word::Flag(name) => name,
            Word::Positional(id) => {
                exec.id = id.to_owned();
                exec.args = words.command()?;
                return Some(exec);
            }
        };
        match name {
            b"process" | b"p" => exec.process = Some(words.path()?),
            b"cwd" => exec.cwd = Some(words.text()?),
            b"env" | b"e" => exec.env.push(words.text()?),
            b"tty" | b"t" => exec.tty = Some(words.on()?),
            b"user" | b"u" => exec.user = Some(parse_user(&words.text()?).ok()?),
            b"detach" | b"d" => exec.detach = words.on()?,
            b"console-socket" => exec.console_socket = Some(words.path()?),
            b"pidfd-socket" => exec.pidfd_socket = Some(words.path()?),
            b"pid-file" => exec.pid_file = Some(words.path()?),
            b"preserve-fds" => exec.preserve_fds = words.value()?.to_str()?.parse().ok()?,
            b"no-new-privs" => exec.no_new_privs = Some(words.on()?),
            b"ignore-paused" => exec.ignore_paused = words.on()?,
            b"cap" | b"c" => exec.caps.push(words.text()?),
            _ => return None,
        }
    }
    None
}

fn state(words: Words<'_>) -> Option<State> {
    let [id] = <[String; 1]>::try_from(ids(words, |_| None)?).ok()?;
    Some(State { id })
}

fn kill(words: Words<'_>) -> Option<Kill> {
    let mut all = false;
    let on = |name: &[u8]| matches!(name, b"all" | b"a").then(|| all = true);
    let mut ids = ids(words, on)?.into_iter();
    let kill = Kill {
        id: ids.next()?,
        signal: match ids.next() {
            Some(signal) => signal.parse().ok()?,
            None => Default::default(),
        },
        all,
        regex: false,
    };
    ids.next().is_none().then_some(kill)
}

fn delete(words: Words<'_>) -> Option<Delete> {
    let mut force = false;
    let on = |name: &[u8]| matches!(name, b"force" | b"f").then(|| force = true);
    Some(Delete {
        ids: ids(words, on)?,
        force,
        regex: false,
    })
}

/// Positionals, at least one, among switches that `on` turns on.
fn ids(mut words: Words<'_>, mut on: impl FnMut(&[u8]) -> Option<()>) -> Option<Vec<String>> {
    let mut ids = Vec::new();
    while let Some(word) = words.next()? {
        match word {
            Word::Flag(name) => {
                words.on()?;
                on(name)?;
            }
            Word::Positional(text) => ids.push(text.to_owned()),
        }
    }
    (!ids.is_empty()).then_some(ids)
}

fn set_once(slot: &mut Option<String>, text: &str) -> Option<()> {
    slot.replace(text.to_owned()).is_none().then_some(())
}

enum Word<'a> {
    /// `--name`, `--name=value` or `-n`, without dashes and value.
    Flag(&'a [u8]),
    Positional(&'a str),
}

struct Words<'a> {
    rest: Iter<'a, OsString>,
    /// The value after `=` of the flag that was returned last.
    inline: Option<&'a OsStr>,
}

impl<'a> Words<'a> {
    /// The next word; the outer `None` is "leave it to clap".
    fn next(&mut self) -> Option<Option<Word<'a>>> {
        let Some(arg) = self.rest.next() else {
            return Some(None);
        };
        let bytes = arg.as_bytes();
        let word = match bytes {
            [b'-', b'-', name @ ..] if !name.is_empty() => {
                let equals = name.iter().position(|byte| *byte == b'=');
                self.inline = equals.map(|at| OsStr::from_bytes(&name[at + 1..]));
                let name = &name[..equals.unwrap_or(name.len())];
                // One letter after two dashes is a short flag to Go alone.
                if name.len() < 2 {
                    return None;
                }
                Word::Flag(name)
            }
            [b'-', letter] => {
                self.inline = None;
                Word::Flag(std::slice::from_ref(letter))
            }
            [b'-', ..] => return None,
            _ => Word::Positional(arg.to_str()?),
        };
        Some(Some(word))
    }

    /// The value of the flag that was returned last.
    fn value(&mut self) -> Option<&'a OsStr> {
        if let Some(value) = self.inline.take() {
            return Some(value);
        }
        let next = self.rest.next()?;
        (!next.as_bytes().starts_with(b"-")).then_some(next)
    }

    fn path(&mut self) -> Option<PathBuf> {
        self.value().map(PathBuf::from)
    }

    fn text(&mut self) -> Option<String> {
        self.value()?.to_str().map(str::to_owned)
    }

    /// What is left, to the last word, as it is: a command line of its own. Where that
    /// begins with a dash, it is clap's to say whose flag it is.
    fn command(&mut self) -> Option<Vec<String>> {
        if self
            .rest
            .as_slice()
            .first()
            .is_some_and(|first| first.as_bytes().starts_with(b"-"))
        {
            return None;
        }
        let text = |arg: &OsString| arg.to_str().map(str::to_owned);
        self.rest.by_ref().map(text).collect()
    }

    /// A switch without a value is on; one with a value is left to clap.
    fn on(&mut self) -> Option<bool> {
        self.inline.is_none().then_some(true)
    }
}
