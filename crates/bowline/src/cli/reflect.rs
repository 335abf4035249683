//! Asking a server for its schema over gRPC reflection, as any other client would.
//!
//! The result is a descriptor set; `super::catalog` makes a registry of it.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::FileDescriptorProto;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codec::Streaming;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::client::Client;
use super::error::Error;

/// Most files of a schema; all of Google's APIs have fewer.
const FILES_MAX: usize = 20_000;
/// Most bytes of a schema.
const BYTES_MAX: usize = 256 << 20;
/// Services of the transport and of the server itself, which have no resources.
const INFRASTRUCTURE: [&str; 3] = ["grpc.reflection.", "grpc.health.", "bowline.server."];

/// What a server says about itself.
pub(crate) struct Reflected {
    /// Full names of the gRPC services that it serves.
    pub(crate) services: BTreeSet<String>,
    /// An encoded `FileDescriptorSet` with everything that the services need, imports before importers.
    pub(crate) descriptor_set: Vec<u8>,
}

/// Fetches all files of all services, in as many round trips as imports are deep.
pub(crate) async fn fetch(client: &Client) -> Result<Reflected, Error> {
    let mut conversation = Conversation::open(client).await?;
    let services = conversation.services().await?;
    let symbols = services.iter().cloned().map(MessageRequest::FileContainingSymbol).collect();
    let mut files = Files::default();
    let mut missing = conversation.ask(symbols, &mut files).await?;
    while !missing.is_empty() {
        let by_name = missing.into_iter().map(MessageRequest::FileByFilename).collect();
        missing = conversation.ask(by_name, &mut files).await?;
    }
    Ok(Reflected { services, descriptor_set: files.encode() })
}

/// One reflection stream; answers come in the order of the requests.
struct Conversation {
    requests: tokio::sync::mpsc::UnboundedSender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl Conversation {
    async fn open(client: &Client) -> Result<Self, Error> {
        let (requests, receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut request = tonic::Request::new(UnboundedReceiverStream::new(receiver));
        request.set_timeout(client.timeout());
        let answers = ServerReflectionClient::new(client.channel())
            .max_decoding_message_size(BYTES_MAX)
            .server_reflection_info(request)
            .await?
            .into_inner();
        Ok(Self { requests, answers })
    }

    async fn services(&mut self) -> Result<BTreeSet<String>, Error> {
        self.send(MessageRequest::ListServices(String::new()))?;
        match self.receive().await? {
            MessageResponse::ListServicesResponse(list) => Ok(list
                .service
                .into_iter()
                .map(|service| service.name)
                .filter(|name| !INFRASTRUCTURE.iter().any(|prefix| name.starts_with(prefix)))
                .collect()),
            _ => Err(answer("reflection did not list services")),
        }
    }

    /// Asks for files, takes what comes, and gives the names of imports that did not come yet.
    async fn ask(
        &mut self,
        requests: Vec<MessageRequest>,
        files: &mut Files,
    ) -> Result<BTreeSet<String>, Error> {
        let expected = requests.len();
        for request in requests {
            self.send(request)?;
        }
        for _ in 0..expected {
            match self.receive().await? {
                MessageResponse::FileDescriptorResponse(response) => {
                    response
                        .file_descriptor_proto
                        .into_iter()
                        .try_for_each(|bytes| files.add(bytes))?;
                }
                _ => return Err(answer("reflection did not give a file")),
            }
        }
        Ok(files.missing())
    }

    fn send(&self, request: MessageRequest) -> Result<(), Error> {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        self.requests.send(request).map_err(|_| answer("reflection ended early"))
    }

    async fn receive(&mut self) -> Result<MessageResponse, Error> {
        let response =
            self.answers.message().await?.ok_or_else(|| answer("reflection ended early"))?;
        match response.message_response {
            Some(MessageResponse::ErrorResponse(error)) => {
                Err(tonic::Status::new(tonic::Code::from(error.error_code), error.error_message)
                    .into())
            }
            Some(response) => Ok(response),
            None => Err(answer("reflection gave an empty answer")),
        }
    }
}

fn answer(problem: &str) -> Error {
    Error::Answer { problem: problem.to_owned() }
}

/// Descriptor files by name, kept as bytes: decoding and encoding would lose custom options.
#[derive(Default)]
struct Files {
    by_name: BTreeMap<String, File>,
    bytes: usize,
}

struct File {
    imports: Vec<String>,
    encoded: Vec<u8>,
}

/// `google.protobuf.FileDescriptorSet` with its files left encoded; the wire format is the same.
#[derive(Clone, PartialEq, prost::Message)]
struct RawSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    file: Vec<Vec<u8>>,
}

impl Files {
    fn add(&mut self, encoded: Vec<u8>) -> Result<(), Error> {
        let file = FileDescriptorProto::decode(encoded.as_slice()).map_err(|error| {
            Error::Answer { problem: format!("a schema file is damaged: {error}") }
        })?;
        self.bytes += encoded.len();
        if self.by_name.len() >= FILES_MAX || self.bytes > BYTES_MAX {
            return Err(answer("the schema is too large"));
        }
        self.by_name
            .entry(file.name().to_owned())
            .or_insert(File { imports: file.dependency, encoded });
        Ok(())
    }

    fn missing(&self) -> BTreeSet<String> {
        let imports = self.by_name.values().flat_map(|file| &file.imports);
        imports.filter(|name| !self.by_name.contains_key(*name)).cloned().collect()
    }

    /// Imports first. Walks with its own stack, since imports may be as deep as there are files.
    fn encode(mut self) -> Vec<u8> {
        let mut order = Vec::with_capacity(self.by_name.len());
        let mut seen = BTreeSet::new();
        for root in self.by_name.keys() {
            let mut stack = vec![(root.as_str(), false)];
            while let Some((name, imports_done)) = stack.pop() {
                if imports_done {
                    order.push(name.to_owned());
                } else if seen.insert(name.to_owned()) {
                    stack.push((name, true));
                    let imports = self.by_name.get(name).map(|file| file.imports.as_slice());
                    stack.extend(imports.unwrap_or_default().iter().map(|i| (i.as_str(), false)));
                }
            }
        }
        let file = order.iter().filter_map(|name| self.by_name.remove(name)).map(|f| f.encoded);
        RawSet { file: file.collect() }.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use prost_types::FileDescriptorSet;

    use super::*;

    fn file(name: &str, imports: &[&str]) -> Vec<u8> {
        FileDescriptorProto {
            name: Some(name.to_owned()),
            dependency: imports.iter().map(|i| (*i).to_owned()).collect(),
            ..FileDescriptorProto::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn imports_come_before_importers() {
        let mut files = Files::default();
        files.add(file("a", &["b", "c"])).unwrap();
        files.add(file("b", &["c"])).unwrap();
        assert_eq!(files.missing().into_iter().collect::<Vec<_>>(), ["c"]);
        files.add(file("c", &[])).unwrap();
        assert!(files.missing().is_empty());
        let set = FileDescriptorSet::decode(files.encode().as_slice()).unwrap();
        let names: Vec<_> = set.file.iter().map(|f| f.name().to_owned()).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }

    #[test]
    fn a_cycle_of_imports_does_not_hang() {
        let mut files = Files::default();
        files.add(file("a", &["b"])).unwrap();
        files.add(file("b", &["a"])).unwrap();
        let set = FileDescriptorSet::decode(files.encode().as_slice()).unwrap();
        assert_eq!(set.file.len(), 2);
    }

    #[test]
    fn damaged_files_are_refused() {
        assert!(Files::default().add(vec![0xff, 0xff]).is_err());
    }
}
