//! What a watch client knows: turning the messages of a stateless watch into additions, changes and removals.
//!
//! Pure: no connection, no clock. Nothing is applied before the server says that a set of changes is complete, and a new
//! snapshot after a reset is compared with what was known, so that only real differences come out.

use std::collections::BTreeMap;

/// One row change, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowChange<T> {
    /// The row is there; `digest` tells its content from others.
    Set {
        name: String,
        digest: u64,
        row: T,
    },
    Removed {
        name: String,
    },
}

/// One message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message<T> {
    pub(crate) changes: Vec<RowChange<T>>,
    pub(crate) is_current: bool,
    pub(crate) resume_token: Option<String>,
    /// Rows that the client should hold; negative if nothing is said.
    pub(crate) snapshot_size: i64,
    pub(crate) is_soft_reset: bool,
    pub(crate) is_hard_reset: bool,
}

impl<T> Default for Message<T> {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            is_current: false,
            resume_token: None,
            snapshot_size: -1,
            is_soft_reset: false,
            is_hard_reset: false,
        }
    }
}

/// What changed for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event<T> {
    Added { name: String, row: T },
    Modified { name: String, row: T },
    Removed { name: String },
}

/// What follows from a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<T> {
    /// More is to come before anything is known.
    Wait,
    /// A consistent state was reached, by these changes.
    Current(Vec<Event<T>>),
    /// What is known differs from what the server holds: start anew, without token.
    Restart,
}

/// The state of one watch, over all its connections. Memory: name and digest of each row, and rows not yet current.
#[derive(Debug)]
pub(crate) struct State<T> {
    rows: BTreeMap<String, u64>,
    pending: Vec<RowChange<T>>,
    token: Option<String>,
    /// The rows are those of some moment of the server, and pending changes are relative to it.
    in_sync: bool,
}

impl<T> State<T> {
    pub(crate) fn new() -> Self {
        Self { rows: BTreeMap::new(), pending: Vec::new(), token: None, in_sync: false }
    }

    /// Where to resume.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The stream ended or broke. Without a token the next stream begins with a snapshot.
    pub(crate) fn disconnected(&mut self) {
        self.pending.clear();
        self.in_sync = self.in_sync && self.token.is_some();
    }

    /// The token was refused: the next stream begins with a snapshot.
    pub(crate) fn forget_token(&mut self) {
        self.token = None;
        self.disconnected();
    }

    /// Takes one message. The order of the questions is that of deployed clients, on which servers rely.
    pub(crate) fn apply(&mut self, message: Message<T>) -> Step<T> {
        if message.is_soft_reset {
            self.pending.clear();
            return Step::Wait;
        }
        if message.is_hard_reset {
            self.forget_token();
            return Step::Wait;
        }
        if message.snapshot_size >= 0 && self.in_sync {
            if usize::try_from(message.snapshot_size) == Ok(self.rows.len()) {
                return Step::Wait;
            }
            self.forget_token();
            return Step::Restart;
        }
        self.pending.extend(message.changes);
        if !message.is_current {
            return Step::Wait;
        }
        if message.resume_token.is_some() {
            self.token = message.resume_token;
        }
        Step::Current(self.commit())
    }

    fn commit(&mut self) -> Vec<Event<T>> {
        let mut events = Vec::new();
        let pending = std::mem::take(&mut self.pending);
        if !self.in_sync {
            self.in_sync = true;
            self.drop_vanished(&pending, &mut events);
        }
        pending.into_iter().for_each(|change| self.commit_row(change, &mut events));
        events
    }

    /// Rows that were known and are not in the new snapshot.
    fn drop_vanished(&mut self, snapshot: &[RowChange<T>], events: &mut Vec<Event<T>>) {
        let mut there: BTreeMap<&str, bool> = BTreeMap::new();
        for change in snapshot {
            match change {
                RowChange::Set { name, .. } => there.insert(name, true),
                RowChange::Removed { name } => there.insert(name, false),
            };
        }
        self.rows.retain(|name, _| {
            let stays = there.get(name.as_str()).copied().unwrap_or(false);
            if !stays {
                events.push(Event::Removed { name: name.clone() });
            }
            stays
        });
    }

    fn commit_row(&mut self, change: RowChange<T>, events: &mut Vec<Event<T>>) {
        match change {
            RowChange::Set { name, digest, row } => match self.rows.insert(name.clone(), digest) {
                None => events.push(Event::Added { name, row }),
                Some(known) if known != digest => events.push(Event::Modified { name, row }),
                Some(_) => {}
            },
            RowChange::Removed { name } => {
                if self.rows.remove(&name).is_some() {
                    events.push(Event::Removed { name });
                }
            }
        }
    }

    /// Everything known vanished at once, as when the one resource that is watched is not there any more.
    pub(crate) fn vanish(&mut self) -> Vec<Event<T>> {
        self.forget_token();
        std::mem::take(&mut self.rows).into_keys().map(|name| Event::Removed { name }).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(name: &str, digest: u64) -> RowChange<()> {
        RowChange::Set { name: name.to_owned(), digest, row: () }
    }

    fn removed(name: &str) -> RowChange<()> {
        RowChange::Removed { name: name.to_owned() }
    }

    fn current(changes: Vec<RowChange<()>>, token: &str) -> Message<()> {
        Message {
            changes,
            is_current: true,
            resume_token: Some(token.to_owned()),
            ..Message::default()
        }
    }

    fn hard_reset() -> Message<()> {
        Message { is_hard_reset: true, ..Message::default() }
    }

    fn words(step: Step<()>) -> String {
        let Step::Current(events) = step else { return format!("{step:?}") };
        let word = |event: &Event<()>| match event {
            Event::Added { name, .. } => format!("+{name}"),
            Event::Modified { name, .. } => format!("~{name}"),
            Event::Removed { name } => format!("-{name}"),
        };
        events.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nothing_is_applied_before_it_is_current() {
        let mut state = State::new();
        let chunk = Message { changes: vec![set("a", 1)], ..Message::default() };
        assert_eq!(state.apply(chunk), Step::Wait);
        assert_eq!(words(state.apply(current(vec![set("b", 1)], "t1"))), "+a +b");
        assert_eq!(state.token(), Some("t1"));
    }

    #[test]
    fn changes_after_the_snapshot_are_told_apart() {
        let mut state = State::new();
        state.apply(current(vec![set("a", 1), set("b", 1)], "t1"));
        let changes = vec![set("a", 2), set("b", 1), set("c", 1), removed("b"), removed("x")];
        assert_eq!(words(state.apply(current(changes, "t2"))), "~a +c -b");
    }

    #[test]
    fn a_snapshot_after_a_hard_reset_shows_only_differences() {
        let mut state = State::new();
        state.apply(current(vec![set("a", 1), set("b", 1), set("c", 1)], "t1"));
        assert_eq!(state.apply(hard_reset()), Step::Wait);
        assert_eq!(state.token(), None);
        assert_eq!(
            words(state.apply(current(vec![set("a", 1), set("b", 2), set("d", 1)], "t2"))),
            "-c ~b +d"
        );
    }

    #[test]
    fn a_soft_reset_drops_what_was_not_current_and_keeps_the_token() {
        let mut state = State::new();
        state.apply(current(vec![set("a", 1)], "t1"));
        state.apply(Message { changes: vec![removed("a")], ..Message::default() });
        state.apply(Message { is_soft_reset: true, ..Message::default() });
        assert_eq!(words(state.apply(current(vec![], "t2"))), "");
        assert_eq!(state.token(), Some("t2"));
    }

    #[test]
    fn resuming_with_a_token_applies_increments() {
        let mut state = State::new();
        state.apply(current(vec![set("a", 1)], "t1"));
        state.disconnected();
        assert_eq!(words(state.apply(current(vec![set("b", 1)], "t2"))), "+b");
    }

    #[test]
    fn a_stream_without_token_begins_with_a_snapshot() {
        let mut state = State::new();
        state.apply(Message { resume_token: None, ..current(vec![set("a", 1)], "") });
        state.disconnected();
        assert_eq!(words(state.apply(current(vec![set("b", 1)], "t"))), "-a +b");
    }

    #[test]
    fn a_size_that_differs_starts_anew() {
        let mut state = State::new();
        state.apply(current(vec![set("a", 1)], "t1"));
        assert_eq!(state.apply(Message { snapshot_size: 1, ..Message::default() }), Step::Wait);
        assert_eq!(state.apply(Message { snapshot_size: 2, ..Message::default() }), Step::Restart);
        assert_eq!(state.token(), None);
        assert_eq!(words(state.apply(current(vec![set("a", 1), set("b", 1)], "t2"))), "+b");
    }

    #[derive(Clone, Debug)]
    enum Move {
        Write(u8, u64),
        Remove(u8),
        Send(bool),
        Drop,
        Expire,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            4 => (0u8..6, 0u64..4).prop_map(|(name, digest)| Move::Write(name, digest)),
            2 => (0u8..6).prop_map(Move::Remove),
            4 => any::<bool>().prop_map(Move::Send),
            1 => Just(Move::Drop),
            1 => Just(Move::Expire),
        ];
        proptest::collection::vec(one, 0..60)
    }

    /// A server with a log of everything; it forgets when told to.
    #[derive(Default)]
    struct Server {
        rows: BTreeMap<String, u64>,
        log: Vec<RowChange<()>>,
        oldest: usize,
        /// How much of the log the open stream has sent; `None` before its snapshot.
        sent: Option<usize>,
        /// The stream must say first that the token is too old.
        must_reset: bool,
    }

    impl Server {
        fn open(&mut self, token: Option<&str>) {
            self.sent = token.and_then(|t| t.parse().ok()).filter(|t| *t >= self.oldest);
            self.must_reset = token.is_some() && self.sent.is_none();
        }

        fn messages(&mut self, in_chunks: bool) -> Vec<Message<()>> {
            let mut messages = Vec::new();
            if std::mem::take(&mut self.must_reset) {
                messages.push(hard_reset());
            }
            let changes = match self.sent {
                None => self.rows.iter().map(|(name, digest)| set(name, *digest)).collect(),
                Some(sent) => self.log[sent..].to_vec(),
            };
            if in_chunks {
                let chunk = |change: &RowChange<()>| Message {
                    changes: vec![change.clone()],
                    ..Message::default()
                };
                messages.extend(changes.iter().map(chunk));
                messages.push(current(vec![], &self.log.len().to_string()));
            } else {
                messages.push(current(changes, &self.log.len().to_string()));
            }
            self.sent = Some(self.log.len());
            messages
        }
    }

    proptest! {
        /// Whoever follows the events holds what the server holds, over any losses of connection and of history.
        #[test]
        fn following_the_events_equals_the_list(moves in moves(), cut in 0usize..8) {
            let mut server = Server::default();
            let mut state = State::new();
            let mut follower = BTreeMap::new();
            server.open(None);
            for step in moves.into_iter().chain([Move::Send(false)]) {
                match step {
                    Move::Write(name, digest) => {
                        server.rows.insert(name.to_string(), digest);
                        server.log.push(set(&name.to_string(), digest));
                    }
                    Move::Remove(name) => {
                        if server.rows.remove(&name.to_string()).is_some() {
                            server.log.push(removed(&name.to_string()));
                        }
                    }
                    Move::Send(in_chunks) => {
                        for message in server.messages(in_chunks) {
                            follow(&mut follower, state.apply(message), &state);
                        }
                    }
                    // The stream breaks in the middle of what it had to say.
                    Move::Drop => {
                        for message in server.messages(true).into_iter().take(cut) {
                            follow(&mut follower, state.apply(message), &state);
                        }
                        state.disconnected();
                        server.open(state.token());
                    }
                    Move::Expire => server.oldest = server.log.len() + 1,
                }
            }
            prop_assert_eq!(follower, server.rows);
        }
    }

    /// Applies events as a user of them would; an event that does not fit is a bug.
    fn follow(follower: &mut BTreeMap<String, u64>, step: Step<()>, state: &State<()>) {
        let Step::Current(events) = step else { return };
        for event in events {
            match event {
                Event::Added { name, .. } => {
                    assert!(!follower.contains_key(&name), "{name} was there");
                    follower.insert(name, 0);
                }
                Event::Modified { name, .. } => {
                    assert!(follower.contains_key(&name), "{name} was not there")
                }
                Event::Removed { name } => {
                    assert!(follower.remove(&name).is_some(), "{name} was not there")
                }
            }
        }
        // Digests are what the state holds; events carry the row itself.
        follower.iter_mut().for_each(|(name, digest)| *digest = state.rows[name]);
    }
}
