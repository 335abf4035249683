//! Requests and responses of the standard methods that Bowline makes, for any resource type.
//!
//! Their fields have the same numbers for every type, so one message with the resource as a parameter stands for all:
//! `Create<Region>` encodes as `CreateRegionRequest`. Fields that nobody here sends are left out.

use std::fmt::Debug;

use prost::Message;

use crate::goten::types::View;

/// Request of `GetX`; answered with the resource.
#[derive(Clone, PartialEq, Message)]
pub struct Get {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "3")]
    pub field_mask: Option<prost_types::FieldMask>,
    #[prost(enumeration = "View", tag = "4")]
    pub view: i32,
}

/// Request of `ListXs`.
#[derive(Clone, PartialEq, Message)]
pub struct List {
    /// Empty for types without parents.
    #[prost(string, tag = "1")]
    pub parent: String,
    #[prost(int32, tag = "2")]
    pub page_size: i32,
    #[prost(string, tag = "3")]
    pub page_token: String,
    #[prost(string, tag = "4")]
    pub order_by: String,
    #[prost(string, tag = "5")]
    pub filter: String,
    #[prost(message, optional, tag = "6")]
    pub field_mask: Option<prost_types::FieldMask>,
    #[prost(enumeration = "View", tag = "7")]
    pub view: i32,
}

/// Response of `ListXs`.
#[derive(Clone, PartialEq, Message)]
pub struct Listed<R: Message + Default + Debug> {
    #[prost(message, repeated, tag = "1")]
    pub resources: Vec<R>,
    #[prost(string, tag = "4")]
    pub next_page_token: String,
    /// What is missing in `resources` because it could not be asked.
    #[prost(string, repeated, tag = "50")]
    pub unreachable: Vec<String>,
}

/// Request of `CreateX`; answered with the resource.
#[derive(Clone, PartialEq, Message)]
pub struct Create<R: Message + Default + Debug> {
    /// May be empty where the resource says its name.
    #[prost(string, tag = "1")]
    pub parent: String,
    #[prost(message, optional, tag = "2")]
    pub resource: Option<R>,
}

/// Request of `UpdateX`; answered with the resource.
#[derive(Clone, PartialEq, Message)]
pub struct Update<R: Message + Default + Debug> {
    #[prost(message, optional, tag = "2")]
    pub resource: Option<R>,
    /// Empty: all that callers may set.
    #[prost(message, optional, tag = "3")]
    pub update_mask: Option<prost_types::FieldMask>,
    #[prost(message, optional, tag = "4")]
    pub cas: Option<Cas<R>>,
    #[prost(bool, tag = "5")]
    pub allow_missing: bool,
    /// Refused unless the stored resource has this etag, or resource version.
    #[prost(string, tag = "50")]
    pub etag: String,
}

/// The update is refused unless the stored resource has these values.
#[derive(Clone, PartialEq, Message)]
pub struct Cas<R: Message + Default + Debug> {
    #[prost(message, optional, tag = "1")]
    pub conditional_state: Option<R>,
    #[prost(message, optional, tag = "2")]
    pub field_mask: Option<prost_types::FieldMask>,
}

/// Request of `DeleteX`; answered with nothing.
#[derive(Clone, PartialEq, Message)]
pub struct Delete {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(bool, tag = "2")]
    pub allow_missing: bool,
    #[prost(string, tag = "50")]
    pub etag: String,
}
