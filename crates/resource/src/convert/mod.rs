//! Conversion between the API versions of a service: so far of names and kinds, by the rules of `upgrades/*.yaml`.
//!
//! A resource has one identity and, in each version, at most one name; [`NameRules`] tells it. What a name does not say comes from a
//! [`Context`]; which of it was used is told, for the caller keeps it: it is fixed when the resource is created. How rules are read and
//! checked is in the schema crate, how documents change is not here yet. [`check`] tries the rules out with made-up names.

pub mod check;

mod ask;
#[cfg(test)]
mod planted;
mod step;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_schema::model::{ResourceType, Service};
use bowline_schema::upgrade::ContextValue;

use crate::name::{self, NameError};
use ask::Asking;

/// What is known beside a name. Asked only where a rule needs it, and at most once for a question in one conversion.
pub trait Context {
    /// The region that owns what has this name: the control region of the policy holder above it, or of the service if there is none.
    /// `None` if that is not known *here and now*; the conversion then fails, for it can say neither a name nor that there is none.
    fn control_region(&self, of: &Named<'_>) -> Option<String>;
}

/// Any closure that answers is a context.
impl<F: Fn(&Named<'_>) -> Option<String>> Context for F {
    fn control_region(&self, of: &Named<'_>) -> Option<String> {
        self(of)
    }
}

/// A name in one version of the service whose rules are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    pub version: &'a str,
    pub kind: &'a str,
    /// Relative, without wildcards.
    pub name: &'a str,
}

/// Something that was taken from context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub value: ContextValue,
    /// The version, kind and name that it was asked for.
    pub version: String,
    pub kind: String,
    pub name: String,
    /// The answer.
    pub is: String,
}

/// What a name is in another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conversion {
    Name(Converted),
    /// An answer, not an error: the resource is not visible in that version.
    NoName(NoName),
}

/// Kind and name in the other version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    pub kind: String,
    /// Relative, well-formed, of the kind.
    pub name: String,
    /// All that was asked of the context, in order: with the same answers the result is the same.
    pub used: Vec<Used>,
}

/// There is no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoName {
    /// The first version on the way that has none.
    pub version: String,
    pub why: Why,
    /// As in [`Converted`]: it may be due to an answer.
    pub used: Vec<Used>,
}

/// Why there is no name in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has no such type.
    NoType,
    /// Its type has no names for this form.
    NoForm,
    /// Its names imply something else than this one says: another region.
    OtherContext,
    /// Its name would not be a name of the type, or would lead back to another one.
    NoWayBack,
}

/// Why nothing can be said about a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    #[error("service \"{service}\" has no version \"{version}\"")]
    UnknownVersion { service: String, version: String },
    #[error("version {version} has no type \"{kind}\"")]
    UnknownKind { kind: String, version: String },
    #[error("what is to be converted is not a name")]
    Name(#[source] NameError),
    #[error("the control region of \"{name}\" is not known")]
    Unanswered { kind: String, version: String, name: String },
}

/// The name rules between all versions of one service.
///
/// For any two versions they are a partial bijection: if `a` is `b` there, then `b` is `a` here, under the same answers of the context.
/// This holds whatever an upgrade file says, for a name that does not lead back counts as none. Between versions that are no
/// neighbours the steps are done one after the other, and a name is needed in each.
#[derive(Clone, Debug)]
pub struct NameRules {
    service: Arc<Service>,
}

impl NameRules {
    pub fn of(service: &Arc<Service>) -> Self {
        NameRules { service: Arc::clone(service) }
    }

    /// The name in version `to` of what is called `name` (plain or full) in version `from`.
    ///
    /// Wildcards are refused. Cost: two matches of a pattern for each rule that is tried, per step; no more than 64 rules per type.
    ///
    /// # Errors
    /// A version or type that does not exist, a name that is none, a context that has no answer.
    pub fn convert(
        &self,
        from: &str,
        to: &str,
        kind: &str,
        name: &str,
        context: &dyn Context,
    ) -> Result<Conversion, ConvertError> {
        let (start, end) = (self.age(from)?, self.age(to)?);
        let ty = self.resource_type(start, kind)?;
        let name = name::parse(ty, name).map_err(ConvertError::Name)?.text;
        let mut asking = Asking::new(context);
        self.walk(
            start,
            end,
            Converted { kind: kind.to_owned(), name, used: Vec::new() },
            &mut asking,
        )
    }

    /// The names of one resource in all versions, by version: what its owner tells others. One that has no name is in the map too.
    ///
    /// # Errors
    /// As [`NameRules::convert`].
    pub fn everywhere(
        &self,
        from: &str,
        kind: &str,
        name: &str,
        context: &dyn Context,
    ) -> Result<BTreeMap<String, Conversion>, ConvertError> {
        let one = |version: &str| {
            Ok((version.to_owned(), self.convert(from, version, kind, name, context)?))
        };
        self.service.versions.iter().map(|version| one(&version.version)).collect()
    }

    /// What a kind is called in another version; `None` if it is not there.
    pub fn kind(&self, from: &str, to: &str, kind: &str) -> Option<String> {
        let (start, end) = (self.service.age(from)?, self.service.age(to)?);
        let mut kind = self.resource_type(start, kind).ok()?.kind.clone();
        for (upgrade, up) in steps(start, end) {
            let upgrade = self.service.upgrades.get(upgrade)?;
            kind = match up {
                true => upgrade.of_older(&kind)?.newer.kind.clone(),
                false => upgrade.of_newer(&kind)?.older.kind.clone(),
            };
        }
        Some(kind)
    }

    fn walk(
        &self,
        start: usize,
        end: usize,
        mut at: Converted,
        asking: &mut Asking<'_>,
    ) -> Result<Conversion, ConvertError> {
        for (upgrade, up) in steps(start, end) {
            let Some(upgrade) = self.service.upgrades.get(upgrade) else { break };
            match step::step(upgrade, up, &at, asking)? {
                Ok(next) => at = next,
                Err(why) => {
                    let version = if up { &upgrade.newer } else { &upgrade.older };
                    let used = asking.used();
                    return Ok(Conversion::NoName(NoName { version: version.clone(), why, used }));
                }
            }
        }
        at.used = asking.used();
        Ok(Conversion::Name(at))
    }

    fn age(&self, version: &str) -> Result<usize, ConvertError> {
        self.service.age(version).ok_or_else(|| ConvertError::UnknownVersion {
            service: self.service.name.clone(),
            version: version.to_owned(),
        })
    }

    fn resource_type(&self, age: usize, kind: &str) -> Result<&ResourceType, ConvertError> {
        let version = &self.service.versions[age];
        let found = version.types.iter().find(|ty| ty.kind == kind);
        found.map(Arc::as_ref).ok_or_else(|| ConvertError::UnknownKind {
            kind: kind.to_owned(),
            version: version.version.clone(),
        })
    }
}

/// The upgrades between two ages, in the order in which they are walked, and whether towards the newer version.
fn steps(start: usize, end: usize) -> impl Iterator<Item = (usize, bool)> {
    let up = start < end;
    let range = start.min(end)..start.max(end);
    let len = range.len();
    range
        .clone()
        .map(move |at| if up { at } else { 2 * range.start + len - 1 - at })
        .map(move |at| (at, up))
}

impl Conversion {
    /// The name, if there is one.
    pub fn name(&self) -> Option<&Converted> {
        match self {
            Conversion::Name(converted) => Some(converted),
            Conversion::NoName(_) => None,
        }
    }

    /// All that was taken from the context.
    pub fn used(&self) -> &[Used] {
        match self {
            Conversion::Name(converted) => &converted.used,
            Conversion::NoName(none) => &none.used,
        }
    }
}
