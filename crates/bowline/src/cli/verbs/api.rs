//! `bowline api`: what the server has to offer, as far as its descriptors tell.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;

use bowline_schema::model::{ResourceType, Role, Target};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::json;

use super::super::args::{ApiArgs, ApiCommand, Format, OutputArgs, ServerArgs};
use super::super::catalog::{Catalog, verb_word};
use super::super::error::Error;
use super::super::print::{self, TableWriter};
use super::super::{comments, fields, json as proto_json};

/// How deep messages are shown.
const DEPTH_MAX: usize = 6;

pub(crate) async fn run(args: ApiArgs, out: &mut dyn Write) -> Result<(), Error> {
    match args.command {
        None => list(&args.server, args.output, out).await,
        Some(ApiCommand::List { output, server }) => list(&server, output, out).await,
        Some(ApiCommand::Describe { kind, server }) => {
            let session = super::open(&server).await?;
            let ty = session.catalog.resolve_type(&kind, session.version.as_deref())?;
            write!(out, "{}", describe(&session.catalog, &ty))?;
            Ok(out.flush()?)
        }
    }
}

async fn list(server: &ServerArgs, output: OutputArgs, out: &mut dyn Write) -> Result<(), Error> {
    let session = super::open(server).await?;
    let is_wanted = |ty: &&ResourceType| session.version.as_ref().is_none_or(|v| *v == ty.version);
    let catalog = &session.catalog;
    let types: Vec<_> =
        catalog.registry().all_types().map(AsRef::as_ref).filter(is_wanted).collect();
    print_types(catalog, &types, output.output, out)?;
    Ok(out.flush()?)
}

fn print_types(
    catalog: &Catalog,
    types: &[&ResourceType],
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Error> {
    match format {
        Format::Name => types.iter().try_for_each(|ty| Ok(writeln!(out, "{}", ty.kind)?)),
        Format::Json => Ok(writeln!(out, "{}", print::pretty(&types_as_json(catalog, types), 0))?),
        Format::Yaml => Ok(write!(out, "{}", print::yaml(&types_as_json(catalog, types))?)?),
        Format::Table | Format::Wide => {
            let is_wide = format == Format::Wide;
            let mut titles = vec!["KIND", "VERSION", "VERBS", "NAMES"];
            if is_wide {
                titles.push("REST");
            }
            let rows = types.iter().map(|ty| row(catalog, ty, is_wide)).collect();
            TableWriter::new(titles.into_iter().map(str::to_owned).collect()).rows(out, rows)
        }
    }
}

fn row(catalog: &Catalog, ty: &ResourceType, is_wide: bool) -> Vec<String> {
    let names: Vec<_> = ty.patterns.iter().map(|pattern| pattern.text.as_str()).collect();
    let mut row =
        vec![ty.kind.clone(), ty.version.clone(), verbs(catalog, ty).join(","), names.join(" or ")];
    if is_wide {
        let get = catalog.find_method(ty, bowline_schema::model::Verb::Get);
        row.push(
            get.and_then(|get| get.method.http.first())
                .map(|r| r.template.text.clone())
                .unwrap_or_default(),
        );
    }
    row
}

/// Words without repetition: watching one and watching all is one word.
fn verbs(catalog: &Catalog, ty: &ResourceType) -> Vec<&'static str> {
    let mut words: Vec<&'static str> = Vec::new();
    for verb in catalog.methods_of(ty).into_iter().flatten().map(|(verb, _)| *verb) {
        let word = verb_word(verb).split(' ').next().unwrap_or_default();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

fn types_as_json(catalog: &Catalog, types: &[&ResourceType]) -> serde_json::Value {
    let one = |ty: &&ResourceType| {
        let methods = catalog.methods_of(ty).into_iter().flatten();
        let methods: serde_json::Map<_, _> = methods
            .map(|(verb, bound)| (verb_word(*verb).to_owned(), bound.method.path.clone().into()))
            .collect();
        json!({
            "kind": ty.kind,
            "apiVersion": ty.version,
            "patterns": ty.patterns.iter().map(|pattern| &pattern.text).collect::<Vec<_>>(),
            "methods": methods,
        })
    };
    json!({ "types": types.iter().map(one).collect::<Vec<_>>() })
}

/// Everything about a type that its descriptors tell.
fn describe(catalog: &Catalog, ty: &ResourceType) -> String {
    let mut text = format!("{} {}\n", ty.kind, ty.version);
    if let Some(comment) = comments::of_message(&ty.message) {
        push_indented(&mut text, &comment, 2);
    }
    text.push_str("\nNames:\n");
    for pattern in &ty.patterns {
        let _ = writeln!(text, "  {}", pattern.text);
    }
    text.push_str("\nMethods:\n");
    for (verb, bound) in catalog.methods_of(ty).into_iter().flatten() {
        let rest =
            bound.method.http.first().map(|rule| format!("{} {}", rule.method, rule.template.text));
        let _ = writeln!(text, "  {:<10} {}", verb_word(*verb), bound.method.path);
        if let Some(rest) = rest {
            let _ = writeln!(text, "  {:<10} {rest}", "");
        }
    }
    describe_actions(catalog, ty, &mut text);
    text.push_str("\nFields:\n");
    let mut above = BTreeSet::new();
    describe_fields(ty, &ty.message, &mut Vec::new(), &mut above, &mut text);
    text
}

/// Methods of the version that are not standard and take or give the type.
fn describe_actions(catalog: &Catalog, ty: &ResourceType, text: &mut String) {
    let service = catalog.registry().service(&ty.service);
    let version = service.and_then(|s| s.versions.iter().find(|v| v.version == ty.version));
    for method in version.into_iter().flat_map(|version| &version.methods) {
        let is_action = matches!(method.role, Role::Action { .. });
        if is_action && method.descriptor.output() == ty.message {
            let _ = writeln!(text, "  {:<10} {}", "action", method.path);
        }
    }
}

fn describe_fields(
    ty: &ResourceType,
    message: &MessageDescriptor,
    path: &mut Vec<String>,
    above: &mut BTreeSet<String>,
    text: &mut String,
) {
    // A message within itself is shown once.
    if path.len() >= DEPTH_MAX || !above.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        path.push(field.name().to_owned());
        let indent = 2 * path.len();
        let notes = notes(ty, path);
        let _ = writeln!(text, "{:indent$}{}  {}{notes}", "", field.name(), type_name(&field));
        if let Some(comment) = comments::of_field(&field) {
            push_indented(text, &comment, indent + 4);
        }
        if let Some(inner) = inner_message(&field) {
            describe_fields(ty, &inner, path, above, text);
        }
        path.pop();
    }
    above.remove(message.full_name());
}

/// The message whose fields are worth showing below a field.
fn inner_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    match kind {
        Kind::Message(inner) if !proto_json::is_well_known(&inner) => Some(inner),
        _ => None,
    }
}

fn notes(ty: &ResourceType, segments: &[String]) -> String {
    let rules = &ty.fields;
    let path = segments.join(".");
    let mut words = Vec::new();
    // Said once, where the part that the server keeps begins.
    if segments.len() == 2 && fields::is_kept_by_server(ty, segments) {
        words.push("output only".to_owned());
    }
    for (word, paths) in [
        ("required", &rules.required),
        ("output only", &rules.output_only),
        ("input only", &rules.input_only),
        ("immutable", &rules.immutable),
    ] {
        if paths.contains(&path) && !words.iter().any(|other| other == word) {
            words.push(word.to_owned());
        }
    }
    for reference in ty.references.iter().filter(|reference| reference.path == path) {
        words.push(match &reference.target {
            Target::Kind(kind) => format!("names a {kind}"),
            Target::ParentOf(kind) => format!("names a parent of {kind}"),
            Target::Any => "names any resource".to_owned(),
        });
    }
    if words.is_empty() { String::new() } else { format!("  ({})", words.join(", ")) }
}

fn type_name(field: &FieldDescriptor) -> String {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let name = |field: FieldDescriptor| kind_name(&field.kind());
        return format!(
            "map of {} to {}",
            name(entry.map_entry_key_field()),
            name(entry.map_entry_value_field())
        );
    }
    let name = kind_name(&field.kind());
    if field.is_list() { format!("list of {name}") } else { name }
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.name().to_owned(),
        Kind::Enum(values) => {
            let names: Vec<_> = values.values().map(|value| value.name().to_owned()).collect();
            format!("one of {}", names.join(" | "))
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

fn push_indented(text: &mut String, comment: &str, indent: usize) {
    for line in comment.lines() {
        let _ = writeln!(text, "{:indent$}{line}", "");
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::super::testing::{catalog, device_type};
    use super::*;

    #[test]
    fn types_are_listed_with_their_verbs() {
        let types: Vec<_> = catalog().registry().all_types().map(AsRef::as_ref).collect();
        let mut out = Vec::new();
        print_types(catalog(), &types, Format::Table, &mut out).unwrap();
        expect![[r#"
            KIND                            VERSION   VERBS                                          NAMES
            devices.example.com/Project     v1        get,batch-get,list,create,update,delete,watch  projects/{project}
            devices.example.com/Device      v1        get,batch-get,list,create,update,delete,watch  projects/{project}/devices/{device}
            iam.example.com/Project         v1        get,batch-get,list,create,update,delete,watch  projects/{project}
            iam.example.com/ServiceAccount  v1        get,batch-get,list,create,update,delete,watch  projects/{project}/serviceAccounts/{service_account}
            secrets.example.com/Secret      v1alpha2  get,batch-get,list,create,update,delete,watch  projects/{project}/secrets/{secret}
            secrets.example.com/Secret      v1        get,batch-get,list,create,update,delete,watch  projects/{project}/secrets/{secret}
        "#]].assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_description_has_names_methods_and_fields() {
        let text = describe(catalog(), &device_type());
        let fields = text.split("Fields:\n").nth(1).unwrap();
        let spec: Vec<_> = fields.lines().skip_while(|l| !l.contains("spec  ")).take(12).collect();
        let spec = format!("Fields:\n{}", spec.join("\n"));
        expect![[r#"
            Fields:
              spec  Spec
                  What is wanted.
                model  string  (required)
                port  int32
                enabled  bool
                ratio  double
                tags  list of string
                ttl  Duration
                secret  string  (names a secrets.example.com/Secret)
                password  string
              status  Status  (output only)
                phase  one of PHASE_UNSPECIFIED | PHASE_READY | PHASE_BROKEN"#]]
        .assert_eq(&spec);
        assert!(text.contains("  projects/{project}/devices/{device}\n"), "{text}");
        assert!(text.contains("    create_time  Timestamp  (output only)\n"), "{text}");
        assert!(text.contains("    labels  map of string to string\n"), "{text}");
    }
}
