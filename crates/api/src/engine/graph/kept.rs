//! What is still there of resources that are being deleted: rows that are kept with a mark, finalisers in them, and what
//! refers to them. Purges and refusals are made from the same.

use bowline_base::Status;
use bowline_graph::{TargetName, index, plan_save};
use bowline_store::{IndexRange, Key, Row, RowId, Snapshot, StoreError};

use crate::engine::shape::{Shape, document_of};
use crate::engine::{Deployment, errors};

/// Where the row of a resource with these names can be.
pub(crate) fn row_keys(deployment: &Deployment, names: &[TargetName]) -> Vec<Key> {
    let keys = names.iter().map(plan_save::key);
    keys.filter(|key| deployment.shapes.contains_key(&key.table)).collect()
}

/// The row of a resource that is being deleted, if it is among `rows`, which were read from `keys`. Those of other
/// versions can be of namesakes.
pub(crate) fn kept_row(
    keys: &[Key],
    rows: impl IntoIterator<Item = Option<Row>>,
    uid: RowId,
) -> Option<(Key, Row)> {
    let rows = keys.iter().cloned().zip(rows).filter_map(|(key, row)| Some((key, row?)));
    rows.into_iter().find(|(_, row)| row.id == uid && index::is_marked(row))
}

/// The finalisers in the row of a resource.
///
/// # Errors
/// If the row does not decode.
pub(crate) fn finalizers(shape: &Shape, name: &str, row: &Row) -> Result<Vec<String>, Status> {
    let document = document_of(&shape.ty, row);
    let document = document.map_err(|error| errors::damaged(&shape.ty, name, &error))?;
    Ok(document.meta().finalizers)
}

/// Whether anything here refers to the resource, by any of its names: the condition of a purge is the same.
pub(crate) async fn is_referred_to(
    deployment: &Deployment,
    names: &[TargetName],
    uid: RowId,
    snapshot: &mut dyn Snapshot,
) -> Result<bool, StoreError> {
    let spaces = deployment.namespaces();
    let in_space = |space| names.iter().map(move |name| index::range_to(space, name, uid));
    let ranges: Vec<_> = spaces.iter().flat_map(in_space).collect();
    has_any(snapshot, &ranges).await
}

/// Whether anything lies in one of the ranges of the reverse index. Cost: a look-up for each until one has something.
pub(crate) async fn has_any(
    snapshot: &mut dyn Snapshot,
    ranges: &[IndexRange],
) -> Result<bool, StoreError> {
    for range in ranges {
        if !snapshot.index_keys(range, 1).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
