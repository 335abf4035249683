//! The worlds that tests and the example explore.

use crate::mistake::Mistake;
use crate::world::World;

/// Worlds without a mistake, by name. Those of `tests` are explored by every test run, the others by the example.
pub const NAMED: &[(&str, World)] = &[
    ("small", World::SMALL),
    ("one-source", ONE_SOURCE),
    ("two-saves", TWO_SAVES),
    ("two-sources", TWO_SOURCES),
    ("new-owner", NEW_OWNER),
    ("slow-answers", SLOW_ANSWERS),
    ("writing-grants", World { read_only_grants: false, ..ONE_SOURCE }),
    ("unreduced", UNREDUCED),
    ("one-source-local", World { local: true, ..ONE_SOURCE }),
    ("two-referrers", World { referrers: 2, touch: true, questions: 2, ..TWO_SAVES }),
    ("two-saves-blockades", World { blockades: true, ..TWO_SAVES }),
    ("two-sources-local", World { local: true, ..TWO_SOURCES }),
    ("two-sources-clearing", World { clearing: true, ..TWO_SOURCES }),
];

/// A history of any length at one source, with everything that can happen to it.
const ONE_SOURCE: World = World {
    raises: None,
    creations: None,
    questions: 2,
    clearing: true,
    blockades: true,
    touch: true,
    ..World::SMALL
};

/// Two saves of one referrer at once, over a history of any length.
const TWO_SAVES: World =
    World { saves: 2, raises: None, creations: None, questions: 1, clearing: true, ..World::SMALL };

/// Two sources over a history of any length.
const TWO_SOURCES: World =
    World { sources: 2, raises: None, creations: None, questions: 2, ..World::SMALL };

/// Sources read and commit their answers in two steps, over a history of any length.
const SLOW_ANSWERS: World = World {
    raises: None,
    creations: None,
    questions: 2,
    clearing: true,
    slow_answers: true,
    ..World::SMALL
};

/// The target gets another owner, whose numbers begin below those of the former one.
const NEW_OWNER: World = World { moves: 1, clearing: true, local: true, ..World::SMALL };

/// A small world in which no two states are taken for one.
const UNREDUCED: World =
    World { reduced: false, clearing: true, creations: Some(1), ..World::SMALL };

/// The world of this name.
pub fn named(name: &str) -> Option<World> {
    NAMED.iter().find(|(n, _)| *n == name).map(|(_, world)| *world)
}

/// A small world in which the mistake shows.
pub fn for_mistake(mistake: Mistake) -> World {
    let small = World { mistake: Some(mistake), ..World::SMALL };
    match mistake {
        Mistake::HoldsNoneUnfenced
        | Mistake::ClearingKeepsEpoch
        | Mistake::ReadOnlyWhileLeaving
        | Mistake::GrantKeepsLeavingMark => World { clearing: true, ..small },
        Mistake::WithdrawalDropsSource | Mistake::ComparedByValue | Mistake::ExpiryDropsSource => {
            World { blockades: true, ..small }
        }
        Mistake::OwnDeploymentListed => World { local: true, ..small },
        Mistake::RowVersionReturns => World { touch: true, ..small },
        _ => small,
    }
}
