//! Steps that list: everything, by a filter, in an order, page by page.

use bowline_schema::model::{Response, Verb};
use prost_reflect::DynamicMessage;

use super::calls::{self, Failure};
use super::check;
use super::writes::Round;
use crate::generate::pick;

/// What a list is asked for besides its parent.
#[derive(Default)]
pub(super) struct Query<'a> {
    pub(super) filter: &'a str,
    pub(super) order_by: &'a str,
    pub(super) page_size: i32,
    pub(super) page_token: String,
}

impl Round<'_> {
    /// Everything below the parent of the round; `None` if the type has no list method.
    pub(super) async fn list_all(&self) -> Option<Result<Vec<DynamicMessage>, Failure>> {
        Some(self.list(&Query::default()).await?.map(|(resources, _)| resources))
    }

    /// One page, with the token of the next.
    pub(super) async fn list(
        &self,
        query: &Query<'_>,
    ) -> Option<Result<(Vec<DynamicMessage>, String), Failure>> {
        let bound = self.calls.get(Verb::List)?;
        let Response::List { items, next_page_token, .. } = &bound.binding.response else {
            return None;
        };
        let fields = bound.fields();
        let mut request = bound.request();
        calls::set_text(&mut request, &fields.parent, &self.main.parent);
        calls::set_text(&mut request, &fields.page_token, &query.page_token);
        if !query.filter.is_empty() {
            calls::set_text(&mut request, &fields.filter, query.filter);
        }
        if !query.order_by.is_empty() {
            calls::set_text(&mut request, &fields.order_by, query.order_by);
        }
        if query.page_size > 0 {
            calls::set_number(&mut request, &fields.page_size, query.page_size);
        }
        Some(self.calls.unary(&bound, request).await.map(|answer| {
            let token = next_page_token.as_ref().map(|field| answer.get_field(field).into_owned());
            let token =
                token.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
            (calls::items(&answer, items), token)
        }))
    }

    /// The list shows exactly these, in name order.
    pub(super) async fn check_list(
        &self,
        expected: &[DynamicMessage],
    ) -> Option<Result<(), Failure>> {
        let listed = self.list_all().await?;
        let mut expected = expected.to_vec();
        expected.sort_by_key(|resource| check::name_of(self.ty, resource));
        Some(listed.and_then(|listed| self.equal("list", &listed, &expected)))
    }

    /// A filter on a field of `wanted` finds it and not `other`; its negation finds the other one.
    pub(super) async fn check_filter(
        &self,
        wanted: &DynamicMessage,
        other: Option<&DynamicMessage>,
    ) -> Option<Result<(), Failure>> {
        self.calls.get(Verb::List)?.fields().filter.as_ref()?;
        let filter = self.filter_for(wanted);
        let found = self.list(&Query { filter: &filter, ..Query::default() }).await?;
        let not = format!("NOT {filter}");
        let rest = self.list(&Query { filter: &not, ..Query::default() }).await?;
        let told = |error: Failure| Failure::Wrong(format!("filter '{filter}': {error}"));
        Some(found.map_err(told).and_then(|(found, _)| {
            self.equal(&format!("list by '{filter}'"), &found, std::slice::from_ref(wanted))?;
            let (rest, _) =
                rest.map_err(|error| Failure::Wrong(format!("filter '{not}': {error}")))?;
            let other: Vec<DynamicMessage> = other.into_iter().cloned().collect();
            self.equal(&format!("list by '{not}'"), &rest, &other)
        }))
    }

    fn filter_for(&self, resource: &DynamicMessage) -> String {
        let places = pick::filterable(&self.plan, resource);
        let labels = self.ty.standard.labels.as_ref().filter(|field| resource.has_field(field));
        match (places.first(), labels) {
            (Some(place), _) => {
                let value = place.read(resource).and_then(|v| v.as_str().map(str::to_owned));
                format!("{} = {}", place.path, quoted(&value.unwrap_or_default()))
            }
            (None, Some(labels)) if self.label(resource).is_some() => {
                format!(
                    "{}.env = {}",
                    labels.name(),
                    quoted(&self.label(resource).unwrap_or_default())
                )
            }
            (None, _) => {
                let name = check::name_of(self.ty, resource);
                format!("{} = {}", self.ty.name_field.name(), quoted(&name))
            }
        }
    }

    fn label(&self, resource: &DynamicMessage) -> Option<String> {
        let labels = resource.get_field(self.ty.standard.labels.as_ref()?).into_owned();
        let key = prost_reflect::MapKey::String("env".to_owned());
        labels.as_map()?.get(&key)?.as_str().map(str::to_owned)
    }

    /// Descending by name turns the list around.
    pub(super) async fn check_order(
        &self,
        expected: &[DynamicMessage],
    ) -> Option<Result<(), Failure>> {
        self.calls.get(Verb::List)?.fields().order_by.as_ref()?;
        let order_by = format!("{} desc", self.ty.name_field.name());
        let listed = self.list(&Query { order_by: &order_by, ..Query::default() }).await?;
        let mut expected = expected.to_vec();
        expected.sort_by_key(|resource| std::cmp::Reverse(check::name_of(self.ty, resource)));
        Some(listed.and_then(|(listed, _)| self.equal("list by name desc", &listed, &expected)))
    }

    /// Pages of one show each resource once.
    pub(super) async fn check_pages(
        &self,
        expected: &[DynamicMessage],
    ) -> Option<Result<(), Failure>> {
        let bound = self.calls.get(Verb::List)?;
        let Response::List { next_page_token: Some(_), .. } = &bound.binding.response else {
            return None;
        };
        bound.fields().page_size.as_ref()?;
        bound.fields().page_token.as_ref()?;
        let mut seen = Vec::new();
        let mut query = Query { page_size: 1, ..Query::default() };
        for _ in 0..=expected.len() {
            match self.list(&query).await? {
                Err(error) => return Some(Err(error)),
                Ok((page, token)) => {
                    seen.extend(page);
                    query.page_token = token;
                }
            }
            if query.page_token.is_empty() {
                break;
            }
        }
        let mut expected = expected.to_vec();
        expected.sort_by_key(|resource| check::name_of(self.ty, resource));
        Some(self.equal("list page by page", &seen, &expected))
    }

    fn equal(
        &self,
        what: &str,
        got: &[DynamicMessage],
        expected: &[DynamicMessage],
    ) -> Result<(), Failure> {
        let names = |all: &[DynamicMessage]| -> Vec<String> {
            all.iter().map(|resource| check::name_of(self.ty, resource)).collect()
        };
        if names(got) != names(expected) {
            let message = format!("{what} shows {:?}, expected {:?}", names(got), names(expected));
            return Err(Failure::Wrong(message));
        }
        for (got, expected) in got.iter().zip(expected) {
            check::same(&self.plan, expected, got)?;
        }
        Ok(())
    }
}

/// A string literal of the filter grammar.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
