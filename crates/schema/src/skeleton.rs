//! Reading of `api-skeleton-<version>.yaml`, the manifest of EdgeLQ services, and of what it says about names.
//!
//! Only keys that matter to a running service are read; those that steer code generation are passed over.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::diagnostic::{Diagnostic, Place};
use crate::manifest::{Manifest, Naming, ResourceSpec, VersionSpec, sync_type};
use crate::words;
use crate::yaml;

/// Most parents that are looked at to make the patterns of one type.
const PARENTS_MAX: usize = 1000;
/// Most patterns that a type gets from its parents' patterns.
const PATTERNS_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    name: String,
    proto: Proto,
    #[serde(default)]
    imports: Vec<String>,
    #[serde(default)]
    disable_multi_region: bool,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proto {
    package: Package,
    #[serde(default)]
    service: Service,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    name: String,
    current_version: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Service {
    http_namespace_prefix: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    name: String,
    plural: Option<String>,
    parents: Vec<String>,
    scope_attributes: Vec<String>,
    scope_attribute_overrides: BTreeMap<String, Override>,
    id_pattern: Option<String>,
    multi_region: MultiRegion,
    opt_ins: OptIns,
    opt_outs: OptOuts,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Override {
    is_optional: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MultiRegion {
    sync_type: Option<String>,
    is_policy_holder: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OptIns {
    searchable: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OptOuts {
    metadata_field: bool,
    standard_crud_access: bool,
    db_constraints: bool,
    basic_actions: Vec<String>,
}

/// Whether a file name is that of a skeleton.
pub(crate) fn is_skeleton(file_name: &str) -> bool {
    let yaml = file_name.ends_with(".yaml") || file_name.ends_with(".yml");
    yaml && file_name.starts_with("api-skeleton-")
}

/// Reads one skeleton: a manifest with one version. Skeletons of one service are put together by [`merge`].
pub(crate) fn parse(file: &str, text: &str, problems: &mut Vec<Diagnostic>) -> Option<Manifest> {
    let read: File = match yaml::parse(file, text) {
        Ok(read) => read,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let package = read.proto.package;
    let multi_region = !read.disable_multi_region;
    let resources = read
        .resources
        .into_iter()
        .map(|resource| spec(file, text, resource, multi_region))
        .collect();
    let version = VersionSpec {
        package: format!("{}.{}", package.name, package.current_version),
        version: package.current_version,
        imports: read.imports.into_iter().map(|name| (name, None)).collect(),
        resources,
        place: Place::file(file),
    };
    Some(Manifest {
        file: file.to_owned(),
        name: read.name,
        versions: vec![version],
        uses: Vec::new(),
        mixins: Vec::new(),
        region_collection: "regions".to_owned(),
        http_prefix: read.proto.service.http_namespace_prefix,
        from_skeletons: true,
    })
}

fn spec(file: &str, text: &str, read: Resource, multi_region: bool) -> (String, ResourceSpec) {
    let region = |name: &String| name == "Region" || name.ends_with("/Region");
    let naming = Naming {
        parents: read.parents,
        region: read.scope_attributes.iter().any(region),
        region_is_optional: read
            .scope_attribute_overrides
            .iter()
            .any(|(name, over)| region(name) && over.is_optional),
    };
    let marker = format!("- name: {}", read.name);
    let starts_here = |line: &str| line.trim() == marker;
    let line = text.lines().position(starts_here).map_or(0, |line| line + 1);
    let all = read.opt_outs.standard_crud_access.then(|| "*".to_owned());
    let spec = ResourceSpec {
        regional: naming.region.then_some(true),
        searchable_by_all: read.opt_ins.searchable,
        plural: read.plural,
        id_pattern: read.id_pattern,
        sync_type: read.multi_region.sync_type.as_deref().and_then(sync_type),
        policy_holder: read.multi_region.is_policy_holder,
        no_constraints: read.opt_outs.db_constraints,
        no_metadata: read.opt_outs.metadata_field,
        no_multi_region: !multi_region,
        without_methods: read.opt_outs.basic_actions.into_iter().chain(all).collect(),
        naming: Some(naming),
        place: Place::at(file, line, 3),
        ..ResourceSpec::default()
    };
    (read.name, spec)
}

/// Puts the versions of one service together, oldest first.
pub(crate) fn merge(manifests: Vec<Manifest>) -> Vec<Manifest> {
    let mut merged: Vec<Manifest> = Vec::new();
    for manifest in manifests {
        match merged.iter_mut().find(|other| other.name == manifest.name) {
            Some(other) => other.versions.extend(manifest.versions),
            None => merged.push(manifest),
        }
    }
    for manifest in &mut merged {
        manifest.versions.sort_by_key(|version| version_age(&version.version));
    }
    merged
}

/// Sorts versions by age: major number, stage, number of the stage, and the text to tell the rest apart.
pub(crate) type Age = (u32, u32, u32, String);

/// A key that sorts versions by age: `v1alpha2`, `v1beta1`, `v1`, `v2`.
pub(crate) fn version_age(version: &str) -> Age {
    let rest = version.strip_prefix('v').unwrap_or(version);
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let major = digits(rest);
    let rest = &rest[major.len()..];
    // `v1p1beta1` is a beta of the minor version; stages go by their first word.
    let stage = match () {
        () if rest.contains("alpha") => 0,
        () if rest.contains("eap") || rest.contains("test") => 1,
        () if rest.contains("beta") => 2,
        () => 3,
    };
    let after_letters = rest.rfind(|c: char| !c.is_ascii_digit()).map_or("", |at| &rest[at + 1..]);
    let number = |text: &str| text.parse().unwrap_or(0);
    (number(&major), stage, number(after_letters), version.to_owned())
}

/// All that skeletons say about names, by kind, over all services of a load.
#[derive(Debug, Default)]
pub(crate) struct NamingIndex {
    specs: BTreeMap<String, (Naming, Option<String>, String)>,
}

impl NamingIndex {
    /// Adds the types of one manifest; of several versions, the newest counts for other services.
    pub(crate) fn add(&mut self, manifest: &Manifest) {
        for version in &manifest.versions {
            for (name, spec) in &version.resources {
                if let Some(naming) = &spec.naming {
                    let kind = format!("{}/{name}", manifest.name);
                    let value =
                        (naming.clone(), spec.plural.clone(), manifest.region_collection.clone());
                    self.specs.insert(kind, value);
                }
            }
        }
    }

    /// The patterns that a skeleton's type has: each parent's patterns, the region if it has one, and the own collection.
    ///
    /// A parent that nothing describes is taken for a root: `meta.goten.com/Service` is `services/{service}`.
    pub(crate) fn patterns(&self, kind: &str, own: &Naming, plural: Option<&str>) -> Vec<String> {
        let mut walk = Walk { path: Vec::new(), left: PARENTS_MAX };
        self.build(kind, own, plural, "regions", &mut walk)
    }

    fn build(
        &self,
        kind: &str,
        naming: &Naming,
        plural: Option<&str>,
        region: &str,
        walk: &mut Walk,
    ) -> Vec<String> {
        let (domain, singular) = kind.split_once('/').unwrap_or(("", kind));
        let plural = plural.map_or_else(|| format!("{singular}s"), str::to_owned);
        let own = format!("{}/{{{}}}", words::lower_camel(&plural), words::snake(singular));
        let roots =
            if naming.parents.is_empty() { vec![String::new()] } else { naming.parents.clone() };
        let mut patterns = Vec::new();
        for parent in roots {
            let parent = match () {
                () if parent.is_empty() || parent.contains('/') => parent,
                () => format!("{domain}/{parent}"),
            };
            for above in self.above(&parent, walk) {
                let with = format!("{above}{region}/{{region}}/{own}");
                let without = format!("{above}{own}");
                match (naming.region, naming.region_is_optional) {
                    (false, _) => patterns.push(without),
                    (true, false) => patterns.push(with),
                    // A region below nothing would make a second kind of root; only below a parent is it a choice.
                    (true, true) if above.is_empty() => patterns.push(without),
                    (true, true) => patterns.extend([without, with]),
                }
            }
        }
        patterns.truncate(PATTERNS_MAX);
        patterns
    }

    /// What a name below the parent begins with, with the `/` at the end. A parent that is above itself counts as no parent.
    fn above(&self, parent: &str, walk: &mut Walk) -> Vec<String> {
        let circle = walk.path.iter().any(|kind| kind == parent);
        if parent.is_empty() || circle || walk.left == 0 {
            return vec![String::new()];
        }
        walk.left -= 1;
        walk.path.push(parent.to_owned());
        let patterns = match self.specs.get(parent) {
            Some((naming, plural, region)) => {
                self.build(parent, naming, plural.as_deref(), region, walk)
            }
            None => self.build(parent, &Naming::default(), None, "regions", walk),
        };
        walk.path.pop();
        patterns.into_iter().map(|pattern| format!("{pattern}/")).collect()
    }
}

/// The way down to the parents that are being looked at, and how many more may be.
struct Walk {
    path: Vec<String>,
    left: usize,
}

/// Whether a name fits a glob with `*` and `{A,B}`.
pub(crate) fn glob_matches(glob: &str, name: &str) -> bool {
    if let Some((before, rest)) = glob.split_once('{')
        && let Some((choices, after)) = rest.split_once('}')
    {
        return choices.split(',').any(|choice| {
            let one = format!("{before}{}{after}", choice.trim());
            !one.contains('{') && glob_matches(&one, name)
        });
    }
    match glob.split_once('*') {
        None => glob == name,
        Some((before, after)) => {
            let rest = name.strip_prefix(before);
            let last = after.rsplit('*').next().unwrap_or(after);
            rest.is_some_and(|rest| rest.len() >= last.len() && rest.ends_with(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICES: &str = "
name: devices.edgelq.com
proto:
  package: { name: ntt.devices, currentVersion: v1, goPackage: x }
imports: [ iam.edgelq.com ]
resources:
- name: Project
  multiRegion: { isPolicyHolder: true }
- name: Policy
  plural: Policies
  parents: [ Project, meta.goten.com/Service ]
  scopeAttributes: [ Region ]
  optOuts: { basicActions: [ '{Create}Policy' ], dbConstraints: true }
- name: Secret
  parents: [ Project, '' ]
  scopeAttributes: [ Region ]
  scopeAttributeOverrides: { Region: { isOptional: true } }
  multiRegion: { syncType: NEVER }
";

    fn read() -> Manifest {
        let mut problems = Vec::new();
        let manifest = parse("api-skeleton-v1.yaml", DEVICES, &mut problems).unwrap();
        assert_eq!(problems, []);
        manifest
    }

    fn patterns(kind: &str) -> Vec<String> {
        let manifest = read();
        let mut index = NamingIndex::default();
        index.add(&manifest);
        let (naming, plural, _) = &index.specs[kind];
        index.patterns(kind, naming, plural.as_deref())
    }

    #[test]
    fn a_skeleton_is_a_manifest_of_one_version() {
        let manifest = read();
        assert_eq!(manifest.versions[0].package, "ntt.devices.v1");
        let resources = &manifest.versions[0].resources;
        assert!(resources["Project"].policy_holder);
        assert!(resources["Policy"].no_constraints);
        assert_eq!(resources["Secret"].sync_type, Some(crate::model::SyncType::Never));
        assert_eq!(resources["Policy"].place.line, 9);
    }

    #[test]
    fn patterns_come_from_parents_and_regions() {
        assert_eq!(
            patterns("devices.edgelq.com/Policy"),
            [
                "projects/{project}/regions/{region}/policies/{policy}",
                "services/{service}/regions/{region}/policies/{policy}",
            ]
        );
    }

    #[test]
    fn an_optional_region_doubles_the_patterns_below_a_parent() {
        assert_eq!(
            patterns("devices.edgelq.com/Secret"),
            [
                "projects/{project}/secrets/{secret}",
                "projects/{project}/regions/{region}/secrets/{secret}",
                "secrets/{secret}",
            ]
        );
    }

    #[test]
    fn a_type_that_is_its_own_parent_ends() {
        let mut index = NamingIndex::default();
        let naming = Naming { parents: vec!["a.b/A".into(), "a.b/A".into()], ..Naming::default() };
        index.specs.insert("a.b/A".into(), (naming.clone(), None, "regions".into()));
        assert!(index.patterns("a.b/A", &naming, None).len() <= PATTERNS_MAX);
    }

    #[test]
    fn versions_go_from_old_to_new() {
        let mut versions = ["v2", "v1", "v1beta2", "v1alpha2", "v1beta1", "v10", "v1p1beta1"];
        versions.sort_by_key(|version| version_age(version));
        assert_eq!(versions, ["v1alpha2", "v1beta1", "v1p1beta1", "v1beta2", "v1", "v2", "v10"]);
    }

    #[test]
    fn globs() {
        assert!(glob_matches("*", "GetDevice"));
        assert!(glob_matches("{Get,Create}MetricDescriptor", "CreateMetricDescriptor"));
        assert!(!glob_matches("{Get,Create}MetricDescriptor", "DeleteMetricDescriptor"));
        assert!(glob_matches("{Create}Limit", "CreateLimit"));
        assert!(glob_matches("Create*", "CreateLimit"));
        assert!(!glob_matches("{{a}", "a"));
    }
}
