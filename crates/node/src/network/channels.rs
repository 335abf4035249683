//! Connections to other deployments: HTTP/2, made when first needed, one or two per address, kept alive.
//!
//! Streams have a connection of their own, so that answers never wait behind a stream that nobody reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tonic::body::Body;
use tonic::client::Grpc;

/// How long making a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// A connection that hears nothing for the sum of these is given up.
const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(5);
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(5);
/// A connection that nobody has used for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// Bytes that the other side may send ahead on one stream and on one connection: answers, which are read at once.
const ANSWER_WINDOW: u32 = 1 << 20;
const ANSWERS_WINDOW: u32 = 16 << 20;
/// The same for streams, some of which are read slowly: a thousand of those leave room for others.
const STREAM_WINDOW: u32 = 64 << 10;
const STREAMS_WINDOW: u32 = 128 << 20;
/// Largest message that is taken, in bytes; beyond the largest page and its envelope.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Calls given up in the last second that a connection remembers.
const GIVEN_UP_MAX: usize = 1_000;

/// Where TLS goes in once deployments have certificates: another connector.
type Connector = HttpConnector;
type HttpClient = Client<Connector, Body>;

/// What calls go through.
pub(super) type Channel = Grpc<HttpClient>;

/// Open connections by address.
#[derive(Default)]
pub(super) struct Channels {
    by_address: Mutex<BTreeMap<Arc<str>, Pair>>,
}

struct Pair {
    answers: HttpClient,
    streams: HttpClient,
}

/// An address that is none.
#[derive(Debug, thiserror::Error)]
#[error("{address} is no host and port")]
pub(super) struct AddressError {
    address: Arc<str>,
    #[source]
    source: http::uri::InvalidUri,
}

impl Channels {
    /// The channel to `address`, for calls that answer once or for streams. Nothing is connected yet.
    pub(super) fn get(&self, address: &Arc<str>, streams: bool) -> Result<Channel, AddressError> {
        let origin = format!("http://{address}")
            .parse()
            .map_err(|source| AddressError { address: address.clone(), source })?;
        let mut open = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = open.entry(address.clone()).or_insert_with(Pair::new);
        let client = if streams { &pair.streams } else { &pair.answers };
        let channel = Grpc::with_origin(client.clone(), origin);
        Ok(channel.max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Forgets connections to addresses that nobody has any more; calls that are under way on them go on.
    pub(super) fn keep(&self, addresses: &BTreeSet<&Arc<str>>) {
        let mut open = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|address, _| addresses.contains(address));
    }

    #[cfg(test)]
    pub(super) fn addresses(&self) -> Vec<Arc<str>> {
        self.by_address.lock().unwrap().keys().cloned().collect()
    }
}

impl Pair {
    fn new() -> Self {
        Self {
            answers: client(ANSWER_WINDOW, ANSWERS_WINDOW),
            streams: client(STREAM_WINDOW, STREAMS_WINDOW),
        }
    }
}

fn client(stream_window: u32, connection_window: u32) -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_MAX));
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .http2_initial_stream_window_size(stream_window)
        .http2_initial_connection_window_size(connection_window)
        .http2_keep_alive_interval(KEEP_ALIVE_PERIOD)
        .http2_keep_alive_timeout(KEEP_ALIVE_MAX)
        // So that a call after a quiet time does not find out that the connection has died meanwhile.
        .http2_keep_alive_while_idle(true)
        // Answers to calls that were given up come late and in any number; that is no reason to end the connection,
        // which the library would do after some hundred of them to protect itself from strangers.
        .http2_max_concurrent_reset_streams(GIVEN_UP_MAX)
        .http2_max_local_error_reset_streams(None)
        .build(connector)
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(open.keys()).finish()
    }
}
