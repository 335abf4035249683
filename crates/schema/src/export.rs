//! What ordinary tools need to make clients: the descriptor set and the proto files of everything that is served.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_reflect::FileDescriptor;

use crate::imports::is_built_in;
use crate::model::{Registry, ServiceVersion};
use crate::print;

/// A `FileDescriptorSet` whose files stay encoded.
#[derive(Clone, PartialEq, prost::Message)]
struct RawSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    file: Vec<Vec<u8>>,
}

/// The encoded `google.protobuf.FileDescriptorSet` of all services: every file once, after those that it imports, with custom
/// options, comments, and the services that Bowline made.
pub fn descriptor_set(registry: &Registry) -> Vec<u8> {
    let file = files(registry).iter().map(FileDescriptor::encode_to_vec).collect();
    RawSet { file }.encode_to_vec()
}

/// All proto files as `(path, text)`, by path: as they were read where there was text, otherwise printed from their descriptors.
///
/// Paths are those of imports. Files that every protobuf compiler brings along (`google/protobuf/*`) are left out.
pub fn proto_files(registry: &Registry) -> Vec<(String, String)> {
    let mut texts: BTreeMap<&str, &String> = BTreeMap::new();
    for version in versions(registry) {
        for (name, text) in version.sources.iter() {
            texts.entry(name).or_insert(text);
        }
    }
    let mut found: Vec<(String, String)> = files(registry)
        .iter()
        .filter(|file| !is_built_in(file.name()))
        .map(|file| {
            let text = texts.get(file.name()).map(|text| (*text).clone());
            (file.name().to_owned(), text.unwrap_or_else(|| print::proto(file)))
        })
        .collect();
    found.sort();
    found
}

fn versions(registry: &Registry) -> impl Iterator<Item = &ServiceVersion> {
    registry.services.iter().flat_map(|service| &service.versions).map(|version| &**version)
}

/// Every file of every pool once. Of two files with one name the larger is taken: copies differ where one has been trimmed.
fn files(registry: &Registry) -> Vec<FileDescriptor> {
    let mut chosen: BTreeMap<String, FileDescriptor> = BTreeMap::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for version in versions(registry) {
        if !seen.insert(&version.service) {
            continue;
        }
        for file in version.pool.files() {
            let larger = chosen.get(file.name()).is_none_or(|other| weight(other) < weight(&file));
            if larger {
                chosen.insert(file.name().to_owned(), file);
            }
        }
    }
    in_order(&chosen)
}

/// How much a file defines, comments left out.
fn weight(file: &FileDescriptor) -> usize {
    let mut proto = file.file_descriptor_proto().clone();
    proto.source_code_info = None;
    proto.encoded_len()
}

/// Files after those that they import.
fn in_order(chosen: &BTreeMap<String, FileDescriptor>) -> Vec<FileDescriptor> {
    let mut order = Vec::with_capacity(chosen.len());
    let mut done: BTreeSet<String> = BTreeSet::new();
    for start in chosen.keys() {
        let mut waiting = vec![(start.clone(), false)];
        while let Some((name, imports_done)) = waiting.pop() {
            let Some(file) = chosen.get(&name).filter(|_| !done.contains(&name)) else { continue };
            if imports_done {
                done.insert(name);
                order.push(file.clone());
                continue;
            }
            waiting.push((name, true));
            let imports = file.file_descriptor_proto().dependency.iter().rev();
            waiting.extend(imports.map(|import| (import.clone(), false)));
        }
    }
    order
}
