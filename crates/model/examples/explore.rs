//! Explores worlds without a mistake, and prints how large they are: `cargo run -p bowline-model --example explore [WORLD...]`.
//!
//! Without names: all of them, which takes some minutes and some gigabytes. `--mistakes` prints a shortest trace for each mistake instead.
#![allow(clippy::print_stdout, reason = "a program that reports")]

use std::process::ExitCode;

use bowline_model::{INVARIANTS, Mistake, NAMED, World, explore, find, for_mistake, named};

const THREADS: usize = 2;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.iter().any(|n| n == "--mistakes") {
        return print_mistakes();
    }
    let worlds = chosen(&names);
    let mut sound = worlds.len() >= names.len();
    for (name, world) in worlds {
        sound &= print_world(&name, world);
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The worlds of these names, or all of them.
fn chosen(names: &[String]) -> Vec<(String, World)> {
    if names.is_empty() {
        return NAMED.iter().map(|(name, world)| ((*name).to_owned(), *world)).collect();
    }
    let known = |name: &String| {
        let world = named(name);
        if world.is_none() {
            println!("{name}: there is no such world");
        }
        Some((name.clone(), world?))
    };
    names.iter().filter_map(known).collect()
}

fn print_world(name: &str, world: World) -> bool {
    let report = explore(world, THREADS);
    println!("{name}: {} states, {} steps, depth {}", report.states, report.steps, report.depth);
    for property in bowline_model::POSSIBLE.iter().filter(|p| !report.possible.contains_key(*p)) {
        println!("  does not happen: {property}");
    }
    for finding in &report.violations {
        println!("  violated after {}: {}\n{}", finding.steps, finding.property, finding.trace);
    }
    report.violations.is_empty()
}

fn print_mistakes() -> ExitCode {
    let mut all = true;
    for mistake in Mistake::ALL {
        let world = for_mistake(mistake);
        let found = INVARIANTS.iter().filter_map(|p| find(world, p)).min_by_key(|f| f.steps);
        all &= found.is_some();
        match found {
            Some(f) => println!("{mistake:?}, {} steps: {}\n{}", f.steps, f.property, f.trace),
            None => println!("{mistake:?}: not found"),
        }
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
