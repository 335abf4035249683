//! Assembling protobuf messages around encoded parts, so that stored bytes are handed on without decoding.
//!
//! Only what the engine needs: varints, length-delimited fields, and a scan over the top level of a message.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use prost_reflect::FieldDescriptor;

/// Appends `payload` as the length-delimited field `tag`.
pub(crate) fn put_bytes(buffer: &mut BytesMut, tag: u32, payload: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(payload.len() as u64, buffer);
    buffer.put_slice(payload);
}

/// Appends a string field unless it is empty.
pub(crate) fn put_text(buffer: &mut BytesMut, field: &Option<FieldDescriptor>, text: &str) {
    if let (Some(field), false) = (field, text.is_empty()) {
        put_bytes(buffer, field.number(), text.as_bytes());
    }
}

/// Appends a whole number (as `int32`, `int64` or an unsigned kind) unless it is 0.
pub(crate) fn put_number(buffer: &mut BytesMut, field: &Option<FieldDescriptor>, number: i64) {
    if let (Some(field), true) = (field, number != 0) {
        put_varint(buffer, field.number(), number);
    }
}

/// Appends a varint field whatever its value is. Negative numbers take ten bytes, as proto has it.
pub(crate) fn put_varint(buffer: &mut BytesMut, tag: u32, number: i64) {
    encode_key(tag, WireType::Varint, buffer);
    encode_varint(number.cast_unsigned(), buffer);
}

/// Bytes that a length-delimited field of `len` payload bytes takes, key included.
pub(crate) fn field_len(tag: u32, len: usize) -> usize {
    encoded_len_varint(u64::from(tag) << 3) + encoded_len_varint(len as u64) + len
}

/// The value of the string field `tag`, if the message consists of that one field and nothing else.
///
/// This is what nearly every get request looks like; anything else takes the ordinary way.
pub(crate) fn only_text(message: &[u8], tag: u32) -> Option<&str> {
    let (key, rest) = take_varint(message)?;
    if key != (u64::from(tag) << 3 | WireType::LengthDelimited as u64) {
        return None;
    }
    let (len, rest) = take_varint(rest)?;
    if usize::try_from(len).ok()? != rest.len() {
        return None;
    }
    std::str::from_utf8(rest).ok()
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(index).ok()? * 7)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// Freezes what a closure wrote.
pub(crate) fn build(capacity: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut buffer = BytesMut::with_capacity(capacity);
    write(&mut buffer);
    buffer.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_one_text_field_is_read_and_others_are_not() {
        let message = build(16, |b| put_bytes(b, 1, b"topics/t"));
        assert_eq!(only_text(&message, 1), Some("topics/t"));
        assert_eq!(only_text(&message, 2), None);
        let two = build(16, |b| {
            put_bytes(b, 1, b"topics/t");
            put_varint(b, 4, 2);
        });
        assert_eq!(only_text(&two, 1), None);
        assert_eq!(only_text(&[0x0a, 0xff, 0xff, 0xff, 0xff], 1), None);
        assert_eq!(only_text(&[0x0a, 2, 0xff, 0xfe], 1), None);
    }

    #[test]
    fn field_lengths_match_what_is_written() {
        for len in [0usize, 1, 127, 128, 20_000] {
            let bytes = build(0, |b| put_bytes(b, 20, &vec![1; len]));
            assert_eq!(bytes.len(), field_len(20, len));
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, tag in 1u32..100) {
            let _ = only_text(&bytes, tag);
        }
    }
}
