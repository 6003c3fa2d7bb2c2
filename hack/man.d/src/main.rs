//! Writes corten.1 and corten-VERB.1 into the directory that is given. The text is that of
//! `--help`: clap's definitions, which the product parses its command line by.

use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// When the form of the pages was last changed.
const DATE: &str = "2026-11-21";

/// Exit codes, as in the README.
const EXIT_CODES: [(&str, &str); 6] = [
    ("0", "Done."),
    (
        "the program's own",
        "run and exec in the foreground return what the program returned.",
    ),
    ("128 + N", "The program was ended by signal N."),
    ("255", "exec itself failed."),
    (
        "1",
        "The command failed, or its arguments are wrong; one line on standard error, and in the log, says why.",
    ),
    ("3", "There is no such command."),
];

/// Variables that are looked at.
const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "XDG_RUNTIME_DIR",
        "For users other than root the state is kept below it, in corten.",
    ),
    (
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "Socket activation: descriptors that systemd passed go to the container's program.",
    ),
    (
        "PATH",
        "Where newuidmap, newgidmap, ps and criu are looked for.",
    ),
];

/// A page: its file and its text.
struct Page {
    file: String,
    text: String,
}

fn main() -> Result<(), String> {
    let dir = std::env::args_os().nth(1).ok_or("usage: man DIR")?;
    for page in pages()? {
        let path = Path::new(&dir).join(page.file);
        std::fs::write(&path, page.text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// All pages.
fn pages() -> Result<Vec<Page>, String> {
    let mut root = corten::cli::args::command();
    root.build();
    let verbs: Vec<&Command> = root
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
        .collect();
    let mut pages = vec![Page {
        file: "corten.1".to_owned(),
        text: whole(&root, &verbs)?,
    }];
    for verb in verbs {
        let name = verb.get_name();
        pages.push(Page {
            file: format!("corten-{name}.1"),
            text: of_verb(verb)?,
        });
        for alias in verb.get_visible_aliases() {
            pages.push(Page {
                file: format!("corten-{alias}.1"),
                text: format!(".so man1/corten-{name}.1\n"),
            });
        }
    }
    Ok(pages)
}

fn whole(root: &Command, verbs: &[&Command]) -> Result<String, String> {
    let mut page = Draft::new(root, "corten")?;
    page.section(|man, text| man.render_description_section(text))?;
    page.section(|man, text| man.render_options_section(text))?;
    let rows: Vec<(String, String)> = verbs
        .iter()
        .map(|verb| {
            let about = verb.get_about().map(ToString::to_string);
            let name = format!("corten-{}(1)", verb.get_name());
            (name, format!("{}.", about.unwrap_or_default()))
        })
        .collect();
    page.list(
        "COMMANDS",
        rows.iter().map(|(a, b)| (a.as_str(), b.as_str())),
    );
    page.list("EXIT STATUS", EXIT_CODES);
    page.list("ENVIRONMENT", ENVIRONMENT);
    page.list(
        "FILES",
        [
            (
                "/run/corten",
                "State of root's containers, one directory each.",
            ),
            (
                "$XDG_RUNTIME_DIR/corten",
                "State of other users' containers.",
            ),
        ],
    );
    page.example(root);
    page.see_also(&verbs.iter().map(|verb| verb.get_name()).collect::<Vec<_>>());
    Ok(page.text)
}

fn of_verb(verb: &Command) -> Result<String, String> {
    let mut page = Draft::new(verb, &format!("corten-{}", verb.get_name()))?;
    page.section(|man, text| man.render_description_section(text))?;
    page.notes(verb);
    page.section(|man, text| man.render_options_section(text))?;
    page.example(verb);
    page.see_also(&[]);
    Ok(page.text)
}

/// A page in the making.
struct Draft {
    man: Man,
    text: String,
}

impl Draft {
    /// The title, NAME and SYNOPSIS.
    fn new(command: &Command, title: &str) -> Result<Draft, String> {
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        let line = command.clone().render_usage().to_string();
        let line = line.trim_start_matches("Usage: ");
        let man = Man::new(command.clone().after_help(""))
            .title(title.to_uppercase())
            .section("1")
            // The same pages on every day, from the same definitions.
            .date(DATE)
            .source(format!("corten {}", env!("CARGO_PKG_VERSION")))
            .manual("Corten");
        let mut draft = Draft {
            man,
            text: String::new(),
        };
        draft.section(|man, text| man.render_title(text))?;
        let mut roff = Roff::new();
        roff.control("SH", ["NAME"]);
        roff.text([roman(format!("{title} - {about}"))]);
        roff.control("SH", ["SYNOPSIS"]);
        let (name, rest) = match command.get_name() {
            "corten" => ("corten", line.strip_prefix("corten").unwrap_or_default()),
            verb => (
                "corten",
                line.strip_prefix("corten ").map_or(verb, |rest| rest),
            ),
        };
        roff.text([bold(name), roman(format!(" {}", rest.trim_start()))]);
        draft.text += &roff.to_roff();
        Ok(draft)
    }

    fn section(
        &mut self,
        render: impl Fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>,
    ) -> Result<(), String> {
        let mut text = Vec::new();
        render(&self.man, &mut text).map_err(|error| error.to_string())?;
        self.text += &String::from_utf8(text).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn list<'t>(&mut self, title: &str, rows: impl IntoIterator<Item = (&'t str, &'t str)>) {
        let mut roff = Roff::new();
        roff.control("SH", [title]);
        for (name, text) in rows {
            roff.control("TP", []);
            roff.text([bold(name)]);
            roff.text([roman(text)]);
        }
        self.text += &roff.to_roff();
    }

    /// What stands before "Example:" in the help text.
    fn notes(&mut self, command: &Command) {
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        let notes = help.split("Example:\n").next().unwrap_or_default().trim();
        if !notes.is_empty() {
            let mut roff = Roff::new();
            roff.control("PP", []);
            roff.text([roman(notes)]);
            self.text += &roff.to_roff();
        }
    }

    /// What stands after "Example:" in the help text.
    fn example(&mut self, command: &Command) {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let Some((_, example)) = help.split_once("Example:\n") else {
            return;
        };
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for line in example.lines() {
            roff.text([roman(line.trim_start())]);
        }
        roff.control("fi", []);
        self.text += &roff.to_roff();
    }

    fn see_also(&mut self, verbs: &[&str]) {
        let mut names: Vec<String> = verbs
            .iter()
            .map(|verb| format!("corten-{verb}(1)"))
            .collect();
        if names.is_empty() {
            names.push("corten(1)".to_owned());
        }
        let mut roff = Roff::new();
        roff.control("SH", ["SEE ALSO"]);
        roff.text([roman(names.join(", "))]);
        self.text += &roff.to_roff();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command as Process, Stdio};

    use super::*;

    fn all() -> Vec<Page> {
        pages().expect("pages")
    }

    #[test]
    fn every_verb_and_alias_has_a_page_with_all_sections() {
        let root = corten::cli::args::command();
        let pages = all();
        let page = |name: &str| {
            pages
                .iter()
                .find(|page| page.file == format!("corten-{name}.1"))
        };
        for verb in root.get_subcommands() {
            let text = match page(verb.get_name()) {
                Some(page) => &page.text,
                None => panic!("{} has no page", verb.get_name()),
            };
            for section in ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "\"SEE ALSO\""] {
                assert!(
                    text.contains(&format!(".SH {section}\n")),
                    "{section}: {text}"
                );
            }
            let visible = verb.get_arguments().filter(|arg| !arg.is_hide_set());
            for flag in visible.filter_map(clap::Arg::get_long) {
                let shown = format!("\\-\\-{}", flag.replace('-', "\\-"));
                assert!(text.contains(&shown), "{shown}: {text}");
            }
            for alias in verb.get_visible_aliases() {
                assert!(page(alias).is_some(), "{alias}");
            }
        }
        let whole = &pages[0].text;
        for section in [
            "COMMANDS",
            "\"EXIT STATUS\"",
            "ENVIRONMENT",
            "FILES",
            "EXAMPLES",
        ] {
            assert!(
                whole.contains(&format!(".SH {section}\n")),
                "{section}: {whole}"
            );
        }
        for verb in root.get_subcommands() {
            let name = format!("corten\\-{}(1)", verb.get_name());
            assert!(whole.contains(&name), "{name}");
        }
    }

    /// What a checker says about the pages, if it is installed.
    fn checked(program: &str, args: &[&str]) -> Option<String> {
        let dir = std::env::temp_dir().join(format!("corten-man-{program}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let mut said = String::new();
        for page in all() {
            let path = dir.join(&page.file);
            std::fs::write(&path, &page.text).expect("a file");
            // A page that only names another is looked for where man pages are.
            if page.text.starts_with(".so") {
                continue;
            }
            let output = Process::new(program)
                .args(args)
                .arg(&path)
                .stdin(Stdio::null())
                .output();
            let Ok(output) = output else {
                std::fs::remove_dir_all(&dir).expect("removed");
                eprintln!("{program} is not installed: skipped");
                return None;
            };
            assert!(
                output.status.success() || program == "mandoc",
                "{program} {}",
                page.file
            );
            said += &String::from_utf8_lossy(&output.stderr);
            if program == "mandoc" {
                said += &String::from_utf8_lossy(&output.stdout);
            }
        }
        std::fs::remove_dir_all(&dir).expect("removed");
        Some(said)
    }

    #[test]
    fn groff_and_mandoc_find_no_fault() {
        if let Some(said) = checked("groff", &["-man", "-Tutf8", "-ww", "-z"]) {
            assert_eq!(said, "", "groff");
        }
        if let Some(said) = checked("mandoc", &["-Tlint", "-Wwarning"]) {
            assert_eq!(said, "", "mandoc");
        }
    }
}
