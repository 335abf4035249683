//! `bowline get`: resources by name.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use bowline_schema::model::ResourceType;
use prost_reflect::DynamicMessage;

use super::super::args::{Format, GetArgs};
use super::super::calls::Session;
use super::super::error::{Error, Tally};
use super::super::print::Printer;
use super::super::say;

pub(crate) async fn run(args: GetArgs, out: &mut dyn Write) -> Result<(), Error> {
    let session = super::open(&args.server).await?;
    let version = session.version.as_deref();
    let targets =
        session.catalog.resolve_targets(&args.targets, args.parent.as_deref(), version)?;
    let now = session.now();
    if let [(ty, name)] = targets.as_slice() {
        let resource = session.get(ty, &name.text).await?;
        return Printer::new(out, Arc::clone(ty), args.output.output, now).single(&resource);
    }
    let mut tally = Tally::default();
    let mut found = Vec::new();
    for (ty, name) in targets {
        match session.get(&ty, &name.text).await {
            Ok(resource) => {
                tally.done();
                found.push((ty, resource));
            }
            Err(error) => {
                say::failure(&error);
                tally.failed(&error);
            }
        }
    }
    print(&session, found, args.output.output, out)?;
    tally.finish()
}

/// One table for each type, in the order in which the types were first asked for.
fn print(
    session: &Session,
    found: Vec<(Arc<ResourceType>, DynamicMessage)>,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut order: Vec<Arc<ResourceType>> = Vec::new();
    let mut groups: BTreeMap<(String, String), Vec<DynamicMessage>> = BTreeMap::new();
    for (ty, resource) in found {
        let group = groups.entry((ty.kind.clone(), ty.version.clone())).or_default();
        if group.is_empty() {
            order.push(ty);
        }
        group.push(resource);
    }
    let separator = match format {
        Format::Yaml => "---\n",
        Format::Table | Format::Wide => "\n",
        Format::Json | Format::Name => "",
    };
    for (index, ty) in order.into_iter().enumerate() {
        if index > 0 {
            write!(out, "{separator}")?;
        }
        let resources = groups.remove(&(ty.kind.clone(), ty.version.clone())).unwrap_or_default();
        let mut printer = Printer::new(out, ty, format, session.now());
        printer.page(&resources)?;
        printer.finish("")?;
    }
    Ok(())
}
