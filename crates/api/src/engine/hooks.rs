//! Hooks: code of the embedding program that defaults or validates a resource before it is saved.

use bowline_base::Status;
use bowline_schema::model::ResourceType;
use prost_reflect::DynamicMessage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveKind {
    Create,
    Update,
}

/// A save that is about to be committed.
pub struct Save<'a> {
    pub kind: SaveKind,
    pub ty: &'a ResourceType,
    pub name: &'a str,
    /// The stored resource; `None` on create.
    pub before: Option<&'a DynamicMessage>,
    /// What will be stored; a hook may change it, except for its name and metadata.
    pub resource: &'a mut DynamicMessage,
}

/// Runs before every save of one kind, after masks are applied and before required fields are checked.
///
/// It may run several times for one request, since a write that lost a race starts over; so it must not have
/// effects elsewhere. An error fails the request and nothing is written.
pub trait Hook: Send + Sync + 'static {
    /// # Errors
    /// The status that the client gets.
    fn before_save(&self, save: &mut Save<'_>) -> Result<(), Status>;
}

impl<F> Hook for F
where
    F: Fn(&mut Save<'_>) -> Result<(), Status> + Send + Sync + 'static,
{
    fn before_save(&self, save: &mut Save<'_>) -> Result<(), Status> {
        self(save)
    }
}
