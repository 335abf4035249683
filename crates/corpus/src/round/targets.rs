//! What a generated resource refers to has to be there: its parent, and what its reference fields name. Many of these types
//! cannot be created by anybody, so they are put straight into the store.

use std::sync::Arc;

use bowline_base::chain;
use bowline_graph::index::mark_active;
use bowline_graph::{Aside, Entry, References, TargetName};
use bowline_resource::document::Document;
use bowline_resource::reference::clear;
use bowline_schema::model::ResourceType;
use bowline_store::{
    Batch, CommitError, Condition, Extract, Key, NameRange, Row, RowId, Write, layout,
};
use prost_reflect::DynamicMessage;

use super::World;
use super::calls::Failure;

/// Most rows that rounds leave in one table.
const ROWS_MAX: usize = 10_000;

/// Takes away what rounds of other types have put into the table of this one.
pub(super) async fn make_room(world: &World, ty: &ResourceType) -> Result<(), Failure> {
    let told = |error: &dyn std::error::Error| {
        Failure::Wrong(format!("empty the table of {}: {error}", ty.kind))
    };
    let Some(backend) = world.backends.get(&ty.service) else { return Ok(()) };
    let table = layout::resources(&ty.version, &ty.kind);
    let mut snapshot = backend.snapshot().await.map_err(|error| told(&error))?;
    let range = NameRange::all(table.clone());
    let rows = snapshot.scan(&range, ROWS_MAX, false).await.map_err(|error| told(&error))?;
    let removals = rows.into_iter().map(|(name, _)| {
        let key = Key { table: table.clone(), name };
        Write::Remove { key }
    });
    let batch = Batch { conditions: Vec::new(), writes: removals.collect() };
    backend.commit(batch).await.map(drop).map_err(|error| told(&error))
}

/// Clears the references of a resource to others of its own type, which would show in the lists of its round.
pub(super) fn clear_own_kind(world: &World, ty: &Arc<ResourceType>, resource: &mut DynamicMessage) {
    let references = References::of_type(world.engine.registry(), ty);
    let document = Document::new(ty.clone(), resource.clone());
    let own = |entry: &Entry| *entry.target.kind == *ty.kind && !entry.path.is_empty();
    for entry in references.of_document(&document).iter().filter(|entry| own(entry)) {
        clear(resource, &entry.path, &|_| true);
    }
}

/// Puts all that a resource of this name would refer to into the stores, where it is not there yet.
pub(super) async fn plant(
    world: &World,
    ty: &Arc<ResourceType>,
    name: &str,
    resource: &DynamicMessage,
) -> Result<(), Failure> {
    let references = References::of_type(world.engine.registry(), ty);
    let mut document = Document::new(ty.clone(), resource.clone());
    document.set_name(name);
    for entry in references.of_document(&document) {
        let is_itself = *entry.target.kind == *ty.kind && *entry.target.name == *name;
        if !is_itself {
            plant_one(world, &entry.target).await?;
        }
    }
    Ok(())
}

async fn plant_one(world: &World, target: &TargetName) -> Result<(), Failure> {
    let registry = world.engine.registry();
    let (ty, backend) = match (
        registry.resource_type(&target.kind, &target.version),
        world.backends.get(target.service()),
    ) {
        (Some(ty), Some(backend)) => (ty, backend),
        _ => return Err(Failure::Wrong(format!("nothing is known of {target}"))),
    };
    let key =
        Key { table: layout::resources(&target.version, &target.kind), name: target.name.clone() };
    let mut document = Document::new(ty.clone(), DynamicMessage::new(ty.message.clone()));
    document.set_name(&*target.name);
    let (body, metadata) = document.encode();
    let aside = Aside { metadata, references: Vec::new() }.encode();
    let id = RowId(world.seams.new_uid().as_u128());
    // Above any version that the name ever had.
    let version = backend.head().borrow().sequence + 1;
    let extract = mark_active(Extract::builder(), id).build();
    let row = Row { id, aside, extract, ..Row::new(version, body) };
    let batch = Batch {
        conditions: vec![Condition::RowAbsent { key: key.clone() }],
        writes: vec![Write::put(key, row)],
    };
    match backend.commit(batch).await {
        Ok(_) | Err(CommitError::ConditionFailed { .. }) => Ok(()),
        Err(error) => Err(Failure::Wrong(format!("plant {target}: {}", chain(&error)))),
    }
}
