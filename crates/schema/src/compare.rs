//! Two versions of a service side by side: what breaks clients, and what an upgrade drops. Part of `bowline schema check`.
//!
//! Everything found is a warning: versions may differ. How resources are carried over is the business of upgrades, not of this comparison.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::diagnostic::{Diagnostic, Place, code, sorted};
use crate::model::{Method, ResourceType, Role, ServiceVersion};
use crate::upgrade::{TypeRule, Upgrade};

/// How deep fields are compared.
const DEPTH_MAX: usize = 12;

/// Compares two neighbouring versions of one service, the older first. What the upgrade says of types and names is no news.
pub fn compare(
    older: &ServiceVersion,
    newer: &ServiceVersion,
    upgrade: &Upgrade,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for old in &older.types {
        match upgrade.of_older(&old.kind) {
            Some(rule) => compare_types(rule, &mut found),
            None if !upgrade.unsaid.contains(&old.kind) => {}
            None => {
                let message = format!("version {} has no type \"{}\"", newer.version, old.kind);
                let problem = Diagnostic::warning(code::DROPPED_TYPE, &place(old), message);
                found.push(
                    problem.help("say in the upgrade what it becomes, or that it is removed"),
                );
            }
        }
    }
    compare_methods(older, newer, upgrade, &mut found);
    sorted(found)
}

/// Where the type is declared.
pub(crate) fn place(ty: &ResourceType) -> Place {
    match ty.declared_in.rsplit_once(':') {
        Some((file, line)) => match line.parse() {
            Ok(line) => Place::at(file, line, 1),
            Err(_) => Place::file(&ty.declared_in),
        },
        None => Place::file(&ty.declared_in),
    }
}

fn compare_types(rule: &TypeRule, found: &mut Vec<Diagnostic>) {
    let (old, new) = (&*rule.older, &*rule.newer);
    for text in &rule.removed {
        let message = format!(
            "names \"{text}\" of \"{}\" have no counterpart in version {}",
            old.kind, new.version
        );
        found.push(Diagnostic::warning(code::BREAKING_CHANGE, &place(new), message));
    }
    let mut walk = Walk { old, new, above: Vec::new(), found };
    walk.messages(&old.message, &new.message, "");
}

struct Walk<'a> {
    old: &'a ResourceType,
    new: &'a ResourceType,
    /// Messages above the one that is compared, so that recursive ones end.
    above: Vec<String>,
    found: &'a mut Vec<Diagnostic>,
}

impl Walk<'_> {
    fn messages(&mut self, old: &MessageDescriptor, new: &MessageDescriptor, prefix: &str) {
        let name = old.full_name().to_owned();
        if self.above.len() >= DEPTH_MAX || self.above.contains(&name) || old == new {
            return;
        }
        self.above.push(name);
        for field in old.fields() {
            let path = if prefix.is_empty() {
                field.name().to_owned()
            } else {
                format!("{prefix}.{}", field.name())
            };
            match new.get_field_by_name(field.name()) {
                Some(other) => self.fields(&field, &other, &path),
                None => self.dropped(&path),
            }
        }
        self.above.pop();
    }

    fn dropped(&mut self, path: &str) {
        let message =
            format!("\"{}\" has no field `{path}` in version {}", self.old.kind, self.new.version);
        let problem = Diagnostic::warning(code::DROPPED_FIELD, &place(self.new), message);
        self.found.push(problem.help("its content is lost unless the upgrade says where it goes"));
    }

    fn fields(&mut self, old: &FieldDescriptor, new: &FieldDescriptor, path: &str) {
        let (was, is) = (type_of(old), type_of(new));
        if was != is {
            let message = format!(
                "`{path}` of \"{}\" was {was} and is {is} in version {}",
                self.old.kind, self.new.version
            );
            let problem = Diagnostic::warning(code::BREAKING_CHANGE, &place(self.new), message);
            self.found.push(
                problem.help("use a new field, or say in the upgrade how values are converted"),
            );
        } else if let (Some(old), Some(new)) =
            (crate::walk::value_message(old), crate::walk::value_message(new))
        {
            self.messages(&old, &new, path);
        }
    }
}

/// The type of a field as people would say it. Messages and enums go by their short names: packages differ between versions.
fn type_of(field: &FieldDescriptor) -> String {
    let kind = |kind: Kind| match kind {
        Kind::Message(message) => message.name().to_owned(),
        Kind::Enum(values) => values.name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) =
                (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            format!("a map from {} to {}", kind(key), kind(value))
        }
        one if field.is_list() => format!("a list of {}", kind(one)),
        one => kind(one),
    }
}

fn compare_methods(
    older: &ServiceVersion,
    newer: &ServiceVersion,
    upgrade: &Upgrade,
    found: &mut Vec<Diagnostic>,
) {
    for old in &older.methods {
        // Standard methods of a dropped type are dropped with it; that has been said.
        let dropped = |kind: &String| upgrade.of_older(kind).is_none();
        if matches!(&old.role, Role::Standard(binding) if dropped(&binding.resource.kind)) {
            continue;
        }
        if !newer.methods.iter().any(|new| same_method(old, new, upgrade)) {
            let message =
                format!("version {} has no method `{}`", newer.version, old.descriptor.name());
            let file = old.descriptor.parent_file().name().to_owned();
            found.push(Diagnostic::warning(code::DROPPED_METHOD, &Place::file(file), message));
        }
    }
}

/// Methods correspond if they do the same to the same type, or have the same name.
fn same_method(old: &Method, new: &Method, upgrade: &Upgrade) -> bool {
    let becomes = |kind: &str| upgrade.of_older(kind).map(|rule| rule.newer.kind.clone());
    match (&old.role, &new.role) {
        (Role::Standard(old), Role::Standard(new)) => {
            old.verb == new.verb && becomes(&old.resource.kind).as_ref() == Some(&new.resource.kind)
        }
        _ => old.descriptor.name() == new.descriptor.name(),
    }
}
