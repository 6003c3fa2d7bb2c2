//! Reading files and explaining texts that are not configurations.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::*;

/// A bundle directory that is removed at the end of the test.
struct Bundle(PathBuf);

impl Bundle {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("corten-load-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Bundle(path)
    }

    fn read(&self) -> Result<Vec<u8>, ReadErrorKind> {
        let fd: OwnedFd = fs::File::open(&self.0).unwrap().into();
        read(fd.as_fd(), "config.json").map_err(|error| {
            assert_eq!(error.name, "config.json");
            assert!(!error.to_string().contains('\n'), "{error}");
            error.kind
        })
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_read_whole_whatever_its_size() {
    let bundle = Bundle::new("whole");
    for size in [0, 1, 4095, 4096, 100_000] {
        let text = vec![b'x'; size];
        fs::write(bundle.0.join("config.json"), &text).unwrap();
        assert_eq!(bundle.read(), Ok(text));
    }
}

#[test]
fn a_file_that_is_none_is_refused_without_waiting() {
    let bundle = Bundle::new("none");
    let file = bundle.0.join("config.json");
    assert_eq!(bundle.read(), Err(ReadErrorKind::Missing));

    fs::create_dir(&file).unwrap();
    assert_eq!(bundle.read(), Err(ReadErrorKind::Directory));
    fs::remove_dir(&file).unwrap();

    rustix::fs::mkfifoat(rustix::fs::CWD, &file, Mode::RUSR).unwrap();
    assert_eq!(bundle.read(), Err(ReadErrorKind::NotAFile));
    fs::remove_file(&file).unwrap();

    std::os::unix::fs::symlink("config.json", &file).unwrap();
    assert_eq!(bundle.read(), Err(ReadErrorKind::Unreadable(Errno::LOOP)));
    fs::remove_file(&file).unwrap();

    fs::File::create(&file)
        .unwrap()
        .set_len(MAX_SIZE + 1)
        .unwrap();
    assert_eq!(bundle.read(), Err(ReadErrorKind::TooLarge(MAX_SIZE + 1)));
}

fn message(text: impl AsRef<[u8]>) -> String {
    parse(text.as_ref()).unwrap_err().to_string()
}

#[test]
fn what_is_not_json_is_explained_with_line_and_column() {
    for (text, expected) in [
        ("", "config.json: the file is empty, expected a JSON object"),
        (
            " \n",
            "config.json: the file is empty, expected a JSON object",
        ),
        (
            "{\n \"root\": {\"path\": \"/a",
            "config.json: line 2 column 21: the file ends too early: EOF while parsing a string; \
             it may have been written only in part",
        ),
        (
            "{}\n{}",
            "config.json: line 2 column 1: not valid JSON: trailing characters",
        ),
        (
            "{\"a\": 1,}",
            "config.json: line 1 column 9: not valid JSON: trailing comma",
        ),
        (
            "\u{feff}{}",
            "config.json: the file starts with a byte order mark; save it as UTF-8 without one",
        ),
    ] {
        assert_eq!(message(text), expected);
    }
    assert_eq!(
        message(b"{\n\"hostname\": \"a\xffb\"}"),
        "config.json: line 2 column 15: byte 0xff is not UTF-8 text"
    );
}

#[test]
fn a_wrong_type_is_explained_with_its_pointer() {
    for (text, expected) in [
        (
            r#"{"linux": {"namespaces": [{}, {"type": 7}]}}"#,
            "config.json: /linux/namespaces/1/type: expected a string, found integer 7 \
             (line 1 column 40)",
        ),
        (
            r#"{"process": {"user": {"additionalGids": [0, -1]}}}"#,
            "config.json: /process/user/additionalGids/1: expected a whole number from 0 to \
             4294967295, found integer -1 (line 1 column 46)",
        ),
        (
            r#"{"process": {"terminal": "yes"}}"#,
            "config.json: /process/terminal: expected true or false, found string \"yes\" \
             (line 1 column 30)",
        ),
        (
            r#"{"mounts": {}}"#,
            "config.json: /mounts: expected an array, found an object (line 1 column 11)",
        ),
        (
            r#"{"process": []}"#,
            "config.json: /process: expected an object, found an array (line 1 column 12)",
        ),
        (
            r#"{"linux": {"sysctl": {"net/ipv4/x": 1}}}"#,
            "config.json: /linux/sysctl/net~1ipv4~1x: expected a string, found integer 1 \
             (line 1 column 37)",
        ),
        (
            r#"{"linux": {"resources": {"pids": {"limit": 1.5}}}}"#,
            "config.json: /linux/resources/pids/limit: expected a whole number of 64 bits, found \
             floating point 1.5 (line 1 column 46)",
        ),
        (
            r#"{"process": {"execCPUAffinity": {"final": 1}}}"#,
            "config.json: /process/execCPUAffinity/final: expected a string, found integer 1 \
             (line 1 column 43)",
        ),
        (
            "{\"hostname\": \"a\\u0000b\"}",
            "config.json: /hostname: a string that holds a NUL character (line 1 column 23)",
        ),
        (
            "[]",
            "config.json: expected an object, found an array (line 1 column 0)",
        ),
        (
            "7",
            "config.json: expected an object, found integer 7 (line 1 column 1)",
        ),
        (
            r#"{"root": {}, "root": {}}"#,
            "config.json: /root: the member `root` is given twice (line 1 column 19)",
        ),
    ] {
        assert_eq!(message(text), expected);
    }
}

#[test]
fn long_values_are_cut_in_messages() {
    let text = format!("{{\"process\": {{\"terminal\": \"{}\"}}}}", "é".repeat(500));
    let message = message(text);
    assert!(message.chars().count() < 200, "{message}");
}

#[test]
fn null_absent_and_the_empty_string_are_the_same() {
    let written = br#"{"ociVersion": "1.3.0", "hostname": "", "mounts": null, "linux": {
        "namespaces": [{"type": "pid", "path": ""}], "cgroupsPath": null, "sysctl": null,
        "resources": null, "seccomp": null}, "process": null, "hooks": null}"#;
    let left_out = br#"{"ociVersion": "1.3.0", "linux": {"namespaces": [{"type": "pid"}]}}"#;
    assert_eq!(parse(written).unwrap(), parse(left_out).unwrap());
}

#[test]
fn strings_without_escapes_are_borrowed_and_unknown_members_ignored() {
    let text = br#"{"hostname": "a\tb", "windows": {"x": [1]}, "com.example": null}"#;
    assert_eq!(parse(text).unwrap().hostname.unwrap(), "a\tb");
}

/// Every property of the schema (runtime-spec 1.3.0) that Linux has, one a
/// line, with `[]` for the elements of an array and `*` for any member.
const PROPERTIES: &str = include_str!("../properties.txt");

/// A configuration that holds nothing but `leaf` at `property`, and the
/// pointer to it.
fn nested(property: &str, leaf: &str) -> (String, String) {
    let (mut before, mut after, mut pointer) = (String::new(), String::new(), String::new());
    for step in property.replace("[]", ".[]").split('.') {
        let key = if step == "*" { "any" } else { step };
        if key == "[]" {
            before.push('[');
            after.insert(0, ']');
            pointer.push_str("/0");
        } else {
            before.push_str(&format!("{{\"{key}\":"));
            after.insert(0, '}');
            pointer.push_str(&format!("/{key}"));
        }
    }
    (format!("{before}{leaf}{after}"), pointer)
}

#[test]
fn every_property_of_the_schema_is_read() {
    // For Windows alone.
    let ignored = ["process.commandLine"];
    for property in PROPERTIES.lines().filter(|line| !ignored.contains(line)) {
        // No type takes both, and only what is read can be of a wrong type.
        let errors: Vec<_> = ["7", "{\"x\":[]}"]
            .iter()
            .filter_map(|leaf| {
                let (text, pointer) = nested(property, leaf);
                parse(text.as_bytes()).err().map(|error| (error, pointer))
            })
            .collect();
        assert!(!errors.is_empty(), "{property} is not read");
        for (error, pointer) in errors {
            assert!(error.pointer.starts_with(&pointer), "{property}: {error}");
        }
    }
}
