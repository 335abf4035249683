//! Finding the services, versions and resource types in a compiled unit.
//!
//! What comes out are drafts: everything about a type that can be told without looking at other services.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use crate::borrowed;
use crate::diagnostic::{Diagnostic, Place, Severity, code};
use crate::id_pattern;
use crate::imports::FileSet;
use crate::manifest::{Manifest, ResourceSpec, VersionSpec};
use crate::options::{self, MessageOptions, ResourceDescriptor, behavior};
use crate::pattern::Pattern;
use crate::place;
use crate::skeleton::{Age, NamingIndex, version_age};
use crate::words;

/// One version of a service, before types are linked to each other.
#[derive(Debug)]
pub(crate) struct VersionDraft {
    pub(crate) service: String,
    pub(crate) version: String,
    /// The package, or for bare protos the one up to the version, which all packages of the version begin with.
    pub(crate) package: String,
    pub(crate) files: BTreeSet<String>,
    /// The files whose methods belong here if they are bound to no type.
    pub(crate) owns: BTreeSet<String>,
    pub(crate) types: Vec<TypeDraft>,
    pub(crate) imports: BTreeMap<String, Option<String>>,
    pub(crate) region_collection: String,
    pub(crate) http_prefix: String,
    /// Something in it did not compile, or a manifest error: it must not be served.
    pub(crate) broken: bool,
    pub(crate) place: Place,
}

/// A resource type, before it is linked.
#[derive(Debug)]
pub(crate) struct TypeDraft {
    pub(crate) kind: String,
    pub(crate) singular: String,
    /// UpperCamel.
    pub(crate) plural: String,
    pub(crate) message: MessageDescriptor,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) name_field: FieldDescriptor,
    pub(crate) id_pattern: Option<String>,
    pub(crate) spec: ResourceSpec,
    pub(crate) options: MessageOptions,
    pub(crate) place: Place,
}

/// What a scan works with.
pub(crate) struct Scan<'a> {
    pub(crate) pool: &'a DescriptorPool,
    pub(crate) set: &'a FileSet,
    pub(crate) failed: &'a BTreeSet<String>,
    pub(crate) naming: &'a NamingIndex,
    /// How bad it is if a type cannot be served: fatal with a manifest, which the author can mend; otherwise the type is left out.
    pub(crate) severity: Severity,
}

impl Scan<'_> {
    /// The versions of the service that the manifest describes.
    pub(crate) fn with_manifest(
        &self,
        manifest: &Manifest,
        problems: &mut Vec<Diagnostic>,
    ) -> Vec<VersionDraft> {
        let scan = |spec| self.version(manifest, spec, problems);
        let versions: Vec<VersionDraft> = manifest.versions.iter().map(scan).collect();
        self.check_resources(manifest, &versions, problems);
        versions
    }

    fn version(
        &self,
        manifest: &Manifest,
        spec: &VersionSpec,
        problems: &mut Vec<Diagnostic>,
    ) -> VersionDraft {
        let files = self.files_of(&spec.package);
        if files.is_empty() {
            let message = format!("no proto file has `package {};`", spec.package);
            let help = "the package of a version is the one that its proto files declare";
            problems
                .push(Diagnostic::error(code::UNKNOWN_PACKAGE, &spec.place, message).help(help));
        }
        let mut draft = VersionDraft {
            service: manifest.name.clone(),
            version: spec.version.clone(),
            package: spec.package.clone(),
            broken: files.is_empty() || files.iter().any(|file| self.failed.contains(file)),
            owns: files.clone(),
            files,
            types: Vec::new(),
            imports: spec.imports.clone(),
            region_collection: manifest.region_collection.clone(),
            http_prefix: manifest.http_prefix.clone(),
            place: spec.place.clone(),
        };
        for (message, found) in self.messages(&draft.files) {
            let resource = spec.resources.get(message.name());
            let of_type = found.resource.as_ref().and_then(|resource| {
                resource.r#type.rsplit_once('/').and_then(|(_, name)| spec.resources.get(name))
            });
            let by_skeleton = message.parent_message().is_none()
                && resource.is_some_and(|resource| resource.naming.is_some());
            if found.resource.is_some() || by_skeleton {
                let resource = of_type.or(resource).cloned().unwrap_or_default();
                self.add_type(&mut draft, message, found, resource, problems);
            }
        }
        draft
    }

    /// Own files of a package and the packages below it.
    fn files_of(&self, package: &str) -> BTreeSet<String> {
        let below = format!("{package}.");
        let own = self.set.own.iter().filter(|name| {
            let found = self.set.files.get(*name).map_or("", |entry| entry.package.as_str());
            found == package || found.starts_with(&below)
        });
        own.cloned().collect()
    }

    /// All messages of these files, nested ones too, in the order in which they are declared.
    fn messages(&self, files: &BTreeSet<String>) -> Vec<(MessageDescriptor, MessageOptions)> {
        let mut found = Vec::new();
        for file in files.iter().filter_map(|name| self.pool.get_file_by_name(name)) {
            let mut waiting: Vec<MessageDescriptor> = file.messages().collect();
            waiting.reverse();
            while let Some(message) = waiting.pop() {
                let options = options::of_message(&message);
                let children: Vec<_> =
                    message.child_messages().filter(|child| !child.is_map_entry()).collect();
                waiting.extend(children.into_iter().rev());
                found.push((message, options));
            }
        }
        found
    }

    /// Types that the manifest names must be there, in one version at least.
    fn check_resources(
        &self,
        manifest: &Manifest,
        versions: &[VersionDraft],
        problems: &mut Vec<Diagnostic>,
    ) {
        if versions.iter().any(|version| version.broken) {
            return;
        }
        for spec in &manifest.versions {
            for (name, resource) in &spec.resources {
                let here = versions
                    .iter()
                    .filter(|v| resource.naming.is_none() || v.version == spec.version);
                if here.flat_map(|version| &version.types).any(|ty| ty.singular == *name) {
                    continue;
                }
                let message = format!("the protos have no resource type \"{name}\"");
                let severity =
                    if resource.naming.is_some() { Severity::Warning } else { Severity::Error };
                let problem = Diagnostic::error(code::UNKNOWN_RESOURCE, &resource.place, message);
                let help = format!(
                    "declare a message with `option (google.api.resource).type = \"{}/{name}\"`",
                    manifest.name
                );
                problems.push(Diagnostic { severity, ..problem.help(help) });
            }
        }
    }

    /// Services and versions as the domains and packages of the types have it.
    pub(crate) fn bare(&self, problems: &mut Vec<Diagnostic>) -> Vec<VersionDraft> {
        let mut drafts: BTreeMap<(String, Age), VersionDraft> = BTreeMap::new();
        for (group, files) in self.groups() {
            let version = version_of(&group);
            let broken = files.iter().any(|file| self.failed.contains(file));
            let messages = self.messages(&files);
            let borrowed = borrowed::domains(self.pool, &files, &messages);
            for (message, found) in messages {
                let Some(resource) = &found.resource else { continue };
                let domain = resource.r#type.split_once('/').map_or("", |(domain, _)| domain);
                if domain.is_empty() {
                    let place = place::of_message(&message, self.set);
                    problems.push(self.bad_type(&place, &resource.r#type));
                    continue;
                }
                if borrowed.contains(domain) {
                    problems.push(borrowed_type(
                        &place::of_message(&message, self.set),
                        &resource.r#type,
                    ));
                    continue;
                }
                let key = (domain.to_owned(), version_age(&version));
                let draft = drafts.entry(key).or_insert_with(|| VersionDraft {
                    service: domain.to_owned(),
                    version: version.clone(),
                    package: group.clone(),
                    files: BTreeSet::new(),
                    owns: BTreeSet::new(),
                    types: Vec::new(),
                    imports: BTreeMap::new(),
                    region_collection: "regions".to_owned(),
                    http_prefix: String::new(),
                    broken: false,
                    place: place::of_message(&message, self.set),
                });
                draft.broken |= broken;
                draft.files.extend(files.iter().cloned());
                self.add_type(draft, message, found, ResourceSpec::default(), problems);
            }
        }
        let mut drafts: Vec<VersionDraft> = drafts.into_values().collect();
        drafts.retain(|draft| !draft.types.is_empty());
        share_out(&mut drafts);
        drafts
    }

    /// Own files by their package up to its version: `google.ads.googleads.v17` has `.resources` and `.services` in it.
    fn groups(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for name in &self.set.own {
            let package = self.set.files.get(name).map_or("", |entry| entry.package.as_str());
            let parts: Vec<&str> = package.split('.').collect();
            let end =
                parts.iter().rposition(|part| is_version(part)).map_or(parts.len(), |at| at + 1);
            groups.entry(parts[..end].join(".")).or_default().insert(name.clone());
        }
        groups
    }

    fn bad_type(&self, place: &Place, text: &str) -> Diagnostic {
        let message = format!("resource type \"{text}\" is not `domain/Singular`");
        let problem = Diagnostic::error(code::BAD_TYPE, place, message);
        Diagnostic {
            severity: self.severity,
            ..problem.help("write it as `devices.example.com/Device`")
        }
    }

    fn add_type(
        &self,
        draft: &mut VersionDraft,
        message: MessageDescriptor,
        found: MessageOptions,
        spec: ResourceSpec,
        problems: &mut Vec<Diagnostic>,
    ) {
        let place = place::of_message(&message, self.set);
        match self.type_draft(draft, message, found, spec, place, problems) {
            Ok(ty) => draft.types.push(ty),
            Err(problem) => {
                draft.broken |= self.severity == Severity::Error;
                problems.push(Diagnostic { severity: self.severity, ..problem });
            }
        }
    }

    fn type_draft(
        &self,
        draft: &VersionDraft,
        message: MessageDescriptor,
        found: MessageOptions,
        spec: ResourceSpec,
        place: Place,
        problems: &mut Vec<Diagnostic>,
    ) -> Result<TypeDraft, Diagnostic> {
        let declared = found.resource.clone().unwrap_or_else(|| ResourceDescriptor {
            r#type: format!("{}/{}", draft.service, message.name()),
            ..ResourceDescriptor::default()
        });
        let kind = declared.r#type.clone();
        let (domain, singular) = match kind.split_once('/') {
            Some((domain, singular)) if is_plain(domain) && is_plain(singular) => {
                (domain, singular)
            }
            _ => return Err(self.bad_type(&place, &kind)),
        };
        if domain != draft.service {
            let message =
                format!("the type \"{kind}\" is not of the service \"{}\"", draft.service);
            let help = "refer to types of other services, instead of declaring them again";
            return Err(Diagnostic::error(code::FOREIGN_KIND, &place, message).help(help));
        }
        if let Some(other) = draft.types.iter().find(|ty| ty.kind == kind) {
            let message =
                format!("the type \"{kind}\" is declared by `{}` too", other.message.full_name());
            return Err(Diagnostic::error(code::DUPLICATE_KIND, &place, message));
        }
        let id_pattern = self.id_pattern(&spec, &found, &place)?;
        let mut patterns = self.patterns(&kind, &declared, &spec, &place, problems)?;
        if id_pattern.as_ref().is_some_and(|text| text.contains('/')) {
            patterns.iter_mut().for_each(Pattern::allow_slash_in_id);
        }
        let declared_plurals = [
            spec.plural.as_deref().unwrap_or(""),
            &declared.plural,
            found.goten.as_ref().map_or("", |goten| &goten.plural),
        ];
        let plural = declared_plurals.into_iter().find(|plural| !plural.is_empty());
        Ok(TypeDraft {
            singular: singular.to_owned(),
            plural: words::upper_camel(plural.unwrap_or(&words::plural(singular))),
            name_field: name_field(&message, &declared, &place)?,
            patterns,
            id_pattern,
            message,
            spec,
            options: found,
            place,
            kind,
        })
    }

    fn id_pattern(
        &self,
        spec: &ResourceSpec,
        found: &MessageOptions,
        place: &Place,
    ) -> Result<Option<String>, Diagnostic> {
        let of_bowline = found.bowline.as_ref().map(|bowline| bowline.id_pattern.clone());
        let of_goten = found.goten.as_ref().map(|goten| goten.id_pattern.clone());
        let candidates = [spec.id_pattern.clone(), of_bowline, of_goten];
        let Some(text) = candidates.into_iter().flatten().find(|text| !text.is_empty()) else {
            return Ok(None);
        };
        match id_pattern::compile(&text) {
            Ok(_) => Ok(Some(text)),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned();
                let message = format!("the id pattern is not a regular expression: {reason}");
                Err(Diagnostic::error(code::BAD_ID_PATTERN, place, message))
            }
        }
    }

    fn patterns(
        &self,
        kind: &str,
        declared: &ResourceDescriptor,
        spec: &ResourceSpec,
        place: &Place,
        problems: &mut Vec<Diagnostic>,
    ) -> Result<Vec<Pattern>, Diagnostic> {
        let texts = match &spec.naming {
            Some(naming) if declared.pattern.is_empty() => {
                self.naming.patterns(kind, naming, spec.plural.as_deref())
            }
            _ => declared.pattern.clone(),
        };
        let mut patterns: Vec<Pattern> = Vec::new();
        for text in texts {
            match Pattern::parse(&text) {
                Ok(pattern) if patterns.iter().any(|other| other.shape() == pattern.shape()) => {}
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let problem = Diagnostic::error(code::BAD_PATTERN, place, error.to_string());
                    let help = "a pattern alternates collections and ids: `projects/{project}/devices/{device}`";
                    problems.push(Diagnostic { severity: self.severity, ..problem.help(help) });
                }
            }
        }
        if patterns.is_empty() {
            let message = format!("the type \"{kind}\" has no name pattern");
            let help = "add one, such as `pattern: \"projects/{project}/devices/{device}\"`";
            return Err(Diagnostic::error(code::NO_PATTERN, place, message).help(help));
        }
        Ok(patterns)
    }
}

/// The field that holds the name: the declared one, `name`, `resource_name`, the one that is marked as identifier, or the one that
/// refers to the type itself.
fn name_field(
    message: &MessageDescriptor,
    declared: &ResourceDescriptor,
    place: &Place,
) -> Result<FieldDescriptor, Diagnostic> {
    let usable = |field: &FieldDescriptor| field.kind() == Kind::String && !field.is_list();
    let wanted = if declared.name_field.is_empty() { "name" } else { &declared.name_field };
    let found = message.get_field_by_name(wanted);
    if let Some(field) = found.as_ref().filter(|field| usable(field)) {
        return Ok(field.clone());
    }
    let other = || {
        let marked = |field: &FieldDescriptor| {
            let options = options::of_field(field);
            options.behavior.contains(&behavior::IDENTIFIER)
                || options.reference.is_some_and(|reference| reference.r#type == declared.r#type)
        };
        let by_name = message.get_field_by_name("resource_name").filter(usable);
        by_name.or_else(|| message.fields().find(|field| usable(field) && marked(field)))
    };
    let undeclared = found.is_none() && declared.name_field.is_empty();
    undeclared.then(other).flatten().ok_or_else(|| {
        let problem = if found.is_some() { "is not a string" } else { "does not exist" };
        let message = format!("the name field `{wanted}` of `{}` {problem}", message.full_name());
        let help = "add `string name = 1;`, or say which field holds the name with `name_field`";
        Diagnostic::error(code::NO_NAME_FIELD, place, message).help(help)
    })
}

fn borrowed_type(place: &Place, kind: &str) -> Diagnostic {
    let message =
        format!("\"{kind}\" is of another service, and no method here uses it: it is not served");
    Diagnostic::warning(code::BORROWED_TYPE, place, message)
        .help("load that service's own protos; to serve the type from here, write a service.yaml")
}

/// Whether a part of a type name has only letters, digits and what joins them; it goes into names and texts of all kinds.
fn is_plain(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.chars().all(fine)
}

/// Whether a part of a package is a version: `v1`, `v1beta2`, `v1p1beta1`.
pub(crate) fn is_version(part: &str) -> bool {
    let rest = part.strip_prefix('v').unwrap_or("");
    rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.chars().all(|c| c.is_ascii_alphanumeric())
}

/// The version in a package; protos without one are `v1`.
fn version_of(package: &str) -> String {
    let last = package.rsplit('.').next().filter(|part| is_version(part));
    last.unwrap_or("v1").to_owned()
}

/// Where several domains have types in the same files, methods that are bound to none of the types go to the domain with the
/// most types.
fn share_out(drafts: &mut [VersionDraft]) {
    for at in 0..drafts.len() {
        let strength = |at: usize| (drafts[at].types.len(), std::cmp::Reverse(at));
        let stronger = |other: usize| other != at && strength(other) > strength(at);
        let taken: BTreeSet<String> = (0..drafts.len())
            .filter(|other| stronger(*other))
            .flat_map(|other| drafts[other].files.iter().cloned())
            .collect();
        drafts[at].owns = drafts[at].files.difference(&taken).cloned().collect();
    }
}
