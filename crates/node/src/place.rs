//! Where a name belongs: its policy holder, and which of the holder's parts it is in. Pure.
//!
//! What a type's patterns say is worked out once ([`Places::of_type`]); a name is then taken apart without looking
//! anything up. Who owns a place is the business of `owners`.

use std::fmt;
use std::sync::Arc;

use bowline_resource::name;
use bowline_schema::model::{Registry, ResourceType};
use bowline_schema::pattern::Pattern;

mod holders;
mod shape;

#[cfg(test)]
mod tests;

pub use holders::holders_of;
use shape::Shaped;

/// What ownership is decided by, taken from a name alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The nearest ancestor that holds a policy; `None`: the service's own policy decides.
    pub holder: Option<Holder>,
    pub part: Part,
}

/// A resource with a policy for what is below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    /// `iam.example.com/Project`.
    pub kind: Arc<str>,
    /// `projects/p`.
    pub name: Arc<str>,
}

/// The parts in which a holder's resources are owned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Names without a region: the control region's.
    Control,
    /// Names with this region segment.
    Region(Arc<str>),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("control"),
            Self::Region(region) => write!(f, "region {region}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Some(holder) => write!(f, "{} of {}", self.part, holder.name),
            None => write!(f, "{} of the service", self.part),
        }
    }
}

/// What a collection request is about: the places that the parent leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub holders: Holders,
    pub parts: Parts,
}

/// Under which holders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holders {
    /// This one.
    One(Holder),
    /// Under no holder: the service's policy decides.
    None,
    /// Any, or none: the parent has `-` in the holder's place, or the type has patterns of both kinds.
    Any,
}

/// In which parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parts {
    One(Part),
    /// All parts: the parent says no region, and the type has regional names below it.
    All,
}

/// Names that start with `prefix` and are at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamesAt {
    pub prefix: String,
}

/// How names of one type say where they belong.
#[derive(Clone, Debug)]
pub struct Places {
    patterns: Vec<Shaped>,
    is_everywhere: bool,
}

impl Places {
    /// What the patterns of `ty` say. A holder is a type with a policy whose pattern an ancestor has: of the type's own
    /// service, or of what its version imports, the own service first.
    ///
    /// Cost: the holders of the services concerned for each segment of each pattern; for once per type.
    pub fn of_type(registry: &Registry, ty: &ResourceType) -> Self {
        let holders = holders_of(registry, ty);
        let region = ty.regional.then_some(ty.region_collection.as_str());
        let shaped = |pattern: &Pattern| Shaped::of(pattern, &holders, region);
        Self {
            patterns: ty.patterns.iter().map(shaped).collect(),
            is_everywhere: ty.opt_outs.multi_region,
        }
    }

    /// Whether the type knows no regions at all: each deployment has its own resources of it, and nobody asks who owns them.
    pub fn is_everywhere(&self) -> bool {
        self.is_everywhere
    }

    /// The place of one resource; `None` if the name is none of the type, has wildcards where it matters, or if the type
    /// has no places ([`Places::is_everywhere`]).
    ///
    /// Cost: one pass over the name for each pattern, one allocation for each part of the place.
    pub fn of(&self, name: &str) -> Option<Place> {
        let spot = self.spot(name)?;
        let holder =
            spot.holder.map(|(kind, name)| Holder { kind: kind.clone(), name: name.into() });
        let part = spot.region.map_or(Part::Control, |region| Part::Region(region.into()));
        Some(Place { holder, part })
    }

    /// The same without allocations.
    pub fn spot<'n>(&self, name: &'n str) -> Option<Spot<'_, 'n>> {
        if self.is_everywhere {
            return None;
        }
        let (_, name) = name::split_domain(name);
        let spot = self.patterns.iter().find_map(|pattern| pattern.spot(name))?;
        let is_open = |text: &str| text.split('/').any(|part| part == name::WILDCARD);
        let open_holder = spot.holder.is_some_and(|(_, name)| is_open(name));
        (!open_holder && !spot.region.is_some_and(is_open)).then_some(spot)
    }

    /// The place of a resource that is to be made under `parent` (empty: the root); its id never matters.
    ///
    /// `None` if the type has no such parent, or as in [`Places::of`].
    pub fn of_new(&self, ty: &ResourceType, parent: &str) -> Option<Place> {
        let (_, parent) = name::split_domain(parent);
        let has_id = name::has_id(ty, parent);
        match name::build(ty, parent, if has_id { "a" } else { "" }) {
            Ok(name) => self.of(&name),
            // The type is particular about its ids; its parents tell enough if they agree.
            Err(_) => self.scope(parent).and_then(Scope::into_place),
        }
    }

    /// The places of what is somewhere below `parent` (ids may be `-`; empty: everything); `None` if nothing of the type
    /// can be there, or if the type has no places.
    pub fn scope(&self, parent: &str) -> Option<Scope> {
        if self.is_everywhere {
            return None;
        }
        let (_, parent) = name::split_domain(parent);
        let parts: Vec<&str> = parent.split('/').filter(|part| !part.is_empty()).collect();
        let scopes = self.patterns.iter().filter_map(|pattern| pattern.scope(&parts));
        scopes.reduce(Scope::or)
    }

    /// Where the names at `place` are: each such name starts with one of these prefixes. Sorted, none twice.
    ///
    /// Where a pattern has another variable before the region, a prefix also covers names of other parts.
    pub fn names_at(&self, place: &Place) -> Vec<NamesAt> {
        let prefixes = self.patterns.iter().filter_map(|pattern| pattern.prefix_at(place));
        let mut prefixes: Vec<_> = prefixes.map(|prefix| NamesAt { prefix }).collect();
        prefixes.sort();
        prefixes.dedup();
        prefixes
    }

    /// Kinds of the holders that resources of the type can be below; sorted.
    pub fn holder_kinds(&self) -> Vec<Arc<str>> {
        let mut kinds: Vec<_> =
            self.patterns.iter().filter_map(Shaped::holder_kind).cloned().collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// Whether a pattern of the type is below no holder.
    pub fn has_global(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.holder_kind().is_none())
    }
}

/// A [`Place`] that borrows from a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot<'p, 'n> {
    /// Kind and name.
    pub holder: Option<(&'p Arc<str>, &'n str)>,
    /// The region segment, if the name has one.
    pub region: Option<&'n str>,
}

impl Scope {
    /// What is in either.
    fn or(self, other: Self) -> Self {
        let holders = if self.holders == other.holders { self.holders } else { Holders::Any };
        let parts = if self.parts == other.parts { self.parts } else { Parts::All };
        Self { holders, parts }
    }

    /// The one place that it is about, if there is only one.
    pub fn into_place(self) -> Option<Place> {
        let Parts::One(part) = self.parts else { return None };
        match self.holders {
            Holders::One(holder) => Some(Place { holder: Some(holder), part }),
            Holders::None => Some(Place { holder: None, part }),
            Holders::Any => None,
        }
    }
}
