//! Request paths: segments, verb, percent-decoding, and the text that a variable captures.

use std::borrow::Cow;

use bowline_base::{Reason, Status};
use bowline_schema::http::{Segment, Template, Variable};
use percent_encoding::percent_decode_str;

/// Longest path, in bytes, as sent.
pub(super) const PATH_BYTES_MAX: usize = 8 << 10;

/// One segment of a request path.
#[derive(Clone, Debug)]
pub(super) struct PathSegment<'a> {
    raw: &'a str,
    /// Wholly decoded; what literals are compared with.
    pub(super) text: Cow<'a, str>,
}

/// A path cut into segments, in one of its two readings: with its verb apart, or without.
#[derive(Clone, Debug)]
pub(super) struct RequestPath<'a> {
    pub(super) segments: Vec<PathSegment<'a>>,
    /// What stands after the last `:` of the last segment, if this reading takes it as a verb.
    pub(super) verb: Option<&'a str>,
}

impl<'a> RequestPath<'a> {
    /// The path as it stands, without a verb.
    ///
    /// # Errors
    /// `INVALID_FIELD` if it is too long, or not UTF-8 after decoding.
    pub(super) fn parse(path: &'a str) -> Result<Self, Status> {
        if path.len() > PATH_BYTES_MAX {
            let text =
                format!("the path has {} bytes; at most {PATH_BYTES_MAX} are read", path.len());
            return Err(Status::new(Reason::LimitExceeded, text));
        }
        let inner = path.strip_prefix('/').unwrap_or(path);
        let segments = inner.split('/').map(segment).collect::<Result<_, _>>()?;
        Ok(Self { segments, verb: None })
    }

    /// The other reading of the same path: `…/devices:watch` with the verb `watch`.
    pub(super) fn with_verb(&self) -> Option<Self> {
        let last = self.segments.last()?;
        let (head, verb) = last.raw.rsplit_once(':')?;
        let mut segments = self.segments.clone();
        // The head was decoded before as part of the whole segment, so it decodes again.
        *segments.last_mut()? = segment(head).ok()?;
        Some(Self { segments, verb: Some(verb) })
    }

    /// What `variable` of a template that matches this path captures.
    ///
    /// One segment is decoded wholly. In several, `%2F` stays as it is (`google/api/http.proto`), so that an
    /// id with a slash in it does not become two segments.
    pub(super) fn capture(&self, template: &Template, variable: &Variable) -> String {
        let parts = template.segments.get(variable.start..variable.end).unwrap_or_default();
        let has_rest = matches!(parts.last(), Some(Segment::Rest));
        let end = if has_rest { self.segments.len() } else { variable.end };
        let captured = self.segments.get(variable.start..end).unwrap_or_default();
        match captured {
            [one] if !has_rest => one.text.clone().into_owned(),
            many => many.iter().map(PathSegment::keeping_slashes).collect::<Vec<_>>().join("/"),
        }
    }
}

impl PathSegment<'_> {
    fn keeping_slashes(&self) -> String {
        let mut out = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(at) = first_slash(rest) {
            out.push_str(&percent_decode_str(&rest[..at]).decode_utf8_lossy());
            out.push_str(&rest[at..at + 3]);
            rest = &rest[at + 3..];
        }
        out.push_str(&percent_decode_str(rest).decode_utf8_lossy());
        out
    }
}

/// Where the first `%2F` of either case is.
fn first_slash(text: &str) -> Option<usize> {
    let upper = text.find("%2F");
    let lower = text.find("%2f");
    match (upper, lower) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn segment(raw: &str) -> Result<PathSegment<'_>, Status> {
    let text = percent_decode_str(raw).decode_utf8().map_err(|_| {
        Status::new(Reason::InvalidField, "the path is not UTF-8 after percent-decoding")
    })?;
    Ok(PathSegment { raw, text })
}
