//! What is wrong with an input, where, and how to mend it; and how that looks on a terminal.
//!
//! Every problem has a stable code from [`code`], documented in `docs/errors/schema.md`. Nothing here finds problems.

use std::collections::BTreeMap;
use std::fmt::Write;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The service that it is in is not loaded.
    Error,
    /// Something is served otherwise than its author may expect.
    Warning,
}

/// One problem in an input.
///
/// `line` and `column` start at 1; 0 means that the place is the whole file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// As the user knows the file: the path on disk, or the name in a descriptor set.
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub severity: Severity,
    /// One of [`code`]: `BL010`.
    pub code: &'static str,
    /// What is wrong: one clause, no full stop.
    pub message: String,
    /// What to do about it; empty if the message says it all.
    pub help: String,
}

impl Diagnostic {
    /// A problem for which the service is not loaded.
    pub fn error(code: &'static str, place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, place, message.into())
    }

    /// A problem that leaves the service loaded.
    pub fn warning(code: &'static str, place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, place, message.into())
    }

    fn new(severity: Severity, code: &'static str, place: &Place, message: String) -> Self {
        let Place { file, line, column } = place.clone();
        Diagnostic { file, line, column, severity, code, message, help: String::new() }
    }

    /// Adds what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Whether the service in question is left out.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// A place in an input; see [`Diagnostic`] for units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// The file as a whole.
    pub fn file(file: impl Into<String>) -> Self {
        Place { file: file.into(), line: 0, column: 0 }
    }

    /// A point in a file, both counted from 1.
    pub fn at(file: impl Into<String>, line: usize, column: usize) -> Self {
        Place { file: file.into(), line, column }
    }

    /// The point of a byte offset in `text`; an offset past the end is the end.
    pub fn of_offset(file: impl Into<String>, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Place::at(file, line, column)
    }
}

/// All codes, with one line on each. The name is public: add, never renumber.
pub mod code {
    macro_rules! codes {
        ($($(#[doc = $doc:literal])* $name:ident = $text:literal;)*) => {
            $($(#[doc = $doc])* pub const $name: &str = $text;)*
            /// Every code, in order.
            pub const ALL: &[&str] = &[$($text,)*];
        };
    }

    codes! {
        /// A file or folder could not be read.
        UNREADABLE = "BL001";
        /// The input is larger than a limit.
        TOO_LARGE = "BL002";
        /// A folder holds nothing to serve.
        NOTHING_FOUND = "BL003";
        /// A descriptor set could not be decoded.
        BAD_DESCRIPTOR_SET = "BL004";
        /// A manifest is not valid YAML, or a value has the wrong type.
        BAD_MANIFEST = "BL010";
        /// A manifest, or a `bowline.yaml`, has a key that nothing reads.
        UNKNOWN_KEY = "BL011";
        /// A manifest names a resource type that the protos do not define.
        UNKNOWN_RESOURCE = "BL012";
        /// A version names a package that no proto file has.
        UNKNOWN_PACKAGE = "BL013";
        /// A version imports a service, or a version of one, that is not loaded.
        UNKNOWN_IMPORT = "BL014";
        /// Services import each other in a circle.
        SERVICE_CYCLE = "BL015";
        /// Two services have the same name.
        DUPLICATE_SERVICE = "BL016";
        /// A proto file does not parse or does not check.
        BAD_PROTO = "BL020";
        /// An imported proto file was not found.
        MISSING_FILE = "BL021";
        /// Proto files import each other in a circle.
        FILE_CYCLE = "BL022";
        /// A type name is not `domain/Singular`.
        BAD_TYPE = "BL030";
        /// A resource type has no name pattern.
        NO_PATTERN = "BL031";
        /// A name pattern does not parse.
        BAD_PATTERN = "BL032";
        /// The field that should hold the name is missing, or not a string.
        NO_NAME_FIELD = "BL033";
        /// Two messages of one version declare the same type.
        DUPLICATE_KIND = "BL034";
        /// A resource type of another domain than its service.
        FOREIGN_KIND = "BL035";
        /// No loaded type has the pattern of a parent.
        UNKNOWN_PARENT = "BL036";
        /// A configured field path does not exist in the message.
        UNKNOWN_FIELD = "BL037";
        /// Two types of a service share a name pattern.
        SHARED_PATTERN = "BL038";
        /// An id pattern is not a regular expression.
        BAD_ID_PATTERN = "BL039";
        /// A reference is on a field that is not a string.
        BAD_REFERENCE = "BL040";
        /// A synchronous reference to a type of another service.
        SYNC_ACROSS_SERVICES = "BL041";
        /// A reference to a type of a service that the version does not import.
        NOT_IMPORTED = "BL042";
        /// An index is declared on a message.
        NOT_INDEXABLE = "BL043";
        /// A type with asynchronous deletion that cannot be marked.
        CANNOT_BE_MARKED = "BL044";
        /// A type with asynchronous deletion that would wait for itself.
        WAITS_FOR_ITSELF = "BL045";
        /// An HTTP rule does not parse.
        BAD_HTTP_RULE = "BL050";
        /// A method looks standard and cannot be bound.
        UNBOUND_METHOD = "BL051";
        /// Two methods have the same HTTP path.
        SHARED_PATH = "BL052";
        /// A synthesised service or message had to take another name.
        NAME_TAKEN = "BL053";
        /// A synthesised service does not compile.
        SYNTHESIS_FAILED = "BL054";
        /// Bare protos declare a type of another service that none of their methods uses.
        BORROWED_TYPE = "BL055";
        /// A change between versions that breaks clients.
        BREAKING_CHANGE = "BL060";
        /// A field that an upgrade drops.
        DROPPED_FIELD = "BL061";
        /// A resource type that an upgrade drops.
        DROPPED_TYPE = "BL062";
        /// A method that an upgrade drops.
        DROPPED_METHOD = "BL063";
        /// A `bowline.yaml` is not valid YAML, or a value in it does not fit.
        BAD_CONFIGURATION = "BL070";
        /// A `bowline.yaml` names a region, service or version that is not there.
        NOT_CONFIGURED = "BL071";
        /// An upgrade file is not of two neighbouring versions.
        UPGRADE_VERSIONS = "BL080";
        /// An upgrade names a type that the version does not have.
        UPGRADE_TYPE = "BL081";
        /// An upgrade names a pattern that the type does not have.
        UPGRADE_PATTERN = "BL082";
        /// A variable of a name comes from nowhere, or is lost.
        UPGRADE_VARIABLE = "BL083";
        /// Two types, or two forms of names, would become one.
        UPGRADE_CLASH = "BL084";
        /// Nothing is said of a form of names that the newer version does not have.
        UPGRADE_MISSING = "BL085";
        /// A name would be of another region in the other version.
        UPGRADE_REGION = "BL086";
        /// A key of an upgrade that a later release reads.
        NOT_USED_YET = "BL087";
        /// A name that should have a counterpart in the other version has none.
        NO_COUNTERPART = "BL088";
    }
}

/// Sorts by place and drops repetitions, so that the same input always gives the same list.
pub fn sorted(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort();
    diagnostics.dedup();
    diagnostics
}

/// Renders problems in the style of a compiler, with the line in question where the file can be read, and a count at the end.
///
/// Empty input gives empty text. Reads each named file at most once; one that cannot be read costs its excerpts only.
pub fn render(diagnostics: &[Diagnostic]) -> String {
    let mut files = BTreeMap::new();
    let mut text = String::new();
    for diagnostic in diagnostics {
        let lines: &Vec<String> =
            files.entry(diagnostic.file.as_str()).or_insert_with(|| lines_of(&diagnostic.file));
        render_one(&mut text, diagnostic, lines);
    }
    if !diagnostics.is_empty() {
        let errors = diagnostics.iter().filter(|d| d.is_error()).count();
        let warnings = diagnostics.len() - errors;
        _ = writeln!(text, "{}, {}", count(errors, "error"), count(warnings, "warning"));
    }
    text
}

fn lines_of(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn render_one(text: &mut String, diagnostic: &Diagnostic, lines: &[String]) {
    let Diagnostic { file, line, column, code, message, help, severity } = diagnostic;
    let word = if *severity == Severity::Error { "error" } else { "warning" };
    _ = writeln!(text, "{word}[{code}]: {message}");
    match (line, file.is_empty()) {
        (_, true) => {}
        (0, _) => _ = writeln!(text, "  --> {file}"),
        _ => _ = writeln!(text, "  --> {file}:{line}:{column}"),
    }
    let excerpt = line.checked_sub(1).and_then(|index| lines.get(index));
    if let Some(excerpt) = excerpt {
        render_excerpt(text, *line, *column, excerpt);
    }
    if !help.is_empty() {
        _ = writeln!(text, "  = help: {help}");
    }
    text.push('\n');
}

fn render_excerpt(text: &mut String, line: usize, column: usize, excerpt: &str) {
    const WIDTH: usize = 160;
    let number = line.to_string();
    let gap = " ".repeat(number.len());
    let shown: String = excerpt.replace('\t', " ").chars().take(WIDTH).collect();
    _ = writeln!(text, " {gap} |\n {number} | {shown}");
    if (1..=WIDTH).contains(&column) {
        _ = writeln!(text, " {gap} | {}^", " ".repeat(column - 1));
    }
}

fn count(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn an_offset_becomes_line_and_column() {
        assert_eq!(Place::of_offset("f", "ab\ncd", 4), Place::at("f", 2, 2));
        assert_eq!(Place::of_offset("f", "ab\ncd", 99), Place::at("f", 2, 3));
    }

    #[test]
    fn a_problem_shows_its_place_and_what_to_do() {
        let place = Place::at("device.proto", 3, 5);
        let list = [
            Diagnostic::error(code::NO_PATTERN, &place, "no pattern").help("add one"),
            Diagnostic::warning(code::UNREADABLE, &Place::default(), "nothing to see"),
        ];
        expect![[r#"
            error[BL031]: no pattern
              --> device.proto:3:5
              = help: add one

            warning[BL001]: nothing to see

            1 error, 1 warning
        "#]]
        .assert_eq(&render(&list));
    }

    #[test]
    fn every_code_has_its_line_in_the_docs() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors/schema.md");
        let page = std::fs::read_to_string(path).expect("the page exists");
        for code in code::ALL {
            assert!(page.contains(&format!("## {code}")), "{path} lacks {code}");
        }
    }
}
