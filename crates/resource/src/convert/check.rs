//! Trying the name rules of a service out with made-up names: part of `bowline schema check`.
//!
//! That names correspond one to one holds whatever a file says; what can go wrong is that names which a rule is about have no
//! counterpart after all. This finds it, within reason: ids are a few of each sort.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_schema::Diagnostic;
use bowline_schema::diagnostic::{Place, code};
use bowline_schema::model::{ResourceType, Service};
use bowline_schema::pattern::{Pattern, PatternSegment};
use bowline_schema::upgrade::{NameRule, TypeRule, Upgrade};

use super::{Conversion, NameRules, Named, NoName, Why};
use crate::name;

/// Names that are made up for each side of a rule.
const NAMES: usize = 24;
/// The region that everything is at home in.
const HOME: &str = "home-1";
/// Ids of many sorts, for types that allow only some: the first ones without what patterns may be split at.
const IDS: [&str; 14] = [
    "item1",
    "abc",
    "a1b2c3",
    "1",
    "42",
    "ABC",
    "Item2",
    "abc-def",
    "my.item",
    "my_item",
    "a~b",
    "x:y@z",
    "5f2c0d1e-8a41-4a6f-9a55-0b1c2d3e4f50",
    "things.example.com",
];
const PLAIN_IDS: usize = 7;
/// What an id may be besides, where it may have `/`.
const LONG_IDS: [&str; 2] = ["abc/def", "a/b/c"];

/// What came of it.
#[derive(Debug, Default)]
pub struct Tried {
    /// How many names were converted, in either direction.
    pub names: usize,
    /// One for each form of names that should have counterparts and of which some have none.
    pub problems: Vec<Diagnostic>,
}

/// Tries every rule of every upgrade of the service, in both directions. Deterministic; a millisecond or so for each rule.
pub fn check(service: &Arc<Service>) -> Tried {
    let rules = NameRules::of(service);
    let mut tried = Tried::default();
    for upgrade in &service.upgrades {
        for ty in &upgrade.types {
            for up in [true, false] {
                Trial { rules: &rules, upgrade, ty, up }.run(&mut tried);
            }
        }
    }
    tried
}

/// One type in one direction.
struct Trial<'a> {
    rules: &'a NameRules,
    upgrade: &'a Upgrade,
    ty: &'a TypeRule,
    up: bool,
}

impl Trial<'_> {
    fn run(&self, tried: &mut Tried) {
        // What each counterpart belongs to: no two names have the same.
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for rule in &self.ty.names {
            let failed = self.names(rule).find_map(|name| {
                tried.names += 1;
                self.try_one(&name, &mut taken).err().map(|why| (name, why))
            });
            if let Some((name, why)) = failed {
                tried.problems.push(self.problem(rule, &name, &why));
            }
        }
    }

    /// Why a name has no counterpart of its own, that leads back.
    fn try_one(&self, name: &str, taken: &mut BTreeMap<String, String>) -> Result<(), String> {
        let (here, there) = self.types();
        let home = |_: &Named<'_>| Some(HOME.to_owned());
        let found = self.rules.convert(&here.version, &there.version, &here.kind, name, &home);
        let found = match found.map_err(|error| error.to_string())? {
            Conversion::Name(found) => found,
            Conversion::NoName(none) => return Err(reason(&none)),
        };
        let back =
            self.rules.convert(&there.version, &here.version, &found.kind, &found.name, &home);
        let leads_back = matches!(&back, Ok(Conversion::Name(back)) if back.name == name && back.kind == here.kind);
        let other = taken.insert(found.name.clone(), name.to_owned());
        match other.filter(|other| other != name) {
            Some(other) => Err(format!("\"{other}\" is called \"{}\" too", found.name)),
            None if !leads_back => Err(format!("\"{}\" does not lead back", found.name)),
            None => Ok(()),
        }
    }

    /// The type here and the type there.
    fn types(&self) -> (&ResourceType, &ResourceType) {
        if self.up { (&self.ty.older, &self.ty.newer) } else { (&self.ty.newer, &self.ty.older) }
    }

    /// Names of the rule's pattern on this side that are names of the type.
    fn names<'r>(&'r self, rule: &'r NameRule) -> impl Iterator<Item = String> + 'r {
        let pattern = if self.up { &rule.older } else { &rule.newer };
        let (ty, _) = self.types();
        let names = (0..NAMES).filter_map(move |round| made_up(rule, pattern, round));
        names.filter(move |name| name::parse(ty, name).is_ok())
    }

    fn problem(&self, rule: &NameRule, name: &str, why: &str) -> Diagnostic {
        let (here, there) = self.types();
        let pattern = if self.up { &rule.older } else { &rule.newer };
        let message = format!(
            "names \"{}\" of \"{}\" in version {} should have counterparts in version {}, and \"{name}\" has none: {why}",
            pattern.text, here.kind, here.version, there.version
        );
        let place = match &self.upgrade.declared_in {
            Some(file) => Place::file(file),
            None => Place::file(&there.declared_in),
        };
        Diagnostic::warning(code::NO_COUNTERPART, &place, message)
            .help("let both patterns take the same ids, or give such names an entry of their own before the one that takes them")
    }
}

fn reason(none: &NoName) -> String {
    match none.why {
        Why::NoType => format!("version {} has no such type", none.version),
        Why::NoForm => "no rule takes it".to_owned(),
        Why::OtherContext => "it implies something else".to_owned(),
        Why::NoWayBack => {
            "what it would be called is not a name of the type, or leads back to another".to_owned()
        }
    }
}

/// A name of the pattern, another one for each round. What context says is what it will be asked to say.
fn made_up(rule: &NameRule, pattern: &Pattern, round: usize) -> Option<String> {
    if pattern.is_wildcard() {
        return Some(format!("any/{}", IDS[round % IDS.len()]));
    }
    let split: Vec<&str> = [&rule.older, &rule.newer].into_iter().flat_map(parts).collect();
    let variables = pattern.variables();
    pattern.render(&|variable| {
        if rule.context.contains_key(variable) {
            return Some(HOME.to_owned());
        }
        let at = variables.iter().position(|other| *other == variable)?;
        let ids = if split.contains(&variable) { &IDS[..PLAIN_IDS] } else { &IDS[..] };
        let step = round + 3 * at;
        Some(match LONG_IDS.get(step % 5).filter(|_| takes_several(pattern, variable)) {
            Some(long) => (*long).to_owned(),
            None => ids[step % ids.len()].to_owned(),
        })
    })
}

/// Variables that are a part of an id: where they end is told by a separator, which they had better not contain.
fn parts(pattern: &Pattern) -> impl Iterator<Item = &str> {
    pattern
        .segments
        .iter()
        .flat_map(|segment| match segment {
            PatternSegment::Complex { variables, .. } => variables.as_slice(),
            _ => &[],
        })
        .map(String::as_str)
}

fn takes_several(pattern: &Pattern, variable: &str) -> bool {
    let is_it = |segment: &PatternSegment| matches!(segment, PatternSegment::Variable { name, multi: true } if name == variable);
    pattern.segments.iter().any(is_it)
}
