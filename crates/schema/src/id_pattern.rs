//! Id patterns: regular expressions over the ids of a type, as manifests, skeletons and options give them.
//!
//! Published patterns are written for Go's regexp, where `\w`, `\d` and `\s` are ASCII. They are read the same way here; as
//! Unicode classes, a pattern like `[\w.-]{1,256}` would take tens of megabytes and a quarter of a second to compile.

use regex::{Regex, RegexBuilder};

/// Largest compiled pattern, in bytes; what is larger would be slow to match.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// Compiles an id pattern so that it matches whole ids only.
///
/// Cost: up to some milliseconds; keep what comes back.
///
/// # Errors
/// The text is no regular expression, or is too large when compiled.
pub fn compile(text: &str) -> Result<Regex, regex::Error> {
    let anchored = format!("^(?:{})$", ascii_classes(text));
    RegexBuilder::new(&anchored).size_limit(COMPILED_BYTES_MAX).build()
}

/// Spells out the Perl classes, which means the same inside and outside of brackets.
fn ascii_classes(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len() + 32);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            spelled.push(c);
            continue;
        }
        match chars.next() {
            Some('w') => spelled.push_str("[0-9A-Za-z_]"),
            Some('W') => spelled.push_str("[^0-9A-Za-z_]"),
            Some('d') => spelled.push_str("[0-9]"),
            Some('D') => spelled.push_str("[^0-9]"),
            Some('s') => spelled.push_str(r"[\t\n\f\r ]"),
            Some('S') => spelled.push_str(r"[^\t\n\f\r ]"),
            Some(other) => spelled.extend(['\\', other]),
            None => spelled.push('\\'),
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, id: &str) -> bool {
        compile(pattern).unwrap().is_match(id)
    }

    #[test]
    fn classes_are_ascii_inside_and_outside_of_brackets() {
        assert!(matches(r"\w+", "a_1"));
        assert!(!matches(r"\w+", "é"));
        assert!(matches(r"[\w.-]{1,128}", "a.b-c"));
        assert!(!matches(r"[\w.-]{1,128}", "a/b"));
        assert!(matches(r"[^\d]+", "abc"));
        assert!(!matches(r"[^\d]+", "ab1"));
        assert!(matches(r"\\w", r"\w"));
    }

    #[test]
    fn the_whole_id_must_match() {
        assert!(!matches("a|b", "ab"));
        assert!(matches("a|b", "b"));
    }

    #[test]
    fn published_patterns_for_long_ids_compile() {
        for pattern in
            [r"[\w@!\\.|-]{4,256}", r"[\w.@|_-]{1,128}", ".{1,512}", r"[\w][\w.-]{0,127}"]
        {
            assert!(compile(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_explodes_is_refused() {
        assert!(compile("((a{1,100}){1,100}){1,100}").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}", id in ".{0,10}") {
            if let Ok(regex) = compile(&text) {
                regex.is_match(&id);
            }
        }
    }
}
