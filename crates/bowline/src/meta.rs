//! What the meta service does beside storing: the methods by which deployments are upgraded, and fields that follow from names.
//!
//! The states of an upgrade are pure and elsewhere (`bowline_node::upgrade_state`); here they are read from a stored
//! `Deployment` and written back, on the node that owns it. A node that loads the meta service registers both
//! [`actions`] and [`hooks`].

mod derived;
mod upgrade;

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_api::engine::{Action, Hook};

/// Handlers of the methods that are not standard, by path.
pub fn actions() -> BTreeMap<String, Arc<dyn Action>> {
    upgrade::actions()
}

/// Hooks by kind.
pub fn hooks() -> BTreeMap<String, Vec<Arc<dyn Hook>>> {
    derived::hooks()
}

#[cfg(test)]
mod tests;
