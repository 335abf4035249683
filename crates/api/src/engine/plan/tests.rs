//! Tests of plans: which ways are taken for which question.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use bowline_schema::load::load;
use bowline_schema::source::Source;
use expect_test::expect;

use super::*;

const PROTO: &str = r#"
syntax = "proto3";
package t.v1;
import "google/api/resource.proto";
import "google/protobuf/timestamp.proto";
message Item {
  option (google.api.resource) = {
    type: "t.test/Item" singular: "item" plural: "items"
    pattern: "projects/{project}/items/{item}"
  };
  string name = 1;
  int64 size = 2;
  string color = 3;
  repeated string tags = 4;
  google.protobuf.Timestamp seen = 5;
}
"#;

static TYPE: LazyLock<Arc<ResourceType>> = LazyLock::new(|| {
    let manifest = "name: t.test\nversions:\n  v1: { package: t.v1 }\nresources:\n  Item: { index: [size, color, tags, seen] }\n";
    let files = vec![("v1/t.proto".to_owned(), PROTO.to_owned())];
    let loaded = load(&[Source::Files { service_yaml: Some(manifest.to_owned()), files }]);
    loaded.registry.types["t.test/Item"][0].clone()
});

static INDEXES: LazyLock<Vec<DeclaredIndex>> = LazyLock::new(|| DeclaredIndex::of_type(&TYPE));

fn planned(parent: &str, filter: &str, order: Option<&str>, ready: &[&str]) -> String {
    let (scope, filter) =
        (Scope::of_parent(&TYPE, parent).unwrap(), Filter::parse(filter, &TYPE).unwrap());
    let order = order.map(|text| Order::parse(text, &TYPE).unwrap());
    let ask =
        Ask { ty: &TYPE, indexes: &INDEXES, scope: &scope, filter: &filter, order: order.as_ref() };
    let ways = plan(&ask, |index| ready.contains(&index.path().as_str()));
    ways.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

#[test]
fn ways_of_lists() {
    const ALL: &[&str] = &["size", "color", "tags", "seen"];
    let mut text = String::new();
    for (parent, filter, order, ready) in [
        ("", "", Some(""), ALL),
        ("projects/p", "color = red", Some(""), ALL),
        ("projects/p", "color = red", Some(""), &["size"]),
        ("projects/p", "color = red", Some("name desc"), ALL),
        ("projects/p", "color = red AND size = 3", Some(""), ALL),
        ("projects/p", "color IN [a, b, c] AND size > 3", Some(""), ALL),
        ("", "size > 3", Some(""), ALL),
        ("", "size > 3 AND seen IS NULL", Some(""), ALL),
        ("", "size > 3 AND color = \"r*\" AND seen > 2026-01-01", Some(""), ALL),
        ("", "tags:a AND tags:b", Some(""), ALL),
        ("", "", Some("size"), ALL),
        ("projects/p", "", Some("size"), ALL),
        ("", "", Some("size desc"), ALL),
        ("", "", Some("size desc, name"), ALL),
        ("", "size > 3 AND size < 9", Some("size"), ALL),
        ("", "color = red", Some("size"), ALL),
        ("", "color = red", Some("size, color"), ALL),
        ("", "color = red", None, ALL),
        ("", "size > 3", None, ALL),
        ("", "tags:\"a*\"", Some(""), ALL),
        ("", "tags:\"a*\"", None, ALL),
    ] {
        let ways = planned(parent, filter, order, ready);
        let order = order.map_or_else(|| "counted".to_owned(), |order| format!("by \"{order}\""));
        writeln!(text, "{parent} [{filter}] {order}\n    {ways}").unwrap();
    }
    expect![[r#"
         [] by ""
            names, in order
        projects/p [color = red] by ""
            points of color (color = red), in order
        projects/p [color = red] by ""
            names, in order
        projects/p [color = red] by "name desc"
            points of color (color = red), in order
        projects/p [color = red AND size = 3] by ""
            points of size (size = 3), in order | points of color (color = red), in order
        projects/p [color IN [a, b, c] AND size > 3] by ""
            points of color (color IN (a, b, c)), in order
         [size > 3] by ""
            ranges of size (size > 3), gathered | names, in order
         [size > 3 AND seen IS NULL] by ""
            points of seen (seen IS NULL), in order
         [size > 3 AND color = "r*" AND seen > 2026-01-01] by ""
            ranges of size (size > 3), gathered | ranges of color (color = "r*"), gathered | names, in order
         [tags:a AND tags:b] by ""
            points of tags (tags:a), in order
         [] by "size"
            ranges of size, in order
        projects/p [] by "size"
            ranges of size, in order | names, gathered
         [] by "size desc"
            ranges of size, in order
         [] by "size desc, name"
            names, gathered
         [size > 3 AND size < 9] by "size"
            ranges of size (size > 3 AND size < 9), in order | names, gathered
         [color = red] by "size"
            points of color (color = red), gathered | ranges of size, in order
         [color = red] by "size, color"
            points of color (color = red), gathered
         [color = red] counted
            points of color (color = red), gathered
         [size > 3] counted
            ranges of size (size > 3), gathered | names, in order
         [tags:"a*"] by ""
            ranges of tags (tags:"a*"), gathered | names, in order
         [tags:"a*"] counted
            names, in order
    "#]].assert_eq(&text);
}

#[test]
fn a_name_in_the_filter_narrows_the_names() {
    let filter = Filter::parse("name = \"projects/p/items/i\"", &TYPE).unwrap();
    let scope = Scope::of_parent(&TYPE, "projects/-").unwrap();
    let ask = Ask { ty: &TYPE, indexes: &[], scope: &scope, filter: &filter, order: None };
    assert_eq!(narrowest_scope(&ask).prefix(), "projects/p/items/i");
}
