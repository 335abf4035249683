//! The limit of `create`: the group commit of `bowline_store::baseline`, which has SQLite and nothing else.

use std::time::Duration;

use crate::error::Error;
use crate::stage::Stage;

pub(crate) async fn rate(
    stage: &Stage,
    body: &[u8],
    clients: usize,
    time: Duration,
) -> Result<f64, Error> {
    let _ = (stage, body, clients, time);
    Err(Error::Wrong("the raw store is not there".to_owned()))
}
