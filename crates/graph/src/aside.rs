//! What is kept in a resource's row beside its document: metadata of types that have no field for it, and the outbound part
//! of the resource's shadow. Saves of the resource write it; nothing else does.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_store::RowId;
use bowline_wire::bowline::graph::v1 as stored;
use bytes::Bytes;
use prost::Message;

use crate::Damaged;
use crate::reference::{Behaviour, Entry, TargetName};

/// What is beside a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// As `Document::encode` gave it; often empty.
    pub metadata: Bytes,
    /// Sorted by path and target.
    pub references: Vec<Held>,
}

/// A reference that a committed resource holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Held {
    /// From the resource, without indexes or keys; empty: the parent in its name.
    pub path: String,
    pub target: TargetName,
    pub behaviour: Behaviour,
    /// Its consequence is part of the deleting commit, where the target is in the same deployment.
    pub is_sync: bool,
    /// Which resource of that name.
    pub uid: RowId,
    /// Where the target was owned when the reference was established; `None`: in this deployment.
    pub region: Option<Arc<str>>,
}

impl Held {
    pub fn of(entry: &Entry, uid: RowId, region: Option<Arc<str>>) -> Self {
        let Entry { path, target, behaviour, is_sync } = entry.clone();
        Self { path, target, behaviour, is_sync, uid, region }
    }

    /// Without what only its establishment told.
    pub fn entry(&self) -> Entry {
        let Self { path, target, behaviour, is_sync, .. } = self.clone();
        Entry { path, target, behaviour, is_sync }
    }
}

/// Of all that a resource holds, the strictest reference to each target.
pub fn strictest(held: &[Held]) -> BTreeMap<&TargetName, &Held> {
    let mut strictest: BTreeMap<&TargetName, &Held> = BTreeMap::new();
    for held in held {
        let best = strictest.entry(&held.target).or_insert(held);
        if held.behaviour < best.behaviour {
            *best = held;
        }
    }
    strictest
}

impl Aside {
    /// Empty if there is nothing to keep.
    pub fn encode(&self) -> Bytes {
        let references = self.references.iter().map(stored_reference).collect();
        stored::Aside { metadata: self.metadata.clone().into(), references }.encode_to_vec().into()
    }

    /// # Errors
    /// If the bytes are not what [`Aside::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let damaged = |source| Damaged { what: "part beside a resource".to_owned(), source };
        let read = stored::Aside::decode(bytes).map_err(damaged)?;
        if read.metadata.is_empty() && read.references.is_empty() {
            // A row of before references: all of it is metadata.
            return Ok(Self { metadata: Bytes::copy_from_slice(bytes), references: Vec::new() });
        }
        let references = read.references.into_iter().filter_map(held).collect();
        Ok(Self { metadata: read.metadata.into(), references })
    }
}

fn stored_reference(held: &Held) -> stored::Reference {
    stored::Reference {
        path: held.path.clone(),
        kind: held.target.kind.to_string(),
        name: held.target.name.to_string(),
        version: held.target.version.to_string(),
        behaviour: held.behaviour as u32,
        sync: held.is_sync,
        uid: held.uid.0.to_be_bytes().to_vec(),
        region: held.region.as_deref().unwrap_or_default().to_owned(),
    }
}

/// `None` for a behaviour of a later program.
fn held(stored: stored::Reference) -> Option<Held> {
    let uid: [u8; 16] = stored.uid.as_slice().try_into().unwrap_or_default();
    Some(Held {
        path: stored.path,
        target: TargetName::new(&*stored.kind, &*stored.version, &*stored.name),
        behaviour: Behaviour::of_number(stored.behaviour)?,
        is_sync: stored.sync,
        uid: RowId(u128::from_be_bytes(uid)),
        region: (!stored.region.is_empty()).then(|| stored.region.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_beside_comes_back() {
        let held = Held {
            path: "spec.network".to_owned(),
            target: TargetName::new("net.test/Network", "v1", "networks/n"),
            behaviour: Behaviour::Unset,
            is_sync: false,
            uid: RowId(9 << 80),
            region: Some("eu".into()),
        };
        let local = Held { region: None, is_sync: true, ..held.clone() };
        let aside = Aside { metadata: Bytes::from_static(b"m"), references: vec![held, local] };
        assert_eq!(Aside::decode(&aside.encode()).unwrap(), aside);
    }

    #[test]
    fn metadata_of_before_references_is_read() {
        let meta = bowline_wire::goten::types::Meta { uuid: "u".to_owned(), ..Default::default() };
        let bytes = meta.encode_to_vec();
        assert_eq!(Aside::decode(&bytes).unwrap().metadata, bytes);
    }

    #[test]
    fn nothing_takes_no_space() {
        assert_eq!(Aside::default().encode(), Bytes::new());
        assert_eq!(Aside::decode(b"").unwrap(), Aside::default());
        assert!(Aside::decode(b"\xff\xff").is_err());
    }
}
