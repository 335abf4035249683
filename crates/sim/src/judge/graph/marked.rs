//! What must hold of resources whose deletion has committed and whose rows are kept for a while, with a mark: those of types
//! with asynchronous deletion. Their mark is the verdict; `rules` says what follows from one.

use super::rules::had;
use super::{Changes, Graph, Place, Resource};
use crate::fleet::client::Wish;

/// Whether a deletion has kept the row of what it has deleted if finalizers say so, and only where rows are ever kept.
pub(super) fn is_kept(
    place: &Place,
    before: &Resource,
    after: Option<&Resource>,
) -> Result<(), String> {
    match after {
        Some(_) if !place.kind.is_kept() => {
            Err(format!("{place} is marked, and is of a type that is deleted at once"))
        }
        None if !before.finalizers.is_empty() => {
            Err(format!("{place} is gone, and was held by {:?}", before.finalizers))
        }
        _ => Ok(()),
    }
}

/// What becomes of a marked row: it is written, and stays marked, or it is removed with all that there is of its deletion, and
/// only when no finalizer holds it.
pub(super) fn followed(
    place: &Place,
    before: &Resource,
    after: Option<&Resource>,
    changes: &Changes,
) -> Result<(), String> {
    if after.is_some() {
        return Ok(());
    }
    if !before.finalizers.is_empty() {
        return Err(format!("{place} is gone, and was held by {:?}", before.finalizers));
    }
    match changes.ended.iter().any(|(uid, _)| *uid == before.uid) {
        true => Ok(()),
        false => Err(format!("S5: {place} is gone, and its deletion is not finished")),
    }
}

/// Whether a client's save has the finalizers that it was to have.
pub(super) fn has_finalizers(
    place: &Place,
    wish: &Wish,
    before: Option<&Resource>,
    after: &Resource,
) -> Result<(), String> {
    let expected = match &wish.finalizers {
        Some(wished) => wished.iter().cloned().collect(),
        None => before.map(|before| before.finalizers.clone()).unwrap_or_default(),
    };
    match after.finalizers == expected {
        true => Ok(()),
        false => Err(format!(
            "{place} has finalizers {:?} after {}, which was to make them {expected:?}",
            after.finalizers, after.value
        )),
    }
}

impl Graph {
    /// What is written with a mark: was there before, has a deletion, and gains nothing.
    pub(super) fn is_marked_rightly(
        &self,
        place: &Place,
        before: Option<&Resource>,
        after: &Resource,
    ) -> Result<(), String> {
        if after.is_marked != after.says_deleting {
            let says = if after.says_deleting { "does" } else { "does not" };
            return Err(format!("S5: {place} {says} say that it is being deleted"));
        }
        if !after.is_marked {
            return Ok(());
        }
        let Some(before) = before else {
            return Err(format!("{place} is marked as soon as it is made"));
        };
        if !self.deletions.contains_key(&after.uid) {
            return Err(format!("S5: {place} is marked, and there is no deletion of it"));
        }
        if let Some(held) = after.held.iter().find(|held| !had(before, held)) {
            return Err(format!("S3: {place} is deleted, and begins to refer to {}", held.target));
        }
        match after.finalizers.difference(&before.finalizers).next() {
            Some(added) => Err(format!("{place} is deleted, and {added} begins to hold it")),
            None => Ok(()),
        }
    }
}
