//! Lists: pages in name order straight from the store, or in any other order through a bounded heap.
//!
//! Pages are keyset pages: a token holds the sort key of the last row that was seen, so writes between two pages
//! neither repeat nor skip a row that was there all the time. Cost: in name order, the rows of the page (and those that
//! the filter passes over); in another order, all rows in scope, with memory for one page.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_resource::name::prefix_end;
use bowline_resource::order::{Order, SortKey};
use bowline_resource::page::{Direction, PageToken, query_hash};
use bowline_schema::model::Response;
use bowline_store::{NameRange, NamedRow, Position, Snapshot};
use bytes::{Bytes, BytesMut};

use super::request::{Request, field_name};
use super::select::{Selection, decode};
use super::{Engine, Route, errors};
use crate::wire;

/// Rows read from the store at once.
const SCAN_ROWS: usize = 512;

/// Which page of which list.
pub(crate) struct PageQuery {
    pub(crate) order: Order,
    pub(crate) cursor: Option<SortKey>,
    pub(crate) direction: Direction,
    pub(crate) size: usize,
    /// Bound into page tokens.
    pub(crate) hash: u64,
}

/// One row of a page.
#[derive(Clone, Debug)]
pub(crate) struct PageRow {
    pub(crate) key: SortKey,
    pub(crate) name: Arc<str>,
    pub(crate) body: Bytes,
}

/// A page, in list order whatever the direction was.
pub(crate) struct Page {
    pub(crate) rows: Vec<PageRow>,
    /// Whether rows lie beyond the page in the direction of reading.
    pub(crate) has_more: bool,
    pub(crate) position: Position,
}

impl Engine {
    pub(crate) async fn list(&self, route: &Route, request: Request<'_>) -> Result<Bytes, Status> {
        let selection = Selection::of_collection(&route.resource.ty, &request, &self.limits)?;
        let query = self.page_query(route, &request, self.limits.page_size_max)?;
        let page = self.read_page(route, &selection, &query).await?;
        let count = if request.flag(&request.fields.include_paging_info) {
            Some(self.count(route, &selection, query.order(), &page).await?)
        } else {
            None
        };
        respond(route, &query, &page, count)
    }

    /// Reads order, size and token of a list or a stateful watch.
    pub(crate) fn page_query(
        &self,
        route: &Route,
        request: &Request<'_>,
        size_max: usize,
    ) -> Result<PageQuery, Status> {
        let fields = request.fields;
        let text = request.text(&fields.order_by);
        let order = Order::parse(&text, &route.resource.ty).map_err(|error| {
            let field = field_name(&fields.order_by, "order_by");
            Status::bad_field(Reason::InvalidOrder, field, error.to_string())
        })?;
        let hash = query_hash(&[
            "list",
            &route.resource.table.namespace,
            &route.resource.table.kind,
            &request.text(&fields.parent),
            &request.text(&fields.filter),
            &text,
        ]);
        let (cursor, direction) = cursor(&request.text(&fields.page_token), hash)?;
        let size = page_size(request, self.limits.page_size_default, size_max)?;
        Ok(PageQuery { order, cursor, direction, size, hash })
    }

    /// Reads one page as of now.
    pub(crate) async fn read_page(
        &self,
        route: &Route,
        selection: &Selection,
        query: &PageQuery,
    ) -> Result<Page, Status> {
        let snapshot = route.deployment.backend.snapshot().await;
        let snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let mut reader =
            Reader { route, selection, query, snapshot, bytes_max: self.limits.page_bytes_max };
        if query.order.is_name_only() { reader.by_name().await } else { reader.by_sorting().await }
    }

    /// How many rows the list has in all, and how many lie before the page.
    async fn count(
        &self,
        route: &Route,
        selection: &Selection,
        order: &Order,
        page: &Page,
    ) -> Result<Count, Status> {
        let failed = |error| errors::store(&error);
        let mut snapshot = route.deployment.backend.snapshot().await.map_err(failed)?;
        let first = page.rows.first().map(|row| &row.key);
        let mut count = Count { total: 0, before: 0 };
        let mut range = whole_range(route, selection);
        loop {
            let rows = snapshot.scan(&range, SCAN_ROWS, false).await.map_err(failed)?;
            for (name, row) in &rows {
                let Some(seen) = selection.look_at(name, row)? else { continue };
                count.total += 1;
                if let Some(first) = first {
                    let key = sort_key(route, order, name, row, seen.document)?;
                    count.before += i64::from(key < *first);
                }
            }
            let Some(after) = last_name(&rows, SCAN_ROWS) else { return Ok(count) };
            range.from = after + "\0";
        }
    }
}

struct Count {
    total: i64,
    before: i64,
}

impl PageQuery {
    fn order(&self) -> &Order {
        &self.order
    }

    /// Token of the page that follows `row` in `direction`.
    pub(crate) fn token(&self, row: &PageRow, direction: Direction) -> String {
        {
            let position = row.key.as_bytes().to_vec();
            PageToken { query: self.hash, direction, offset: 0, position }.encode()
        }
    }

    /// `(previous, next)` tokens of a page; empty where there is nothing.
    pub(crate) fn tokens(&self, page: &Page) -> (String, String) {
        let (Some(first), Some(last)) = (page.rows.first(), page.rows.last()) else {
            return (String::new(), String::new());
        };
        let (has_before, has_after) = match self.direction {
            Direction::Next => (self.cursor.is_some(), page.has_more),
            Direction::Previous => (page.has_more, true),
        };
        let token = |has: bool, row, direction| {
            if has { self.token(row, direction) } else { String::new() }
        };
        (token(has_before, first, Direction::Previous), token(has_after, last, Direction::Next))
    }
}

struct Reader<'a> {
    route: &'a Route,
    selection: &'a Selection,
    query: &'a PageQuery,
    snapshot: Box<dyn Snapshot>,
    bytes_max: usize,
}

impl Reader<'_> {
    /// Name order: a range scan from the cursor on, until the page is full.
    async fn by_name(&mut self) -> Result<Page, Status> {
        let is_backward = self.query.direction == Direction::Previous;
        let is_descending = self.query.order.descending() != is_backward;
        let mut range = whole_range(self.route, self.selection);
        if let Some(name) = self.query.cursor.as_ref().and_then(|key| self.query.order.name_in(key))
        {
            narrow(&mut range, &name, is_descending);
        }
        let mut rows = Vec::new();
        let mut n_bytes = 0;
        // One more than the page, to know whether there is more; filters may need further scans.
        let scan_rows = (self.query.size + 1).min(SCAN_ROWS);
        loop {
            let found = self.scan(&range, scan_rows, is_descending).await?;
            for (name, row) in &found {
                let Some(seen) = self.selection.look_at(name, row)? else { continue };
                n_bytes += seen.body.len();
                let is_full = rows.len() == self.query.size;
                if is_full || (n_bytes > self.bytes_max && !rows.is_empty()) {
                    return Ok(self.page(rows, true));
                }
                let key = name_key(&self.query.order, name);
                rows.push(PageRow { key, name: name.clone(), body: seen.body });
            }
            let Some(last) = last_name(&found, scan_rows) else {
                return Ok(self.page(rows, false));
            };
            narrow(&mut range, &last, is_descending);
        }
    }

    /// Any other order: every row in scope passes through a heap of one page.
    async fn by_sorting(&mut self) -> Result<Page, Status> {
        let is_backward = self.query.direction == Direction::Previous;
        let mut kept: BTreeMap<SortKey, PageRow> = BTreeMap::new();
        let mut has_more = false;
        let mut range = whole_range(self.route, self.selection);
        loop {
            let found = self.scan(&range, SCAN_ROWS, false).await?;
            for (name, row) in &found {
                let Some(seen) = self.selection.look_at(name, row)? else { continue };
                let key = sort_key(self.route, &self.query.order, name, row, seen.document)?;
                if !self.is_beyond_cursor(&key) {
                    continue;
                }
                let row = PageRow { key: key.clone(), name: name.clone(), body: seen.body };
                kept.insert(key, row);
                if kept.len() > self.query.size {
                    has_more = true;
                    if is_backward {
                        kept.pop_first()
                    } else {
                        kept.pop_last()
                    };
                }
            }
            let Some(last) = last_name(&found, SCAN_ROWS) else { break };
            range.from = last + "\0";
        }
        let mut rows: Vec<PageRow> = kept.into_values().collect();
        if is_backward {
            rows.reverse();
        }
        let n_fitting = n_fitting(&rows, self.bytes_max);
        has_more |= n_fitting < rows.len();
        rows.truncate(n_fitting);
        Ok(self.page(rows, has_more))
    }

    fn is_beyond_cursor(&self, key: &SortKey) -> bool {
        match (&self.query.cursor, self.query.direction) {
            (None, _) => true,
            (Some(cursor), Direction::Next) => key > cursor,
            (Some(cursor), Direction::Previous) => key < cursor,
        }
    }

    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        is_descending: bool,
    ) -> Result<Vec<NamedRow>, Status> {
        let found = self.snapshot.scan(range, limit, is_descending).await;
        found.map_err(|error| errors::store(&error))
    }

    /// `rows` as read; backward reading found them in reverse.
    fn page(&self, mut rows: Vec<PageRow>, has_more: bool) -> Page {
        if self.query.direction == Direction::Previous {
            rows.reverse();
        }
        Page { rows, has_more, position: self.snapshot.position() }
    }
}

/// The sort key of a row; decodes it if that was not done yet and the order needs more than the name.
fn sort_key(
    route: &Route,
    order: &Order,
    name: &str,
    row: &bowline_store::Row,
    document: Option<bowline_resource::document::Document>,
) -> Result<SortKey, Status> {
    if order.is_name_only() {
        return Ok(name_key(order, name));
    }
    let document = match document {
        Some(document) => document,
        None => decode(&route.resource.ty, name, row)?,
    };
    Ok(order.key(&document))
}

/// The key of a row in name order.
pub(crate) fn name_key(order: &Order, name: &str) -> SortKey {
    order.key_of_name(name).unwrap_or_default()
}

fn n_fitting(rows: &[PageRow], bytes_max: usize) -> usize {
    let mut n_bytes = 0;
    let fits = |row: &&PageRow| {
        n_bytes += row.body.len();
        n_bytes <= bytes_max
    };
    rows.iter().take_while(fits).count().max(1).min(rows.len())
}

fn whole_range(route: &Route, selection: &Selection) -> NameRange {
    let prefix = selection.scope.prefix();
    NameRange {
        table: route.resource.table.clone(),
        from: prefix.to_owned(),
        to: prefix_end(prefix),
    }
}

/// Cuts off everything up to and including `name`, seen in the direction of the scan.
fn narrow(range: &mut NameRange, name: &str, is_descending: bool) {
    if is_descending {
        range.to = Some(name.to_owned());
    } else {
        // The smallest name after `x` by bytes is `x` followed by NUL.
        range.from = format!("{name}\0");
    }
}

/// The name to go on after, or `None` if the scan reached its end.
fn last_name(rows: &[NamedRow], limit: usize) -> Option<String> {
    if rows.len() < limit {
        return None;
    }
    rows.last().map(|(name, _)| name.as_ref().to_owned())
}

fn cursor(token: &str, hash: u64) -> Result<(Option<SortKey>, Direction), Status> {
    if token.is_empty() {
        return Ok((None, Direction::Next));
    }
    let bad = |why: &dyn std::fmt::Display| {
        Status::bad_field(Reason::InvalidPageToken, "page_token", why.to_string())
    };
    let token = PageToken::decode(token, hash).map_err(|error| bad(&error))?;
    Ok((Some(SortKey::from_bytes(token.position)), token.direction))
}

fn page_size(request: &Request<'_>, default: usize, max: usize) -> Result<usize, Status> {
    let wish = request.number(&request.fields.page_size);
    match usize::try_from(wish) {
        Ok(0) => Ok(default.min(max)),
        Ok(wish) => Ok(wish.min(max)),
        Err(_) => {
            let field = field_name(&request.fields.page_size, "page_size");
            Err(Status::bad_field(Reason::InvalidField, field, "must not be negative"))
        }
    }
}

fn respond(
    route: &Route,
    query: &PageQuery,
    page: &Page,
    count: Option<Count>,
) -> Result<Bytes, Status> {
    let Response::List { items, next_page_token, prev_page_token, total, current_offset, .. } =
        &route.binding.response
    else {
        return Err(Status::new(Reason::Internal, "not the response of a list"));
    };
    let rows = page.rows.iter().map(|row| wire::field_len(items.number(), row.body.len()));
    let mut buffer = BytesMut::with_capacity(rows.sum::<usize>() + 128);
    for row in &page.rows {
        wire::put_bytes(&mut buffer, items.number(), &row.body);
    }
    let (previous, next) = query.tokens(page);
    wire::put_text(&mut buffer, next_page_token, &next);
    wire::put_text(&mut buffer, prev_page_token, &previous);
    if let Some(count) = count {
        wire::put_number(&mut buffer, total, count.total);
        wire::put_number(&mut buffer, current_offset, count.before);
    }
    Ok(buffer.freeze())
}
