//! `bowline delete`: resources by name, one after another in the order given; and what became of those that are not gone yet.

use std::io::Write;
use std::sync::Arc;

use bowline_resource::document::Document;
use bowline_schema::model::{MetadataPlace, ResourceType};
use prost_reflect::DynamicMessage;

use super::super::args::DeleteArgs;
use super::super::calls::{Options, Session};
use super::super::error::{Error, Tally};
use super::super::say;

pub(crate) async fn run(args: DeleteArgs, out: &mut dyn Write) -> Result<(), Error> {
    let session = super::open(&args.server).await?;
    let version = session.version.as_deref();
    let targets =
        session.catalog.resolve_targets(&args.targets, args.parent.as_deref(), version)?;
    if args.etag.is_some() && targets.len() > 1 {
        return Err(Error::Usage { problem: "--etag is for one resource".to_owned() });
    }
    let options = Options {
        dry_run: args.dry_run,
        allow_missing: args.allow_missing,
        force: args.force,
        etag: args.etag,
    };
    let is_single = targets.len() == 1;
    let mut tally = Tally::default();
    for (ty, name) in targets {
        let word = match session.delete(&ty, &name.text, &options).await {
            Ok(()) if args.dry_run => "deleted (dry run)".to_owned(),
            Ok(()) => what_became(&session, &ty, &name.text).await,
            Err(error) if args.allow_missing && error.is_not_found() => "was not there".to_owned(),
            Err(error) if is_single => return Err(error),
            Err(error) => {
                say::failure(&error);
                tally.failed(&error);
                continue;
            }
        };
        tally.done();
        writeln!(out, "{} {} {word}", ty.kind, name.text)?;
        out.flush()?;
    }
    tally.finish()
}

/// What a deletion that succeeded has come to. Whether a type is deleted at once is known to its server only, so it is asked;
/// one that does not answer has deleted it all the same.
async fn what_became(session: &Session, ty: &Arc<ResourceType>, name: &str) -> String {
    let left = match can_be_marked(ty) {
        true => session.get(ty, name).await.ok().and_then(|left| told(ty, left)),
        false => None,
    };
    left.unwrap_or_else(|| "deleted".to_owned())
}

fn can_be_marked(ty: &ResourceType) -> bool {
    let has_lifecycle = match &ty.metadata {
        MetadataPlace::Inside(field) => {
            let kind = field.kind();
            kind.as_message().is_some_and(|meta| meta.get_field_by_name("lifecycle").is_some())
        }
        _ => false,
    };
    has_lifecycle || ty.standard.delete_time.is_some()
}

/// What a resource that is still there waits for; `None` for a namesake that was made since.
fn told(ty: &Arc<ResourceType>, left: DynamicMessage) -> Option<String> {
    let has_time = ty.standard.delete_time.as_ref().is_some_and(|time| left.has_field(time));
    let meta = Document::new(ty.clone(), left).meta();
    let is_deleting = has_time || meta.is_deleting();
    is_deleting.then(|| match meta.finalizers.join(", ") {
        held if held.is_empty() => "is being deleted; gone when nothing refers to it".to_owned(),
        held => format!("is being deleted; gone when its finalizers are removed: {held}"),
    })
}
