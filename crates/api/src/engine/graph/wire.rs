//! What other deployments send, taken apart: sizes are bounded, bytes are of the length that they must have. Pure.
//!
//! Callers have proved who they are, and can be wrong or of another release all the same.

use bowline_base::{Reason, Status};
use bowline_graph::{Epoch, TargetName};
use bowline_store::RowId;
use bowline_wire::bowline::mixin::v1 as wire;

/// Targets, blockades or questions in one request.
pub(super) const ITEMS_MAX: usize = 1_000;
/// Names of one target: one for each API version of its service.
pub(super) const VERSIONS_MAX: usize = 16;
/// Longest name, in bytes: as long as any name of a resource.
const NAME_BYTES_MAX: usize = 1_024;
/// Longest kind or version, in bytes.
const KIND_BYTES_MAX: usize = 512;
/// Epochs are counted up one by one; none that an owner ever gave is near this, and there is room to count on.
const EPOCH_NUMBER_MAX: u64 = 1 << 62;

/// # Errors
/// `LIMIT_EXCEEDED` naming the field.
pub(super) fn check_count(field: &str, count: usize, max: usize) -> Result<(), Status> {
    if count > max {
        let message = format!("{field} has {count} items; the limit is {max}");
        return Err(Status::bad_field(Reason::LimitExceeded, field, message));
    }
    Ok(())
}

/// A name in one version; what it names need not be there. An empty name passes.
///
/// # Errors
/// `INVALID_FIELD` if it is missing, says no kind or version, or is longer than any name.
pub(super) fn target(
    name: Option<&wire::VersionedName>,
    field: &str,
) -> Result<TargetName, Status> {
    let name = name.ok_or_else(|| bad(field, "is missing"))?;
    let lengths = [name.kind.len(), name.version.len()];
    if name.name.len() > NAME_BYTES_MAX || lengths.iter().any(|len| *len > KIND_BYTES_MAX) {
        return Err(bad(field, "is longer than any name"));
    }
    if !name.kind.contains('/') || name.version.is_empty() {
        return Err(bad(field, "says no kind or no version"));
    }
    Ok(name.into())
}

/// # Errors
/// `INVALID_FIELD` unless they are 16 bytes.
pub(super) fn id(bytes: &[u8], field: &str) -> Result<[u8; 16], Status> {
    bytes.try_into().map_err(|_| bad(field, "is not 16 bytes long"))
}

/// # Errors
/// `INVALID_FIELD` unless it is a uid.
pub(super) fn uid(bytes: &[u8], field: &str) -> Result<RowId, Status> {
    let uid = RowId(u128::from_be_bytes(id(bytes, field)?));
    if uid.is_none() { Err(bad(field, "is nobody's")) } else { Ok(uid) }
}

/// # Errors
/// `INVALID_FIELD` if it is one that nobody gave.
pub(super) fn epoch(epoch: wire::Epoch, field: &str) -> Result<Epoch, Status> {
    if epoch.number > EPOCH_NUMBER_MAX {
        return Err(bad(field, "is above any epoch that was ever given"));
    }
    Ok(epoch.into())
}

pub(super) fn bad(field: &str, why: &str) -> Status {
    Status::bad_field(Reason::InvalidField, field, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versioned(kind: &str, version: &str, name: &str) -> wire::VersionedName {
        let (version, kind, name) = (version.to_owned(), kind.to_owned(), name.to_owned());
        wire::VersionedName { version, kind, name }
    }

    #[test]
    fn only_what_can_be_a_name_is_taken() {
        let taken = |name: wire::VersionedName| target(Some(&name), "target").is_ok();
        assert!(taken(versioned("iam.test/Project", "v1", "projects/p")));
        assert!(taken(versioned("iam.test/Project", "v1", "")));
        assert!(!taken(versioned("Project", "v1", "projects/p")));
        assert!(!taken(versioned("iam.test/Project", "", "projects/p")));
        assert!(!taken(versioned("iam.test/Project", "v1", &"p".repeat(NAME_BYTES_MAX + 1))));
        assert!(!taken(versioned(&"k/".repeat(KIND_BYTES_MAX), "v1", "projects/p")));
        assert!(target(None, "target").is_err());
    }

    #[test]
    fn ids_are_sixteen_bytes_and_epochs_leave_room() {
        assert!(id(&[1; 15], "id").is_err() && id(&[1; 17], "id").is_err());
        assert_eq!(uid(&[0; 16], "uid").unwrap_err().reason, Reason::InvalidField);
        assert_eq!(uid(&1_u128.to_be_bytes(), "uid").unwrap(), RowId(1));
        let high = wire::Epoch { number: u64::MAX, ..wire::Epoch::default() };
        assert_eq!(epoch(high, "fence").unwrap_err().reason, Reason::InvalidField);
    }
}
