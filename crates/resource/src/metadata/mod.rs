//! `goten.types.Meta`: what every managed resource carries besides its own fields.
//!
//! [`Meta`] is the typed form, [`stamp`] what happens to it on a write, [`standard`] how AIP fields of the resource are
//! filled from it. Where it is kept (inside the resource or beside it) is the business of [`crate::document`].

mod beside;
mod finalizers;
mod stamp;
mod standard;

use std::collections::BTreeMap;

use prost_types::Timestamp;

pub use beside::descriptor;
pub use finalizers::{FinalizerError, check_finalizers};
pub use stamp::{WRITABLE, etag_of};
pub(crate) use standard::{fill as fill_standard, take_writable as take_standard};

/// Metadata of a resource; numbers as in `proto/goten/types/meta.proto`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Meta {
    #[prost(message, optional, tag = "1")]
    pub create_time: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub update_time: Option<Timestamp>,
    /// Made once; a resource that is made anew under the same name has another.
    #[prost(string, tag = "3")]
    pub uuid: String,
    #[prost(string, repeated, tag = "4")]
    pub tags: Vec<String>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub annotations: BTreeMap<String, String>,
    /// Grows by one when the specification changes.
    #[prost(int64, tag = "7")]
    pub generation: i64,
    /// Opaque to clients; a decimal number that grows with every write.
    #[prost(string, tag = "8")]
    pub resource_version: String,
    #[prost(message, repeated, tag = "13")]
    pub owner_references: Vec<OwnerReference>,
    #[prost(btree_map = "string, int64", tag = "14")]
    pub shards: BTreeMap<String, i64>,
    #[prost(message, optional, tag = "15")]
    pub syncing: Option<SyncingMeta>,
    /// When deletion was asked for, if it takes its time.
    #[prost(message, optional, tag = "16")]
    pub delete_time: Option<Timestamp>,
    #[prost(message, optional, tag = "17")]
    pub lifecycle: Option<Lifecycle>,
    #[prost(message, optional, tag = "18")]
    pub services: Option<ServicesInfo>,
    /// Our own addition: who has to do something before the resource may be gone once it is being deleted.
    #[prost(string, repeated, tag = "500")]
    pub finalizers: Vec<String>,
}

/// A resource that must exist for this one to.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct OwnerReference {
    #[prost(string, tag = "2")]
    pub kind: String,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(bool, tag = "6")]
    pub controller: bool,
    #[prost(string, tag = "8")]
    pub version: String,
    #[prost(string, tag = "9")]
    pub region: String,
    #[prost(bool, tag = "10")]
    pub requires_owner_reference: bool,
    #[prost(bool, tag = "11")]
    pub unset_on_delete: bool,
    /// Our own addition: the owner's `uuid`, so that a namesake made later is not taken for it.
    #[prost(string, tag = "500")]
    pub uid: String,
}

/// Which region owns the resource and where copies go.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SyncingMeta {
    #[prost(string, tag = "1")]
    pub owning_region: String,
    /// `*` is every region.
    #[prost(string, repeated, tag = "2")]
    pub regions: Vec<String>,
}

/// Whether the resource is on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Lifecycle {
    #[prost(enumeration = "LifecycleState", tag = "1")]
    pub state: i32,
    #[prost(bool, tag = "2")]
    pub block_deletion: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum LifecycleState {
    Undefined = 0,
    Active = 1,
    Deleting = 2,
}

/// Which services use the resource.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ServicesInfo {
    #[prost(string, tag = "1")]
    pub owning_service: String,
    #[prost(string, repeated, tag = "2")]
    pub allowed_services: Vec<String>,
}

impl Meta {
    /// The version as a number; `None` before the first write, or if it is not one of ours.
    pub fn version(&self) -> Option<u64> {
        self.resource_version.parse().ok()
    }
}
