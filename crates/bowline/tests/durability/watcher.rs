//! A client that watches, as published ones do: nothing is taken before it is current, lost streams are resumed by token.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::books::Client;

/// How long it may take until a watcher has seen what there is to see.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a watcher knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// `loan_days` by name.
    pub(crate) books: BTreeMap<String, i64>,
    /// When each book was seen first.
    pub(crate) first: BTreeMap<String, Instant>,
    pub(crate) is_current: bool,
    pub(crate) hard_resets: u64,
    /// Streams that ended, by status.
    pub(crate) lost: BTreeMap<String, u64>,
    token: String,
    pending: Vec<Value>,
}

pub(crate) struct Watcher {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Watches all books; returns once it is current.
    pub(crate) async fn start(client: Client) -> Self {
        let (sender, mut seen) = watch::channel(Seen::default());
        let task = tokio::spawn(follow(client, sender));
        let current = seen.wait_for(|seen| seen.is_current);
        tokio::time::timeout(PATIENCE, current).await.expect("the watch is not current").unwrap();
        Self { seen, task }
    }

    /// Waits until `is_right` holds of what was seen, and gives that.
    pub(crate) async fn sees(mut self, is_right: impl FnMut(&Seen) -> bool) -> Seen {
        let waited = tokio::time::timeout(PATIENCE, self.seen.wait_for(is_right)).await;
        let seen = waited.ok().map(|seen| seen.expect("the watcher failed").clone());
        self.task.abort();
        seen.unwrap_or_else(|| panic!("the watch has not shown it: {:?}", self.seen.borrow().lost))
    }
}

async fn follow(client: Client, seen: watch::Sender<Seen>) {
    loop {
        let token = seen.borrow().token.clone();
        let end = read(&client, &token, &seen).await;
        let status = end.err().map_or_else(|| "end".to_owned(), |status| status.code().to_string());
        seen.send_modify(|seen| {
            *seen.lost.entry(status).or_default() += 1;
            seen.pending.clear();
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads one stream to its end.
async fn read(
    client: &Client,
    token: &str,
    seen: &watch::Sender<Seen>,
) -> Result<(), tonic::Status> {
    let mut messages = client.watch(token).await?;
    while let Some(message) = messages.next().await? {
        seen.send_modify(|seen| seen.take(&message));
    }
    Ok(())
}

impl Seen {
    fn take(&mut self, message: &Value) {
        if message["isHardReset"] == true {
            self.hard_resets += 1;
            self.books.clear();
            self.pending.clear();
        }
        self.pending.extend(message["bookChanges"].as_array().cloned().unwrap_or_default());
        if message["isCurrent"] == true {
            for change in std::mem::take(&mut self.pending) {
                self.apply(&change);
            }
            self.token = message["resumeToken"].as_str().unwrap_or_default().to_owned();
            self.is_current = true;
        }
    }

    fn apply(&mut self, change: &Value) {
        if let Some(book) = change["current"].get("book") {
            let name = book["name"].as_str().unwrap().to_owned();
            let days = book["loanDays"].as_i64().unwrap_or_default();
            self.first.entry(name.clone()).or_insert_with(Instant::now);
            let before = self.books.insert(name.clone(), days);
            // Writers only count up, each step once.
            assert!(before.is_none_or(|before| before < days), "{name}: {before:?}, then {days}");
        } else {
            let name = change["removed"]["name"].as_str().unwrap();
            assert!(self.books.remove(name).is_some(), "{name} was removed and never there");
        }
    }
}
