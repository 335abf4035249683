//! What a server has acknowledged, who writes it down, and what must be there afterwards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::books::Client;

/// What the server has acknowledged: the highest `loan_days` of each book, and which books were deleted.
#[derive(Default)]
pub(crate) struct Ledger {
    /// `None`: the deletion was acknowledged.
    pub(crate) acknowledged: BTreeMap<String, Option<i64>>,
    /// Writes whose answer never came: they may have happened.
    open: BTreeMap<String, Vec<Option<i64>>>,
}

/// Creates books, counts them up and deletes some, until the server is gone.
pub(crate) async fn write(client: Client, round: u64, writer: u64, ledger: Arc<Mutex<Ledger>>) {
    for n in 0.. {
        let name = format!("shelves/s{writer}/books/r{round}-{n}");
        for days in 1..=3 {
            let book = json!({ "name": name, "title": "t", "loanDays": days });
            let request = json!({ "book": book, "allowMissing": true });
            if !attempt(&client, "UpdateBook", request, &name, Some(days), &ledger).await {
                return;
            }
        }
        if n % 4 == 0 {
            let request = json!({ "name": name });
            if !attempt(&client, "DeleteBook", request, &name, None, &ledger).await {
                return;
            }
        }
    }
}

/// One write; `false` once the server does not answer any more.
async fn attempt(
    client: &Client,
    method: &str,
    request: Value,
    name: &str,
    state: Option<i64>,
    ledger: &Mutex<Ledger>,
) -> bool {
    ledger.lock().unwrap().open.entry(name.to_owned()).or_default().push(state);
    let answer = client.call(method, request).await;
    let mut ledger = ledger.lock().unwrap();
    match answer {
        Ok(_) => {
            ledger.open.remove(name);
            ledger.acknowledged.insert(name.to_owned(), state);
            true
        }
        Err(status) => {
            let code = status.code();
            let is_gone = matches!(
                code,
                tonic::Code::Unavailable
                    | tonic::Code::Unknown
                    | tonic::Code::Cancelled
                    | tonic::Code::Internal
            );
            assert!(is_gone, "a write that nothing stands in the way of: {status}");
            false
        }
    }
}

/// Every book is as acknowledged, or as a write left it whose answer was lost.
pub(crate) fn check(ledger: &mut Ledger, books: &BTreeMap<String, Value>) {
    let days = |name: &str| books.get(name).map(|b| b["loanDays"].as_i64().unwrap_or_default());
    for (name, acknowledged) in &ledger.acknowledged {
        let found = days(name);
        let open = ledger.open.get(name).cloned().unwrap_or_default();
        let is_right = found == *acknowledged || open.contains(&found);
        assert!(is_right, "{name}: acknowledged {acknowledged:?}, found {found:?}, open {open:?}");
    }
    for (name, book) in books {
        let known = ledger.acknowledged.contains_key(name) || ledger.open.contains_key(name);
        assert!(known, "nobody wrote {name}");
        assert_eq!(book["title"], "t", "half a book: {book}");
        assert_eq!(book["metadata"]["uuid"].as_str().map(str::len), Some(36), "{book}");
    }
    // What was open is settled now: it is what was found.
    let open = std::mem::take(&mut ledger.open);
    for name in open.into_keys() {
        let found = days(&name);
        ledger.acknowledged.insert(name, found);
    }
}
