//! Types and documents for this crate's tests: a device with metadata inside, a secret with metadata beside, a network.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bowline_schema::model::{
    Behaviour, FieldRules, MetadataPlace, Mode, OptOuts, ParentRule, Reference, Registry,
    ResourceType, StandardFields, SyncType, Target,
};
use bowline_schema::pattern::{Pattern, PatternSegment};
use prost_reflect::{DescriptorPool, DynamicMessage};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use crate::document::Document;
use crate::filter::Filter;

const META: &str = r#"
syntax = "proto3";
package goten.types;
import "google/protobuf/timestamp.proto";
message Meta {
  google.protobuf.Timestamp create_time = 1;
  google.protobuf.Timestamp update_time = 2;
  string uuid = 3;
  repeated string tags = 4;
  map<string, string> labels = 5;
  map<string, string> annotations = 6;
  int64 generation = 7;
  string resource_version = 8;
  // Of a release that is newer than ours.
  string mood = 900;
}
"#;

const THINGS: &str = r#"
syntax = "proto3";
package test.v1;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "goten/types/meta.proto";

message Device {
  string name = 1;
  goten.types.Meta metadata = 2;
  string display_name = 3;
  Spec spec = 4;
  Status status = 5;
  bool enabled = 6;
  optional int32 priority = 7;
  double weight = 8;
  google.protobuf.Timestamp installed = 9;
  google.protobuf.Duration lease = 10;
  State state = 11;
  bytes payload = 12;
  int64 big = 13;
  uint64 huge = 14;
  google.protobuf.StringValue nickname = 15;
  map<string, string> attributes = 16;
  map<int32, Interface> slots = 17;
  repeated string tags = 18;
  float ratio = 19;
  int32 count = 20;
  string network = 21;
}
message Spec {
  string model = 1;
  string serial_number = 2;
  repeated int32 ports = 3;
  repeated Interface interfaces = 4;
  oneof link {
    Wired wired = 5;
    Wireless wireless = 6;
  }
  string secret_input = 7;
}
message Wired { string plug = 1; string plug_serial = 2; }
message Wireless { string ssid = 1; }
message Interface { string network = 1; string mac = 2; string state = 3; }
message Status { string phase = 1; }
enum State { STATE_UNSPECIFIED = 0; ACTIVE = 1; RETIRED = 2; }

message Secret {
  string name = 1;
  google.protobuf.Timestamp create_time = 2;
  map<string, string> labels = 3;
  string etag = 4;
  string uid = 5;
  string value = 6;
}

message Network { string name = 1; string title = 2; }
"#;

struct Texts;

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "goten/types/meta.proto" => File::from_source(name, META),
            "test/v1/things.proto" => File::from_source(name, THINGS),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn pool() -> DescriptorPool {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Texts);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("test/v1/things.proto").unwrap();
    compiler.descriptor_pool()
}

/// A pattern of plain and `**` variables, `{a}~{b}` and literals.
pub(crate) fn pattern(text: &str) -> Pattern {
    let segment = |part: &str| match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
        _ if part == "*" => PatternSegment::Wildcard,
        Some(inside) if inside.contains("}~{") => PatternSegment::Complex {
            variables: inside.split("}~{").map(str::to_owned).collect(),
            separators: vec!['~'; inside.matches("}~{").count()],
        },
        Some(inside) => PatternSegment::Variable {
            name: inside.trim_end_matches("=**").to_owned(),
            multi: inside.ends_with("=**"),
        },
        None => PatternSegment::Literal(part.to_owned()),
    };
    Pattern { text: text.to_owned(), segments: text.split('/').map(segment).collect() }
}

/// A type of the test messages; what is not given is empty.
pub(crate) fn resource_type(message: &str, patterns: &[&str]) -> ResourceType {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(pool);
    let message = POOL.get_message_by_name(&format!("test.v1.{message}")).unwrap();
    let metadata = match message.get_field_by_name("metadata") {
        Some(field) => MetadataPlace::Inside(field),
        None => MetadataPlace::Beside,
    };
    let field = |name: &str| message.get_field_by_name(name);
    ResourceType {
        kind: format!("things.test/{}", message.name()),
        service: "things.test".to_owned(),
        version: "v1".to_owned(),
        singular: message.name().to_owned(),
        plural: format!("{}s", message.name()),
        patterns: patterns.iter().map(|text| pattern(text)).collect(),
        parents: Vec::new(),
        name_field: field("name").unwrap(),
        metadata,
        standard: StandardFields {
            uid: field("uid"),
            etag: field("etag"),
            create_time: field("create_time"),
            labels: field("labels"),
            display_name: field("display_name"),
            ..StandardFields::default()
        },
        references: Vec::new(),
        parent_rule: ParentRule { on_delete: Behaviour::Cascade, mode: Mode::Async },
        fields: FieldRules::default(),
        regional: false,
        searchable: Vec::new(),
        index: Vec::new(),
        opt_outs: OptOuts::default(),
        policy_holder: false,
        sync_type: SyncType::Default,
        id_pattern: None,
        views: BTreeMap::new(),
        declared_in: "test/v1/things.proto".to_owned(),
        message,
    }
}

/// The device type: two patterns, references, rules of every sort.
pub(crate) fn device_type() -> Arc<ResourceType> {
    static DEVICE: LazyLock<Arc<ResourceType>> = LazyLock::new(|| {
        let patterns = [
            "projects/{project}/devices/{device}",
            "projects/{project}/regions/{region}/devices/{device}",
        ];
        let network = |path: &str| Reference {
            path: path.to_owned(),
            target: Target::Kind("things.test/Network".to_owned()),
            on_target_delete: Behaviour::Block,
            mode: Mode::Async,
            external: false,
        };
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let mut ty = resource_type("Device", &patterns);
        ty.references = ["network", "spec.interfaces.network", "slots.network"].map(network).into();
        ty.fields = FieldRules {
            output_only: paths(&["slots.state", "spec.interfaces.state", "status"]),
            required: paths(&["display_name", "spec.interfaces.network", "spec.model"]),
            immutable: paths(&["spec.serial_number", "spec.wired.plug_serial"]),
            input_only: paths(&["spec.secret_input"]),
        };
        ty.views = BTreeMap::from([("BASIC".to_owned(), paths(&["display_name", "spec.model"]))]);
        Arc::new(ty)
    });
    Arc::clone(&DEVICE)
}

pub(crate) fn secret_type() -> Arc<ResourceType> {
    Arc::new(resource_type("Secret", &["projects/{project}/secrets/{secret}"]))
}

pub(crate) fn registry() -> Registry {
    let network = resource_type("Network", &["projects/{project}/networks/{network}"]);
    let types = [device_type(), secret_type(), Arc::new(network)];
    let types = types.into_iter().map(|ty| (ty.kind.clone(), vec![ty]));
    Registry { types: types.collect(), ..Registry::default() }
}

/// A message of the type from its JSON form.
pub(crate) fn message(ty: &ResourceType, json: &str) -> DynamicMessage {
    let mut json = serde_json::Deserializer::from_str(json);
    DynamicMessage::deserialize(ty.message.clone(), &mut json).unwrap()
}

/// A device from its JSON form.
pub(crate) fn device(json: &str) -> Document {
    Document::new(device_type(), message(&device_type(), json))
}

/// The JSON form of a message, with sorted keys.
pub(crate) fn json(message: &DynamicMessage) -> String {
    sorted(serde_json::to_value(message).unwrap()).to_string()
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(fields) => {
            let fields: BTreeMap<_, _> =
                fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.into_iter().collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(sorted).collect(),
        value => value,
    }
}

pub(crate) fn device_filter(text: &str) -> Filter {
    Filter::parse(text, &device_type()).unwrap_or_else(|error| panic!("{}", error.render()))
}
