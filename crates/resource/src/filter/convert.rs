//! From values as written to values of a field's kind, following the JSON form of protobuf.

use std::collections::HashMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MessageDescriptor, Value};

use crate::path::{Shape, find_field, kind_name, map_key};
use crate::value::{WellKnown, unwrapped_kind, well_known};

use super::error::{FilterProblem, Found, Misfit};
use super::syntax::{Form, RawValue};

/// Most enum values that an error lists.
const LISTED_MAX: usize = 20;

impl RawValue {
    /// The error that something else was expected here.
    pub(super) fn expected(&self, what: impl Into<String>) -> Misfit {
        let found = Found::Text(self.to_string().chars().take(40).collect());
        Misfit::new(self.offset, FilterProblem::Expected { expected: what.into(), found })
    }

    /// The text of a word or quoted text.
    pub(super) fn text(&self) -> Option<String> {
        match &self.form {
            Form::Word(word) => Some(word.clone()),
            Form::Quoted(quoted) => Some(quoted.text()),
            Form::List(_) | Form::Braces(_) => None,
        }
    }
}

/// The value of this kind. Wrappers are written as what they wrap, and come as that.
pub(super) fn value(kind: &Kind, raw: &RawValue) -> Result<Value, Misfit> {
    let kind = unwrapped_kind(kind);
    if let Kind::Message(message) = &kind {
        return message_value(message, raw);
    }
    let text = raw.text().ok_or_else(|| raw.expected(expectation(&kind)))?;
    let quoted = matches!(raw.form, Form::Quoted(_));
    scalar(&kind, &text, quoted).ok_or_else(|| raw.expected(expectation(&kind)))
}

fn scalar(kind: &Kind, text: &str, quoted: bool) -> Option<Value> {
    match kind {
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Bytes => bytes(text).map(|bytes| Value::Bytes(bytes.into())),
        Kind::Bool if quoted => None,
        Kind::Bool => text.to_ascii_lowercase().parse().ok().map(Value::Bool),
        Kind::Enum(values) => enum_number(values, text).map(Value::EnumNumber),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => text.parse().ok().map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => text.parse().ok().map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => text.parse().ok().map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => text.parse().ok().map(Value::U64),
        Kind::Float => text.parse().ok().map(Value::F32),
        Kind::Double => text.parse().ok().map(Value::F64),
        Kind::Message(_) => None,
    }
}

/// What to write for a value of this kind.
fn expectation(kind: &Kind) -> String {
    match kind {
        Kind::String => "a text".to_owned(),
        Kind::Bytes => "bytes in base64".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Float | Kind::Double => "a number".to_owned(),
        Kind::Enum(values) => {
            let names: Vec<_> =
                values.values().take(LISTED_MAX).map(|value| value.name().to_owned()).collect();
            format!("one of {}", names.join(", "))
        }
        Kind::Message(message) => match well_known(message) {
            Some(WellKnown::Timestamp) => "a time like 2026-01-31T10:00:00Z".to_owned(),
            Some(WellKnown::Duration) => "a duration like 90s or 1.5s".to_owned(),
            _ => format!("fields of {} in {{ }}", message.name()),
        },
        whole => format!("a whole number ({})", kind_name(whole)),
    }
}

/// Base64, standard or url-safe, with or without padding.
fn bytes(text: &str) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

fn enum_number(values: &EnumDescriptor, text: &str) -> Option<i32> {
    let named = values
        .get_value_by_name(text)
        .or_else(|| values.values().find(|value| value.name().eq_ignore_ascii_case(text)));
    named.map(|value| value.number()).or_else(|| text.parse().ok())
}

fn message_value(message: &MessageDescriptor, raw: &RawValue) -> Result<Value, Misfit> {
    let wrong = || raw.expected(expectation(&Kind::Message(message.clone())));
    let nanos = match well_known(message) {
        Some(WellKnown::Timestamp) => raw.text().as_deref().and_then(time),
        Some(WellKnown::Duration) => raw.text().as_deref().and_then(duration),
        _ => match &raw.form {
            Form::Braces(fields) => return braces(message, fields),
            _ => return Err(wrong()),
        },
    };
    let nanos = nanos.ok_or_else(wrong)?;
    let floor = well_known(message) == Some(WellKnown::Timestamp);
    seconds_and_nanos(message, nanos, floor).ok_or_else(wrong)
}

/// Nanoseconds since 1970 of RFC 3339, or of a date alone (its midnight in UTC).
fn time(text: &str) -> Option<i128> {
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let date: jiff::civil::Date = text.parse().ok()?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    });
    time.map(|time| time.as_nanosecond())
}

/// Nanoseconds of `-1.5s`.
fn duration(text: &str) -> Option<i128> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Some(if negative { -total } else { total })
}

fn seconds_and_nanos(message: &MessageDescriptor, total: i128, floor: bool) -> Option<Value> {
    const SECOND: i128 = 1_000_000_000;
    let (seconds, nanos) = match floor {
        true => (total.div_euclid(SECOND), total.rem_euclid(SECOND)),
        false => (total / SECOND, total % SECOND),
    };
    let mut value = DynamicMessage::new(message.clone());
    value.try_set_field_by_number(1, Value::I64(seconds.try_into().ok()?)).ok()?;
    value.try_set_field_by_number(2, Value::I32(nanos.try_into().ok()?)).ok()?;
    Some(Value::Message(value))
}

/// A message of fields as written. Depth is that of the braces, which is bounded.
fn braces(
    message: &MessageDescriptor,
    fields: &[(crate::path::Segment, RawValue)],
) -> Result<Value, Misfit> {
    let mut made = DynamicMessage::new(message.clone());
    for (segment, raw) in fields {
        let field = find_field(message, segment)?;
        let value = match Shape::of(&field) {
            Shape::One(kind) => field_value(&kind, raw)?,
            Shape::List(kind) => match &raw.form {
                Form::List(items) => Value::List(
                    items.iter().map(|item| field_value(&kind, item)).collect::<Result<_, _>>()?,
                ),
                _ => return Err(raw.expected("a list in [ ]")),
            },
            Shape::Map { key, value } => map(&key, &value, raw)?,
        };
        made.set_field(&field, value);
    }
    Ok(Value::Message(made))
}

fn map(key: &Kind, value: &Kind, raw: &RawValue) -> Result<Value, Misfit> {
    let Form::Braces(entries) = &raw.form else {
        return Err(raw.expected("keys and values in { }"));
    };
    let mut map = HashMap::with_capacity(entries.len());
    for (segment, raw) in entries {
        map.insert(map_key(key, segment)?, field_value(value, raw)?);
    }
    Ok(Value::Map(map))
}

/// As [`value`], but a wrapper comes as the message it is.
fn field_value(kind: &Kind, raw: &RawValue) -> Result<Value, Misfit> {
    let found = value(kind, raw)?;
    match kind {
        Kind::Message(message) if well_known(message) == Some(WellKnown::Wrapper) => {
            let mut wrapper = DynamicMessage::new(message.clone());
            wrapper.set_field_by_number(1, found);
            Ok(Value::Message(wrapper))
        }
        _ => Ok(found),
    }
}
