//! How a version follows from the one before, as text for people.

use std::fmt::Write;

use crate::upgrade::{NameRule, TypeRule, Upgrade};

/// Which types and names of two versions correspond. Types whose names are the same are told in one line.
pub fn upgrade(upgrade: &Upgrade) -> String {
    let mut text = String::new();
    let Upgrade { older, newer, types, removed, added, declared_in, .. } = upgrade;
    let file = declared_in.as_ref().map(|file| format!(" ({file})")).unwrap_or_default();
    _ = writeln!(text, "names from {older} to {newer}{file}");
    let (same, other): (Vec<_>, Vec<_>) = types.iter().partition(|rule| is_same(rule));
    if !same.is_empty() {
        let same: Vec<_> = same.iter().map(|rule| rule.older.singular.as_str()).collect();
        _ = writeln!(text, "  same names {}", same.join(", "));
    }
    for rule in other {
        show_type(&mut text, rule, older, newer);
    }
    for (word, kinds) in [("removed", removed), ("added", added)] {
        if !kinds.is_empty() {
            let singular = |kind: &String| kind.rsplit('/').next().unwrap_or(kind).to_owned();
            let kinds: Vec<_> = kinds.iter().map(singular).collect();
            _ = writeln!(text, "  {word} {}", kinds.join(", "));
        }
    }
    text
}

/// Whether the type is called the same in both versions, and so are all its resources.
fn is_same(rule: &TypeRule) -> bool {
    rule.older.kind == rule.newer.kind
        && rule.names.iter().all(NameRule::is_same)
        && rule.removed.is_empty()
        && rule.added.is_empty()
}

fn show_type(text: &mut String, rule: &TypeRule, older: &str, newer: &str) {
    let becomes = match rule.older.kind == rule.newer.kind {
        true => String::new(),
        false => format!(" becomes {}", rule.newer.singular),
    };
    _ = writeln!(text, "  type {}{becomes}", rule.older.singular);
    for name in &rule.names {
        _ = writeln!(text, "    {}", show_name(name));
    }
    for pattern in &rule.removed {
        _ = writeln!(text, "    {pattern} has no name in {newer}");
    }
    for pattern in &rule.added {
        _ = writeln!(text, "    {pattern} has no name in {older}");
    }
}

fn show_name(name: &NameRule) -> String {
    if name.is_same() {
        return format!("{} is the same", name.older.text);
    }
    let context: String = name
        .context
        .iter()
        .map(|(variable, value)| format!(" with {variable} from {}", value.text()))
        .collect();
    format!("{} is {}{context}", name.older.text, name.newer.text)
}
