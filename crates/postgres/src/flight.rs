//! Several statements sent at once, in order, without waiting for answers in between.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::connect::Session;
use crate::failure::Failure;

/// A value for a statement.
pub(crate) type Value<'v> = Box<dyn ToSql + Sync + Send + 'v>;

/// What the server answered to one statement.
#[derive(Debug)]
pub(crate) enum Answer {
    Rows(Vec<Row>),
    /// Rows that were written.
    Count(u64),
    Done,
}

type Asked<'s> = Pin<Box<dyn Future<Output = Result<Answer, tokio_postgres::Error>> + Send + 's>>;

/// Statements on one connection, in the order in which the server is to see them.
pub(crate) struct Flight<'s> {
    session: &'s Session,
    asked: Vec<Asked<'s>>,
}

impl<'s> Flight<'s> {
    pub(crate) fn new(session: &'s Session) -> Self {
        Self { session, asked: Vec::new() }
    }

    /// A statement without values, such as `BEGIN`.
    pub(crate) fn plain(&mut self, sql: &'static str) {
        let client = &self.session.client;
        self.asked
            .push(Box::pin(async move { client.batch_execute(sql).await.map(|()| Answer::Done) }));
    }

    /// A statement that answers rows.
    pub(crate) fn query(&mut self, statement: Statement, values: Vec<Value<'s>>) {
        let client = &self.session.client;
        self.asked.push(Box::pin(async move {
            client.query(&statement, &borrowed(&values)).await.map(Answer::Rows)
        }));
    }

    /// A statement that writes.
    pub(crate) fn execute(&mut self, statement: Statement, values: Vec<Value<'s>>) {
        let client = &self.session.client;
        self.asked.push(Box::pin(async move {
            client.execute(&statement, &borrowed(&values)).await.map(Answer::Count)
        }));
    }

    /// Sends all and waits for all answers. A statement that cannot even be sent keeps back those after it, so that a
    /// `COMMIT` never goes out without the writes before it.
    pub(crate) async fn run(self) -> Vec<Result<Answer, Failure>> {
        let mut asked = self.asked;
        let mut answers: Vec<Option<Result<Answer, Failure>>> = Vec::new();
        answers.resize_with(asked.len(), || None);
        let mut is_sent = false;
        std::future::poll_fn(|context| {
            let mut is_waiting = false;
            for at in 0..asked.len() {
                if answers[at].is_some() {
                    continue;
                }
                match asked[at].as_mut().poll(context) {
                    Poll::Pending => is_waiting = true,
                    Poll::Ready(answer) => {
                        let failed = answer.is_err();
                        answers[at] = Some(answer.map_err(Failure::Sql));
                        if failed && !is_sent {
                            answers[at + 1..].fill_with(|| Some(Err(Failure::NotSent)));
                        }
                    }
                }
            }
            is_sent = true;
            if is_waiting { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        answers.into_iter().map(|answer| answer.unwrap_or(Err(Failure::NotSent))).collect()
    }
}

fn borrowed<'v>(values: &'v [Value<'_>]) -> Vec<&'v (dyn ToSql + Sync)> {
    values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
}

impl Answer {
    /// The rows of a query; none for other statements.
    pub(crate) fn rows(self) -> Vec<Row> {
        match self {
            Self::Rows(rows) => rows,
            Self::Count(_) | Self::Done => Vec::new(),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Count(count) => *count,
            Self::Rows(_) | Self::Done => 0,
        }
    }
}
