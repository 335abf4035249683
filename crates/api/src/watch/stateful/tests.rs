//! The law of page differences: applied as documented, they turn the old page into the new one.

use bowline_resource::order::Order;
use proptest::prelude::*;

use super::*;

fn row(name: u8, body: u8) -> PageRow {
    let name = format!("n/{name}");
    PageRow {
        key: Order::by_name().key_of_name(&name).unwrap(),
        name: name.into(),
        body: Bytes::from(vec![body]),
    }
}

fn page(rows: &[(u8, u8)]) -> Vec<PageRow> {
    let mut seen = std::collections::HashSet::new();
    rows.iter()
        .filter(|(name, _)| seen.insert(*name))
        .map(|(name, body)| row(*name, *body))
        .collect()
}

/// A client, as the documentation of `difference` tells it to behave.
fn apply(old: &[PageRow], events: &[Event]) -> Vec<Bytes> {
    let mut out: Vec<usize> = events
        .iter()
        .filter_map(|event| match event {
            Event::Removed { index, .. } => *index,
            Event::Modified { previous, .. } => *previous,
            _ => None,
        })
        .map(|place| usize::try_from(place).unwrap())
        .collect();
    out.sort_unstable();
    let kept = old.iter().enumerate().filter(|(place, _)| out.binary_search(place).is_err());
    let mut rows: Vec<Bytes> = kept.map(|(_, row)| row.body.clone()).collect();
    for event in events {
        if let Event::Added { body, index } | Event::Modified { body, index, .. } = event {
            rows.insert(usize::try_from(index.unwrap()).unwrap(), body.clone());
        }
    }
    rows
}

proptest! {
    #[test]
    fn a_client_that_applies_the_difference_has_the_new_page(
        old in proptest::collection::vec((0u8..12, 0u8..4), 0..12),
        new in proptest::collection::vec((0u8..12, 0u8..4), 0..12),
    ) {
        let (old, new) = (page(&old), page(&new));
        let events = difference(&old, &new);
        let expected: Vec<Bytes> = new.iter().map(|row| row.body.clone()).collect();
        prop_assert_eq!(apply(&old, &events), expected);
    }
}

#[test]
fn equal_pages_differ_in_nothing() {
    let rows = page(&[(1, 1), (2, 2)]);
    assert_eq!(difference(&rows, &rows), vec![]);
}
