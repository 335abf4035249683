//! What becomes of the rows that a way leads to: a page that is full at some point, a page of the best of all, or a count.

use std::collections::BTreeMap;

use bowline_base::Status;
use bowline_resource::document::Document;
use bowline_resource::order::{Order, SortKey};
use bowline_store::{NamedRow, Row};

use super::Route;
use super::page::{PageQuery, PageRow};
use super::select::{Selection, decode};

/// Takes rows, each judged by the selection.
pub(crate) struct Sink<'a> {
    route: &'a Route,
    selection: &'a Selection,
    kind: Kind<'a>,
}

enum Kind<'a> {
    /// Rows come in list order (backwards: in reverse): take them until the page is full.
    InOrder { query: &'a PageQuery, bytes_max: usize, n_bytes: usize, page: Collected },
    /// Rows come in any order, perhaps several times: keep the best of them, one page.
    Gathered {
        query: &'a PageQuery,
        bytes_max: usize,
        kept: BTreeMap<SortKey, PageRow>,
        has_more: bool,
    },
    /// Each row comes once: count it.
    Counted { order: &'a Order, first: Option<&'a SortKey>, count: Count },
}

/// Rows of a page in the direction of reading.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) rows: Vec<PageRow>,
    pub(crate) has_more: bool,
}

/// How many rows the list has in all, and how many lie before the page.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) total: i64,
    pub(crate) before: i64,
}

impl<'a> Sink<'a> {
    pub(crate) fn page(
        route: &'a Route,
        selection: &'a Selection,
        query: &'a PageQuery,
        bytes_max: usize,
        is_in_order: bool,
    ) -> Self {
        let kind = match is_in_order {
            true => Kind::InOrder { query, bytes_max, n_bytes: 0, page: Collected::default() },
            false => Kind::Gathered { query, bytes_max, kept: BTreeMap::new(), has_more: false },
        };
        Self { route, selection, kind }
    }

    /// Counts all rows, and those before `first`.
    pub(crate) fn count(
        route: &'a Route,
        selection: &'a Selection,
        order: &'a Order,
        first: Option<&'a SortKey>,
    ) -> Self {
        Self { route, selection, kind: Kind::Counted { order, first, count: Count::default() } }
    }

    /// Takes a row; whether nothing more is wanted.
    pub(crate) fn take(&mut self, (name, row): &NamedRow) -> Result<bool, Status> {
        let Some(seen) = self.selection.look_at(name, row)? else { return Ok(false) };
        let route = self.route;
        let key_in = |order: &Order, document| sort_key(route, order, name, row, document);
        match &mut self.kind {
            Kind::InOrder { query, bytes_max, n_bytes, page } => {
                let key = key_in(&query.order, seen.document)?;
                if !query.is_beyond_cursor(&key) {
                    return Ok(false);
                }
                *n_bytes += seen.body.len();
                let is_full = page.rows.len() == query.size;
                if is_full || (*n_bytes > *bytes_max && !page.rows.is_empty()) {
                    page.has_more = true;
                    return Ok(true);
                }
                page.rows.push(PageRow { key, name: name.clone(), body: seen.body });
            }
            Kind::Gathered { query, kept, has_more, .. } => {
                let key = key_in(&query.order, seen.document)?;
                if query.is_beyond_cursor(&key) {
                    let row = PageRow { key: key.clone(), name: name.clone(), body: seen.body };
                    kept.insert(key, row);
                    *has_more |= cut(kept, query);
                }
            }
            Kind::Counted { order, first, count } => {
                count.total += 1;
                if let Some(first) = first {
                    count.before += i64::from(key_in(order, seen.document)? < **first);
                }
            }
        }
        Ok(false)
    }

    /// The page, in the direction of reading.
    pub(crate) fn into_page(self) -> Collected {
        match self.kind {
            Kind::InOrder { page, .. } => page,
            Kind::Gathered { query, bytes_max, kept, mut has_more } => {
                let mut rows: Vec<PageRow> = kept.into_values().collect();
                if query.is_backward() {
                    rows.reverse();
                }
                let n_fitting = n_fitting(&rows, bytes_max);
                has_more |= n_fitting < rows.len();
                rows.truncate(n_fitting);
                Collected { rows, has_more }
            }
            Kind::Counted { .. } => Collected::default(),
        }
    }

    pub(crate) fn into_count(self) -> Count {
        match self.kind {
            Kind::Counted { count, .. } => count,
            Kind::InOrder { .. } | Kind::Gathered { .. } => Count::default(),
        }
    }
}

/// Lets go of what is beyond the page; whether there was anything.
fn cut(kept: &mut BTreeMap<SortKey, PageRow>, query: &PageQuery) -> bool {
    if kept.len() <= query.size {
        return false;
    }
    if query.is_backward() {
        kept.pop_first()
    } else {
        kept.pop_last()
    };
    true
}

/// The sort key of a row; decodes it if that was not done yet and the order needs more than the name.
fn sort_key(
    route: &Route,
    order: &Order,
    name: &str,
    row: &Row,
    document: Option<Document>,
) -> Result<SortKey, Status> {
    if let Some(key) = order.key_of_name(name) {
        return Ok(key);
    }
    let document = match document {
        Some(document) => document,
        None => decode(&route.resource.ty, name, row)?,
    };
    Ok(order.key(&document))
}

fn n_fitting(rows: &[PageRow], bytes_max: usize) -> usize {
    let mut n_bytes = 0;
    let fits = |row: &&PageRow| {
        n_bytes += row.body.len();
        n_bytes <= bytes_max
    };
    rows.iter().take_while(fits).count().max(1).min(rows.len())
}
