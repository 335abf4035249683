//! Documents that people write: reading YAML and JSON files, and finding out which resource each one is.
//!
//! A document is flat (`kind`, `apiVersion`, then the fields of the resource) or wrapped (`kind`, `apiVersion`,
//! `resource: {...}`); the second is how resources are printed that have fields called `kind` or `apiVersion`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline_schema::model::ResourceType;
use serde_json::{Map, Value};

use super::catalog::Catalog;
use super::error::Error;
use super::json;

/// Largest file that is read; resources have at most 1 MiB each.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Deepest nesting of folders that is searched, so that a cycle of links ends.
const FOLDER_DEPTH_MAX: usize = 32;

/// One document as it was read, with where it stood for messages.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    /// `devices.yaml document 2`
    pub(crate) place: String,
    pub(crate) value: Value,
}

/// A document whose type is known; `fields` are those of the resource, without markers.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) place: String,
    pub(crate) ty: Arc<ResourceType>,
    pub(crate) fields: Value,
}

impl Document {
    /// The resource's name, if the document gives it.
    pub(crate) fn name(&self) -> Option<&str> {
        let field = &self.ty.name_field;
        let fields = self.fields.as_object()?;
        fields.get(field.json_name()).or_else(|| fields.get(field.name()))?.as_str()
    }

    pub(crate) fn bad(&self, problem: impl Into<String>) -> Error {
        Error::BadDocument { place: self.place.clone(), problem: problem.into() }
    }
}

/// All documents of `path`: a file, a folder that is searched, or `-` for standard input.
pub(crate) fn read(path: &Path) -> Result<Vec<Raw>, Error> {
    if path == Path::new("-") {
        let stdin = std::io::stdin().lock();
        return parse("standard input", &read_text(stdin, Path::new("standard input"))?);
    }
    if !path.is_dir() {
        return read_file(path);
    }
    let mut files = Vec::new();
    search(path, 0, &mut files)?;
    if files.is_empty() {
        let problem = "no .yaml, .yml or .json file in this folder".to_owned();
        return Err(Error::BadDocument { place: path.display().to_string(), problem });
    }
    let documents = files.iter().map(|file| read_file(file)).collect::<Result<Vec<_>, _>>()?;
    Ok(documents.into_iter().flatten().collect())
}

fn search(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    if depth > FOLDER_DEPTH_MAX {
        return Err(failed(std::io::Error::other("folders are nested too deep")));
    }
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths =
        entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            search(&path, depth + 1, files)?;
        } else if matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Vec<Raw>, Error> {
    let file = std::fs::File::open(path)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(&path.display().to_string(), &read_text(file, path)?)
}

fn read_text(source: impl std::io::Read, path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut text = String::new();
    source.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(std::io::Error::other("the file is larger than 256 MiB")));
    }
    Ok(text)
}

/// YAML, of which JSON is a part; several documents, lists of documents, and `{"items": [...]}`.
pub(crate) fn parse(place: &str, text: &str) -> Result<Vec<Raw>, Error> {
    let bad = |problem: String| Error::BadDocument { place: place.to_owned(), problem };
    let parsed: Vec<Value> = if text.trim_start().starts_with(['{', '[']) {
        let stream = serde_json::Deserializer::from_str(text).into_iter();
        stream.collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))?
    } else {
        serde_saphyr::from_multiple_with_options(text, yaml_options())
            .map_err(|error| bad(yaml_problem(place, &error)))?
    };
    let mut values = Vec::new();
    parsed.into_iter().for_each(|value| flatten(value, &mut values));
    let several = values.len() > 1;
    let place_of = |index: usize| {
        if several { format!("{place} document {}", index + 1) } else { place.to_owned() }
    };
    Ok(values.into_iter().enumerate().map(|(i, value)| Raw { place: place_of(i), value }).collect())
}

/// What the library says, with lines of the file around it, about the file that it does not know the name of.
fn yaml_problem(place: &str, error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.replace("--> <input>:", &format!("--> {place}:"))
}

/// `no` is a country code, not a truth value, as YAML 1.2 has it.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true }
}

/// Lists become their items; documents that are empty (a trailing `---`) vanish.
fn flatten(value: Value, values: &mut Vec<Value>) {
    match value {
        Value::Null => {}
        Value::Array(items) => values.extend(items),
        Value::Object(mut fields) if is_list(&fields) => {
            if let Some(Value::Array(items)) = fields.remove("items") {
                values.extend(items);
            }
        }
        other => values.push(other),
    }
}

/// What `-o json` of a list prints; a resource would have a name.
fn is_list(fields: &Map<String, Value>) -> bool {
    fields.get("items").is_some_and(Value::is_array)
        && fields.keys().all(|key| matches!(key.as_str(), "items" | "nextPageToken"))
}

/// Finds the type of a document: by its marker, else `assumed`, else by its name.
pub(crate) fn identify(
    catalog: &Catalog,
    raw: Raw,
    assumed: Option<&Arc<ResourceType>>,
    version: Option<&str>,
) -> Result<Document, Error> {
    let Raw { place, value } = raw;
    let bad = |problem: String| Error::BadDocument { place: place.clone(), problem };
    let Value::Object(mut fields) = value else {
        return Err(bad("expected a mapping with the fields of a resource".to_owned()));
    };
    let marker = take_marker(&mut fields, assumed);
    let wanted = marker.as_ref().and_then(|(_, version)| version.as_deref()).or(version);
    let ty = match (&marker, assumed) {
        (Some((kind, _)), _) => {
            let ty = catalog.resolve_type(kind, wanted).map_err(|error| in_place(&bad, &error))?;
            check_assumed(&ty, assumed).map_err(&bad)?;
            ty
        }
        (None, Some(assumed)) => Arc::clone(assumed),
        (None, None) => {
            let name = fields.get("name").and_then(Value::as_str);
            let name = name.ok_or_else(|| bad("no `kind:` says what this is".to_owned()))?;
            let found = catalog.resolve_name(name, wanted);
            found.map_err(|error| bad(format!("no `kind:` says what this is, and {error}")))?.0
        }
    };
    let fields = unwrap(fields);
    Ok(Document { place, ty, fields })
}

/// What the error of a type in a document says; the command line is not at fault, so it is no usage error.
fn in_place(bad: &dyn Fn(String) -> Error, error: &Error) -> Error {
    let near = match error {
        Error::UnknownType { near, .. } if !near.is_empty() => {
            format!("; did you mean {}?", near.join(" or "))
        }
        Error::AmbiguousType { candidates, .. } => format!(": {}", candidates.join(", ")),
        Error::UnknownVersion { known, .. } => format!("; it has {}", known.join(", ")),
        _ => String::new(),
    };
    bad(format!("{error}{near}"))
}

fn check_assumed(
    ty: &Arc<ResourceType>,
    assumed: Option<&Arc<ResourceType>>,
) -> Result<(), String> {
    match assumed {
        Some(assumed) if assumed.kind != ty.kind => {
            Err(format!("this is a {}, and the command is about {}", ty.kind, assumed.kind))
        }
        _ => Ok(()),
    }
}

/// Takes `kind` or `type`, and `apiVersion`, out of `fields`. A type that has such a field itself keeps it, unless
/// the text is a kind in full.
fn take_marker(
    fields: &mut Map<String, Value>,
    assumed: Option<&Arc<ResourceType>>,
) -> Option<(String, Option<String>)> {
    let own =
        |key: &str| assumed.is_some_and(|ty| ty.message.get_field_by_json_name(key).is_some());
    for key in ["kind", "type"] {
        let Some(text) = fields.get(key).and_then(Value::as_str) else { continue };
        let is_full = text.split_once('/').is_some_and(|(domain, _)| domain.contains('.'));
        if is_full || (key == "kind" && !own(key)) {
            let text = text.to_owned();
            fields.shift_remove(key);
            let version = fields.get("apiVersion").and_then(Value::as_str).map(str::to_owned);
            if version.is_some() {
                fields.shift_remove("apiVersion");
            }
            return Some((text, version));
        }
    }
    None
}

/// The fields of a wrapped document, or those of a flat one.
fn unwrap(mut fields: Map<String, Value>) -> Value {
    if fields.len() == 1 && fields.get("resource").is_some_and(Value::is_object) {
        return fields.remove("resource").unwrap_or_default();
    }
    Value::Object(fields)
}

/// A resource as a document that [`identify`] takes back.
pub(crate) fn of_resource(
    ty: &ResourceType,
    message: &prost_reflect::DynamicMessage,
) -> Result<Value, Error> {
    let fields = json::to_value(message)?;
    let mut document = Map::new();
    document.insert("kind".to_owned(), ty.kind.clone().into());
    document.insert("apiVersion".to_owned(), ty.version.clone().into());
    match fields {
        Value::Object(fields)
            if !fields.contains_key("kind") && !fields.contains_key("apiVersion") =>
        {
            document.extend(fields);
        }
        fields => {
            document.insert("resource".to_owned(), fields);
        }
    }
    Ok(Value::Object(document))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{catalog, device_type};
    use super::*;

    fn one(text: &str) -> Result<Document, Error> {
        let mut raw = parse("test.yaml", text)?;
        assert_eq!(raw.len(), 1, "{raw:?}");
        identify(catalog(), raw.remove(0), None, None)
    }

    #[test]
    fn yaml_may_hold_many_documents() {
        let text = "---\nkind: a.b/C\nname: x\n---\nname: y\n---\n";
        let raw = parse("f.yaml", text).unwrap();
        let places: Vec<_> = raw.iter().map(|r| r.place.as_str()).collect();
        assert_eq!(places, ["f.yaml document 1", "f.yaml document 2"]);
    }

    #[test]
    fn broken_yaml_is_told_with_its_file_and_line() {
        let error = parse("dir/f.yaml", "kind: x\n name: y\n").unwrap_err().to_string();
        assert!(error.starts_with("dir/f.yaml: line 2 column "), "{error}");
        assert!(error.contains("--> dir/f.yaml:2:") && !error.contains("<input>"), "{error}");
    }

    #[test]
    fn only_true_and_false_are_truth_values() {
        let raw = parse("f", "country: no\nactive: true\n").unwrap().remove(0);
        assert_eq!(raw.value, serde_json::json!({"country": "no", "active": true}));
    }

    #[test]
    fn json_may_be_a_list_or_what_list_prints() {
        assert_eq!(parse("f", r#"[{"name": "x"}, {"name": "y"}]"#).unwrap().len(), 2);
        assert_eq!(
            parse("f", r#"{"items": [{"name": "x"}], "nextPageToken": ""}"#).unwrap().len(),
            1
        );
        assert_eq!(parse("f", r#"{"items": [1], "name": "x"}"#).unwrap().len(), 1);
        assert_eq!(parse("f", r#"{"name": "x"} {"name": "y"}"#).unwrap().len(), 2);
    }

    #[test]
    fn the_kind_says_the_type_and_is_no_field() {
        let document =
            one("kind: devices.example.com/Device\napiVersion: v1\nname: projects/p/devices/d\n")
                .unwrap();
        assert_eq!(document.ty.kind, "devices.example.com/Device");
        assert_eq!(document.name(), Some("projects/p/devices/d"));
        assert_eq!(document.fields, serde_json::json!({"name": "projects/p/devices/d"}));
    }

    #[test]
    fn the_api_version_chooses_the_version() {
        let document = one("kind: secrets.example.com/Secret\napiVersion: v1alpha2\n").unwrap();
        assert_eq!(document.ty.version, "v1alpha2");
        let error = one("kind: secrets.example.com/Secret\napiVersion: v7\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "test.yaml: secrets.example.com/Secret has no version v7; it has v1alpha2, v1"
        );
    }

    #[test]
    fn type_is_a_marker_only_when_it_is_a_kind() {
        assert_eq!(
            one("type: devices.example.com/Device\n").unwrap().ty.singular.to_lowercase(),
            "device"
        );
        assert!(one("type: BIG\n").is_err());
    }

    #[test]
    fn without_kind_the_name_decides() {
        assert_eq!(
            one("name: projects/p/devices/d").unwrap().ty.kind,
            "devices.example.com/Device"
        );
        assert!(one("name: projects/p").is_err());
    }

    #[test]
    fn a_wrapped_document_is_unwrapped() {
        let document =
            one("kind: devices.example.com/Device\nresource: {name: projects/p/devices/d}\n")
                .unwrap();
        assert_eq!(document.name(), Some("projects/p/devices/d"));
    }

    #[test]
    fn a_printed_resource_can_be_read_back() {
        let ty = device_type();
        let fields = serde_json::json!({"name": "projects/p/devices/d", "spec": {"port": 80}});
        let message = json::from_value(&ty.message, fields.clone()).unwrap();
        let printed = of_resource(&ty, &message).unwrap();
        let read = one(&serde_saphyr::to_string(&printed).unwrap()).unwrap();
        assert_eq!(read.fields, fields);
    }

    #[test]
    fn a_document_of_another_type_is_refused() {
        let raw = parse("f", "kind: secrets.example.com/Secret").unwrap().remove(0);
        let error = identify(catalog(), raw, Some(&device_type()), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "f: this is a secrets.example.com/Secret, and the command is about devices.example.com/Device"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            for raw in parse("f", &text).unwrap_or_default() {
                let _ = identify(catalog(), raw, None, None);
            }
        }
    }
}
