//! Planted faults of what is marked by its deletion and kept until finalizers are gone.

use bowline_graph::index;
use bowline_store::{Extract, Key, Row, Write};
use prost::Message;

use super::graph::is_inbound;
use crate::judge::without_finalizers;
use crate::services::Kind;

/// Whether a write keeps the row of what is deleted.
pub(super) fn is_mark(write: &Write) -> bool {
    matches!(write, Write::Put { row, .. } if index::is_marked(row))
}

/// Lets what is marked be referred to.
pub(super) fn admit(write: &mut Write) {
    let Write::Put { row, .. } = write else { return };
    if !index::is_marked(row) {
        return;
    }
    let extract = index::mark_active(Extract::builder(), row.id);
    let fields = row.extract.fields();
    let extract = fields.fold(extract, |extract, (name, value)| extract.field(name, value));
    let entries = row.extract.entries();
    let extract = entries.fold(extract, |extract, entry| extract.entry(entry.index, entry.value));
    row.extract = extract.build();
}

/// Clears the finalizers of marked rows, for those who look whether a deletion has come to its end: they read inbound parts
/// along with the rows.
pub(super) fn hide_finalizers(keys: &[Key], rows: &mut [Option<Row>]) {
    if !keys.iter().any(|key| is_inbound(&key.table)) {
        return;
    }
    for (key, row) in keys.iter().zip(rows) {
        let kind = Kind::of(&key.table.namespace, &key.table.kind);
        let row = row.as_mut().filter(|row| index::is_marked(row));
        if let (Some(kind), Some(row)) = (kind, row) {
            row.body = without_finalizers(kind, row).encode_to_vec().into();
        }
    }
}
