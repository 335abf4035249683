//! Updates of data in place: tasks that workers carry out shard by shard, and that remember how far they are.
//!
//! A task is known by its tag and the data version that it leads to. All tasks of a version are to be registered before the
//! last of them ends: then the deployment's data have that version, and the tasks are forgotten.

use bowline_wire::goten::meta::v1::deployment::DbUpdateTaskStatus;
use bowline_wire::goten::meta::v1::{
    Deployment, GetOrRegisterDataUpdateTaskRequest, UpdateDataTaskUpdateRequest,
};
use prost_types::Struct;

use super::{DataVersion, UpgradeError, check_shard_count};

/// Most tasks that a deployment has at a time.
pub const TASKS_MAX: usize = 64;
/// Most characters of a tag.
const TAG_MAX: usize = 128;

/// `GetOrRegisterDataUpdateTask`: how far the task is; a new one has nothing done, one for data that are there already is done.
///
/// # Errors
/// A field is wrong, the task is cut otherwise, or there are too many.
pub fn get_or_register(
    deployment: &mut Deployment,
    request: &GetOrRegisterDataUpdateTaskRequest,
) -> Result<DbUpdateTaskStatus, UpgradeError> {
    check_tag(&request.tag)?;
    check_shard_count("shards_count", request.shards_count)?;
    let target = DataVersion::parse("db_data_target_version", &request.db_data_target_version)?;
    if let Some(known) = find(&mut deployment.data_update_statuses, &request.tag, &target) {
        if known.shards_count == request.shards_count {
            return Ok(known.clone());
        }
        let (registered, told) = (known.shards_count, request.shards_count);
        return Err(UpgradeError::OtherShardCount { registered, told });
    }
    let mut status = DbUpdateTaskStatus {
        task_tag: request.tag.clone(),
        shards_count: request.shards_count,
        ready_shards: Vec::new(),
        target_version: request.db_data_target_version.clone(),
        progress_bar: Vec::new(),
    };
    if has_data_of(deployment, &target) {
        status.ready_shards = (0..request.shards_count).collect();
        return Ok(status);
    }
    if deployment.data_update_statuses.len() >= TASKS_MAX {
        return Err(UpgradeError::TooManyTasks { max: TASKS_MAX });
    }
    deployment.data_update_statuses.push(status.clone());
    Ok(status)
}

/// `UpdateDataTaskUpdate`: notes what a worker got done. A shard that is done stays done, whatever late notices say.
///
/// # Errors
/// A field is wrong, or there is no such task and the data do not have its version.
pub fn update(
    deployment: &mut Deployment,
    request: &UpdateDataTaskUpdateRequest,
) -> Result<(), UpgradeError> {
    let target = DataVersion::parse("db_data_target_version", &request.db_data_target_version)?;
    let Some(task) = find(&mut deployment.data_update_statuses, &request.tag, &target) else {
        // A repeated notice about the last shard finds the task gone.
        return match has_data_of(deployment, &target) {
            true => Ok(()),
            false => Err(UpgradeError::NoSuchTask {
                tag: request.tag.clone(),
                target: request.db_data_target_version.clone(),
            }),
        };
    };
    if !(0..task.shards_count).contains(&request.shard) {
        let problem = format!("{} is no shard of {}", request.shard, task.shards_count);
        return Err(UpgradeError::Field { field: "shard", problem });
    }
    note(task, request);
    settle(deployment);
    Ok(())
}

fn note(task: &mut DbUpdateTaskStatus, request: &UpdateDataTaskUpdateRequest) {
    let at = task.ready_shards.binary_search(&request.shard);
    if at.is_ok() {
        return;
    }
    if let Some(progress) = &request.progress_status {
        // Both numbers are of a shard, at most `SHARDS_MAX`.
        let count = usize::try_from(task.shards_count).unwrap_or_default();
        task.progress_bar.resize_with(count, Struct::default);
        let shard = usize::try_from(request.shard).unwrap_or_default();
        if let Some(place) = task.progress_bar.get_mut(shard) {
            place.clone_from(progress);
        }
    }
    if let (true, Err(at)) = (request.done, at) {
        task.ready_shards.insert(at, request.shard);
    }
}

/// Raises the version of the data to the highest one that all tasks up to it lead to; forgets these tasks.
fn settle(deployment: &mut Deployment) {
    let statuses = &deployment.data_update_statuses;
    let first_open = statuses.iter().filter(|task| !is_done(task)).filter_map(target_of).min();
    let is_settled = |task: &DbUpdateTaskStatus| {
        let target = target_of(task);
        target.is_some() && (first_open.is_none() || target < first_open)
    };
    let settled = statuses.iter().filter(|task| is_settled(task));
    let Some(highest) = settled.max_by_key(|task| target_of(task)) else { return };
    let (highest, target) = (highest.target_version.clone(), target_of(highest));
    deployment.data_update_statuses.retain(|task| !is_settled(task));
    // An upgrade may have brought newer data meanwhile.
    if target.is_some_and(|target| !has_data_of(deployment, &target)) {
        deployment.db_data_version = highest;
    }
}

fn is_done(task: &DbUpdateTaskStatus) -> bool {
    i64::try_from(task.ready_shards.len()) == Ok(task.shards_count)
}

fn target_of(task: &DbUpdateTaskStatus) -> Option<DataVersion> {
    DataVersion::parse("target_version", &task.target_version).ok()
}

/// The data have at least this version; a deployment that says none has the newest.
fn has_data_of(deployment: &Deployment, target: &DataVersion) -> bool {
    let current = DataVersion::parse("db_data_version", &deployment.db_data_version);
    current.map_or(deployment.db_data_version.is_empty(), |current| current >= *target)
}

fn find<'a>(
    tasks: &'a mut [DbUpdateTaskStatus],
    tag: &str,
    target: &DataVersion,
) -> Option<&'a mut DbUpdateTaskStatus> {
    tasks.iter_mut().find(|task| task.task_tag == tag && target_of(task).as_ref() == Some(target))
}

fn check_tag(tag: &str) -> Result<(), UpgradeError> {
    let count = tag.chars().count();
    if (1..=TAG_MAX).contains(&count) {
        return Ok(());
    }
    let problem = format!("has {count} characters; 1 to {TAG_MAX} are allowed");
    Err(UpgradeError::Field { field: "tag", problem })
}

#[cfg(test)]
mod tests;
