//! Names of the headers that travel with a request or an answer between deployments, and to and from clients.
//!
//! All lower-case. What the engine is told of a request is [`KEPT`]; what those headers mean is said where they are used.

/// The proof of which deployment calls; added by whoever implements `Peers`, never seen by the engine.
pub const CALLER: &str = "bowline-caller";
/// `1`: forwarded once, never to be forwarded again. Only from deployments.
pub const FORWARDED: &str = "bowline-forwarded";
/// `1`: answer from this deployment alone. Only from deployments.
pub const LOCAL: &str = "bowline-local";
/// `1`, beside [`LOCAL`]: answer with rows and their places in the list, to be merged. Only from deployments.
pub const PART: &str = "bowline-part";
/// Of answers: what a write has made true. Of requests: what a read must not be older than.
pub const CONSISTENCY_TOKEN: &str = "bowline-consistency-token";
/// Of answers: regions that a list could not ask, with commas between.
pub const UNREACHABLE: &str = "bowline-unreachable";
/// Which request this is, in the logs of all who take part; made where it is missing.
pub const REQUEST_ID: &str = "x-request-id";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Whether a client wants answers that are not older than its request.
pub const CACHE_CONTROL: &str = "cache-control";

/// Who the user is; for the user's own code, nothing in Bowline looks at it yet.
pub const AUTHORIZATION: &str = "authorization";

/// Request headers that the engine is told; the ones of [`DEPLOYMENTS_ONLY`] are refused from anybody else.
pub const KEPT: [&str; 8] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    TRACEPARENT,
    REQUEST_ID,
    FORWARDED,
    LOCAL,
    PART,
    CONSISTENCY_TOKEN,
];

/// Request headers that only identified deployments may send.
pub const DEPLOYMENTS_ONLY: [&str; 3] = [FORWARDED, LOCAL, PART];
