//! Places in an order: byte strings such that a new one fits between any two. Pure.
//!
//! Kinds have a rank by name, so that index entries hold a few bytes instead of the name and are still in its order.

/// Digits of a rank that count up and down; the rest is for places between two neighbours.
const STEP: u16 = 64;
const FIRST: u16 = 0x8000;

/// A rank above `low` and below `high`, both themselves ranks; absent: no bound.
///
/// Never empty and never ends in a zero byte. Grows by a byte for every few times that a place is split.
pub(crate) fn between(low: Option<&[u8]>, high: Option<&[u8]>) -> Vec<u8> {
    match (low, high) {
        (None, None) => FIRST.to_be_bytes().map(|byte| byte | 1).to_vec(),
        (Some(low), None) => stepped(low, true).unwrap_or_else(|| split(low, None)),
        (None, Some(high)) => stepped(high, false).unwrap_or_else(|| split(&[], Some(high))),
        (Some(low), Some(high)) => split(low, Some(high)),
    }
}

/// Counts the first two bytes up or down, as long as there is room.
fn stepped(from: &[u8], up: bool) -> Option<Vec<u8>> {
    let digits = u16::from_be_bytes([*from.first()?, from.get(1).copied().unwrap_or(0)]);
    let next = if up { digits.checked_add(STEP)? } else { digits.checked_sub(STEP)? };
    Some((next | 1).to_be_bytes().to_vec()).filter(|next| (next.as_slice() > from) == up)
}

/// The shortest string between the two, in the middle of the first byte that leaves room.
fn split(low: &[u8], high: Option<&[u8]>) -> Vec<u8> {
    let (mut rank, mut high) = (Vec::new(), high);
    for at in 0.. {
        let bottom = u16::from(low.get(at).copied().unwrap_or(0));
        let top = match high {
            Some(high) => u16::from(high.get(at).copied().unwrap_or(0)),
            None => 256,
        };
        let middle = bottom.midpoint(top);
        if middle > bottom {
            rank.push(middle as u8);
            break;
        }
        if bottom < top {
            // Anything that goes on after this byte is below `high`.
            high = None;
        }
        rank.push(bottom as u8);
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_up_takes_two_bytes_for_long() {
        let mut last = between(None, None);
        for _ in 0..500 {
            let next = between(Some(&last), None);
            assert!(next > last);
            last = next;
        }
        assert_eq!(last.len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn there_is_always_a_place_between(places in proptest::collection::vec(0_usize..1000, 1..200)) {
            let mut ranks: Vec<Vec<u8>> = Vec::new();
            for place in places {
                let at = place % (ranks.len() + 1);
                let low = at.checked_sub(1).map(|low| ranks[low].clone());
                let rank = between(low.as_deref(), ranks.get(at).map(Vec::as_slice));
                proptest::prop_assert!(low.is_none_or(|low| low < rank));
                proptest::prop_assert!(ranks.get(at).is_none_or(|high| rank < *high));
                proptest::prop_assert!(rank.last().is_some_and(|last| *last != 0));
                ranks.insert(at, rank);
            }
        }

        #[test]
        fn one_side_can_be_split_for_ever(below in proptest::bool::ANY) {
            let (mut low, mut high) = (between(None, None), between(Some(&between(None, None)), None));
            for _ in 0..300 {
                let middle = between(Some(&low), Some(&high));
                proptest::prop_assert!(low < middle && middle < high);
                *(if below { &mut high } else { &mut low }) = middle;
            }
        }
    }
}
