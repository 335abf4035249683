//! What has to be known of a proto file before it is compiled: its package, its imports, and that it is not a trap.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// Braces and brackets may nest this deep; the parser recurses on them.
const NESTING_MAX: usize = 96;

/// The package and imports of a proto file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) package: String,
    pub(crate) imports: Vec<Import>,
}

/// One import statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) name: String,
    /// The bytes of the name in the text, without quotes.
    pub(crate) range: Range<usize>,
}

static STATEMENT: LazyLock<Regex> = LazyLock::new(|| {
    let text = r#"(?m)^[ \t]*(?:package\s+([\w.]+)\s*;|import\s+(?:public\s+|weak\s+)?(?:"([^"\n]*)"|'([^'\n]*)')\s*;)"#;
    Regex::new(text).expect("a constant expression that the tests compile")
});

/// Reads package and imports, as statements at the beginning of a line outside comments.
pub(crate) fn scan(text: &str) -> Header {
    let mut header = Header::default();
    let blank = blank_comments(text);
    for found in STATEMENT.captures_iter(&blank) {
        if let Some(package) = found.get(1) {
            header.package = package.as_str().to_owned();
        }
        if let Some(name) = found.get(2).or_else(|| found.get(3)) {
            header.imports.push(Import { name: name.as_str().to_owned(), range: name.range() });
        }
    }
    header
}

/// The offset at which nesting gets deeper than any honest file has it.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let blank = blank_comments(text);
    let (mut depth, mut quote) = (0usize, None);
    let mut bytes = blank.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => _ = bytes.next(),
            (Some(open), _) if open == byte || byte == b'\n' => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'{' | b'[' | b'<' | b'(') => depth += 1,
            (None, b'}' | b']' | b'>' | b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Some(at);
        }
    }
    None
}

/// The text with comments as spaces, so that offsets stay.
fn blank_comments(text: &str) -> String {
    let mut blank = text.as_bytes().to_vec();
    let (mut at, mut quote) = (0, None);
    while at < blank.len() {
        let next = blank.get(at + 1).copied();
        match (quote, blank[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if open == byte || byte == b'\n' => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'/') if next == Some(b'/') => {
                let end = find(&blank, at, b"\n");
                blank[at..end].fill(b' ');
                at = end;
            }
            (None, b'/') if next == Some(b'*') => {
                let end = (find(&blank, at + 2, b"*/") + 2).min(blank.len());
                for byte in &mut blank[at..end] {
                    *byte = if *byte == b'\n' { b'\n' } else { b' ' };
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    // Only whole comments became spaces, and `/` is never part of a longer character.
    String::from_utf8(blank).unwrap_or_default()
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(what.len()).position(|window| window == what).map_or(bytes.len(), |at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        scan(text).imports.into_iter().map(|import| import.name).collect()
    }

    #[test]
    fn package_and_imports_are_found_where_they_are_statements() {
        let text = "// package no;\nsyntax = \"proto3\";\n/* import \"no\"; */\npackage a.b.v1;\nimport public \"x/y.proto\";\n import 'z.proto';\n";
        assert_eq!(scan(text).package, "a.b.v1");
        assert_eq!(names(text), ["x/y.proto", "z.proto"]);
        let import = &scan(text).imports[0];
        assert_eq!(&text[import.range.clone()], "x/y.proto");
    }

    #[test]
    fn a_comment_sign_in_a_string_is_no_comment() {
        assert_eq!(names("option x = \"http://a/*b\";\nimport \"c.proto\";\n"), ["c.proto"]);
    }

    #[test]
    fn an_open_comment_takes_the_rest() {
        assert!(names("/* é import\nimport \"a\";").is_empty());
    }

    #[test]
    fn hostile_nesting_is_found() {
        assert_eq!(too_deep("message A { string a = 1 [(x) = { y: [1] }]; }"), None);
        assert!(too_deep(&"{".repeat(1000)).is_some());
        assert_eq!(too_deep(&format!("// {}", "{".repeat(1000))), None);
    }

    proptest::proptest! {
        #[test]
        fn scanning_never_panics(text in "[a-z\"'/*\\\\\n{}é;. ]{0,100}") {
            scan(&text);
            too_deep(&text);
        }
    }
}
