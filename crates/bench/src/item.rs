//! The messages of the bench service, as far as a bench looks into them, and items of a wished size.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

use crate::client::Client;
use crate::error::Error;

pub(crate) const GET: &str = "/bench.v1.ItemService/GetItem";
pub(crate) const CREATE: &str = "/bench.v1.ItemService/CreateItem";
const CREATE_PROJECT: &str = "/bench.v1.ProjectService/CreateProject";
pub(crate) const LIST: &str = "/bench.v1.ItemService/ListItems";
pub(crate) const WATCH: &str = "/bench.v1.ItemService/WatchItems";

/// Size of the resource as it is stored and handed out, in bytes.
pub(crate) const ITEM_BYTES: usize = 600;

/// Timestamps and counters in the metadata take a few bytes more or less.
const SLACK_BYTES: usize = 10;

/// Where items are, unless a bench needs several projects.
pub(crate) const PROJECT: &str = "projects/bench";

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Item {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) display_name: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) spec: Option<Spec>,
    #[prost(string, tag = "5")]
    pub(crate) notes: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Spec {
    #[prost(string, tag = "1")]
    pub(crate) model: String,
    #[prost(string, tag = "2")]
    pub(crate) serial_number: String,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) attributes: HashMap<String, String>,
    #[prost(int64, repeated, tag = "4")]
    pub(crate) thresholds: Vec<i64>,
    #[prost(bool, tag = "5")]
    pub(crate) enabled: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CreateRequest {
    #[prost(string, tag = "1")]
    pub(crate) parent: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) item: Option<Item>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListRequest {
    #[prost(string, tag = "1")]
    pub(crate) parent: String,
    #[prost(int32, tag = "2")]
    pub(crate) page_size: i32,
    #[prost(string, tag = "3")]
    pub(crate) page_token: String,
    #[prost(string, tag = "5")]
    pub(crate) filter: String,
}

/// The rows of a page stay bytes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListResponse {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) items: Vec<Bytes>,
    #[prost(string, tag = "4")]
    pub(crate) next_page_token: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WatchRequest {
    #[prost(string, tag = "1")]
    pub(crate) parent: String,
    /// 1 is `STATELESS`.
    #[prost(int32, tag = "9")]
    pub(crate) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WatchResponse {
    #[prost(message, repeated, tag = "2")]
    pub(crate) changes: Vec<Change>,
    #[prost(bool, tag = "4")]
    pub(crate) is_current: bool,
    #[prost(bool, tag = "7")]
    pub(crate) is_soft_reset: bool,
    #[prost(bool, tag = "8")]
    pub(crate) is_hard_reset: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Change {
    #[prost(message, optional, tag = "4")]
    pub(crate) current: Option<Current>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Current {
    /// An item that nobody decodes before it is asked for its name.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) item: Option<Bytes>,
}

/// A resource of which only the name is decoded.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Named {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

impl WatchResponse {
    /// The message that tells of one resource, as a server sends it.
    pub(crate) fn of(item: &Item) -> Self {
        let current = Current { item: Some(item.encode_to_vec().into()) };
        let changes = vec![Change { current: Some(current) }];
        Self { changes, is_current: true, ..Self::default() }
    }

    /// Names of the resources that the message tells of; a removal has none.
    pub(crate) fn names(&self) -> impl Iterator<Item = Result<String, prost::DecodeError>> {
        let items = self.changes.iter().filter_map(|c| c.current.as_ref()?.item.clone());
        items.map(|item| Named::decode(item).map(|named| named.name))
    }
}

/// The name of item number `n`: well spread, as ids of real clients are, and always of the same length.
pub(crate) fn name(project: &str, n: u64) -> String {
    format!("{project}/items/{:016x}", spread(n))
}

/// A bijection that scatters consecutive numbers (the finalizer of splitmix64).
pub(crate) fn spread(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Makes a project, without which nothing can be made below it.
pub(crate) async fn make_project(client: &Client, name: &str) -> Result<(), Error> {
    // A project is an item that has nothing but a name, as far as the wire tells.
    let project = Item { name: name.to_owned(), ..Item::default() };
    let request = CreateRequest { parent: String::new(), item: Some(project) }.encode_to_vec();
    match client.unary(0, CREATE_PROJECT, request.into()).await {
        Err(status) if status.code() != tonic::Code::AlreadyExists => {
            Err(Error::call(CREATE_PROJECT)(status))
        }
        _ => Ok(()),
    }
}

pub(crate) fn get_request(name: String) -> Bytes {
    GetRequest { name }.encode_to_vec().into()
}

pub(crate) fn stateless_watch(parent: &str) -> Bytes {
    WatchRequest { parent: parent.to_owned(), kind: 1 }.encode_to_vec().into()
}

/// Makes items that are [`ITEM_BYTES`] long once the server has stored them.
#[derive(Clone, Debug)]
pub(crate) struct Maker {
    notes: String,
}

impl Maker {
    /// Items that are about as long, for a server that adds nothing.
    pub(crate) fn unfitted() -> Self {
        Self { notes: "n".repeat(ITEM_BYTES / 2) }
    }

    /// Items of [`ITEM_BYTES`].
    pub(crate) async fn fit(client: &Client) -> Result<Self, Error> {
        Self::fit_to(client, ITEM_BYTES).await
    }

    /// Creates an item to learn what the server adds, and another one to see that it has the size.
    pub(crate) async fn fit_to(client: &Client, bytes: usize) -> Result<Self, Error> {
        make_project(client, PROJECT).await?;
        // Long enough that lengths keep their number of bytes when it is cut.
        let mut maker = Self { notes: "n".repeat(300) };
        let len = maker.probe(client, u64::MAX).await?;
        let wanted = (maker.notes.len() + bytes).saturating_sub(len);
        maker.notes = "n".repeat(wanted);
        check_len(maker.probe(client, u64::MAX - 1).await?, bytes).map(|()| maker)
    }

    /// The stored length of item number `n`, which no bench counts to.
    async fn probe(&self, client: &Client, n: u64) -> Result<usize, Error> {
        let request = self.create_request(PROJECT, n);
        let stored = client.unary(0, CREATE, request).await.map_err(Error::call(CREATE))?;
        Ok(stored.len())
    }

    /// The request that creates item number `n`.
    pub(crate) fn create_request(&self, project: &str, n: u64) -> Bytes {
        let item = Some(self.item(project, n));
        CreateRequest { parent: project.to_owned(), item }.encode_to_vec().into()
    }

    pub(crate) fn item(&self, project: &str, n: u64) -> Item {
        let attribute = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        Item {
            name: name(project, n),
            display_name: "An item of a bench".to_owned(),
            spec: Some(Spec {
                model: "model-7".to_owned(),
                serial_number: format!("{n:020}"),
                attributes: HashMap::from([attribute("site", "north"), attribute("rack", "r-17")]),
                thresholds: vec![10, 20, 300, 4_000],
                enabled: true,
            }),
            notes: self.notes.clone(),
        }
    }
}

/// Fails unless a stored item has about the size that was wished.
pub(crate) fn check_len(len: usize, wished: usize) -> Result<(), Error> {
    match len.abs_diff(wished) <= SLACK_BYTES {
        true => Ok(()),
        false => Err(Error::Wrong(format!("a resource has {len} bytes, not {wished}"))),
    }
}

/// Creates items number `from..to`, many at once.
pub(crate) async fn fill(
    client: &Client,
    maker: &Maker,
    project: &str,
    numbers: std::ops::Range<u64>,
) -> Result<(), Error> {
    fill_with(client, numbers, |n| maker.create_request(project, n)).await
}

/// Creates what the requests with these numbers say, many at once.
pub(crate) async fn fill_with(
    client: &Client,
    numbers: std::ops::Range<u64>,
    request: impl Fn(u64) -> Bytes,
) -> Result<(), Error> {
    use futures::{StreamExt, TryStreamExt};
    let creates = futures::stream::iter(numbers).map(|n| {
        let (connection, request) = (usize::try_from(n).unwrap_or(0), request(n));
        async move {
            let answer = client.unary(connection, CREATE, request).await;
            answer.map(drop).map_err(Error::call(CREATE))
        }
    });
    creates.buffer_unordered(256).try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_have_one_length() {
        let names: std::collections::BTreeSet<String> =
            (0..10_000).map(|n| name(PROJECT, n)).collect();
        assert_eq!(names.len(), 10_000);
        assert!(names.iter().all(|n| n.len() == names.first().map_or(0, String::len)));
    }

    #[test]
    fn items_differ_only_where_length_does_not() {
        let maker = Maker { notes: "n".repeat(200) };
        let length = |n| maker.create_request(PROJECT, n).len();
        assert_eq!(length(0), length(u64::MAX));
    }
}
