//! Asking deployments how they are: the standard gRPC health check of each address, all at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline_base::Seams;
use futures::StreamExt as _;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::client::endpoint;

/// Addresses that are asked at a time.
const AT_A_TIME: usize = 64;

/// What an address answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Serving,
    /// It answers that it does not serve.
    NotServing,
    /// No answer in time, or none that makes sense; with the cause.
    Unreachable(String),
}

/// The health of every address that is not empty; none takes longer than `deadline`.
pub(crate) async fn of(
    addresses: BTreeSet<String>,
    deadline: Duration,
    seams: &Seams,
) -> BTreeMap<String, Health> {
    let addresses = addresses.into_iter().filter(|address| !address.is_empty());
    let asked = addresses.map(|address| async move {
        let health = tokio::select! {
            answer = ask(&address) => answer.unwrap_or_else(Health::Unreachable),
            () = seams.clock.sleep(deadline) => {
                Health::Unreachable(format!("no answer within {} ms", deadline.as_millis()))
            }
        };
        (address, health)
    });
    futures::stream::iter(asked).buffer_unordered(AT_A_TIME).collect().await
}

async fn ask(address: &str) -> Result<Health, String> {
    let endpoint = endpoint(address).map_err(|error| error.to_string())?;
    let connected = endpoint.connect().await;
    let channel = connected.map_err(|error| bowline_base::chain(&error).to_string())?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
    Ok(match answer.status() {
        ServingStatus::Serving => Health::Serving,
        _ => Health::NotServing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_not_answer_is_unreachable_and_keeps_nobody_waiting() {
        // Accepts and never says a word.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent_address = silent.local_addr().unwrap().to_string();
        // Nobody is there once the listener is dropped.
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone_address = gone.local_addr().unwrap().to_string();
        drop(gone);
        let addresses = [&silent_address, &gone_address, &"not an address".to_owned()];
        let addresses: BTreeSet<String> =
            addresses.into_iter().cloned().chain([String::new()]).collect();
        let deadline = Duration::from_millis(200);
        let health = of(addresses, deadline, &Seams::real()).await;
        assert_eq!(health.len(), 3);
        let unreachable = |address: &str| matches!(&health[address], Health::Unreachable(_));
        assert!(unreachable(&silent_address) && unreachable(&gone_address));
        assert!(unreachable("not an address"));
    }
}
