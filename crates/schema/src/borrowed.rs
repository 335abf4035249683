//! Types that bare protos only borrow: declared with another service's domain, for references, and never served here.
//!
//! Secret Manager declares a message with the type `pubsub.googleapis.com/Topic`. It must not become a Pub/Sub service.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DescriptorPool, MessageDescriptor};

use crate::options::{self, MessageOptions};

/// The domains among `messages` that are borrowed: no method in `files` takes or gives one of their types, while
/// another domain's types are taken or given.
pub(crate) fn domains(
    pool: &DescriptorPool,
    files: &BTreeSet<String>,
    messages: &[(MessageDescriptor, MessageOptions)],
) -> BTreeSet<String> {
    let mentioned = mentioned(pool, files);
    let mut is_used: BTreeMap<&str, bool> = BTreeMap::new();
    for (message, options) in messages {
        let Some(resource) = &options.resource else { continue };
        let Some((domain, _)) = resource.r#type.split_once('/') else { continue };
        *is_used.entry(domain).or_default() |= mentioned.contains(message.full_name());
    }
    if !is_used.values().any(|used| *used) {
        return BTreeSet::new();
    }
    is_used.into_iter().filter(|(_, used)| !used).map(|(domain, _)| domain.to_owned()).collect()
}

/// Full names of the messages that methods take or give, whole or in a field of a request or response.
///
/// What a resource holds is not given by the method that gives the resource.
fn mentioned(pool: &DescriptorPool, files: &BTreeSet<String>) -> BTreeSet<String> {
    let files = files.iter().filter_map(|name| pool.get_file_by_name(name));
    let services: Vec<_> = files.flat_map(|file| file.services().collect::<Vec<_>>()).collect();
    let methods = services.iter().flat_map(|service| service.methods());
    let mut names = BTreeSet::new();
    for message in methods.flat_map(|method| [method.input(), method.output()]) {
        names.insert(message.full_name().to_owned());
        if options::of_message(&message).resource.is_some() {
            continue;
        }
        for field in message.fields() {
            names.extend(field.kind().as_message().map(|inner| inner.full_name().to_owned()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::code;
    use crate::load::{Loaded, load};
    use crate::source::Source;

    const PROTO: &str = r#"
        syntax = "proto3";
        package acme.vault.v1;
        import "google/api/resource.proto";
        message Secret {
          option (google.api.resource) = { type: "vault.example.com/Secret" pattern: "secrets/{secret}" };
          string name = 1;
          repeated Topic topics = 2;
        }
        message Topic {
          option (google.api.resource) = { type: "bus.example.com/Topic" pattern: "topics/{topic}" };
          string name = 1;
        }
        message GetSecretRequest { string name = 1; }
        service Vault { rpc GetSecret(GetSecretRequest) returns (Secret); }
    "#;

    fn load_text(proto: &str) -> Loaded {
        let files = vec![("acme/vault/v1/vault.proto".to_owned(), proto.to_owned())];
        load(&[Source::Files { service_yaml: None, files }])
    }

    fn services(proto: &str) -> Vec<String> {
        let loaded = load_text(proto);
        loaded.registry.services.iter().map(|service| service.name.clone()).collect()
    }

    #[test]
    fn a_type_of_another_domain_that_no_method_uses_makes_no_service() {
        assert_eq!(services(PROTO), ["vault.example.com"]);
        let found = load_text(PROTO).diagnostics;
        let n_told = found.iter().filter(|problem| problem.code == code::BORROWED_TYPE).count();
        assert_eq!(n_told, 1);
    }

    #[test]
    fn types_of_two_domains_without_methods_make_two_services() {
        let without = PROTO
            .replace("service Vault { rpc GetSecret(GetSecretRequest) returns (Secret); }", "");
        assert_eq!(services(&without), ["bus.example.com", "vault.example.com"]);
    }
}
