//! Commits whose answers get lost on the way: they are asked for, and happen exactly once.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and runs in real time"
)]

mod ways;

use std::time::Duration;

use bowline_postgres::PostgresOptions;
use bowline_store::{Backend, CommitError, Condition, StoreError};
use bowline_testkit::postgres::{Options, Server, require};

use self::ways::proxy::{Loss, Proxy};
use self::ways::{all_changes, batch, key, open, options, put};

/// A server, and a way to it on which nothing gets lost yet.
async fn start(loss: Loss, ends_with_loss: bool) -> Option<(Server, Proxy)> {
    let server = require(Options::default())?;
    let proxy = Proxy::start(server.port(), loss, ends_with_loss).await;
    Some((server, proxy))
}

/// A store on that way. Without views, whose transactions could get lost instead of ours.
fn by_way_of(proxy: &Proxy, server: &Server, schema: &str) -> PostgresOptions {
    let mut options = options(&proxy.url(&server.url("postgres"), server.port()), schema);
    options.readable = false;
    options
}

/// Loses `losses` answers or questions in a row, with a create among the batches, which could not be told from somebody
/// else's if it were tried twice.
async fn a_create_happens_once(loss: Loss, losses: usize) {
    let Some((server, proxy)) = start(loss, false).await else { return };
    let store = open(by_way_of(&proxy, &server, "lost")).await;
    store.commit(batch(vec![put("before", 1)])).await.unwrap();
    let mut create = batch(vec![put("a", 7)]);
    create.conditions.push(Condition::RowAbsent { key: key("a") });
    proxy.lose(losses);
    let committed = store.commit(create).await.unwrap();
    assert_eq!(proxy.lost(), losses);
    let changes = all_changes(&store).await;
    let names: Vec<_> = changes.iter().map(|c| (c.position.sequence, &*c.key.name)).collect();
    assert_eq!(names, [(1, "before"), (committed.sequence, "a")]);
    assert_eq!(store.get(&key("a")).await.unwrap().0.unwrap().version, 7);
    let after = store.commit(batch(vec![put("after", 8)])).await.unwrap();
    assert_eq!(after.sequence, committed.sequence + 1);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_found() {
    a_create_happens_once(Loss::Answer, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrived_is_made_again() {
    a_create_happens_once(Loss::Question, 1).await;
}

/// The second to be lost is that of the transaction which asks for the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_about_a_lost_answer_may_be_lost_too() {
    a_create_happens_once(Loss::Answer, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_question_about_a_lost_question_may_be_lost_too() {
    a_create_happens_once(Loss::Question, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_nobody_tells_is_unknown_and_not_guessed() {
    for (loss, is_there) in [(Loss::Answer, true), (Loss::Question, false)] {
        let Some((server, proxy)) = start(loss, true).await else { return };
        let mut short = by_way_of(&proxy, &server, "unknown");
        short.answer_deadline = Duration::from_millis(500);
        let store = open(short).await;
        store.commit(batch(vec![put("before", 1)])).await.unwrap();
        proxy.lose(1);
        let outcome = store.commit(batch(vec![put("a", 7)])).await;
        let is_unknown = matches!(outcome, Err(CommitError::Store(StoreError::Unavailable(_))));
        assert!(is_unknown, "{outcome:?}");
        let direct = open(options(&server.url("postgres"), "unknown")).await;
        let found = direct.get(&key("a")).await.unwrap().0;
        assert_eq!(found.is_some(), is_there);
        direct.close().await.unwrap();
    }
}
