//! The descriptor of `goten.types.Meta` for types that do not have it in their own descriptors.
//!
//! Paths into metadata (`metadata.labels.env`) are then checked and read exactly as paths into the resource are.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, MessageOptions,
};

const META: &str = "goten.types.Meta";
const TIME: &str = ".google.protobuf.Timestamp";

/// The descriptor of metadata that is kept beside a resource.
pub fn descriptor() -> &'static MessageDescriptor {
    static META_DESCRIPTOR: LazyLock<MessageDescriptor> = LazyLock::new(|| {
        let mut pool = DescriptorPool::global();
        pool.add_file_descriptor_proto(file()).expect("our own file is well formed");
        pool.get_message_by_name(META).expect("the file defines it")
    });
    &META_DESCRIPTOR
}

fn file() -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some("goten/types/meta.proto".to_owned()),
        package: Some("goten.types".to_owned()),
        dependency: vec!["google/protobuf/timestamp.proto".to_owned()],
        message_type: vec![meta(), owner_reference(), syncing(), lifecycle(), services()],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

fn meta() -> DescriptorProto {
    let fields = vec![
        message("create_time", 1, TIME),
        message("update_time", 2, TIME),
        scalar("uuid", 3, Type::String),
        repeated(scalar("tags", 4, Type::String)),
        repeated(message("labels", 5, ".goten.types.Meta.LabelsEntry")),
        repeated(message("annotations", 6, ".goten.types.Meta.AnnotationsEntry")),
        scalar("generation", 7, Type::Int64),
        scalar("resource_version", 8, Type::String),
        repeated(message("owner_references", 13, ".goten.types.OwnerReference")),
        repeated(message("shards", 14, ".goten.types.Meta.ShardsEntry")),
        message("syncing", 15, ".goten.types.SyncingMeta"),
        message("delete_time", 16, TIME),
        message("lifecycle", 17, ".goten.types.Lifecycle"),
        message("services", 18, ".goten.types.ServicesInfo"),
        repeated(scalar("finalizers", 500, Type::String)),
    ];
    let entries = vec![
        map_entry("LabelsEntry", Type::String),
        map_entry("AnnotationsEntry", Type::String),
        map_entry("ShardsEntry", Type::Int64),
    ];
    DescriptorProto { nested_type: entries, ..definition("Meta", fields) }
}

fn owner_reference() -> DescriptorProto {
    let fields = vec![
        scalar("kind", 2, Type::String),
        scalar("name", 3, Type::String),
        scalar("controller", 6, Type::Bool),
        scalar("version", 8, Type::String),
        scalar("region", 9, Type::String),
        scalar("requires_owner_reference", 10, Type::Bool),
        scalar("unset_on_delete", 11, Type::Bool),
        scalar("uid", 500, Type::String),
    ];
    definition("OwnerReference", fields)
}

fn syncing() -> DescriptorProto {
    let regions = repeated(scalar("regions", 2, Type::String));
    definition("SyncingMeta", vec![scalar("owning_region", 1, Type::String), regions])
}

fn lifecycle() -> DescriptorProto {
    let value = |(number, name): (i32, &str)| EnumValueDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        ..EnumValueDescriptorProto::default()
    };
    let state = EnumDescriptorProto {
        name: Some("State".to_owned()),
        value: [(0, "UNDEFINED"), (1, "ACTIVE"), (2, "DELETING")].map(value).into(),
        ..EnumDescriptorProto::default()
    };
    let fields = vec![
        typed(field("state", 1, Type::Enum), ".goten.types.Lifecycle.State"),
        scalar("block_deletion", 2, Type::Bool),
    ];
    DescriptorProto { enum_type: vec![state], ..definition("Lifecycle", fields) }
}

fn services() -> DescriptorProto {
    let allowed = repeated(scalar("allowed_services", 2, Type::String));
    definition("ServicesInfo", vec![scalar("owning_service", 1, Type::String), allowed])
}

fn definition(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field, ..DescriptorProto::default() }
}

fn map_entry(name: &str, value: Type) -> DescriptorProto {
    let fields = vec![scalar("key", 1, Type::String), scalar("value", 2, value)];
    let options = MessageOptions { map_entry: Some(true), ..MessageOptions::default() };
    DescriptorProto { options: Some(options), ..definition(name, fields) }
}

fn scalar(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    field(name, number, kind)
}

fn message(name: &str, number: i32, type_name: &str) -> FieldDescriptorProto {
    typed(field(name, number, Type::Message), type_name)
}

fn field(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    }
}

fn typed(field: FieldDescriptorProto, type_name: &str) -> FieldDescriptorProto {
    FieldDescriptorProto { type_name: Some(type_name.to_owned()), ..field }
}

fn repeated(field: FieldDescriptorProto) -> FieldDescriptorProto {
    FieldDescriptorProto { label: Some(Label::Repeated.into()), ..field }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_reflect::DynamicMessage;

    use super::super::{
        Lifecycle, LifecycleState, Meta, OwnerReference, ServicesInfo, SyncingMeta,
    };
    use super::*;

    fn full() -> Meta {
        Meta {
            create_time: Some(prost_types::Timestamp { seconds: 1, nanos: 2 }),
            update_time: Some(prost_types::Timestamp { seconds: 3, nanos: 4 }),
            uuid: "u".into(),
            tags: vec!["t".into()],
            labels: [("a".into(), "b".into())].into(),
            annotations: [("c".into(), "d".into())].into(),
            generation: 7,
            resource_version: "8".into(),
            owner_references: vec![OwnerReference {
                kind: "k".into(),
                name: "n".into(),
                controller: true,
                version: "v1".into(),
                region: "r".into(),
                requires_owner_reference: true,
                unset_on_delete: true,
                uid: "o".into(),
            }],
            shards: [("byNameMod16".into(), 3)].into(),
            syncing: Some(SyncingMeta { owning_region: "r".into(), regions: vec!["*".into()] }),
            delete_time: Some(prost_types::Timestamp { seconds: 5, nanos: 6 }),
            lifecycle: Some(Lifecycle {
                state: LifecycleState::Deleting.into(),
                block_deletion: true,
            }),
            services: Some(ServicesInfo {
                owning_service: "s".into(),
                allowed_services: vec!["s".into()],
            }),
            finalizers: vec!["f".into()],
        }
    }

    #[test]
    fn the_shipped_proto_has_the_same_fields() {
        fn fields(message: &MessageDescriptor) -> Vec<String> {
            let below = |field: &prost_reflect::FieldDescriptor| match field.kind() {
                prost_reflect::Kind::Message(m) => fields(&m),
                prost_reflect::Kind::Enum(e) => {
                    e.values().map(|v| format!("{} = {}", v.name(), v.number())).collect()
                }
                kind => vec![format!("{kind:?}")],
            };
            let line = |field: prost_reflect::FieldDescriptor| {
                let (name, number, many) = (field.name(), field.number(), field.cardinality());
                format!("{name} {number} {many:?} {:?}", below(&field))
            };
            message.fields().map(line).collect()
        }
        let ty = crate::fixture::type_of(&["networks/{network}"]);
        let shipped = ty.message.get_field_by_name("metadata").unwrap().kind();
        assert_eq!(fields(shipped.as_message().unwrap()), fields(descriptor()));
    }

    #[test]
    fn the_typed_form_and_the_descriptor_know_the_same_fields() {
        let bytes = full().encode_to_vec();
        let dynamic = DynamicMessage::decode(descriptor().clone(), bytes.as_slice()).unwrap();
        assert_eq!(dynamic.unknown_fields().count(), 0);
        for field in descriptor().fields() {
            assert!(dynamic.has_field(&field), "{}", field.name());
        }
        assert_eq!(dynamic.transcode_to::<Meta>().unwrap(), full());
    }
}
