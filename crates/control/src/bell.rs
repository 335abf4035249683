//! The bell of a deployment: whoever leaves work for a controller rings it, so that nobody in the same process waits for a
//! timer. A ring that is lost costs only time.

use tokio::sync::watch;

/// See the module's header. Dropping it ends those who listen.
#[derive(Debug)]
pub struct Bell {
    rings: watch::Sender<Rings>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rings {
    count: u64,
    is_closed: bool,
}

/// One who listens; hears each ring since the last one that it heard, many as one.
#[derive(Clone, Debug)]
pub struct Listener(watch::Receiver<Rings>);

/// What a [`Listener`] hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// There may be something to do.
    Ring,
    /// Nothing is to be done any more.
    Closed,
}

impl Default for Bell {
    fn default() -> Self {
        Self { rings: watch::Sender::new(Rings::default()) }
    }
}

impl Bell {
    /// There may be something to do. Cost: a lock; never waits.
    pub fn ring(&self) {
        self.rings.send_modify(|rings| rings.count += 1);
    }

    /// Tells all listeners, also those to come, that it is over.
    pub fn close(&self) {
        self.rings.send_modify(|rings| rings.is_closed = true);
    }

    /// Listens from now on.
    pub fn listen(&self) -> Listener {
        Listener(self.rings.subscribe())
    }
}

impl Listener {
    /// Completes at the next ring, or at once if there was one since the last call. Safe to drop.
    pub async fn heard(&mut self) -> Heard {
        if self.0.borrow().is_closed {
            return Heard::Closed;
        }
        match self.0.changed().await {
            Ok(()) if !self.0.borrow_and_update().is_closed => Heard::Ring,
            _ => Heard::Closed,
        }
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().is_closed || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_ring_before_the_listening_is_heard_once() {
        let bell = Bell::default();
        let mut listener = bell.listen();
        assert_eq!(listener.heard().now_or_never(), None);
        bell.ring();
        bell.ring();
        assert_eq!(listener.heard().now_or_never(), Some(Heard::Ring));
        assert_eq!(listener.heard().now_or_never(), None);
    }

    #[test]
    fn who_listens_to_a_bell_that_is_no_more_hears_that() {
        let bell = Bell::default();
        let (mut one, mut other) = (bell.listen(), bell.listen());
        bell.close();
        assert_eq!(one.heard().now_or_never(), Some(Heard::Closed));
        assert_eq!(one.heard().now_or_never(), Some(Heard::Closed));
        drop(bell);
        assert_eq!(other.heard().now_or_never(), Some(Heard::Closed));
        assert!(other.is_closed());
    }
}
