//! Who answers a request: decided from what it is about and who owns that. Pure and printable.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bowline_node::{Place, Scope};

use super::hop::Hop;

/// What a request is about, as far as its owner matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nothing that belongs to a region: answered where it arrives.
    Nothing,
    /// One resource, there or to be made.
    One(Place),
    /// Several, by their names.
    Many,
    /// Whatever a collection request leaves open.
    Scope(Scope),
}

/// Who owns what a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    /// Nobody in particular.
    Anywhere,
    /// A region has it, at this ownership epoch.
    By { region: Arc<str>, epoch: u64 },
    /// Each of these can have some of it.
    In(BTreeSet<Arc<str>>),
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Answer from this deployment.
    Local,
    /// Let this region answer.
    Forward(Arc<str>),
    /// Ask these regions and merge.
    Merge(BTreeSet<Arc<str>>),
    /// Refuse: somebody took this region for the owner, and it is not.
    NotOwned { region: Arc<str>, epoch: u64 },
}

/// Decides for a request that arrived in region `me`. `deployed` says in which regions the service is.
pub(crate) fn plan(me: &str, hop: Hop, owned: &Owned, deployed: impl Fn(&str) -> bool) -> Plan {
    if hop.is_local() {
        return Plan::Local;
    }
    match owned {
        Owned::Anywhere => Plan::Local,
        Owned::By { region, .. } if &**region == me => Plan::Local,
        // Nobody else can say more about it than this deployment: that it is not there, or must not be.
        Owned::By { region, .. } if !deployed(region) => Plan::Local,
        Owned::By { region, epoch } if hop == Hop::Forwarded => {
            Plan::NotOwned { region: region.clone(), epoch: *epoch }
        }
        Owned::By { region, .. } => Plan::Forward(region.clone()),
        Owned::In(regions) => {
            let regions: BTreeSet<_> = regions.iter().filter(|r| deployed(r)).cloned().collect();
            let is_here = regions.iter().all(|region| &**region == me);
            if is_here { Plan::Local } else { Plan::Merge(regions) }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Forward(region) => write!(f, "forward to {region}"),
            Self::Merge(regions) => {
                let regions: Vec<_> = regions.iter().map(|region| &**region).collect();
                write!(f, "merge {}", regions.join(", "))
            }
            Self::NotOwned { region, epoch } => write!(f, "not owned: {region} at epoch {epoch}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect;

    use super::*;

    #[test]
    fn every_way_to_arrive_meets_every_kind_of_owner() {
        let by = |region: &str| Owned::By { region: region.into(), epoch: 3 };
        let within = |regions: &[&str]| Owned::In(regions.iter().map(|r| (*r).into()).collect());
        let cases = [
            ("nothing", Owned::Anywhere),
            ("mine", by("eu")),
            ("another's", by("us")),
            ("nobody's", by("moon")),
            ("all mine", within(&["eu"])),
            ("all another's", within(&["us"])),
            ("mine and others'", within(&["eu", "us", "ap", "moon"])),
            ("nowhere", within(&[])),
        ];
        let mut out = String::new();
        for (what, owned) in &cases {
            write!(out, "{what}:").unwrap();
            for hop in [Hop::First, Hop::Forwarded, Hop::Local] {
                let plan = plan("eu", hop, owned, |region| region != "moon");
                write!(out, " [{hop:?}] {plan}").unwrap();
            }
            out.push('\n');
        }
        expect![[r#"
            nothing: [First] local [Forwarded] local [Local] local
            mine: [First] local [Forwarded] local [Local] local
            another's: [First] forward to us [Forwarded] not owned: us at epoch 3 [Local] local
            nobody's: [First] local [Forwarded] local [Local] local
            all mine: [First] local [Forwarded] local [Local] local
            all another's: [First] merge us [Forwarded] merge us [Local] local
            mine and others': [First] merge ap, eu, us [Forwarded] merge ap, eu, us [Local] local
            nowhere: [First] local [Forwarded] local [Local] local
        "#]]
        .assert_eq(&out);
    }
}
