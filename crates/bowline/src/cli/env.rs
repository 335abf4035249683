//! `bowline env`: which service is deployed in which region, in which version, how it is, and where; and the plain lists of
//! `bowline regions`, `services` and `deployments`.
//!
//! What is deployed says the meta service of any server; how it is, each deployment says itself.

use std::collections::BTreeSet;
use std::io::Write;

use bowline_wire::goten::meta::v1::{Deployment, Region, Service};
use bowline_wire::meta::{MetaResource, kind};
use prost::Message as _;

use super::args::{
    DeploymentsArgs, EnvArgs, FleetListArgs, Format, ListArgs, OutputArgs, ServerArgs,
};
use super::calls::{Query, Session};
use super::env_health;
use super::env_table::{self, Fleet};
use super::error::Error;
use super::verbs::{self, list};

/// Resources asked for in one request.
const PAGE_SIZE: u32 = 500;
/// The parent of the deployments of all services.
const ALL_SERVICES: &str = "services/-";

pub(crate) async fn run(args: EnvArgs, out: &mut dyn Write) -> Result<(), Error> {
    let session = verbs::open(&args.server).await?;
    let mut unreachable = BTreeSet::new();
    let regions = all::<Region>(&session, &args.server, None, &mut unreachable).await?;
    let services = all::<Service>(&session, &args.server, None, &mut unreachable).await?;
    let parent = Some(ALL_SERVICES);
    let deployments = all::<Deployment>(&session, &args.server, parent, &mut unreachable).await?;
    let addresses = deployments.iter().filter(|one| !one.is_disabled);
    let addresses = addresses.map(|one| one.public_domain.clone()).collect();
    let health = env_health::of(addresses, args.health_timeout, &session.seams).await;
    let fleet = Fleet::new(&regions, &services, &deployments, &health);
    env_table::print(out, &fleet, args.output.output)?;
    list::partial(&unreachable)
}

pub(crate) async fn regions(args: FleetListArgs, out: &mut dyn Write) -> Result<(), Error> {
    list_all(ListOf { kind: kind::REGION, ..ListOf::default() }, args.output, args.server, out)
        .await
}

pub(crate) async fn services(args: FleetListArgs, out: &mut dyn Write) -> Result<(), Error> {
    let columns = &["all_versions", "multi_region_policy.default_control_region"];
    let list = ListOf { kind: kind::SERVICE, columns, ..ListOf::default() };
    list_all(list, args.output, args.server, out).await
}

pub(crate) async fn deployments(args: DeploymentsArgs, out: &mut dyn Write) -> Result<(), Error> {
    let service = args.service.as_deref().map(|name| named(name, "services/"));
    let parent = service.unwrap_or_else(|| ALL_SERVICES.to_owned());
    let region = args.region.as_deref().map(|name| named(name, "regions/"));
    let filter = region.map(|name| format!("region = {}", serde_json::Value::from(name)));
    let columns = &["current_version", "public_domain", "is_disabled", "upgrade_state.stage"];
    let list = ListOf { kind: kind::DEPLOYMENT, parent: Some(parent), filter, columns };
    list_all(list, args.output, args.server, out).await
}

/// `eu-west` is as good as `regions/eu-west`.
fn named(text: &str, collection: &str) -> String {
    if text.starts_with(collection) { text.to_owned() } else { format!("{collection}{text}") }
}

/// What one of the commands lists; no columns: those that the type suggests.
#[derive(Default)]
struct ListOf {
    kind: &'static str,
    parent: Option<String>,
    filter: Option<String>,
    columns: &'static [&'static str],
}

async fn list_all(
    list: ListOf,
    output: OutputArgs,
    server: ServerArgs,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let address = server.server.clone();
    let ListOf { kind, parent, filter, columns } = list;
    // `wide` is for all there is to see.
    let columns = if output.output == Format::Wide { &[] } else { columns };
    let args = ListArgs {
        kind: kind.to_owned(),
        parent,
        filter,
        order_by: None,
        page_size: None,
        limit: u64::MAX,
        all: true,
        page_token: None,
        columns: columns.iter().map(|path| (*path).to_owned()).collect(),
        explain: false,
        output,
        server,
    };
    list::run(args, out).await.map_err(|error| without_meta(error, &address))
}

/// Where the deployments of the fleet are, those that are switched off left out.
///
/// # Errors
/// `NoMeta` if the server knows of no fleet.
pub(crate) async fn addresses(
    session: &Session,
    server: &ServerArgs,
    unreachable: &mut BTreeSet<String>,
) -> Result<BTreeSet<String>, Error> {
    let all = all::<Deployment>(session, server, Some(ALL_SERVICES), unreachable).await?;
    let on = all.into_iter().filter(|one| !one.is_disabled).map(|one| one.public_domain);
    Ok(on.filter(|address| !address.is_empty()).collect())
}

/// All resources of a type; regions that could not be asked are added to `unreachable`.
async fn all<R: MetaResource>(
    session: &Session,
    server: &ServerArgs,
    parent: Option<&str>,
    unreachable: &mut BTreeSet<String>,
) -> Result<Vec<R>, Error> {
    let ty = session.catalog.resolve_type(R::KIND, session.version.as_deref());
    let ty = ty.map_err(|error| without_meta(error, &server.server))?;
    let query = Query { parent: parent.map(str::to_owned), ..Query::default() };
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let page = session.list(&ty, &query, PAGE_SIZE, &token).await?;
        unreachable.extend(page.unreachable);
        for item in page.items {
            found.push(read(&item)?);
        }
        token = page.next_page_token;
        if token.is_empty() {
            return Ok(found);
        }
    }
}

fn read<R: MetaResource>(item: &prost_reflect::DynamicMessage) -> Result<R, Error> {
    R::decode(item.encode_to_vec().as_slice())
        .map_err(|error| Error::Answer { problem: format!("{}: {error}", R::KIND) })
}

/// A server that knows no regions at all is not one with a misspelt type.
fn without_meta(error: Error, server: &str) -> Error {
    match error {
        Error::UnknownType { .. } => Error::NoMeta { server: server.to_owned() },
        other => other,
    }
}
