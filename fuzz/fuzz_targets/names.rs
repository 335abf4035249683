//! Names and parents: no text panics, and what parses prints back as it was.
#![no_main]

use bowline_fuzz::thing;
use bowline_resource::name::{Scope, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(name) = parse(thing(), text) {
        assert_eq!(parse(thing(), &name.text).as_ref(), Ok(&name));
        assert!(Scope::of_parent(thing(), &name.parent).is_ok_and(|s| s.contains(&name.text)));
    }
    let _ = Scope::of_parent(thing(), text);
});
