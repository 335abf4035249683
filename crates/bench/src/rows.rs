//! The rows that the benches of the store write: what a resource of a common size becomes.
//!
//! Each has a 300-byte document, an id that rises with its number, one field, and an entry in each of two indexes. The same
//! bytes go to every store that is compared, whether it is one of ours or not.

use bowline_store::{Batch, Condition, Extract, Key, Position, Row, RowId, Table, Value, Write};
use bytes::{BufMut, Bytes, BytesMut};

use crate::item;

/// Size of a document, in bytes.
pub(crate) const BODY_BYTES: usize = 300;
/// Entries in indexes that a row has.
pub(crate) const ENTRIES: usize = 2;
/// An index in which one row of a hundred has a value.
pub(crate) const BY_SITE: &str = "spec.site";
/// An index in which one row of ten has a value.
pub(crate) const BY_MODEL: &str = "spec.model";

const NAMESPACE: &str = "v1";
const KIND: &str = "bench.example.com/Item";
const SITES: u64 = 100;
const MODELS: u64 = 10;

/// A row as a commit creates it. `number` decides everything.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub(crate) name: String,
    pub(crate) row: Row,
    pub(crate) site: String,
    pub(crate) model: String,
}

/// The row with this number, at `version`.
pub(crate) fn make(number: u64, version: u64) -> NewRow {
    let name = item::name(item::PROJECT, number);
    // Not in the order of names.
    let spread = item::spread(number) & u64::from(u32::MAX);
    let (site, model) = (site(spread % SITES), model(spread % MODELS));
    let extract = Extract::builder()
        .field("lifecycle", Value::text("active"))
        .entry(BY_MODEL, Value::text(&model))
        .entry(BY_SITE, Value::text(&site));
    let row = Row {
        id: id(number),
        version,
        body: body(number, version),
        aside: Bytes::new(),
        extract: extract.build(),
    };
    NewRow { name, row, site, model }
}

pub(crate) fn site(n: u64) -> String {
    format!("site-{n:03}")
}

pub(crate) fn model(n: u64) -> String {
    format!("model-{n:02}")
}

pub(crate) fn table() -> Table {
    Table { namespace: NAMESPACE.into(), kind: KIND.into() }
}

pub(crate) fn key(name: String) -> Key {
    Key { table: table(), name: name.into() }
}

/// Ids rise with the time at which resources are made.
pub(crate) fn id(number: u64) -> RowId {
    RowId((u128::from(number) + 1) << 64 | 0x8000_0000_0000_0000)
}

fn body(number: u64, version: u64) -> Bytes {
    let mut body = BytesMut::with_capacity(BODY_BYTES);
    body.put_u64(number);
    body.put_u64(version);
    while body.len() < BODY_BYTES {
        body.put_u8(b'a' + (body.len() % 23) as u8);
    }
    body.freeze()
}

/// The document as people would query it, for stores that keep that, too; about as long as the document.
pub(crate) fn readable(name: &str) -> Bytes {
    let notes = BODY_BYTES.saturating_sub(name.len() + 24);
    format!(r#"{{"name":"{name}","notes":"{}"}}"#, "n".repeat(notes)).into()
}

/// A row that no index knows, as long as one of [`make`]: what a put into a store without indexes is compared with.
pub(crate) fn make_plain(number: u64, version: u64) -> NewRow {
    let mut new = make(number, version);
    let row = &mut new.row;
    row.body = [&row.body[..], &row.extract.as_bytes()[..]].concat().into();
    row.extract = Extract::default();
    new
}

/// What creating the resource with this number commits, as the API does it after `head`.
pub(crate) fn create(number: u64, head: Position, is_readable: bool) -> Batch {
    create_row(make(number, head.sequence + 1), head, is_readable)
}

/// What creating a row without index entries commits.
pub(crate) fn create_plain(number: u64, head: Position, is_readable: bool) -> Batch {
    create_row(make_plain(number, head.sequence + 1), head, is_readable)
}

fn create_row(new: NewRow, head: Position, is_readable: bool) -> Batch {
    let readable = is_readable.then(|| readable(&new.name));
    let key = key(new.name);
    Batch {
        conditions: vec![
            Condition::RowAbsent { key: key.clone() },
            Condition::NotRemovedSince { key: key.clone(), since: head },
        ],
        writes: vec![Write::Put { key, row: new.row, readable }],
    }
}

/// What replacing it at `found` with `version` commits; its id and entries stay.
pub(crate) fn update(number: u64, found: u64, version: u64, is_readable: bool) -> Batch {
    let new = make(number, version);
    let readable = is_readable.then(|| readable(&new.name));
    let key = key(new.name);
    Batch {
        conditions: vec![Condition::RowAt { key: key.clone(), version: found }],
        writes: vec![Write::Put { key, row: new.row, readable }],
    }
}

/// One batch that does what all of `batches` do.
pub(crate) fn together(batches: impl IntoIterator<Item = Batch>) -> Batch {
    let mut all = Batch::default();
    for batch in batches {
        all.conditions.extend(batch.conditions);
        all.writes.extend(batch.writes);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_bodies_have_one_size() {
        let rows: Vec<Row> = (0..100).map(|n| make(n, 7).row).collect();
        assert!(rows.is_sorted_by(|a, b| a.id < b.id));
        assert!(rows.iter().all(|row| row.body.len() == BODY_BYTES));
        assert!(rows.iter().all(|row| row.extract.entries().count() == ENTRIES));
    }

    #[test]
    fn one_row_of_a_hundred_is_at_a_site_and_one_of_ten_is_of_a_model() {
        let rows: Vec<NewRow> = (0..100_000).map(|n| make(n, 1)).collect();
        let at_site = rows.iter().filter(|row| row.site == site(42)).count();
        let of_model = rows.iter().filter(|row| row.model == model(4)).count();
        assert!((900..1_100).contains(&at_site), "{at_site}");
        assert!((9_500..10_500).contains(&of_model), "{of_model}");
    }

    #[test]
    fn the_readable_form_is_json_of_about_the_size_of_the_document() {
        let text = readable(&make(5, 1).name);
        assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
        assert!(text.len().abs_diff(BODY_BYTES) < 10, "{}", text.len());
    }
}
