//! From a linked draft to the resource type that requests see.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::diagnostic::{Diagnostic, code};
use crate::link::Links;
use crate::model::{MetadataPlace, OptOuts, ResourceType, StandardFields, SyncType};
use crate::options::MessageOptions;
use crate::scan::{TypeDraft, VersionDraft};
use crate::walk::Walked;

/// Puts a type together.
pub(crate) fn resource_type(
    draft: &VersionDraft,
    ty: &TypeDraft,
    walked: Walked,
    links: Links,
    problems: &mut Vec<Diagnostic>,
) -> ResourceType {
    let spec = &ty.spec;
    let region = &draft.region_collection;
    let by_pattern = ty.patterns.iter().any(|pattern| pattern.is_regional(region));
    let no_constraints = spec.no_constraints
        || ty.options.bowline.as_ref().is_some_and(|option| option.disable_constraints)
        || ty.options.goten.as_ref().is_some_and(|option| option.disable_db_constraints);
    let async_deletion = spec.async_deletion
        || ty.options.bowline.as_ref().is_some_and(|option| option.async_deletion)
        || ty.options.goten.as_ref().is_some_and(|option| option.async_deletion);
    ResourceType {
        kind: ty.kind.clone(),
        service: draft.service.clone(),
        version: draft.version.clone(),
        singular: ty.singular.clone(),
        plural: ty.plural.clone(),
        message: ty.message.clone(),
        patterns: ty.patterns.clone(),
        parents: links.parents,
        name_field: ty.name_field.clone(),
        metadata: metadata(ty),
        standard: standard_fields(&ty.message),
        references: links.references,
        parent_rule: links.parent_rule,
        fields: walked.rules,
        regional: spec.regional.unwrap_or(by_pattern),
        region_collection: region.clone(),
        searchable: searchable(ty, problems),
        index: index(ty, problems),
        opt_outs: OptOuts {
            constraints: no_constraints,
            metadata: spec.no_metadata,
            multi_region: spec.no_multi_region,
        },
        async_deletion,
        policy_holder: spec.policy_holder || walked.has_policy,
        sync_type: sync_type(ty),
        id_pattern: ty.id_pattern.clone(),
        views: views(ty, problems),
        declared_in: if ty.place.line == 0 {
            ty.place.file.clone()
        } else {
            format!("{}:{}", ty.place.file, ty.place.line)
        },
    }
}

fn metadata(ty: &TypeDraft) -> MetadataPlace {
    if ty.spec.no_metadata {
        return MetadataPlace::None;
    }
    let is_meta = |field: &FieldDescriptor| matches!(field.kind(), Kind::Message(message) if message.full_name() == "goten.types.Meta");
    let field =
        ty.message.get_field_by_name("metadata").filter(|field| is_meta(field) && !field.is_list());
    field.map_or(MetadataPlace::Beside, MetadataPlace::Inside)
}

fn standard_fields(message: &MessageDescriptor) -> StandardFields {
    let single = |name: &str, fits: &dyn Fn(&Kind) -> bool| {
        let field = message.get_field_by_name(name)?;
        (!field.is_list() && !field.is_map() && fits(&field.kind())).then_some(field)
    };
    let text = |name: &str| single(name, &|kind| *kind == Kind::String);
    let time = |name: &str| {
        single(
            name,
            &|kind| matches!(kind, Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp"),
        )
    };
    let strings = |name: &str| message.get_field_by_name(name).filter(is_string_map);
    StandardFields {
        uid: text("uid"),
        etag: text("etag"),
        create_time: time("create_time"),
        update_time: time("update_time"),
        delete_time: time("delete_time"),
        labels: strings("labels"),
        annotations: strings("annotations"),
        reconciling: single("reconciling", &|kind| *kind == Kind::Bool),
        display_name: text("display_name"),
    }
}

fn is_string_map(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            entry.map_entry_key_field().kind() == Kind::String
                && entry.map_entry_value_field().kind() == Kind::String
        }
        _ => false,
    }
}

/// The first list that is not empty, and of it the paths that exist.
fn paths(ty: &TypeDraft, lists: [&[String]; 3], problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let chosen = lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default();
    existing(ty, chosen, problems)
}

/// Drops paths that do not exist, with a diagnostic each.
fn existing(ty: &TypeDraft, paths: &[String], problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let (known, unknown): (Vec<_>, Vec<_>) =
        paths.iter().cloned().partition(|path| has_path(&ty.message, path));
    for path in unknown {
        let place = if ty.spec.place.file.is_empty() { &ty.place } else { &ty.spec.place };
        let message = format!("`{}` has no field `{path}`", ty.message.full_name());
        problems.push(Diagnostic::error(code::UNKNOWN_FIELD, place, message));
    }
    known
}

/// Whether a path exists: fields, and below a map any key.
fn has_path(message: &MessageDescriptor, path: &str) -> bool {
    kind_at(message, path).is_some()
}

/// What is at a path, of a list its items; `None` if there is no such path.
fn kind_at(message: &MessageDescriptor, path: &str) -> Option<Kind> {
    let mut at = Some(Kind::Message(message.clone()));
    let mut in_map: Option<Kind> = None;
    for part in path.split('.') {
        if let Some(value) = in_map.take() {
            at = Some(value);
            continue;
        }
        let Some(Kind::Message(message)) = at else { return None };
        let field = message.get_field_by_name(part)?;
        at = Some(field.kind());
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            in_map = Some(entry.map_entry_value_field().kind());
        }
    }
    at
}

fn searchable(ty: &TypeDraft, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let of_bowline = ty.options.bowline.as_ref().map_or(&[][..], |option| &option.searchable);
    let of_goten =
        ty.options.goten_search.as_ref().map_or(&[][..], |option| &option.fully_searchable);
    let found = paths(ty, [&ty.spec.searchable, of_bowline, of_goten], problems);
    if found.is_empty() && ty.spec.searchable_by_all {
        // Skeletons do not say by which fields; the name is always there, and most have a display name.
        let usual = [ty.name_field.name(), "display_name"];
        return usual
            .iter()
            .filter(|name| has_path(&ty.message, name))
            .map(|name| (*name).to_owned())
            .collect();
    }
    found
}

fn index(ty: &TypeDraft, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let of_bowline = ty.options.bowline.as_ref().map_or(&[][..], |option| &option.index);
    let found = paths(ty, [&ty.spec.index, of_bowline, &[]], problems);
    for path in found.iter().filter(|path| !is_indexable(&ty.message, path)) {
        let place = if ty.spec.place.file.is_empty() { &ty.place } else { &ty.spec.place };
        let message =
            format!("`{path}` is a message, and an index is on single values; name fields of it");
        problems.push(Diagnostic::warning(code::NOT_INDEXABLE, place, message));
    }
    found
}

/// Scalars, times, wrapped scalars, and lists and maps of those; `bowline_resource::index` makes the values.
fn is_indexable(message: &MessageDescriptor, path: &str) -> bool {
    match kind_at(message, path) {
        Some(Kind::Message(message)) if !message.is_map_entry() => {
            message.full_name().strip_prefix("google.protobuf.").is_some_and(|name| {
                matches!(name, "Timestamp" | "Duration")
                    || name.ends_with("Value") && name != "Value" && name != "ListValue"
            })
        }
        Some(_) => true,
        None => false,
    }
}

fn sync_type(ty: &TypeDraft) -> SyncType {
    let MessageOptions { bowline, goten_syncing, .. } = &ty.options;
    let of_bowline = bowline.as_ref().map(|option| match option.sync_type {
        1 => SyncType::Never,
        2 => SyncType::AlwaysInScope,
        3 => SyncType::AlwaysGlobally,
        _ => SyncType::Default,
    });
    // Goten counts in another order.
    let of_goten = goten_syncing.as_ref().map(|option| match option.r#type {
        1 => SyncType::AlwaysInScope,
        2 => SyncType::Never,
        3 => SyncType::AlwaysGlobally,
        _ => SyncType::Default,
    });
    ty.spec.sync_type.or(of_bowline).or(of_goten).unwrap_or_default()
}

fn views(ty: &TypeDraft, problems: &mut Vec<Diagnostic>) -> BTreeMap<String, Vec<String>> {
    let mut views = BTreeMap::new();
    for view in ty.options.goten.iter().flat_map(|option| &option.views) {
        let name = match view.view {
            1 => "NAME",
            2 => "BASIC",
            3 => "DETAIL",
            _ => continue,
        };
        let paths: Vec<String> = view.fields.iter().map(|field| field.path.clone()).collect();
        views.insert(
            name.to_owned(),
            paths.into_iter().filter(|path| has_path(&ty.message, path)).collect(),
        );
    }
    for (name, paths) in &ty.spec.views {
        views.insert(name.clone(), existing(ty, paths, problems));
    }
    views
}
