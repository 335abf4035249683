//! The ring over which the processes of one database spread their work: each has a range of its shards. Pure.
//!
//! Whose range is which follows from the rows of the processes alone ([`crate::incarnation::Incarnation::shards`]).
//! Processes that know of each other at different times have ranges that overlap, or leave a gap, for a moment; what is
//! done by them has to bear being done twice, and is looked for again and again.

use std::fmt;

/// How many shards there are. Part of what is stored: tasks lie in the order of their shards.
pub const RING: u32 = 1_024;

/// The shard of what has these bytes for an id. FNV-1a, folded; the same on every machine and release.
pub fn shard_of(id: &[u8]) -> u32 {
    let hash = id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash % u64::from(RING)) as u32
}

/// The shards `from..to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shards {
    pub from: u32,
    pub to: u32,
}

impl Shards {
    pub const ALL: Self = Self { from: 0, to: RING };
    pub const NONE: Self = Self { from: 0, to: 0 };

    /// The part of the process that is at `rank` (from 0) of `count`; nothing if there are more processes than shards.
    pub fn part(rank: usize, count: usize) -> Self {
        let edge = |rank: usize| {
            let at = (rank as u64).saturating_mul(u64::from(RING)) / (count.max(1) as u64);
            at.min(u64::from(RING)) as u32
        };
        Self { from: edge(rank), to: edge(rank.saturating_add(1)) }
    }

    pub fn contains(self, shard: u32) -> bool {
        (self.from..self.to).contains(&shard)
    }

    /// Whether what has these bytes for an id is in one of them.
    pub fn hold(self, id: &[u8]) -> bool {
        self.contains(shard_of(id))
    }

    pub fn is_empty(self) -> bool {
        self.from >= self.to
    }
}

impl fmt::Display for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_parts_of_all_processes_are_the_ring_and_do_not_overlap(count in 1_usize..2_000) {
            let parts: Vec<_> = (0..count).map(|rank| Shards::part(rank, count)).collect();
            proptest::prop_assert_eq!(parts[0].from, 0);
            proptest::prop_assert_eq!(parts[count - 1].to, RING);
            proptest::prop_assert!(parts.windows(2).all(|pair| pair[0].to == pair[1].from));
            let sizes = parts.iter().map(|part| part.to - part.from);
            proptest::prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }

        #[test]
        fn every_id_is_in_one_shard_of_the_ring(id: Vec<u8>) {
            proptest::prop_assert!(Shards::ALL.hold(&id));
            proptest::prop_assert!(!Shards::NONE.hold(&id));
        }
    }

    #[test]
    fn the_shard_of_an_id_never_changes_between_releases() {
        // Tasks outlive a rolling update, so these numbers must stay.
        assert_eq!([shard_of(b""), shard_of(b"task"), shard_of(&[7; 16])], [805, 588, 245]);
    }

    #[test]
    fn a_single_process_has_all() {
        assert_eq!(Shards::part(0, 1), Shards::ALL);
        assert_eq!(Shards::ALL.to_string(), "0..1024");
    }
}
