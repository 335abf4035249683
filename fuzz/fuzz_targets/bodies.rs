//! Request bodies, as protobuf and as JSON: no bytes panic, and nesting is bounded.
#![no_main]

use bowline_api::rest::check_nesting;
use bowline_fuzz::thing;
use libfuzzer_sys::fuzz_target;
use prost_reflect::DynamicMessage;

fuzz_target!(|bytes: &[u8]| {
    let message = thing().message.clone();
    let _ = DynamicMessage::decode(message.clone(), bytes);
    if check_nesting(bytes).is_ok() {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let _ = DynamicMessage::deserialize(message, &mut json);
    }
});
