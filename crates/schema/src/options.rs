//! Custom options of descriptors, read by number.
//!
//! Options are encoded once more and decoded into the structs here. So it makes no difference whether the file that defines an
//! option was there when the protos were compiled (the option is an extension) or not (it is an unknown field).

use prost::Message;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor,
};

/// `google.api.ResourceDescriptor`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ResourceDescriptor {
    #[prost(string, tag = "1")]
    pub(crate) r#type: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) pattern: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name_field: String,
    #[prost(string, tag = "5")]
    pub(crate) plural: String,
    #[prost(string, tag = "6")]
    pub(crate) singular: String,
}

/// `google.api.ResourceReference`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ResourceReference {
    #[prost(string, tag = "1")]
    pub(crate) r#type: String,
    #[prost(string, tag = "2")]
    pub(crate) child_type: String,
}

/// `goten.annotations.ResourceSpec`, what is read of it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GotenResource {
    #[prost(string, tag = "1")]
    pub(crate) plural: String,
    #[prost(string, tag = "5")]
    pub(crate) id_pattern: String,
    #[prost(int32, tag = "7")]
    pub(crate) on_parent_deleted: i32,
    #[prost(message, repeated, tag = "8")]
    pub(crate) views: Vec<GotenView>,
    #[prost(bool, tag = "11")]
    pub(crate) async_deletion: bool,
    #[prost(bool, tag = "12")]
    pub(crate) disable_db_constraints: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GotenView {
    #[prost(int32, tag = "1")]
    pub(crate) view: i32,
    #[prost(message, repeated, tag = "2")]
    pub(crate) fields: Vec<GotenViewField>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GotenViewField {
    #[prost(string, tag = "1")]
    pub(crate) path: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GotenSearch {
    #[prost(string, repeated, tag = "1")]
    pub(crate) fully_searchable: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GotenSyncing {
    #[prost(int32, tag = "1")]
    pub(crate) r#type: i32,
}

/// `goten.annotations.FieldType`: what is read of the oneof.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GotenFieldType {
    #[prost(message, optional, tag = "2")]
    pub(crate) reference: Option<GotenReference>,
    #[prost(message, optional, tag = "8")]
    pub(crate) parent_reference: Option<GotenReference>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GotenReference {
    #[prost(string, tag = "1")]
    pub(crate) resource: String,
    #[prost(int32, tag = "2")]
    pub(crate) target_delete_behavior: i32,
}

/// `bowline.Reference`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BowlineReference {
    #[prost(int32, tag = "1")]
    pub(crate) on_target_delete: i32,
    #[prost(int32, tag = "2")]
    pub(crate) mode: i32,
}

/// `bowline.Resource`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BowlineResource {
    #[prost(int32, tag = "1")]
    pub(crate) on_parent_delete: i32,
    #[prost(int32, tag = "2")]
    pub(crate) parent_mode: i32,
    #[prost(string, tag = "3")]
    pub(crate) id_pattern: String,
    #[prost(int32, tag = "4")]
    pub(crate) sync_type: i32,
    #[prost(string, repeated, tag = "5")]
    pub(crate) searchable: Vec<String>,
    #[prost(string, repeated, tag = "6")]
    pub(crate) index: Vec<String>,
    #[prost(bool, tag = "7")]
    pub(crate) disable_constraints: bool,
    #[prost(bool, tag = "8")]
    pub(crate) async_deletion: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MessageOptions {
    #[prost(message, optional, tag = "1053")]
    pub(crate) resource: Option<ResourceDescriptor>,
    #[prost(message, optional, tag = "51501")]
    pub(crate) bowline: Option<BowlineResource>,
    #[prost(message, optional, tag = "69010")]
    pub(crate) goten: Option<GotenResource>,
    #[prost(message, optional, tag = "69013")]
    pub(crate) goten_search: Option<GotenSearch>,
    #[prost(message, optional, tag = "69100")]
    pub(crate) goten_syncing: Option<GotenSyncing>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FieldOptions {
    #[prost(int32, repeated, packed = "false", tag = "1052")]
    pub(crate) behavior: Vec<i32>,
    #[prost(message, optional, tag = "1055")]
    pub(crate) reference: Option<ResourceReference>,
    #[prost(message, optional, tag = "51500")]
    pub(crate) bowline: Option<BowlineReference>,
    #[prost(bool, tag = "69022")]
    pub(crate) goten_output_only: bool,
    #[prost(message, optional, tag = "69030")]
    pub(crate) goten_type: Option<GotenFieldType>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FileOptions {
    #[prost(message, repeated, tag = "1053")]
    pub(crate) definitions: Vec<ResourceDescriptor>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MethodOptions {
    #[prost(message, optional, tag = "1049")]
    pub(crate) operation_info: Option<OperationInfo>,
    #[prost(message, optional, tag = "72295728")]
    pub(crate) http: Option<HttpRuleOption>,
}

/// `google.longrunning.OperationInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OperationInfo {
    #[prost(string, tag = "1")]
    pub(crate) response_type: String,
    #[prost(string, tag = "2")]
    pub(crate) metadata_type: String,
}

/// `google.api.HttpRule`; of the oneof, the last set wins in the order of the fields.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HttpRuleOption {
    #[prost(string, optional, tag = "2")]
    pub(crate) get: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) put: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) post: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(crate) delete: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) patch: Option<String>,
    #[prost(message, optional, tag = "8")]
    pub(crate) custom: Option<CustomPattern>,
    #[prost(string, tag = "7")]
    pub(crate) body: String,
    #[prost(string, tag = "12")]
    pub(crate) response_body: String,
    #[prost(message, repeated, tag = "11")]
    pub(crate) additional_bindings: Vec<HttpRuleOption>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CustomPattern {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, tag = "2")]
    pub(crate) path: String,
}

/// Values of `google.api.FieldBehavior` that are read.
pub(crate) mod behavior {
    pub(crate) const REQUIRED: i32 = 2;
    pub(crate) const OUTPUT_ONLY: i32 = 3;
    pub(crate) const INPUT_ONLY: i32 = 4;
    pub(crate) const IMMUTABLE: i32 = 5;
    pub(crate) const IDENTIFIER: i32 = 8;
}

/// An option whose number somebody else uses in another way reads as if it were not there.
fn read<T: Message + Default>(options: &DynamicMessage) -> T {
    T::decode(options.encode_to_vec().as_slice()).unwrap_or_default()
}

pub(crate) fn of_message(message: &MessageDescriptor) -> MessageOptions {
    if message.descriptor_proto().options.is_none() {
        return MessageOptions::default();
    }
    read(&message.options())
}

pub(crate) fn of_field(field: &FieldDescriptor) -> FieldOptions {
    if field.field_descriptor_proto().options.is_none() {
        return FieldOptions::default();
    }
    read(&field.options())
}

pub(crate) fn of_file(file: &FileDescriptor) -> FileOptions {
    read(&file.options())
}

pub(crate) fn of_method(method: &MethodDescriptor) -> MethodOptions {
    if method.method_descriptor_proto().options.is_none() {
        return MethodOptions::default();
    }
    read(&method.options())
}
