//! Which part of the ring is this process's: read from the rows of the processes, now and then.
//!
//! The row of a process is its lease. Losing it means more than losing shards: no commit of the process succeeds any more,
//! so a range that is out of date does no harm.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bowline_base::{Seams, chain};
use bowline_store::incarnation::Incarnation;
use bowline_store::ring::Shards;
use bowline_store::{CommitError, StoreError};
use tokio::sync::watch;

/// How often the rows are read.
pub const PERIOD: Duration = Duration::from_secs(3);

/// Follows the part of `incarnation`'s process; [`Shards::NONE`] until it is known. Ends with the process or the readers.
pub fn follow(incarnation: &Arc<Incarnation>, seams: &Seams) -> watch::Receiver<Shards> {
    let (sender, receiver) = watch::channel(Shards::NONE);
    let task = publish(Arc::downgrade(incarnation), sender, seams.clone());
    seams.tasks.spawn("lease", Box::pin(task));
    receiver
}

async fn publish(incarnation: Weak<Incarnation>, shards: watch::Sender<Shards>, seams: Seams) {
    loop {
        let Some(process) = incarnation.upgrade() else { return };
        match process.shards().await {
            Ok(now) => {
                shards.send_if_modified(|then| std::mem::replace(then, now) != now);
            }
            Err(CommitError::Store(StoreError::Closed)) => return,
            Err(error) => tracing::warn!(error = %chain(&error), "read which shards are ours"),
        }
        drop(process);
        if shards.is_closed() {
            return;
        }
        seams.clock.sleep(PERIOD).await;
    }
}

#[cfg(test)]
mod tests {
    use bowline_store::{Backend, Memory};

    use super::*;

    #[tokio::test]
    async fn processes_divide_the_ring_and_inherit_what_one_leaves() {
        let backend: Arc<dyn Backend> = Arc::new(Memory::new());
        let process = || Incarnation::new(backend.clone(), Seams::real(), Default::default());
        let one = process();
        assert_eq!(one.shards().await.unwrap(), Shards::ALL);
        let other = process();
        let part = other.shards().await.unwrap();
        let rest = one.shards().await.unwrap();
        assert_eq!(part.to - part.from + (rest.to - rest.from), Shards::ALL.to);
        assert!(!part.contains(rest.from) && !rest.contains(part.from));
        other.close().await;
        assert_eq!(one.shards().await.unwrap(), Shards::ALL);
        assert!(other.shards().await.is_err());
    }
}
