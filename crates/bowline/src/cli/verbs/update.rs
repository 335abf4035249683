//! `bowline update`: chosen fields of one resource.

use std::io::Write;
use std::sync::Arc;

use bowline_schema::model::ResourceType;
use prost_reflect::DynamicMessage;
use serde_json::Value;

use super::super::args::{Format, UpdateArgs};
use super::super::calls::{Options, Session, text};
use super::super::documents::{self, Document};
use super::super::error::Error;
use super::super::fields::{self, FieldPath};
use super::super::print::Printer;
use super::super::{json, set};

pub(crate) async fn run(args: UpdateArgs, out: &mut dyn Write) -> Result<(), Error> {
    let session = super::open(&args.server).await?;
    let version = session.version.as_deref();
    let targets =
        session.catalog.resolve_targets(&args.targets, args.parent.as_deref(), version)?;
    let [(ty, name)] = targets.as_slice() else {
        return Err(Error::Usage { problem: "give one name".to_owned() });
    };
    let (body, paths) = content(&session, &args, ty, &name.text)?;
    let mask = mask(&args, &paths);
    if mask.is_empty() {
        // An empty mask would replace everything.
        let problem = "nothing to change: use --set, --file or --mask".to_owned();
        return Err(Error::Usage { problem });
    }
    let body = if session.updates_by_mask(ty)? {
        body
    } else if args.mask.is_none() {
        let mut whole = session.get(ty, &name.text).await?;
        paths.iter().for_each(|path| path.copy(&body, &mut whole));
        whole
    } else {
        let problem = format!("{} is only updated as a whole, without --mask", ty.kind);
        return Err(Error::Usage { problem });
    };
    let options = Options {
        dry_run: args.dry_run,
        allow_missing: args.allow_missing,
        etag: args.etag.clone(),
        ..Options::default()
    };
    let updated = session.update(ty, body, &mask, &options).await?;
    match (updated, args.output.output) {
        (Some(resource), format) if format != Format::Table => {
            Printer::new(out, Arc::clone(ty), format, session.now()).single(&resource)?;
        }
        _ => {
            let suffix = if args.dry_run { " (dry run)" } else { "" };
            writeln!(out, "{} {} updated{suffix}", ty.kind, name.text)?;
        }
    }
    Ok(out.flush()?)
}

/// The resource as far as file and `--set` give it, and the paths that they give.
fn content(
    session: &Session,
    args: &UpdateArgs,
    ty: &Arc<ResourceType>,
    name: &str,
) -> Result<(DynamicMessage, Vec<FieldPath>), Error> {
    let mut document = read(session, args, ty)?;
    if document.name().is_some_and(|other| other != name) {
        return Err(document.bad(format!("the name in it is not {name}")));
    }
    let mut paths =
        fields::given(&ty.message, &document.fields).map_err(|problem| document.bad(problem))?;
    for path in set::apply(&ty.message, &mut document.fields, &args.body.set)? {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    // The name says which resource it is and is never changed.
    paths.retain(|path| path.mask() != ty.name_field.name());
    let mut body = json::from_value(&ty.message, document.fields.clone())
        .map_err(|problem| document.bad(problem))?;
    body.set_field(&ty.name_field, text(name));
    Ok((body, paths))
}

/// The one document of the file, whose type may be left out; an empty one if there is no file.
fn read(session: &Session, args: &UpdateArgs, ty: &Arc<ResourceType>) -> Result<Document, Error> {
    let Some(file) = &args.body.file else {
        let fields = Value::Object(serde_json::Map::new());
        return Ok(Document { place: "--set".to_owned(), ty: Arc::clone(ty), fields });
    };
    let bad = |problem: &str| Error::BadDocument {
        place: file.display().to_string(),
        problem: problem.to_owned(),
    };
    let mut raw = documents::read(file)?.into_iter();
    match (raw.next(), raw.next()) {
        (Some(raw), None) => {
            documents::identify(&session.catalog, raw, Some(ty), Some(&ty.version))
        }
        (None, _) => Err(bad("there is no document in it")),
        _ => Err(bad("it has several documents")),
    }
}

fn mask(args: &UpdateArgs, paths: &[FieldPath]) -> Vec<String> {
    match &args.mask {
        Some(mask) => {
            mask.split(',').map(|path| path.trim().to_owned()).filter(|p| !p.is_empty()).collect()
        }
        None => paths.iter().map(FieldPath::mask).collect(),
    }
}
