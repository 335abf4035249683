//! Rows as bytes: name, id (16 bytes), version (8 bytes), body, aside, extract; numbers big-endian, and before each of
//! the others its length (LEB128). The readable form of a document is left out: it is derived from the body.

use bytes::{Buf as _, Bytes};

use crate::contract::{NAME_BYTES_MAX, NamedRow, ROW_BYTES_MAX, Row, RowId};
use crate::extract::{self, Extract};

/// Appends a row; see [`bytes_of`].
pub(super) fn put(bytes: &mut Vec<u8>, name: &str, row: &Row) {
    put_part(bytes, name.as_bytes());
    bytes.extend_from_slice(&row.id.0.to_be_bytes());
    bytes.extend_from_slice(&row.version.to_be_bytes());
    put_part(bytes, &row.body);
    put_part(bytes, &row.aside);
    put_part(bytes, row.extract.as_bytes());
}

/// What a row holds, for sizes of blocks and batches.
pub(super) fn bytes_of(name: &str, row: &Row) -> usize {
    name.len() + row.body.len() + row.aside.len() + row.extract.as_bytes().len() + 24
}

/// Takes the row at the front of `bytes`, judged by the same limits as a write.
pub(super) fn take(bytes: &mut Bytes) -> Result<NamedRow, &'static str> {
    let name = take_part(bytes, NAME_BYTES_MAX)?;
    let name = std::str::from_utf8(&name).map_err(|_| "a name is not UTF-8")?.into();
    if bytes.len() < 24 {
        return Err(CUT);
    }
    let (id, version) = (RowId(bytes.get_u128()), bytes.get_u64());
    let body = take_part(bytes, ROW_BYTES_MAX)?;
    let aside = take_part(bytes, ROW_BYTES_MAX - body.len())?;
    let extract = take_part(bytes, crate::contract::EXTRACT_BYTES_MAX)?;
    let extract = Extract::decode(extract).ok_or("an extract makes no sense")?;
    extract::check(&extract)?;
    Ok((name, Row { id, version, body, aside, extract }))
}

const CUT: &str = "a row is cut off";

fn put_part(bytes: &mut Vec<u8>, part: &[u8]) {
    let mut left = part.len();
    while left >= 0x80 {
        bytes.push(0x80 | (left & 0x7f) as u8);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes.extend_from_slice(part);
}

/// A part of its own memory: a row may be kept long after the rest of its block is gone.
fn take_part(bytes: &mut Bytes, length_max: usize) -> Result<Bytes, &'static str> {
    let length = take_length(bytes)?;
    if length > length_max {
        return Err("a part of a row is too long");
    }
    if length > bytes.len() {
        return Err(CUT);
    }
    let part = bytes.split_to(length);
    Ok(if part.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&part) })
}

/// At most five bytes, which hold more than any length may be.
fn take_length(bytes: &mut Bytes) -> Result<usize, &'static str> {
    let mut length = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        if bytes.is_empty() {
            return Err(CUT);
        }
        let byte = bytes.get_u8();
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(length).map_err(|_| "a length is too large");
        }
    }
    Err("a length is too large")
}
