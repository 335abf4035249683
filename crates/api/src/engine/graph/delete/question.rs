//! Asking all that may refer to what is to be deleted, after its epoch was raised: their answers bind.
//!
//! One message goes to each deployment, about all targets. While it is under way nothing is granted, for a moment: a second
//! deletion of the same resource waits for the first, and saves try again. Nothing depends on these courtesies.

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_graph::Inbound;
use bowline_graph::grant::Answer;
use bowline_graph::plan_delete::{Answers, Attempt, Doomed};
use bowline_node::DeploymentId;
use bowline_node::peers::unreachable;
use bowline_wire::bowline::mixin::v1::check_request::Question;
use bowline_wire::bowline::mixin::v1::check_response::Holding;
use bowline_wire::bowline::mixin::v1::method::CHECK_IF_RESOURCE_IS_BLOCKED;
use bowline_wire::bowline::mixin::v1::{CheckRequest, CheckResponse};
use futures::future::join_all;
use std::sync::Arc;

use super::gather::Gathered;
use super::{Asking, Wish, inbound_key};
use crate::engine::graph::damaged;
use crate::engine::graph::inbound::Attempting;
use crate::engine::{Engine, errors};

/// How long a deletion waits for saves that are about to land, and for another deletion of the same resource.
const COURTESY: Duration = Duration::from_secs(2);
/// First and longest pause between looks.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_LONGEST: Duration = Duration::from_millis(100);
/// How long a deployment has to answer. A source that takes longer is one that cannot be asked.
const QUESTION_DEADLINE: Duration = Duration::from_secs(5);

/// What asking came to.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) answers: Asking,
    /// As long as these live, grants are held off.
    pub(super) holding_off: Vec<Attempting>,
}

/// Questions to one deployment, with the places of their targets among the doomed.
type Questions = Vec<(usize, Question)>;

impl Engine {
    /// Raises the epochs of the targets and asks their sources. A target that has been deleted, or has no inbound part any
    /// more, gets no answers: whoever calls looks again.
    ///
    /// # Errors
    /// `UNAVAILABLE` naming a source that cannot be asked: nothing is assumed.
    pub(super) async fn ask_sources(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        gathered: &Gathered,
        attempts: &[Attempt],
    ) -> Result<Asked, Status> {
        let doomed = &gathered.facts.doomed;
        join_all(attempts.iter().map(|attempt| self.be_polite(wish, &doomed[attempt.doomed])))
            .await;
        let raise = |attempt: &Attempt| {
            let target = &doomed[attempt.doomed];
            self.attempt_deletion(wish.deployment, &target.name, target.uid)
        };
        let raised = join_all(attempts.iter().map(raise)).await;
        let mut asked = Asked::default();
        let mut questions: BTreeMap<DeploymentId, Questions> = BTreeMap::new();
        for (attempt, raised) in attempts.iter().zip(raised) {
            let (answer, attempting) = raised?;
            asked.holding_off.push(attempting);
            let Answer::Attempted(inbound) = answer else { continue };
            let target = &doomed[attempt.doomed];
            let question = self.question(target, &inbound).await?;
            for source in &inbound.sources {
                let all = questions.entry(source.deployment.clone()).or_default();
                all.push((attempt.doomed, question.clone()));
            }
            let (epoch, grants) = (inbound.epoch, inbound.grants);
            let answers = Answers { epoch, grants, holdings: BTreeMap::new() };
            asked.answers.insert(target.uid, answers);
        }
        let me = self.me(&wish.deployment.service);
        let deadline = QUESTION_DEADLINE.min(self.time_left(wish));
        let ask = |(to, questions)| self.ask_source(&me, to, questions, deadline);
        for answered in join_all(questions.into_iter().map(ask)).await {
            let (source, holdings) = answered?;
            for (at, holding) in holdings {
                if let Some(answers) = asked.answers.get_mut(&doomed[at].uid) {
                    answers.holdings.insert(source.clone(), holding);
                }
            }
        }
        Ok(asked)
    }

    /// The time that asking may take: the client's, but for what it takes to tell it who did not answer.
    pub(super) fn time_left(&self, wish: &Wish<'_>) -> Duration {
        let left = wish.until.saturating_sub(self.seams.clock.monotonic());
        left - left / 8
    }

    async fn question(&self, target: &Doomed, inbound: &Inbound) -> Result<Question, Status> {
        let names = self.versioned_names(&target.name).await?;
        let uid = target.uid.0.to_be_bytes().to_vec();
        Ok(Question { uid, epoch: Some(inbound.epoch.into()), names })
    }

    /// Waits, for a moment at most, as long as saves are about to land or another deletion of the target is under way.
    async fn be_polite(&self, wish: &Wish<'_>, target: &Doomed) {
        let clock = &self.seams.clock;
        let until = clock.monotonic() + COURTESY.min(self.time_left(wish) / 2);
        let mut pause = LOOK_FIRST;
        while clock.monotonic() < until {
            let other = self.held_off(wish.deployment, &target.name.kind, target.uid);
            if other.is_zero() && !self.awaits_saves(wish, target).await {
                return;
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(LOOK_LONGEST);
        }
    }

    async fn awaits_saves(&self, wish: &Wish<'_>, target: &Doomed) -> bool {
        let key = inbound_key(&target.key, target.uid);
        let read = wish.deployment.backend.get(&key).await;
        let read = read.map_err(|error| errors::store(&error)).and_then(|(row, _)| {
            let inbound = row.map(|row| Inbound::of_row(&row)).transpose();
            inbound.map_err(|error| damaged(&error))
        });
        let now = self.seams.clock.now().as_millisecond();
        // What cannot be read now is found to be so by whoever needs it.
        read.is_ok_and(|inbound| inbound.is_some_and(|inbound| inbound.has_unexpired(now)))
    }

    /// Asks one source about all targets.
    async fn ask_source(
        self: &Arc<Self>,
        me: &DeploymentId,
        to: DeploymentId,
        questions: Questions,
        deadline: Duration,
    ) -> Result<(DeploymentId, Vec<(usize, Holding)>), Status> {
        let (places, questions): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
        let request = CheckRequest { questions };
        let path = CHECK_IF_RESOURCE_IS_BLOCKED;
        let answer = self.ask::<CheckResponse>(me, &to, path, &request, deadline).await;
        let answer = answer.map_err(|status| match status.reason {
            Reason::Unavailable => status,
            _ => unreachable(&to, status.message),
        })?;
        if answer.holdings.len() != places.len() {
            return Err(unreachable(&to, "it answered something else"));
        }
        if let Some(why) = answer.holdings.iter().find_map(says_nothing) {
            return Err(unreachable(&to, why));
        }
        let holdings = places.into_iter().zip(answer.holdings).collect();
        Ok((to, holdings))
    }
}

/// Why an answer is neither a yes nor a no.
fn says_nothing(holding: &Holding) -> Option<&'static str> {
    if holding.version_mismatch {
        return Some("it holds references of an API version that this deployment does not know");
    }
    (!holding.is_blocked && !holding.is_fenced).then_some("it did not fence")
}
