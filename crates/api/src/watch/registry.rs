//! The open watches of a node: how many each client has, and how all of them are told to end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bowline_base::{Reason, Status};
use tokio_util::sync::CancellationToken;

use crate::handler::Context;

/// Counts watches by client address; cheap to clone.
#[derive(Clone)]
pub(crate) struct Watches {
    per_client_max: usize,
    open: Arc<Mutex<HashMap<Arc<str>, usize>>>,
    closing: CancellationToken,
}

/// One open watch; closing is dropping.
pub(crate) struct OpenWatch {
    client: Arc<str>,
    watches: Watches,
}

impl Watches {
    pub(crate) fn new(per_client_max: usize) -> Self {
        Self { per_client_max, open: Arc::default(), closing: CancellationToken::new() }
    }

    /// Takes a place for one more watch of `client`.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` beyond the limit.
    pub(crate) fn open(&self, context: &Context) -> Result<OpenWatch, Status> {
        let client = &context.client;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client.clone()).or_insert(0);
        // Another deployment speaks for many clients, each of whom it has counted itself.
        if context.caller.is_none() && *count >= self.per_client_max {
            let max = self.per_client_max;
            let message = format!("this client has {count} open watches; the limit is {max}");
            return Err(Status::new(Reason::TooManyRequests, message));
        }
        *count += 1;
        Ok(OpenWatch { client: client.clone(), watches: self.clone() })
    }

    /// Completes when the node closes.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    pub(crate) fn close(&self) {
        self.closing.cancel();
    }
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        let mut open = self.watches.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_open_more_than_its_share_and_gets_a_place_back() {
        let watches = Watches::new(2);
        let of = |client: &str| Context { client: client.into(), ..Context::default() };
        let (a, b) = (of("a"), of("b"));
        let first = watches.open(&a).unwrap();
        let _second = watches.open(&a).unwrap();
        assert!(watches.open(&a).is_err());
        let _other = watches.open(&b).unwrap();
        drop(first);
        assert!(watches.open(&a).is_ok());
    }
}
