//! Page and resume tokens: no text panics, and what decodes encodes back to the same text.
#![no_main]

use bowline_resource::page::{PageToken, ResumeToken};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, u64)| {
    let (text, query) = input;
    if let Ok(token) = PageToken::decode(text, query) {
        assert_eq!(token.encode(), text);
    }
    if let Ok(token) = ResumeToken::decode(text, query) {
        assert_eq!(token.encode(), text);
    }
});
