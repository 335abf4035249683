//! Lists.
//!
//! Pages are keyset pages: a token holds the place in the list of the last row that was seen, so writes between two pages
//! neither repeat nor skip a row that was there all the time, and the next page may be read in another way. Which ways there
//! are is in `plan`, how they are followed in `race`.

use std::sync::Arc;

use bowline_base::Status;
use bowline_schema::model::Response;
use bytes::{Bytes, BytesMut};

use super::page::PageRow;
use super::request::Request;
use super::select::Selection;
use super::sink::Count;
use super::{Engine, Route};
use crate::handler::Context;
use crate::routing::hop::Hop;
use crate::wire;

impl Engine {
    pub(crate) async fn list(
        &self,
        route: &Route,
        request: Request<'_>,
        context: &Context,
    ) -> Result<Bytes, Status> {
        if Hop::of(context) == Hop::Part {
            return self.list_part(route, &request, context).await;
        }
        let selection = Selection::of_collection(&route.resource.ty, &request, &self.limits)?;
        let query = self.page_query(route, &request, self.limits.page_size_max)?;
        let mut page = self.read_page(route, &selection, &query).await?;
        let count = if request.flag(&request.fields.include_paging_info) {
            Some(self.count(route, &selection, &query, &mut page).await?)
        } else {
            None
        };
        context.explain.tell(&page.explained);
        let tokens = query.tokens(&page);
        Ok(respond(route, &Answer { rows: &page.rows, tokens, count, unreachable: Vec::new() }))
    }
}

/// What a list answers.
pub(crate) struct Answer<'a> {
    pub(crate) rows: &'a [PageRow],
    /// Of the previous and the next page; empty where there is none.
    pub(crate) tokens: (String, String),
    pub(crate) count: Option<Count>,
    /// Regions that could not be asked.
    pub(crate) unreachable: Vec<Arc<str>>,
}

/// The encoded response; nothing if the method's response is not one of a list, which its binding rules out.
pub(crate) fn respond(route: &Route, answer: &Answer<'_>) -> Bytes {
    let Response::List {
        items,
        next_page_token,
        prev_page_token,
        total,
        current_offset,
        unreachable,
    } = &route.binding.response
    else {
        return Bytes::new();
    };
    let rows = answer.rows.iter().map(|row| wire::field_len(items.number(), row.body.len()));
    let mut buffer = BytesMut::with_capacity(rows.sum::<usize>() + 128);
    for row in answer.rows {
        wire::put_bytes(&mut buffer, items.number(), &row.body);
    }
    let (previous, next) = &answer.tokens;
    wire::put_text(&mut buffer, next_page_token, next);
    wire::put_text(&mut buffer, prev_page_token, previous);
    if let Some(count) = answer.count {
        wire::put_number(&mut buffer, total, count.total);
        wire::put_number(&mut buffer, current_offset, count.before);
    }
    for region in &answer.unreachable {
        wire::put_text(&mut buffer, unreachable, region);
    }
    buffer.freeze()
}
