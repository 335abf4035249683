//! What is wrong with a filter, and where.

use std::fmt;

use crate::path::{PathError, PathProblem};

use super::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX};

/// Why a text is no filter of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct FilterError {
    /// The whole filter, or as much of it as filters may have.
    pub text: String,
    /// In bytes, at most the length of `text`.
    pub offset: usize,
    pub problem: FilterProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterProblem {
    #[error("filter is longer than {FILTER_BYTES_MAX} bytes")]
    TooLong,
    #[error("filter is nested deeper than {FILTER_DEPTH_MAX}")]
    TooDeep,
    #[error("expected {expected}, found {found}")]
    Expected { expected: String, found: Found },
    #[error("{0}")]
    Path(PathProblem),
    #[error("function \"{name}\" is not known, filters have no functions")]
    Function { name: String },
    #[error("text without closing quote")]
    OpenQuote,
    #[error("\"{path}\" {problem}")]
    Unfit { path: String, problem: &'static str },
}

/// What stands where something else was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Text(String),
    End,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "`{text}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

impl FilterError {
    /// The line of the filter with the mistake, and under it a caret with what is wrong.
    pub fn render(&self) -> String {
        let start = self.text[..self.offset].rfind('\n').map_or(0, |at| at + 1);
        let end =
            self.text[self.offset..].find('\n').map_or(self.text.len(), |at| at + self.offset);
        let indent = self.text[start..self.offset].chars().count();
        format!("{}\n{}^ {}", &self.text[start..end], " ".repeat(indent), self.problem)
    }
}

/// A problem and its place, before the text is put to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) offset: usize,
    pub(super) problem: FilterProblem,
}

impl Misfit {
    pub(super) fn new(offset: usize, problem: FilterProblem) -> Self {
        Self { offset, problem }
    }

    pub(super) fn in_text(self, text: &str) -> FilterError {
        let kept = floor_char(text, text.len().min(FILTER_BYTES_MAX));
        let offset = floor_char(text, self.offset.min(kept));
        FilterError { text: text[..kept].to_owned(), offset, problem: self.problem }
    }
}

impl From<PathError> for Misfit {
    fn from(error: PathError) -> Self {
        Self { offset: error.offset, problem: FilterProblem::Path(error.problem) }
    }
}

/// The nearest start of a character at or before `at`.
fn floor_char(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
