//! From the tree of a `bowline.yaml` to a [`Config`]: every key that is known, and a diagnostic for everything else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline_schema::diagnostic::{Diagnostic, code, sorted};

use super::expand::expand;
use super::tree::{self, Key, Node, Position, Value};
use super::{Config, DeploymentConfig, Identity, RegionConfig, ServiceConfig};
use crate::storage::Storage;

/// How far a misspelt word may be from the one that is suggested: changed letters.
const SUGGESTION_DISTANCE_MAX: usize = 3;
/// Longest name of a region: it becomes a part of names of files, schemas and resources.
const REGION_BYTES_MAX: usize = 40;
/// Where data and keys are unless the file says otherwise, from the file's folder.
const DATA: &str = "bowline-data";

/// Reads the text of a file, as far as it can be, and gives all that is wrong with it.
pub(super) fn read(
    file: &str,
    folder: &Path,
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Diagnostic>> {
    let root = tree::parse(file, text).map_err(|problem| vec![problem])?;
    let mut reader = Reader { file, folder, variable, problems: Vec::new() };
    let config = reader.config(&root);
    match config {
        Some(config) if reader.problems.is_empty() => Ok(config),
        _ => Err(sorted(reader.problems)),
    }
}

struct Reader<'a> {
    file: &'a str,
    folder: &'a Path,
    variable: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Diagnostic>,
}

/// The values of a map whose keys were checked.
struct Keys<'n> {
    entries: BTreeMap<&'n str, &'n Node>,
    at: Position,
}

impl<'n> Keys<'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.get(key).copied()
    }
}

impl Reader<'_> {
    fn config(&mut self, root: &Node) -> Option<Config> {
        let known =
            ["regions", "control_region", "generation", "store", "identity", "meta", "services"];
        let keys = self.keys(root, &known, "the configuration")?;
        let regions = self.regions(&keys);
        let names: Vec<Arc<str>> = regions.iter().map(|region| region.name.clone()).collect();
        let control = keys.get("control_region").and_then(|node| self.region(node, &names));
        let identity = match keys.get("identity") {
            Some(node) => self.identity(node),
            None => Some(Identity::Made(self.folder.join(DATA).join("identity"))),
        };
        let storage = match keys.get("store") {
            Some(node) => self.storage(node),
            None => Some(Storage::Folder(self.folder.join(DATA))),
        };
        let meta = match keys.get("meta") {
            Some(node) => self.meta(node, &names),
            None => Some(ServiceConfig::default()),
        };
        let services = self.services(&keys, &names);
        let first = names.first().cloned();
        let generation = keys.get("generation").and_then(|node| self.generation(node));
        Some(Config {
            file: self.file.to_owned(),
            data: self.folder.join(DATA),
            control_region: control.or(first)?,
            regions,
            generation: generation.unwrap_or(1),
            identity: identity?,
            storage: storage?,
            meta: meta?,
            services,
        })
    }

    fn regions(&mut self, keys: &Keys<'_>) -> Vec<RegionConfig> {
        let Some(node) = keys.get("regions") else {
            let help = "name at least one: `regions: { eu-west: { listen: 127.0.0.1:7410 } }`";
            self.problem(keys.at, "no `regions`", help);
            return Vec::new();
        };
        let Some(entries) = self.map(node, "`regions`") else { return Vec::new() };
        if entries.is_empty() {
            let help = "name at least one: `regions: { eu-west: { listen: 127.0.0.1:7410 } }`";
            self.problem(node.at, "`regions` is empty", help);
        }
        entries.iter().filter_map(|(key, node)| self.region_config(key, node)).collect()
    }

    fn region_config(&mut self, key: &Key, node: &Node) -> Option<RegionConfig> {
        if !is_region(&key.text) {
            let message = format!("\"{}\" is no name of a region", key.text);
            let help = format!(
                "a name begins with a letter, has a-z, 0-9 and `-`, and at most {REGION_BYTES_MAX} of them"
            );
            self.problem(key.at, &message, &help);
        }
        let keys = self.keys(node, &["listen", "address", "store"], "a region")?;
        let Some(listen) = keys.get("listen") else {
            let help = "say where it listens: `listen: 127.0.0.1:7410`";
            self.problem(key.at, &format!("region {} has no `listen`", key.text), help);
            return None;
        };
        Some(RegionConfig {
            name: key.text.as_str().into(),
            listen: self.listen(listen)?,
            address: keys.get("address").and_then(|node| self.address(node)),
            storage: keys.get("store").and_then(|node| self.storage(node)),
            place: key.at.of(self.file),
        })
    }

    fn meta(&mut self, node: &Node, regions: &[Arc<str>]) -> Option<ServiceConfig> {
        let keys = self.keys(node, &["deployments"], "`meta`")?;
        let deployments = self.deployments(&keys, regions);
        // It comes with the program, so there is no choice of version.
        for deployment in deployments.values().filter(|d| d.start_version.is_some()) {
            let message = "the meta service starts at the version that the program has";
            let problem = Diagnostic::error(code::BAD_CONFIGURATION, &deployment.place, message);
            self.problems.push(problem.help("take `start_version` away"));
        }
        let place = node.at.of(self.file);
        Some(ServiceConfig { deployments, place, ..ServiceConfig::default() })
    }

    fn services(&mut self, keys: &Keys<'_>, regions: &[Arc<str>]) -> Vec<ServiceConfig> {
        let help = "name the folders: `services: [ { folder: services/devices } ]`";
        let Some(node) = keys.get("services") else {
            self.problem(keys.at, "no `services`", help);
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            let message = format!("`services` is {}, not a list", node.value.what());
            self.problem(node.at, &message, help);
            return Vec::new();
        };
        if items.is_empty() {
            self.problem(node.at, "`services` is empty", help);
        }
        items.iter().filter_map(|item| self.service(item, regions)).collect()
    }

    fn service(&mut self, node: &Node, regions: &[Arc<str>]) -> Option<ServiceConfig> {
        let place = node.at.of(self.file);
        if let Value::Text(_) = &node.value {
            let folder = self.path(node)?;
            return Some(ServiceConfig { folder, place, ..ServiceConfig::default() });
        }
        let keys = self.keys(node, &["folder", "regions", "deployments"], "a service")?;
        let deployments = self.deployments(&keys, regions);
        let own = keys.get("regions").and_then(|node| self.region_list(node, regions));
        let Some(folder) = keys.get("folder") else {
            let help = "say where its protos are: `folder: services/devices`";
            self.problem(node.at, "a service without `folder`", help);
            return None;
        };
        for (region, deployment) in &deployments {
            if own.as_ref().is_some_and(|own| !own.contains(region)) {
                let message = format!("the service is not in {region}");
                let problem = Diagnostic::error(code::NOT_CONFIGURED, &deployment.place, message);
                self.problems.push(problem.help("add the region to the service's `regions`"));
            }
        }
        Some(ServiceConfig { folder: self.path(folder)?, regions: own, deployments, place })
    }

    fn deployments(
        &mut self,
        keys: &Keys<'_>,
        regions: &[Arc<str>],
    ) -> BTreeMap<Arc<str>, DeploymentConfig> {
        let Some(node) = keys.get("deployments") else { return BTreeMap::new() };
        let Some(entries) = self.map(node, "`deployments`") else { return BTreeMap::new() };
        let mut deployments = BTreeMap::new();
        for (key, node) in entries {
            let region = self.known_region(key.at, &key.text, regions);
            let deployment = self.deployment(key, node);
            if let (Some(region), Some(deployment)) = (region, deployment) {
                deployments.insert(region, deployment);
            }
        }
        deployments
    }

    fn deployment(&mut self, key: &Key, node: &Node) -> Option<DeploymentConfig> {
        let known = ["listen", "address", "store", "start_version", "generation"];
        let keys = self.keys(node, &known, "a deployment")?;
        Some(DeploymentConfig {
            listen: keys.get("listen").and_then(|node| self.listen(node)),
            address: keys.get("address").and_then(|node| self.address(node)),
            storage: keys.get("store").and_then(|node| self.storage(node)),
            start_version: keys.get("start_version").and_then(|node| self.text(node)),
            generation: keys.get("generation").and_then(|node| self.generation(node)).unwrap_or(0),
            place: key.at.of(self.file),
        })
    }

    fn generation<N: std::str::FromStr + Default + PartialOrd>(
        &mut self,
        node: &Node,
    ) -> Option<N> {
        let text = self.text(node)?;
        let number = text.parse().ok().filter(|number| *number > N::default());
        if number.is_none() {
            let message = format!("\"{text}\" is no generation");
            self.problem(node.at, &message, "write a number from 1");
        }
        number
    }

    fn identity(&mut self, node: &Node) -> Option<Identity> {
        if let Value::Text(_) = &node.value {
            return self.path(node).map(Identity::Made);
        }
        let keys = self.keys(node, &["private", "public"], "`identity`")?;
        let (private, public) = (keys.get("private"), keys.get("public"));
        let (Some(private), Some(public)) = (private, public) else {
            let help = "either a folder in which keys are made, or both: `identity: { private: FOLDER, public: FOLDER }`";
            self.problem(node.at, "`identity` needs `private` and `public`", help);
            return None;
        };
        Some(Identity::Given { private: self.path(private)?, public: self.path(public)? })
    }

    fn region_list(&mut self, node: &Node, regions: &[Arc<str>]) -> Option<Vec<Arc<str>>> {
        let Value::List(items) = &node.value else {
            let message = format!("`regions` of a service is {}, not a list", node.value.what());
            self.problem(node.at, &message, "write it as `regions: [eu-west, us-east]`");
            return None;
        };
        if items.is_empty() {
            self.problem(node.at, "a service that is in no region", "leave `regions` out for all");
        }
        let mut list: Vec<Arc<str>> = Vec::new();
        for item in items {
            let Some(region) = self.region(item, regions) else { continue };
            match list.contains(&region) {
                true => self.problem(item.at, &format!("{region} comes twice"), ""),
                false => list.push(region),
            }
        }
        Some(list)
    }

    fn region(&mut self, node: &Node, regions: &[Arc<str>]) -> Option<Arc<str>> {
        let text = self.text(node)?;
        self.known_region(node.at, &text, regions)
    }

    fn known_region(&mut self, at: Position, text: &str, regions: &[Arc<str>]) -> Option<Arc<str>> {
        let found = regions.iter().find(|region| ***region == *text).cloned();
        if found.is_none() {
            let known: Vec<&str> = regions.iter().map(|region| &**region).collect();
            let help = match nearest(text, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the regions are {}", known.join(", ")),
            };
            let message = format!("there is no region \"{text}\"");
            let problem = Diagnostic::error(code::NOT_CONFIGURED, &at.of(self.file), message);
            self.problems.push(problem.help(help));
        }
        found
    }

    fn listen(&mut self, node: &Node) -> Option<SocketAddr> {
        let text = self.text(node)?;
        let read = text.parse().ok();
        if read.is_none() {
            let message = format!("\"{text}\" is no address to listen on");
            let help = "write IP and port: `127.0.0.1:7410`, `0.0.0.0:7410`, `[::1]:7410`";
            self.problem(node.at, &message, help);
        }
        read
    }

    fn address(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        let is_good = text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|p| p > 0)
        });
        if !is_good {
            let message = format!("\"{text}\" is no address that others can call");
            self.problem(node.at, &message, "write host and port: `eu.example.com:7410`");
        }
        is_good.then_some(text)
    }

    fn storage(&mut self, node: &Node) -> Option<Storage> {
        let text = self.text(node)?;
        match text.parse() {
            Ok(Storage::Folder(folder)) => Some(Storage::Folder(self.folder.join(folder))),
            Ok(storage) => Some(storage),
            Err(error) => {
                // The text may hold a password, so it is not shown; the place is.
                self.problem(node.at, &format!("this is no store: {error}"), "");
                None
            }
        }
    }

    fn path(&mut self, node: &Node) -> Option<PathBuf> {
        let text = self.text(node)?;
        Some(self.folder.join(text))
    }

    /// A text that is not empty, with its variables replaced.
    fn text(&mut self, node: &Node) -> Option<String> {
        let Value::Text(text) = &node.value else {
            self.problem(node.at, &format!("{}, where a text is expected", node.value.what()), "");
            return None;
        };
        match expand(text, self.variable) {
            Ok(text) if text.is_empty() => {
                self.problem(node.at, "an empty text", "");
                None
            }
            Ok(text) => Some(text),
            Err(error) => {
                let help = "set it in the environment of the program";
                self.problem(node.at, &error.to_string(), help);
                None
            }
        }
    }

    /// The entries of a map; nothing at all is an empty one.
    fn map<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(Key, Node)]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            Value::Null => Some(&[]),
            other => {
                self.problem(node.at, &format!("{what} is {}, not a map", other.what()), "");
                None
            }
        }
    }

    fn keys<'n>(&mut self, node: &'n Node, known: &[&str], what: &str) -> Option<Keys<'n>> {
        let mut keys = Keys { entries: BTreeMap::new(), at: node.at };
        for (key, value) in self.map(node, what)? {
            if known.contains(&key.text.as_str()) {
                keys.entries.insert(&key.text, value);
                continue;
            }
            let help = match nearest(&key.text, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("{what} has {}", known.join(", ")),
            };
            let message = format!("unknown key \"{}\"", key.text);
            let problem = Diagnostic::error(code::UNKNOWN_KEY, &key.at.of(self.file), message);
            self.problems.push(problem.help(help));
        }
        Some(keys)
    }

    fn problem(&mut self, at: Position, message: &str, help: &str) {
        let problem = Diagnostic::error(code::BAD_CONFIGURATION, &at.of(self.file), message);
        self.problems.push(problem.help(help));
    }
}

/// Ids of regions are parts of resource names, of names of files, and of names of database schemas.
fn is_region(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= REGION_BYTES_MAX
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.bytes().all(plain)
        && !text.ends_with('-')
}

/// The known word that is most likely meant.
pub(super) fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &&str| strsim::damerau_levenshtein(text, word);
    let near = known.iter().copied().min_by_key(distance)?;
    let reach = SUGGESTION_DISTANCE_MAX.min(near.len() / 2);
    (distance(&near) <= reach).then_some(near)
}

#[cfg(test)]
mod tests;
