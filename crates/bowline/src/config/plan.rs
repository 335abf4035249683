//! What is to run, deployment by deployment: a configuration together with the services that its folders hold. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bowline_node::DeploymentId;
use bowline_schema::diagnostic::{Diagnostic, code, sorted};
use bowline_schema::model::{Registry, Service};
use bowline_wire::meta::SERVICE as META;

use super::read::nearest;
use super::{Config, ConfigError, DeploymentConfig, RegionConfig, ServiceConfig};
use crate::storage::Storage;

/// How the deployments of a region are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of a region on the region's own port, as `bowline up` has them.
    Together,
    /// Each on a port of its own, as processes of `bowline serve`.
    Apart,
}

/// Everything that is to run, in this process or in others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of the configuration.
    pub generation: i32,
    /// In the order of the file.
    pub regions: Vec<Arc<str>>,
    /// Owns what is governed by the services' own policies.
    pub control_region: Arc<str>,
    /// The meta service first, then in the order of the file; within a folder in the order of its files.
    pub services: Vec<Arc<str>>,
    pub deployments: BTreeMap<DeploymentId, DeploymentPlan>,
}

/// One deployment to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentPlan {
    /// Port 0 is any free one.
    pub listen: SocketAddr,
    /// `host:port` by which others reach it.
    pub address: String,
    pub storage: Storage,
    /// API version at which an empty deployment starts; `None` is the newest.
    pub start_version: Option<String>,
    /// Of the deployment itself; one that was declared gone joins anew with a higher one.
    pub generation: u64,
}

impl Plan {
    /// `homes` are the services that were found in each of `config.services`, in the same order.
    ///
    /// # Errors
    /// [`ConfigError`]: a port that two have, a version that does not exist, an imported service that is not in a region.
    pub fn of(
        config: &Config,
        registry: &Registry,
        homes: &[Vec<Arc<str>>],
        mode: Mode,
    ) -> Result<Self, ConfigError> {
        let mut planner = Planner { config, registry, mode, problems: Vec::new() };
        let plan = planner.plan(homes);
        planner.check_ports(&plan);
        planner.check_imports(&plan, homes);
        match planner.problems.is_empty() {
            true => Ok(plan),
            false => Err(ConfigError { diagnostics: sorted(planner.problems) }),
        }
    }

    /// Notes the port that the system gave to a deployment that asked for any.
    pub fn found_port(&mut self, id: &DeploymentId, port: u16) {
        if let Some(deployment) = self.deployments.get_mut(id) {
            deployment.listen.set_port(port);
            if let Some(host) = deployment.address.strip_suffix(":0") {
                deployment.address = format!("{host}:{port}");
            }
        }
    }

    /// The regions of a service, in order.
    pub fn regions_of(&self, service: &str) -> impl Iterator<Item = &Arc<str>> {
        let ids = self.deployments.keys().filter(move |id| *id.service == *service);
        ids.map(|id| &id.region)
    }

    /// The deployments of a region, in the order of the services.
    pub fn of_region(&self, region: &Arc<str>) -> Vec<DeploymentId> {
        let ids = self.services.iter().map(|s| DeploymentId::new(s.clone(), region.clone()));
        ids.filter(|id| self.deployments.contains_key(id)).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for region in &self.regions {
            let mark = if *region == self.control_region { " (control)" } else { "" };
            writeln!(f, "{region}{mark}")?;
            for id in self.of_region(region) {
                let DeploymentPlan { listen, address, storage, start_version, .. } =
                    &self.deployments[&id];
                write!(f, "  {}: listen {listen}, reached at {address}, ", id.service)?;
                write!(f, "data in {storage}")?;
                match start_version {
                    Some(version) => writeln!(f, ", starts at {version}")?,
                    None => writeln!(f)?,
                }
            }
        }
        Ok(())
    }
}

struct Planner<'a> {
    config: &'a Config,
    registry: &'a Registry,
    mode: Mode,
    problems: Vec<Diagnostic>,
}

impl Planner<'_> {
    fn plan(&mut self, homes: &[Vec<Arc<str>>]) -> Plan {
        let regions: Vec<Arc<str>> = self.config.regions.iter().map(|r| r.name.clone()).collect();
        let mut services: Vec<Arc<str>> = vec![META.into()];
        services.extend(homes.iter().flatten().cloned());
        let mut plan = Plan {
            generation: self.config.generation,
            regions,
            control_region: self.config.control_region.clone(),
            services,
            deployments: BTreeMap::new(),
        };
        let config = self.config;
        self.add(&mut plan, &config.meta, &META.into());
        for (service, names) in config.services.iter().zip(homes) {
            if names.len() > 1 && !service.deployments.is_empty() {
                let message = format!("`deployments` for a folder of {} services", names.len());
                let help = "list the folder of each service by itself";
                let problem = Diagnostic::error(code::BAD_CONFIGURATION, &service.place, message);
                self.problems.push(problem.help(help));
            }
            names.iter().for_each(|name| self.add(&mut plan, service, name));
        }
        plan
    }

    /// Adds the deployments of one service.
    fn add(&mut self, plan: &mut Plan, service: &ServiceConfig, name: &Arc<str>) {
        let index = plan.services.iter().position(|known| known == name).unwrap_or(0);
        for region in &self.config.regions {
            if service.regions.as_ref().is_some_and(|own| !own.contains(&region.name)) {
                continue;
            }
            let said = service.deployments.get(&region.name);
            if let Some(deployment) = self.deployment(region, said, name, index) {
                plan.deployments
                    .insert(DeploymentId::new(name.clone(), region.name.clone()), deployment);
            }
        }
    }

    fn deployment(
        &mut self,
        region: &RegionConfig,
        said: Option<&DeploymentConfig>,
        service: &str,
        index: usize,
    ) -> Option<DeploymentPlan> {
        let listen = match (self.mode, said.and_then(|said| said.listen)) {
            (Mode::Together, _) => region.listen,
            (Mode::Apart, Some(own)) => own,
            (Mode::Apart, None) => self.beside(region, index, service)?,
        };
        let address = match self.mode {
            Mode::Together => region.address.clone(),
            Mode::Apart => said.and_then(|said| said.address.clone()),
        };
        let version = said.and_then(|said| said.start_version.clone());
        if let (Some(version), Some(said)) = (&version, said) {
            self.check_version(service, version, said);
        }
        let storage = said.and_then(|said| said.storage.clone());
        let storage = storage.or_else(|| region.storage.clone());
        Some(DeploymentPlan {
            listen,
            address: address.unwrap_or_else(|| reached(listen).to_string()),
            storage: storage.unwrap_or_else(|| self.config.storage.clone()),
            start_version: version,
            generation: said.map_or(0, |said| said.generation),
        })
    }

    /// The region's port, and one more for each service before this one; any free port stays that.
    fn beside(&mut self, region: &RegionConfig, index: usize, service: &str) -> Option<SocketAddr> {
        let mut listen = region.listen;
        if listen.port() == 0 {
            return Some(listen);
        }
        let port = u16::try_from(index + 1).ok().and_then(|more| listen.port().checked_add(more));
        let Some(port) = port else {
            let message = format!("there is no port for {service} above {}", listen.port());
            let problem = Diagnostic::error(code::BAD_CONFIGURATION, &region.place, message);
            self.problems.push(problem.help("take a lower port for the region"));
            return None;
        };
        listen.set_port(port);
        Some(listen)
    }

    fn check_version(&mut self, service: &str, version: &str, said: &DeploymentConfig) {
        let Some(service) = self.service(service) else { return };
        let known: Vec<&str> = service.versions.iter().map(|v| v.version.as_str()).collect();
        if known.contains(&version) {
            return;
        }
        let help = match nearest(version, &known) {
            Some(near) => format!("did you mean `{near}`? It has {}", known.join(", ")),
            None => format!("it has {}", known.join(", ")),
        };
        let message = format!("{} has no version \"{version}\"", service.name);
        let problem = Diagnostic::error(code::NOT_CONFIGURED, &said.place, message);
        self.problems.push(problem.help(help));
    }

    fn service(&self, name: &str) -> Option<&Service> {
        self.registry.services.iter().map(|s| &**s).find(|service| service.name == *name)
    }

    /// No two may have one port: regions in one process, deployments as processes.
    fn check_ports(&mut self, plan: &Plan) {
        let listens = plan.deployments.iter().map(|(id, deployment)| match self.mode {
            Mode::Together => (id.region.to_string(), deployment.listen, &id.region),
            Mode::Apart => (id.to_string(), deployment.listen, &id.region),
        });
        let mut seen: BTreeMap<SocketAddr, String> = BTreeMap::new();
        for (who, listen, region) in listens {
            if listen.port() == 0 {
                continue;
            }
            let first = seen.entry(listen).or_insert_with(|| who.clone());
            if *first != who {
                let message = format!("{first} and {who} both listen on {listen}");
                let place = self.config.regions.iter().find(|r| r.name == *region);
                let place = place.map(|region| region.place.clone()).unwrap_or_default();
                let help = match self.mode {
                    Mode::Together => "give every region a port of its own",
                    Mode::Apart => {
                        "leave room between the regions' ports, one for each service, or say `listen` for the deployment"
                    }
                };
                let problem = Diagnostic::error(code::BAD_CONFIGURATION, &place, message);
                self.problems.push(problem.help(help));
            }
        }
    }

    /// A service needs what it imports in each of its regions. What is not loaded at all the loader has warned of.
    fn check_imports(&mut self, plan: &Plan, homes: &[Vec<Arc<str>>]) {
        for (config, names) in self.config.services.iter().zip(homes) {
            for name in names {
                for import in self.imports(name) {
                    let is_known = plan.services.iter().any(|known| **known == *import);
                    let there: BTreeSet<_> = plan.regions_of(&import).collect();
                    let missing = plan.regions_of(name).filter(|region| !there.contains(region));
                    let missing: Vec<&str> = missing.map(|region| &**region).collect();
                    if !is_known || missing.is_empty() {
                        continue;
                    }
                    let message =
                        format!("{name} imports {import}, which is not in {}", missing.join(", "));
                    let problem = Diagnostic::error(code::NOT_CONFIGURED, &config.place, message);
                    let help = "deploy the imported service there too, or take the region away";
                    self.problems.push(problem.help(help));
                }
            }
        }
    }

    fn imports(&self, service: &str) -> BTreeSet<String> {
        let versions = self.service(service).into_iter().flat_map(|service| &service.versions);
        versions.flat_map(|version| version.imports.keys().cloned()).collect()
    }
}

/// Where somebody on this machine reaches what listens on `listen`.
fn reached(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bowline_schema::source::Source;
    use expect_test::{Expect, expect};

    use super::*;

    fn service(name: &str, versions: &[&str], imports: &str) -> Source {
        let package = name.split('.').next().unwrap_or("x");
        let mut yaml = format!("name: {name}\nversions:\n");
        let mut files = Vec::new();
        for version in versions {
            yaml += &format!(
                "  {version}: {{ package: {package}.{version}, imports: {{ {imports} }} }}\n"
            );
            let proto = format!(
                "syntax = \"proto3\";\npackage {package}.{version};\nimport \"google/api/resource.proto\";\n\
                 message Thing {{\n  option (google.api.resource) = {{ type: \"{name}/Thing\" pattern: \"things/{{thing}}\" }};\n  string name = 1;\n}}\n"
            );
            files.push((format!("{package}/{version}/thing.proto"), proto));
        }
        Source::Files { service_yaml: Some(yaml), files }
    }

    fn plan(text: &str, mode: Mode) -> Result<Plan, ConfigError> {
        let sources = [
            service("iam.example.com", &["v1"], ""),
            service("devices.example.com", &["v1alpha2", "v1"], "iam.example.com: v1"),
        ];
        let loaded = bowline_schema::load(&sources);
        assert!(
            !loaded.has_errors(),
            "{}",
            bowline_schema::diagnostic::render(&loaded.diagnostics)
        );
        let homes = [vec!["iam.example.com".into()], vec!["devices.example.com".into()]];
        let config = Config::parse("bowline.yaml", Path::new("fleet"), text, |_| None)?;
        Plan::of(&config, &loaded.registry, &homes, mode)
    }

    #[track_caller]
    fn planned(text: &str, mode: Mode, expected: Expect) {
        match plan(text, mode) {
            Ok(plan) => expected.assert_eq(&plan.to_string()),
            Err(error) => expected.assert_eq(&error.to_string()),
        }
    }

    const TWO: &str = "
regions:
  eu: { listen: 127.0.0.1:7410 }
  us: { listen: 0.0.0.0:7430, address: us.example.com:443, store: us-data }
services:
  - iam
  - folder: devices
    regions: [us]
    deployments: { us: { listen: 127.0.0.1:7501, store: memory, start_version: v1alpha2 } }
";

    #[test]
    fn together_the_deployments_of_a_region_share_its_port() {
        planned(
            TWO,
            Mode::Together,
            expect![[r#"
            eu (control)
              meta.goten.com: listen 127.0.0.1:7410, reached at 127.0.0.1:7410, data in fleet/bowline-data
              iam.example.com: listen 127.0.0.1:7410, reached at 127.0.0.1:7410, data in fleet/bowline-data
            us
              meta.goten.com: listen 0.0.0.0:7430, reached at us.example.com:443, data in fleet/us-data
              iam.example.com: listen 0.0.0.0:7430, reached at us.example.com:443, data in fleet/us-data
              devices.example.com: listen 0.0.0.0:7430, reached at us.example.com:443, data in memory, starts at v1alpha2
        "#]],
        );
    }

    #[test]
    fn apart_each_deployment_has_a_port_of_its_own() {
        planned(
            TWO,
            Mode::Apart,
            expect![[r#"
            eu (control)
              meta.goten.com: listen 127.0.0.1:7411, reached at 127.0.0.1:7411, data in fleet/bowline-data
              iam.example.com: listen 127.0.0.1:7412, reached at 127.0.0.1:7412, data in fleet/bowline-data
            us
              meta.goten.com: listen 0.0.0.0:7431, reached at 127.0.0.1:7431, data in fleet/us-data
              iam.example.com: listen 0.0.0.0:7432, reached at 127.0.0.1:7432, data in fleet/us-data
              devices.example.com: listen 127.0.0.1:7501, reached at 127.0.0.1:7501, data in memory, starts at v1alpha2
        "#]],
        );
    }

    #[test]
    fn what_does_not_fit_together_is_told_with_its_place() {
        let text = "
regions: { eu: { listen: 127.0.0.1:7410 }, us: { listen: 127.0.0.1:7412 } }
services:
  - { folder: iam, regions: [eu] }
  - folder: devices
    deployments: { us: { start_version: v2 } }
";
        planned(
            text,
            Mode::Apart,
            expect![[r#"
            the configuration cannot be used
            error[BL070]: devices.example.com@eu and meta.goten.com@us both listen on 127.0.0.1:7413
              --> bowline.yaml:2:44
              = help: leave room between the regions' ports, one for each service, or say `listen` for the deployment

            error[BL071]: devices.example.com imports iam.example.com, which is not in us
              --> bowline.yaml:5:5
              = help: deploy the imported service there too, or take the region away

            error[BL071]: devices.example.com has no version "v2"
              --> bowline.yaml:6:20
              = help: did you mean `v1`? It has v1alpha2, v1

            3 errors, 0 warnings
        "#]],
        );
    }

    #[test]
    fn two_regions_in_one_process_need_two_ports() {
        let text = "
regions: { eu: { listen: 127.0.0.1:7410 }, us: { listen: 127.0.0.1:7410 } }
services: [ iam, devices ]
";
        planned(
            text,
            Mode::Together,
            expect![[r#"
            the configuration cannot be used
            error[BL070]: eu and us both listen on 127.0.0.1:7410
              --> bowline.yaml:2:44
              = help: give every region a port of its own

            1 error, 0 warnings
        "#]],
        );
    }

    #[test]
    fn ports_end() {
        let text = "
regions: { eu: { listen: 127.0.0.1:65534 } }
services: [ iam, devices ]
";
        planned(
            text,
            Mode::Apart,
            expect![[r#"
            the configuration cannot be used
            error[BL070]: there is no port for devices.example.com above 65534
              --> bowline.yaml:2:12
              = help: take a lower port for the region

            error[BL070]: there is no port for iam.example.com above 65534
              --> bowline.yaml:2:12
              = help: take a lower port for the region

            2 errors, 0 warnings
        "#]],
        );
    }
}
