//! What protobuf lets through and JSON or a watch could not carry: nesting too deep, times out of range.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};

/// Deepest nesting of messages in a resource. Decoders stop at 100, and answers wrap a resource a few levels deeper.
pub(crate) const NESTING_MAX: usize = 64;
/// Years 1 to 9999, in seconds since 1970.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// About 10,000 years.
const DURATION_SECONDS_MAX: u64 = 315_576_000_000;
const NANOS_MAX: i32 = 999_999_999;
/// Problems that are listed at most.
const PROBLEMS_MAX: usize = 20;

/// Adds what is wrong in `message`, which is at `path`, `depth` levels deep. Recursion ends at [`NESTING_MAX`].
pub(crate) fn check(
    message: &DynamicMessage,
    path: &str,
    depth: usize,
    problems: &mut Vec<(String, &'static str)>,
) {
    if depth > NESTING_MAX {
        problems.push((path.to_owned(), "is nested more than 64 messages deep"));
        return;
    }
    if let Some(problem) = out_of_range(message) {
        problems.push((path.to_owned(), problem));
    }
    for (field, value) in message.fields() {
        let below = if path.is_empty() {
            field.name().to_owned()
        } else {
            format!("{path}.{}", field.name())
        };
        for_each_message(value, &below, &mut |message, path| {
            if problems.len() < PROBLEMS_MAX {
                check(message, path, depth + 1, problems);
            }
        });
    }
}

fn for_each_message(value: &Value, path: &str, visit: &mut dyn FnMut(&DynamicMessage, &str)) {
    match value {
        Value::Message(message) => visit(message, path),
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Value::Message(message) = item {
                    visit(message, &format!("{path}[{index}]"));
                }
            }
        }
        Value::Map(entries) => {
            for message in entries.values().filter_map(Value::as_message) {
                visit(message, path);
            }
        }
        _ => {}
    }
}

fn out_of_range(message: &DynamicMessage) -> Option<&'static str> {
    let descriptor = message.descriptor();
    let number = |name: &str| message.get_field_by_name(name).map(|v| v.into_owned());
    let parts = || {
        let seconds = number("seconds").and_then(|v| v.as_i64()).unwrap_or(0);
        let nanos = number("nanos").and_then(|v| v.as_i32()).unwrap_or(0);
        (seconds, nanos)
    };
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            let (seconds, nanos) = parts();
            let is_good = TIMESTAMP_SECONDS.contains(&seconds) && (0..=NANOS_MAX).contains(&nanos);
            (!is_good).then_some("is not a time between the years 1 and 9999")
        }
        "google.protobuf.Duration" => {
            let (seconds, nanos) = parts();
            let has_one_sign = i64::from(nanos.signum()) * seconds.signum() >= 0;
            let is_good = seconds.unsigned_abs() <= DURATION_SECONDS_MAX
                && nanos.unsigned_abs() <= NANOS_MAX.unsigned_abs();
            (!(is_good && has_one_sign)).then_some("is not a duration below 10,000 years")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    fn time(kind: &str, seconds: i64, nanos: i32) -> DynamicMessage {
        let descriptor = DescriptorPool::global().get_message_by_name(kind).unwrap();
        let mut message = DynamicMessage::new(descriptor);
        message.set_field_by_name("seconds", Value::I64(seconds));
        message.set_field_by_name("nanos", Value::I32(nanos));
        message
    }

    #[test]
    fn times_and_durations_have_their_ranges() {
        let is_good = |kind: &str, seconds, nanos| {
            let mut problems = Vec::new();
            check(&time(kind, seconds, nanos), "at", 1, &mut problems);
            problems.is_empty()
        };
        for (seconds, nanos, expected) in [
            (0, 0, true),
            (253_402_300_799, 999_999_999, true),
            (253_402_300_800, 0, false),
            (i64::MIN, 0, false),
            (5, -1, false),
        ] {
            assert_eq!(is_good("google.protobuf.Timestamp", seconds, nanos), expected);
        }
        for (seconds, nanos, expected) in
            [(-1, -5, true), (-1, 5, false), (i64::MIN, 0, false), (0, i32::MAX, false)]
        {
            assert_eq!(is_good("google.protobuf.Duration", seconds, nanos), expected);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let pool = DescriptorPool::global();
        let value = pool.get_message_by_name("google.protobuf.Value").unwrap();
        let list = pool.get_message_by_name("google.protobuf.ListValue").unwrap();
        let nested = |levels: usize| {
            let mut inner = DynamicMessage::new(value.clone());
            for _ in 0..levels {
                let mut outer = DynamicMessage::new(list.clone());
                outer.set_field_by_name("values", Value::List(vec![Value::Message(inner)]));
                inner = DynamicMessage::new(value.clone());
                inner.set_field_by_name("list_value", Value::Message(outer));
            }
            inner
        };
        let n_problems = |levels| {
            let mut problems = Vec::new();
            check(&nested(levels), "", 1, &mut problems);
            problems.len()
        };
        assert_eq!((n_problems(31), n_problems(32)), (0, 1));
    }
}
