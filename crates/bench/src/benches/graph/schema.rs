//! The two services of the bench `graph`, and their messages as far as it looks into them.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use prost::Message;

use crate::client::Client;
use crate::error::Error;
use crate::item::spread;
use crate::process::Server;
use crate::stage::Stage;

const FILES: [(&str, &str); 4] = [
    ("graph/iam/service.yaml", include_str!("../../../graph/iam/service.yaml")),
    ("graph/iam/v1/iam.proto", include_str!("../../../graph/iam/v1/iam.proto")),
    ("graph/devices/service.yaml", include_str!("../../../graph/devices/service.yaml")),
    ("graph/devices/v1/devices.proto", include_str!("../../../graph/devices/v1/devices.proto")),
];

pub(super) const CREATE_DEVICE: &str = "/graphbench.devices.v1.DeviceService/CreateDevice";
pub(super) const UPDATE_DEVICE: &str = "/graphbench.devices.v1.DeviceService/UpdateDevice";
pub(super) const LIST_DEVICES: &str = "/graphbench.devices.v1.DeviceService/ListDevices";
pub(super) const CREATE_SITE: &str = "/graphbench.devices.v1.SiteService/CreateSite";
pub(super) const DELETE_SITE: &str = "/graphbench.devices.v1.SiteService/DeleteSite";
pub(super) const CREATE_PROJECT: &str = "/graphbench.iam.v1.ProjectService/CreateProject";
pub(super) const DELETE_PROJECT: &str = "/graphbench.iam.v1.ProjectService/DeleteProject";

/// Length of a device's notes: about that of a resource of a common size.
const NOTES_BYTES: usize = 300;
/// Requests that are open at once while a store is filled.
const FILLERS: usize = 256;

/// A device; sites and projects have the same name field and nothing else.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Device {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) site: String,
    #[prost(string, tag = "4")]
    pub(super) spare_site: String,
    #[prost(string, tag = "5")]
    pub(super) group: String,
    #[prost(string, tag = "6")]
    pub(super) project: String,
    #[prost(string, tag = "7")]
    pub(super) tenant: String,
    #[prost(string, tag = "8")]
    pub(super) notes: String,
}

#[derive(Clone, PartialEq, Message)]
struct Write {
    #[prost(message, optional, tag = "2")]
    resource: Option<Device>,
}

#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListRequest {
    #[prost(int32, tag = "2")]
    page_size: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ListResponse {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    devices: Vec<Bytes>,
}

impl Device {
    /// Device number `n`, without references.
    pub(super) fn number(n: u64) -> Self {
        let name = format!("devices/{:016x}", spread(n));
        Self { name, notes: "n".repeat(NOTES_BYTES), ..Self::default() }
    }

    /// The request that creates it, or puts it in place of the present one.
    pub(super) fn request(self) -> Bytes {
        Write { resource: Some(self) }.encode_to_vec().into()
    }
}

pub(super) fn site(n: u64) -> String {
    format!("sites/{:016x}", spread(n))
}

pub(super) fn project(n: u64) -> String {
    format!("projects/{:016x}", spread(n))
}

/// The request that creates a site or project.
pub(super) fn create(name: String) -> Bytes {
    Device { name, ..Device::default() }.request()
}

pub(super) fn delete(name: String) -> Bytes {
    Named { name }.encode_to_vec().into()
}

/// Whether there is any device.
pub(super) async fn has_devices(client: &Client) -> Result<bool, Error> {
    let request = ListRequest { page_size: 1 }.encode_to_vec().into();
    let answer = client.unary(0, LIST_DEVICES, request).await.map_err(Error::call(LIST_DEVICES))?;
    let listed = ListResponse::decode(answer)
        .map_err(|source| Error::Answer { path: LIST_DEVICES, source })?;
    Ok(!listed.devices.is_empty())
}

/// Sends many requests of one method, many at once.
pub(super) async fn send_all(
    client: &Client,
    path: &'static str,
    requests: impl Iterator<Item = Bytes>,
) -> Result<(), Error> {
    let calls = futures::stream::iter(requests.enumerate()).map(|(n, request)| async move {
        client.unary(n, path, request).await.map(drop).map_err(Error::call(path))
    });
    calls.buffer_unordered(FILLERS).try_collect().await
}

/// A node of both services, each with a database of its own; `store` is a URL instead of files.
pub(super) async fn serve(stage: &Stage, data: &str, store: Option<&str>) -> Result<Server, Error> {
    for (path, text) in FILES {
        stage.write(path, text.as_bytes())?;
    }
    let folder = |name: &str| stage.path("graph").join(name).into_os_string();
    let mut args = vec!["up".into(), folder("iam"), folder("devices")];
    args.extend(["--listen".into(), "127.0.0.1:0".into()]);
    match store {
        Some(url) => args.extend(["--store".into(), url.into()]),
        None => args.extend(["--data".into(), stage.path(data).into_os_string()]),
    }
    Server::start(stage.program(), args, &stage.path("graph.log")).await
}
