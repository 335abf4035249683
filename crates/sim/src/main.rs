//! `./x sim`: runs seeds of the simulated world, and tells of those that fail how to run them again.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bowline_sim::Fault;
use bowline_sim::judge::Counts;
use bowline_sim::plan::{Part, Pins};
use bowline_sim::run::{REGIONS, Report, run_pinned};
use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Runs real deployments in simulated worlds, each decided by its seed.
#[derive(Clone, Debug, Parser)]
#[command(name = "x sim")]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs this one only, and prints its last events.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Plants a fault, and stops at the first seed that finds it.
    #[arg(long)]
    fault: Option<Fault>,
    /// Plants each fault in turn, and says which seed finds it; fails if one is not found in 1,000 seeds.
    #[arg(long, conflicts_with_all = ["seeds", "seed", "fault"])]
    planted: bool,
    /// Runs all seeds, whatever fails.
    #[arg(long)]
    keep_going: bool,
    /// Events that are told of a seed, from its end.
    #[arg(long, default_value_t = 80)]
    events: usize,
    /// Worlds at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    #[command(flatten)]
    pinned: Pinned,
}

/// What is fixed and not drawn; everything else stays as the seed draws it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "What is fixed in all worlds")]
struct Pinned {
    /// What there is not; several with commas. Types of version 1 and 2 are `v1` and `v2`.
    #[arg(long, value_delimiter = ',', value_parser = parts())]
    without: Vec<Part>,
    /// How many regions there are, up to 4.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=REGIONS.len() as u64))]
    regions: Option<u64>,
    /// How many clients there are.
    #[arg(long)]
    clients: Option<usize>,
    /// How many requests each client makes.
    #[arg(long)]
    requests: Option<usize>,
    /// How many projects there are.
    #[arg(long)]
    projects: Option<u64>,
    /// How many names of a type there are below one parent.
    #[arg(long)]
    names: Option<u64>,
}

fn parts() -> impl TypedValueParser<Value = Part> {
    PossibleValuesParser::new(Part::names()).try_map(|name| name.parse::<Part>())
}

impl Args {
    fn pins(&self) -> Pins {
        let Pinned { without, regions, clients, requests, projects, names } = self.pinned.clone();
        let regions = regions.and_then(|regions| usize::try_from(regions).ok());
        Pins { without, regions, clients, requests, projects, names }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.seed {
        Some(seed) => one(seed, &args),
        None if args.planted => planted(&args),
        None => many(&args),
    }
}

/// Within so many seeds each planted fault must be found.
const FOUND_WITHIN: u64 = 1_000;

#[expect(clippy::print_stdout, reason = "this is a command")]
fn planted(args: &Args) -> ExitCode {
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        let one =
            Args { fault: Some(*fault), seeds: FOUND_WITHIN, keep_going: false, ..args.clone() };
        let sum = run_all(&one);
        // Worlds run side by side: the first one that finds it counts.
        let found = sum.failed.iter().min_by_key(|report| report.seed);
        match found.and_then(|report| Some((report.seed, report.failure.as_ref()?))) {
            Some((seed, failure)) => {
                let told = failure.to_string();
                let first = told.lines().next().unwrap_or_default();
                println!("{fault}: found after {} seeds: {first}", seed + 1 - args.from);
            }
            None => missed.push(*fault),
        }
    }
    missed.iter().for_each(|fault| println!("{fault}: NOT found in {FOUND_WITHIN} seeds"));
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "this is a command")]
fn one(seed: u64, args: &Args) -> ExitCode {
    let report = run_pinned(seed, args.fault, &args.pins());
    print!("{}", report.tail(args.events));
    println!("{}", report.plan);
    println!("{}", summary(&report));
    println!("{}", report.counts);
    if report.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn summary(report: &Report) -> String {
    let Report { seed, steps, commits, lasted, hash, failure, .. } = report;
    let ended =
        failure.as_ref().map_or_else(|| "held".to_owned(), |failure| format!("FAILED: {failure}"));
    let lasted = lasted.as_secs();
    format!("seed {seed}: {steps} steps, {commits} commits, {lasted} s, hash {hash:016x}: {ended}")
}

/// What all seeds together come to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    steps: u64,
    commits: u64,
    counts: Counts,
    failed: Vec<Report>,
}

#[expect(clippy::print_stdout, reason = "this is a command")]
fn many(args: &Args) -> ExitCode {
    let clock = bowline_base::Seams::real().clock;
    let began = clock.monotonic();
    let sum = run_all(args);
    let seconds = (clock.monotonic() - began).as_secs_f64().max(0.001);
    for report in &sum.failed {
        println!("{}", report.plan);
        print!("{}", report.tail(args.events));
        println!("{}", summary(report));
        let fault = args.fault.map(|fault| format!(" --fault {fault}")).unwrap_or_default();
        println!("again: ./x sim --seed {}{fault}{}\n", report.seed, args.pins());
    }
    let seeds = sum.seeds.max(1);
    println!(
        "{} seeds, {} failed; {:.1} seeds/s, {} steps and {} commits each",
        sum.seeds,
        sum.failed.len(),
        sum.seeds as f64 / seconds,
        sum.steps / seeds,
        sum.commits / seeds
    );
    println!("of all: {}", sum.counts);
    if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each world is a thread's own; what they share (the loaded services) never changes.
fn run_all(args: &Args) -> Sum {
    let next = AtomicU64::new(args.from);
    let end = args.from.saturating_add(args.seeds);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = run_pinned(seed, args.fault, &args.pins());
                    if report.failure.is_some() && !args.keep_going {
                        // One is enough to look at.
                        next.store(end, Ordering::Relaxed);
                    }
                    sum.lock().unwrap_or_else(PoisonError::into_inner).add(report);
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Sum {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.steps += report.steps;
        self.commits += report.commits;
        self.counts += report.counts;
        if report.failure.is_some() {
            self.failed.push(report);
        }
    }
}
