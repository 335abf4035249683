//! New references to what other deployments own: asked of the owners before the commit, and given back if nothing comes
//! of it.
//!
//! One message goes to each owner, at once to all. An owner grants all that it was asked for, or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_graph::plan_save::{Footing, Grant};
use bowline_graph::{Behaviour, Epoch, TargetName};
use bowline_node::DeploymentId;
use bowline_store::RowId;
use bowline_wire::bowline::mixin::v1::{
    BlockadesRequest, BlockadesResponse, EstablishReferencesRequest, EstablishReferencesResponse,
    Refusal, blockades_request, establish_references_request, establish_references_response,
    method,
};

use super::refused::Why;
use crate::engine::{Engine, shape_key_of};

/// Most targets in one message.
const WANTED_MAX: usize = 1_000;
/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest wait, over all rounds, for a deletion that is being decided; owners hold back grants for 2 s.
const DELETION_WAIT_MAX: Duration = Duration::from_secs(5);
/// Shortest pause before an owner is asked again.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// How often a target is looked for elsewhere than where it was thought to be.
const MOVES_MAX: usize = 1;

/// The asking of one save, over all its rounds.
pub(crate) struct Establishing {
    pub(crate) me: DeploymentId,
    /// Monotonic time.
    until: Duration,
    waited: Duration,
    moves: usize,
    /// Nothing is to be granted.
    is_dry: bool,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Settled,
    /// What is still open is to be looked for once more.
    Again,
}

/// A target, the strictest behaviour, the fence that stands here.
pub(crate) type Wish = (TargetName, Behaviour, Option<Epoch>);

/// What all owners answered in one round.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) granted: Vec<(TargetName, Grant)>,
    /// Final refusals.
    pub(crate) problems: Vec<(TargetName, Why)>,
    /// Owned by somebody else than was thought.
    pub(crate) moved: Vec<TargetName>,
    /// Deletions are being decided; after this it is worth asking again.
    pub(crate) wait: Option<Duration>,
    /// No answer, or none that says anything about targets.
    pub(crate) failure: Option<Status>,
}

/// One message with the ids of its blockades.
struct Message {
    owner: DeploymentId,
    wanted: Vec<(Wish, [u8; 16])>,
}

impl Establishing {
    /// `is_dry`: owners are asked what they would answer.
    pub(crate) fn new(me: DeploymentId, until: Duration, is_dry: bool) -> Self {
        Self { me, until, waited: Duration::ZERO, moves: 0, is_dry }
    }
}

impl Engine {
    /// Asks every owner for what is wanted of it.
    pub(crate) async fn establish(
        self: &Arc<Self>,
        establishing: &Establishing,
        wanted: Vec<(DeploymentId, Vec<Wish>)>,
    ) -> Answers {
        let messages = wanted.into_iter().flat_map(|(owner, wishes)| {
            let chunks = wishes.chunks(WANTED_MAX).map(<[Wish]>::to_vec);
            chunks.map(|wishes| self.message(owner.clone(), wishes)).collect::<Vec<_>>()
        });
        let asking = messages.map(|message| async move {
            let answer = self.ask_owner(establishing, &message).await;
            (message, answer)
        });
        let mut answers = Answers::default();
        for (message, answer) in futures::future::join_all(asking).await {
            match answer {
                Ok(answer) => answers.take(message, answer),
                Err(status) => {
                    answers.failure.get_or_insert_with(|| no_answer(&message.owner, status));
                }
            }
        }
        answers
    }

    fn message(&self, owner: DeploymentId, wishes: Vec<Wish>) -> Message {
        let with_id = |wish| {
            let mut id = [0; 16];
            self.seams.random.fill(&mut id);
            (wish, id)
        };
        Message { owner, wanted: wishes.into_iter().map(with_id).collect() }
    }

    async fn ask_owner(
        self: &Arc<Self>,
        establishing: &Establishing,
        message: &Message,
    ) -> Result<EstablishReferencesResponse, Status> {
        let left = establishing.until.saturating_sub(self.seams.clock.monotonic());
        // Some time is left to say who did not answer.
        let left = (left * 3 / 4).min(ANSWER_MAX);
        let request = message.request(establishing.is_dry);
        let (me, owner) = (&establishing.me, &message.owner);
        self.ask(me, owner, method::ESTABLISH_REFERENCES, &request, left).await
    }

    /// Decides whether another round is worth while, and waits until it is.
    ///
    /// # Errors
    /// `CONFLICT` if that would take too long.
    pub(crate) async fn before_next(
        &self,
        establishing: &mut Establishing,
        moved: Vec<TargetName>,
        wait: Option<Duration>,
    ) -> Result<Round, Status> {
        if !moved.is_empty() {
            establishing.moves += 1;
            if establishing.moves > MOVES_MAX {
                return Err(undecided(&format!("nobody says to own \"{}\"", moved[0].name)));
            }
            moved.iter().for_each(|target| self.doubt(target));
        }
        if let Some(wait) = wait {
            let wait = wait.max(PAUSE_MIN);
            let left = establishing.until.saturating_sub(self.seams.clock.monotonic());
            if establishing.waited + wait > DELETION_WAIT_MAX || wait > left / 2 {
                return Err(undecided("the deletion of what it refers to is being decided"));
            }
            establishing.waited += wait;
            self.seams.clock.sleep(wait).await;
        }
        let is_settled = moved.is_empty() && wait.is_none();
        Ok(if is_settled { Round::Settled } else { Round::Again })
    }

    /// Who owns the target is to be found out anew.
    fn doubt(&self, target: &TargetName) {
        let shape = self.shapes.get(&shape_key_of(&target.kind, &target.version));
        let places = shape.and_then(|shape| shape.places.as_ref());
        let place = places.and_then(|places| places.of(&target.name));
        if let (Some(routing), Some(place)) = (&self.routing, place) {
            routing.owners.doubt(target.service(), &place);
        }
    }

    /// Gives blockades back, in the background: nothing hangs on it, they expire by themselves.
    pub(crate) fn withdraw<'f>(
        self: &Arc<Self>,
        me: &DeploymentId,
        footings: impl IntoIterator<Item = (&'f TargetName, &'f Footing)>,
    ) {
        let requests = withdrawals(footings);
        if requests.is_empty() {
            return;
        }
        let (engine, me) = (Arc::downgrade(self), me.clone());
        let task = async move {
            for (owner, request) in requests {
                let Some(engine) = engine.upgrade() else { return };
                let path = method::WITHDRAW_BLOCKADES;
                let answer = engine.ask(&me, &owner, path, &request, ANSWER_MAX).await;
                if let Err(status) = answer.map(|_: BlockadesResponse| ()) {
                    tracing::debug!(%owner, %status, "blockades are left to expire");
                }
            }
        };
        self.seams.tasks.spawn("withdraw blockades", Box::pin(task));
    }
}

impl Message {
    fn request(&self, is_dry: bool) -> EstablishReferencesRequest {
        let wanted = self.wanted.iter().map(|((target, behaviour, fence), id)| {
            use bowline_wire::bowline::mixin::v1::Behaviour as Wire;
            establish_references_request::Wanted {
                target: Some(target.into()),
                behaviour: Wire::from(*behaviour).into(),
                fence: fence.map(Into::into),
                blockade_id: id.to_vec(),
            }
        });
        EstablishReferencesRequest { wanted: wanted.collect(), is_dry }
    }
}

impl Answers {
    fn take(&mut self, message: Message, answer: EstablishReferencesResponse) {
        let is_granted = answer.refused.is_empty();
        if answer.granted.len() != if is_granted { message.wanted.len() } else { 0 } {
            self.failure = Some(nonsense(&message.owner));
        } else if is_granted {
            self.take_granted(message, answer.granted);
        } else {
            for refused in answer.refused {
                let at = usize::try_from(refused.index).unwrap_or(usize::MAX);
                match message.wanted.get(at) {
                    Some(((target, ..), _)) => self.take_refused(target.clone(), refused),
                    None => self.failure = Some(nonsense(&message.owner)),
                }
            }
        }
    }

    fn take_granted(
        &mut self,
        message: Message,
        granted: Vec<establish_references_response::Granted>,
    ) {
        let Message { owner, wanted } = message;
        for (((target, ..), id), granted) in wanted.into_iter().zip(granted) {
            match grant(&owner, id, granted) {
                Some(grant) => self.granted.push((target, grant)),
                None => self.failure = Some(nonsense(&owner)),
            }
        }
    }

    fn take_refused(
        &mut self,
        target: TargetName,
        refused: establish_references_response::Refused,
    ) {
        let why = match refused.why() {
            Refusal::NotFound => Why::NotFound,
            Refusal::Deleting => Why::Deleting,
            Refusal::NotOwned => return self.moved.push(target),
            Refusal::DeletionInProgress => {
                let wait = Duration::from_millis(refused.retry_millis.into());
                self.wait = self.wait.max(Some(wait));
                return;
            }
            Refusal::TypeUnknown | Refusal::NotAllowed | Refusal::Unspecified => {
                Why::Refused(refused.message)
            }
        };
        self.problems.push((target, why));
    }
}

fn grant(
    owner: &DeploymentId,
    id: [u8; 16],
    granted: establish_references_response::Granted,
) -> Option<Grant> {
    let uid: [u8; 16] = granted.uid.as_slice().try_into().ok()?;
    Some(Grant {
        owner: owner.clone(),
        epoch: granted.epoch?.into(),
        uid: RowId(u128::from_be_bytes(uid)),
        blockade: granted.has_blockade.then_some(id),
    })
}

fn withdrawals<'f>(
    footings: impl IntoIterator<Item = (&'f TargetName, &'f Footing)>,
) -> BTreeMap<DeploymentId, BlockadesRequest> {
    let mut requests: BTreeMap<DeploymentId, BlockadesRequest> = BTreeMap::new();
    for (target, footing) in footings {
        let Footing::Granted(Grant { owner, uid, blockade: Some(id), .. }) = footing else {
            continue;
        };
        let blockade = blockades_request::Blockade {
            target: Some(target.into()),
            uid: uid.0.to_be_bytes().to_vec(),
            blockade_id: id.to_vec(),
        };
        requests.entry(owner.clone()).or_default().blockades.push(blockade);
    }
    requests
}

/// A target that cannot be reached says nothing; one whose deployment does not take the question can never be granted.
fn no_answer(owner: &DeploymentId, status: Status) -> Status {
    match status.reason {
        Reason::Unavailable
        | Reason::DeadlineExceeded
        | Reason::TooManyRequests
        | Reason::Conflict
        | Reason::Internal => status,
        _ => {
            let message = format!("{owner} takes no references: {}", status.message);
            Status::new(Reason::ReferenceRefused, message)
        }
    }
}

fn nonsense(owner: &DeploymentId) -> Status {
    Status::new(Reason::Internal, format!("{owner} answered something else than it was asked"))
}

fn undecided(why: &str) -> Status {
    Status::new(Reason::Conflict, format!("{why}; retry"))
}

#[cfg(test)]
mod tests;
