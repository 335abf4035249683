//! Resources made up from their schema: valid, filled as far as sensible, and the same in every run.
//!
//! Names are in [`names`], values of fields in [`values`], and which fields a test may change or filter by in [`pick`].

pub mod names;
pub mod pick;
pub mod values;

use std::collections::HashMap;

use bowline_schema::model::{MetadataPlace, Registry, ResourceType, Target};

/// What the generator knows about one type.
pub struct Plan<'a> {
    pub registry: &'a Registry,
    pub ty: &'a ResourceType,
    /// Path of every reference field, with what it may name.
    references: HashMap<&'a str, &'a Target>,
}

impl<'a> Plan<'a> {
    pub fn new(registry: &'a Registry, ty: &'a ResourceType) -> Self {
        let references = ty.references.iter().map(|r| (r.path.as_str(), &r.target)).collect();
        Self { registry, ty, references }
    }

    /// The server sets the field at this path, or something above it, by itself.
    pub fn is_output_only(&self, path: &str) -> bool {
        covers(&self.ty.fields.output_only, path)
    }

    pub fn is_immutable(&self, path: &str) -> bool {
        covers(&self.ty.fields.immutable, path)
    }

    pub fn is_input_only(&self, path: &str) -> bool {
        covers(&self.ty.fields.input_only, path)
    }

    pub fn is_required(&self, path: &str) -> bool {
        self.ty.fields.required.iter().any(|p| p == path)
    }

    pub fn reference(&self, path: &str) -> Option<&'a Target> {
        self.references.get(path).copied()
    }

    /// Name, metadata and the standard fields that the server fills: no test writes them.
    pub fn is_managed(&self, path: &str) -> bool {
        let top = path.split('.').next().unwrap_or(path);
        let standard = &self.ty.standard;
        let managed = [
            &standard.uid,
            &standard.etag,
            &standard.create_time,
            &standard.update_time,
            &standard.delete_time,
            &standard.reconciling,
        ];
        let metadata = match &self.ty.metadata {
            MetadataPlace::Inside(field) => field.name() == top,
            MetadataPlace::Beside | MetadataPlace::None => false,
        };
        metadata
            || self.ty.name_field.name() == top
            || managed.iter().any(|field| field.as_ref().is_some_and(|f| f.name() == top))
    }
}

/// Whether `path` or something above it is in the list.
fn covers(list: &[String], path: &str) -> bool {
    list.iter().any(|listed| {
        path.strip_prefix(listed.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests;
