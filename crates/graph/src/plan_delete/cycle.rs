//! Cycles of references that block: none of their members can ever be deleted alone.

use std::collections::{BTreeMap, VecDeque};

use crate::reference::TargetName;

/// The shortest way from `start` back to itself by references that block, `start` first and not repeated.
///
/// `blocks` tells what each resource blocks the deletion of. Cost: each reference is followed once.
pub fn cycle(
    start: &TargetName,
    blocks: &BTreeMap<TargetName, Vec<TargetName>>,
) -> Option<Vec<TargetName>> {
    let mut came_from: BTreeMap<&TargetName, &TargetName> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in blocks.get(at).into_iter().flatten() {
            if next == start {
                return Some(way_to(start, at, &came_from));
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

fn way_to(
    start: &TargetName,
    end: &TargetName,
    came_from: &BTreeMap<&TargetName, &TargetName>,
) -> Vec<TargetName> {
    let mut way = vec![end.clone()];
    let mut at = end;
    while at != start {
        let Some(before) = came_from.get(at) else { break };
        way.push((*before).clone());
        at = before;
    }
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str) -> TargetName {
        TargetName::new("a.test/A", "v1", name)
    }

    fn blocks(of: &[(&str, &[&str])]) -> BTreeMap<TargetName, Vec<TargetName>> {
        of.iter().map(|(from, to)| (at(from), to.iter().map(|to| at(to)).collect())).collect()
    }

    #[test]
    fn the_shortest_way_back_is_found() {
        let blocks = blocks(&[("a", &["b", "c"]), ("b", &["d"]), ("d", &["a"]), ("c", &["a"])]);
        assert_eq!(cycle(&at("a"), &blocks), Some(vec![at("a"), at("c")]));
        assert_eq!(cycle(&at("b"), &blocks), Some(vec![at("b"), at("d"), at("a")]));
    }

    #[test]
    fn a_way_that_never_comes_back_is_none() {
        let blocks = blocks(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
        assert_eq!(cycle(&at("a"), &blocks), None);
        assert_eq!(cycle(&at("z"), &blocks), None);
    }
}
