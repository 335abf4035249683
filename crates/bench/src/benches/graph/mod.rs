//! `graph`: what references cost saves, how fast a target goes with all that refer to it, how fast a blocked delete says so.

mod blocked;
mod cascade;
mod rates;
mod raw;
mod schema;

use crate::error::Error;
use crate::options::Options;
use crate::report::Figure;
use crate::stage::Stage;

pub(crate) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    let mut figures = rates::run(stage, options).await?;
    figures.extend(cascade::run(stage).await?);
    figures.extend(blocked::run(stage, options).await?);
    Ok(figures)
}
