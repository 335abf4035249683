//! Required fields where other rules meet them: cases of a oneof, and what is for input only.

use std::sync::Arc;

use bowline_schema::Source;
use bowline_schema::load::load;
use bowline_schema::model::ResourceType;
use prost_reflect::DynamicMessage;

use super::{missing_after_update, missing_required};

/// A type whose message has these fields.
fn type_with(fields: &str) -> Arc<ResourceType> {
    let text = format!(
        r#"syntax = "proto3";
        package plans.v1;
        import "google/api/field_behavior.proto";
        import "google/api/resource.proto";
        message Plan {{
          option (google.api.resource) = {{ type: "plans.example.com/Plan" pattern: "plans/{{plan}}" }};
          string name = 1;
          {fields}
        }}
        message Once {{ string day = 1; }}"#
    );
    let files = vec![("plans/v1/plan.proto".to_owned(), text)];
    let loaded = load(&[Source::Files { service_yaml: None, files }]);
    loaded.registry.types["plans.example.com/Plan"][0].clone()
}

fn plan(ty: &ResourceType, json: &str) -> DynamicMessage {
    let mut json = serde_json::Deserializer::from_str(json);
    DynamicMessage::deserialize(ty.message.clone(), &mut json).unwrap()
}

#[test]
fn one_case_of_a_oneof_is_enough_for_all_its_required_cases() {
    let ty = type_with(
        "oneof schedule {
            Once once = 2 [(google.api.field_behavior) = REQUIRED];
            string cron = 3 [(google.api.field_behavior) = REQUIRED];
        }",
    );
    let missing = |json: &str| missing_required(&ty, &plan(&ty, json));
    assert_eq!(missing(r#"{"once": {}}"#), [""; 0]);
    assert_eq!(missing(r#"{"cron": "@daily"}"#), [""; 0]);
    assert_eq!(missing("{}"), ["cron", "once"]);
}

#[test]
fn an_optional_field_is_no_case_of_a_oneof() {
    let ty = type_with("optional int32 priority = 2 [(google.api.field_behavior) = REQUIRED];");
    assert_eq!(missing_required(&ty, &plan(&ty, "{}")), ["priority"]);
    assert_eq!(missing_required(&ty, &plan(&ty, r#"{"priority": 0}"#)), [""; 0]);
}

#[test]
fn what_was_only_for_input_is_not_asked_for_again() {
    let ty = type_with(
        "string title = 2 [(google.api.field_behavior) = REQUIRED];
        string password = 3 [(google.api.field_behavior) = REQUIRED, (google.api.field_behavior) = INPUT_ONLY];
        string password_hint = 4 [(google.api.field_behavior) = REQUIRED];",
    );
    let stored = plan(&ty, "{}");
    assert_eq!(missing_required(&ty, &stored), ["password", "password_hint", "title"]);
    assert_eq!(missing_after_update(&ty, &stored), ["password_hint", "title"]);
}
