//! The benches, by name.

mod create;
mod fleet;
mod get;
mod graph;
mod idle;
mod list;
mod route;
mod start;
mod store;
mod watch;

use crate::error::Error;
use crate::options::Options;
use crate::report::Figure;
use crate::stage::Stage;

/// In the order in which they run.
const NAMES: [&str; 10] =
    ["get", "list", "create", "watch", "idle", "start", "fleet", "store", "route", "graph"];

/// The benches that were asked for, all of them if none was.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static str>, Error> {
    if names.is_empty() {
        return Ok(NAMES.to_vec());
    }
    let find = |name: &String| {
        NAMES
            .into_iter()
            .find(|known| known == name)
            .ok_or_else(|| Error::NoBench { name: name.clone(), known: NAMES.join(", ") })
    };
    names.iter().map(find).collect()
}

pub(crate) async fn run(
    name: &str,
    stage: &Stage,
    options: &Options,
) -> Result<Vec<Figure>, Error> {
    match name {
        "get" => get::run(stage, options).await,
        "list" => list::run(stage, options).await,
        "create" => create::run(stage, options).await,
        "watch" => watch::run(stage, options).await,
        "idle" => idle::run(stage, options).await,
        "fleet" => fleet::run(stage, options).await,
        "store" => store::run(stage, options).await,
        "graph" => graph::run(stage, options).await,
        "route" => route::run(stage, options).await,
        _ => start::run(stage, options).await,
    }
}
