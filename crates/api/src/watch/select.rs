//! What one change means for one watch: decided on the resource before and after.

use std::sync::Arc;

use bowline_resource::change as seen;
use bytes::Bytes;

use super::hub::SharedChange;
use super::message::Event;
use crate::engine::select::Selection;

/// The meaning of a change for a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Outside of the view before and after, or nothing that the mask shows has changed.
    Nothing,
    /// In the view now, in this state.
    Current(Bytes),
    /// Was in the view and is no more: deleted, or left the filter.
    Removed(String),
}

impl Effect {
    pub(super) fn into_event(self) -> Option<Event> {
        match self {
            Self::Nothing => None,
            Self::Current(body) => Some(Event::Current { body }),
            Self::Removed(name) => Some(Event::Removed { name, index: None }),
        }
    }
}

/// Judges `change` by `selection`.
pub(super) fn effect(selection: &Selection, change: &Arc<SharedChange>) -> Effect {
    if !selection.scope.contains(change.name()) {
        return Effect::Nothing;
    }
    if selection.passes_all() {
        return match &change.change.after {
            Some(row) => Effect::Current(row.body.clone()),
            None => Effect::Removed(change.name().to_owned()),
        };
    }
    let ty = &selection.ty;
    let (before, after) = (change.before(ty), change.after(ty));
    let (before, after) = (before.map(|d| &**d), after.map(|d| &**d));
    match (seen::effect(before, after, &selection.filter, &selection.mask), after) {
        (Some(seen::Effect::Added | seen::Effect::Modified), Some(after)) => {
            let stored = change.change.after.as_ref().map(|row| row.body.clone());
            Effect::Current(selection.view(after, stored))
        }
        (Some(seen::Effect::Removed), _) => Effect::Removed(change.name().to_owned()),
        _ => Effect::Nothing,
    }
}
