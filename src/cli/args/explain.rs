//! clap's errors in one line.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// `create: unknown flag --foo (see 'corten create --help')`.
pub fn one_line(verb: &str, error: &clap::Error) -> String {
    format!(
        "{verb}: {}{} (see 'corten {verb} --help')",
        reason(error),
        suggestion(error)
    )
}

/// The known word that an unknown one is most like: `, did you mean --bundle?`.
pub fn suggestion(error: &clap::Error) -> String {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
    match kinds.into_iter().find_map(|kind| error.get(kind)) {
        Some(ContextValue::String(word)) => format!(", did you mean {word}?"),
        // The list is in order of likeness, the last one the most alike.
        Some(ContextValue::Strings(words)) => words
            .last()
            .map(|word| format!(", did you mean {word}?"))
            .unwrap_or_default(),
        _ => String::new(),
    }
}

fn reason(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(text).unwrap_or_default();
    let shown = context(ContextKind::InvalidArg);
    // `--bundle <DIR>` and `--keep[=<keep>]`, without their value.
    let arg = match shown.find([' ', '[']) {
        Some(end) if shown.starts_with('-') => &shown[..end],
        _ => shown.as_str(),
    };
    let value = context(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument if arg.starts_with('-') => format!("unknown flag {arg}"),
        ErrorKind::UnknownArgument => format!("one argument too many: {arg:?}"),
        ErrorKind::MissingRequiredArgument => format!("missing argument {arg}"),
        ErrorKind::InvalidValue if value.is_empty() => format!("missing value of {arg}"),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            match cause {
                // The signal's own message names the value already.
                Some(cause) if cause.contains(&format!("{value:?}")) => cause,
                Some(cause) => format!("invalid value {value:?} for {arg}: {cause}"),
                None => format!("invalid value {value:?} for {arg}"),
            }
        }
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        _ => first_line(&error.to_string()),
    }
}

fn text(value: &ContextValue) -> String {
    match value {
        ContextValue::Strings(all) => all.join(" "),
        other => other.to_string(),
    }
}

/// What clap says itself, for the kinds that the definitions can hardly reach.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
