//! `bowline delete`: resources by name, one after another in the order given.

use std::io::Write;

use super::super::args::DeleteArgs;
use super::super::calls::Options;
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
            Ok(()) if args.dry_run => "deleted (dry run)",
            Ok(()) => "deleted",
            Err(error) if args.allow_missing && error.is_not_found() => "was not there",
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
