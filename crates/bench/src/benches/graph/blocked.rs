//! A delete that is refused: how fast it says so where very many resources refer to the target.

use std::time::Instant;

use super::schema::{
    CREATE_DEVICE, CREATE_SITE, DELETE_SITE, Device, create, delete, send_all, serve, site,
};
use crate::client::Client;
use crate::error::Error;
use crate::load::{histogram, quantile_ms, record};
use crate::options::Options;
use crate::report::Figure;
use crate::stage::Stage;

const CONNECTIONS: usize = 4;
const DELETES: usize = 300;
const GOAL_MS: f64 = 10.0;
/// Each device has so many references.
const REFERENCES: u64 = 2;

pub(super) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    let server = serve(stage, "blocked", None).await?;
    let client = Client::connect(server.url(), CONNECTIONS).await?;
    // All to two targets, and one more that has few.
    send_all(&client, CREATE_SITE, (0..2).map(|n| create(site(n)))).await?;
    let device = |n| Device { site: site(0), spare_site: site(1), ..Device::number(n) };
    let devices = options.resources / REFERENCES;
    send_all(&client, CREATE_DEVICE, (0..devices).map(|n| device(n).request())).await?;
    let mut latency = histogram();
    for _ in 0..DELETES {
        let start = Instant::now();
        let answer = client.unary(0, DELETE_SITE, delete(site(0))).await;
        record(&mut latency, start.elapsed());
        check(answer.err().as_ref())?;
    }
    server.stop().await?;
    stage.remove("blocked")?;
    let note = format!("{} references in the database", devices * REFERENCES);
    let figure = |metric, share| {
        Figure::lower(metric, quantile_ms(&latency, share), "ms").goal(GOAL_MS).note(&note)
    };
    Ok(vec![figure("blocked delete, p50", 0.5), figure("blocked delete, p99", 0.99)])
}

fn check(refused: Option<&tonic::Status>) -> Result<(), Error> {
    let is_blocked = refused.is_some_and(|status| status.code() == tonic::Code::FailedPrecondition);
    let said = || refused.map_or_else(|| "it was deleted".to_owned(), |s| s.message().to_owned());
    if is_blocked { Ok(()) } else { Err(Error::Wrong(format!("a blocked delete: {}", said()))) }
}
