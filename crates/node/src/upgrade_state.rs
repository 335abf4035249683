//! The states of a deployment's upgrade: what each of the five methods of `meta.goten.com` does to a `Deployment`. Pure.
//!
//! `READY` with nothing available, then with an upgrade announced, then `INITIAL_SYNCING` with shards going from pending to
//! ready. Who copies the data, and the change to `SWITCHING` and back to `READY`, come with the upgrade itself. Updates of
//! data in place are in [`tasks`]. A transition that is refused leaves the deployment as it was.

mod data_version;
pub mod tasks;

use std::collections::BTreeSet;
use std::ops::Range;

use bowline_wire::goten::meta::v1::deployment::upgrade_state::Stage;
use bowline_wire::goten::meta::v1::deployment::{AvailableUpgrade, UpgradeState};
use bowline_wire::goten::meta::v1::{
    Deployment, NotifyShardsUpgradeReadinessRequest, SetAvailableUpgradeRequest,
};

pub use data_version::DataVersion;

/// Most shards that the work of an upgrade or task is cut into: each is a number in the deployment.
pub const SHARDS_MAX: i64 = 10_000;
/// Most characters of a location tag.
const LOCATION_TAG_MAX: usize = 64;

/// Why a transition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The request itself is wrong, whatever state the deployment is in.
    #[error("{problem}")]
    Field { field: &'static str, problem: String },
    #[error("no upgrade is available")]
    NothingAvailable,
    #[error("the upgrade would change nothing")]
    NothingNew,
    #[error("an upgrade is under way, in stage {stage}")]
    UnderWay { stage: &'static str },
    #[error("no upgrade is under way")]
    NotUnderWay,
    #[error("the work is cut into {registered} shards, not {told}")]
    OtherShardCount { registered: i64, told: i64 },
    #[error("no data update task {tag:?} is registered for {target}")]
    NoSuchTask { tag: String, target: String },
    #[error("{max} data update tasks are registered; no more fit until some are done")]
    TooManyTasks { max: usize },
}

impl UpgradeError {
    /// Whether another request would be accepted in the same state.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Field { field, .. } => Some(field),
            _ => None,
        }
    }
}

/// `SetAvailableUpgrade`: announces an upgrade; without any target, takes the announcement back.
///
/// Targets that are not said are the current ones. The same announcement may come again, also while the upgrade is under way.
///
/// # Errors
/// A field is wrong, the upgrade would change nothing, or another one is under way.
pub fn set_available(
    deployment: &mut Deployment,
    request: &SetAvailableUpgradeRequest,
) -> Result<(), UpgradeError> {
    let upgrade = announced(deployment, request)?;
    if deployment.available_upgrade == upgrade {
        return Ok(());
    }
    ready(deployment)?;
    if upgrade.as_ref().is_some_and(|upgrade| !changes(deployment, upgrade)) {
        return Err(UpgradeError::NothingNew);
    }
    deployment.available_upgrade = upgrade;
    Ok(())
}

fn announced(
    deployment: &Deployment,
    request: &SetAvailableUpgradeRequest,
) -> Result<Option<AvailableUpgrade>, UpgradeError> {
    let SetAvailableUpgradeRequest {
        name: _,
        target_api_version: api,
        total_shards_count: shards,
        target_db_data_version: data,
        target_db_location_tag: location,
    } = request;
    if api.is_empty() && data.is_empty() && location.is_empty() {
        return Ok(None);
    }
    check_shard_count("total_shards_count", *shards)?;
    if !data.is_empty() {
        DataVersion::parse("target_db_data_version", data)?;
    }
    if location.chars().count() > LOCATION_TAG_MAX {
        let problem = format!("is longer than {LOCATION_TAG_MAX} characters");
        return Err(UpgradeError::Field { field: "target_db_location_tag", problem });
    }
    let or = |told: &String, current: &String| if told.is_empty() { current } else { told }.clone();
    Ok(Some(AvailableUpgrade {
        api_version: or(api, &deployment.current_version),
        db_data_version: or(data, &deployment.db_data_version),
        db_location_tag: or(location, &deployment.db_location_tag),
        total_shards_count: *shards,
    }))
}

fn changes(deployment: &Deployment, upgrade: &AvailableUpgrade) -> bool {
    upgrade.api_version != deployment.current_version
        || upgrade.db_data_version != deployment.db_data_version
        || upgrade.db_location_tag != deployment.db_location_tag
}

/// `BeginUpgrade`: begins the upgrade that is available, with every shard pending.
///
/// # Errors
/// None is available, or one is under way.
pub fn begin(deployment: &mut Deployment) -> Result<(), UpgradeError> {
    ready(deployment)?;
    let available = deployment.available_upgrade.as_ref().ok_or(UpgradeError::NothingAvailable)?;
    // An announcement from before a limit was lowered, or from another server, is not trusted blindly.
    check_shard_count("total_shards_count", available.total_shards_count)?;
    deployment.upgrade_state = Some(UpgradeState {
        target_version: available.api_version.clone(),
        ready_shards: Vec::new(),
        pending_shards: (0..available.total_shards_count).collect(),
        stage: Stage::InitialSyncing.into(),
        db_data_target_version: available.db_data_version.clone(),
        db_target_location_tag: available.db_location_tag.clone(),
    });
    Ok(())
}

/// `NotifyShardsUpgradeReadiness`: moves shards from pending to ready, or back.
///
/// Shards that are where they should be stay there, so the same notice may come again. The stage stays too, also when no
/// shard is pending any more: when to change over is decided by whoever carries the upgrade out.
///
/// # Errors
/// The range is wrong, the shards are counted otherwise, no upgrade is under way, or the deployment is changing over and
/// shards fall back.
pub fn notify_shards(
    deployment: &mut Deployment,
    request: &NotifyShardsUpgradeReadinessRequest,
) -> Result<(), UpgradeError> {
    let state = deployment.upgrade_state.as_mut().ok_or(UpgradeError::NotUnderWay)?;
    let switching = match state.stage() {
        Stage::Ready => return Err(UpgradeError::NotUnderWay),
        Stage::InitialSyncing => false,
        Stage::Switching => true,
    };
    let registered = shard_count(state);
    if request.total_shards_count != registered {
        let told = request.total_shards_count;
        return Err(UpgradeError::OtherShardCount { registered, told });
    }
    let shards = shard_range(request, registered)?;
    let (from, to) = match request.ready {
        true => (&mut state.pending_shards, &mut state.ready_shards),
        false if switching => return Err(UpgradeError::UnderWay { stage: "SWITCHING" }),
        false => (&mut state.ready_shards, &mut state.pending_shards),
    };
    from.retain(|shard| !shards.contains(shard));
    let all: BTreeSet<i64> = to.iter().copied().chain(shards).collect();
    *to = all.into_iter().collect();
    Ok(())
}

fn shard_count(state: &UpgradeState) -> i64 {
    let count = state.ready_shards.len() + state.pending_shards.len();
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn shard_range(
    request: &NotifyShardsUpgradeReadinessRequest,
    count: i64,
) -> Result<Range<i64>, UpgradeError> {
    let (from, to) = (request.shards_from, request.shards_to);
    if from < 0 || from >= to {
        let problem = format!("{from} to {to} is no range of shards");
        return Err(UpgradeError::Field { field: "shards_from", problem });
    }
    if to > count {
        let problem = format!("{to} is beyond the last shard: there are {count}");
        return Err(UpgradeError::Field { field: "shards_to", problem });
    }
    Ok(from..to)
}

/// No upgrade is under way.
fn ready(deployment: &Deployment) -> Result<(), UpgradeError> {
    match deployment.upgrade_state.as_ref().map(UpgradeState::stage) {
        None | Some(Stage::Ready) => Ok(()),
        Some(stage) => Err(UpgradeError::UnderWay { stage: stage.as_str_name() }),
    }
}

fn check_shard_count(field: &'static str, count: i64) -> Result<(), UpgradeError> {
    if (1..=SHARDS_MAX).contains(&count) {
        return Ok(());
    }
    let problem = format!("{count} is not between 1 and {SHARDS_MAX}");
    Err(UpgradeError::Field { field, problem })
}

#[cfg(test)]
mod tests;
