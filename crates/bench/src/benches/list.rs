//! `list`: a collection of 20,000 resources read page by page, beside the same number of bytes from a bare server.

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;

use crate::bare;
use crate::client::Client;
use crate::error::Error;
use crate::item::{self, ITEM_BYTES, ListRequest, ListResponse, Maker, PROJECT};
use crate::options::Options;
use crate::report::{Figure, median};
use crate::stage::Stage;

const ITEMS: u64 = 20_000;
const PAGE: i32 = 1_000;

pub(crate) async fn run(stage: &Stage, options: &Options) -> Result<Vec<Figure>, Error> {
    let server = stage.bowline("list").await?;
    let client = Client::connect(server.url(), 1).await?;
    let maker = Maker::fit(&client).await?;
    item::fill(&client, &maker, PROJECT, 0..ITEMS).await?;
    let (_, page) = read_page(&client, String::new()).await?;
    let bare = stage.bare(&page).await?;
    let bare_client = Client::connect(bare.url(), 1).await?;
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..=options.rounds {
        let (took, pages) = read_all(&client).await?;
        ours.push(took.as_secs_f64());
        limits.push(read_bare(&bare_client, pages).await?.as_secs_f64());
    }
    server.stop().await?;
    bare.stop().await?;
    // The first round warms up.
    let rate = |times: &[f64]| ITEMS as f64 / median(times[1..].iter().copied());
    Ok(vec![
        Figure::higher("list rate", rate(&ours), "resources/s").limit(rate(&limits)).note(format!(
            "{ITEMS} resources of {ITEM_BYTES} bytes in pages of {PAGE}, one client"
        )),
    ])
}

async fn read_all(client: &Client) -> Result<(Duration, usize), Error> {
    let start = Instant::now();
    let (mut token, mut pages, mut items) = (String::new(), 0, 0);
    loop {
        let (page, _) = read_page(client, token).await?;
        pages += 1;
        items += page.items.len() as u64;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    // The maker's probes are there, too.
    match items >= ITEMS {
        true => Ok((start.elapsed(), pages)),
        false => Err(Error::Wrong(format!("only {items} resources were listed"))),
    }
}

async fn read_page(client: &Client, page_token: String) -> Result<(ListResponse, Bytes), Error> {
    let (parent, filter) = (PROJECT.to_owned(), String::new());
    let request = ListRequest { parent, page_size: PAGE, page_token, filter };
    let answer = client.unary(0, item::LIST, request.encode_to_vec().into()).await;
    let bytes = answer.map_err(Error::call(item::LIST))?;
    let page = ListResponse::decode(bytes.clone())
        .map_err(|source| Error::Answer { path: item::LIST, source })?;
    Ok((page, bytes))
}

async fn read_bare(client: &Client, pages: usize) -> Result<Duration, Error> {
    let start = Instant::now();
    for _ in 0..pages {
        client.unary(0, bare::GET, Bytes::new()).await.map_err(Error::call(bare::GET))?;
    }
    Ok(start.elapsed())
}
