//! `store`: our backends beside what they are made of and beside etcd: commits, lists, and what many resources cost.

mod filters;
mod lists;
mod rates;
mod sizes;

use crate::error::Error;
use crate::options::Options;
use crate::report::Figure;
use crate::stage::Stage;
use crate::stores::postgres::Postgres;

pub(crate) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    let postgres = Postgres::start()?;
    eprintln!(
        "bench: store: {}, {}",
        crate::stores::etcd::Etcd::version(),
        postgres.version().await?
    );
    let mut figures = rates::run(stage, &postgres, options).await?;
    figures.extend(lists::run(stage, &postgres, options).await?);
    figures.extend(filters::run(stage, options).await?);
    figures.extend(sizes::run(stage, &postgres, options).await?);
    Ok(figures)
}
