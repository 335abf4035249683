//! One service's running part of the engine: its backend and the reader of its change log.

use std::sync::Arc;

use bowline_base::Seams;
use bowline_store::Backend;

use crate::limits::Limits;
use crate::watch::Hub;

/// A service with its own database, and the hub that feeds all its watches from one reader of the log.
pub struct Deployment {
    pub service: Arc<str>,
    pub backend: Arc<dyn Backend>,
    pub(crate) hub: Arc<Hub>,
}

impl Deployment {
    pub(crate) fn start(
        service: &str,
        backend: Arc<dyn Backend>,
        seams: &Seams,
        limits: &Limits,
    ) -> Arc<Self> {
        let hub = Hub::start(backend.clone(), seams, limits.watch_queue_max);
        Arc::new(Self { service: service.into(), backend, hub })
    }
}
