//! Filters, orders and masks: no text panics, and a filter that parses can judge a resource.
#![no_main]

use bowline_fuzz::thing;
use bowline_resource::document::Document;
use bowline_resource::filter::Filter;
use bowline_resource::mask::Mask;
use bowline_resource::order::Order;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, Vec<u8>)| {
    let (text, body) = input;
    let document = Document::decode(thing().clone(), &body, &[]);
    if let (Ok(filter), Ok(document)) = (Filter::parse(text, thing()), &document) {
        let _ = filter.matches(document);
    }
    if let (Ok(order), Ok(document)) = (Order::parse(text, thing()), &document) {
        let _ = order.key(document);
    }
    let _ = Mask::parse_text(text, thing());
});
