//! Lists.
//!
//! Pages are keyset pages: a token holds the place in the list of the last row that was seen, so writes between two pages
//! neither repeat nor skip a row that was there all the time, and the next page may be read in another way. Which ways there
//! are is in `plan`, how they are followed in `race`.

use bowline_base::{Reason, Status};
use bowline_schema::model::Response;
use bytes::{Bytes, BytesMut};

use super::page::{Page, PageQuery};
use super::request::Request;
use super::select::Selection;
use super::sink::Count;
use super::{Engine, Route};
use crate::handler::Context;
use crate::wire;

impl Engine {
    pub(crate) async fn list(
        &self,
        route: &Route,
        request: Request<'_>,
        context: &Context,
    ) -> Result<Bytes, Status> {
        let selection = Selection::of_collection(&route.resource.ty, &request, &self.limits)?;
        let query = self.page_query(route, &request, self.limits.page_size_max)?;
        let mut page = self.read_page(route, &selection, &query).await?;
        let count = if request.flag(&request.fields.include_paging_info) {
            Some(self.count(route, &selection, &query, &mut page).await?)
        } else {
            None
        };
        context.explain.tell(&page.explained);
        respond(route, &query, &page, count)
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
