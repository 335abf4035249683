//! Reading `upgrades/<from>-<to>.yaml`. Whether what it says fits the types is asked in `build`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::diagnostic::{Diagnostic, Place, code};
use crate::upgrade::ContextValue;
use crate::yaml::{self, Extra, Text};

const HELP: &str = "see the keys of upgrade files in docs/upgrades.md";
/// What documents will need, at the top and in a type; taken, and not used yet.
const LATER: [&str; 6] = ["fields", "enums", "defaults", "computed", "dropped", "hook"];

/// An upgrade file as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpgradeFile {
    /// For diagnostics.
    pub(crate) file: String,
    /// The file's name without its ending: `v1alpha2-v1`.
    pub(crate) stem: String,
    /// The types of the older version, by singular.
    pub(crate) types: BTreeMap<String, TypeEntry>,
    /// Singulars of the older version.
    pub(crate) removed: Vec<Named>,
    /// Singulars of the newer version.
    pub(crate) added: Vec<Named>,
    /// It could not be read whole: nothing may be concluded from what is not in it.
    pub(crate) broken: bool,
}

/// A type's singular, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) singular: String,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) struct TypeEntry {
    /// The singular in the newer version, if it is another.
    pub(crate) becomes: Option<String>,
    pub(crate) names: Vec<NameEntry>,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) struct NameEntry {
    pub(crate) form: Form,
    pub(crate) place: Place,
}

/// What an entry says of names; patterns as text.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    Changed { older: String, newer: String, context: BTreeMap<String, ContextValue> },
    Removed { older: String },
    Added { newer: String },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    types: BTreeMap<String, Option<Type>>,
    removed: Vec<String>,
    added: Vec<String>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Type {
    becomes: Option<String>,
    names: Vec<Name>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    from: Option<String>,
    to: Option<String>,
    removed: Option<String>,
    added: Option<String>,
    with: BTreeMap<String, With>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum With {
    Context(String),
    /// `{ field: ... }` and whatever else will be possible.
    Later(BTreeMap<String, IgnoredAny>),
}

impl UpgradeFile {
    /// A file whose text could not be had.
    pub(crate) fn unreadable(file: &str) -> UpgradeFile {
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        UpgradeFile {
            file: file.to_owned(),
            stem: stem(name).unwrap_or(name).to_owned(),
            broken: true,
            ..UpgradeFile::default()
        }
    }
}

/// Where the variables of an entry come from.
enum Taken {
    Now(BTreeMap<String, ContextValue>),
    /// From where nothing is read yet.
    Later,
}

/// Whether a file in a folder of this name is an upgrade.
pub(crate) fn is_upgrade(folder: &str, name: &str) -> bool {
    folder == "upgrades" && stem(name).is_some()
}

fn stem(name: &str) -> Option<&str> {
    name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"))
}

/// Reads a file. One that cannot be read is marked as broken, for its service must not be served without it.
pub(crate) fn parse(file: &str, text: &str, problems: &mut Vec<Diagnostic>) -> UpgradeFile {
    let mut upgrade = UpgradeFile::unreadable(file);
    let read = match yaml::parse::<Option<File>>(file, text) {
        Ok(read) => read.unwrap_or_default(),
        Err(problem) => {
            problems.push(problem);
            return upgrade;
        }
    };
    let before = problems.len();
    let mut reader = Reader { source: Text { file, text, help: HELP }, problems };
    reader.extra(read.extra, &[]);
    upgrade.removed = reader.named("removed", read.removed);
    upgrade.added = reader.named("added", read.added);
    upgrade.types = reader.types(read.types);
    upgrade.broken = problems[before..].iter().any(Diagnostic::is_error);
    upgrade
}

struct Reader<'a> {
    source: Text<'a>,
    problems: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    /// Keys that nothing reads, and those that only later releases do.
    fn extra(&mut self, extra: Extra, path: &[&str]) {
        let (later, unknown): (Extra, Extra) =
            extra.into_iter().partition(|(key, _)| LATER.contains(&key.as_str()));
        self.source.refuse(&unknown, path, self.problems);
        for key in later.keys() {
            let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
            let message = format!("\"{key}\" is not used yet");
            self.later(&self.source.place(&path), message);
        }
    }

    fn later(&mut self, place: &Place, message: String) {
        let help =
            "names and kinds are converted between versions; documents will be by a later release";
        self.problems.push(Diagnostic::warning(code::NOT_USED_YET, place, message).help(help));
    }

    fn named(&self, key: &str, list: Vec<String>) -> Vec<Named> {
        let place = self.source.place(&[key]);
        list.into_iter().map(|singular| Named { singular, place: place.clone() }).collect()
    }

    fn types(&mut self, types: BTreeMap<String, Option<Type>>) -> BTreeMap<String, TypeEntry> {
        let mut entries = BTreeMap::new();
        for (singular, read) in types {
            let read = read.unwrap_or_default();
            let path = ["types", singular.as_str()];
            self.extra(read.extra, &path);
            let place = self.source.place(&path);
            let names = self.names(&singular, read.names);
            entries.insert(singular, TypeEntry { becomes: read.becomes, names, place });
        }
        entries
    }

    fn names(&mut self, singular: &str, names: Vec<Name>) -> Vec<NameEntry> {
        let mut entries = Vec::new();
        // How many entries with this key came before: the place is that of the next one.
        let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
        for read in names {
            let key = match &read {
                Name { from: Some(_), .. } => "from",
                Name { removed: Some(_), .. } => "removed",
                Name { added: Some(_), .. } => "added",
                _ => "to",
            };
            let count = seen.entry(key).or_default();
            *count += 1;
            let mut path = vec!["types", singular, "names"];
            path.extend(std::iter::repeat_n(key, *count));
            let place = self.source.place(&path);
            self.extra_of_name(&read.extra, &path);
            if let Some(form) = self.form(read, &place) {
                entries.push(NameEntry { form, place });
            }
        }
        entries
    }

    fn extra_of_name(&mut self, extra: &Extra, path: &[&str]) {
        self.source.refuse(extra, path, self.problems);
    }

    fn form(&mut self, read: Name, place: &Place) -> Option<Form> {
        let Name { from, to, removed, added, with, extra: _ } = read;
        let has_context = !with.is_empty();
        match (from, to, removed, added) {
            (Some(older), Some(newer), None, None) => match self.context(with, place)? {
                Taken::Now(context) => Some(Form::Changed { older, newer, context }),
                // Until fields are read, names of this form cannot be told: they have no counterpart.
                Taken::Later => Some(Form::Removed { older }),
            },
            (None, None, Some(older), None) if !has_context => Some(Form::Removed { older }),
            (None, None, None, Some(newer)) if !has_context => Some(Form::Added { newer }),
            _ => {
                let message = "an entry of `names` has `from` and `to`, or `removed`, or `added`";
                let help = "`with` goes with `from` and `to`";
                self.problems
                    .push(Diagnostic::error(code::BAD_MANIFEST, place, message).help(help));
                None
            }
        }
    }

    /// Where variables come from; `None`, with a problem, if that is nonsense.
    fn context(&mut self, with: BTreeMap<String, With>, place: &Place) -> Option<Taken> {
        let mut context = Some(BTreeMap::new());
        let mut is_later = false;
        for (variable, value) in with {
            match value {
                With::Context(text) if text == ContextValue::ControlRegion.text() => {
                    if let Some(context) = &mut context {
                        context.insert(variable, ContextValue::ControlRegion);
                    }
                }
                With::Context(text) => {
                    let message = format!("`{variable}` cannot be taken from \"{text}\"");
                    let help = "`control_region` can be; a fixed text is written into the pattern";
                    self.problems
                        .push(Diagnostic::error(code::BAD_MANIFEST, place, message).help(help));
                    context = None;
                }
                With::Later(keys) => {
                    is_later = true;
                    let from = keys.keys().next().map_or("nothing", String::as_str);
                    let message = format!(
                        "to take `{variable}` from a \"{from}\" is not used yet: names of this form have no counterpart"
                    );
                    self.later(place, message);
                }
            }
        }
        let context = context?;
        Some(if is_later { Taken::Later } else { Taken::Now(context) })
    }
}
