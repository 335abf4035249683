//! Assembling protobuf messages around encoded parts, so that stored bytes are handed on without decoding.
//!
//! Only what the engine needs: varints, length-delimited fields, and a scan over the top level of a message.

use bytes::{Buf, BufMut, Bytes, BytesMut};
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

/// The value of a field, as far as the engine looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Varint(u64),
    /// A slice of the message.
    Bytes(Bytes),
    /// Fixed-width numbers.
    Other,
}

/// The fields at the top level of a message, with their tags; `None`, and then nothing more, where it is malformed.
pub(crate) fn fields(message: &Bytes) -> impl Iterator<Item = Option<(u32, Field)>> {
    let mut rest = message.clone();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = take_field(&mut rest);
        if field.is_none() {
            rest.clear();
        }
        Some(field)
    })
}

fn take_field(rest: &mut Bytes) -> Option<(u32, Field)> {
    let number = |rest: &mut Bytes| {
        let (value, after) = take_varint(rest)?;
        let len = rest.len() - after.len();
        rest.advance(len);
        Some(value)
    };
    let key = number(rest)?;
    let tag = u32::try_from(key >> 3).ok()?;
    let field = match key & 7 {
        0 => Field::Varint(number(rest)?),
        1 | 5 => {
            let len = if key & 7 == 1 { 8 } else { 4 };
            (rest.len() >= len).then(|| rest.advance(len))?;
            Field::Other
        }
        2 => {
            let len = usize::try_from(number(rest)?).ok()?;
            (rest.len() >= len).then(|| Field::Bytes(rest.split_to(len)))?
        }
        _ => return None,
    };
    Some((tag, field))
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
    fn the_fields_of_a_message_are_found_without_decoding_it() {
        let message = build(32, |b| {
            put_bytes(b, 1, b"one");
            put_varint(b, 9, -1);
            b.put_slice(&[0x1d, 0, 0, 0, 0]);
        });
        let found: Vec<_> = fields(&message).collect();
        let one = Field::Bytes(Bytes::from_static(b"one"));
        assert_eq!(
            found,
            [Some((1, one)), Some((9, Field::Varint(u64::MAX))), Some((3, Field::Other))]
        );
        let cut = message.slice(..message.len() - 1);
        assert_eq!(fields(&cut).last(), Some(None));
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
            let bytes = Bytes::from(bytes);
            assert!(fields(&bytes).count() <= bytes.len());
        }
    }
}
