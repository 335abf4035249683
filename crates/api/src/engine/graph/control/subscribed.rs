//! `subscribed_deleting`: what follows here from deletions elsewhere. `hear` says which concern this deployment; they are
//! worked off by the process whose shard they are in, one queue for each deployment that told of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_control::{Controller, Fate, Item, Trouble, Worked};
use bowline_node::DeploymentId;
use bowline_store::ring::Shards;

use super::Here;
use super::consequence::Gone;
use super::hear::Heard;

/// How often it is looked whether another process has done what is in its shards.
const OTHERS_PERIOD: Duration = Duration::from_secs(30);

/// See the module's header.
pub(super) struct Subscribed {
    pub(super) here: Here,
    pub(super) heard: Arc<Heard>,
}

/// A deletion, and who told of it.
pub(super) struct Work {
    from: DeploymentId,
    gone: Arc<Gone>,
}

#[async_trait]
impl Controller for Subscribed {
    type Work = Work;

    fn name(&self) -> &'static str {
        "subscribed_deleting"
    }

    async fn find(
        &self,
        shards: Shards,
        offer: &mut (dyn FnMut(Item<Work>) + Send),
    ) -> Result<(), Trouble> {
        let (engine, deployment) = self.here.get()?;
        let now = engine.seams.clock.monotonic();
        for (from, gone) in self.heard.all() {
            if shards.hold(&gone.uid.0.to_be_bytes()) {
                let is_urgent = deployment.waits.take_urgent(gone.uid);
                offer(Item {
                    is_urgent,
                    queue: from.to_string().into(),
                    id: format!("{:032x}", gone.uid.0).into(),
                    since_millis: gone.millis,
                    work: Work { from, gone },
                });
            } else if self.heard.is_look_due(&from, &gone, now, OTHERS_PERIOD)
                && !engine.is_referred_to(&deployment, &gone).await?
            {
                self.heard.forget(&from, &gone);
            }
        }
        Ok(())
    }

    async fn work(&self, _queue: &Arc<str>, items: Vec<Item<Work>>) -> Result<Worked, Trouble> {
        let (engine, deployment) = self.here.get()?;
        let mut worked = Worked::new();
        for Item { id, work: Work { from, gone }, .. } in items {
            let fate = engine.follow_deletion(&deployment, &gone).await?;
            let fate = match fate {
                Fate::Done if engine.is_referred_to(&deployment, &gone).await? => {
                    Fate::Waits("what refers to it changed meanwhile".to_owned())
                }
                fate => fate,
            };
            if fate == Fate::Done {
                deployment.waits.finished(gone.uid);
                self.heard.forget(&from, &gone);
            }
            worked.insert(id, fate);
        }
        Ok(worked)
    }
}
