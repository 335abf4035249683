//! `bowline-corpus`: the generated round over Google's public protos, or over any folder of them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bowline_base::chain;
use bowline_corpus::discover::{self, Package};
use bowline_corpus::fetch;
use bowline_corpus::package::PackageReport;
use bowline_corpus::report::{Report, failures};
use bowline_corpus::run;
use clap::Parser;

/// Loads real protos and runs the generated round on each resource type.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with protos; by default Google's, fetched by npm into target/corpus.
    #[arg(long, value_name = "DIR")]
    packages: Option<PathBuf>,
    /// Only packages whose path has this in it.
    #[arg(long, value_name = "SUBSTRING", default_value = "")]
    only: String,
    /// Where the machine-readable report goes.
    #[arg(long, value_name = "FILE", default_value = "target/corpus/report.json")]
    report: PathBuf,
}

fn main() -> ExitCode {
    match corpus(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("corpus: {}", chain(error.as_ref())));
            ExitCode::from(2)
        }
    }
}

/// Runs everything; tells whether the goal was reached.
fn corpus(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let packages = packages(arguments)?;
    if packages.is_empty() {
        return Err("no package with resources was found".into());
    }
    quiet_panics();
    let total = packages.len();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let reports = run::all(packages, &|report: &PackageReport| {
        let at = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        say(&progress(at, total, report));
    });
    let report = Report::of(reports);
    write_report(&arguments.report, &report)?;
    say(&report.summary());
    say(&format!("report: {}", arguments.report.display()));
    say(&report.last_line());
    Ok(report.reaches_goal())
}

fn packages(arguments: &Arguments) -> Result<Vec<Package>, Box<dyn std::error::Error>> {
    let folder = match &arguments.packages {
        Some(folder) => folder.clone(),
        None => fetch::protos(&target())?,
    };
    let mut packages = discover::packages(&folder)?;
    packages.retain(|package| package.name.contains(&arguments.only));
    Ok(packages)
}

/// Where cargo builds, which is where everything goes that can be made again.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// One line for a package, and one for each failure in it.
fn progress(at: usize, total: usize, report: &PackageReport) -> String {
    let passed = report.types.iter().filter(|ty| ty.passed()).count();
    let state = if report.loaded() { "loaded" } else { "NOT LOADED" };
    let mut lines = vec![format!(
        "[{at}/{total}] {}: {state} in {} ms, types {passed}/{} in {} ms, methods {}/{}",
        report.package,
        report.load_ms,
        report.types.len(),
        report.rounds_ms,
        report.methods.bound,
        report.methods.standard_looking
    )];
    for failure in failures(report) {
        lines.push(format!("  FAILED {} {:?}: {}", failure.kind, failure.step, failure.reason));
    }
    lines.join("\n")
}

fn write_report(path: &Path, report: &Report) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, serde_json::to_vec_pretty(report)?)?;
    Ok(())
}

/// Panics are counted and shown with their package; the default hook would tear the progress lines apart.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place =
            info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        say(&format!("  panic at {place}"));
    }));
}

fn say(line: &str) {
    // A closed pipe (`| head`) must not end the run: the report is still written.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
