//! Scalar values from text and from JSON numbers, for bodies, queries and paths alike.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{Kind, Value};

/// What a scalar looks like, for errors.
pub(super) fn scalar_form(kind: &Kind) -> String {
    match kind {
        Kind::Double | Kind::Float => "a number".to_owned(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a whole number of 32 bits".to_owned(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number of 64 bits".to_owned(),
        Kind::Uint32 | Kind::Fixed32 => "a whole number of 32 bits, not negative".to_owned(),
        Kind::Uint64 | Kind::Fixed64 => "a whole number of 64 bits, not negative".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::String => "a string".to_owned(),
        Kind::Bytes => "a string in base64".to_owned(),
        Kind::Enum(descriptor) => {
            let names: Vec<_> = descriptor.values().take(20).map(|v| v.name().to_owned()).collect();
            format!("one of {}", names.join(", "))
        }
        Kind::Message(descriptor) => format!("a {}", descriptor.full_name()),
    }
}

/// A scalar from its text form, as in queries, paths and quoted JSON; `None` if it is not one.
pub(super) fn scalar_from_text(kind: &Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Bytes => base64_bytes(text).map(|bytes| Value::Bytes(bytes.into())),
        Kind::Enum(e) if e.full_name() == "google.protobuf.NullValue" => {
            (text == "NULL_VALUE").then_some(Value::EnumNumber(0))
        }
        Kind::Enum(descriptor) => match descriptor.get_value_by_name(text) {
            Some(value) => Some(Value::EnumNumber(value.number())),
            None => text.parse().ok().map(Value::EnumNumber),
        },
        Kind::Double | Kind::Float => match text {
            "NaN" => any_float(kind, f64::NAN),
            "Infinity" => any_float(kind, f64::INFINITY),
            "-Infinity" => any_float(kind, f64::NEG_INFINITY),
            // Rust's own words for these (`inf`, `nan`) are not JSON's.
            _ => text.parse::<f64>().ok().filter(|v| v.is_finite()).and_then(|v| float(kind, v)),
        },
        Kind::Message(_) => None,
        _ => match text.parse::<i128>() {
            Ok(value) => integer(kind, value),
            Err(_) => text.parse::<f64>().ok().and_then(|v| float(kind, v)),
        },
    }
}

/// A whole number as `kind`; `None` if it does not fit.
pub(super) fn integer(kind: &Kind, v: i128) -> Option<Value> {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => i32::try_from(v).ok().map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => i64::try_from(v).ok().map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => u32::try_from(v).ok().map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => u64::try_from(v).ok().map(Value::U64),
        // Enums are open: a number that the schema does not know is kept.
        Kind::Enum(_) => i32::try_from(v).ok().map(Value::EnumNumber),
        Kind::Double | Kind::Float => float(kind, v as f64),
        _ => None,
    }
}

/// A finite number; whole numbers may be written with a point or an exponent.
pub(super) fn float(kind: &Kind, v: f64) -> Option<Value> {
    match kind {
        Kind::Double => Some(Value::F64(v)),
        Kind::Float => (v.abs() <= f64::from(f32::MAX)).then_some(Value::F32(v as f32)),
        Kind::Bool | Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Enum(_) => None,
        // The cast is exact: the range is checked, and beyond 2^53 all floats are whole.
        _ if v.fract() == 0.0 && v.abs() < 1e20 => integer(kind, v as i128),
        _ => None,
    }
}

fn any_float(kind: &Kind, v: f64) -> Option<Value> {
    match kind {
        Kind::Float => Some(Value::F32(v as f32)),
        _ => Some(Value::F64(v)),
    }
}

/// Base64 in the standard or the URL alphabet, padded or not.
fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}
