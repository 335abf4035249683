//! From upgrade files and the types of all versions to [`Upgrade`]s: what is said is checked, what goes without saying is added.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Place, Severity, code};
use crate::model::{ResourceType, ServiceVersion};
use crate::pattern::Pattern;
use crate::upgrade::file::{Named, TypeEntry, UpgradeFile};
use crate::upgrade::names::{self, Side};
use crate::upgrade::{NameRule, TypeRule, Upgrade};

/// How much an input can be asked to say about the names of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// A name that cannot be followed into the next version is an error.
    Everything,
    /// It is a warning, as long as there is no upgrade file for the two versions.
    Warn,
    /// Versions of protos that are not the reader's own: silence.
    Nothing,
}

/// The upgrades of a service, one for each version but the oldest.
pub(crate) fn build(
    versions: &[Arc<ServiceVersion>],
    files: &[UpgradeFile],
    demand: Demand,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Arc<Upgrade>> {
    let pairs: Vec<_> = versions.windows(2).collect();
    let stem = |pair: &[Arc<ServiceVersion>]| format!("{}-{}", pair[0].version, pair[1].version);
    for file in files.iter().filter(|file| pairs.iter().all(|pair| stem(pair) != file.stem)) {
        problems.push(unknown_versions(file, pairs.iter().map(|pair| stem(pair)).collect()));
    }
    let one = |pair: &&[Arc<ServiceVersion>]| {
        let file = files.iter().find(|file| file.stem == stem(pair));
        let builder = Builder { older: &pair[0], newer: &pair[1], file, demand };
        Arc::new(builder.build(problems))
    };
    pairs.iter().map(one).collect()
}

fn unknown_versions(file: &UpgradeFile, pairs: Vec<String>) -> Diagnostic {
    let message = format!(
        "\"{}\" is not `<from>-<to>` of two neighbouring versions of the service",
        file.stem
    );
    let help = if pairs.is_empty() {
        "the service has one version only".to_owned()
    } else {
        let files: Vec<_> = pairs.iter().map(|pair| format!("`{pair}.yaml`")).collect();
        format!(
            "there can be {}; a longer way is put together from these steps",
            files.join(" and ")
        )
    };
    Diagnostic::error(code::UPGRADE_VERSIONS, &Place::file(&file.file), message).help(help)
}

struct Builder<'a> {
    older: &'a ServiceVersion,
    newer: &'a ServiceVersion,
    file: Option<&'a UpgradeFile>,
    demand: Demand,
}

/// A type of the older version and what becomes of it.
struct Pair<'a> {
    older: &'a Arc<ResourceType>,
    newer: &'a Arc<ResourceType>,
    entry: Option<&'a TypeEntry>,
}

impl Builder<'_> {
    fn build(&self, problems: &mut Vec<Diagnostic>) -> Upgrade {
        let pairs = self.pairs(problems);
        let types = pairs.iter().map(|pair| Arc::new(self.type_rule(pair, problems))).collect();
        let olds: BTreeSet<&str> = pairs.iter().map(|pair| pair.older.kind.as_str()).collect();
        let news: BTreeSet<&str> = pairs.iter().map(|pair| pair.newer.kind.as_str()).collect();
        let removed = rest(self.older, &olds);
        let said = |kind: &String| {
            let said = self.file.map(|file| singulars(&file.removed)).unwrap_or_default();
            find(self.older, kind.rsplit('/').next().unwrap_or(kind))
                .is_some_and(|ty| said.contains(ty.singular.as_str()))
        };
        Upgrade {
            older: self.older.version.clone(),
            newer: self.newer.version.clone(),
            types,
            unsaid: removed.iter().filter(|kind| !said(kind)).cloned().collect(),
            removed,
            added: rest(self.newer, &news),
            declared_in: self.file.map(|file| file.file.clone()),
        }
    }

    /// Which types correspond.
    fn pairs(&self, problems: &mut Vec<Diagnostic>) -> Vec<Pair<'_>> {
        let (removed, added) = self.listed(problems);
        if let Some(file) = self.file {
            for (singular, entry) in &file.types {
                self.check_entry(singular, entry, &removed, problems);
            }
        }
        let mut pairs: Vec<Pair<'_>> = Vec::new();
        for older in &self.older.types {
            let entry = self.file.and_then(|file| file.types.get(&older.singular));
            let wanted = entry.and_then(|entry| entry.becomes.as_deref());
            let singular = wanted.unwrap_or(&older.singular);
            let unsaid = wanted.is_none() && added.contains(singular);
            let Some(newer) = find(self.newer, singular).filter(|_| !unsaid) else { continue };
            if removed.contains(older.singular.as_str()) {
                continue;
            }
            if let Some(other) = pairs.iter().find(|pair| pair.newer.kind == newer.kind) {
                let mut place =
                    [entry, other.entry].into_iter().flatten().map(|entry| &entry.place);
                let place = place.next().cloned().unwrap_or_default();
                problems.push(two_types(&place, &other.older.singular, older, newer));
                continue;
            }
            pairs.push(Pair { older, newer, entry });
        }
        pairs
    }

    /// Singulars that are listed as removed and as added; unknown ones are reported.
    fn listed(&self, problems: &mut Vec<Diagnostic>) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let Some(file) = self.file else { return (BTreeSet::new(), BTreeSet::new()) };
        let mut known = |list: &'_ [Named], version: &ServiceVersion| {
            for named in list.iter().filter(|named| find(version, &named.singular).is_none()) {
                problems.push(unknown_type(&named.place, &named.singular, version));
            }
        };
        known(&file.removed, self.older);
        known(&file.added, self.newer);
        (singulars(&file.removed), singulars(&file.added))
    }

    /// An entry of `types` is about a type of the older version that the newer one has too.
    fn check_entry(
        &self,
        singular: &str,
        entry: &TypeEntry,
        removed: &BTreeSet<&str>,
        problems: &mut Vec<Diagnostic>,
    ) {
        if find(self.older, singular).is_none() {
            problems.push(unknown_type(&entry.place, singular, self.older));
            return;
        }
        if removed.contains(singular) {
            let message = format!("\"{singular}\" is removed, and said to become something");
            let help = "take it out of `types` or out of `removed`";
            problems.push(Diagnostic::error(code::UPGRADE_CLASH, &entry.place, message).help(help));
        }
        let target = entry.becomes.as_deref().unwrap_or(singular);
        if find(self.newer, target).is_none() {
            problems.push(unknown_type(&entry.place, target, self.newer));
        }
    }

    fn type_rule(&self, pair: &Pair<'_>, problems: &mut Vec<Diagnostic>) -> TypeRule {
        let sides = (Side::of(pair.older), Side::of(pair.newer));
        let entries = pair.entry.map_or(&[][..], |entry| &entry.names);
        let before = problems.len();
        let mut found = names::declared(&sides, entries, problems);
        let is_fine = problems.len() == before;
        let implied: Vec<NameRule> =
            implied(pair, &found).into_iter().map(NameRule::same).collect();
        found.rules.extend(implied);
        for pattern in found.unsaid(&pair.older.patterns) {
            // What was said and is wrong has been reported.
            if is_fine {
                self.missing(pair, pattern, problems);
            }
        }
        TypeRule {
            older: Arc::clone(pair.older),
            newer: Arc::clone(pair.newer),
            removed: texts(found.bare(&pair.older.patterns, |rule| &rule.older)),
            added: texts(found.bare(&pair.newer.patterns, |rule| &rule.newer)),
            names: found.rules,
        }
    }

    /// A pattern of the older type whose names nothing is said about.
    fn missing(&self, pair: &Pair<'_>, pattern: &Pattern, problems: &mut Vec<Diagnostic>) {
        let severity = match (self.demand, self.file) {
            (Demand::Nothing, _) => return,
            // What could not be read may have said it.
            (_, Some(file)) if file.broken => return,
            (Demand::Warn, None) => Severity::Warning,
            _ => Severity::Error,
        };
        let place = match (pair.entry, self.file) {
            (Some(entry), _) => entry.place.clone(),
            (None, Some(file)) => Place::file(&file.file),
            (None, None) => crate::compare::place(pair.newer),
        };
        let (older, newer) = (&self.older.version, &self.newer.version);
        let message = format!(
            "what becomes of names \"{}\" of \"{}\" in version {newer} is not said: references to them cannot be followed",
            pattern.text, pair.older.kind
        );
        let singular = &pair.older.singular;
        let help = format!(
            "say it in `upgrades/{older}-{newer}.yaml`: `types: {{ {singular}: {{ names: [ {{ from: '{}', to: ... }} ] }} }}`, or `removed: '{}'` there",
            pattern.text, pattern.text
        );
        let problem = Diagnostic::error(code::UPGRADE_MISSING, &place, message).help(help);
        problems.push(Diagnostic { severity, ..problem });
    }
}

/// Kinds of a version that are in no pair.
fn rest(version: &ServiceVersion, paired: &BTreeSet<&str>) -> Vec<String> {
    let kinds = version.types.iter().map(|ty| &ty.kind);
    kinds.filter(|kind| !paired.contains(kind.as_str())).cloned().collect()
}

/// The patterns that both types have, and of which the file says nothing else.
fn implied<'a>(pair: &Pair<'a>, found: &names::Declared) -> Vec<&'a Pattern> {
    let counterpart =
        |pattern: &&Pattern| pair.newer.patterns.iter().any(|new| new.shape() == pattern.shape());
    let spoken_of = |pattern: &&Pattern| found.speaks_of(&pattern.shape());
    pair.older.patterns.iter().filter(counterpart).filter(|pattern| !spoken_of(pattern)).collect()
}

fn singulars(list: &[Named]) -> BTreeSet<&str> {
    list.iter().map(|named| named.singular.as_str()).collect()
}

fn texts<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Vec<String> {
    patterns.into_iter().map(|pattern| pattern.text.clone()).collect()
}

fn find<'a>(version: &'a ServiceVersion, singular: &str) -> Option<&'a Arc<ResourceType>> {
    version.types.iter().find(|ty| ty.singular == singular)
}

fn unknown_type(place: &Place, singular: &str, version: &ServiceVersion) -> Diagnostic {
    let message = format!("version {} has no type \"{singular}\"", version.version);
    let known: Vec<&str> = version.types.iter().map(|ty| ty.singular.as_str()).collect();
    let help = format!("it has {}", known.join(", "));
    Diagnostic::error(code::UPGRADE_TYPE, place, message).help(help)
}

fn two_types(place: &Place, other: &str, ty: &ResourceType, newer: &ResourceType) -> Diagnostic {
    let message = format!(
        "\"{other}\" and \"{}\" of version {} would both become \"{}\"",
        ty.singular, ty.version, newer.singular
    );
    let help = "names could not be told apart on the way back: list one of them in `removed`, or let it become another type";
    Diagnostic::error(code::UPGRADE_CLASH, place, message).help(help)
}
