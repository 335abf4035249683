//! A registry's protos without their services: loaded again, every type gets the whole service that Bowline makes.
//!
//! Protos that bring services of their own often have no create, and seldom a watch. The second round over a synthesised
//! service shows that each of their types can be created, watched and deleted as well.

use std::collections::BTreeSet;

use bowline_schema::model::Registry;
use bowline_schema::{Source, export};
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};
use prost::{DecodeError, Message};
use prost_types::FileDescriptorProto;

/// Field of `FileDescriptorProto` that holds the services.
const SERVICE: u32 = 6;

/// A `FileDescriptorSet` whose files stay encoded, so that custom options survive.
#[derive(Clone, PartialEq, prost::Message)]
struct RawSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    file: Vec<Vec<u8>>,
}

/// The descriptor set of everything in the registry, without services.
///
/// # Errors
/// What was exported does not decode.
pub fn without_services(registry: &Registry) -> Result<Source, DecodeError> {
    let made = synthesised_files(registry);
    let mut set = RawSet::decode(export::descriptor_set(registry).as_slice())?;
    let mut files = Vec::with_capacity(set.file.len());
    for file in set.file {
        let name = FileDescriptorProto::decode(file.as_slice())?.name().to_owned();
        if !made.contains(&name) {
            files.push(without(&file, SERVICE)?);
        }
    }
    set.file = files;
    Ok(Source::DescriptorBytes { name: "without services".to_owned(), bytes: set.encode_to_vec() })
}

fn synthesised_files(registry: &Registry) -> BTreeSet<String> {
    let made = registry.methods.values().filter(|method| method.synthesised);
    made.map(|method| method.descriptor.parent_service().parent_file().name().to_owned()).collect()
}

/// An encoded message without one of its fields.
fn without(message: &[u8], field: u32) -> Result<Vec<u8>, DecodeError> {
    let mut kept = Vec::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let (tag, wire_type): (u32, WireType) = decode_key(&mut rest)?;
        skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
        if tag != field {
            kept.extend_from_slice(&start[..start.len() - rest.len()]);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_field_goes() {
        let file = FileDescriptorProto {
            name: Some("a.proto".to_owned()),
            package: Some("a".to_owned()),
            service: vec![Default::default(), Default::default()],
            syntax: Some("proto3".to_owned()),
            ..FileDescriptorProto::default()
        };
        let left = without(&file.encode_to_vec(), SERVICE).unwrap();
        let expected = FileDescriptorProto { service: Vec::new(), ..file };
        assert_eq!(FileDescriptorProto::decode(left.as_slice()).unwrap(), expected);
    }

    #[test]
    fn what_ends_early_is_an_error() {
        assert!(without(&[0x0a, 5, b'a'], SERVICE).is_err());
    }
}
