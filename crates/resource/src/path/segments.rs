//! The text of paths: splitting it into segments with their places, and writing a key back.

use std::fmt;

use super::{PATH_BYTES_MAX, PATH_SEGMENTS_MAX, PathError, PathProblem};

/// One part of a path's text, unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub text: String,
    /// Where it starts, in bytes of the whole text.
    pub offset: usize,
    /// It was quoted or had an escape, so it is a key and never the wildcard `*`.
    pub quoted: bool,
}

/// Splits `text` at its dots. `\` takes the next character as it is; backticks quote a whole segment, with a doubled
/// backtick for one in it.
///
/// # Errors
/// For empty segments, quotes without end, and paths beyond the limits.
pub fn parse_segments(text: &str) -> Result<Vec<Segment>, PathError> {
    let error = |offset, problem| Err(PathError { offset, problem });
    if text.len() > PATH_BYTES_MAX {
        return error(PATH_BYTES_MAX, PathProblem::TooLong);
    }
    let mut segments = Vec::new();
    let mut at = 0;
    loop {
        let (segment, end) = one_segment(text, at)?;
        if segment.text.is_empty() && !segment.quoted {
            return error(at, PathProblem::EmptySegment);
        }
        segments.push(segment);
        if segments.len() > PATH_SEGMENTS_MAX {
            return error(end, PathProblem::TooLong);
        }
        match text[end..].chars().next() {
            None => return Ok(segments),
            Some('.') => at = end + 1,
            Some(_) => return error(end, PathProblem::AfterQuote),
        }
    }
}

/// The segment that starts at byte `at`, and where it ends.
fn one_segment(text: &str, at: usize) -> Result<(Segment, usize), PathError> {
    if text[at..].starts_with('`') {
        return quoted_segment(text, at);
    }
    let mut segment = Segment { text: String::new(), offset: at, quoted: false };
    let mut chars = text[at..].char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '.' => return Ok((segment, at + index)),
            '\\' => {
                segment.quoted = true;
                segment.text.push(chars.next().map_or('\\', |(_, escaped)| escaped));
            }
            c => segment.text.push(c),
        }
    }
    Ok((segment, text.len()))
}

fn quoted_segment(text: &str, at: usize) -> Result<(Segment, usize), PathError> {
    let mut segment = Segment { text: String::new(), offset: at, quoted: true };
    let mut chars = text[at + 1..].char_indices().peekable();
    while let Some((index, c)) = chars.next() {
        if c != '`' {
            segment.text.push(c);
        } else if chars.next_if(|(_, next)| *next == '`').is_some() {
            segment.text.push('`');
        } else {
            return Ok((segment, at + 1 + index + 1));
        }
    }
    Err(PathError { offset: at, problem: PathProblem::OpenQuote })
}

/// Writes a map key so that it parses back to itself: plain if it can be, otherwise in backticks.
pub(crate) fn write_key(f: &mut fmt::Formatter<'_>, key: &str) -> fmt::Result {
    let word = |c: char| c.is_ascii_alphanumeric() || "_-/".contains(c);
    if !key.is_empty() && key.chars().all(word) {
        return f.write_str(key);
    }
    write!(f, "`{}`", key.replace('`', "``"))
}
