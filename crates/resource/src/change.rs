//! What a change of a resource is to one who watches through a filter and a mask.

use crate::document::Document;
use crate::filter::Filter;
use crate::mask::Mask;

/// How a change looks through a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The row came into sight: made, or changed so that it fits the filter.
    Added,
    /// The row is still in sight, and something that the mask shows differs.
    Modified,
    /// The row went out of sight: removed, or changed so that it no longer fits.
    Removed,
}

/// What the change from `before` to `after` is to a watch; `None` if it cannot be seen.
pub fn effect(
    before: Option<&Document>,
    after: Option<&Document>,
    filter: &Filter,
    mask: &Mask,
) -> Option<Effect> {
    let before = before.filter(|document| filter.matches(document));
    let after = after.filter(|document| filter.matches(document));
    match (before, after) {
        (None, None) => None,
        (None, Some(_)) => Some(Effect::Added),
        (Some(_), None) => Some(Effect::Removed),
        (Some(before), Some(after)) => mask.changed(before, after).then_some(Effect::Modified),
    }
}
