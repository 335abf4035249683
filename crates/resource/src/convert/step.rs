//! One step: from a version to its neighbour.
//!
//! Rules are tried in their order, and the first that takes a name decides. Since the first one need not be the same in both directions
//! (patterns may overlap, parts of an id may be split elsewhere), a result counts only if it leads back.

use std::collections::BTreeMap;

use bowline_schema::model::ResourceType;
use bowline_schema::upgrade::{NameRule, TypeRule, Upgrade};

use super::ask::Asking;
#[cfg(test)]
use super::planted::{self, Mistake};
use super::{ConvertError, Converted, Named, Why};
use crate::name;

/// The name in the neighbouring version, which is the newer one if `up`.
pub(super) fn step(
    upgrade: &Upgrade,
    up: bool,
    at: &Converted,
    asking: &mut Asking<'_>,
) -> Result<Result<Converted, Why>, ConvertError> {
    let rule = if up { upgrade.of_older(&at.kind) } else { upgrade.of_newer(&at.kind) };
    let Some(rule) = rule else { return Ok(Err(Why::NoType)) };
    let there = Way { rule, up };
    let name = match there.go(&at.name, asking)? {
        Ok(name) => name,
        Err(why) => return Ok(Err(why)),
    };
    // The name must be one of the type: not too long, its id allowed.
    if !name::parse(there.target(), &name).is_ok_and(|parsed| parsed.text == name) {
        return Ok(Err(Why::NoWayBack));
    }
    let back = Way { rule, up: !up }.go(&name, asking)?;
    let leads_back = back.as_ref() == Ok(&at.name);
    #[cfg(test)]
    let leads_back = leads_back || planted::is(Mistake::NoWayBack);
    if !leads_back {
        return Ok(Err(Why::NoWayBack));
    }
    Ok(Ok(Converted { kind: there.target().kind.clone(), name, used: Vec::new() }))
}

/// The rules of a type, read in one direction.
#[derive(Clone, Copy)]
struct Way<'r> {
    rule: &'r TypeRule,
    up: bool,
}

impl<'r> Way<'r> {
    fn source(&self) -> &'r ResourceType {
        if self.up { &self.rule.older } else { &self.rule.newer }
    }

    fn target(&self) -> &'r ResourceType {
        if self.up { &self.rule.newer } else { &self.rule.older }
    }

    /// The result of the first rule that takes the name; if none does, why the last one of this form did not.
    fn go(&self, name: &str, asking: &mut Asking<'_>) -> Result<Result<String, Why>, ConvertError> {
        let mut why = Why::NoForm;
        for rule in &self.rule.names {
            match self.apply(rule, name, asking)? {
                Ok(name) => return Ok(Ok(name)),
                Err(Why::NoForm) => {}
                Err(reason) => why = reason,
            }
        }
        Ok(Err(why))
    }

    fn apply(
        &self,
        rule: &NameRule,
        text: &str,
        asking: &mut Asking<'_>,
    ) -> Result<Result<String, Why>, ConvertError> {
        let (from, to) =
            if self.up { (&rule.older, &rule.newer) } else { (&rule.newer, &rule.older) };
        let Some(matched) = from.match_name(text) else { return Ok(Err(Why::NoForm)) };
        if rule.is_same() {
            return Ok(Ok(text.to_owned()));
        }
        let mut values: BTreeMap<&str, String> =
            matched.iter().map(|(variable, value)| (*variable, (*value).to_owned())).collect();
        let said: Vec<&str> = values.keys().copied().collect();
        // What the name does not say and the other one does is what the context says of this name.
        for (variable, value) in &rule.context {
            if !values.contains_key(variable.as_str()) {
                let answer = asking.ask(*value, named(self.source(), text))?;
                values.insert(variable, answer);
            }
        }
        let Some(name) = to.render(&|variable| values.get(variable).cloned()) else {
            return Ok(Err(Why::NoForm));
        };
        // What this name says and the other one does not must be what the context says of that one.
        for variable in said {
            let Some(value) = rule.context.get(variable) else { continue };
            let implied = asking.ask(*value, named(self.target(), &name))?;
            let is_implied = values.get(variable) == Some(&implied);
            #[cfg(test)]
            let is_implied = is_implied || planted::is(Mistake::AnyContext);
            if !is_implied {
                return Ok(Err(Why::OtherContext));
            }
        }
        Ok(Ok(name))
    }
}

fn named<'n>(ty: &'n ResourceType, name: &'n str) -> Named<'n> {
    Named { version: &ty.version, kind: &ty.kind, name }
}
