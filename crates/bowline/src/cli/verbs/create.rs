//! `bowline create`: new resources, from a file, from `--set`, or both.

use std::io::Write;
use std::sync::Arc;

use bowline_schema::model::ResourceType;
use serde_json::Value;

use super::super::args::{CreateArgs, Format};
use super::super::calls::{Options, Session, place_for};
use super::super::documents::{self, Document};
use super::super::error::{Error, Tally};
use super::super::print::Printer;
use super::super::{fields, json, say, set};

pub(crate) async fn run(args: CreateArgs, out: &mut dyn Write) -> Result<(), Error> {
    let session = super::open(&args.server).await?;
    let version = session.version.as_deref();
    let ty = match &args.kind {
        Some(kind) => Some(session.catalog.resolve_type(kind, version)?),
        None => None,
    };
    let documents = read(&session, &args, ty.as_ref())?;
    if let [document] = documents.as_slice() {
        return create(&session, &args, document, out).await;
    }
    if args.id.is_some() {
        let problem = "--id is for one resource; the file has several".to_owned();
        return Err(Error::Usage { problem });
    }
    let mut tally = Tally::default();
    for document in &documents {
        match create(&session, &args, document, out).await {
            Ok(()) => tally.done(),
            Err(error) if error.is_broken_pipe() => return Err(error),
            Err(error) => {
                say::failure_at(&document.place, &error);
                tally.failed(&error);
            }
        }
    }
    tally.finish()
}

/// The documents of the file, or an empty one to set fields in.
fn read(
    session: &Session,
    args: &CreateArgs,
    ty: Option<&Arc<ResourceType>>,
) -> Result<Vec<Document>, Error> {
    let version = session.version.as_deref();
    let Some(file) = &args.body.file else {
        let ty = ty.ok_or_else(|| Error::Usage { problem: "say the type to create".to_owned() })?;
        let fields = Value::Object(serde_json::Map::new());
        return Ok(vec![Document { place: "--set".to_owned(), ty: Arc::clone(ty), fields }]);
    };
    let raw = documents::read(file)?;
    if raw.is_empty() {
        let problem = "there is no document in it".to_owned();
        return Err(Error::BadDocument { place: file.display().to_string(), problem });
    }
    raw.into_iter().map(|raw| documents::identify(&session.catalog, raw, ty, version)).collect()
}

async fn create(
    session: &Session,
    args: &CreateArgs,
    document: &Document,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let ty = &document.ty;
    let mut document = document.clone();
    set::apply(&ty.message, &mut document.fields, &args.body.set)?;
    let place = place_for(ty, document.name(), args.parent.as_deref(), args.id.as_deref())?;
    fields::given(&ty.message, &document.fields).map_err(|problem| document.bad(problem))?;
    let body = json::from_value(&ty.message, document.fields.clone())
        .map_err(|problem| document.bad(problem))?;
    let options = Options { dry_run: args.dry_run, ..Options::default() };
    let created = session.create(ty, &place, body, &options).await?;
    let suffix = if args.dry_run { " (dry run)" } else { "" };
    match (created, args.output.output) {
        (Some(resource), Format::Table) => {
            let name = super::super::print::name_of(ty, &resource);
            writeln!(out, "{} {name} created{suffix}", ty.kind)?;
        }
        (Some(resource), format) => {
            Printer::new(out, Arc::clone(ty), format, session.now()).single(&resource)?;
        }
        (None, _) => {
            writeln!(out, "{} {} created{suffix}", ty.kind, place.name.unwrap_or_default())?
        }
    }
    Ok(out.flush()?)
}
