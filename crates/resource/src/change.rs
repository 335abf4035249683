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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{device, device_filter, device_type};

    fn seen(before: Option<&str>, after: Option<&str>) -> Option<Effect> {
        let mask = Mask::parse(&["display_name"], &device_type()).unwrap();
        let (before, after) = (before.map(device), after.map(device));
        effect(before.as_ref(), after.as_ref(), &device_filter("enabled = true"), &mask)
    }

    const ON: Option<&str> = Some(r#"{"enabled": true, "displayName": "a"}"#);
    const ON_RENAMED: Option<&str> = Some(r#"{"enabled": true, "displayName": "b"}"#);
    const ON_MOVED: Option<&str> = Some(r#"{"enabled": true, "displayName": "a", "big": "1"}"#);
    const OFF: Option<&str> = Some(r#"{"displayName": "a"}"#);

    #[test]
    fn rows_come_and_go_by_the_filter_on_both_states() {
        assert_eq!(seen(None, ON), Some(Effect::Added));
        assert_eq!(seen(OFF, ON), Some(Effect::Added));
        assert_eq!(seen(ON, OFF), Some(Effect::Removed));
        assert_eq!(seen(ON, None), Some(Effect::Removed));
        assert_eq!(seen(ON, ON_RENAMED), Some(Effect::Modified));
        assert_eq!(seen(OFF, None), None);
        assert_eq!(seen(None, OFF), None);
    }

    #[test]
    fn a_change_outside_the_mask_is_not_seen() {
        assert_eq!(seen(ON, ON_MOVED), None);
    }
}
