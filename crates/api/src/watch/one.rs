//! Watching one resource by name: its state now, then each change; the stream outlives a deletion.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_resource::name;
use bytes::Bytes;

use super::feed::{Feed, Step};
use super::message::{Event, Marks, WatchShape};
use super::open;
use super::registry::OpenWatch;
use super::select::{Effect, effect};
use super::stateless::closing;
use crate::engine::request::{Request, field_name};
use crate::engine::select::Selection;
use crate::engine::{Engine, Route, errors};
use crate::handler::Context;

pub(super) struct One {
    engine: Arc<Engine>,
    route: Arc<Route>,
    selection: Selection,
    shape: WatchShape,
    feed: Feed,
    name: String,
    /// Read the resource and send it before anything else.
    is_due: bool,
    is_there: bool,
    is_over: bool,
    _open: OpenWatch,
}

impl One {
    pub(super) async fn open(
        engine: &Arc<Engine>,
        route: &Arc<Route>,
        request: &Request<'_>,
        context: &Context,
    ) -> Result<Self, Status> {
        let ty = &route.resource.ty;
        let text = request.text(&request.fields.name);
        let parsed = name::parse(ty, &text).map_err(|error| {
            let field = field_name(&request.fields.name, "name");
            Status::bad_field(Reason::InvalidName, field, error.to_string())
        })?;
        let selection = Selection::of_names(ty, request)?;
        let shape = open::shape_of(route)?;
        let key = route.resource.key(&parsed.text);
        let found = route.deployment.backend.get(&key).await;
        let (row, position) = found.map_err(|error| errors::store(&error))?;
        if row.is_none() {
            return Err(errors::not_found(ty, &parsed.text));
        }
        let wanted = parsed.text.clone();
        let feed = Feed::open(
            &route.deployment.hub,
            &route.resource.table,
            &parsed.text,
            Box::new(move |name| name == wanted),
            position,
            &engine.seams,
            engine.watches.closing(),
        );
        Ok(Self {
            engine: engine.clone(),
            route: route.clone(),
            selection,
            shape,
            feed,
            name: parsed.text,
            is_due: true,
            is_there: false,
            is_over: false,
            _open: engine.watches.open(context)?,
        })
    }

    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        if self.is_over {
            return None;
        }
        match self.step().await {
            Ok(event) => Some(Ok(self.shape.message(&[event], &Marks::default()))),
            Err(status) => {
                self.is_over = true;
                Some(Err(status))
            }
        }
    }

    async fn step(&mut self) -> Result<Event, Status> {
        loop {
            if self.is_due {
                self.is_due = false;
                if let Some(event) = self.read().await? {
                    return Ok(event);
                }
            }
            match self.feed.next(self.engine.limits.watch_progress_period).await? {
                Step::Commit(delivery) => {
                    let newest = delivery.changes.last();
                    let effect = newest.map_or(Effect::Nothing, |c| effect(&self.selection, c));
                    if let Some(event) = self.event(effect) {
                        return Ok(event);
                    }
                }
                Step::Idle => {}
                // There is one resource only: its newest state says all that was missed.
                Step::TooOld => self.is_due = true,
                Step::Closed => return Err(closing()),
            }
        }
    }

    /// Reads the newest state and goes on from there.
    async fn read(&mut self) -> Result<Option<Event>, Status> {
        let key = self.route.resource.key(&self.name);
        let found = self.route.deployment.backend.get(&key).await;
        let (row, position) = found.map_err(|error| errors::store(&error))?;
        self.feed.restart_at(position);
        let effect = match row {
            Some(row) => match self.selection.view_row(&self.name, &row)? {
                Some(body) => Effect::Current(body),
                None => Effect::Nothing,
            },
            None => Effect::Removed(self.name.clone()),
        };
        Ok(self.event(effect))
    }

    fn event(&mut self, effect: Effect) -> Option<Event> {
        let was_there = self.is_there;
        match effect {
            Effect::Nothing => None,
            Effect::Removed(name) => {
                self.is_there = false;
                was_there.then_some(Event::Removed { name, index: None })
            }
            Effect::Current(body) if was_there => {
                let name = self.name.clone();
                Some(Event::Modified { name, body, previous: None, index: None })
            }
            Effect::Current(body) => {
                self.is_there = true;
                Some(Event::Added { body, index: None })
            }
        }
    }
}
