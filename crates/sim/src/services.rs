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

/// What each service has references to.
pub const IMPORTS: [(&str, &[&str]); 3] = [(IAM, &[]), (DEVICES, &[IAM]), (APPS, &[IAM, DEVICES])];

/// The types of the simulated world.
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
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Project, Self::Sensor, Self::Plan, Self::Model, Self::Job];

    pub fn service(self) -> &'static str {
        match self {
            Self::Project => IAM,
            Self::Sensor | Self::Plan | Self::Model => DEVICES,
            Self::Job => APPS,
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Project => "sim.iam.v1",
            Self::Sensor | Self::Plan | Self::Model => "sim.devices.v1",
            Self::Job => "sim.apps.v1",
        }
    }

    /// `Sensor`.
    pub fn message(self) -> &'static str {
        match self {
            Self::Project => "Project",
            Self::Sensor => "Sensor",
            Self::Plan => "Plan",
            Self::Model => "Model",
            Self::Job => "Job",
        }
    }

    /// `sensor`, as fields are called.
    pub fn field(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Sensor => "sensor",
            Self::Plan => "plan",
            Self::Model => "model",
            Self::Job => "job",
        }
    }

    /// `sensors`.
    pub fn collection(self) -> String {
        format!("{}s", self.field())
    }

    /// `devices.sim.test/Sensor`.
    pub fn full(self) -> String {
        format!("{}/{}", self.service(), self.message())
    }

    /// The kind of a table of resources.
    pub fn of(full: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.full() == full)
    }

    /// Whether its names have a region, which owns it.
    pub fn is_regional(self) -> bool {
        matches!(self, Self::Sensor | Self::Job)
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
    let source = |manifest: &str, path: &str, proto: &str| Source::Files {
        service_yaml: Some(manifest.to_owned()),
        files: vec![(path.to_owned(), proto.to_owned())],
    };
    vec![
        source(
            include_str!("../services/iam/service.yaml"),
            "v1/iam.proto",
            include_str!("../services/iam/v1/iam.proto"),
        ),
        source(
            include_str!("../services/devices/service.yaml"),
            "v1/devices.proto",
            include_str!("../services/devices/v1/devices.proto"),
        ),
        source(
            include_str!("../services/apps/service.yaml"),
            "v1/apps.proto",
            include_str!("../services/apps/v1/apps.proto"),
        ),
    ]
}

fn load_registry() -> Registry {
    let loaded = load(&sources());
    assert_eq!(loaded.registry.services.len(), 3, "{}", diagnostic::render(&loaded.diagnostics));
    loaded.registry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_methods_that_are_called_exist() {
        let registry = registry();
        for kind in Kind::ALL {
            for verb in ["Get", "List", "Create", "Update", "Delete"] {
                assert!(registry.methods.contains_key(&kind.method(verb)), "{}", kind.method(verb));
            }
            assert!(registry.types.contains_key(&kind.full()));
        }
    }
}
