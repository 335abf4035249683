//! Where a name belongs: its policy holder, and which of the holder's parts it is in. Pure.

use std::fmt;
use std::sync::Arc;

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
