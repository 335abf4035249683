//! Calls to those who do not answer; calls that are answered are tested with real servers, in the crate `api`.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Seams, Status};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::NetworkPeers;
use crate::id::DeploymentId;
use crate::identity::{KeyPair, Signers};
use crate::peers::{Call, Peers};
use crate::picture::{DeploymentInfo, Picture};

fn me() -> DeploymentId {
    DeploymentId::new("a.example.com", "eu")
}

fn to() -> DeploymentId {
    DeploymentId::new("b.example.com", "us")
}

fn picture(address: &str) -> Arc<Picture> {
    let info = DeploymentInfo { public_address: address.into(), ..DeploymentInfo::default() };
    let deployments = [(to(), Arc::new(info))].into();
    Arc::new(Picture { deployments, ..Picture::default() })
}

fn peers(address: &str) -> (NetworkPeers, watch::Sender<Arc<Picture>>) {
    let (sender, picture) = watch::channel(picture(address));
    let signers = Signers::new(Seams::real(), [(me(), KeyPair::generate(&Seams::real()).0)]);
    (NetworkPeers::new(Seams::real(), Arc::new(signers), picture), sender)
}

async fn failure(peers: &NetworkPeers, call: Call) -> Status {
    peers.call(&me(), &to(), call).await.err().expect("nobody answers")
}

fn assert_names_the_region(status: &Status, text: &str) {
    assert_eq!(status.reason, Reason::Unavailable, "{status}");
    let fact = |key: &str| status.metadata[key].as_str();
    assert_eq!((fact("region"), fact("service")), ("us", "b.example.com"));
    assert_eq!(status.message, format!("b.example.com@us cannot be reached: {text}"));
}

#[tokio::test]
async fn who_refuses_connections_is_unavailable_at_once_for_all_who_call() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let (peers, _picture) = peers(&address);
    let calls = (0..100).map(|i| {
        let call = if i % 2 == 0 { Call::unary("/a.B/C", "") } else { Call::stream("/a.B/C", "") };
        failure(&peers, call.within(Some(Duration::from_secs(20))))
    });
    for status in futures::future::join_all(calls).await {
        assert_names_the_region(&status, "the connection failed");
    }
}

#[tokio::test]
async fn who_is_silent_is_unavailable_when_the_time_is_over() {
    // Connections wait in the listener's queue; nobody takes them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (peers, _picture) = peers(&listener.local_addr().unwrap().to_string());
    for call in [Call::unary("/a.B/C", ""), Call::stream("/a.B/C", "")] {
        let status = failure(&peers, call.within(Some(Duration::from_millis(100)))).await;
        assert_names_the_region(&status, "it did not answer within 100 ms");
    }
}

#[tokio::test]
async fn who_has_no_address_or_none_that_is_one_cannot_be_reached() {
    let (peers, picture) = peers("");
    let status = failure(&peers, Call::unary("/a.B/C", "")).await;
    assert_names_the_region(&status, "no address of it is known");
    picture.send_replace(super::tests::picture("no host"));
    let status = failure(&peers, Call::unary("/a.B/C", "")).await;
    assert_names_the_region(&status, "no host is no host and port");
}

#[tokio::test]
async fn connections_to_addresses_that_nobody_has_any_more_are_forgotten() {
    let (peers, picture) = peers("127.0.0.1:1");
    failure(&peers, Call::unary("/a.B/C", "")).await;
    assert_eq!(peers.channels.addresses(), ["127.0.0.1:1".into()]);
    picture.send_replace(super::tests::picture("127.0.0.1:2"));
    failure(&peers, Call::unary("/a.B/C", "")).await;
    assert_eq!(peers.channels.addresses(), ["127.0.0.1:2".into()]);
}

#[tokio::test]
async fn what_cannot_be_sent_is_an_error_of_ours() {
    let (peers, _picture) = peers("127.0.0.1:1");
    let unsent = Call::unary("/a.B/C", "").with_header("x-request-id", "line\nbreak");
    assert_eq!(failure(&peers, unsent).await.reason, Reason::Internal);
    assert_eq!(failure(&peers, Call::unary("not a path", "")).await.reason, Reason::Internal);
}
