//! The registry as everyone above sees it: immutable, cheap to share, resolved at load.
//!
//! Every lookup that a request needs (method, type, pattern, parents, references) is a field or one map access here.
//! How it is made from protos and manifests is the business of `load` and `build`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, MethodDescriptor};

use crate::http::HttpRule;
use crate::pattern::Pattern;
use crate::upgrade::Upgrade;

/// All services that a node knows.
#[derive(Debug, Default)]
pub struct Registry {
    /// In the order in which they were given.
    pub services: Vec<Arc<Service>>,
    /// Every method by its gRPC path, `/package.Service/Method`.
    pub methods: HashMap<String, Arc<Method>>,
    /// Every type by kind, in the order of its service's versions (oldest first).
    pub types: BTreeMap<String, Vec<Arc<ResourceType>>>,
}

/// A set of resource types under one domain name, in one or more API versions.
#[derive(Debug)]
pub struct Service {
    /// The domain name, `devices.example.com`.
    pub name: String,
    /// Oldest first; the last is what a new deployment starts with.
    pub versions: Vec<Arc<ServiceVersion>>,
    /// Services that are accessed but never referenced.
    pub uses: Vec<String>,
    pub mixins: Vec<String>,
    /// How each version but the oldest follows from the one before, in their order: one less than there are versions.
    pub upgrades: Vec<Arc<Upgrade>>,
}

/// One API version of a service.
#[derive(Debug)]
pub struct ServiceVersion {
    pub service: String,
    /// `v1`, `v1alpha2`.
    pub version: String,
    /// The proto package, `example.devices.v1`.
    pub package: String,
    /// Imported services and the version of each that this version imports.
    pub imports: BTreeMap<String, String>,
    /// All descriptors of the *service* (versions of one service share a pool).
    pub pool: DescriptorPool,
    /// Names of the files in `pool` that belong to this version, synthesised ones included.
    pub files: Vec<String>,
    /// Texts of the files of the service that were read as text, or made, by their names in `pool`; shared by its versions.
    pub sources: Arc<BTreeMap<String, String>>,
    pub types: Vec<Arc<ResourceType>>,
    pub methods: Vec<Arc<Method>>,
}

/// A resource type in one API version.
#[derive(Debug)]
pub struct ResourceType {
    /// `devices.example.com/Device`.
    pub kind: String,
    pub service: String,
    pub version: String,
    /// `Device`.
    pub singular: String,
    /// `Devices`; the collection segment is in the patterns.
    pub plural: String,
    pub message: MessageDescriptor,
    /// In declared order; never empty.
    pub patterns: Vec<Pattern>,
    /// The kinds that a name's parent may be, resolved from the patterns; `None` is the root.
    pub parents: Vec<Parent>,
    /// The field that holds the name (`name` unless `google.api.resource.name_field` says otherwise).
    pub name_field: FieldDescriptor,
    pub metadata: MetadataPlace,
    pub standard: StandardFields,
    pub references: Vec<Reference>,
    /// What the deletion of the parent does; the parent in a name is a reference too.
    pub parent_rule: ParentRule,
    /// What `google.api.field_behavior` says, by path from the resource, at any depth.
    pub fields: FieldRules,
    /// A name has a region segment (`regions/{region}` unless configured otherwise).
    pub regional: bool,
    /// The literal before the region in patterns: `regions` unless configured otherwise.
    pub region_collection: String,
    /// Field paths for full-text search; empty if not searchable.
    pub searchable: Vec<String>,
    /// Field paths with a declared index.
    pub index: Vec<String>,
    pub opt_outs: OptOuts,
    /// A deleted resource is marked, and there until all that refers to it is gone and nobody holds it by a finaliser.
    /// Then the type has constraints and metadata.
    pub async_deletion: bool,
    pub policy_holder: bool,
    /// `DEFAULT`, `NEVER`, `ALWAYS_IN_SCOPE`, `ALWAYS_GLOBALLY`.
    pub sync_type: SyncType,
    pub id_pattern: Option<String>,
    /// Fields of each declared view (`NAME`, `BASIC`, `DETAIL`); a view that is absent is not declared.
    pub views: BTreeMap<String, Vec<String>>,
    /// Where the type is declared, for diagnostics and `schema show`.
    pub declared_in: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Kind of the parent type; `None` for the root, or when no loaded type has the parent's pattern.
    pub kind: Option<String>,
    /// The parent's pattern, as it stands in the child's; empty for the root.
    pub pattern: String,
}

/// How the reference to the parent, implied by the name, behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentRule {
    /// `Cascade` unless declared; never `Unset`.
    pub on_delete: Behaviour,
    /// `Async` unless declared.
    pub mode: Mode,
}

/// Where a resource's `goten.types.Meta` lives.
#[derive(Clone, Debug)]
pub enum MetadataPlace {
    /// In this field of the resource message.
    Inside(FieldDescriptor),
    /// Beside the document (types that do not know Bowline, such as Google's own).
    Beside,
    /// Opted out: the type has none.
    None,
}

/// Standard AIP fields that the type declares itself (AIP-148), filled from metadata on save.
#[derive(Clone, Debug, Default)]
pub struct StandardFields {
    pub uid: Option<FieldDescriptor>,
    pub etag: Option<FieldDescriptor>,
    pub create_time: Option<FieldDescriptor>,
    pub update_time: Option<FieldDescriptor>,
    pub delete_time: Option<FieldDescriptor>,
    pub labels: Option<FieldDescriptor>,
    pub annotations: Option<FieldDescriptor>,
    pub reconciling: Option<FieldDescriptor>,
    pub display_name: Option<FieldDescriptor>,
}

/// A field that names another resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// From the resource, without indexes or keys: `spec.interfaces.network`.
    pub path: String,
    pub target: Target,
    pub on_target_delete: Behaviour,
    pub mode: Mode,
    /// No loaded service has the target's kind: kept and shown, never enforced.
    pub external: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A resource of this kind.
    Kind(String),
    /// Any parent that this kind can have (`child_type`).
    ParentOf(String),
    /// Any resource (`type: "*"`).
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Block,
    Cascade,
    Unset,
    AllowDangling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Sync,
    Async,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncType {
    #[default]
    Default,
    Never,
    AlwaysInScope,
    AlwaysGlobally,
}

/// Field behaviours by dotted proto path from the resource (`spec.serial`), each sorted.
#[derive(Clone, Debug, Default)]
pub struct FieldRules {
    pub output_only: Vec<String>,
    pub required: Vec<String>,
    pub immutable: Vec<String>,
    pub input_only: Vec<String>,
}

/// What a type opted out of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptOuts {
    pub constraints: bool,
    pub metadata: bool,
    pub multi_region: bool,
}

/// A method of a gRPC service.
#[derive(Debug)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: String,
    pub descriptor: MethodDescriptor,
    pub service: String,
    pub version: String,
    /// Made by Bowline because the protos have no service for the type.
    pub synthesised: bool,
    /// Rules of `google.api.http`, or the AIP defaults; the first is the primary one.
    pub http: Vec<HttpRule>,
    pub role: Role,
}

#[derive(Clone, Debug)]
pub enum Role {
    /// Served by the engine.
    Standard(Arc<Binding>),
    /// Served by a handler that the program registers, otherwise `UNIMPLEMENTED`.
    Action {
        /// Why a method whose name looks standard could not be bound; `None` if it does not look standard.
        unbound: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    Get,
    BatchGet,
    List,
    Create,
    Update,
    Delete,
    /// A stream of changes of one resource.
    WatchOne,
    /// A stream of changes of a collection.
    Watch,
}

/// A standard method, bound to a type by field name and type.
#[derive(Debug)]
pub struct Binding {
    pub verb: Verb,
    pub resource: Arc<ResourceType>,
    pub request: RequestFields,
    pub response: Response,
}

/// The request fields that the binding found. Which are required depends on the verb.
#[derive(Clone, Debug, Default)]
pub struct RequestFields {
    pub name: Option<FieldDescriptor>,
    pub names: Option<FieldDescriptor>,
    pub parent: Option<FieldDescriptor>,
    /// The resource; for a request that *is* the resource see `request_is_resource`.
    pub resource: Option<FieldDescriptor>,
    pub request_is_resource: bool,
    pub resource_id: Option<FieldDescriptor>,
    pub page_size: Option<FieldDescriptor>,
    pub page_token: Option<FieldDescriptor>,
    pub filter: Option<FieldDescriptor>,
    pub order_by: Option<FieldDescriptor>,
    pub update_mask: Option<FieldDescriptor>,
    /// `field_mask` or `read_mask`.
    pub field_mask: Option<FieldDescriptor>,
    pub view: Option<FieldDescriptor>,
    pub etag: Option<FieldDescriptor>,
    /// `{conditional_state, field_mask}`.
    pub cas: Option<FieldDescriptor>,
    pub allow_missing: Option<FieldDescriptor>,
    pub validate_only: Option<FieldDescriptor>,
    pub request_id: Option<FieldDescriptor>,
    pub force: Option<FieldDescriptor>,
    pub show_deleted: Option<FieldDescriptor>,
    /// `{skip_entire_response_body, updated_fields_only, body_mask}`.
    pub response_mask: Option<FieldDescriptor>,
    pub include_paging_info: Option<FieldDescriptor>,
    pub watch: WatchFields,
}

#[derive(Clone, Debug, Default)]
pub struct WatchFields {
    pub kind: Option<FieldDescriptor>,
    pub resume_token: Option<FieldDescriptor>,
    pub max_chunk_size: Option<FieldDescriptor>,
    pub starting_time: Option<FieldDescriptor>,
}

/// What the method answers with.
#[derive(Clone, Debug)]
pub enum Response {
    /// The resource itself.
    Resource,
    /// `google.protobuf.Empty`, or any message without the resource (answered empty).
    Empty,
    /// `google.longrunning.Operation`, finished, with the resource (or Empty) in `response`.
    Operation {
        /// Full name of the message of `operation_info.metadata_type`, if the pool has it.
        metadata: Option<MessageDescriptor>,
        /// Whether `operation_info.response_type` is the resource, so that even a delete answers with it.
        has_resource: bool,
    },
    List {
        items: FieldDescriptor,
        next_page_token: Option<FieldDescriptor>,
        prev_page_token: Option<FieldDescriptor>,
        /// `current_offset`, `total_results_count` or `total_size`.
        total: Option<FieldDescriptor>,
        current_offset: Option<FieldDescriptor>,
        /// Repeated strings (AIP-217), empty in one region.
        unreachable: Option<FieldDescriptor>,
    },
    BatchGet {
        items: FieldDescriptor,
        missing: Option<FieldDescriptor>,
    },
    /// Stream messages in the shape that the synthesised service declares; found by field name.
    Watch(WatchResponse),
}

/// Fields of a watch response and of its change message; names as in `GetterResponse` of the synthesised protos:
/// `change(s)` with oneof `added | modified | removed | current`.
#[derive(Clone, Debug)]
pub struct WatchResponse {
    /// `change` (WatchOne) or `<r>_changes` (Watch).
    pub changes: FieldDescriptor,
    pub page_token_change: Option<FieldDescriptor>,
    pub is_current: Option<FieldDescriptor>,
    pub resume_token: Option<FieldDescriptor>,
    pub snapshot_size: Option<FieldDescriptor>,
    pub is_soft_reset: Option<FieldDescriptor>,
    pub is_hard_reset: Option<FieldDescriptor>,
}

impl Registry {
    /// The type of this kind in this version.
    pub fn resource_type(&self, kind: &str, version: &str) -> Option<&Arc<ResourceType>> {
        self.types.get(kind)?.iter().find(|t| t.version == version)
    }

    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.iter().find(|s| s.name == name)
    }

    /// All types of all services and versions.
    pub fn all_types(&self) -> impl Iterator<Item = &Arc<ResourceType>> {
        self.services.iter().flat_map(|s| &s.versions).flat_map(|v| &v.types)
    }
}
