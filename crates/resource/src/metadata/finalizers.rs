//! Finalisers: names of those who have to do something before a resource that is being deleted may be gone.
//!
//! As Kubernetes has them. Whoever put one there takes it away when it is done; here is only which may be put.

use std::collections::BTreeSet;

use bowline_schema::model::ResourceType;

use super::{LifecycleState, Meta};

/// Longest name behind the domain, in characters.
const NAME_MAX: usize = 63;
/// Longest domain.
const DOMAIN_MAX: usize = 253;

/// Why finalisers are refused; `at` is the place in the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinalizerError {
    #[error("{singular} has no finalizers: resources of the type are deleted at once")]
    NotAsync { singular: String },
    #[error("\"{name}\" is not a qualified name such as \"devices.example.com/drain\"")]
    BadName { at: usize, name: String },
    #[error("\"{name}\" is there twice")]
    Twice { at: usize, name: String },
    #[error("no finalizer can be added to what is being deleted: \"{name}\"")]
    TooLate { name: String },
}

/// Checks the finalisers that a save leaves, which were `before`. What was there may stay whatever the rules say by now.
///
/// # Errors
/// [`FinalizerError`], for the first that is wrong.
pub fn check_finalizers(
    ty: &ResourceType,
    before: &Meta,
    after: &Meta,
) -> Result<(), FinalizerError> {
    let mut seen = BTreeSet::new();
    for (at, name) in after.finalizers.iter().enumerate() {
        if !seen.insert(name) {
            return Err(FinalizerError::Twice { at, name: name.clone() });
        }
        if before.finalizers.contains(name) {
            continue;
        }
        if !ty.async_deletion {
            return Err(FinalizerError::NotAsync { singular: ty.singular.clone() });
        }
        if !is_qualified_name(name) {
            return Err(FinalizerError::BadName { at, name: name.clone() });
        }
        if before.is_deleting() {
            return Err(FinalizerError::TooLate { name: name.clone() });
        }
    }
    Ok(())
}

impl Meta {
    /// Whether it says that the resource's deletion has committed.
    pub fn is_deleting(&self) -> bool {
        self.lifecycle.is_some_and(|lifecycle| lifecycle.state() == LifecycleState::Deleting)
    }
}

/// `name` or `domain/name`, as Kubernetes has it.
fn is_qualified_name(text: &str) -> bool {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    let within = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name = name.len() <= NAME_MAX && has_ends(name) && name.chars().all(within);
    is_name && domain.is_none_or(is_domain)
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        label.len() <= NAME_MAX && has_ends(label) && label.chars().all(is_good)
    };
    text.len() <= DOMAIN_MAX && text.split('.').all(label)
}

/// It begins and ends with a letter or a digit.
fn has_ends(text: &str) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    is_end(text.chars().next()) && is_end(text.chars().last())
}

#[cfg(test)]
mod tests {
    use super::super::Lifecycle;
    use super::*;

    fn meta(finalizers: &[&str]) -> Meta {
        let finalizers = finalizers.iter().map(|text| (*text).to_owned()).collect();
        Meta { finalizers, ..Meta::default() }
    }

    fn check(is_async: bool, before: &Meta, after: &[&str]) -> Result<(), String> {
        let ty = crate::fixture::type_of(&["networks/{network}"]);
        let mut ty = std::sync::Arc::into_inner(ty).unwrap();
        ty.async_deletion = is_async;
        check_finalizers(&ty, before, &meta(after)).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_those_of_kubernetes() {
        let good = ["drain", "a", "example.com/drain", "a-b.example.com/A_1.b"];
        let long = format!("a/{}", "n".repeat(64));
        let bad =
            ["", "/", "a/", "/a", "a/b/c", "-a", "a-", "A.com/x", "a..b/x", "a b", "ä", &long];
        for (names, is_good) in [(&good[..], true), (&bad[..], false)] {
            for name in names {
                assert_eq!(check(true, &meta(&[]), &[name]).is_ok(), is_good, "{name}");
            }
        }
    }

    #[test]
    fn they_are_added_before_the_deletion_and_to_types_that_wait_for_them() {
        let none = meta(&[]);
        let check = |is_async, before: &Meta, after: &[&str]| {
            check(is_async, before, after).err().unwrap_or_default()
        };
        assert_eq!(check(true, &none, &["a", "b"]), "");
        assert_eq!(check(true, &none, &["a", "a"]), "\"a\" is there twice");
        let at_once = check(false, &none, &["a"]);
        assert!(at_once.ends_with("has no finalizers: resources of the type are deleted at once"));
        // The type may have changed since.
        assert_eq!(check(false, &meta(&["a", "b"]), &["b"]), "");

        let marked = meta(&["a", "b"]).on_deletion(jiff::Timestamp::UNIX_EPOCH, 2);
        assert!(marked.is_deleting());
        assert_eq!(check(true, &marked, &["b"]), "");
        let late = "no finalizer can be added to what is being deleted: \"c\"";
        assert_eq!(check(true, &marked, &["a", "b", "c"]), late);
    }

    #[test]
    fn a_mark_blocks_no_less_than_before() {
        let lifecycle = Lifecycle { state: 1, block_deletion: true };
        let meta = Meta { lifecycle: Some(lifecycle), ..meta(&["a"]) };
        let marked = meta.clone().on_deletion(jiff::Timestamp::UNIX_EPOCH, 2);
        assert_eq!((marked.version(), marked.delete_time), (Some(2), marked.update_time));
        assert_eq!(marked.lifecycle, Some(Lifecycle { state: 2, block_deletion: true }));
        assert_eq!(marked.finalizers, meta.finalizers);
    }
}
