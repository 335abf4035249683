//! One resource: its name, dynamic value and metadata; masks, filters, orders and tokens over it.
//!
//! Everything here is pure: no I/O, no clock, no randomness of its own. Entry points: [`document::Document`],
//! [`name::parse`], [`filter::Filter`], [`order::Order`], [`mask::Mask`], [`page::PageToken`].

pub mod change;
pub mod convert;
pub mod document;
pub mod filter;
pub mod index;
pub mod mask;
pub mod metadata;
pub mod name;
pub mod order;
pub mod page;
pub mod path;
pub mod reference;
pub mod rules;
pub mod update;
pub mod value;
pub mod view;

#[cfg(test)]
mod fixture;
