//! Prints which request fields bindings found, with how often each: `fields FOLDER...`. To see what is unusual about an API.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::collections::BTreeMap;

use bowline_schema::model::Role;
use bowline_schema::{Source, load};

fn main() {
    let mut seen: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for folder in std::env::args().skip(1) {
        let loaded = load(&[Source::Folder(folder.into())]);
        for method in loaded.registry.methods.values().filter(|method| !method.synthesised) {
            let Role::Standard(binding) = &method.role else { continue };
            let request = &binding.request;
            let fields = [
                ("name", &request.name),
                ("names", &request.names),
                ("parent", &request.parent),
                ("id", &request.resource_id),
                ("mask", &request.update_mask),
            ];
            for (role, field) in fields {
                let name = field.as_ref().map_or("-", |field| field.name());
                let key = format!("{:?} {role} {name}", binding.verb);
                seen.entry(key).or_insert_with(|| (0, method.path.clone())).0 += 1;
            }
        }
    }
    for (key, (count, example)) in seen {
        println!("{count:6} {key}  {example}");
    }
}
