//! The bytes of watch messages: field numbers found once per method, resources put in as they are stored.

use std::collections::VecDeque;

use bowline_schema::model::{ResourceType, Response, WatchResponse};
use bytes::{Bytes, BytesMut};
use prost_reflect::{FieldDescriptor, MessageDescriptor};

use crate::wire;

/// What the client learns about one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Added { body: Bytes, index: Option<i64> },
    Modified { name: String, body: Bytes, previous: Option<i64>, index: Option<i64> },
    Removed { name: String, index: Option<i64> },
    Current { body: Bytes },
}

/// Everything of a message but its changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) is_current: bool,
    pub(crate) resume_token: String,
    pub(crate) is_hard_reset: bool,
    /// `(previous, next)` page tokens, when they changed.
    pub(crate) page_tokens: Option<(String, String)>,
}

/// A message of another deployment's watch, with its changes as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Encoded change messages.
    pub(crate) changes: Vec<Bytes>,
    pub(crate) is_current: bool,
    pub(crate) is_hard_reset: bool,
    pub(crate) resume_token: String,
}

/// Field numbers of a watch response and of its change message.
pub(crate) struct WatchShape {
    response: WatchResponse,
    added: Option<Case>,
    modified: Option<Case>,
    removed: Option<Case>,
    current: Option<Case>,
}

/// One case of the change's oneof, with the fields of its message.
struct Case {
    tag: u32,
    name: Option<u32>,
    body: Option<u32>,
    previous: Option<u32>,
    index: Option<u32>,
}

impl WatchShape {
    /// `None` if the response is not one of a watch.
    pub(crate) fn of(ty: &ResourceType, response: &Response) -> Option<Self> {
        let Response::Watch(response) = response else { return None };
        let change = response.changes.kind();
        let change = change.as_message()?;
        let case = |name: &str| Case::of(ty, change, name);
        Some(Self {
            response: response.clone(),
            added: case("added"),
            modified: case("modified"),
            removed: case("removed"),
            current: case("current"),
        })
    }

    /// Queues `events` in messages of at most `chunk` of them; the last one carries `marks`.
    ///
    /// Without events there is one message, for the marks, unless they say nothing.
    pub(crate) fn queue(
        &self,
        events: &[Event],
        chunk: usize,
        marks: &Marks,
        out: &mut VecDeque<Bytes>,
    ) {
        let none = Marks::default();
        let n_chunks = events.len().div_ceil(chunk);
        for (index, chunk) in events.chunks(chunk).enumerate() {
            let is_last = index + 1 == n_chunks;
            out.push_back(self.message(chunk, if is_last { marks } else { &none }));
        }
        if events.is_empty() && *marks != none {
            out.push_back(self.message(events, marks));
        }
    }

    pub(crate) fn message(&self, events: &[Event], marks: &Marks) -> Bytes {
        let estimate = events.iter().map(|e| e.body_len() + 64).sum::<usize>() + 64;
        wire::build(estimate, |buffer| {
            for event in events {
                let change = self.change(event);
                wire::put_bytes(buffer, self.response.changes.number(), &change);
            }
            self.put_marks(buffer, marks);
        })
    }

    /// Takes a message apart, without looking into its changes; `None` if it is malformed.
    pub(crate) fn read(&self, message: &Bytes) -> Option<Received> {
        let response = &self.response;
        let is = |field: &Option<FieldDescriptor>, tag| {
            field.as_ref().is_some_and(|field| field.number() == tag)
        };
        let mut received = Received::default();
        for field in wire::fields(message) {
            match field? {
                (tag, wire::Field::Bytes(change)) if tag == response.changes.number() => {
                    received.changes.push(change);
                }
                (tag, wire::Field::Bytes(token)) if is(&response.resume_token, tag) => {
                    received.resume_token = std::str::from_utf8(&token).ok()?.to_owned();
                }
                (tag, wire::Field::Varint(flag)) if is(&response.is_current, tag) => {
                    received.is_current = flag != 0;
                }
                (tag, wire::Field::Varint(flag)) if is(&response.is_hard_reset, tag) => {
                    received.is_hard_reset = flag != 0;
                }
                _ => {}
            }
        }
        Some(received)
    }

    /// A message with changes as another deployment's watch sent them.
    pub(crate) fn pass_on(&self, changes: &[Bytes], marks: &Marks) -> Bytes {
        let tag = self.response.changes.number();
        let len: usize = changes.iter().map(|change| wire::field_len(tag, change.len())).sum();
        wire::build(len + 64 + marks.resume_token.len(), |buffer| {
            changes.iter().for_each(|change| wire::put_bytes(buffer, tag, change));
            self.put_marks(buffer, marks);
        })
    }

    fn put_marks(&self, buffer: &mut BytesMut, marks: &Marks) {
        let response = &self.response;
        put_flag(buffer, &response.is_current, marks.is_current);
        put_flag(buffer, &response.is_hard_reset, marks.is_hard_reset);
        wire::put_text(buffer, &response.resume_token, &marks.resume_token);
        if let (Some(field), Some((previous, next))) =
            (&response.page_token_change, &marks.page_tokens)
        {
            wire::put_bytes(buffer, field.number(), &page_tokens(field, previous, next));
        }
        // Clients take any number that is not negative for a size check, even the default 0.
        wire::put_number(buffer, &response.snapshot_size, -1);
    }

    fn change(&self, event: &Event) -> Bytes {
        let (case, name, body, previous, index) = match event {
            Event::Added { body, index } => (&self.added, None, Some(body), None, *index),
            Event::Modified { name, body, previous, index } => {
                (&self.modified, Some(name), Some(body), *previous, *index)
            }
            Event::Removed { name, index } => (&self.removed, Some(name), None, None, *index),
            Event::Current { body } => (&self.current, None, Some(body), None, None),
        };
        let Some(case) = case else { return Bytes::new() };
        let capacity = event.body_len() + 32;
        let inner = wire::build(capacity, |buffer| {
            if let (Some(tag), Some(name)) = (case.name, name) {
                wire::put_bytes(buffer, tag, name.as_bytes());
            }
            if let (Some(tag), Some(body)) = (case.body, body) {
                wire::put_bytes(buffer, tag, body);
            }
            for (tag, number) in [(case.previous, previous), (case.index, index)] {
                if let (Some(tag), Some(number)) = (tag, number) {
                    wire::put_varint(buffer, tag, number);
                }
            }
        });
        wire::build(wire::field_len(case.tag, inner.len()), |buffer| {
            wire::put_bytes(buffer, case.tag, &inner);
        })
    }
}

impl Case {
    fn of(ty: &ResourceType, change: &MessageDescriptor, name: &str) -> Option<Self> {
        let field = change.get_field_by_name(name)?;
        let kind = field.kind();
        let message = kind.as_message()?;
        let number = |name: &str| message.get_field_by_name(name).map(|f| f.number());
        let body = message.fields().find(|f| f.kind().as_message() == Some(&ty.message));
        Some(Self {
            tag: field.number(),
            name: number("name"),
            body: body.map(|f| f.number()),
            previous: number("previous_view_index"),
            index: number("view_index"),
        })
    }
}

impl Event {
    fn body_len(&self) -> usize {
        match self {
            Self::Added { body, .. } | Self::Modified { body, .. } | Self::Current { body } => {
                body.len()
            }
            Self::Removed { name, .. } => name.len(),
        }
    }
}

fn put_flag(buffer: &mut BytesMut, field: &Option<FieldDescriptor>, flag: bool) {
    wire::put_number(buffer, field, i64::from(flag));
}

fn page_tokens(field: &FieldDescriptor, previous: &str, next: &str) -> Bytes {
    let kind = field.kind();
    wire::build(previous.len() + next.len() + 16, |buffer| {
        let Some(message) = kind.as_message() else { return };
        for (names, token) in
            [(["prev", "prev_page_token"], previous), (["next", "next_page_token"], next)]
        {
            let field = names.iter().find_map(|name| message.get_field_by_name(name));
            wire::put_text(buffer, &field, token);
        }
    })
}
