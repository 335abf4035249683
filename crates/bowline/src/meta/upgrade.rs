//! The methods of upgrades: each is one change of a `Deployment`, made where it is owned, and made anew if it lost a race.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bowline_api::engine::{Action, ActionRequest};
use bowline_base::{Detail, PreconditionViolation, Reason, Status};
use bowline_node::upgrade_state::{self, UpgradeError, tasks};
use bowline_wire::goten::meta::v1::{
    BeginUpgradeRequest, Deployment, GetOrRegisterDataUpdateTaskRequest,
    GetOrRegisterDataUpdateTaskResponse, NotifyShardsUpgradeReadinessRequest,
    SetAvailableUpgradeRequest, UpdateDataTaskUpdateRequest,
};
use bowline_wire::meta::method;
use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage};

pub(super) fn actions() -> BTreeMap<String, Arc<dyn Action>> {
    let mut actions: BTreeMap<String, Arc<dyn Action>> = BTreeMap::new();
    actions.insert(method::BEGIN_UPGRADE.to_owned(), Arc::new(begin_upgrade));
    actions.insert(method::SET_AVAILABLE_UPGRADE.to_owned(), Arc::new(set_available_upgrade));
    actions.insert(method::NOTIFY_SHARDS_UPGRADE_READINESS.to_owned(), Arc::new(notify_shards));
    actions.insert(method::GET_OR_REGISTER_DATA_UPDATE_TASK.to_owned(), Arc::new(get_or_register));
    actions.insert(method::UPDATE_DATA_TASK_UPDATE.to_owned(), Arc::new(update_task));
    actions
}

async fn begin_upgrade(call: ActionRequest) -> Result<DynamicMessage, Status> {
    let request: BeginUpgradeRequest = read(&call.message)?;
    change(&call, &request.name, upgrade_state::begin).await?;
    Ok(call.reply())
}

async fn set_available_upgrade(call: ActionRequest) -> Result<DynamicMessage, Status> {
    let request: SetAvailableUpgradeRequest = read(&call.message)?;
    change(&call, &request.name, |at| upgrade_state::set_available(at, &request)).await?;
    Ok(call.reply())
}

async fn notify_shards(call: ActionRequest) -> Result<DynamicMessage, Status> {
    let request: NotifyShardsUpgradeReadinessRequest = read(&call.message)?;
    change(&call, &request.name, |at| upgrade_state::notify_shards(at, &request)).await?;
    Ok(call.reply())
}

async fn get_or_register(call: ActionRequest) -> Result<DynamicMessage, Status> {
    let request: GetOrRegisterDataUpdateTaskRequest = read(&call.message)?;
    let status = change(&call, &request.name, |at| tasks::get_or_register(at, &request)).await?;
    let answer = GetOrRegisterDataUpdateTaskResponse { status: Some(status) };
    write(&answer, &call.reply())
}

async fn update_task(call: ActionRequest) -> Result<DynamicMessage, Status> {
    let request: UpdateDataTaskUpdateRequest = read(&call.message)?;
    change(&call, &request.name, |at| tasks::update(at, &request)).await?;
    Ok(call.reply())
}

/// Applies a transition to the stored deployment; gives what the transition gave when it was committed.
async fn change<T: Send>(
    call: &ActionRequest,
    name: &str,
    transition: impl Fn(&mut Deployment) -> Result<T, UpgradeError> + Send + Sync,
) -> Result<T, Status> {
    // The transition may run several times; the last one is that which was committed.
    let given: Mutex<Option<T>> = Mutex::new(None);
    let edit = |resource: &mut DynamicMessage| {
        let mut deployment: Deployment = read(resource)?;
        let value = transition(&mut deployment).map_err(|error| refused(name, &error))?;
        *resource = write(&deployment, resource)?;
        *given.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    };
    call.edit(method::UPDATE_DEPLOYMENT, name, edit).await?;
    let given = given.into_inner().unwrap_or_else(PoisonError::into_inner);
    given.ok_or_else(|| Status::new(Reason::Internal, "a transition was not carried out"))
}

fn refused(name: &str, error: &UpgradeError) -> Status {
    if let Some(field) = error.field() {
        return Status::bad_field(Reason::InvalidField, field, error.to_string());
    }
    let violation = PreconditionViolation {
        kind: "UPGRADE".to_owned(),
        subject: name.to_owned(),
        description: error.to_string(),
    };
    Status::new(Reason::FailedPrecondition, error.to_string())
        .with(Detail::Precondition(vec![violation]))
}

/// Both sides are of the same protos, so this fails only if the program is put together wrongly.
fn read<M: Message + Default>(message: &DynamicMessage) -> Result<M, Status> {
    M::decode(message.encode_to_vec().as_slice()).map_err(|error| mismatch(message, &error))
}

/// `value` as a message of the same type as `like`.
fn write(value: &impl Message, like: &DynamicMessage) -> Result<DynamicMessage, Status> {
    DynamicMessage::decode(like.descriptor(), value.encode_to_vec().as_slice())
        .map_err(|error| mismatch(like, &error))
}

fn mismatch(message: &DynamicMessage, error: &prost::DecodeError) -> Status {
    let descriptor = message.descriptor();
    let name = descriptor.full_name();
    tracing::error!(message = name, %error, "a message of the meta service does not convert");
    Status::new(Reason::Internal, format!("{name} does not convert"))
}
