//! Binary descriptor sets: taken apart file by file, with their custom options untouched.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use prost_types::FileDescriptorProto;

use crate::diagnostic::{Diagnostic, Place, code};
use crate::imports::{Content, Entry, FileSet, is_built_in};
use crate::shipped;

/// A `FileDescriptorSet` whose files stay encoded.
#[derive(Clone, PartialEq, prost::Message)]
struct RawSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    file: Vec<Vec<u8>>,
}

/// What `buf build` adds to each file.
#[derive(Clone, PartialEq, prost::Message)]
struct BufFile {
    #[prost(message, optional, tag = "8042")]
    extension: Option<BufExtension>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BufExtension {
    /// The file was only pulled in by an import.
    #[prost(bool, tag = "1")]
    is_import: bool,
}

/// Adds the files of a set. All count as the unit's own, but for those that `buf` marks as imports and those that
/// Bowline ships to be imported.
pub(crate) fn add(label: &str, bytes: &[u8], set: &mut FileSet, problems: &mut Vec<Diagnostic>) {
    let mut bad = |what: &str, error: prost::DecodeError| {
        let message = format!("{what} cannot be decoded: {error}");
        let problem = Diagnostic::error(code::BAD_DESCRIPTOR_SET, &Place::file(label), message);
        problems.push(problem.help("write it with `buf build -o FILE.binpb` or `protoc --descriptor_set_out=FILE.binpb --include_imports`"));
    };
    let raw = match RawSet::decode(bytes) {
        Ok(raw) => raw,
        Err(error) => return bad("the descriptor set", error),
    };
    for encoded in raw.file {
        let file = match FileDescriptorProto::decode(encoded.as_slice()) {
            Ok(file) => file,
            Err(error) => {
                bad("a file of the descriptor set", error);
                continue;
            }
        };
        let name = file.name().to_owned();
        if is_built_in(&name) || set.files.contains_key(&name) {
            continue;
        }
        let buf = BufFile::decode(encoded.as_slice()).unwrap_or_default();
        let imported = buf.extension.is_some_and(|extension| extension.is_import);
        if !imported && !shipped::is_common(&name) {
            set.own.insert(name.clone());
        }
        let entry = Entry {
            display: format!("{label}:{name}"),
            package: file.package().to_owned(),
            content: Content::Encoded(encoded),
            imports: file.dependency.into_iter().filter(|name| !is_built_in(name)).collect(),
            incomplete: false,
        };
        set.files.insert(name, entry);
    }
}

/// Takes shipped files for imports that a descriptor set does not have, and drops the rest: a set may lack files that only
/// define options.
pub(crate) fn complete(set: &mut FileSet) {
    let mut names: Vec<String> = set.files.keys().cloned().collect();
    while let Some(name) = names.pop() {
        let Some(entry) = set.files.get(&name) else { continue };
        if matches!(entry.content, Content::Text(_)) {
            continue;
        }
        let missing: Vec<String> = entry
            .imports
            .iter()
            .filter(|import| !set.files.contains_key(*import))
            .cloned()
            .collect();
        for import in missing {
            match shipped_entry(&import) {
                // A shipped file imports only shipped files, each of which is added when it is asked for.
                Some(entry) => add_shipped(import, entry, set),
                None => drop_import(&name, &import, set),
            }
        }
    }
}

fn shipped_entry(name: &str) -> Option<Entry> {
    let text = shipped::text(name)?;
    let header = crate::header::scan(text);
    let imports =
        header.imports.into_iter().map(|import| import.name).filter(|name| !is_built_in(name));
    Some(Entry {
        display: name.to_owned(),
        package: header.package,
        content: Content::Text(text.to_owned()),
        imports: imports.collect(),
        incomplete: false,
    })
}

fn add_shipped(name: String, entry: Entry, set: &mut FileSet) {
    let mut waiting = vec![(name, entry)];
    while let Some((name, entry)) = waiting.pop() {
        for import in &entry.imports {
            if !set.files.contains_key(import) {
                waiting.extend(shipped_entry(import).map(|entry| (import.clone(), entry)));
            }
        }
        set.files.insert(name, entry);
    }
}

fn drop_import(name: &str, import: &str, set: &mut FileSet) {
    let Some(entry) = set.files.get_mut(name) else { return };
    entry.imports.retain(|other| other != import);
    if let Content::Encoded(encoded) = &mut entry.content
        && let Some(without) = without_dependency(encoded, import)
    {
        *encoded = without;
    }
}

/// The encoded file without one dependency; the indexes of public and weak ones follow.
fn without_dependency(encoded: &[u8], import: &str) -> Option<Vec<u8>> {
    let descriptor =
        DescriptorPool::global().get_message_by_name("google.protobuf.FileDescriptorProto")?;
    let mut file = DynamicMessage::decode(descriptor, encoded).ok()?;
    let dependencies = file.get_field_by_name("dependency")?.as_list()?.to_vec();
    let gone = dependencies.iter().position(|name| name.as_str() == Some(import))?;
    let mut left = dependencies;
    left.remove(gone);
    file.set_field_by_name("dependency", Value::List(left));
    for field in ["public_dependency", "weak_dependency"] {
        let indexes = file.get_field_by_name(field)?.as_list()?.to_vec();
        let shifted =
            indexes.into_iter().filter_map(|index| match (index.as_i32()?, gone as i32) {
                (index, gone) if index == gone => None,
                (index, gone) if index > gone => Some(Value::I32(index - 1)),
                (index, _) => Some(Value::I32(index)),
            });
        let shifted = shifted.collect();
        file.set_field_by_name(field, Value::List(shifted));
    }
    Some(file.encode_to_vec())
}
