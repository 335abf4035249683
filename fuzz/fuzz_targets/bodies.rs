//! Request bodies, as protobuf and as JSON: no bytes panic, and what is read can be written as JSON.
#![no_main]

use bowline_api::rest::{WriteOptions, check_nesting, message_to_json};
use bowline_fuzz::thing;
use libfuzzer_sys::fuzz_target;
use prost_reflect::DynamicMessage;

fuzz_target!(|bytes: &[u8]| {
    let message = thing().message.clone();
    if let Ok(read) = DynamicMessage::decode(message.clone(), bytes)
        && check_nesting(&read, "body").is_ok()
    {
        let _ = message_to_json(&read, WriteOptions::default());
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let _ = DynamicMessage::deserialize(message, &mut json);
});
