//! `corten completion`: scripts for shells, from the same definitions as the parser
//! (docs/decisions/0010-completion.md).

use clap::{Arg, Command};

use super::{Definition, Verb, command};

/// Arguments of `corten completion`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completion {
    /// `bash`, `zsh` or `fish`.
    pub shell: String,
}

pub(super) const DEFINITION: Definition = Definition {
    name: "completion",
    define: |command| {
        command
            .about("Print a script by which a shell completes commands and flags")
            .arg(
                Arg::new("shell")
                    .value_name("SHELL")
                    .help("bash, zsh or fish")
                    .required(true)
                    .value_parser(parse_shell),
            )
            .after_help(
                "Example:\n  corten completion bash > /usr/share/bash-completion/completions/corten",
            )
    },
    read: |mut matches| {
        Verb::Completion(Completion {
            shell: matches.remove_one("shell").unwrap_or_default(),
        })
    },
};

fn parse_shell(word: &str) -> Result<String, &'static str> {
    match word {
        "bash" | "zsh" | "fish" => Ok(word.to_owned()),
        _ => Err("use bash, zsh or fish"),
    }
}

/// The script for a shell.
pub fn script(shell: &str) -> String {
    let root = command();
    match shell {
        "zsh" => zsh(&root),
        "fish" => fish(&root),
        _ => bash(&root),
    }
}

/// A flag as shells see it.
struct Flag<'c> {
    /// Its spellings with their dashes, the long one first.
    names: Vec<String>,
    help: String,
    /// What its value is called, if it takes one.
    value: Option<&'c str>,
}

/// The flags of a command that are shown, and --help.
fn flags(command: &Command) -> Vec<Flag<'_>> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let mut flags: Vec<Flag<'_>> = shown
        .filter_map(|arg| {
            let mut names = vec![format!("--{}", arg.get_long()?)];
            names.extend(arg.get_short().map(|short| format!("-{short}")));
            let takes = arg.get_action().takes_values();
            let value = arg.get_value_names().and_then(|names| names.first());
            Some(Flag {
                names,
                help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
                value: value.filter(|_| takes).map(|name| name.as_str()),
            })
        })
        .collect();
    flags.push(Flag {
        names: vec!["--help".to_owned(), "-h".to_owned()],
        help: "Print help".to_owned(),
        value: None,
    });
    flags
}

/// The names of a verb.
fn names(verb: &Command) -> Vec<&str> {
    let mut names = vec![verb.get_name()];
    names.extend(verb.get_visible_aliases());
    names
}

/// Whether a verb takes the id of a container that there is.
fn takes_an_id(verb: &Command) -> bool {
    let makes_one = ["create", "run", "restore"].contains(&verb.get_name());
    !makes_one && verb.get_positionals().any(|arg| arg.get_id() == "id")
}

fn about(verb: &Command) -> String {
    verb.get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// All spellings of those flags that take a value, or of all.
fn spellings(flags: &[Flag<'_>], valued: bool, between: &str) -> String {
    let those = flags.iter().filter(|flag| !valued || flag.value.is_some());
    let names: Vec<&str> = those
        .flat_map(|flag| flag.names.iter().map(String::as_str))
        .collect();
    names.join(between)
}

const BASH: &str = r#"# bash completion of corten
_corten() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb= words= ids= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            VALUED)
                [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
                ((i++))
                ;;
            -*) ;;
            *)
                verb=${COMP_WORDS[i]}
                break
                ;;
        esac
    done
    case $verb in
CASES    esac
    [[ $ids && $cur != -* ]] && words=$(corten list --quiet 2>/dev/null)
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _corten corten
"#;

fn bash(root: &Command) -> String {
    let globals = flags(root);
    let mut verbs = Vec::new();
    let mut cases = String::new();
    for verb in root.get_subcommands() {
        verbs.extend(names(verb));
        let ids = if takes_an_id(verb) { " ids=yes" } else { "" };
        cases += &format!(
            "        {}) words='{}'{ids} ;;\n",
            names(verb).join(" | "),
            spellings(&flags(verb), false, " "),
        );
    }
    let first = format!(
        "        '') words='{} {}' ;;\n",
        verbs.join(" "),
        spellings(&globals, false, " ")
    );
    BASH.replace("VALUED", &spellings(&globals, true, " | "))
        .replace("CASES", &(first + &cases))
}

const ZSH: &str = r#"#compdef corten
_corten_ids() {
    compadd -- $(corten list --quiet 2>/dev/null)
}
_corten() {
    local -a verbs
    local state line
    verbs=(
VERBS    )
    _arguments -S -A '-*' GLOBALS '1:command:->verb' '*::argument:->argument'
    case $state in
        verb) _describe command verbs ;;
        argument)
            case $words[1] in
CASES            esac
            ;;
    esac
}
if [ "$funcstack[1]" = _corten ]; then _corten "$@"; else compdef _corten corten; fi
"#;

/// A text between single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Specifications of _arguments.
fn zsh_flags(flags: &[Flag<'_>]) -> String {
    let mut specs = Vec::new();
    for flag in flags {
        let help = flag
            .help
            .replace('[', "\\[")
            .replace(']', "\\]")
            .replace(':', "\\:");
        let value = flag.value.map(|name| {
            let name = name.replace(':', "\\:");
            format!(":{name}:_files")
        });
        let value = value.unwrap_or_default();
        let names = flag.names.iter();
        specs.extend(names.map(|name| quoted(&format!("{name}[{help}]{value}"))));
    }
    specs.join(" ")
}

fn zsh(root: &Command) -> String {
    let mut verbs = String::new();
    let mut cases = String::new();
    for verb in root.get_subcommands() {
        for name in names(verb) {
            let text = format!("{name}:{}", about(verb).replace(':', "\\:"));
            verbs += &format!("        {}\n", quoted(&text));
        }
        let rest = match takes_an_id(verb) {
            true => "'*:id:_corten_ids'",
            false => "'*:file:_files'",
        };
        cases += &format!(
            "                {}) _arguments {} {rest} ;;\n",
            names(verb).join(" | "),
            zsh_flags(&flags(verb)),
        );
    }
    ZSH.replace("VERBS", &verbs)
        .replace("GLOBALS", &zsh_flags(&flags(root)))
        .replace("CASES", &cases)
}

const FISH: &str = r#"# fish completion of corten
function __corten_verb
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        if contains -- $words[1] VALUED
            set -e words[1]
        else if not string match -q -- '-*' $words[1]
            echo $words[1]
            return 0
        end
        set -e words[1]
    end
    return 1
end
function __corten_is
    contains -- (__corten_verb) $argv
end
"#;

fn fish(root: &Command) -> String {
    let mut text = FISH.replace("VALUED", &spellings(&flags(root), true, " "));
    let mut add = |when: &str, flags: &[Flag<'_>]| {
        for flag in flags {
            let mut line = format!("complete -c corten -n {}", quoted(when));
            for name in &flag.names {
                line += &match name.strip_prefix("--") {
                    Some(long) => format!(" -l {long}"),
                    None => format!(" -s {}", &name[1..]),
                };
            }
            if flag.value.is_some() {
                line += " -r";
            }
            text += &format!("{line} -d {}\n", fish_quoted(&flag.help));
        }
    };
    add("not __corten_verb >/dev/null", &flags(root));
    for verb in root.get_subcommands() {
        add(
            &format!("__corten_is {}", names(verb).join(" ")),
            &flags(verb),
        );
    }
    for verb in root.get_subcommands() {
        for name in names(verb) {
            text += &format!(
                "complete -c corten -f -n 'not __corten_verb >/dev/null' -a {name} -d {}\n",
                fish_quoted(&about(verb))
            );
        }
        if takes_an_id(verb) {
            text += &format!(
                "complete -c corten -f -n '__corten_is {}' -a '(corten list --quiet 2>/dev/null)'\n",
                names(verb).join(" ")
            );
        }
    }
    text
}

/// fish's single quotes take a backslash before another.
fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_flag_is_in_every_script() {
        let root = command();
        for shell in ["bash", "zsh", "fish"] {
            let script = script(shell);
            let mut words: Vec<String> = Vec::new();
            for command in std::iter::once(&root).chain(root.get_subcommands()) {
                let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
                words.extend(visible.filter_map(Arg::get_long).map(str::to_owned));
                words.extend(names(command).iter().map(|name| (*name).to_owned()));
            }
            for word in words {
                assert!(script.contains(&word), "{shell}: no {word} in {script}");
            }
            for placeholder in ["VALUED", "CASES", "GLOBALS", "VERBS"] {
                assert!(!script.contains(placeholder), "{shell}: {placeholder}");
            }
        }
    }

    #[test]
    fn quotes_in_a_text_do_not_end_it() {
        assert_eq!(quoted("a'b"), r"'a'\''b'");
        assert_eq!(fish_quoted(r"a'b\"), r"'a\'b\\'");
    }
}
