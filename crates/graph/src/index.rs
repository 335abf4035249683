//! The reverse index: which resources of this deployment refer to a target, wherever the target is.
//!
//! Every resource brings an entry for each target that it refers to, in an index of its API version's namespace. The value
//! is a digest of the target (its name may be longer than a value), its uid, and the rule: all that refer to one resource
//! by one name lie together, those that block first. A name alone does not say which resource is meant: where versions of a
//! service are stored beside each other, another one may be called so in another of them.

use std::sync::Arc;

use bowline_store::{ExtractBuilder, Index, IndexRange, Row, RowId, Value};
use ring::digest::{Context, SHA256};

use crate::aside::Held;
use crate::reference::{Behaviour, TargetName};

/// The name of the index.
pub const REFERENCES: &str = "~referrers";
/// The field of a resource's row that says that it may be referred to: its uid, while it is active.
pub const ACTIVE: &str = "~active";

/// The field of the row of a resource that is being deleted and kept until that is finished: its uid.
pub const MARKED: &str = "~deleting";

const DIGEST_BYTES: usize = 16;

/// What happens to a referrer, as the order of the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    Block = 1,
    CascadeSync = 2,
    UnsetSync = 3,
    CascadeAsync = 4,
    UnsetAsync = 5,
}

impl Rule {
    /// In the order of the index.
    pub const ALL: [Self; 5] =
        [Self::Block, Self::CascadeSync, Self::UnsetSync, Self::CascadeAsync, Self::UnsetAsync];

    pub fn of(behaviour: Behaviour, is_sync: bool) -> Self {
        match (behaviour, is_sync) {
            (Behaviour::Block, _) => Self::Block,
            (Behaviour::Cascade, true) => Self::CascadeSync,
            (Behaviour::Unset, true) => Self::UnsetSync,
            (Behaviour::Cascade, false) => Self::CascadeAsync,
            (Behaviour::Unset, false) => Self::UnsetAsync,
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| *rule as u8 == byte)
    }
}

/// The index in the namespace of an API version.
pub fn index(namespace: &Arc<str>) -> Index {
    Index { namespace: namespace.clone(), name: REFERENCES.into() }
}

/// Adds the entries of what a resource refers to.
#[must_use]
pub fn enter(extract: ExtractBuilder, references: &[Held]) -> ExtractBuilder {
    references.iter().fold(extract, |extract, held| extract.entry(REFERENCES, value(held)))
}

/// Marks the row of a resource as one that may be referred to.
#[must_use]
pub fn mark_active(extract: ExtractBuilder, uid: RowId) -> ExtractBuilder {
    extract.field(ACTIVE, active(uid))
}

/// The same for a resource that is being deleted: it cannot be referred to, and what it refers to is referred to as before.
/// What it refers to itself by is left out: it goes together with itself.
#[must_use]
pub fn mark_deleting(extract: ExtractBuilder, uid: RowId, references: &[Held]) -> ExtractBuilder {
    let others = references.iter().filter(|held| held.uid != uid);
    let extract = others.fold(extract, |extract, held| extract.entry(REFERENCES, value(held)));
    extract.field(MARKED, active(uid))
}

/// Whether the deletion of the resource in the row has committed.
pub fn is_marked(row: &Row) -> bool {
    row.extract.field(MARKED).is_some()
}

/// What the field [`ACTIVE`] holds for this uid.
pub fn active(uid: RowId) -> Value {
    Value::from(uid.0.to_be_bytes().to_vec())
}

/// All that refers to whatever has, or had, this name, in one namespace.
pub fn range(namespace: &Arc<str>, target: &TargetName) -> IndexRange {
    IndexRange::prefix(index(namespace), Value::from(digest(target).to_vec()))
}

/// All that refers by this name to the resource with that uid.
pub fn range_to(namespace: &Arc<str>, target: &TargetName, uid: RowId) -> IndexRange {
    IndexRange::prefix(index(namespace), Value::from(prefix(target, uid)))
}

/// All that does so by this rule.
pub fn range_by(namespace: &Arc<str>, target: &TargetName, uid: RowId, rule: Rule) -> IndexRange {
    IndexRange::exactly(index(namespace), value_of(target, uid, rule))
}

/// Rule and uid of an entry.
pub fn read(value: &Value) -> Option<(Rule, RowId)> {
    let bytes = value.as_bytes().get(DIGEST_BYTES..)?;
    let (rule, uid) = bytes.split_last()?;
    let uid: [u8; 16] = uid.try_into().ok()?;
    Some((Rule::of_byte(*rule)?, RowId(u128::from_be_bytes(uid))))
}

fn value(held: &Held) -> Value {
    value_of(&held.target, held.uid, Rule::of(held.behaviour, held.is_sync))
}

fn value_of(target: &TargetName, uid: RowId, rule: Rule) -> Value {
    let mut bytes = prefix(target, uid);
    bytes.push(rule as u8);
    Value::from(bytes)
}

fn prefix(target: &TargetName, uid: RowId) -> Vec<u8> {
    let mut bytes = digest(target).to_vec();
    bytes.extend_from_slice(&uid.0.to_be_bytes());
    bytes
}

/// Nobody can choose names that share one: that would let a stranger's reference stand in the way of a deletion.
fn digest(target: &TargetName) -> [u8; DIGEST_BYTES] {
    let mut context = Context::new(&SHA256);
    for part in [&target.kind, &target.version, &target.name] {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&context.finish().as_ref()[..DIGEST_BYTES]);
    digest
}

#[cfg(test)]
mod tests {
    use bowline_store::Extract;

    use super::*;

    fn held(name: &str, behaviour: Behaviour, is_sync: bool) -> Held {
        Held {
            path: "spec.project".to_owned(),
            target: TargetName::new("iam.test/Project", "v1", name),
            behaviour,
            is_sync,
            uid: RowId(7),
            region: None,
        }
    }

    #[test]
    fn what_refers_to_a_target_lies_in_its_range_and_nothing_else_does() {
        let namespace: Arc<str> = "v1".into();
        let one = held("projects/a", Behaviour::Block, true);
        let other = held("projects/b", Behaviour::Unset, false);
        let range = range(&namespace, &one.target);
        assert!(range.contains(&value(&one)));
        assert!(!range.contains(&value(&other)));
        assert_eq!(read(&value(&other)), Some((Rule::UnsetAsync, RowId(7))));
    }

    #[test]
    fn what_is_marked_keeps_what_refers_to_others_and_cannot_be_referred_to() {
        let namespace: Arc<str> = "v1".into();
        let other = held("projects/a", Behaviour::Block, true);
        let itself = Held { uid: RowId(9), ..held("projects/b", Behaviour::Block, true) };
        let extract = mark_deleting(Extract::builder(), RowId(9), &[other.clone(), itself]);
        let row = Row { id: RowId(9), extract: extract.build(), ..Row::default() };
        assert!(is_marked(&row) && row.extract.field(ACTIVE).is_none());
        let entries: Vec<_> = row.extract.entries().map(|entry| entry.value).collect();
        assert_eq!(entries.len(), 1);
        assert!(range(&namespace, &other.target).contains(&entries[0]));
    }

    #[test]
    fn resources_of_one_name_and_rules_have_ranges_of_their_own() {
        let namespace: Arc<str> = "v1".into();
        let cascade = held("projects/a", Behaviour::Cascade, false);
        let to = |uid| range_to(&namespace, &cascade.target, RowId(uid)).contains(&value(&cascade));
        assert!(to(7) && !to(8));
        let by = |rule| range_by(&namespace, &cascade.target, RowId(7), rule);
        assert!(by(Rule::CascadeAsync).contains(&value(&cascade)));
        assert!(!by(Rule::CascadeSync).contains(&value(&cascade)));
        assert!(!by(Rule::Block).contains(&value(&cascade)));
    }
}
