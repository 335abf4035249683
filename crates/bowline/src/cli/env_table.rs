//! What `bowline env` prints: a table of services by regions, or the same as data. Pure but for the writing.
//!
//! A cell says version and health. Where all deployments of a region share one address it stands under the region,
//! otherwise in each cell; `-o wide` has a line for each deployment instead.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use bowline_wire::goten::meta::v1::deployment::upgrade_state::Stage;
use bowline_wire::goten::meta::v1::{Deployment, Region, Service};
use serde::Serialize;

use super::args::Format;
use super::env_health::Health;
use super::error::Error;
use super::print::{TableWriter, pretty, yaml};

/// All that is deployed.
#[derive(Debug, Serialize)]
pub(crate) struct Fleet {
    /// Names, without `regions/`.
    regions: BTreeSet<String>,
    services: BTreeSet<String>,
    /// By service and region.
    deployments: Vec<Line>,
}

/// One deployment.
#[derive(Debug, Serialize)]
struct Line {
    service: String,
    region: String,
    version: String,
    /// The version that an upgrade under way leads to.
    #[serde(rename = "upgradingTo", skip_serializing_if = "Option::is_none")]
    upgrading_to: Option<String>,
    health: &'static str,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Fleet {
    pub(crate) fn new(
        regions: &[Region],
        services: &[Service],
        deployments: &[Deployment],
        health: &BTreeMap<String, Health>,
    ) -> Self {
        let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let mut lines: Vec<Line> = deployments.iter().map(|one| Line::of(one, health)).collect();
        lines.sort_by(|a, b| (&a.service, &a.region).cmp(&(&b.service, &b.region)));
        // A deployment of something that is not registered itself is shown all the same.
        let regions = regions.iter().map(|region| last(&region.name));
        let services = services.iter().map(|service| last(&service.name));
        Self {
            regions: regions.chain(lines.iter().map(|line| line.region.clone())).collect(),
            services: services.chain(lines.iter().map(|line| line.service.clone())).collect(),
            deployments: lines,
        }
    }

    fn at(&self, service: &str, region: &str) -> Option<&Line> {
        self.deployments.iter().find(|line| line.service == service && line.region == region)
    }

    /// The address that all deployments of a region have, if they have one.
    fn shared_address(&self, region: &str) -> Option<&str> {
        let mut here = self.deployments.iter().filter(|line| line.region == region);
        let first = here.next()?.address.as_str();
        here.all(|line| line.address == first).then_some(first)
    }
}

impl Line {
    fn of(deployment: &Deployment, health: &BTreeMap<String, Health>) -> Self {
        let mut parts = deployment.name.split('/').skip(1).step_by(2);
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (service, region) = (part(), part());
        let (health, problem) = state(deployment, health);
        Self {
            service,
            region,
            version: deployment.current_version.clone(),
            upgrading_to: upgrading_to(deployment),
            health,
            address: deployment.public_domain.clone(),
            problem,
        }
    }

    fn version(&self) -> String {
        let version = if self.version.is_empty() { "?" } else { &self.version };
        match &self.upgrading_to {
            Some(next) => format!("{version}->{next}"),
            None => version.to_owned(),
        }
    }
}

fn upgrading_to(deployment: &Deployment) -> Option<String> {
    let state = deployment.upgrade_state.as_ref()?;
    (state.stage() != Stage::Ready).then(|| state.target_version.clone())
}

fn state(
    deployment: &Deployment,
    health: &BTreeMap<String, Health>,
) -> (&'static str, Option<String>) {
    if deployment.is_disabled {
        return ("disabled", None);
    }
    match health.get(&deployment.public_domain) {
        Some(Health::Serving) => ("serving", None),
        Some(Health::NotServing) => ("not serving", None),
        Some(Health::Unreachable(problem)) => ("unreachable", Some(problem.clone())),
        None => ("unreachable", Some("it has no address".to_owned())),
    }
}

pub(crate) fn print(out: &mut dyn Write, fleet: &Fleet, format: Format) -> Result<(), Error> {
    match format {
        Format::Table => matrix(out, fleet),
        Format::Wide => lines(out, fleet),
        Format::Json => Ok(writeln!(out, "{}", pretty(&value(fleet)?, 0))?),
        Format::Yaml => Ok(write!(out, "{}", yaml(&value(fleet)?)?)?),
        Format::Name => {
            for line in &fleet.deployments {
                writeln!(out, "services/{}/deployments/{}", line.service, line.region)?;
            }
            Ok(())
        }
    }
}

fn value(fleet: &Fleet) -> Result<serde_json::Value, Error> {
    serde_json::to_value(fleet).map_err(|error| Error::Answer { problem: error.to_string() })
}

fn matrix(out: &mut dyn Write, fleet: &Fleet) -> Result<(), Error> {
    let titles = ["SERVICE".to_owned()].into_iter().chain(fleet.regions.iter().cloned()).collect();
    let shared: Vec<&str> = fleet
        .regions
        .iter()
        .map(|region| fleet.shared_address(region).unwrap_or_default())
        .collect();
    let mut rows = Vec::new();
    if shared.iter().any(|address| !address.is_empty()) {
        let addresses = shared.iter().map(|address| (*address).to_owned());
        rows.push([String::new()].into_iter().chain(addresses).collect());
    }
    for service in &fleet.services {
        let cell = |(region, shared): (&String, &&str)| match fleet.at(service, region) {
            None => "-".to_owned(),
            Some(line) if shared.is_empty() => {
                format!("{} {} {}", line.version(), line.health, line.address).trim_end().to_owned()
            }
            Some(line) => format!("{} {}", line.version(), line.health),
        };
        let cells = fleet.regions.iter().zip(&shared).map(cell);
        rows.push([service.clone()].into_iter().chain(cells).collect());
    }
    TableWriter::new(titles).rows(out, rows)
}

fn lines(out: &mut dyn Write, fleet: &Fleet) -> Result<(), Error> {
    let titles = ["SERVICE", "REGION", "VERSION", "HEALTH", "ADDRESS", "PROBLEM"];
    let row = |line: &Line| {
        vec![
            line.service.clone(),
            line.region.clone(),
            line.version(),
            line.health.to_owned(),
            line.address.clone(),
            line.problem.clone().unwrap_or_default(),
        ]
    };
    let rows = fleet.deployments.iter().map(row).collect();
    TableWriter::new(titles.map(str::to_owned).to_vec()).rows(out, rows)
}

#[cfg(test)]
mod tests {
    use bowline_wire::goten::meta::v1::deployment::UpgradeState;
    use expect_test::{Expect, expect};

    use super::*;

    fn deployment(service: &str, region: &str, address: &str) -> Deployment {
        Deployment {
            name: format!("services/{service}/deployments/{region}"),
            current_version: "v1".into(),
            public_domain: address.into(),
            ..Deployment::default()
        }
    }

    fn fleet(deployments: &[Deployment]) -> Fleet {
        let region = |name: &str| Region { name: format!("regions/{name}"), ..Region::default() };
        let service =
            |name: &str| Service { name: format!("services/{name}"), ..Service::default() };
        let health = BTreeMap::from([
            ("h:1".to_owned(), Health::Serving),
            ("h:2".to_owned(), Health::Unreachable("connection refused".into())),
            ("h:3".to_owned(), Health::NotServing),
        ]);
        let regions = [region("us-east"), region("eu-west"), region("asia")];
        Fleet::new(&regions, &[service("iam.test"), service("devices.test")], deployments, &health)
    }

    fn check(format: Format, fleet: &Fleet, expected: Expect) {
        let mut out = Vec::new();
        print(&mut out, fleet, format).unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn one_address_for_a_region_stands_under_it() {
        let fleet = fleet(&[
            deployment("iam.test", "us-east", "h:2"),
            deployment("iam.test", "eu-west", "h:1"),
            deployment("devices.test", "eu-west", "h:1"),
        ]);
        check(
            Format::Table,
            &fleet,
            expect![[r#"
            SERVICE       asia  eu-west     us-east
                                h:1         h:2
            devices.test  -     v1 serving  -
            iam.test      -     v1 serving  v1 unreachable
        "#]],
        );
    }

    #[test]
    fn addresses_of_their_own_stand_in_the_cells() {
        let upgrade = UpgradeState {
            target_version: "v2".into(),
            stage: Stage::InitialSyncing.into(),
            ..UpgradeState::default()
        };
        let fleet = fleet(&[
            deployment("iam.test", "eu-west", "h:1"),
            Deployment {
                upgrade_state: Some(upgrade),
                ..deployment("devices.test", "eu-west", "h:3")
            },
            Deployment { is_disabled: true, ..deployment("iam.test", "us-east", "h:2") },
            deployment("devices.test", "us-east", ""),
        ]);
        check(
            Format::Table,
            &fleet,
            expect![[r#"
            SERVICE       asia  eu-west                 us-east
            devices.test  -     v1->v2 not serving h:3  v1 unreachable
            iam.test      -     v1 serving h:1          v1 disabled h:2
        "#]],
        );
        check(
            Format::Wide,
            &fleet,
            expect![[r#"
            SERVICE       REGION   VERSION  HEALTH       ADDRESS  PROBLEM
            devices.test  eu-west  v1->v2   not serving  h:3
            devices.test  us-east  v1       unreachable           it has no address
            iam.test      eu-west  v1       serving      h:1
            iam.test      us-east  v1       disabled     h:2
        "#]],
        );
        check(
            Format::Name,
            &fleet,
            expect![[r#"
            services/devices.test/deployments/eu-west
            services/devices.test/deployments/us-east
            services/iam.test/deployments/eu-west
            services/iam.test/deployments/us-east
        "#]],
        );
    }

    #[test]
    fn as_data_it_says_the_same() {
        let fleet = fleet(&[deployment("iam.test", "us-east", "h:2")]);
        check(
            Format::Json,
            &fleet,
            expect![[r#"
            {
              "regions": [
                "asia",
                "eu-west",
                "us-east"
              ],
              "services": [
                "devices.test",
                "iam.test"
              ],
              "deployments": [
                {
                  "service": "iam.test",
                  "region": "us-east",
                  "version": "v1",
                  "health": "unreachable",
                  "address": "h:2",
                  "problem": "connection refused"
                }
              ]
            }
        "#]],
        );
        check(
            Format::Yaml,
            &fleet,
            expect![[r#"
            regions:
            - asia
            - eu-west
            - us-east
            services:
            - devices.test
            - iam.test
            deployments:
            - service: iam.test
              region: us-east
              version: v1
              health: unreachable
              address: h:2
              problem: connection refused
        "#]],
        );
    }
}
