//! Merging pages of one list that several regions have parts of. Pure.
//!
//! A page token is a place in the list, not in a store: the same token means the same place in every region. So each
//! region reads its part of the very page that is wanted, and the first rows of all parts together are the page.

use std::cmp::Ordering;

use crate::engine::explain::Explained;
use crate::engine::page::{PageQuery, PageRow};
use crate::engine::sink::Count;

/// The part of a page that one region has, in list order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) rows: Vec<PageRow>,
    /// Whether the region has rows beyond these in the direction of reading.
    pub(crate) has_more: bool,
    /// All of the region's rows, and those before the part; 0 unless they were asked for.
    pub(crate) count: Count,
    /// How the rows were found; nothing unless somebody wants to know.
    pub(crate) explained: Option<Explained>,
}

/// A page put together, in list order.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) rows: Vec<PageRow>,
    pub(crate) has_more: bool,
}

/// The page that `parts` make. Costs the rows of the page times the number of parts.
///
/// It ends early where a part ends that has more: what comes next of it is not known.
pub(crate) fn merge<'a>(
    query: &PageQuery,
    parts: impl IntoIterator<Item = &'a Part>,
    bytes_max: usize,
) -> Merged {
    let mut readers: Vec<Reader<'a>> =
        parts.into_iter().map(|part| Reader::new(part, query.is_backward())).collect();
    let mut merged = Merged::default();
    let mut n_bytes = 0;
    loop {
        if readers.iter().any(Reader::is_cut_off) {
            merged.has_more = true;
            break;
        }
        let heads = readers.iter().enumerate().filter_map(|(at, r)| Some((at, r.head()?)));
        let Some((at, row)) = heads.min_by(|a, b| in_direction(query, a.1, b.1)) else { break };
        n_bytes += row.body.len();
        let is_full = merged.rows.len() == query.size;
        if is_full || (n_bytes > bytes_max && !merged.rows.is_empty()) {
            merged.has_more = true;
            break;
        }
        readers[at].step();
        // One resource is in one region. While it moves, two may show it.
        if merged.rows.last().is_none_or(|last| last.key != row.key) {
            merged.rows.push(row.clone());
        }
    }
    if query.is_backward() {
        merged.rows.reverse();
    }
    merged
}

/// How many rows all regions have, and how many lie before the merged page.
pub(crate) fn count<'a>(
    query: &PageQuery,
    parts: impl IntoIterator<Item = &'a Part>,
    rows: &[PageRow],
) -> Count {
    let mut sum = Count::default();
    let first = rows.first();
    for part in parts {
        sum.total += part.count.total;
        let Some(first) = first else { continue };
        sum.before += match part.rows.is_empty() {
            // All of it is on the other side of the cursor.
            true if query.is_backward() => 0,
            true => part.count.total,
            false => {
                let skipped = part.rows.iter().take_while(|row| row.key < first.key).count();
                part.count.before + i64::try_from(skipped).unwrap_or(i64::MAX)
            }
        };
    }
    sum
}

/// A part that is being read, in the direction of reading.
struct Reader<'a> {
    part: &'a Part,
    n_read: usize,
    is_backward: bool,
}

impl<'a> Reader<'a> {
    fn new(part: &'a Part, is_backward: bool) -> Self {
        Self { part, n_read: 0, is_backward }
    }

    fn head(&self) -> Option<&'a PageRow> {
        let rows = &self.part.rows;
        let at =
            if self.is_backward { rows.len().checked_sub(self.n_read + 1)? } else { self.n_read };
        rows.get(at)
    }

    fn step(&mut self) {
        self.n_read += 1;
    }

    fn is_cut_off(&self) -> bool {
        self.part.has_more && self.n_read == self.part.rows.len()
    }
}

fn in_direction(query: &PageQuery, a: &PageRow, b: &PageRow) -> Ordering {
    if query.is_backward() { b.key.cmp(&a.key) } else { a.key.cmp(&b.key) }
}

#[cfg(test)]
mod tests {
    use bowline_resource::order::Order;
    use bowline_resource::page::Direction;
    use proptest::prelude::*;

    use super::*;

    fn row(name: &str) -> PageRow {
        let key = Order::by_name().key_of_name(name).unwrap();
        PageRow { key, name: name.into(), body: vec![0; 10].into() }
    }

    fn part(names: &[&str], has_more: bool) -> Part {
        Part { rows: names.iter().map(|n| row(n)).collect(), has_more, ..Part::default() }
    }

    fn query(size: usize, direction: Direction) -> PageQuery {
        PageQuery { direction, ..PageQuery::by_name(None, size) }
    }

    fn names(rows: &[PageRow]) -> Vec<&str> {
        rows.iter().map(|row| &*row.name).collect()
    }

    #[test]
    fn a_page_ends_where_a_part_is_cut_off() {
        let parts = [part(&["a", "c"], true), part(&["b", "d", "e"], false)];
        let merged = merge(&query(5, Direction::Next), &parts, 1 << 20);
        assert_eq!(names(&merged.rows), ["a", "b", "c"]);
        assert!(merged.has_more, "what follows c in the first region is not known");
    }

    #[test]
    fn a_page_backwards_has_the_last_rows_in_list_order() {
        let parts = [part(&["a", "c"], false), part(&["b", "d"], false)];
        let merged = merge(&query(3, Direction::Previous), &parts, 1 << 20);
        assert_eq!(names(&merged.rows), ["b", "c", "d"]);
        assert!(merged.has_more);
    }

    #[test]
    fn a_page_is_bounded_in_bytes_and_never_empty_for_it() {
        let parts = [part(&["a", "c"], false), part(&["b"], false)];
        assert_eq!(names(&merge(&query(9, Direction::Next), &parts, 25).rows), ["a", "b"]);
        assert_eq!(names(&merge(&query(9, Direction::Next), &parts, 1).rows), ["a"]);
    }

    #[test]
    fn a_resource_that_two_regions_show_is_there_once() {
        let parts = [part(&["a", "b"], false), part(&["a"], false)];
        assert_eq!(names(&merge(&query(9, Direction::Next), &parts, 1 << 20).rows), ["a", "b"]);
    }

    proptest! {
        /// Regions cut their parts at the page size; merged they are the page of one store.
        #[test]
        fn parts_of_a_page_are_the_page(
            rows in prop::collection::btree_map("[a-z]{1,3}", 0usize..3, 0..30),
            size in 1usize..8,
            is_backward: bool,
        ) {
            let all: Vec<&str> = rows.keys().map(String::as_str).collect();
            let page_of = |names: &[&str]| {
                let n = names.len().min(size);
                let cut = if is_backward { &names[names.len() - n..] } else { &names[..n] };
                part(cut, names.len() > size)
            };
            let parts: Vec<Part> = (0..3)
                .map(|region| {
                    let mine: Vec<&str> =
                        all.iter().copied().filter(|n| rows[*n] == region).collect();
                    page_of(&mine)
                })
                .collect();
            let direction = if is_backward { Direction::Previous } else { Direction::Next };
            let merged = merge(&query(size, direction), &parts, 1 << 20);
            let expected = page_of(&all);
            prop_assert_eq!(names(&merged.rows), names(&expected.rows));
            prop_assert_eq!(merged.has_more, expected.has_more);
        }
    }
}
