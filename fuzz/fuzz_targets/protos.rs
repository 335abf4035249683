//! Loading a schema never panics, whatever the manifest and the proto say.
#![no_main]

use bowline_schema::diagnostic::render;
use bowline_schema::load::load;
use bowline_schema::source::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Option<String>, String)| {
    let (service_yaml, proto) = input;
    let files = vec![("v1/a.proto".to_owned(), proto)];
    let loaded = load(&[Source::Files { service_yaml, files }]);
    let _ = render(&loaded.diagnostics);
});
