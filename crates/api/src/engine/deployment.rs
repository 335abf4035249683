//! One service's running part of the engine: its backend, the reader of its change log, its types, this process in it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bowline_base::{Seams, Status, chain};
use bowline_control::{Bell, Board, Listener};
use bowline_graph::index::REFERENCES;
use bowline_node::Ownership;
use bowline_store::incarnation::{Incarnation, Turn};
use bowline_store::upkeep::{Keeps, READABLE};
use bowline_store::{Backend, Position, Table};

use super::graph::inbound::InboundRows;
use super::graph::suggest::Dropped;
use super::graph::suggested::Leavers;
use super::graph::waits::Waits;
use super::shape::Shape;
use super::{errors, upkeep};
use crate::limits::Limits;
use crate::watch::Hub;

/// A service with its own database, and the hub that feeds all its watches from one reader of the log.
pub struct Deployment {
    pub service: Arc<str>,
    pub backend: Arc<dyn Backend>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) incarnation: Arc<Incarnation>,
    pub(crate) shapes: HashMap<Table, Arc<Shape>>,
    /// Which places changed hands; `None` where there are no other deployments.
    pub(crate) ownership: Option<Arc<Ownership>>,
    /// Changes of inbound parts of shadows that are under way.
    pub(crate) inbound: InboundRows,
    /// What deletions that are not finished wait for.
    pub(crate) waits: Waits,
    /// What commits let go of that is owned elsewhere.
    pub(crate) dropped: Dropped,
    /// Sources that are to be asked whether they still refer to something.
    pub(crate) leavers: Leavers,
    /// The newest commit of this process.
    committed: Mutex<Position>,
    /// Rung by every commit that left work to the controllers.
    bell: Bell,
    /// How it stands with the controllers.
    pub(crate) board: Arc<Board>,
}

impl Deployment {
    pub(crate) fn start(
        service: &str,
        backend: Arc<dyn Backend>,
        ownership: Option<Arc<Ownership>>,
        shapes: HashMap<Table, Arc<Shape>>,
        seams: &Seams,
        limits: &Limits,
    ) -> Arc<Self> {
        let hub = Hub::start(backend.clone(), seams, limits.watch_queue_max);
        let keeps = keeps(&shapes, backend.wants_readable());
        let incarnation = Incarnation::new(backend.clone(), seams.clone(), keeps);
        let deployment = Arc::new(Self {
            service: service.into(),
            backend,
            hub,
            incarnation,
            shapes,
            ownership,
            inbound: InboundRows::default(),
            waits: Waits::default(),
            dropped: Dropped::default(),
            leavers: Leavers::default(),
            committed: Mutex::default(),
            bell: Bell::default(),
            board: Arc::default(),
        });
        upkeep::start(&deployment, seams);
        deployment
    }

    /// Begins a save, before anything is read for it.
    pub(crate) async fn begin(&self) -> Result<Turn, Status> {
        self.incarnation.begin().await.map_err(|error| errors::commit(&error))
    }

    /// Remembers that this process has committed at `position`.
    pub(crate) fn note_commit(&self, position: Position) {
        let mut newest = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = position.max(*newest);
    }

    /// Tells the controllers that a commit has left them work. Nothing depends on it but time.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// Hears whenever [`Deployment::ring`] is called, and when the deployment closes.
    pub(crate) fn bell(&self) -> Listener {
        self.bell.listen()
    }

    /// The API versions whose resources are kept here and can refer to others, in order.
    pub(crate) fn namespaces(&self) -> BTreeSet<Arc<str>> {
        let shapes = self.shapes.values().filter(|shape| shape.has_shadows());
        shapes.map(|shape| shape.table.namespace.clone()).collect()
    }

    /// The kinds that others can refer to, in order.
    pub(crate) fn kinds(&self) -> BTreeSet<Arc<str>> {
        let shapes = self.shapes.values().filter(|shape| shape.has_shadows());
        shapes.map(|shape| shape.table.kind.clone()).collect()
    }

    /// A position that is not before any commit of this process.
    pub(crate) fn written(&self) -> Position {
        let newest = *self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        // A commit that changed nothing noted none of its own; what it found is in the store's head.
        newest.max(*self.backend.head().borrow())
    }

    /// Takes this process out of the store and closes it.
    pub(crate) async fn close(&self) {
        self.bell.close();
        self.dropped.close();
        self.incarnation.close().await;
        if let Err(error) = self.backend.close().await {
            tracing::error!(service = %self.service, error = %chain(&error), "close store");
        }
    }
}

/// What this process derives from every row that it writes.
fn keeps(shapes: &HashMap<Table, Arc<Shape>>, wants_readable: bool) -> Keeps {
    let mut keeps = Keeps::default();
    for (table, shape) in shapes {
        if wants_readable {
            keeps.add(table.clone(), READABLE);
        }
        shape.indexes.iter().for_each(|index| keeps.add(table.clone(), index.name()));
        if shape.has_shadows() {
            keeps.add(table.clone(), REFERENCES);
        }
    }
    keeps
}
