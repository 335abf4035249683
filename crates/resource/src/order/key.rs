//! Sort keys: bytes that compare as the values do.
//!
//! Each value starts with a mark (absent before present) and ends where it can be told, so that keys of several fields
//! compare field by field. A field in descending order has all its bits inverted.

use prost_reflect::{Kind, Value};

use crate::value::{canonical, nanoseconds, unwrapped};

/// How much of a text or of bytes counts for the order, encoded. Names count as a whole.
///
/// A key of one field fits into the value of an index entry, so that an index has the order of the list.
pub(crate) const TEXT_BYTES_MAX: usize = 480;

pub(crate) const ABSENT: u8 = 0;
pub(crate) const PRESENT: u8 = 1;
/// A zero byte in text becomes these two, so that the end mark is less than any text that goes on.
const ZERO: [u8; 2] = [0, 0xff];
const END: [u8; 2] = [0, 0];

/// Where a row stands in an order; compares by bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortKey(Vec<u8>);

impl SortKey {
    /// A key as it was put into a token.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn invert_from(&mut self, start: usize) {
        self.0[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }

    pub(crate) fn push_absent(&mut self) {
        self.0.push(ABSENT);
    }

    /// Adds a scalar, a time or a duration; anything else counts as absent.
    pub(crate) fn push_value(&mut self, value: &Value) {
        let value = unwrapped(value);
        if let Some(nanos) = nanoseconds(&value) {
            self.0.push(PRESENT);
            self.0.extend(signed(nanos));
            return;
        }
        self.0.push(PRESENT);
        match &*value {
            Value::Bool(v) => self.0.push(u8::from(*v)),
            Value::I32(v) | Value::EnumNumber(v) => self.0.extend(signed(i128::from(*v))),
            Value::I64(v) => self.0.extend(signed(i128::from(*v))),
            Value::U32(v) => self.0.extend(signed(i128::from(*v))),
            Value::U64(v) => self.0.extend(signed(i128::from(*v))),
            Value::F32(v) => self.0.extend(float(f64::from(*v))),
            Value::F64(v) => self.0.extend(float(*v)),
            Value::String(v) => self.push_text(v.as_bytes(), TEXT_BYTES_MAX),
            Value::Bytes(v) => self.push_text(v, TEXT_BYTES_MAX),
            Value::Message(_) | Value::List(_) | Value::Map(_) => {
                self.0.pop();
                self.push_absent();
            }
        }
    }

    pub(super) fn push_name(&mut self, name: &str, descending: bool) {
        let start = self.0.len();
        self.push_text(name.as_bytes(), usize::MAX);
        if descending {
            self.invert_from(start);
        }
    }

    /// Adds as much of `text` as `max` bytes hold.
    pub(crate) fn push_text(&mut self, text: &[u8], max: usize) {
        self.push_open_text(text, max);
        self.0.extend(END);
    }

    /// Adds text that may go on: the key is a prefix of those of all texts that start so.
    pub(crate) fn push_open_text(&mut self, text: &[u8], max: usize) {
        let start = self.0.len();
        for byte in text {
            let room = max - (self.0.len() - start);
            match byte {
                0 if room >= ZERO.len() => self.0.extend(ZERO),
                byte if *byte != 0 && room >= 1 => self.0.push(*byte),
                _ => return,
            }
        }
    }

    pub(crate) fn push_mark(&mut self, mark: u8) {
        self.0.push(mark);
    }

    /// The name in a key that has nothing else.
    pub(super) fn name(&self, descending: bool) -> Option<String> {
        name_of(&self.0, descending)
    }

    /// The key of one field of this kind, as it is ascending, and the name after it; `None` for any other key.
    pub(super) fn field_and_name(
        &self,
        kind: &Kind,
        descending: bool,
    ) -> Option<(Vec<u8>, String)> {
        let plain: Vec<u8> = turned(&self.0, descending);
        let len = match plain.first()? {
            &ABSENT => 1,
            _ => 1 + value_len(kind, &plain[1..])?,
        };
        let name = name_of(self.0.get(len..)?, descending)?;
        Some((plain[..len].to_vec(), name))
    }
}

fn turned(bytes: &[u8], descending: bool) -> Vec<u8> {
    bytes.iter().map(|byte| if descending { !*byte } else { *byte }).collect()
}

/// How long the key of a value of this kind is, without its mark.
fn value_len(kind: &Kind, bytes: &[u8]) -> Option<usize> {
    match kind {
        Kind::String | Kind::Bytes => {
            let end = bytes.windows(2).position(|pair| pair == END)?;
            Some(end + END.len())
        }
        Kind::Bool => Some(1),
        Kind::Float | Kind::Double => Some(8),
        _ => Some(16),
    }
}

fn name_of(bytes: &[u8], descending: bool) -> Option<String> {
    let plain = turned(bytes, descending);
    let text = plain.strip_suffix(&END)?;
    // Names hold no zero byte, so none was escaped.
    if text.contains(&0) {
        return None;
    }
    String::from_utf8(text.to_vec()).ok()
}

/// Big-endian, with the sign bit turned, so that negative numbers come first.
fn signed(number: i128) -> [u8; 16] {
    (number ^ i128::MIN).to_be_bytes()
}

/// IEEE order: what is not a number first, then from negative to positive, both zeros the same.
fn float(number: f64) -> [u8; 8] {
    if number.is_nan() {
        return [0; 8];
    }
    let bits = canonical(number);
    let ordered = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    ordered.to_be_bytes()
}
