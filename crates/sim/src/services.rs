//! The services of the simulated world, and how their methods and fields are called. Small on purpose: one field tells
//! which write a resource is from, and the types differ in who owns them and in what they refer to.

use std::sync::{Arc, OnceLock};

use bowline_schema::diagnostic;
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use prost_reflect::{DynamicMessage, Value};

pub const IAM: &str = "iam.sim.test";
pub const DEVICES: &str = "devices.sim.test";
pub const APPS: &str = "apps.sim.test";

/// A service in one of its API versions.
type Versioned = (&'static str, &'static str);

/// What each API version of a service has references to.
pub const IMPORTS: [(&str, &str, &[Versioned]); 5] = [
    (IAM, "v1", &[]),
    (DEVICES, "v1", &[(IAM, "v1")]),
    (DEVICES, "v2", &[(IAM, "v1")]),
    (APPS, "v1", &[(IAM, "v1"), (DEVICES, "v1")]),
    (APPS, "v2", &[(IAM, "v1"), (DEVICES, "v2")]),
];

/// The types of the simulated world, each of one API version; those of a newer version are called `Probe` or `New…` here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Holds a policy; the service's control region owns it.
    Project,
    /// Owned by the region in its name.
    Sensor,
    /// Owned by the control region of its project.
    Plan,
    /// Owned by the control region of its service.
    Model,
    /// Owned by the region in its name; of the service that imports the others.
    Job,
    /// A sensor, as the second version calls it.
    Probe,
    /// The same names as a plan's, in the second version.
    NewPlan,
    /// A model with other names, in the second version.
    NewModel,
    /// Of the second version, which has nothing to do with the first.
    NewJob,
    /// Owned by the region in its name, and deleted asynchronously.
    Unit,
    /// The same names as a unit's, in the second version.
    NewUnit,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Project,
        Self::Sensor,
        Self::Plan,
        Self::Model,
        Self::Job,
        Self::Probe,
        Self::NewPlan,
        Self::NewModel,
        Self::NewJob,
        Self::Unit,
        Self::NewUnit,
    ];

    pub fn service(self) -> &'static str {
        match self {
            Self::Project => IAM,
            Self::Job | Self::NewJob => APPS,
            _ => DEVICES,
        }
    }

    /// The API version that it is of.
    pub fn version(self) -> &'static str {
        match self {
            Self::Probe | Self::NewPlan | Self::NewModel | Self::NewJob | Self::NewUnit => "v2",
            _ => "v1",
        }
    }

    /// `sim.devices.v2`.
    fn package(self) -> String {
        let service = self.service().split('.').next().unwrap_or_default();
        format!("sim.{service}.{}", self.version())
    }

    /// `Sensor`.
    pub fn message(self) -> &'static str {
        match self {
            Self::Project => "Project",
            Self::Sensor => "Sensor",
            Self::Probe => "Probe",
            Self::Plan | Self::NewPlan => "Plan",
            Self::Model | Self::NewModel => "Model",
            Self::Job | Self::NewJob => "Job",
            Self::Unit | Self::NewUnit => "Unit",
        }
    }

    /// `sensor`, as fields are called.
    pub fn field(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Sensor => "sensor",
            Self::Probe => "probe",
            Self::Plan | Self::NewPlan => "plan",
            Self::Model | Self::NewModel => "model",
            Self::Job | Self::NewJob => "job",
            Self::Unit | Self::NewUnit => "unit",
        }
    }

    /// `sensors`, as lists are called.
    pub fn collection(self) -> String {
        format!("{}s", self.field())
    }

    /// `devices.sim.test/Sensor`, in whatever version.
    pub fn full(self) -> String {
        format!("{}/{}", self.service(), self.message())
    }

    /// The type of an API version that is called so there.
    pub fn of(version: &str, full: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.version() == version && kind.full() == full)
    }

    /// What a resource is in the other version of its service, if it is anything there: said by hand, as the judge knows it.
    pub fn counterpart(self, name: &str) -> Option<(Self, String)> {
        let (other, from, to) = match self {
            Self::Sensor => (Self::Probe, "/sensors/", "/probes/"),
            Self::Probe => (Self::Sensor, "/probes/", "/sensors/"),
            Self::Plan => (Self::NewPlan, "", ""),
            Self::NewPlan => (Self::Plan, "", ""),
            Self::Model => (Self::NewModel, "models/", "deviceModels/"),
            Self::NewModel => (Self::Model, "deviceModels/", "models/"),
            Self::Unit => (Self::NewUnit, "", ""),
            Self::NewUnit => (Self::Unit, "", ""),
            Self::Project | Self::Job | Self::NewJob => return None,
        };
        Some((other, name.replacen(from, to, 1)))
    }

    /// Whether its names have a region, which owns it.
    pub fn is_regional(self) -> bool {
        matches!(self, Self::Sensor | Self::Probe | Self::Job | Self::NewJob)
            || matches!(self, Self::Unit | Self::NewUnit)
    }

    /// Whether what is deleted of it stays for a while, marked.
    pub fn is_kept(self) -> bool {
        matches!(self, Self::Unit | Self::NewUnit)
    }

    /// The name of a resource with this id, in that project and region if it has such.
    pub fn name(self, project: &str, region: &str, id: &str) -> String {
        match self {
            Self::Project => project.to_owned(),
            Self::Sensor => format!("{project}/regions/{region}/sensors/{id}"),
            Self::Probe => format!("{project}/regions/{region}/probes/{id}"),
            Self::Job | Self::NewJob => format!("{project}/regions/{region}/jobs/{id}"),
            Self::Unit | Self::NewUnit => format!("{project}/regions/{region}/units/{id}"),
            Self::Plan | Self::NewPlan => format!("{project}/plans/{id}"),
            Self::Model => format!("models/{id}"),
            Self::NewModel => format!("deviceModels/{id}"),
        }
    }

    /// What lists of all resources below a project are asked for by; empty: it is below none.
    pub fn parent(self, project: &str) -> String {
        match self {
            Self::Project | Self::Model | Self::NewModel => String::new(),
            Self::Plan | Self::NewPlan => project.to_owned(),
            Self::Sensor | Self::Probe => format!("{project}/regions/-"),
            Self::Job | Self::NewJob | Self::Unit | Self::NewUnit => format!("{project}/regions/-"),
        }
    }

    /// `/sim.devices.v1.SensorService/CreateSensor`; lists have the plural.
    pub fn method(self, verb: &str) -> String {
        let (package, message) = (self.package(), self.message());
        let plural = if verb == "List" { "s" } else { "" };
        format!("/{package}.{message}Service/{verb}{message}{plural}")
    }

    /// A resource with this name and value.
    pub fn resource(self, registry: &Registry, name: &str, value: &str) -> DynamicMessage {
        let full = format!("{}.{}", self.package(), self.message());
        let method = registry.methods.get(&self.method("Create"));
        let found =
            method.and_then(|m| m.descriptor.input().parent_pool().get_message_by_name(&full));
        let mut message = DynamicMessage::new(found.expect("the services are part of the program"));
        message.set_field_by_name("name", Value::String(name.to_owned()));
        message.set_field_by_name("value", Value::String(value.to_owned()));
        message
    }
}

/// All services, loaded once for all worlds of the program: a registry never changes.
pub fn registry() -> Arc<Registry> {
    static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
    REGISTRY.get_or_init(|| Arc::new(load_registry())).clone()
}

/// What the registry is loaded from.
pub fn sources() -> Vec<Source> {
    let source = |manifest: &str, files: &[(&str, &str)]| Source::Files {
        service_yaml: Some(manifest.to_owned()),
        files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
    };
    vec![
        source(
            include_str!("../services/iam/service.yaml"),
            &[("v1/iam.proto", include_str!("../services/iam/v1/iam.proto"))],
        ),
        source(
            include_str!("../services/devices/service.yaml"),
            &[
                ("v1/devices.proto", include_str!("../services/devices/v1/devices.proto")),
                ("v2/devices.proto", include_str!("../services/devices/v2/devices.proto")),
                ("upgrades/v1-v2.yaml", include_str!("../services/devices/upgrades/v1-v2.yaml")),
            ],
        ),
        source(
            include_str!("../services/apps/service.yaml"),
            &[
                ("v1/apps.proto", include_str!("../services/apps/v1/apps.proto")),
                ("v2/apps.proto", include_str!("../services/apps/v2/apps.proto")),
            ],
        ),
    ]
}

fn load_registry() -> Registry {
    let loaded = load(&sources());
    let told = || diagnostic::render(&loaded.diagnostics);
    assert_eq!(loaded.registry.services.len(), 3, "{}", told());
    let versions = loaded.registry.services.iter().flat_map(|service| &service.versions);
    assert_eq!(versions.count(), IMPORTS.len(), "{}", told());
    loaded.registry
}

#[cfg(test)]
mod tests {
    use bowline_resource::convert::{NameRules, Named};

    use super::*;

    #[test]
    fn all_methods_that_are_called_exist() {
        let registry = registry();
        for kind in Kind::ALL {
            for verb in ["Get", "List", "Create", "Update", "Delete"] {
                assert!(registry.methods.contains_key(&kind.method(verb)), "{}", kind.method(verb));
            }
            assert!(registry.types.contains_key(&kind.full()));
            assert_eq!(Kind::of(kind.version(), &kind.full()), Some(kind));
        }
    }

    /// What is said here is what the upgrade file says: the judge is independent, not of another opinion.
    #[test]
    fn both_readings_of_upgrades_are_the_same() {
        let registry = registry();
        for kind in Kind::ALL {
            let name = kind.name("projects/p", "east", "x");
            let said = kind.counterpart(&name).map(|(kind, name)| (kind.full(), name));
            let service = registry.service(kind.service()).unwrap();
            if service.upgrades.iter().all(|step| step.declared_in.is_none()) {
                assert_eq!(said, None, "{kind:?}");
                continue;
            }
            let other = if kind.version() == "v1" { "v2" } else { "v1" };
            let nobody_asks = |_: &Named<'_>| None;
            let rules = NameRules::of(service);
            let read = rules.convert(kind.version(), other, &kind.full(), &name, &nobody_asks);
            let read = read.unwrap();
            let read = read.name().map(|read| (read.kind.clone(), read.name.clone()));
            assert_eq!(said, read, "{kind:?}");
        }
    }

    #[test]
    fn imports_are_what_the_manifests_say() {
        let registry = registry();
        for (service, version, imports) in IMPORTS {
            let service = registry.service(service).unwrap();
            let read = service.versions.iter().find(|read| read.version == version).unwrap();
            let read: Vec<_> =
                read.imports.iter().map(|(of, version)| (of.as_str(), version.as_str())).collect();
            let mut said = imports.to_vec();
            said.sort_unstable();
            assert_eq!(read, said, "{version}");
        }
    }
}
