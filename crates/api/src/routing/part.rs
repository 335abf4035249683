//! What deployments answer each other when a list or a stateful watch is merged: rows with their places in the list.
//!
//! Asked for by the header `bowline-part`, which only deployments may send. The answer is not of the method's output
//! type: what a client sees of a resource may lack the fields by which the list is ordered, and the name.

use bowline_base::{Reason, Status};
use bowline_resource::order::SortKey;
use bytes::Bytes;
use prost::Message;

use super::merge::Part;
use crate::engine::explain::Explained;
use crate::engine::page::PageRow;
use crate::engine::sink::Count;

/// What peers must agree on to merge: these messages, and how sort keys are made.
const LAYOUT: u32 = 1;

/// The part of a page that one region has, on the wire.
#[derive(Clone, PartialEq, Message)]
struct WirePart {
    #[prost(message, repeated, tag = "1")]
    rows: Vec<WireRow>,
    #[prost(bool, tag = "2")]
    has_more: bool,
    #[prost(int64, tag = "3")]
    total: i64,
    #[prost(int64, tag = "4")]
    before: i64,
    /// [`LAYOUT`]; so no part is empty on the wire, which stands for a sign of life.
    #[prost(uint32, tag = "5")]
    layout: u32,
    /// JSON of an explanation; empty unless it was asked for.
    #[prost(string, tag = "6")]
    explained: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireRow {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(string, tag = "2")]
    name: String,
    /// What the client sees of the resource.
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
}

impl Part {
    pub(crate) fn encode(&self) -> Bytes {
        let row = |row: &PageRow| WireRow {
            key: row.key.as_bytes().to_vec().into(),
            name: row.name.to_string(),
            body: row.body.clone(),
        };
        let Count { total, before } = self.count;
        let rows = self.rows.iter().map(row).collect();
        let (has_more, layout) = (self.has_more, LAYOUT);
        let explained = self.explained.as_ref().map(Explained::to_json).unwrap_or_default();
        WirePart { rows, has_more, total, before, layout, explained }.encode_to_vec().into()
    }

    /// Reads a part of at most `rows_max` rows.
    ///
    /// # Errors
    /// `INTERNAL` if it is none, or not in order: the peer is not of a release that this one can merge with.
    pub(crate) fn decode(bytes: Bytes, rows_max: usize) -> Result<Self, Status> {
        let bad = |why: &str| {
            tracing::error!(why, "part of a list from another region");
            Status::new(Reason::Internal, "another region answered a list in a way not understood")
        };
        let part = WirePart::decode(bytes).map_err(|_| bad("does not decode"))?;
        if part.layout != LAYOUT {
            return Err(bad("is of another layout"));
        }
        if part.rows.len() > rows_max {
            return Err(bad("has more rows than were asked for"));
        }
        if !part.rows.is_sorted_by(|a, b| a.key < b.key) {
            return Err(bad("is not in order"));
        }
        let row = |row: WireRow| PageRow {
            key: SortKey::from_bytes(row.key.into()),
            name: row.name.into(),
            body: row.body,
        };
        Ok(Self {
            rows: part.rows.into_iter().map(row).collect(),
            has_more: part.has_more,
            count: Count { total: part.total, before: part.before },
            // A release that explains in another way still has the rows.
            explained: serde_json::from_str(&part.explained).ok(),
        })
    }

    /// Reads a message of a live part; `None`: it is only a sign of life.
    ///
    /// # Errors
    /// As [`Part::decode`].
    pub(crate) fn decode_live(message: Bytes, rows_max: usize) -> Result<Option<Self>, Status> {
        if message.is_empty() { Ok(None) } else { Self::decode(message, rows_max).map(Some) }
    }

    /// Shortens the part to about `bytes_max` bytes on the wire: keys and names count here too. Never to nothing.
    ///
    /// What is let go of is what is farthest in the direction of reading.
    pub(crate) fn shorten(&mut self, bytes_max: usize, is_backward: bool) {
        let mut n_bytes = 0;
        let mut fits = |row: &PageRow| {
            n_bytes += row.key.as_bytes().len() + row.name.len() + row.body.len();
            n_bytes <= bytes_max
        };
        let n_fitting = if is_backward {
            self.rows.iter().rev().take_while(|row| fits(row)).count()
        } else {
            self.rows.iter().take_while(|row| fits(row)).count()
        };
        let n_kept = n_fitting.max(1);
        if n_kept >= self.rows.len() {
            return;
        }
        self.has_more = true;
        if is_backward {
            self.rows.drain(..self.rows.len() - n_kept);
        } else {
            self.rows.truncate(n_kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use bowline_resource::order::Order;

    use super::*;

    fn part(names: &[&str]) -> Part {
        let row = |name: &&str| PageRow {
            key: Order::by_name().key_of_name(name).unwrap(),
            name: (*name).into(),
            body: vec![0; 100].into(),
        };
        Part { rows: names.iter().map(row).collect(), ..Part::default() }
    }

    fn names(part: &Part) -> Vec<&str> {
        part.rows.iter().map(|row| &*row.name).collect()
    }

    #[test]
    fn a_part_comes_back_and_one_that_is_no_part_is_refused() {
        let sent =
            Part { has_more: true, count: Count { total: 7, before: 2 }, ..part(&["a", "b"]) };
        let read = Part::decode(sent.encode(), 2).unwrap();
        assert_eq!(names(&read), ["a", "b"]);
        assert_eq!((read.has_more, read.count.total, read.count.before), (true, 7, 2));
        assert!(Part::decode(sent.encode(), 1).is_err(), "too many rows");
        assert!(Part::decode(part(&["b", "a"]).encode(), 2).is_err(), "out of order");
        assert!(Part::decode(Bytes::from_static(&[0xff, 1, 2]), 2).is_err());
    }

    #[test]
    fn a_part_that_is_shortened_keeps_what_is_next() {
        let mut forwards = part(&["a", "b", "c"]);
        forwards.shorten(250, false);
        assert_eq!((names(&forwards), forwards.has_more), (vec!["a", "b"], true));
        let mut backwards = part(&["a", "b", "c"]);
        backwards.shorten(250, true);
        assert_eq!((names(&backwards), backwards.has_more), (vec!["b", "c"], true));
        let mut tiny = part(&["a", "b"]);
        tiny.shorten(1, false);
        assert_eq!(names(&tiny), ["a"]);
    }
}
