//! Filtered lists over gRPC from `bowline up`: a field with an index beside one without that has the same values.

use std::time::{Duration, Instant};

use prost::Message;

use crate::client::Client;
use crate::error::Error;
use crate::item::{self, CreateRequest, ListRequest, ListResponse, Maker, PROJECT};
use crate::options::Options;
use crate::report::{Figure, median};
use crate::rows;
use crate::stage::Stage;

const ITEMS: u64 = 20_000;
const PAGE: i32 = 1_000;
const DATA: &str = "filters";

/// A value that some items have in two fields.
struct Wanted {
    name: &'static str,
    indexed: &'static str,
    bare: &'static str,
    value: String,
}

pub(super) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    eprintln!("bench: store: filtered lists of {ITEMS} resources over gRPC ...");
    let wanted = [
        Wanted {
            name: "gRPC list, 1 %, by index",
            indexed: "display_name",
            bare: "spec.serial_number",
            value: rows::site(42),
        },
        Wanted {
            name: "gRPC list, 10 %, by index",
            indexed: "spec.model",
            bare: "spec.attributes.rack",
            value: rows::model(4),
        },
    ];
    let folder = stage.indexed_service(&wanted.each_ref().map(|wanted| wanted.indexed))?;
    let server = stage.bowline_with(&folder, DATA).await?;
    let client = Client::connect(server.url(), 1).await?;
    let maker = Maker::fit(&client).await?;
    item::fill_with(&client, 0..ITEMS, |number| request(&maker, number)).await?;
    let mut figures = Vec::new();
    for wanted in wanted {
        figures.push(compare(&client, wanted, options.rounds).await?);
    }
    server.stop().await?;
    stage.remove(DATA)?;
    Ok(figures)
}

/// Creates an item that has the same site and the same model in two fields each.
fn request(maker: &Maker, number: u64) -> bytes::Bytes {
    let new = rows::make(number, 1);
    let mut item = maker.item(PROJECT, number);
    item.display_name.clone_from(&new.site);
    if let Some(spec) = &mut item.spec {
        spec.serial_number = new.site;
        spec.model.clone_from(&new.model);
        spec.attributes.insert("rack".to_owned(), new.model);
    }
    CreateRequest { parent: PROJECT.to_owned(), item: Some(item) }.encode_to_vec().into()
}

async fn compare(client: &Client, wanted: Wanted, rounds: u32) -> Result<Figure, Error> {
    let filter = |field: &str| format!("{field} = \"{}\"", wanted.value);
    let (by_index, bare) = (filter(wanted.indexed), filter(wanted.bare));
    let (mut ours, mut limits, mut count) = (Vec::new(), Vec::new(), 0);
    // The first round warms up.
    for _ in 0..=rounds {
        let (took, found) = list(client, &by_index).await?;
        let (took_bare, expected) = list(client, &bare).await?;
        if found != expected || found == 0 {
            let why = format!("{found} items where {by_index}, {expected} where {bare}");
            return Err(Error::Wrong(why));
        }
        ours.push(took.as_secs_f64() * 1e3);
        limits.push(took_bare.as_secs_f64() * 1e3);
        count = found;
    }
    let after_warm_up = |times: &[f64]| median(times.iter().skip(1).copied());
    Ok(Figure::lower(wanted.name, after_warm_up(&ours), "ms")
        .limit(after_warm_up(&limits))
        .note(format!("{count} of {ITEMS} resources; limit: a field without an index")))
}

async fn list(client: &Client, filter: &str) -> Result<(Duration, usize), Error> {
    let start = Instant::now();
    let (mut page_token, mut found) = (String::new(), 0);
    loop {
        let (parent, filter) = (PROJECT.to_owned(), filter.to_owned());
        let request = ListRequest { parent, page_size: PAGE, page_token, filter };
        let answer = client.unary(0, item::LIST, request.encode_to_vec().into()).await;
        let page = ListResponse::decode(answer.map_err(Error::call(item::LIST))?)
            .map_err(|source| Error::Answer { path: item::LIST, source })?;
        found += page.items.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok((start.elapsed(), found));
        }
    }
}
