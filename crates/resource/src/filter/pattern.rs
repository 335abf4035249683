//! Patterns over text: `*` of AIP-160, `%` and `_` of `LIKE`, and words to search.
//!
//! All become regular expressions, whose matching takes time linear in the text, whatever the pattern.

use regex::{Regex, RegexBuilder};

use super::scan::{Piece, Quoted};

/// Largest compiled pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 8 << 20;

/// A pattern, with the text it was made from.
#[derive(Clone, Debug)]
pub(super) struct TextPattern {
    /// As it is printed.
    pub(super) source: Quoted,
    style: Style,
    regex: Regex,
}

/// Where and how a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// The whole text; `*` is any run of characters.
    Glob,
    /// The whole text; `%` is any run of characters and `_` any one.
    Like,
    /// Anywhere in the text, in any case; `*` is any run of characters.
    Search,
    /// As a search, but of the whole text if the pattern has a `*`.
    Has,
}

impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl TextPattern {
    /// `None` if the pattern is too large to be compiled.
    pub(super) fn new(source: Quoted, style: Style) -> Option<Self> {
        let body: String = source.0.iter().map(|piece| expression(*piece, style)).collect();
        let anchored = match style {
            Style::Glob | Style::Like => true,
            Style::Search => false,
            Style::Has => has_star(&source),
        };
        let fold = matches!(style, Style::Search | Style::Has);
        let text = if anchored { format!("^{body}$") } else { body };
        let regex = RegexBuilder::new(&text)
            .dot_matches_new_line(true)
            .case_insensitive(fold)
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .ok()?;
        Some(Self { source, style, regex })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What every matching text starts with, and whether that is all of it; `None` if nothing is known.
    pub(super) fn beginning(&self) -> Option<(String, bool)> {
        let is_wild = |piece: &Piece| match self.style {
            Style::Glob => *piece == Piece::Char('*'),
            Style::Like => matches!(piece, Piece::Char('%' | '_')),
            Style::Search | Style::Has => true,
        };
        if matches!(self.style, Style::Search | Style::Has) {
            return None;
        }
        let fixed = self.source.0.iter().take_while(|piece| !is_wild(piece));
        let text: String = fixed.map(|piece| piece.char()).collect();
        let is_all = !self.source.0.iter().any(is_wild);
        (is_all || !text.is_empty()).then_some((text, is_all))
    }
}

/// Whether a text has an unescaped `*`.
pub(super) fn has_star(text: &Quoted) -> bool {
    text.0.contains(&Piece::Char('*'))
}

fn expression(piece: Piece, style: Style) -> String {
    match (piece, style) {
        (Piece::Char('%'), Style::Like) => ".*".to_owned(),
        (Piece::Char('_'), Style::Like) => ".".to_owned(),
        (Piece::Char('*'), Style::Glob | Style::Search | Style::Has) => ".*".to_owned(),
        (piece, _) => regex::escape(piece.char().encode_utf8(&mut [0; 4])),
    }
}
