//! Reading the text of a filter piece by piece: spaces, words, quoted texts, paths.
//!
//! What a run of characters means depends on where it stands (a path, a value, a word to search), so there are no
//! tokens: the parser asks for what it expects.

use std::fmt;

use crate::path::{PATH_SEGMENTS_MAX, PathProblem, Segment};

use super::error::{FilterProblem, Found, Misfit};

/// Characters of a value or search word that end it.
const WORD_ENDS: &str = "()[]{},\"'=<>!|";
/// Most characters of the text that an error shows.
const FOUND_CHARS_MAX: usize = 40;

/// A place in the text.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// A quoted text, with escapes resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quoted(pub(super) Vec<Piece>);

/// One character of a quoted text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Char(char),
    /// After a backslash, so it is never a wildcard.
    Escaped(char),
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Where the next character is, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn is_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// Skips spaces, and comments from `--` to the end of the line.
    pub(super) fn skip_space(&mut self) {
        loop {
            let trimmed = self.rest().trim_start();
            self.at = self.text.len() - trimmed.len();
            if !trimmed.starts_with("--") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    /// Takes `mark` if it comes next.
    pub(super) fn take(&mut self, mark: &str) -> bool {
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len();
        }
        found
    }

    /// Takes one of the words if it comes next as a whole word, in any case.
    pub(super) fn take_keyword(&mut self, words: &[&str]) -> bool {
        let rest = self.rest();
        let end = rest.find(|c| !is_path_char(c)).unwrap_or(rest.len());
        let found = words.iter().any(|word| rest[..end].eq_ignore_ascii_case(word));
        // `or.x = 1` is a path.
        let is_word = found && !rest[end..].starts_with('.');
        if is_word {
            self.at += end;
        }
        is_word
    }

    /// A path: segments with dots between them, each plain, escaped or quoted. `None` if none starts here.
    pub(super) fn path(&mut self) -> Result<Option<Vec<Segment>>, Misfit> {
        if !self.peek().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') {
            return Ok(None);
        }
        let mut segments = Vec::new();
        loop {
            let offset = self.at;
            let segment = match self.peek() {
                Some(quote @ ('"' | '\'' | '`')) => {
                    Segment { text: self.quoted(quote)?.text(), offset, quoted: true }
                }
                _ => self.plain_segment(),
            };
            if segment.text.is_empty() && !segment.quoted {
                return Err(self.expected_at(offset, "a field or key after the dot"));
            }
            segments.push(segment);
            if segments.len() > PATH_SEGMENTS_MAX {
                return Err(Misfit::new(offset, FilterProblem::Path(PathProblem::TooLong)));
            }
            if !self.take(".") {
                return Ok(Some(segments));
            }
        }
    }

    fn plain_segment(&mut self) -> Segment {
        let mut segment = Segment { text: String::new(), offset: self.at, quoted: false };
        let mut chars = self.rest().chars();
        while let Some(c) = chars.next() {
            if c == '\\' {
                let Some(escaped) = chars.next() else { break };
                segment.quoted = true;
                segment.text.push(escaped);
                self.at += 1 + escaped.len_utf8();
            } else if is_path_char(c) {
                segment.text.push(c);
                self.at += c.len_utf8();
            } else {
                break;
            }
        }
        segment
    }

    /// A run of characters that a value or search word may have; empty if there is none.
    pub(super) fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || WORD_ENDS.contains(c));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    /// A text in quotes; `quote` comes next.
    pub(super) fn quoted(&mut self, quote: char) -> Result<Quoted, Misfit> {
        let start = self.at;
        self.at += quote.len_utf8();
        let mut pieces = Vec::new();
        let mut chars = self.rest().char_indices();
        while let Some((index, c)) = chars.next() {
            match c {
                // In backticks, as paths are printed, a doubled one stands for one and nothing else is escaped.
                '`' if quote == '`' && self.rest()[index + 1..].starts_with('`') => {
                    chars.next();
                    pieces.push(Piece::Char('`'));
                }
                c if c == quote => {
                    self.at += index + c.len_utf8();
                    return Ok(Quoted(pieces));
                }
                '\\' if quote != '`' => match chars.next() {
                    Some((_, escaped)) => pieces.push(unescaped(escaped)),
                    None => break,
                },
                c => pieces.push(Piece::Char(c)),
            }
        }
        Err(Misfit::new(start, FilterProblem::OpenQuote))
    }

    /// An error for what comes next.
    pub(super) fn expected(&self, what: &str) -> Misfit {
        self.expected_at(self.at, what)
    }

    pub(super) fn expected_at(&self, offset: usize, what: &str) -> Misfit {
        let rest = &self.text[offset..];
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        // Something is shown even if it is a space.
        let shown = if end == 0 { rest } else { &rest[..end] };
        let text: String = shown.chars().take(FOUND_CHARS_MAX).collect();
        let found = if text.is_empty() { Found::End } else { Found::Text(text) };
        Misfit::new(offset, FilterProblem::Expected { expected: what.to_owned(), found })
    }
}

fn is_path_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-/".contains(c)
}

fn unescaped(c: char) -> Piece {
    match c {
        'n' => Piece::Char('\n'),
        'r' => Piece::Char('\r'),
        't' => Piece::Char('\t'),
        c => Piece::Escaped(c),
    }
}

impl Piece {
    pub(super) fn char(self) -> char {
        match self {
            Self::Char(c) | Self::Escaped(c) => c,
        }
    }
}

impl Quoted {
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|piece| piece.char()).collect()
    }
}

/// The text in double quotes, with the escapes it needs; it reads back to the same wildcards and text.
impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for piece in &self.0 {
            match piece {
                Piece::Char('\n') => f.write_str("\\n")?,
                Piece::Char('\r') => f.write_str("\\r")?,
                Piece::Char('\t') => f.write_str("\\t")?,
                Piece::Escaped(c @ ('*' | '%' | '_')) => write!(f, "\\{c}")?,
                piece => match piece.char() {
                    c @ ('"' | '\\') => write!(f, "\\{c}")?,
                    c => write!(f, "{c}")?,
                },
            }
        }
        f.write_str("\"")
    }
}
