//! What backups and restores share: progress, numbers for people, being interrupted.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Seams, seams::Clock};
use bowline_store::Table;
use bowline_store::backup::{DeploymentContents, Totals};
use futures::future::LocalBoxFuture;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::{Error, exit};

/// How often progress is told on a terminal, which overwrites one line, and elsewhere, where lines add up.
const PERIOD_TERMINAL: Duration = Duration::from_millis(200);
const PERIOD_LOG: Duration = Duration::from_secs(10);

/// Tells how far it is, on standard error, now and then.
pub(crate) struct Progress {
    verb: &'static str,
    clock: Arc<dyn Clock>,
    told: Duration,
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    /// `verb`: what is done with rows, as in "1,234 rows read".
    pub(crate) fn new(verb: &'static str, seams: &Seams) -> Self {
        let clock = seams.clock.clone();
        let told = clock.monotonic();
        Self { verb, clock, told, is_terminal: std::io::stderr().is_terminal(), is_shown: false }
    }

    pub(crate) fn tell(&mut self, totals: Totals) {
        let now = self.clock.monotonic();
        let period = if self.is_terminal { PERIOD_TERMINAL } else { PERIOD_LOG };
        if now.saturating_sub(self.told) < period {
            return;
        }
        self.told = now;
        self.is_shown = true;
        let line = format!("{} rows {}, {}", count(totals.rows), self.verb, size(totals.bytes));
        let (start, end) = if self.is_terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        // Nobody is left to tell when standard error is gone.
        let _ = write!(std::io::stderr(), "{start}{line}{end}");
    }
}

impl Drop for Progress {
    /// Leaves the line for what comes next.
    fn drop(&mut self) {
        if self.is_terminal && self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// `work`, unless the process is asked to stop before it is done.
///
/// Work that waits for a pipe does not notice; asked a second time, the process ends at once.
pub(crate) async fn unless_interrupted<T>(
    seams: &Seams,
    work: LocalBoxFuture<'_, Result<T, Error>>,
) -> Result<T, Error> {
    let listen = |kind| signal(kind).map_err(Error::Signals);
    let mut signals = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?];
    let (tell, told) = tokio::sync::oneshot::channel();
    let listening = async move {
        next(&mut signals).await;
        // Nobody listens if the work is done.
        let _ = tell.send(());
        next(&mut signals).await;
        std::process::exit(i32::from(exit::ERROR));
    };
    seams.tasks.spawn("signals", Box::pin(listening));
    tokio::select! {
        done = work => done,
        Ok(()) = told => Err(Error::Interrupted),
    }
}

async fn next([interrupt, terminate]: &mut [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as `1.5 MB`.
#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
pub(crate) fn size(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, 0);
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    while size >= 999.95 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// What is there of a deployment, a line for each kind; tables of the program itself are one line together.
pub(crate) fn lines(contents: &DeploymentContents) -> Vec<String> {
    let (own, kinds): (Vec<_>, Vec<_>) =
        contents.tables.iter().partition(|(table, _)| table.is_internal());
    let line = |name: String, rows: u64| format!("  {name:<50} {:>14}", count(rows));
    let mut lines: Vec<_> = kinds.iter().map(|(table, rows)| line(named(table), *rows)).collect();
    let rows: u64 = own.iter().map(|(_, rows)| rows).sum();
    if rows > 0 {
        lines.push(line("(bookkeeping)".to_owned(), rows));
    }
    lines
}

/// A backup may come from anywhere, and what it says reaches a terminal.
fn named(table: &Table) -> String {
    format!("{} {}", table.namespace.escape_debug(), table.kind.escape_debug())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn numbers_are_grouped_and_sizes_short() {
        let counts = [0, 12, 999, 1_000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "12", "999", "1,000", "1,234,567"]);
        let sizes = [0, 999, 1_000, 1_549_999, 999_960, u64::MAX].map(size);
        assert_eq!(sizes, ["0 bytes", "999 bytes", "1.0 kB", "1.5 MB", "1.0 MB", "18446744.1 TB"]);
    }

    #[test]
    fn bookkeeping_is_one_line_and_names_cannot_command_the_terminal() {
        let table =
            |namespace: &str, kind: &str| Table { namespace: namespace.into(), kind: kind.into() };
        let contents = DeploymentContents {
            deployment: bowline_store::backup::Deployment::default(),
            position: bowline_store::Position::default(),
            tables: vec![
                (table("v1", "a/Device"), 1_200),
                (table("v1", "\x1b[2J"), 1),
                (table("~", "~index"), 2),
                (table("~", "~request"), 3),
            ],
        };
        expect![[r#"
            rows:
              v1 a/Device                                                 1,200
              v1 \u{1b}[2J                                                    1
              (bookkeeping)                                                   5"#]]
        .assert_eq(&format!("rows:\n{}", lines(&contents).join("\n")));
    }
}
