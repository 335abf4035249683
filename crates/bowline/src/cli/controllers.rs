//! `bowline controllers`: how it stands with what servers do after commits. Each server tells of itself; which there are says
//! the meta service, if the server that was named has one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use bowline_node::network::BytesCodec;
use bowline_wire::bowline::server::v1::{
    Controller, LIST_CONTROLLERS, ListControllersRequest, ListControllersResponse,
};
use futures::StreamExt as _;
use prost::Message as _;
use tonic::codegen::http::uri::PathAndQuery;

use super::args::ControllersArgs;
use super::client::endpoint;
use super::controllers_table::{self, Shown};
use super::env;
use super::error::Error;
use super::verbs::{self, list};

/// Servers that are asked at a time.
const AT_A_TIME: usize = 64;

pub(crate) async fn run(args: ControllersArgs, out: &mut dyn Write) -> Result<(), Error> {
    let session = verbs::open(&args.server).await?;
    let mut unreachable = BTreeSet::new();
    let addresses = match env::addresses(&session, &args.server, &mut unreachable).await {
        Ok(addresses) if !addresses.is_empty() => addresses,
        Ok(_) | Err(Error::NoMeta { .. }) => BTreeSet::from([args.server.server.clone()]),
        Err(error) => return Err(error),
    };
    let mut controllers = BTreeMap::new();
    let asked = addresses.into_iter().map(|address| async move {
        let answer = ask(&address, args.server.timeout).await;
        (address, answer)
    });
    let mut asked = futures::stream::iter(asked).buffer_unordered(AT_A_TIME);
    while let Some((address, answer)) = asked.next().await {
        match answer {
            Ok(answer) => controllers.extend(told(&address, answer)),
            Err(problem) => {
                unreachable.insert(format!("{address} ({problem})"));
            }
        }
    }
    let now = session.now();
    let shown: Vec<_> = controllers.into_values().map(|one| Shown::of(one, now)).collect();
    controllers_table::print(out, &shown, args.output.output)?;
    list::partial(&unreachable)
}

/// By deployment, controller and who tells.
fn told(
    address: &str,
    answer: ListControllersResponse,
) -> impl Iterator<Item = ((String, String, String, String), Controller)> {
    answer.controllers.into_iter().map(move |one| {
        ((one.service.clone(), one.region.clone(), one.name.clone(), address.to_owned()), one)
    })
}

async fn ask(address: &str, timeout: Duration) -> Result<ListControllersResponse, String> {
    let endpoint = endpoint(address).map_err(|error| error.to_string())?;
    let connected = endpoint.connect_timeout(timeout).connect().await;
    let channel = connected.map_err(|error| bowline_base::chain(&error).to_string())?;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| bowline_base::chain(&error).to_string())?;
    let mut request = tonic::Request::new(ListControllersRequest {}.encode_to_vec().into());
    request.set_timeout(timeout);
    let path = PathAndQuery::from_static(LIST_CONTROLLERS);
    let answer = grpc.unary(request, path, BytesCodec).await;
    let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
    ListControllersResponse::decode(answer).map_err(|error| error.to_string())
}
