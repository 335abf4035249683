//! How a list found its rows, for people: the header `bowline-explain` on a request asks for it, the same on the answer has it.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

/// The header, of requests (`true`) and of answers (JSON).
pub const HEADER: &str = "bowline-explain";

/// How one list was read.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Explained {
    /// Rows on the page.
    pub rows_returned: usize,
    /// Rows that the store gave, over all ways.
    pub rows_looked_at: usize,
    /// The ways that were taken, side by side if several.
    pub ways: Vec<ExplainedWay>,
}

/// One way to the rows.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ExplainedWay {
    /// Where, in a list over several regions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `names`, `points` or `ranges`.
    pub way: Cow<'static, str>,
    /// What it was for: `page` or `count`.
    pub reads: Cow<'static, str>,
    /// The path of the index; none along names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// What narrows it: conditions of the filter, or the beginning of the names.
    pub within: String,
    /// Ranges of values that this comes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranges: Option<usize>,
    /// Whether rows came as the list has them, so that reading could end with the page.
    pub in_order: bool,
    pub rows_looked_at: usize,
    /// Whether the answer is from here; another way was faster otherwise.
    pub answered: bool,
}

/// A place for the explanation, if the client wants one. Cheap to clone; all clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct Explain(Option<Arc<OnceLock<String>>>);

impl Explain {
    /// Reads the header of a request.
    pub fn of_header(value: Option<&str>) -> Self {
        let is_wanted = value.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Self(is_wanted.then(Arc::default))
    }

    /// Whether the client asked for it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn tell(&self, explained: &Explained) {
        if let Some(place) = &self.0 {
            let text = explained.to_json();
            // The first one counts: an action may list several times for one answer.
            let _ = place.set(ascii(&text));
        }
    }

    /// The header of the answer.
    pub fn header(&self) -> Option<&str> {
        self.0.as_ref()?.get().map(String::as_str)
    }
}

impl Explained {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What regions say of their parts of a list, put together.
    pub(crate) fn of_regions<'a>(parts: impl Iterator<Item = (&'a str, &'a Self)>) -> Self {
        let mut whole = Self::default();
        for (region, part) in parts {
            let mut part = part.clone();
            for way in &mut part.ways {
                way.region = Some(region.to_owned());
            }
            whole.add(part);
        }
        whole
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.rows_looked_at += other.rows_looked_at;
        self.ways.extend(other.ways);
    }
}

/// The same JSON in ASCII, which headers can hold.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            text.push(c);
        } else {
            // Characters that are not ASCII stand only in texts, where they may be escaped.
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_the_same_as_the_json() {
        for text in ["plain", "é\u{1F600}\n\"\\", "\u{7f}"] {
            let json = serde_json::to_string(text).unwrap();
            let header = ascii(&json);
            assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{header}");
            assert_eq!(serde_json::from_str::<String>(&header).unwrap(), text);
        }
    }

    #[test]
    fn only_who_asks_is_told() {
        for (value, is_told) in [(None, false), (Some("false"), false), (Some("True"), true)] {
            let explain = Explain::of_header(value);
            explain.tell(&Explained::default());
            assert_eq!(explain.header().is_some(), is_told);
        }
    }
}
