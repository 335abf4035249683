//! A walk over all fields of a resource message, at any depth: references, field behaviours, and what else options say.
//!
//! Messages may contain themselves and may be wide: a message is not entered again below itself, and depth and number of fields are
//! bounded, so that the walk ends soon on any input.

use std::collections::HashMap;
use std::rc::Rc;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::model::FieldRules;
use crate::options::{self, FieldOptions, behavior};

/// How deep fields are looked at, and how many of one type.
const DEPTH_MAX: usize = 16;
const FIELDS_MAX: usize = 20_000;

/// What the walk over one message found.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    pub(crate) rules: FieldRules,
    pub(crate) references: Vec<ReferenceField>,
    /// A `goten.types.MultiRegionPolicy` is somewhere in the message.
    pub(crate) has_policy: bool,
}

/// A field with an option that makes it a reference.
#[derive(Debug)]
pub(crate) struct ReferenceField {
    pub(crate) path: String,
    pub(crate) field: FieldDescriptor,
    pub(crate) options: Rc<FieldOptions>,
}

/// Options of fields by full name, so that each is decoded once.
#[derive(Default)]
pub(crate) struct Walker {
    options: HashMap<String, Rc<FieldOptions>>,
    /// Whether anything is to be found in a message or below.
    rewarding: HashMap<String, bool>,
}

impl Walker {
    /// Walks over a resource message. Metadata is not entered: it has rules of its own.
    pub(crate) fn walk(&mut self, message: &MessageDescriptor) -> Walked {
        let mut walked = Walked::default();
        let mut left = FIELDS_MAX;
        let mut path = vec![message.full_name().to_owned()];
        self.visit(message, "", &mut path, &mut left, &mut walked);
        for list in [
            &mut walked.rules.output_only,
            &mut walked.rules.required,
            &mut walked.rules.immutable,
            &mut walked.rules.input_only,
        ] {
            list.sort();
            list.dedup();
        }
        walked.references.sort_by(|a, b| a.path.cmp(&b.path));
        walked
    }

    fn visit(
        &mut self,
        message: &MessageDescriptor,
        prefix: &str,
        above: &mut Vec<String>,
        left: &mut usize,
        walked: &mut Walked,
    ) {
        for field in message.fields() {
            let Some(fewer) = left.checked_sub(1) else { return };
            *left = fewer;
            let path = if prefix.is_empty() {
                field.name().to_owned()
            } else {
                format!("{prefix}.{}", field.name())
            };
            self.note(&field, &path, walked);
            let Some(child) = value_message(&field) else { continue };
            walked.has_policy |= child.full_name() == "goten.types.MultiRegionPolicy";
            let enter = above.len() < DEPTH_MAX
                && !above.iter().any(|name| name == child.full_name())
                && self.is_rewarding(&child);
            if enter {
                above.push(child.full_name().to_owned());
                self.visit(&child, &path, above, left, walked);
                above.pop();
            }
        }
    }

    fn note(&mut self, field: &FieldDescriptor, path: &str, walked: &mut Walked) {
        let options = self.options_of(field);
        let rules = &mut walked.rules;
        for behavior in &options.behavior {
            let list = match *behavior {
                behavior::REQUIRED => &mut rules.required,
                behavior::OUTPUT_ONLY => &mut rules.output_only,
                behavior::INPUT_ONLY => &mut rules.input_only,
                behavior::IMMUTABLE => &mut rules.immutable,
                _ => continue,
            };
            list.push(path.to_owned());
        }
        if options.goten_output_only {
            rules.output_only.push(path.to_owned());
        }
        let goten = options
            .goten_type
            .as_ref()
            .is_some_and(|ty| ty.reference.is_some() || ty.parent_reference.is_some());
        if options.reference.is_some() || options.bowline.is_some() || goten {
            walked.references.push(ReferenceField {
                path: path.to_owned(),
                field: field.clone(),
                options,
            });
        }
    }

    /// The options of a field, decoded once.
    pub(crate) fn options_of(&mut self, field: &FieldDescriptor) -> Rc<FieldOptions> {
        if field.field_descriptor_proto().options.is_none() {
            return Rc::default();
        }
        let decode = || Rc::new(options::of_field(field));
        Rc::clone(self.options.entry(field.full_name().to_owned()).or_insert_with(decode))
    }

    /// Whether a message, or one below it, has a field with something to note. Metadata and well-known types have not.
    fn is_rewarding(&mut self, message: &MessageDescriptor) -> bool {
        if let Some(known) = self.rewarding.get(message.full_name()) {
            return *known;
        }
        let mut reached: HashMap<String, MessageDescriptor> = HashMap::new();
        let mut waiting = vec![message.clone()];
        let mut found = false;
        while let Some(message) = waiting.pop() {
            if is_closed(&message) || reached.contains_key(message.full_name()) {
                continue;
            }
            for field in message.fields() {
                let options = self.options_of(&field);
                found |= !options.behavior.is_empty() || *options != FieldOptions::default();
                if let Some(child) = value_message(&field) {
                    found |= child.full_name() == "goten.types.MultiRegionPolicy";
                    waiting.push(child);
                }
            }
            reached.insert(message.full_name().to_owned(), message);
            if found {
                break;
            }
        }
        if found {
            self.rewarding.insert(message.full_name().to_owned(), true);
        } else {
            // Nothing below means nothing below any of them.
            self.rewarding.extend(reached.into_keys().map(|name| (name, false)));
            self.rewarding.insert(message.full_name().to_owned(), false);
        }
        found
    }
}

fn is_closed(message: &MessageDescriptor) -> bool {
    message.full_name() == "goten.types.Meta" || message.package_name() == "google.protobuf"
}

/// The message that a field holds: itself, of each element, or of each value of a map.
pub(crate) fn value_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
            Kind::Message(message) => Some(message),
            _ => None,
        },
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

/// Whether a field holds strings: one, a list, or the values of a map.
pub(crate) fn holds_strings(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::String => true,
        Kind::Message(entry) if field.is_map() => {
            entry.map_entry_value_field().kind() == Kind::String
        }
        _ => false,
    }
}
