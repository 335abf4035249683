//! Watches: snapshot, then changes, on one stream.
//!
//! A deployment has one [`Hub`] that reads its change log once for everybody. Each watch has a [`feed::Feed`]: its own
//! place in the log, caught up from the store and then fed by the hub. On top, `stateless` sends names and their newest
//! state, `stateful` keeps a page in order, `one` follows a single resource. `message` puts the bytes together.

mod feed;
mod hub;
mod message;
mod one;
mod open;
mod registry;
mod select;
mod start;
mod stateful;
mod stateless;

pub(crate) use hub::Hub;
pub(crate) use message::{Marks, WatchShape};
pub(crate) use open::{Origin, chunk_size, shape_of};
pub(crate) use registry::{OpenWatch, Watches};
pub(crate) use stateful::{difference, query as stateful_query};
pub(crate) use stateless::closing;
