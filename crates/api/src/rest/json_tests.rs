//! JSON and messages, both ways: laws over made-up messages.

use proptest::prelude::*;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};

use super::fixture::message;
use super::json_read::read_message;
use super::json_write::{WriteOptions, message_to_json};

thread_local! {
    static BOOK: MessageDescriptor = message("Book");
}

/// The JSON of a book: every kind of field, in its canonical form.
fn book() -> impl Strategy<Value = Value> {
    let leaf = || {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-1e6..1e6f64).prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ]
    };
    let free = leaf().prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,3}", inner, 0..4).prop_map(|m| json!(m)),
        ]
    });
    let field = prop_oneof![
        "\\PC{1,8}".prop_map(|v| ("title", json!(v))),
        (1..i64::MAX).prop_map(|v| ("copies", json!(v.to_string()))),
        (1..u64::MAX).prop_map(|v| ("views", json!(v.to_string()))),
        prop::sample::select(vec!["FICTION", "SCIENCE"]).prop_map(|v| ("genre", json!(v))),
        (3..1000i32).prop_map(|v| ("genre", json!(v))),
        (-62_135_596_800i64..253_402_300_799, 0..1_000_000_000i32).prop_map(|(seconds, nanos)| {
            ("createTime", json!(prost_types::Timestamp { seconds, nanos }.to_string()))
        }),
        (-315_576_000_000i64..0, -999_999_999..=0i32).prop_map(|(seconds, nanos)| {
            ("loanPeriod", json!(prost_types::Duration { seconds, nanos }.to_string()))
        }),
        prop::collection::btree_map("\\PC{0,4}", "\\PC{0,4}", 1..4)
            .prop_map(|v| ("labels", json!(v))),
        prop::collection::btree_map(any::<i64>(), Just(json!({"pages": 3})), 1..4).prop_map(|v| {
            let text: serde_json::Map<_, _> =
                v.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
            ("notesByPage", Value::Object(text))
        }),
        prop::collection::vec("\\PC{1,4}".prop_map(|t| json!({"title": t})), 1..4)
            .prop_map(|v| ("chapters", json!(v))),
        prop::collection::btree_map("[a-z]{0,3}", free.clone(), 0..4)
            .prop_map(|v| ("notes", json!(v))),
        free.prop_map(|v| ("anything", v)),
        any::<i32>().prop_map(|v| ("edition", json!(v))),
        any::<bool>().prop_map(|v| ("lent", json!(v))),
        (1e-300..1e300f64).prop_map(|v| ("weight", json!(v))),
        prop::sample::select(vec!["NaN", "Infinity", "-Infinity"])
            .prop_map(|v| ("weight", json!(v))),
        prop::sample::select(vec!["AQ==", "/+8="]).prop_map(|v| ("thumbnail", json!(v))),
        Just(("scroll", json!({"size": {"widthMm": 5}}))),
        Just(("sequel", json!({}))),
        Just(("publicFields", json!("title,cover.size.widthMm"))),
        Just((
            "attachment",
            json!({"@type": "type.googleapis.com/google.protobuf.Duration", "value": "3s"})
        )),
        Just((
            "attachment",
            json!({"@type": "type.googleapis.com/example.library.v1.Chapter", "pages": 3})
        )),
    ];
    prop::collection::vec(field, 0..8).prop_map(|fields| {
        Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    })
}

/// Free-form numbers are doubles, and doubles of whole numbers are written with a point: compare as numbers.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn canonical_json_comes_back_as_it_was(book in book()) {
        let descriptor = BOOK.with(Clone::clone);
        let read = read_message(&descriptor, book.to_string().as_bytes(), "").unwrap().message;
        let written: Value = serde_json::from_slice(&message_to_json(&read, WriteOptions::default())).unwrap();
        prop_assert!(same(&book, &written), "{book}\n{written}");
    }

    /// What gRPC clients may have stored can always be shown: as JSON, and twice as the same.
    #[test]
    fn any_message_that_decodes_can_be_written(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let descriptor = BOOK.with(Clone::clone);
        if let Ok(message) = DynamicMessage::decode(descriptor, bytes.as_slice()) {
            let text = message_to_json(&message, WriteOptions::default());
            serde_json::from_slice::<Value>(&text).unwrap();
            prop_assert_eq!(text, message_to_json(&message, WriteOptions::default()));
        }
    }

    /// Well-known types with any numbers in them, where the library's serializer fails.
    #[test]
    fn any_time_and_duration_can_be_written(seconds: i64, nanos: i32) {
        let mut bytes = Vec::new();
        prost::encoding::message::encode(5, &prost_types::Timestamp { seconds, nanos }, &mut bytes);
        prost::encoding::message::encode(12, &prost_types::Duration { seconds, nanos }, &mut bytes);
        let message = DynamicMessage::decode(BOOK.with(Clone::clone), bytes.as_slice()).unwrap();
        let text = message_to_json(&message, WriteOptions::default());
        // And what was written is read again.
        read_message(&BOOK.with(Clone::clone), &text, "").unwrap();
    }

    /// Damaged JSON is an error with a place, or fine; never a panic.
    #[test]
    fn no_text_makes_the_reader_panic(book in book(), cut in any::<prop::sample::Index>(), with in "[\\[\\]{}\",:0-9a-z.-]{0,3}") {
        let mut text = book.to_string();
        let at = text.floor_char_boundary(cut.index(text.len()));
        text.insert_str(at, &with);
        if let Err(status) = read_message(&BOOK.with(Clone::clone), text.as_bytes(), "book") {
            prop_assert!(status.metadata.contains_key("line"), "{status}");
        }
    }
}
