//! Breaks a configuration at a random place, in the ways in which people, programs and
//! attackers do. Used by the test `broken::*` and, included from there, by the fuzz targets.
//!
//! The same seed gives the same result on every machine.

use serde_json::{Map, Number, Value, json};

/// xorshift64* (Marsaglia, Vigna).
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Seeds that lie together start alike.
        for _ in 0..4 {
            random.next();
        }
        random
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 for the bound 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }

    /// True once in `count` times.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// One of several.
    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
}

/// What may be put in: names of members, and words that mean something as a value.
pub struct Words {
    /// Names of members.
    pub names: Vec<String>,
    /// Values.
    pub values: Vec<String>,
}

/// A string that begins so is written as bare text: JSON that no `Value` can hold.
const RAW: &str = "@@raw:";

/// Text that stands for itself in the file, right or wrong.
const RAW_TEXTS: [&str; 14] = [
    "1e999",
    "-1e999",
    "18446744073709551616",
    "-9223372036854775809",
    "0.1",
    "-0",
    "1E2",
    "01",
    "NaN",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "tru",
    "",
    "/* */ 1",
];

const NUMBERS: [i64; 22] = [
    0,
    1,
    2,
    -1,
    -2,
    7,
    127,
    255,
    256,
    1023,
    1024,
    65_535,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    -0x8000_0000,
    -0x8000_0001,
    1 << 53,
    i64::MAX,
    i64::MIN,
];

const STRINGS: [&str; 40] = [
    "",
    " ",
    "x",
    "0",
    "-1",
    "a b",
    "/",
    "//",
    "/.",
    "/..",
    ".",
    "..",
    "../..",
    "/../../etc",
    "/proc",
    "/proc/self",
    "/dev",
    "/sys",
    "\u{0}",
    "a\u{0}b",
    "\n",
    "two\nlines",
    "\u{1b}[31mred\u{1b}[0m",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}gnp.exe",
    "\u{feff}",
    "ünïcödé",
    "日本語",
    "👩‍👩‍👧",
    "a~b/c",
    "%s%n%d",
    "$(reboot)",
    "\\",
    "\"",
    "=",
    "A=b=c",
    ":",
    "9999999999999999999999",
];

/// Lengths that lie at limits: names, paths, pages, arguments, pipes.
const LENGTHS: [usize; 10] = [64, 65, 255, 256, 1024, 4095, 4096, 5000, 65_536, 140_000];

/// Breaks `config` at one place; `longest` bounds what is put in. What was done, for people.
pub fn break_one(config: &mut Value, random: &mut Random, words: &Words, longest: usize) -> String {
    let pointer = place(config, random);
    let donor = {
        let from = place(config, random);
        config.pointer(&from).cloned().unwrap_or(Value::Null)
    };
    let Some(target) = config.pointer_mut(&pointer) else {
        return String::new();
    };
    let what = change(target, donor, random, words, longest);
    format!("{pointer}: {what}")
}

/// A random place; the way there is drawn step by step, so that long lists do not take all.
fn place(config: &Value, random: &mut Random) -> String {
    let (mut at, mut pointer) = (config, String::new());
    loop {
        let stop = random.one_in(6) && !pointer.is_empty();
        let next = match at {
            _ if stop => None,
            Value::Array(items) if !items.is_empty() => {
                let index = random.below(items.len());
                Some((index.to_string(), &items[index]))
            }
            Value::Object(members) => {
                let chosen = random.below(members.len());
                members
                    .iter()
                    .nth(chosen)
                    .map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value))
            }
            _ => None,
        };
        match next {
            Some((token, value)) => {
                pointer = format!("{pointer}/{token}");
                at = value;
            }
            None => return pointer,
        }
    }
}

fn change(
    target: &mut Value,
    donor: Value,
    random: &mut Random,
    words: &Words,
    longest: usize,
) -> String {
    // First what only fits the value that is there, then what fits every value.
    match target {
        Value::Object(members) if random.one_in(2) => {
            return change_object(members, random, words, longest);
        }
        Value::Array(items) if random.one_in(2) => {
            return change_array(items, random, words, longest);
        }
        Value::String(text) if random.one_in(2) => {
            let old = std::mem::take(text);
            *text = changed_string(old, random, words, longest);
            return format!("text is {}", short(text));
        }
        Value::Number(number) if random.one_in(2) => {
            *number = any_number(number, random);
            return format!("number is {number}");
        }
        Value::Bool(value) if random.one_in(2) => {
            *value = !*value;
            return format!("turned to {value}");
        }
        _ => {}
    }
    *target = match random.below(8) {
        0 => donor,
        1 => json!([target.take()]),
        2 => {
            let name = random.pick(&words.names).clone();
            Value::Object(Map::from_iter([(name, target.take())]))
        }
        3 => deep(
            *random.pick(&[3, 60, 126, 127, 128, 129, 200, 2000]),
            random,
            longest,
        ),
        4 => json!(format!("{RAW}{}", random.pick(&RAW_TEXTS))),
        _ => any_value(random, words, longest),
    };
    format!("replaced by {}", short(&target.to_string()))
}

fn change_object(
    members: &mut Map<String, Value>,
    random: &mut Random,
    words: &Words,
    longest: usize,
) -> String {
    let chosen = random.below(members.len());
    let key = members.keys().nth(chosen).cloned().unwrap_or_default();
    match random.below(6) {
        0 | 1 if !members.is_empty() => {
            members.remove(&key);
            format!("without {key:?}")
        }
        2 if !members.is_empty() => {
            let value = members.remove(&key).unwrap_or_default();
            let new = match random.below(4) {
                0 => key.to_uppercase(),
                1 => random.pick(&words.names).clone(),
                2 => (*random.pick(&STRINGS)).to_string(),
                _ => format!("{key} "),
            };
            members.insert(new.clone(), value);
            format!("{key:?} renamed {}", short(&new))
        }
        3 if !members.is_empty() => {
            // The same member twice: a Value cannot, the text can.
            let value = any_value(random, words, longest);
            members.insert(format!("{RAW}{key}"), value);
            format!("{key:?} given twice")
        }
        _ => {
            let name = random.pick(&words.names).clone();
            let value = any_value(random, words, longest);
            let text = format!("with {name:?}: {}", short(&value.to_string()));
            members.insert(name, value);
            text
        }
    }
}

fn change_array(
    items: &mut Vec<Value>,
    random: &mut Random,
    words: &Words,
    longest: usize,
) -> String {
    let chosen = random.below(items.len());
    let item = items.get(chosen).cloned();
    match (random.below(6), item) {
        (0, Some(_)) => {
            items.remove(chosen);
            format!("without item {chosen}")
        }
        (1, Some(item)) => {
            items.push(item);
            format!("item {chosen} given twice")
        }
        (2, Some(item)) => {
            let size = item.to_string().len() + 1;
            let count = (*random.pick(&[10, 100, 1000, 5000])).min(longest / size);
            items.extend(std::iter::repeat_n(item, count));
            format!("item {chosen} given {count} times more")
        }
        (3, _) => {
            items.clear();
            "emptied".to_string()
        }
        (4, Some(_)) => {
            let other = random.below(items.len());
            items.swap(chosen, other);
            format!("items {chosen} and {other} exchanged")
        }
        _ => {
            let value = any_value(random, words, longest);
            let text = format!("with item {}", short(&value.to_string()));
            items.insert(random.below(items.len() + 1), value);
            text
        }
    }
}

fn changed_string(old: String, random: &mut Random, words: &Words, longest: usize) -> String {
    let characters = old.chars().count();
    let cut: String = old.chars().take(random.below(characters + 1)).collect();
    match random.below(9) {
        0 => cut,
        1 => format!("{cut}{}", random.pick(&STRINGS)),
        2 => format!("{old}{}", random.pick(&STRINGS)),
        3 => old.to_uppercase(),
        4 => old.chars().rev().collect(),
        5 => random.pick(&words.values).clone(),
        _ => any_string(random, words, longest),
    }
}

fn any_number(old: &Number, random: &mut Random) -> Number {
    let old = old.as_i64().unwrap_or(0);
    match random.below(8) {
        0 => Number::from(old.wrapping_add(1)),
        1 => Number::from(old.wrapping_sub(1)),
        2 => Number::from(old.wrapping_neg()),
        3 => Number::from(u64::MAX - random.below(3) as u64),
        4 => Number::from_f64(0.5).unwrap_or(Number::from(0)),
        5 => Number::from(random.next() >> random.below(64)),
        _ => Number::from(*random.pick(&NUMBERS)),
    }
}

fn any_string(random: &mut Random, words: &Words, longest: usize) -> String {
    match random.below(5) {
        0 => {
            let length = (*random.pick(&LENGTHS)).min(longest);
            let unit = *random.pick(&["a", "/", "é", "/a", "../", "\u{1}"]);
            let mut text = unit.repeat(length / unit.len());
            if random.one_in(2) {
                text.insert(0, '/');
            }
            text
        }
        1 | 2 => random.pick(&words.values).clone(),
        _ => (*random.pick(&STRINGS)).to_string(),
    }
}

fn any_value(random: &mut Random, words: &Words, longest: usize) -> Value {
    match random.below(10) {
        0 => Value::Null,
        1 => Value::Bool(random.one_in(2)),
        2 | 3 => Value::Number(any_number(&Number::from(0), random)),
        4 => json!([]),
        5 => json!({}),
        6 => json!([any_string(random, words, longest)]),
        7 => json!({random.pick(&words.names).as_str(): any_string(random, words, longest)}),
        _ => json!(any_string(random, words, longest)),
    }
}

/// Arrays or objects in one another. As text: a Value of that depth could not be read back.
fn deep(depth: usize, random: &mut Random, longest: usize) -> Value {
    let (open, close) = *random.pick(&[("[", "]"), ("{\"a\":", "}"), ("[{\"\":", "}]")]);
    let depth = depth.min(longest / (open.len() + close.len()));
    json!(format!(
        "{RAW}{}1{}",
        open.repeat(depth),
        close.repeat(depth)
    ))
}

fn short(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        format!("{shown:?}… ({} bytes)", text.len())
    } else {
        format!("{shown:?}")
    }
}

/// The text of a broken configuration.
pub fn write(config: &Value) -> String {
    let mut text = String::new();
    write_value(config, &mut text);
    text
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::String(raw) if raw.starts_with(RAW) => text.push_str(&raw[RAW.len()..]),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_value(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                let key = key.strip_prefix(RAW).unwrap_or(key);
                text.push_str(&json!(key).to_string());
                text.push(':');
                write_value(value, text);
            }
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
}
