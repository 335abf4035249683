//! `bowline apply`: makes resources be as documents say, creating or updating as needed.
//!
//! All documents are read and checked before the first write. Fields that a document leaves out stay as they are, so that
//! applying twice changes nothing the second time.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use bowline_schema::model::ResourceType;
use prost_reflect::DynamicMessage;
use serde_json::json;

use super::super::apply_order;
use super::super::args::{ApplyArgs, Format};
use super::super::calls::{Options, Session, place_for, text};
use super::super::documents::{self, Document};
use super::super::error::{Error, Tally};
use super::super::fields::{self, FieldPath};
use super::super::print;
use super::super::{json as proto_json, say};

pub(crate) async fn run(args: ApplyArgs, out: &mut dyn Write) -> Result<(), Error> {
    let session = super::open(&args.server).await?;
    apply(&session, &args.files, args.dry_run, args.output.output, out).await
}

/// A document that can be applied: it has a name, and its fields fit the type.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) document: Document,
    pub(crate) name: String,
    pub(crate) body: DynamicMessage,
    /// What the document says, without what only the server writes.
    paths: Vec<FieldPath>,
}

/// How documents are applied.
struct Mode {
    dry_run: bool,
    /// Full names of all that the documents are about.
    planned: BTreeSet<String>,
}

impl Mode {
    /// A dry run makes nothing, so what another document brings is taken for being there.
    fn tolerate<T>(&self, written: Result<T, Error>) -> Result<(), Error> {
        match written {
            Err(error) if self.dry_run && error.misses_only(&self.planned) => Ok(()),
            written => written.map(|_| ()),
        }
    }
}

impl Wanted {
    /// `//iam.example.com/projects/p`.
    fn full_name(&self) -> String {
        format!("//{}/{}", self.document.ty.service, self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Created,
    /// With the paths that differed.
    Updated(Vec<String>),
    Unchanged,
}

/// Applies everything in `files`; prints a line for each resource, as soon as it is done.
pub(crate) async fn apply(
    session: &Session,
    files: &[PathBuf],
    dry_run: bool,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let wanted = apply_order::sort(read(session, files)?);
    let mode = Mode { dry_run, planned: wanted.iter().map(Wanted::full_name).collect() };
    let mut results = Results::new(format, dry_run);
    let mut tally = Tally::default();
    for wanted in wanted {
        match apply_one(session, &wanted, &mode).await {
            Ok(outcome) => {
                tally.done();
                results.add(out, &wanted, outcome)?;
            }
            Err(error) => {
                say::failure_at(&wanted.document.place, &error);
                tally.failed(&error);
            }
        }
    }
    results.finish(out)?;
    tally.finish()
}

/// Reads and checks all documents; reports every bad one.
fn read(session: &Session, files: &[PathBuf]) -> Result<Vec<Wanted>, Error> {
    let mut wanted = Vec::new();
    let mut bad = Vec::new();
    for file in files {
        for raw in documents::read(file)? {
            let version = session.version.as_deref();
            let checked = documents::identify(&session.catalog, raw, None, version).and_then(check);
            match checked {
                Ok(checked) => wanted.push(checked),
                Err(error) => bad.push(error),
            }
        }
    }
    let total = bad.len() + wanted.len();
    match bad.len() {
        0 if total == 0 => Err(Error::BadDocument {
            place: files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", "),
            problem: "there is no document in it".to_owned(),
        }),
        0 => Ok(wanted),
        1 => Err(bad.remove(0)),
        count => {
            bad.iter().for_each(say::failure);
            Err(Error::BadDocuments { bad: count, total })
        }
    }
}

fn check(document: Document) -> Result<Wanted, Error> {
    let ty = &document.ty;
    let name = document.name().ok_or_else(|| document.bad("has no name"))?.to_owned();
    let parsed = bowline_resource::name::parse(ty, &name);
    let parsed = parsed.map_err(|error| document.bad(bowline_base::chain(&error).to_string()))?;
    let given =
        fields::given(&ty.message, &document.fields).map_err(|problem| document.bad(problem))?;
    let mut body = proto_json::from_value(&ty.message, document.fields.clone())
        .map_err(|problem| document.bad(problem))?;
    body.set_field(&ty.name_field, text(&parsed.text));
    let paths = given.into_iter().filter(|path| is_ours(ty, path)).collect();
    Ok(Wanted { name: parsed.text, document, body, paths })
}

/// Neither the name, nor the etag (a condition, no content), nor anything that only the server writes.
fn is_ours(ty: &ResourceType, path: &FieldPath) -> bool {
    let is_etag = ty.standard.etag.as_ref().is_some_and(|field| path.is_within(field.name()));
    let is_output = ty.fields.output_only.iter().any(|rule| path.is_within(rule));
    !is_etag
        && !is_output
        && !fields::is_kept_by_server(ty, &path.fields)
        && !path.is_within(ty.name_field.name())
}

async fn apply_one(session: &Session, wanted: &Wanted, mode: &Mode) -> Result<Outcome, Error> {
    let ty = &wanted.document.ty;
    match session.get(ty, &wanted.name).await {
        Ok(current) => update(session, wanted, &current, mode).await,
        Err(error) if error.is_not_found() => match create(session, wanted, mode).await {
            // Somebody else was faster; then it is to be updated.
            Err(error) if error.is_already_exists() => {
                let current = session.get(ty, &wanted.name).await?;
                update(session, wanted, &current, mode).await
            }
            created => created,
        },
        Err(error) => Err(error),
    }
}

async fn create(session: &Session, wanted: &Wanted, mode: &Mode) -> Result<Outcome, Error> {
    let ty = &wanted.document.ty;
    let place = place_for(ty, Some(&wanted.name), None, None)?;
    let options = Options { dry_run: mode.dry_run, ..Options::default() };
    mode.tolerate(session.create(ty, &place, wanted.body.clone(), &options).await)?;
    Ok(Outcome::Created)
}

async fn update(
    session: &Session,
    wanted: &Wanted,
    current: &DynamicMessage,
    mode: &Mode,
) -> Result<Outcome, Error> {
    let ty = &wanted.document.ty;
    let changed: Vec<_> =
        wanted.paths.iter().filter(|path| path.get(&wanted.body) != path.get(current)).collect();
    if changed.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    let masks: Vec<_> = changed.iter().map(|path| path.mask()).collect();
    let body = if session.updates_by_mask(ty)? {
        wanted.body.clone()
    } else {
        let mut whole = current.clone();
        changed.iter().for_each(|path| path.copy(&wanted.body, &mut whole));
        whole
    };
    let options = Options { dry_run: mode.dry_run, etag: etag(wanted), ..Options::default() };
    mode.tolerate(session.update(ty, body, &masks, &options).await)?;
    Ok(Outcome::Updated(masks))
}

/// The etag that the document carries: it says that the document was made from that state.
fn etag(wanted: &Wanted) -> Option<String> {
    let field = wanted.document.ty.standard.etag.as_ref()?;
    let value = wanted.body.get_field(field);
    value.as_str().filter(|etag| !etag.is_empty()).map(str::to_owned)
}

/// What became of the documents, printed as asked.
struct Results {
    format: Format,
    dry_run: bool,
    entries: Vec<serde_json::Value>,
    created: usize,
    updated: usize,
    unchanged: usize,
}

impl Results {
    fn new(format: Format, dry_run: bool) -> Self {
        Self { format, dry_run, entries: Vec::new(), created: 0, updated: 0, unchanged: 0 }
    }

    fn add(&mut self, out: &mut dyn Write, wanted: &Wanted, outcome: Outcome) -> Result<(), Error> {
        let (word, fields) = match outcome {
            Outcome::Created => ("created", Vec::new()),
            Outcome::Updated(fields) => ("updated", fields),
            Outcome::Unchanged => ("unchanged", Vec::new()),
        };
        match word {
            "created" => self.created += 1,
            "updated" => self.updated += 1,
            _ => self.unchanged += 1,
        }
        let kind = &wanted.document.ty.kind;
        let suffix = if self.dry_run { " (dry run)" } else { "" };
        match self.format {
            Format::Table => writeln!(out, "{kind} {} {word}{suffix}", wanted.name)?,
            Format::Wide if fields.is_empty() => {
                writeln!(out, "{kind} {} {word}{suffix}", wanted.name)?
            }
            Format::Wide => {
                writeln!(out, "{kind} {} {word}{suffix}: {}", wanted.name, fields.join(", "))?;
            }
            Format::Name => writeln!(out, "{}", wanted.name)?,
            Format::Json | Format::Yaml => {
                let version = &wanted.document.ty.version;
                self.entries.push(json!({
                    "kind": kind, "apiVersion": version, "name": wanted.name, "result": word, "fields": fields,
                }));
            }
        }
        Ok(out.flush()?)
    }

    fn finish(self, out: &mut dyn Write) -> Result<(), Error> {
        let results = json!({ "results": self.entries });
        match self.format {
            Format::Json => writeln!(out, "{}", print::pretty(&results, 0))?,
            Format::Yaml => write!(out, "{}", print::yaml(&results)?)?,
            Format::Table | Format::Wide if self.created + self.updated + self.unchanged > 1 => {
                say::line(&format!(
                    "{} created, {} updated, {} unchanged",
                    self.created, self.updated, self.unchanged
                ));
            }
            _ => {}
        }
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::catalog;
    use super::*;

    fn wanted(text: &str) -> Result<Wanted, Error> {
        let raw = documents::parse("f.yaml", text)?.remove(0);
        check(documents::identify(catalog(), raw, None, None)?)
    }

    #[test]
    fn what_only_the_server_writes_is_not_compared() {
        let text = "kind: devices.example.com/Device\nname: projects/p/devices/d\n\
            displayName: x\nmetadata: {createTime: 2026-01-01T00:00:00Z, labels: {a: b}}\n\
            status: {phase: PHASE_READY}\n";
        let paths: Vec<_> = wanted(text).unwrap().paths.iter().map(FieldPath::mask).collect();
        assert_eq!(paths, ["display_name", "metadata.labels"]);
    }

    #[test]
    fn a_document_needs_a_name_of_its_type() {
        let error = wanted("kind: devices.example.com/Device\ndisplayName: x\n").unwrap_err();
        assert_eq!(error.to_string(), "f.yaml: has no name");
        let error = wanted("kind: devices.example.com/Device\nname: projects/p\n").unwrap_err();
        assert!(matches!(error, Error::BadDocument { .. }));
    }

    #[test]
    fn a_field_of_the_wrong_type_is_refused_before_anything_is_sent() {
        let text =
            "kind: devices.example.com/Device\nname: projects/p/devices/d\nspec: {port: many}\n";
        assert!(matches!(wanted(text).unwrap_err(), Error::BadDocument { .. }));
    }
}
