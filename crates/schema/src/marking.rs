//! Types with asynchronous deletion: whether their resources can be marked, and whether one could wait for itself.
//!
//! A marked resource keeps its references until it is purged, and is purged when nothing refers to it any more. So a
//! circle of references in which everybody has to wait for the one before never ends. It is refused here, by types: which
//! resources will refer to each other is not known at load.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::diagnostic::{Diagnostic, code};
use crate::model::{Behaviour, MetadataPlace, ResourceType, Target};
use crate::scan::TypeDraft;

/// What has to be in a `goten.types.Meta` that a resource is marked in.
const MARKS: [&str; 2] = ["delete_time", "lifecycle"];

/// Checks the types of one version, which are in the order of their drafts. Where the protos are not the reader's own
/// (not `strict`), a type that cannot be marked is deleted at once, with a warning.
pub(crate) fn check(
    drafts: &[TypeDraft],
    types: &mut [ResourceType],
    strict: bool,
    problems: &mut Vec<Diagnostic>,
) {
    let circles = circles(types);
    for (draft, ty) in drafts.iter().zip(types) {
        if !ty.async_deletion {
            continue;
        }
        let circle = circles.get(&ty.kind).map(|circle| waits_for_itself(ty, circle));
        let found: Vec<_> = unmarkable(ty).into_iter().chain(circle).collect();
        ty.async_deletion = strict || found.is_empty();
        let place = if draft.spec.async_deletion { &draft.spec.place } else { &draft.place };
        problems.extend(found.into_iter().map(|Problem { code, message, help }| {
            let problem = match strict {
                true => Diagnostic::error(code, place, message),
                false => Diagnostic::warning(code, place, message),
            };
            problem.help(help)
        }));
    }
}

struct Problem {
    code: &'static str,
    message: String,
    help: &'static str,
}

fn unmarkable(ty: &ResourceType) -> Option<Problem> {
    let why = if ty.opt_outs.constraints {
        "it opts out of constraints, so nothing is known of what refers to it".to_owned()
    } else {
        match &ty.metadata {
            MetadataPlace::None => "it has no metadata to be marked in".to_owned(),
            MetadataPlace::Beside => return None,
            MetadataPlace::Inside(field) => {
                let meta = field.kind().as_message().cloned()?;
                let missing = MARKS.iter().find(|name| meta.get_field_by_name(name).is_none())?;
                format!("its `goten.types.Meta` has no field `{missing}`")
            }
        }
    };
    let message = format!("\"{}\" cannot be deleted asynchronously: {why}", ty.kind);
    let help =
        "leave out the opt-out and your own copy of `goten/types/meta.proto`, or `async_deletion`";
    Some(Problem { code: code::CANNOT_BE_MARKED, message, help })
}

fn waits_for_itself(ty: &ResourceType, circle: &str) -> Problem {
    let message =
        format!("\"{}\" is deleted asynchronously and could wait for itself: {circle}", ty.kind);
    let help = "what is being deleted keeps its references until it is gone; let one of these be UNSET or ALLOW_DANGLING";
    Problem { code: code::WAITS_FOR_ITSELF, message, help }
}

/// A reference from one type of the version to another that holds up what it leads to.
struct Edge<'t> {
    from: &'t str,
    to: &'t str,
    /// `Device.spec.model`
    label: String,
    is_block: bool,
}

/// For each type that could wait for itself, the first way on which it does, as text.
fn circles(types: &[ResourceType]) -> BTreeMap<String, String> {
    let marked: BTreeSet<&str> =
        types.iter().filter(|ty| ty.async_deletion).map(|ty| ty.kind.as_str()).collect();
    if marked.is_empty() {
        return BTreeMap::new();
    }
    // What is not marked is gone at once, and then holds up nothing, unless it cannot even be deleted.
    let edges: Vec<_> =
        edges(types).filter(|edge| edge.is_block || marked.contains(edge.to)).collect();
    // A circle that only blocks never begins: the deletion is refused.
    let begins = edges.iter().filter(|edge| !edge.is_block);
    let circle = |last: &Edge<'_>| {
        let mut labels = way(&edges, last.to, last.from)?;
        labels.push(last.label.clone());
        let ends = last.to.rsplit('/').next().unwrap_or_default();
        Some((last.to.to_owned(), format!("{} -> {ends}", labels.join(" -> "))))
    };
    let mut found = BTreeMap::new();
    for (kind, text) in begins.filter_map(circle) {
        found.entry(kind).or_insert(text);
    }
    found
}

/// The labels on the shortest way between two types; none from a type to itself. Cost: each edge is looked at once for each type.
fn way(edges: &[Edge<'_>], from: &str, to: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::from([from]);
    let mut waiting = VecDeque::from([(from, Vec::new())]);
    while let Some((at, labels)) = waiting.pop_front() {
        if at == to {
            return Some(labels);
        }
        for edge in edges.iter().filter(|edge| edge.from == at) {
            if seen.insert(edge.to) {
                let mut labels: Vec<String> = labels.clone();
                labels.push(edge.label.clone());
                waiting.push_back((edge.to, labels));
            }
        }
    }
    None
}

/// What holds up a deletion and stays on what is marked: references that block or cascade, parents included.
fn edges(types: &[ResourceType]) -> impl Iterator<Item = Edge<'_>> {
    let all = types.iter().filter(|ty| !ty.opt_outs.constraints);
    all.flat_map(move |ty| {
        let fields = ty.references.iter().filter(|reference| !reference.external);
        let fields = fields.map(|reference| {
            let kinds = kinds(types, &reference.target);
            (kinds, reference.on_target_delete, reference.path.clone())
        });
        let parents = ty.parents.iter().filter_map(|parent| parent.kind.as_deref()).collect();
        let parent = (parents, ty.parent_rule.on_delete, "parent".to_owned());
        fields.chain([parent]).flat_map(move |(kinds, behaviour, path)| {
            let label = format!("{}.{path}", ty.singular);
            let edge = move |to: &str| {
                let to = types.iter().find(|ty| ty.kind == to && !ty.opt_outs.constraints)?;
                let is_block = behaviour == Behaviour::Block;
                let holds_up = is_block || behaviour == Behaviour::Cascade;
                let (from, to, label) = (&*ty.kind, &*to.kind, label.clone());
                holds_up.then_some(Edge { from, to, label, is_block })
            };
            kinds.into_iter().filter_map(edge).collect::<Vec<_>>()
        })
    })
}

/// The kinds of the version that a reference can lead to.
fn kinds<'t>(types: &'t [ResourceType], target: &'t Target) -> Vec<&'t str> {
    match target {
        Target::Kind(kind) => vec![kind],
        Target::ParentOf(child) => {
            let children = types.iter().filter(|ty| ty.kind == *child);
            let parents = children.flat_map(|child| &child.parents);
            parents.filter_map(|parent| parent.kind.as_deref()).collect()
        }
        Target::Any => types.iter().map(|ty| &*ty.kind).collect(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::diagnostic::render;
    use crate::load::{Loaded, load};
    use crate::source::Source;

    const HEAD: &str = r#"
syntax = "proto3";
package a.v1;
import "google/api/resource.proto";
import "bowline/annotations.proto";
import "goten/annotations/resource.proto";
import "goten/types/meta.proto";
"#;

    /// Loads a type `Tree` with what `tree` says in it, and `Leaf`, a child of it, with what `leaf` says.
    fn loaded(manifest: Option<&str>, tree: &str, leaf: &str) -> Loaded {
        let proto = format!(
            r#"{HEAD}
message Tree {{
  option (google.api.resource) = {{ type: "a.test/Tree" pattern: "trees/{{tree}}" }};
  string name = 1;
  goten.types.Meta metadata = 2;
  {tree}
}}
message Leaf {{
  option (google.api.resource) = {{ type: "a.test/Leaf" pattern: "trees/{{tree}}/leaves/{{leaf}}" }};
  string name = 1;
  goten.types.Meta metadata = 2;
  {leaf}
}}
"#
        );
        let service_yaml = manifest.map(|resources| {
            format!(
                "name: a.test\nversions:\n  v1: {{ package: a.v1 }}\nresources: {{ {resources} }}\n"
            )
        });
        load(&[Source::Files { service_yaml, files: vec![("a/v1/a.proto".to_owned(), proto)] }])
    }

    fn check(manifest: Option<&str>, tree: &str, leaf: &str, expected: Expect) {
        expected.assert_eq(&render(&loaded(manifest, tree, leaf).diagnostics));
    }

    fn refers(kind: &str, behaviour: &str) -> String {
        format!(
            r#"string other = 3 [(google.api.resource_reference).type = "a.test/{kind}", (bowline.reference).on_target_delete = {behaviour}];"#
        )
    }

    const ASYNC: Option<&str> = Some("Tree: { async_deletion: true }");

    #[test]
    fn it_is_declared_in_the_manifest_or_by_either_option() {
        let is_async = |loaded: &Loaded| {
            let tree = loaded.registry.resource_type("a.test/Tree", "v1").unwrap();
            let leaf = loaded.registry.resource_type("a.test/Leaf", "v1").unwrap();
            (tree.async_deletion, leaf.async_deletion)
        };
        for option in ["goten.annotations.resource", "bowline.resource"] {
            let option = format!("option ({option}) = {{ async_deletion: true }};");
            assert_eq!(is_async(&loaded(None, "", &option)), (false, true), "{option}");
        }
        let declared = loaded(ASYNC, "", "");
        assert_eq!(is_async(&declared), (true, false));
        let shown = crate::show::show(&declared.registry);
        assert!(shown.contains("      is deleted asynchronously\n"), "{shown}");
    }

    #[test]
    fn what_cannot_be_marked_is_refused() {
        let check = |out: &str, expected| {
            let manifest = format!("Tree: {{ async_deletion: true, opt_outs: {{ {out}: true }} }}");
            check(Some(&manifest), "", "", expected);
        };
        check(
            "constraints",
            expect![[r#"
            error[BL044]: "a.test/Tree" cannot be deleted asynchronously: it opts out of constraints, so nothing is known of what refers to it
              --> service.yaml:4:14
              = help: leave out the opt-out and your own copy of `goten/types/meta.proto`, or `async_deletion`

            1 error, 0 warnings
        "#]],
        );
        check(
            "metadata",
            expect![[r#"
            error[BL044]: "a.test/Tree" cannot be deleted asynchronously: it has no metadata to be marked in
              --> service.yaml:4:14
              = help: leave out the opt-out and your own copy of `goten/types/meta.proto`, or `async_deletion`

            1 error, 0 warnings
        "#]],
        );
    }

    #[test]
    fn a_type_that_could_wait_for_itself_is_refused() {
        // Two that cascade to each other are both marked, and each waits until the other is gone.
        check(
            ASYNC,
            &refers("Tree", "CASCADE"),
            "",
            expect![[r#"
            error[BL045]: "a.test/Tree" is deleted asynchronously and could wait for itself: Tree.other -> Tree
              --> service.yaml:4:14
              = help: what is being deleted keeps its references until it is gone; let one of these be UNSET or ALLOW_DANGLING

            1 error, 0 warnings
        "#]],
        );
        // The tree is marked and blocks the leaf, which was to go with it.
        check(
            ASYNC,
            &refers("Leaf", "BLOCK"),
            "",
            expect![[r#"
            error[BL045]: "a.test/Tree" is deleted asynchronously and could wait for itself: Tree.other -> Leaf.parent -> Tree
              --> service.yaml:4:14
              = help: what is being deleted keeps its references until it is gone; let one of these be UNSET or ALLOW_DANGLING

            1 error, 0 warnings
        "#]],
        );
        // Bare protos may be somebody else's.
        let option = "option (goten.annotations.resource) = { async_deletion: true };";
        let tree = format!("{option} {}", refers("Tree", "CASCADE"));
        check(
            None,
            &tree,
            "",
            expect![[r#"
            warning[BL045]: "a.test/Tree" is deleted asynchronously and could wait for itself: Tree.other -> Tree
              --> a/v1/a.proto:9:1
              = help: what is being deleted keeps its references until it is gone; let one of these be UNSET or ALLOW_DANGLING

            0 errors, 1 warning
        "#]],
        );
        let loaded = loaded(None, &tree, "");
        assert!(!loaded.registry.resource_type("a.test/Tree", "v1").unwrap().async_deletion);
    }

    #[test]
    fn circles_that_end_or_never_begin_are_fine() {
        for (manifest, tree, leaf) in [
            // Who refers is marked too, and goes first.
            ("Tree: { async_deletion: true }, Leaf: { async_deletion: true }", "", String::new()),
            // What unsets lets go of what it refers to, also while it is marked.
            ("Tree: { async_deletion: true }", "UNSET", String::new()),
            // The tree is not marked: once it is gone it blocks nothing.
            ("Leaf: { async_deletion: true }", "BLOCK", String::new()),
            // Nobody can even begin.
            (
                "Tree: { async_deletion: true }",
                "BLOCK",
                "option (bowline.resource).on_parent_delete = BLOCK;".to_owned(),
            ),
        ] {
            let tree = if tree.is_empty() { String::new() } else { refers("Leaf", tree) };
            check(Some(manifest), &tree, &leaf, expect![""]);
        }
    }
}
