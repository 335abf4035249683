//! What a change of a policy asks of everybody: which parts get another owner, at which epoch. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bowline_node::ownership::{Claim, FIRST_EPOCH};
use bowline_node::{Part, Policy};

/// A part that gets another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) part: Part,
    /// Who it is given back to if the change is abandoned; empty: nobody.
    pub(crate) from: Arc<str>,
    /// Empty: nobody, the region is disabled.
    pub(crate) to: Arc<str>,
    pub(crate) epoch: u64,
    /// Whether before it nobody but `from` can own the part: no earlier move was abandoned half-way.
    pub(crate) is_certain: bool,
    /// Whether it undoes a move that was not followed by all.
    pub(crate) is_undoing: bool,
}

impl Move {
    /// Of a region that may have owned its part without ever having been told so, and shall not any more.
    fn away_from(region: Arc<str>) -> Self {
        let part = Part::Region(region.clone());
        let (to, epoch) = (Arc::default(), FIRST_EPOCH + 1);
        Self { part, from: region, to, epoch, is_certain: true, is_undoing: false }
    }

    /// The move that undoes this one, above the row here if that was settled already.
    pub(crate) fn back(&self) -> Self {
        let (from, to) = (self.to.clone(), self.from.clone());
        Self { from, to, epoch: self.epoch + 2, is_undoing: true, ..self.clone() }
    }

    /// Whether a region is told only when others have followed, so that never two own the part.
    ///
    /// Who gets it waits for all others. When a move is undone, only who was to get it can have it, so only that one is
    /// waited for: the owner goes on even if others cannot be reached.
    pub(crate) fn comes_last(&self, region: &str) -> bool {
        match self.is_undoing && self.is_certain {
            true => *region != *self.from,
            false => *region == *self.to,
        }
    }

    /// What the row of the holder's own deployment says once all others have followed: one epoch later than theirs, since
    /// it said before that nobody owns the part.
    pub(crate) fn settled(&self) -> Claim {
        Claim { owner: self.to.clone(), epoch: self.epoch + 1 }
    }
}

/// What has to move for `new` to hold instead of `old`, given what the rows of the holder's own deployment say. They know of
/// every move that was ever begun, since it begins with them.
///
/// A part whose row says something else than `old` is one whose move was abandoned half-way: nobody knows who has
/// followed it, so it moves once more, wherever it shall be.
///
/// A holder that is made anew under an old name takes over from its former self, of whose policy nothing is left: what
/// began while that one was there may still be about to commit, in any of the regions `known`.
pub(crate) fn plan(
    old: Option<&Policy>,
    new: &Policy,
    known: &BTreeSet<Arc<str>>,
    claim: impl Fn(&Part) -> Option<Claim>,
) -> Vec<Move> {
    let is_anew = old.is_none() && claim(&Part::Control).is_some();
    let control = move_of(Part::Control, old, new, &claim);
    let regions = regions(old, new, known).into_iter();
    let of_region = |region: Arc<str>| {
        let part = Part::Region(region.clone());
        match is_anew && claim(&part).is_none() {
            true => (!new.is_enabled(&region)).then(|| Move::away_from(region)),
            false => move_of(part, old, new, &claim),
        }
    };
    control.into_iter().chain(regions.filter_map(of_region)).collect()
}

/// The regions that a change may be about.
pub(crate) fn regions(
    old: Option<&Policy>,
    new: &Policy,
    known: &BTreeSet<Arc<str>>,
) -> BTreeSet<Arc<str>> {
    let known = known.iter().filter(|_| old.is_none());
    let said = old.into_iter().chain([new]).flat_map(|policy| &policy.enabled_regions);
    known.chain(said).cloned().collect()
}

fn move_of(
    part: Part,
    old: Option<&Policy>,
    new: &Policy,
    claim: impl Fn(&Part) -> Option<Claim>,
) -> Option<Move> {
    let to = owner_by(new, &part);
    let claim = claim(&part);
    let from = match (old, &claim) {
        (Some(old), _) => owner_by(old, &part),
        // A holder that is made anew under an old name: its former self has left the row.
        (None, Some(claim)) => claim.owner.clone(),
        (None, None) => to.clone(),
    };
    let is_settled = claim.as_ref().is_none_or(|claim| claim.owner == from);
    // Nobody else ever owned a region's part, so nobody has to give it up.
    let is_first = claim.is_none() && from.is_empty();
    if is_settled && (from == to || is_first) {
        return None;
    }
    let epoch = claim.map_or(FIRST_EPOCH, |claim| claim.epoch) + 1;
    Some(Move { part, from, to, epoch, is_certain: is_settled, is_undoing: false })
}

/// The owner by the policy alone; empty for a region that is not enabled.
fn owner_by(policy: &Policy, part: &Part) -> Arc<str> {
    match part {
        Part::Region(region) if !policy.is_enabled(region) => Arc::default(),
        part => policy.owning_region(part).clone(),
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |region: &str| if region.is_empty() { "nobody" } else { region }.to_owned();
        let (from, to) = (named(&self.from), named(&self.to));
        write!(f, "{}: {from} -> {to}, epoch {}", self.part, self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(
        old: Option<(&str, &[&str])>,
        new: (&str, &[&str]),
        rows: &[(&str, &str, u64)],
        expected: &Expect,
    ) {
        let policy =
            |(control, enabled): (&str, &[&str])| Policy::new(control, enabled.iter().copied());
        let claim = |part: &Part| {
            let (_, owner, epoch) = rows.iter().find(|(of, _, _)| part.to_string() == *of)?;
            Some(Claim { owner: (*owner).into(), epoch: *epoch })
        };
        let known = ["eu", "sa", "us"].map(Arc::from).into();
        let moves = plan(old.map(policy).as_ref(), &policy(new), &known, claim);
        let lines: Vec<_> = moves.iter().map(ToString::to_string).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    const BOTH: &[&str] = &["eu", "us"];

    #[test]
    fn another_control_region_moves_what_has_no_region() {
        check(Some(("eu", BOTH)), ("us", BOTH), &[], &expect!["control: eu -> us, epoch 2"]);
    }

    #[test]
    fn a_region_that_is_disabled_is_taken_from_its_owner() {
        check(
            Some(("eu", BOTH)),
            ("eu", &["eu"]),
            &[],
            &expect!["region us: us -> nobody, epoch 2"],
        );
    }

    #[test]
    fn a_region_that_was_disabled_once_has_to_be_told_that_it_owns_again() {
        let rows = &[("region us", "", 2)];
        check(
            Some(("eu", &["eu"])),
            ("eu", BOTH),
            rows,
            &expect!["region us: nobody -> us, epoch 3"],
        );
    }

    #[test]
    fn a_region_that_is_enabled_for_the_first_time_asks_nothing() {
        check(Some(("eu", &["eu"])), ("eu", BOTH), &[], &expect![""]);
    }

    #[test]
    fn the_same_policy_moves_nothing_if_nothing_is_half_done() {
        let rows = &[("control", "us", 2)];
        check(Some(("us", BOTH)), ("us", BOTH), rows, &expect![""]);
    }

    #[test]
    fn an_abandoned_move_is_settled_by_the_next_save() {
        let rows = &[("control", "us", 2)];
        check(Some(("eu", BOTH)), ("eu", BOTH), rows, &expect!["control: eu -> eu, epoch 3"]);
        // The same change once more: nobody knows who had followed the first.
        check(Some(("eu", BOTH)), ("us", BOTH), rows, &expect!["control: eu -> us, epoch 3"]);
    }

    #[test]
    fn a_holder_made_anew_takes_over_from_its_former_self() {
        check(
            None,
            ("us", BOTH),
            &[("control", "", 2)],
            &expect![[r#"
                control: nobody -> us, epoch 3
                region sa: sa -> nobody, epoch 2"#]],
        );
        let rows = &[("control", "", 2), ("region eu", "", 4), ("region sa", "sa", 3)];
        check(
            None,
            ("us", BOTH),
            rows,
            &expect![[r#"
                control: nobody -> us, epoch 3
                region eu: nobody -> eu, epoch 5
                region sa: sa -> nobody, epoch 4"#]],
        );
        check(None, ("us", BOTH), &[], &expect![""]);
    }
}
