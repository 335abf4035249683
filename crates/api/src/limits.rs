//! Every limit of the public API, with its unit and default. Exceeding one is an error that names it.

use std::time::Duration;

/// Limits of one node; [`Limits::default`] is what the documentation states.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest request message, in bytes, after decompression.
    pub message_bytes_max: usize,
    /// Largest resource as it is stored, in bytes.
    pub resource_bytes_max: usize,
    /// Most references that one resource can hold.
    pub references_max: usize,
    /// Most finalisers that one resource can have.
    pub finalizers_max: usize,
    /// Rows in a page when the request does not say.
    pub page_size_default: usize,
    /// Most rows in a page; larger wishes are cut down to it (AIP-158).
    pub page_size_max: usize,
    /// A page ends early when its rows reach this many bytes.
    pub page_bytes_max: usize,
    /// Most names in one batch get.
    pub batch_get_max: usize,
    /// Longest `filter` or `order_by`, in bytes.
    pub filter_bytes_max: usize,
    /// Most changes in one watch message.
    pub watch_chunk_max: usize,
    /// Changes kept for one slow watch before it re-reads the log instead.
    pub watch_queue_max: usize,
    /// Most rows of a stateful watch (its page is held in memory).
    pub watch_page_max: usize,
    /// Open watches of one client address.
    pub watches_per_client_max: usize,
    /// An idle watch gets a progress message at least this often.
    pub watch_progress_period: Duration,
    /// Deadline of a unary request that does not bring one, and the longest it may bring.
    pub request_deadline: Duration,
    /// How often a write that lost a race and has no precondition is tried again.
    pub write_attempts_max: usize,
    /// Longest `request_id`, in bytes.
    pub request_id_bytes_max: usize,
    /// How long the answer to a `request_id` is kept.
    pub request_id_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 4 << 20,
            resource_bytes_max: 1 << 20,
            references_max: 4_096,
            finalizers_max: 64,
            page_size_default: 100,
            page_size_max: 1_000,
            page_bytes_max: 3 << 20,
            batch_get_max: 1_000,
            filter_bytes_max: 8 << 10,
            watch_chunk_max: 100,
            watch_queue_max: 1_024,
            watch_page_max: 1_000,
            watches_per_client_max: 1_000,
            watch_progress_period: Duration::from_secs(5),
            request_deadline: Duration::from_secs(30),
            write_attempts_max: 16,
            request_id_bytes_max: 128,
            request_id_lifetime: Duration::from_secs(24 * 3600),
        }
    }
}
