//! A client of the book service, without generated code.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_api::grpc::BytesCodec;
use bowline_schema::load::load;
use bowline_schema::model::Registry;
use bowline_schema::source::Source;
use bowline_testkit::Server;
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde_json::{Value, json};
use tonic::transport::Channel;

pub(crate) const SERVICE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/embedded/service");
const BOOKS: &str = "/example.library.v1.BookService";

#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
    registry: Arc<Registry>,
}

/// What a watch sends, as JSON.
pub(crate) struct Messages {
    stream: tonic::Streaming<Bytes>,
    output: MessageDescriptor,
}

impl Client {
    pub(crate) async fn to(server: &Server) -> Self {
        let registry = Arc::new(load(&[Source::Folder(SERVICE.into())]).registry);
        let endpoint = tonic::transport::Endpoint::from_shared(server.url().to_owned()).unwrap();
        Self { channel: endpoint.connect().await.unwrap(), registry }
    }

    pub(crate) async fn call(&self, method: &str, request: Value) -> Result<Value, tonic::Status> {
        let (path, method) = self.method(method);
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let request = tonic::Request::new(encode(method.input(), &request));
        let answer = grpc.unary(request, path.parse().unwrap(), BytesCodec).await?.into_inner();
        Ok(decode(method.output(), answer))
    }

    /// Watches all books from `token` on, or from a snapshot if it is empty.
    pub(crate) async fn watch(&self, token: &str) -> Result<Messages, tonic::Status> {
        let request = json!({ "parent": "shelves/-", "type": "STATELESS", "resumeToken": token });
        let (path, method) = self.method("WatchBooks");
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let request = tonic::Request::new(encode(method.input(), &request));
        let stream =
            grpc.server_streaming(request, path.parse().unwrap(), BytesCodec).await?.into_inner();
        Ok(Messages { stream, output: method.output() })
    }

    /// All books, by name.
    pub(crate) async fn list(&self) -> BTreeMap<String, Value> {
        let (mut books, mut token) = (BTreeMap::new(), String::new());
        loop {
            let request = json!({ "parent": "shelves/-", "pageSize": 500, "pageToken": token });
            let page = self.call("ListBooks", request).await.unwrap();
            for book in page["books"].as_array().cloned().unwrap_or_default() {
                books.insert(book["name"].as_str().unwrap().to_owned(), book);
            }
            token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                return books;
            }
        }
    }

    /// The path and the descriptor of a method.
    fn method(&self, name: &str) -> (String, MethodDescriptor) {
        let path = format!("{BOOKS}/{name}");
        let method = self.registry.methods[&path].descriptor.clone();
        (path, method)
    }
}

impl Messages {
    /// The next message; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, tonic::Status> {
        let message = self.stream.message().await?;
        Ok(message.map(|message| decode(self.output.clone(), message)))
    }
}

fn encode(input: MessageDescriptor, request: &Value) -> Bytes {
    let text = request.to_string();
    let mut json = serde_json::Deserializer::from_str(&text);
    DynamicMessage::deserialize(input, &mut json).unwrap().encode_to_vec().into()
}

fn decode(output: MessageDescriptor, answer: Bytes) -> Value {
    serde_json::to_value(DynamicMessage::decode(output, answer).unwrap()).unwrap()
}
