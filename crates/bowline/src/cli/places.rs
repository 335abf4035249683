//! Where the data of deployments is, as `backup` and `restore` are told: a store and a region, or a fleet's configuration.

use bowline::Storage;
use bowline::config::{self, Config, Mode, Plan};
use bowline::storage::REGION;
use bowline_base::Seams;
use bowline_node::DeploymentId;

use super::args::{PlaceArgs, StoreArgs};
use super::error::Error;

/// A deployment and where its data is.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) id: DeploymentId,
    pub(crate) storage: Storage,
}

/// Where deployments are restored to.
pub(crate) enum Targets {
    /// Those of one region, into one store.
    All { region: String, storage: Storage },
    /// Each to where the configuration has it.
    Planned(Vec<Home>),
}

impl Targets {
    /// `None` if the deployment is none of those that are restored.
    pub(crate) fn of(&self, id: &DeploymentId) -> Option<Storage> {
        match self {
            Self::All { region, storage } => (*id.region == **region).then(|| storage.clone()),
            Self::Planned(homes) => {
                let home = homes.iter().find(|home| home.id == *id)?;
                Some(home.storage.clone())
            }
        }
    }
}

/// The deployments that have data, in order.
pub(crate) async fn homes(
    store: &StoreArgs,
    place: &PlaceArgs,
    seams: &Seams,
) -> Result<Vec<Home>, Error> {
    match targets(store, place)? {
        Targets::All { storage: Storage::Memory, region } => {
            Ok(vec![Home { id: DeploymentId::new("", region), storage: Storage::Memory }])
        }
        Targets::All { region, storage } => {
            let services = storage.services(&region, seams).await?;
            let home = |service: String| Home {
                id: DeploymentId::new(service, region.as_str()),
                storage: storage.clone(),
            };
            Ok(services.into_iter().map(home).collect())
        }
        Targets::Planned(planned) => {
            let mut there = Vec::new();
            for home in planned {
                // Opening a store would make it.
                if home.storage == Storage::Memory || home.storage.has(&home.id, seams).await? {
                    there.push(home);
                }
            }
            Ok(there)
        }
    }
}

/// Where each deployment would be.
pub(crate) fn targets(store: &StoreArgs, place: &PlaceArgs) -> Result<Targets, Error> {
    let Some(file) = &place.config else {
        let region = place.region.clone().unwrap_or_else(|| REGION.to_owned());
        return Ok(Targets::All { region, storage: store.storage() });
    };
    let mut config = Config::read(file, config::environment)?;
    if let Some(storage) = store.given() {
        config.set_storage(storage);
    }
    let plan = bowline::fleet::load(&config)?.plan(&config, Mode::Apart)?;
    if let Some(region) = &place.region {
        check_region(&plan, region)?;
    }
    let is_wanted = |id: &DeploymentId| match &place.region {
        Some(region) => *id.region == **region,
        None => true,
    };
    let wanted = plan.deployments.into_iter().filter(|(id, _)| is_wanted(id));
    let homes = wanted.map(|(id, deployment)| Home { id, storage: deployment.storage });
    Ok(Targets::Planned(homes.collect()))
}

/// A region that is not configured is a misspelt one.
pub(crate) fn check_region(plan: &Plan, region: &str) -> Result<(), Error> {
    if plan.regions.iter().any(|known| **known == *region) {
        return Ok(());
    }
    let known: Vec<&str> = plan.regions.iter().map(|known| &**known).collect();
    let problem = format!("there is no region \"{region}\"; the regions are {}", known.join(", "));
    Err(Error::Usage { problem })
}
