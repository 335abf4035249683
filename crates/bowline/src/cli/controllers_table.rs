//! What `bowline controllers` prints: a line for each controller, with `-o wide` for each of its queues, or the same as data.
//! Pure but for the writing.

use std::io::Write;

use bowline_wire::bowline::server::v1::{Controller, controller};
use serde::Serialize;

use super::args::Format;
use super::columns::age;
use super::error::Error;
use super::print::{TableWriter, pretty, yaml};

/// Longest text of an error or a wait in a table, in characters; `-o wide` and data have all of it.
const TEXT_MAX: usize = 160;

/// A controller as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    deployment: String,
    controller: String,
    /// `0..1024`
    shards: String,
    pending: i64,
    /// Since when the oldest is pending.
    #[serde(skip)]
    oldest: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run_time: Option<String>,
    #[serde(skip)]
    last_run: Option<String>,
    queues: Vec<Queue>,
    /// When it was asked.
    #[serde(skip)]
    now: jiff::Timestamp,
}

/// One of its queues.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    name: String,
    pending: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_time: Option<String>,
    #[serde(skip)]
    oldest: Option<String>,
    failures: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in: Option<String>,
}

impl Shown {
    pub(crate) fn of(told: Controller, now: jiff::Timestamp) -> Self {
        let deployment = match &*told.region {
            "" => told.service,
            region => format!("{}@{region}", told.service),
        };
        let oldest = told.queues.iter().filter_map(|queue| time(queue.oldest_time.as_ref())).min();
        let run = time(told.last_run_time.as_ref());
        Self {
            deployment,
            controller: told.name,
            shards: format!("{}..{}", told.shards_from, told.shards_to),
            pending: told.queues.iter().map(|queue| queue.pending).sum(),
            oldest,
            last_run_time: run.map(|run| run.to_string()),
            last_run: run.map(|run| age(run, now)),
            now,
            queues: told.queues.into_iter().map(|queue| Queue::of(queue, now)).collect(),
        }
    }

    /// What is the matter: the first queue that fails, otherwise the first that waits.
    fn state(&self) -> String {
        let failing = self.queues.iter().find(|queue| queue.last_error.is_some());
        let waiting = || self.queues.iter().find(|queue| queue.waits_for.is_some());
        match failing.or_else(waiting) {
            Some(queue) => format!("{}: {}", queue.name, queue.state()),
            None if self.pending > 0 => "working".to_owned(),
            None => "idle".to_owned(),
        }
    }
}

impl Queue {
    fn of(told: controller::Queue, now: jiff::Timestamp) -> Self {
        let text = |text: String| (!text.is_empty()).then_some(text);
        let seconds = |left: prost_types::Duration| {
            let up = i64::from(left.nanos > 0);
            format!("{}s", left.seconds.saturating_add(up))
        };
        let oldest = time(told.oldest_time.as_ref());
        Self {
            name: told.name,
            pending: told.pending,
            oldest_time: oldest.map(|oldest| oldest.to_string()),
            oldest: oldest.map(|oldest| age(oldest, now)),
            failures: told.failures,
            last_error: text(told.last_error),
            waits_for: text(told.waits_for),
            retry_in: told.retry_in.map(seconds),
        }
    }

    fn state(&self) -> String {
        let again = self.retry_in.as_ref().map(|left| format!(", again in {left}"));
        let again = again.unwrap_or_default();
        match (&self.last_error, &self.waits_for) {
            (Some(error), _) => format!("failed {} times{again}: {error}", self.failures),
            (None, Some(waits)) => format!("waits{again}: {waits}"),
            (None, None) if self.pending > 0 => "working".to_owned(),
            (None, None) => "idle".to_owned(),
        }
    }
}

fn time(at: Option<&prost_types::Timestamp>) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(at?.seconds, at?.nanos).ok()
}

pub(crate) fn print(out: &mut dyn Write, shown: &[Shown], format: Format) -> Result<(), Error> {
    match format {
        Format::Table => table(out, shown),
        Format::Wide => queues(out, shown),
        Format::Json => Ok(writeln!(out, "{}", pretty(&value(shown)?, 0))?),
        Format::Yaml => Ok(write!(out, "{}", yaml(&value(shown)?)?)?),
        Format::Name => {
            for one in shown {
                writeln!(out, "{} {}", one.deployment, one.controller)?;
            }
            Ok(())
        }
    }
}

fn value(shown: &[Shown]) -> Result<serde_json::Value, Error> {
    let all = serde_json::to_value(shown);
    let all = all.map_err(|error| Error::Answer { problem: error.to_string() })?;
    Ok(serde_json::json!({ "controllers": all }))
}

fn table(out: &mut dyn Write, shown: &[Shown]) -> Result<(), Error> {
    let titles = ["DEPLOYMENT", "CONTROLLER", "SHARDS", "PENDING", "OLDEST", "LAST-RUN", "STATE"];
    let row = |one: &Shown| {
        vec![
            one.deployment.clone(),
            one.controller.clone(),
            one.shards.clone(),
            one.pending.to_string(),
            one.oldest.map_or_else(|| "-".to_owned(), |oldest| age(oldest, one.now)),
            one.last_run.clone().unwrap_or_else(|| "-".to_owned()),
            cut(&one.state()),
        ]
    };
    let rows = shown.iter().map(row).collect();
    TableWriter::new(titles.map(str::to_owned).to_vec()).rows(out, rows)
}

fn queues(out: &mut dyn Write, shown: &[Shown]) -> Result<(), Error> {
    let titles = ["DEPLOYMENT", "CONTROLLER", "SHARDS", "QUEUE", "PENDING", "OLDEST", "STATE"];
    let mut rows = Vec::new();
    for one in shown {
        let row = |queue: &str, pending: i64, oldest: Option<&String>, state: String| {
            let oldest = oldest.map_or_else(|| "-".to_owned(), Clone::clone);
            let (deployment, controller) = (one.deployment.clone(), one.controller.clone());
            let shards = one.shards.clone();
            let queue = queue.to_owned();
            vec![deployment, controller, shards, queue, pending.to_string(), oldest, state]
        };
        if one.queues.is_empty() {
            rows.push(row("-", 0, None, one.state()));
        }
        for queue in &one.queues {
            rows.push(row(&queue.name, queue.pending, queue.oldest.as_ref(), queue.state()));
        }
    }
    TableWriter::new(titles.map(str::to_owned).to_vec()).rows(out, rows)
}

fn cut(text: &str) -> String {
    if text.chars().count() <= TEXT_MAX {
        return text.to_owned();
    }
    let begin: String = text.chars().take(TEXT_MAX - 1).collect();
    format!("{begin}…")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use prost_types::{Duration, Timestamp};

    use super::*;

    fn shown() -> Vec<Shown> {
        let now = jiff::Timestamp::from_second(1_000).unwrap();
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let controller = |name: &str, region: &str, queues| Controller {
            service: "iam.test".into(),
            region: region.into(),
            name: name.into(),
            shards_to: 1_024,
            last_run_time: at(998),
            queues,
            ..Controller::default()
        };
        let failing = controller::Queue {
            name: "devices.test@us".into(),
            pending: 2,
            oldest_time: at(400),
            last_error: "no answer within 10000 ms".into(),
            failures: 7,
            retry_in: Some(Duration { seconds: 11, nanos: 5 }),
            ..Default::default()
        };
        let waiting = controller::Queue {
            name: "referrers of iam.test/Project".into(),
            pending: 1,
            oldest_time: at(880),
            waits_for: format!("1 referrers stay: {}", "projects/p/".repeat(16)),
            ..Default::default()
        };
        let told = [
            controller("owned_deleting", "eu", vec![failing, waiting.clone()]),
            controller("owned_pending", "eu", vec![]),
            controller("owned_deleting", "", vec![waiting]),
        ];
        told.into_iter().map(|one| Shown::of(one, now)).collect()
    }

    fn check(format: Format, expected: Expect) {
        let mut out = Vec::new();
        print(&mut out, &shown(), format).unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn each_controller_has_a_line_that_says_what_is_the_matter() {
        check(
            Format::Table,
            expect![[r#"
                DEPLOYMENT   CONTROLLER      SHARDS   PENDING  OLDEST  LAST-RUN  STATE
                iam.test@eu  owned_deleting  0..1024  3        10m     2s        devices.test@us: failed 7 times, again in 12s: no answer within 10000 ms
                iam.test@eu  owned_pending   0..1024  0        -       2s        idle
                iam.test     owned_deleting  0..1024  1        2m      2s        referrers of iam.test/Project: waits: 1 referrers stay: projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/proj…
            "#]],
        );
        check(
            Format::Name,
            expect![[r#"
            iam.test@eu owned_deleting
            iam.test@eu owned_pending
            iam.test owned_deleting
        "#]],
        );
    }

    #[test]
    fn wide_has_a_line_for_each_queue() {
        check(
            Format::Wide,
            expect![[r#"
                DEPLOYMENT   CONTROLLER      SHARDS   QUEUE                          PENDING  OLDEST  STATE
                iam.test@eu  owned_deleting  0..1024  devices.test@us                2        10m     failed 7 times, again in 12s: no answer within 10000 ms
                iam.test@eu  owned_deleting  0..1024  referrers of iam.test/Project  1        2m      waits: 1 referrers stay: projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/
                iam.test@eu  owned_pending   0..1024  -                              0        -       idle
                iam.test     owned_deleting  0..1024  referrers of iam.test/Project  1        2m      waits: 1 referrers stay: projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/
            "#]],
        );
    }

    #[test]
    fn as_data_it_says_the_same() {
        check(
            Format::Json,
            expect![[r#"
                {
                  "controllers": [
                    {
                      "deployment": "iam.test@eu",
                      "controller": "owned_deleting",
                      "shards": "0..1024",
                      "pending": 3,
                      "lastRunTime": "1970-01-01T00:16:38Z",
                      "queues": [
                        {
                          "name": "devices.test@us",
                          "pending": 2,
                          "oldestTime": "1970-01-01T00:06:40Z",
                          "failures": 7,
                          "lastError": "no answer within 10000 ms",
                          "retryIn": "12s"
                        },
                        {
                          "name": "referrers of iam.test/Project",
                          "pending": 1,
                          "oldestTime": "1970-01-01T00:14:40Z",
                          "failures": 0,
                          "waitsFor": "1 referrers stay: projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/"
                        }
                      ]
                    },
                    {
                      "deployment": "iam.test@eu",
                      "controller": "owned_pending",
                      "shards": "0..1024",
                      "pending": 0,
                      "lastRunTime": "1970-01-01T00:16:38Z",
                      "queues": []
                    },
                    {
                      "deployment": "iam.test",
                      "controller": "owned_deleting",
                      "shards": "0..1024",
                      "pending": 1,
                      "lastRunTime": "1970-01-01T00:16:38Z",
                      "queues": [
                        {
                          "name": "referrers of iam.test/Project",
                          "pending": 1,
                          "oldestTime": "1970-01-01T00:14:40Z",
                          "failures": 0,
                          "waitsFor": "1 referrers stay: projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/projects/p/"
                        }
                      ]
                    }
                  ]
                }
            "#]],
        );
    }
}
