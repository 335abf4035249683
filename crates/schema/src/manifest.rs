//! The manifest of a service, whatever file it comes from, and the reading of `service.yaml`.
//!
//! API skeletons give the same [`Manifest`]; see `skeleton`. Nothing here looks at protos.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::diagnostic::{Diagnostic, Place, code};
use crate::model::SyncType;
use crate::yaml::{self, Extra, Text};

/// What a service says about itself besides its protos.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manifest {
    /// The file, for diagnostics.
    pub(crate) file: String,
    pub(crate) name: String,
    /// Oldest first.
    pub(crate) versions: Vec<VersionSpec>,
    pub(crate) uses: Vec<String>,
    pub(crate) mixins: Vec<String>,
    /// The literal before the region's id in names.
    pub(crate) region_collection: String,
    /// What HTTP paths of methods without annotation begin with, before the version: `/meta` or nothing.
    pub(crate) http_prefix: String,
    /// It was read from API skeletons.
    pub(crate) from_skeletons: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct VersionSpec {
    pub(crate) version: String,
    pub(crate) package: String,
    /// Services and the version of each; a skeleton does not say the version.
    pub(crate) imports: BTreeMap<String, Option<String>>,
    /// By singular. Types that are not here have only what their protos say.
    pub(crate) resources: BTreeMap<String, ResourceSpec>,
    /// Where the version is declared.
    pub(crate) place: Place,
}

/// What a manifest says about one type; nothing of it has to be there.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceSpec {
    pub(crate) regional: Option<bool>,
    pub(crate) searchable: Vec<String>,
    /// Searchable, without saying by which fields.
    pub(crate) searchable_by_all: bool,
    pub(crate) index: Vec<String>,
    pub(crate) plural: Option<String>,
    pub(crate) id_pattern: Option<String>,
    pub(crate) sync_type: Option<SyncType>,
    pub(crate) policy_holder: bool,
    pub(crate) async_deletion: bool,
    pub(crate) no_constraints: bool,
    pub(crate) no_metadata: bool,
    pub(crate) no_multi_region: bool,
    /// Globs of synthesised methods that are left out.
    pub(crate) without_methods: Vec<String>,
    pub(crate) views: BTreeMap<String, Vec<String>>,
    /// Only skeletons: what patterns are made of where the protos have none.
    pub(crate) naming: Option<Naming>,
    pub(crate) place: Place,
}

/// How a skeleton describes names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naming {
    /// `Type`, `domain/Type`, or nothing for a root.
    pub(crate) parents: Vec<String>,
    pub(crate) region: bool,
    pub(crate) region_is_optional: bool,
}

#[derive(Deserialize)]
struct File {
    name: String,
    versions: Versions,
    #[serde(default)]
    uses: Vec<String>,
    #[serde(default)]
    mixins: Vec<String>,
    region_collection: Option<String>,
    http_prefix: Option<String>,
    #[serde(default)]
    resources: BTreeMap<String, Option<Resource>>,
    #[serde(flatten)]
    extra: Extra,
}

/// The versions in the order of the file, which is their age.
struct Versions(Vec<(String, Version)>);

#[derive(Deserialize)]
struct Version {
    package: String,
    #[serde(default)]
    imports: BTreeMap<String, String>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource {
    regional: Option<bool>,
    searchable: Vec<String>,
    index: Vec<String>,
    plural: Option<String>,
    id_pattern: Option<String>,
    sync_type: Option<String>,
    policy_holder: bool,
    async_deletion: bool,
    opt_outs: Option<OptOuts>,
    views: BTreeMap<String, Vec<String>>,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct OptOuts {
    constraints: bool,
    metadata: bool,
    multi_region: bool,
    methods: Vec<String>,
}

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Versions;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map from version to its package")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Versions, A::Error> {
                let mut versions = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    versions.push(entry);
                }
                Ok(Versions(versions))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Reads `service.yaml`. Unknown keys are reported, and the manifest is read all the same.
pub(crate) fn parse(file: &str, text: &str, problems: &mut Vec<Diagnostic>) -> Option<Manifest> {
    let read: File = match yaml::parse(file, text) {
        Ok(read) => read,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let source = Text { file, text, help: "see the manifest's keys in docs/schema.md" };
    source.refuse(&read.extra, &[], problems);
    if !is_domain(&read.name) {
        let message = format!("the service name \"{}\" is not a domain name", read.name);
        let help = "write it as `devices.example.com`: at least two labels of a-z, 0-9 and `-`";
        problems.push(
            Diagnostic::error(code::BAD_MANIFEST, &source.place(&["name"]), message).help(help),
        );
    }
    if read.versions.0.is_empty() {
        let place = source.place(&["versions"]);
        problems.push(Diagnostic::error(code::BAD_MANIFEST, &place, "the service has no version"));
    }
    let resources = read_resources(&source, read.resources, problems);
    let versions = read_versions(&source, read.versions, &resources, problems);
    Some(Manifest {
        file: file.to_owned(),
        name: read.name,
        versions,
        uses: read.uses,
        mixins: read.mixins,
        region_collection: read.region_collection.unwrap_or_else(|| "regions".to_owned()),
        http_prefix: read.http_prefix.unwrap_or_default(),
        from_skeletons: false,
    })
}

fn read_versions(
    source: &Text<'_>,
    versions: Versions,
    resources: &BTreeMap<String, ResourceSpec>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<VersionSpec> {
    let one = |(version, read): (String, Version)| {
        source.refuse(&read.extra, &["versions", &version], problems);
        let imports =
            read.imports.into_iter().map(|(name, version)| (name, Some(version))).collect();
        let place = source.place(&["versions", &version]);
        VersionSpec { version, package: read.package, imports, resources: resources.clone(), place }
    };
    versions.0.into_iter().map(one).collect()
}

fn read_resources(
    source: &Text<'_>,
    resources: BTreeMap<String, Option<Resource>>,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<String, ResourceSpec> {
    let mut specs = BTreeMap::new();
    for (name, read) in resources {
        let read = read.unwrap_or_default();
        let path = ["resources", name.as_str()];
        source.refuse(&read.extra, &path, problems);
        let place = source.place(&path);
        let sync_type = read.sync_type.as_deref().and_then(|text| {
            let known = sync_type(text);
            if known.is_none() {
                let message = format!("unknown sync type \"{text}\"");
                let help = "one of DEFAULT, NEVER, ALWAYS_IN_SCOPE, ALWAYS_GLOBALLY";
                problems.push(Diagnostic::error(code::BAD_MANIFEST, &place, message).help(help));
            }
            known
        });
        let out = read.opt_outs.unwrap_or_default();
        let spec = ResourceSpec {
            regional: read.regional,
            searchable: read.searchable,
            searchable_by_all: false,
            index: read.index,
            plural: read.plural,
            id_pattern: read.id_pattern,
            sync_type,
            policy_holder: read.policy_holder,
            async_deletion: read.async_deletion,
            no_constraints: out.constraints,
            no_metadata: out.metadata,
            no_multi_region: out.multi_region,
            without_methods: out.methods,
            views: read.views,
            naming: None,
            place,
        };
        specs.insert(name, spec);
    }
    specs
}

/// The sync type that a manifest spells.
pub(crate) fn sync_type(text: &str) -> Option<SyncType> {
    match text {
        "DEFAULT" => Some(SyncType::Default),
        "NEVER" => Some(SyncType::Never),
        "ALWAYS_IN_SCOPE" => Some(SyncType::AlwaysInScope),
        "ALWAYS_GLOBALLY" => Some(SyncType::AlwaysGlobally),
        _ => None,
    }
}

/// Whether a text can be a service name.
pub(crate) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::render;
    use expect_test::expect;

    const FULL: &str = "
name: devices.example.com
versions:
  v1alpha2: { package: example.devices.v1alpha2, imports: { iam.example.com: v1 } }
  v1:
    package: example.devices.v1
uses: [ logging.example.com ]
resources:
  Device: { regional: true, searchable: [display_name], index: [status.phase], opt_outs: { constraints: true } }
  Model:
";

    #[test]
    fn versions_keep_the_order_of_the_file() {
        let mut problems = Vec::new();
        let manifest = parse("service.yaml", FULL, &mut problems).unwrap();
        assert_eq!(problems, []);
        let versions: Vec<_> = manifest.versions.iter().map(|v| v.version.as_str()).collect();
        assert_eq!(versions, ["v1alpha2", "v1"]);
        assert_eq!(manifest.versions[0].imports["iam.example.com"].as_deref(), Some("v1"));
        let device = &manifest.versions[1].resources["Device"];
        assert_eq!((device.regional, device.no_constraints), (Some(true), true));
        assert_eq!(device.place.line, 9);
    }

    #[test]
    fn unknown_keys_are_all_reported_with_their_lines() {
        let text = "name: a.example.com\nversoins: 1\nversions:\n  v1: { package: a.v1, uses: [] }\nresources:\n  Device:\n    shape: round\n";
        let mut problems = Vec::new();
        assert!(parse("service.yaml", text, &mut problems).is_some());
        expect![[r#"
            error[BL011]: unknown key "versoins"
              --> service.yaml:2:1
              = help: see the manifest's keys in docs/schema.md

            error[BL011]: unknown key "uses"
              --> service.yaml:4:24
              = help: see the manifest's keys in docs/schema.md

            error[BL011]: unknown key "shape"
              --> service.yaml:7:5
              = help: see the manifest's keys in docs/schema.md

            3 errors, 0 warnings
        "#]]
        .assert_eq(&render(&crate::diagnostic::sorted(problems)));
    }

    #[test]
    fn what_is_no_manifest_says_where() {
        let mut problems = Vec::new();
        assert!(
            parse("service.yaml", "name: a.example.com\nversions: 7\n", &mut problems).is_none()
        );
        assert_eq!((problems[0].code, problems[0].line), (code::BAD_MANIFEST, 2));
    }

    #[test]
    fn a_service_is_named_by_a_domain() {
        assert!(is_domain("devices.example.com"));
        for wrong in ["devices", "", "a..b", "a b.c", "a/b.c"] {
            assert!(!is_domain(wrong), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(text in "[a-z:{}\\[\\],.\n &*!|>\"'-]{0,120}") {
            parse("service.yaml", &text, &mut Vec::new());
        }
    }
}
