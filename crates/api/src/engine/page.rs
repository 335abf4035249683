//! One page of a list: which one it is, what is on it, and the tokens of those before and after.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_resource::order::{Order, SortKey};
use bowline_resource::page::{Direction, PageToken, query_hash};
use bowline_store::Position;
use bytes::Bytes;

use super::explain::Explained;
use super::request::{Request, field_name};
use super::{Engine, Route};
use crate::routing::token::PageOf;

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
    /// How it was found.
    pub(crate) explained: Explained,
}

impl Page {
    /// A page that was put together of several stores' rows, so that it is of no one position.
    pub(crate) fn merged(rows: Vec<PageRow>, has_more: bool) -> Self {
        let (position, explained) = (Position::default(), Explained::default());
        Self { rows, has_more, position, explained }
    }
}

impl Engine {
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
        let token = PageOf::decode(&request.text(&fields.page_token)).token;
        let (cursor, direction) = cursor(&token, hash)?;
        let size = page_size(request, self.limits.page_size_default, size_max)?;
        Ok(PageQuery { order, cursor, direction, size, hash })
    }
}

impl PageQuery {
    /// A page of `size` rows by name, after `name`.
    pub(crate) fn by_name(after: Option<&str>, size: usize) -> Self {
        let order = Order::by_name();
        let cursor = after.and_then(|name| order.key_of_name(name));
        Self { order, cursor, direction: Direction::Next, size, hash: 0 }
    }

    /// Whether rows are read from the end of the list to its beginning.
    pub(crate) fn is_backward(&self) -> bool {
        self.direction == Direction::Previous
    }

    pub(crate) fn is_beyond_cursor(&self, key: &SortKey) -> bool {
        match (&self.cursor, self.direction) {
            (None, _) => true,
            (Some(cursor), Direction::Next) => key > cursor,
            (Some(cursor), Direction::Previous) => key < cursor,
        }
    }

    /// Token of the page that follows `row` in `direction`.
    fn token(&self, row: &PageRow, direction: Direction) -> String {
        let position = row.key.as_bytes().to_vec();
        PageToken { query: self.hash, direction, offset: 0, position }.encode()
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
