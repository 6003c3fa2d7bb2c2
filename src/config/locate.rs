//! Which value of a JSON text an offset lies in, as a JSON pointer. The text is known to be
//! JSON up to there; nothing else is asked of it.

use super::place::write_member;

/// The JSON pointer of the value that holds the byte before `offset`: of the value that a
/// parser had just read, or had just begun to read, when it stopped at `offset`. Within the
/// name of a member that is the member.
pub(super) fn pointer_at(text: &[u8], offset: usize) -> String {
    let mut scan = Scan {
        text,
        at: 0,
        offset,
    };
    let mut path = Vec::new();
    scan.value(&mut path);
    let mut pointer = String::new();
    for step in path {
        // Writing to a String cannot fail.
        let _ = match step {
            Step::Element(index) => {
                std::fmt::Write::write_fmt(&mut pointer, format_args!("/{index}"))
            }
            Step::Member(name) => write_member(&mut pointer, &name),
        };
    }
    pointer
}

/// One level on the way down.
enum Step {
    Element(usize),
    Member(String),
}

/// What a walk over a value came to.
#[derive(PartialEq)]
enum Walk {
    /// The offset: the path says where.
    Found,
    /// The end of the value.
    Past,
}

struct Scan<'t> {
    text: &'t [u8],
    at: usize,
    offset: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Skips what stands between tokens, and gives the next byte.
    fn next_token(&mut self) -> Option<u8> {
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_whitespace() || byte == b':' || byte == b',')
        {
            self.at += 1;
        }
        self.peek()
    }

    /// Whether the walk has come to the offset or beyond, or to the end of the text.
    fn is_there(&self) -> bool {
        self.at >= self.offset || self.at >= self.text.len()
    }

    fn value(&mut self, path: &mut Vec<Step>) -> Walk {
        let first = self.next_token();
        if self.is_there() {
            // It had been looked at, and not been read.
            return Walk::Found;
        }
        match first {
            Some(b'{') => self.members(path),
            Some(b'[') => self.elements(path),
            Some(b'"') => self.string(),
            Some(_) => self.word(),
            None => Walk::Found,
        }
    }

    fn members(&mut self, path: &mut Vec<Step>) -> Walk {
        self.at += 1;
        loop {
            if self.is_there() {
                return Walk::Found;
            }
            match self.next_token() {
                Some(b'}') => return self.close(),
                Some(b'"') => {}
                _ => return Walk::Found,
            }
            let start = self.at;
            let within = self.string() == Walk::Found;
            let name = self.text.get(start..self.at).unwrap_or_default();
            let name: String = serde_json::from_slice(name).unwrap_or_default();
            path.push(Step::Member(name));
            if within || self.value(path) == Walk::Found {
                return Walk::Found;
            }
            path.pop();
        }
    }

    fn elements(&mut self, path: &mut Vec<Step>) -> Walk {
        self.at += 1;
        for index in 0.. {
            match self.next_token() {
                Some(b']') => return self.close(),
                None => return Walk::Found,
                Some(_) => {}
            }
            path.push(Step::Element(index));
            if self.value(path) == Walk::Found {
                return Walk::Found;
            }
            path.pop();
        }
        Walk::Past
    }

    fn close(&mut self) -> Walk {
        self.at += 1;
        self.passed()
    }

    fn string(&mut self) -> Walk {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += match byte {
                b'"' => {
                    self.at += 1;
                    break;
                }
                b'\\' => 2,
                _ => 1,
            };
        }
        self.passed()
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Walk {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| !byte.is_ascii_whitespace() && !b",:]}[{\"".contains(&byte))
        {
            self.at += 1;
        }
        if self.at == start {
            return Walk::Found;
        }
        self.passed()
    }

    fn passed(&self) -> Walk {
        match self.is_there() {
            true => Walk::Found,
            false => Walk::Past,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::load::parse;
    use super::super::spec::Spec;

    /// All JSON pointers into a value.
    fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    pointers(member, &format!("{at}/{name}"), found);
                }
            }
            Value::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    pointers(element, &format!("{at}/{index}"), found);
                }
            }
            _ => {}
        }
    }

    /// What another reader, which keeps track of where it stands, says.
    fn told_by_serde_path_to_error(text: &str) -> Option<String> {
        let mut parser = serde_json::Deserializer::from_str(text);
        let error = serde_path_to_error::deserialize::<_, Spec<'_>>(&mut parser).err()?;
        let steps = error.path().iter().map(|step| match step {
            serde_path_to_error::Segment::Seq { index } => format!("/{index}"),
            serde_path_to_error::Segment::Map { key } => {
                format!("/{}", key.replace('~', "~0").replace('/', "~1"))
            }
            _ => String::new(),
        });
        Some(steps.collect())
    }

    #[test]
    fn each_wrong_value_is_found_where_another_reader_finds_it() {
        let wrong = [
            "true",
            "1",
            "-1",
            "1.5",
            "1e400",
            "\"x\"",
            "\"a\\\"}]\\u0000\"",
            "[]",
            "[[{}]]",
            "{}",
            "{\"a\": [1, {\"b\": 2}]}",
        ];
        let (mut tried, mut refused) = (0, 0);
        for name in ["docker", "kubernetes", "spec-example"] {
            let path = format!(
                "{}/src/config/fixtures/good/{name}.json",
                env!("CARGO_MANIFEST_DIR")
            );
            let good: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let mut places = Vec::new();
            pointers(&good, "", &mut places);
            for (place, wrong) in places
                .iter()
                .flat_map(|p| wrong.iter().map(move |w| (p, w)))
            {
                let mut bad = good.clone();
                *bad.pointer_mut(place).unwrap() = Value::from("put it here");
                for text in [bad.to_string(), serde_json::to_string_pretty(&bad).unwrap()] {
                    let text = text.replacen("\"put it here\"", wrong, 1);
                    tried += 1;
                    let Some(expected) = told_by_serde_path_to_error(&text) else {
                        continue;
                    };
                    let error = parse(text.as_bytes()).unwrap_err();
                    // Numbers that no parser takes are no JSON, and have no pointer.
                    if !error.to_string().contains("not valid JSON") {
                        assert_eq!(error.pointer, expected, "{place} is {wrong}: {error}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > tried / 3, "{refused} of {tried} were refused");
    }
}
