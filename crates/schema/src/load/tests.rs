//! Facts about loading, from texts, folders and descriptor sets.

use expect_test::{Expect, expect};

use super::*;
use crate::diagnostic::render;
use crate::model::{Behaviour, MetadataPlace, Mode, Response, Role, Verb};
use crate::{export, show};

const MANIFEST: &str =
    "name: devices.example.com\nversions:\n  v1: { package: example.devices.v1 }\n";

const DEVICE: &str = r#"
syntax = "proto3";
package example.devices.v1;
import "google/api/resource.proto";
import "google/api/field_behavior.proto";
import "bowline/annotations.proto";
import "goten/types/meta.proto";
message Project {
  option (google.api.resource) = { type: "devices.example.com/Project" pattern: "projects/{project}" };
  string name = 1;
  goten.types.Meta metadata = 2;
  string display_name = 3;
}
message Device {
  option (google.api.resource) = {
    type: "devices.example.com/Device"
    pattern: "projects/{project}/regions/{region}/devices/{device}"
    plural: "devices" singular: "device"
  };
  option (bowline.resource) = { on_parent_delete: BLOCK index: "spec.model" };
  message Spec {
    string model = 1 [(google.api.field_behavior) = REQUIRED];
    repeated Port ports = 2;
    map<string, string> peers = 3 [(google.api.resource_reference).type = "devices.example.com/Device"];
  }
  message Port {
    oneof where {
      string network = 1 [
        (google.api.resource_reference).type = "net.example.com/Network",
        (bowline.reference) = { on_target_delete: UNSET }
      ];
    }
    Port child = 2;
  }
  string name = 1;
  goten.types.Meta metadata = 2;
  Spec spec = 3;
  string owner = 4 [
    (google.api.resource_reference).type = "devices.example.com/Project",
    (bowline.reference) = { on_target_delete: CASCADE mode: ASYNC }
  ];
  string state = 5 [(google.api.field_behavior) = OUTPUT_ONLY];
}
"#;

fn files(manifest: Option<&str>, files: &[(&str, &str)]) -> Source {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    Source::Files { service_yaml: manifest.map(str::to_owned), files }
}

fn fine(sources: &[Source]) -> Registry {
    let loaded = load(sources);
    assert!(loaded.diagnostics.is_empty(), "{}", render(&loaded.diagnostics));
    loaded.registry
}

fn check_problems(manifest: Option<&str>, protos: &[(&str, &str)], wanted: Expect) {
    wanted.assert_eq(&render(&load(&[files(manifest, protos)]).diagnostics));
}

/// A proto of one package with what AIP needs.
fn aip(package: &str, body: &str) -> String {
    let imports: String = [
        "google/api/annotations.proto",
        "google/api/field_behavior.proto",
        "google/api/resource.proto",
        "google/longrunning/operations.proto",
        "google/protobuf/empty.proto",
        "google/protobuf/field_mask.proto",
    ]
    .iter()
    .map(|name| format!("import \"{name}\";\n"))
    .collect();
    format!("syntax = \"proto3\";\npackage {package};\n{imports}{body}")
}

#[test]
fn a_service_without_methods_gets_the_standard_ones() {
    let registry = fine(&[files(Some(MANIFEST), &[("v1/device.proto", DEVICE)])]);
    expect![[r#"
        service devices.example.com
          version v1 (package example.devices.v1)
            type Project (message example.devices.v1.Project)
              pattern projects/{project}
              parent none (root)
            type Device (message example.devices.v1.Device)
              pattern projects/{project}/regions/{region}/devices/{device}
              parent devices.example.com/Project (projects/{project}/regions/{region}) BLOCK ASYNC
              reference owner -> devices.example.com/Project CASCADE ASYNC
              reference spec.peers -> devices.example.com/Device BLOCK SYNC
              reference spec.ports.network -> net.example.com/Network UNSET ASYNC external
              is regional
              index spec.model
            methods of example.devices.v1.DeviceService (made by Bowline)
              BatchGetDevices: BatchGet Device GET /v1/devices:batchGet
              CreateDevice: Create Device POST /v1/{parent=projects/*/regions/*}/devices
              DeleteDevice: Delete Device DELETE /v1/{name=projects/*/regions/*/devices/*}
              GetDevice: Get Device GET /v1/{name=projects/*/regions/*/devices/*}
              ListDevices: List Device GET /v1/{parent=projects/*/regions/*}/devices
              UpdateDevice: Update Device PATCH /v1/{device.name=projects/*/regions/*/devices/*}
              WatchDevice: WatchOne Device GET /v1/{name=projects/*/regions/*/devices/*}:watch
              WatchDevices: Watch Device GET /v1/{parent=projects/*/regions/*}/devices:watch
            methods of example.devices.v1.ProjectService (made by Bowline)
              BatchGetProjects: BatchGet Project GET /v1/projects:batchGet
              CreateProject: Create Project POST /v1/projects
              DeleteProject: Delete Project DELETE /v1/{name=projects/*}
              GetProject: Get Project GET /v1/{name=projects/*}
              ListProjects: List Project GET /v1/projects
              UpdateProject: Update Project PATCH /v1/{project.name=projects/*}
              WatchProject: WatchOne Project GET /v1/{name=projects/*}:watch
              WatchProjects: Watch Project GET /v1/projects:watch
    "#]]
    .assert_eq(&show::show(&registry));
}

#[test]
fn every_field_of_a_synthesised_method_is_bound() {
    let registry = fine(&[files(Some(MANIFEST), &[("device.proto", DEVICE)])]);
    for method in registry.methods.values() {
        let Role::Standard(binding) = &method.role else { panic!("{} is not bound", method.path) };
        let request = &binding.request;
        let watch = &request.watch;
        let bound = [
            &request.name,
            &request.names,
            &request.parent,
            &request.resource,
            &request.resource_id,
            &request.page_size,
            &request.page_token,
            &request.filter,
            &request.order_by,
            &request.update_mask,
            &request.field_mask,
            &request.view,
            &request.etag,
            &request.cas,
            &request.allow_missing,
            &request.validate_only,
            &request.request_id,
            &request.force,
            &request.response_mask,
            &request.include_paging_info,
            &watch.kind,
            &watch.resume_token,
            &watch.max_chunk_size,
            &watch.starting_time,
        ];
        let bound = bound.iter().filter(|field| field.is_some()).count();
        assert_eq!(bound, method.descriptor.input().fields().len(), "{}", method.path);
    }
}

#[test]
fn field_behaviours_are_known_at_any_depth() {
    let registry = fine(&[files(Some(MANIFEST), &[("device.proto", DEVICE)])]);
    let device = registry.resource_type("devices.example.com/Device", "v1").unwrap();
    assert_eq!(device.fields.required, ["spec.model"]);
    assert_eq!(device.fields.output_only, ["state"]);
    assert!(matches!(&device.metadata, MetadataPlace::Inside(field) if field.name() == "metadata"));
    assert_eq!(
        device.parent_rule,
        crate::model::ParentRule { on_delete: Behaviour::Block, mode: Mode::Async }
    );
}

const TOPICS: &str = r#"
message Topic {
  option (google.api.resource) = { type: "pubsub.example.com/Topic" pattern: "projects/{project}/topics/{topic}" };
  string name = 1;
  map<string, string> labels = 2;
}
service Publisher {
  rpc CreateTopic(Topic) returns (Topic) { option (google.api.http) = { put: "/v1/{name=projects/*/topics/*}" body: "*" }; }
  rpc UpdateTopic(UpdateTopicRequest) returns (Topic) {}
  rpc GetTopic(GetTopicRequest) returns (Topic) {
    option (google.api.http) = { get: "/v1/{topic=projects/*/topics/*}" additional_bindings { get: "/v2/{topic=**}" } };
  }
  rpc ListTopics(ListTopicsRequest) returns (ListTopicsResponse) {}
  rpc ListPublicTopics(ListTopicsRequest) returns (ListTopicsResponse) {}
  rpc DeleteTopic(DeleteTopicRequest) returns (google.protobuf.Empty) {}
  rpc Publish(GetTopicRequest) returns (google.protobuf.Empty) {}
}
message UpdateTopicRequest { Topic topic = 1; google.protobuf.FieldMask update_mask = 2; }
message GetTopicRequest { string topic = 1 [(google.api.resource_reference).type = "pubsub.example.com/Topic"]; }
message ListTopicsRequest {
  string project = 1 [(google.api.resource_reference).type = "cloudresourcemanager.googleapis.com/Project"];
  int32 page_size = 2;
  string page_token = 3;
}
message ListTopicsResponse { repeated Topic topics = 1; string next_page_token = 2; }
message DeleteTopicRequest { string topic = 1; }
"#;

#[test]
fn methods_in_the_style_of_pubsub_are_bound_as_they_are() {
    let loaded = load(&[files(None, &[("topics.proto", &aip("example.pubsub.v1", TOPICS))])]);
    let method =
        |name: &str| &loaded.registry.methods[&format!("/example.pubsub.v1.Publisher/{name}")];
    let binding = |name: &str| match &method(name).role {
        Role::Standard(binding) => binding,
        other => panic!("{name}: {other:?}"),
    };
    assert!(binding("CreateTopic").request.request_is_resource);
    assert_eq!(binding("GetTopic").request.name.as_ref().unwrap().name(), "topic");
    assert_eq!(method("GetTopic").http.len(), 2);
    assert_eq!(binding("ListTopics").request.parent.as_ref().unwrap().name(), "project");
    assert_eq!(binding("DeleteTopic").request.name.as_ref().unwrap().name(), "topic");
    assert!(binding("UpdateTopic").request.update_mask.is_some());
    assert!(matches!(method("Publish").role, Role::Action { unbound: None }));
    assert_eq!(method("Publish").http[0].template.text, "/v1:publish");
    assert!(matches!(&method("ListPublicTopics").role, Role::Action { unbound: Some(_) }));
    // What such protos leave out is watching, so that is added beside them, and nothing else.
    let made = loaded.registry.methods.values().filter(|method| method.synthesised);
    let mut made: Vec<_> = made.map(|method| method.path.rsplit('.').next().unwrap()).collect();
    made.sort_unstable();
    assert_eq!(made, ["TopicWatchService/WatchTopic", "TopicWatchService/WatchTopics"]);
    let codes: Vec<_> = loaded.diagnostics.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [code::UNBOUND_METHOD]);
}

#[test]
fn operations_are_answers_too() {
    let body = r#"
message Instance {
  option (google.api.resource) = { type: "run.example.com/Instance" pattern: "projects/{project}/instances/{instance}" };
  string name = 1;
}
message Metadata {}
message CreateInstanceRequest { string parent = 1; string instance_id = 2; Instance instance = 3; string request_id = 4; }
message DeleteInstanceRequest { string name = 1; bool force = 2; }
service Run {
  rpc CreateInstance(CreateInstanceRequest) returns (google.longrunning.Operation) {
    option (google.longrunning.operation_info) = { response_type: "Instance" metadata_type: "Metadata" };
  }
  rpc DeleteInstance(DeleteInstanceRequest) returns (google.longrunning.Operation) {}
}
"#;
    let registry = fine(&[files(None, &[("run.proto", &aip("example.run.v1", body))])]);
    let Role::Standard(create) = &registry.methods["/example.run.v1.Run/CreateInstance"].role
    else {
        panic!()
    };
    assert_eq!(create.request.resource_id.as_ref().unwrap().name(), "instance_id");
    let Response::Operation { metadata: Some(metadata), .. } = &create.response else { panic!() };
    assert_eq!(metadata.full_name(), "example.run.v1.Metadata");
    assert_eq!(create.verb, Verb::Create);
}

#[test]
fn a_type_is_found_by_what_names_call_it() {
    let body = r#"
message LogBucket {
  option (google.api.resource) = { type: "logging.example.com/LogBucket" pattern: "projects/{project}/buckets/{bucket}" };
  string name = 1;
}
message GetBucketRequest { string name = 1; }
service Config { rpc GetBucket(GetBucketRequest) returns (LogBucket) {} }
"#;
    let registry = fine(&[files(None, &[("log.proto", &aip("example.logging.v2", body))])]);
    assert!(matches!(
        registry.methods["/example.logging.v2.Config/GetBucket"].role,
        Role::Standard(_)
    ));
}

#[test]
fn a_method_that_cannot_be_bound_says_why() {
    let body = r#"
message Job {
  option (google.api.resource) = { type: "dlp.example.com/Job" pattern: "jobs/{job}" };
  string name = 1;
}
message CreateJobRequest { string parent = 1; }
message GetJobRequest { string name = 1; }
service Jobs {
  rpc CreateJob(CreateJobRequest) returns (Job) {}
  rpc GetJob(GetJobRequest) returns (Job) {}
}
"#;
    check_problems(
        None,
        &[("job.proto", &aip("example.dlp.v2", body))],
        expect![[r#"
            warning[BL051]: `CreateJob` looks standard and is not bound: `example.dlp.v2.CreateJobRequest` has no field of type `example.dlp.v2.Job`
              --> job.proto:17:3
              = help: it is served as an action: register a handler, or change its messages

            0 errors, 1 warning
        "#]],
    );
}

#[test]
fn a_descriptor_set_gives_the_same_registry() {
    let first = fine(&[files(Some(MANIFEST), &[("v1/device.proto", DEVICE)])]);
    let bytes = export::descriptor_set(&first);
    let second = fine(&[Source::DescriptorBytes { name: "set".into(), bytes }]);
    let unmade = show::show(&first).replace(" (made by Bowline)", "");
    assert_eq!(unmade, show::show(&second));
    let texts = export::proto_files(&second);
    let texts: Vec<(&str, &str)> =
        texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let third = fine(&[files(None, &texts)]);
    assert_eq!(show::show(&second), show::show(&third), "printed protos mean the same");
}

#[test]
fn exported_texts_are_the_ones_that_were_read() {
    let registry = fine(&[files(Some(MANIFEST), &[("v1/device.proto", DEVICE)])]);
    let texts: BTreeMap<String, String> = export::proto_files(&registry).into_iter().collect();
    assert_eq!(texts["example/devices/v1/device.proto"], DEVICE);
    assert!(texts["example/devices/v1/device_service.proto"].contains("service DeviceService {"));
    assert!(
        texts.contains_key("goten/types/view.proto"),
        "what the made service imports is there too"
    );
}

const GOTEN: &str = r#"
syntax = "proto3";
package ntt.devices.v1;
import "google/api/resource.proto";
import "goten/annotations/goten.proto";
import "goten/annotations/resource.proto";
import "goten/annotations/multi_region.proto";
import "goten-sdk/types/multi_region_policy.proto";
message Project {
  option (google.api.resource) = { type: "devices.edgelq.com/Project" pattern: "projects/{project}" };
  string name = 1;
  goten.types.MultiRegionPolicy multi_region_policy = 2;
}
message Device {
  option (google.api.resource) = { type: "devices.edgelq.com/Device" pattern: "projects/{project}/devices/{device}" };
  option (goten.annotations.resource) = {
    id_pattern: "[a-z/]+" on_parent_deleted_behavior: BLOCK
    views: { view: BASIC fields: { path: "name" } fields: { path: "gone" } }
  };
  option (goten.annotations.syncing_opts) = { type: NEVER };
  string name = 1;
  string project = 2 [(goten.annotations.type).reference = { resource: "Project" target_delete_behavior: ASYNC_UNSET }];
  string key = 3 [(goten.annotations.type).reference = { resource: "iam.edgelq.com/Key" target_delete_behavior: UNSET }];
  string state = 4 [(goten.annotations.output_only) = true];
}
"#;

fn check_goten(registry: &Registry) {
    let device = registry.resource_type("devices.edgelq.com/Device", "v1").unwrap();
    let references: Vec<_> = device
        .references
        .iter()
        .map(|r| (r.path.as_str(), r.on_target_delete, r.mode, r.external))
        .collect();
    assert_eq!(
        references,
        [
            ("key", Behaviour::Unset, Mode::Async, true),
            ("project", Behaviour::Unset, Mode::Async, false)
        ]
    );
    assert_eq!(device.parent_rule.on_delete, Behaviour::Block);
    assert_eq!(device.sync_type, crate::model::SyncType::Never);
    assert_eq!(device.fields.output_only, ["state"]);
    assert_eq!(device.views["BASIC"], ["name"]);
    assert!(
        device.patterns[0].match_name("projects/p/devices/a/b").is_some(),
        "the id pattern has a slash"
    );
    assert!(registry.resource_type("devices.edgelq.com/Project", "v1").unwrap().policy_holder);
}

#[test]
fn goten_options_are_understood() {
    check_goten(&fine(&[files(None, &[("device.proto", GOTEN)])]));
}

#[test]
fn options_are_read_by_number_where_the_set_lacks_the_files_that_define_them() {
    use prost::Message;
    #[derive(Clone, PartialEq, prost::Message)]
    struct Set {
        #[prost(bytes = "vec", repeated, tag = "1")]
        file: Vec<Vec<u8>>,
    }
    // Under names that nothing is shipped for, so that nothing can stand in for what is taken out.
    let away = |text: &str| {
        text.replace("goten.annotations", "away").replace("goten/annotations/", "away/")
    };
    let texts: Vec<(String, String)> = ["goten", "resource", "multi_region"]
        .iter()
        .map(|name| {
            (
                format!("away/{name}.proto"),
                away(crate::shipped::text(&format!("goten/annotations/{name}.proto")).unwrap()),
            )
        })
        .chain([("device.proto".to_owned(), away(GOTEN))])
        .collect();
    let registry = fine(&[Source::Files { service_yaml: None, files: texts }]);
    check_goten(&registry);
    let mut set = Set::decode(export::descriptor_set(&registry).as_slice()).unwrap();
    let before = set.file.len();
    set.file.retain(|file| {
        let file = prost_types::FileDescriptorProto::decode(file.as_slice()).unwrap();
        !file.name().starts_with("away/")
    });
    assert_eq!(set.file.len(), before - 3);
    check_goten(&fine(&[Source::DescriptorBytes {
        name: "set".into(),
        bytes: set.encode_to_vec(),
    }]));
}

#[test]
fn a_broken_service_leaves_the_others_alone() {
    let good = files(Some(MANIFEST), &[("v1/device.proto", DEVICE)]);
    let bad_manifest = MANIFEST.replace("devices", "bad");
    let bad = files(
        Some(&bad_manifest),
        &[(
            "bad.proto",
            "syntax = \"proto3\";\npackage example.bad.v1;\nmessage A {\n  Missing b = 1;\n  int32 c = 1;\n}\n",
        )],
    );
    let loaded = load(&[bad, good]);
    assert_eq!(loaded.registry.services.len(), 1);
    assert_eq!(loaded.registry.services[0].name, "devices.example.com");
    expect![[r#"
        error[BL020]: name 'Missing' is not defined
          --> bad.proto:4:3

        error[BL020]: field number '1' is already used
          --> bad.proto:4:15

        2 errors, 0 warnings
    "#]]
    .assert_eq(&render(&loaded.diagnostics));
}

#[test]
fn all_problems_of_all_files_are_reported_at_once() {
    check_problems(
        Some(MANIFEST),
        &[
            (
                "a.proto",
                "syntax = \"proto3\";\npackage example.devices.v1;\nimport \"nowhere.proto\";\n",
            ),
            ("b.proto", "syntax = \"proto3\";\npackage example.devices.v1;\nmessage {}\n"),
            ("c.proto", "syntax = \"proto3\";\npackage example.devices.v1;\nimport \"d.proto\";\n"),
            ("d.proto", "syntax = \"proto3\";\npackage example.devices.v1;\nimport \"c.proto\";\n"),
        ],
        expect![[r#"
            error[BL021]: imported file "nowhere.proto" was not found
              --> a.proto:3:9
              = help: put it into the service's folder or a folder above, under the path of the import; files of google/api, google/rpc, google/type, google/longrunning and goten/types are part of Bowline

            error[BL020]: expected an identifier, but found '{'
              --> b.proto:3:9

            error[BL022]: files import each other in a circle: example/devices/v1/c.proto -> example/devices/v1/d.proto -> example/devices/v1/c.proto
              --> d.proto

            3 errors, 0 warnings
        "#]],
    );
}

#[test]
fn lints_say_where_and_how_to_mend() {
    let proto = r#"syntax = "proto3";
package example.devices.v1;
import "google/api/resource.proto";
import "bowline/annotations.proto";
message NoPattern { option (google.api.resource).type = "devices.example.com/NoPattern"; string name = 1; }
message NoName { option (google.api.resource) = { type: "devices.example.com/NoName" pattern: "noNames/{no_name}" }; }
message Bad { option (google.api.resource) = { type: "devices.example.com/Bad" pattern: "bad/{b" }; string name = 1; }
message Odd { option (google.api.resource) = { type: "odd" pattern: "odds/{odd}" }; string name = 1; }
message Other { option (google.api.resource) = { type: "other.example.com/Other" pattern: "others/{other}" }; string name = 1; }
message Fine {
  option (google.api.resource) = { type: "devices.example.com/Fine" pattern: "others/{other}/fines/{fine}" };
  option (bowline.resource) = { index: "no.such" };
  string name = 1;
  int32 number = 2 [(google.api.resource_reference).type = "devices.example.com/Fine"];
  string far = 3 [(google.api.resource_reference).type = "iam.example.com/User", (bowline.reference).mode = SYNC];
}
"#;
    let found = load(&[files(Some(MANIFEST), &[("lint.proto", proto)])]).diagnostics;
    let found: Vec<_> = found.iter().map(|problem| (problem.line, problem.code)).collect();
    assert_eq!(
        found,
        [
            (5, code::NO_PATTERN),
            (6, code::NO_NAME_FIELD),
            (7, code::NO_PATTERN),
            (7, code::BAD_PATTERN),
            (8, code::BAD_TYPE),
            (9, code::FOREIGN_KIND),
        ]
    );
    let fine = proto.lines().filter(|line| !line.starts_with("message ") || line.contains("Fine"));
    let fine: Vec<&str> = fine.collect();
    let found = load(&[files(Some(MANIFEST), &[("lint.proto", &fine.join("\n"))])]).diagnostics;
    let found: Vec<_> = found.iter().map(|problem| (problem.line, problem.code)).collect();
    assert_eq!(
        found,
        [(5, code::UNKNOWN_FIELD), (9, code::BAD_REFERENCE), (10, code::SYNC_ACROSS_SERVICES)]
    );
}

#[test]
fn an_index_on_a_message_is_told_and_one_on_values_is_not() {
    let proto = r#"syntax = "proto3";
package example.devices.v1;
import "google/api/resource.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "bowline/annotations.proto";
message Spec { string model = 1; repeated Spec parts = 2; }
message Fine {
  option (google.api.resource) = { type: "devices.example.com/Fine" pattern: "fines/{fine}" };
  option (bowline.resource) = { index: ["spec.model", "spec.parts.model", "labels", "seen", "load", "spec", "spec.parts"] };
  string name = 1;
  Spec spec = 2;
  map<string, string> labels = 3;
  google.protobuf.Timestamp seen = 4;
  google.protobuf.DoubleValue load = 5;
}
"#;
    let found = load(&[files(Some(MANIFEST), &[("index.proto", proto)])]).diagnostics;
    let found: Vec<_> = found.iter().map(|problem| (problem.code, &*problem.message)).collect();
    let message = |path| {
        format!("`{path}` is a message, and an index is on single values; name fields of it")
    };
    assert_eq!(
        found,
        [(code::NOT_INDEXABLE, &*message("spec.parts")), (code::NOT_INDEXABLE, &*message("spec")),]
    );
}

#[test]
fn manifests_are_checked_against_the_protos_and_each_other() {
    let iam = files(
        Some(
            "name: iam.example.com\nversions:\n  v1: { package: example.iam.v1, imports: { devices.example.com: v1 } }\n",
        ),
        &[(
            "iam.proto",
            &aip(
                "example.iam.v1",
                "message User { option (google.api.resource) = { type: \"iam.example.com/User\" pattern: \"users/{user}\" }; string name = 1; }",
            ),
        )],
    );
    let manifest = "name: devices.example.com\nversions:\n  v0: { package: example.devices.v0 }\n  v1: { package: example.devices.v1, imports: { iam.example.com: v2, gone.example.com: v1 } }\nresources:\n  Ghost: {}\n";
    let devices = files(Some(manifest), &[("device.proto", DEVICE)]);
    let codes = |sources: &[Source]| -> Vec<&str> {
        load(sources).diagnostics.iter().map(|problem| problem.code).collect()
    };
    assert_eq!(codes(&[devices]), [code::UNKNOWN_PACKAGE]);
    let manifest = manifest.replace("  v0: { package: example.devices.v0 }\n", "");
    let devices = files(Some(&manifest), &[("device.proto", DEVICE)]);
    assert_eq!(
        codes(std::slice::from_ref(&devices)),
        [code::UNKNOWN_IMPORT, code::UNKNOWN_IMPORT, code::UNKNOWN_RESOURCE]
    );
    let manifest = manifest.replace("resources:\n  Ghost: {}\n", "");
    let devices = files(Some(&manifest), &[("device.proto", DEVICE)]);
    assert_eq!(codes(&[devices.clone(), iam]), [code::SERVICE_CYCLE, code::SERVICE_CYCLE]);
    assert_eq!(
        codes(&[devices.clone(), devices]),
        [code::DUPLICATE_SERVICE, code::UNKNOWN_IMPORT, code::UNKNOWN_IMPORT]
    );
}

#[test]
fn a_reference_needs_an_import() {
    let net = "message Network { option (google.api.resource) = { type: \"net.example.com/Network\" pattern: \"networks/{network}\" }; string name = 1; }";
    let net = files(None, &[("net.proto", &aip("example.net.v1", net))]);
    let loaded = load(&[files(Some(MANIFEST), &[("device.proto", DEVICE)]), net]);
    let codes: Vec<_> = loaded.diagnostics.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [code::NOT_IMPORTED]);
    assert_eq!(loaded.registry.services.len(), 1, "only the service with the error is left out");
}

#[test]
fn names_that_are_taken_are_not_overwritten() {
    let body = r#"
message Device {
  option (google.api.resource) = { type: "d.example.com/Device" pattern: "devices/{device}" };
  string name = 1;
}
message GetDeviceRequest { string other = 1; string more = 2; }
message RebootDeviceRequest { string name = 1; }
service DeviceService { rpc RebootDevice(RebootDeviceRequest) returns (google.protobuf.Empty) {} }
"#;
    let loaded = load(&[files(None, &[("device_service.proto", &aip("example.d.v1", body))])]);
    let codes: Vec<_> = loaded.diagnostics.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [code::NAME_TAKEN]);
    let get = &loaded.registry.methods["/example.d.v1.StandardDeviceService/GetDevice"];
    assert_eq!(get.descriptor.input().name(), "StandardGetDeviceRequest");
    assert!(matches!(get.role, Role::Standard(_)));
    let reboot = &loaded.registry.methods["/example.d.v1.DeviceService/RebootDevice"];
    assert_eq!(reboot.http[0].template.text, "/v1/{name=devices/*}:reboot");
}

#[test]
fn one_word_for_one_and_many_still_gives_two_watches() {
    let body = "message Settings { option (google.api.resource) = { type: \"s.example.com/Settings\" pattern: \"projects/{project}/settings\" }; string name = 1; }";
    let registry = fine(&[files(None, &[("s.proto", &aip("example.s.v1", body))])]);
    let verb =
        |name: &str| match &registry.methods[&format!("/example.s.v1.SettingsService/{name}")].role
        {
            Role::Standard(binding) => binding.verb,
            other => panic!("{other:?}"),
        };
    assert_eq!(verb("WatchSettings"), Verb::WatchOne);
    assert_eq!(verb("WatchSettingsCollection"), Verb::Watch);
    assert_eq!(verb("ListSettings"), Verb::List);
}

fn write(root: &std::path::Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn services_are_found_in_nested_folders() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "services/devices/service.yaml", MANIFEST);
    write(
        root.path(),
        "services/devices/v1/device.proto",
        &DEVICE.replace("import \"bowline", "import \"shared/common.proto\";\nimport \"bowline"),
    );
    write(
        root.path(),
        "shared/common.proto",
        "syntax = \"proto3\";\npackage shared;\nmessage Common {}\n",
    );
    let skeleton = "name: secrets.edgelq.com\nproto: { package: { name: ntt.secrets, currentVersion: v1 } }\nresources:\n- name: Project\n- name: Secret\n  parents: [ Project ]\n  scopeAttributes: [ Region ]\n";
    write(root.path(), "secrets/api-skeleton-v1.yaml", skeleton);
    write(
        root.path(),
        "secrets/secret.proto",
        "syntax = \"proto3\";\npackage ntt.secrets.v1;\nmessage Project { string name = 1; }\nmessage Secret { string name = 1; }\n",
    );
    let Loaded { registry, diagnostics, .. } = load(&[Source::Folder(root.path().to_owned())]);
    let codes: Vec<_> = diagnostics.iter().map(|problem| problem.code).collect();
    assert_eq!(
        codes,
        [code::SHARED_PATH],
        "both have projects; told once: {}",
        render(&diagnostics)
    );
    let names: Vec<_> = registry.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["secrets.edgelq.com", "devices.example.com"]);
    let secret = registry.resource_type("secrets.edgelq.com/Secret", "v1").unwrap();
    assert_eq!(secret.patterns[0].text, "projects/{project}/regions/{region}/secrets/{secret}");
    assert_eq!(secret.parents[0].kind.as_deref(), Some("secrets.edgelq.com/Project"));
}

#[test]
fn a_folder_in_the_middle_of_a_tree_finds_what_it_imports_above() {
    let root = tempfile::tempdir().unwrap();
    let body = "import \"example/common/v1/kind.proto\";\nmessage Device { option (google.api.resource) = { type: \"d.example.com/Device\" pattern: \"devices/{device}\" }; string name = 1; example.common.v1.Kind kind = 2; }";
    write(root.path(), "example/devices/v1/device.proto", &aip("example.devices.v1", body));
    write(
        root.path(),
        "example/common/v1/kind.proto",
        "syntax = \"proto3\";\npackage example.common.v1;\nenum Kind { NONE = 0; }\n",
    );
    let registry = fine(&[Source::Folder(root.path().join("example/devices/v1"))]);
    assert_eq!(registry.all_types().count(), 1);
}

#[test]
fn versions_may_have_files_of_the_same_name() {
    let manifest = "name: d.example.com\nversions:\n  v1: { package: example.d.v1 }\n  v2: { package: example.d.v2 }\n";
    let device = |version: &str| {
        format!(
            "syntax = \"proto3\";\npackage example.d.{version};\nimport \"google/api/resource.proto\";\nimport \"common.proto\";\nmessage Device {{ option (google.api.resource) = {{ type: \"d.example.com/Device\" pattern: \"devices/{{device}}\" }}; string name = 1; Common c = 2; }}\n"
        )
    };
    let common = |version: &str| {
        format!(
            "syntax = \"proto3\";\npackage example.d.{version};\nmessage Common {{ string {version} = 1; }}\n"
        )
    };
    let (d1, d2, c1, c2) = (device("v1"), device("v2"), common("v1"), common("v2"));
    let source = files(
        Some(manifest),
        &[
            ("v1/device.proto", &d1),
            ("v1/common.proto", &c1),
            ("v2/device.proto", &d2),
            ("v2/common.proto", &c2),
        ],
    );
    let registry = fine(&[source]);
    let versions: Vec<_> =
        registry.types["d.example.com/Device"].iter().map(|ty| ty.version.as_str()).collect();
    assert_eq!(versions, ["v1", "v2"]);
}

#[test]
fn comparing_versions_tells_what_breaks_and_what_is_dropped() {
    let manifest = "name: d.example.com\nversions:\n  v1: { package: example.d.v1 }\n  v2: { package: example.d.v2 }\n";
    let proto = |version: &str, body: &str| {
        format!(
            "syntax = \"proto3\";\npackage example.d.{version};\nimport \"google/api/resource.proto\";\n{body}"
        )
    };
    let v1 = proto(
        "v1",
        "message Device { option (google.api.resource) = { type: \"d.example.com/Device\" pattern: \"devices/{device}\" }; string name = 1; Spec spec = 2; message Spec { string model = 1; int32 size = 2; } }\nmessage Site { option (google.api.resource) = { type: \"d.example.com/Site\" pattern: \"sites/{site}\" }; string name = 1; }",
    );
    let v2 = proto(
        "v2",
        "message Device { option (google.api.resource) = { type: \"d.example.com/Device\" pattern: \"projects/{project}/devices/{device}\" }; string name = 1; Spec spec = 2; message Spec { string size = 2; } }",
    );
    let upgrade = "types:\n  Device:\n    names: [ { removed: 'devices/{device}' } ]\n";
    let inputs = [("a.proto", v1.as_str()), ("b.proto", &v2), ("upgrades/v1-v2.yaml", upgrade)];
    let registry = load(&[files(Some(manifest), &inputs)]).registry;
    let service = registry.service("d.example.com").unwrap();
    expect![[r#"
        warning[BL062]: version v2 has no type "d.example.com/Site"
          --> a.proto:5:1
          = help: say in the upgrade what it becomes, or that it is removed

        warning[BL060]: `spec.size` of "d.example.com/Device" was int32 and is string in version v2
          --> b.proto:4:1
          = help: use a new field, or say in the upgrade how values are converted

        warning[BL060]: names "devices/{device}" of "d.example.com/Device" have no counterpart in version v2
          --> b.proto:4:1

        warning[BL061]: "d.example.com/Device" has no field `spec.model` in version v2
          --> b.proto:4:1
          = help: its content is lost unless the upgrade says where it goes

        0 errors, 4 warnings
    "#]]
    .assert_eq(&render(&crate::compare::compare(
        &service.versions[0],
        &service.versions[1],
        &service.upgrades[0],
    )));
}

#[test]
fn what_is_not_there_is_an_error() {
    let codes = |source: Source| {
        load(&[source]).diagnostics.iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(Source::Folder("no/such/folder".into())), [code::UNREADABLE]);
    assert_eq!(codes(Source::DescriptorSet("no/such.binpb".into())), [code::UNREADABLE]);
    assert_eq!(
        codes(Source::Folder(tempfile::tempdir().unwrap().path().into())),
        [code::NOTHING_FOUND]
    );
    let junk = Source::DescriptorBytes { name: "junk".into(), bytes: vec![0xff; 9] };
    assert_eq!(codes(junk), [code::BAD_DESCRIPTOR_SET]);
}

mod hostile;
