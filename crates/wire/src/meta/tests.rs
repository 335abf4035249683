//! The meta service as it loads: its types, its methods, and every field of every message, as published.

use bowline_schema::model::{Registry, Role};
use bowline_schema::{load, show};
use expect_test::{expect, expect_file};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor};

use super::*;
use crate::goten::meta::v1::{
    CreateDeploymentRequest, ListDeploymentsResponse, UpdateDeploymentRequest,
};
use crate::standard::{Cas, Create, Delete, Get, List, Listed, Update};

fn registry() -> Registry {
    let loaded = load(&[source()]);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.registry
}

#[test]
fn it_loads_without_a_word_and_has_the_published_types_and_methods() {
    expect![[r#"
        service meta.goten.com
          version v1 (package goten.meta.v1)
            type Deployment (message goten.meta.v1.Deployment)
              pattern services/{service}/deployments/{deployment}
              parent meta.goten.com/Service (services/{service}) BLOCK ASYNC
              reference region -> meta.goten.com/Region BLOCK SYNC
              is sync ALWAYS_GLOBALLY, no constraints
              id [a-z][a-z0-9\-]{0,28}[a-z0-9]
            type Region (message goten.meta.v1.Region)
              pattern regions/{region}
              parent none (root)
              is no constraints
              id [a-z][a-z0-9\-]{0,28}[a-z0-9]
            type Resource (message goten.meta.v1.Resource)
              pattern services/{service}/resources/{resource}
              parent meta.goten.com/Service (services/{service}) CASCADE ASYNC
              is sync ALWAYS_IN_SCOPE, no constraints
              id [a-zA-Z][a-zA-Z0-9]{0,127}
            type Service (message goten.meta.v1.Service)
              pattern services/{service}
              parent none (root)
              reference imported_services -> meta.goten.com/Service BLOCK SYNC
              reference imported_versions.target_service -> meta.goten.com/Service ALLOW_DANGLING SYNC
              reference used_services -> meta.goten.com/Service BLOCK SYNC
              is policy holder, no constraints
              id [a-z][a-z0-9\-.]{0,126}[a-z0-9]
            methods of goten.meta.v1.DeploymentService
              BatchGetDeployments: BatchGet Deployment GET /meta/v1/deployments:batchGet
              BeginUpgrade: action POST /meta/v1/{name=services/*/deployments/*}:beginUpgrade
              CreateDeployment: Create Deployment POST /meta/v1/{parent=services/*}/deployments
              DeleteDeployment: Delete Deployment DELETE /meta/v1/{name=services/*/deployments/*}
              GetDeployment: Get Deployment GET /meta/v1/{name=services/*/deployments/*}
              GetOrRegisterDataUpdateTask: action POST /meta/v1/{name=services/*/deployments/*}:getOrRegisterDataUpdateTask
              ListDeployments: List Deployment GET /meta/v1/{parent=services/*}/deployments
              NotifyShardsUpgradeReadiness: action POST /meta/v1/{name=services/*/deployments/*}:notifyShardsUpgradeReadiness
              SetAvailableUpgrade: action POST /meta/v1/{name=services/*/deployments/*}:setAvailableUpgrade
              UpdateDataTaskUpdate: action POST /meta/v1/{name=services/*/deployments/*}:updateDataTaskUpdate
              UpdateDeployment: Update Deployment PATCH /meta/v1/{deployment.name=services/*/deployments/*}
              WatchDeployment: WatchOne Deployment GET /meta/v1/{name=services/*/deployments/*}:watch
              WatchDeployments: Watch Deployment GET /meta/v1/{parent=services/*}/deployments:watch
            methods of goten.meta.v1.RegionService (made by Bowline)
              BatchGetRegions: BatchGet Region GET /meta/v1/regions:batchGet
              CreateRegion: Create Region POST /meta/v1/regions
              DeleteRegion: Delete Region DELETE /meta/v1/{name=regions/*}
              GetRegion: Get Region GET /meta/v1/{name=regions/*}
              ListRegions: List Region GET /meta/v1/regions
              UpdateRegion: Update Region PATCH /meta/v1/{region.name=regions/*}
              WatchRegion: WatchOne Region GET /meta/v1/{name=regions/*}:watch
              WatchRegions: Watch Region GET /meta/v1/regions:watch
            methods of goten.meta.v1.ResourceService (made by Bowline)
              BatchGetResources: BatchGet Resource GET /meta/v1/resources:batchGet
              CreateResource: Create Resource POST /meta/v1/{parent=services/*}/resources
              DeleteResource: Delete Resource DELETE /meta/v1/{name=services/*/resources/*}
              GetResource: Get Resource GET /meta/v1/{name=services/*/resources/*}
              ListResources: List Resource GET /meta/v1/{parent=services/*}/resources
              UpdateResource: Update Resource PATCH /meta/v1/{resource.name=services/*/resources/*}
              WatchResource: WatchOne Resource GET /meta/v1/{name=services/*/resources/*}:watch
              WatchResources: Watch Resource GET /meta/v1/{parent=services/*}/resources:watch
            methods of goten.meta.v1.ServiceService (made by Bowline)
              BatchGetServices: BatchGet Service GET /meta/v1/services:batchGet
              CreateService: Create Service POST /meta/v1/services
              DeleteService: Delete Service DELETE /meta/v1/{name=services/*}
              GetService: Get Service GET /meta/v1/{name=services/*}
              ListServices: List Service GET /meta/v1/services
              UpdateService: Update Service PATCH /meta/v1/{service.name=services/*}
              WatchService: WatchOne Service GET /meta/v1/{name=services/*}:watch
              WatchServices: Watch Service GET /meta/v1/services:watch
    "#]].assert_eq(&show::show(&registry()));
}

#[test]
fn it_is_found_in_a_descriptor_set_as_reflection_gives_it() {
    let bytes = bowline_schema::export::descriptor_set(&registry());
    let loaded = load(&[Source::DescriptorBytes { name: "set".to_owned(), bytes }]);
    let reflected = loaded.registry;
    let kinds: Vec<&str> = reflected.types.keys().map(String::as_str).collect();
    assert_eq!(kinds, [kind::DEPLOYMENT, kind::REGION, kind::RESOURCE, kind::SERVICE]);
    assert_eq!(reflected.methods.len(), registry().methods.len());
}

#[test]
fn every_method_is_standard_but_those_of_upgrades() {
    let registry = registry();
    let actions = registry.methods.values().filter(|m| matches!(m.role, Role::Action { .. }));
    let mut actions: Vec<&str> = actions.map(|method| method.path.as_str()).collect();
    actions.sort_unstable();
    let mut named = [
        method::BEGIN_UPGRADE,
        method::SET_AVAILABLE_UPGRADE,
        method::NOTIFY_SHARDS_UPGRADE_READINESS,
        method::GET_OR_REGISTER_DATA_UPDATE_TASK,
        method::UPDATE_DATA_TASK_UPDATE,
    ];
    named.sort_unstable();
    assert_eq!(actions, named);
    assert!(registry.methods.contains_key(method::UPDATE_DEPLOYMENT));
}

/// The file was compared with the published descriptors when it was made: what is numbered from 50 on in requests and
/// responses, and from 500 on in resources, is ours, and all else is theirs.
#[test]
fn every_field_has_its_published_number_and_type() {
    let registry = registry();
    let pool = &registry.services[0].versions[0].pool;
    let ours = |message: &MessageDescriptor| {
        matches!(message.package_name(), "goten.meta.v1" | "goten.types") && !message.is_map_entry()
    };
    let mut lines: Vec<String> = pool.all_messages().filter(ours).map(|m| line(&m)).collect();
    lines.sort_unstable();
    expect_file!["fields.txt"].assert_eq(&(lines.join("\n") + "\n"));
}

fn line(message: &MessageDescriptor) -> String {
    let fields: Vec<String> = message.fields().map(|field| field_text(&field)).collect();
    format!("{}: {}", message.full_name(), fields.join(", "))
}

fn field_text(field: &FieldDescriptor) -> String {
    let many = if field.is_map() {
        "map "
    } else if field.is_list() {
        "repeated "
    } else {
        ""
    };
    let one_of = field.containing_oneof().map(|oneof| format!(" in {}", oneof.name()));
    let kind = format!("{:?}", field.kind());
    let kind = match field.kind() {
        prost_reflect::Kind::Message(message) => message.full_name().to_owned(),
        prost_reflect::Kind::Enum(kind) => kind.full_name().to_owned(),
        _ => kind,
    };
    format!("{}={} {many}{kind}{}", field.name(), field.number(), one_of.unwrap_or_default())
}

#[test]
fn requests_of_all_types_are_those_of_each() {
    let deployment = Deployment { name: "services/a.b/deployments/r".into(), ..Default::default() };
    let create = Create { parent: "services/a.b".into(), resource: Some(deployment.clone()) };
    let read = CreateDeploymentRequest::decode(create.encode_to_vec().as_slice()).unwrap();
    assert_eq!((read.parent.as_str(), read.deployment), ("services/a.b", Some(deployment.clone())));
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
    let update = Update {
        resource: Some(deployment.clone()),
        update_mask: mask("region"),
        cas: Some(Cas { conditional_state: Some(deployment.clone()), field_mask: mask("name") }),
        allow_missing: true,
        etag: "7".into(),
    };
    let read = UpdateDeploymentRequest::decode(update.encode_to_vec().as_slice()).unwrap();
    assert_eq!(read.encode_to_vec(), update.encode_to_vec());
    let listed = Listed {
        resources: vec![deployment],
        next_page_token: "n".into(),
        unreachable: vec!["r".into()],
    };
    let read = ListDeploymentsResponse::decode(listed.encode_to_vec().as_slice()).unwrap();
    assert_eq!(read.encode_to_vec(), listed.encode_to_vec());
}

#[test]
fn paths_and_requests_are_those_of_methods_that_exist() {
    fn check<R: MetaResource>(registry: &Registry) {
        let text = || "t".to_owned();
        let mask = || Some(prost_types::FieldMask::default());
        let list = List {
            parent: String::new(),
            page_size: 1,
            page_token: text(),
            order_by: text(),
            filter: text(),
            field_mask: mask(),
            view: 1,
        };
        let update: Update<R> = Update {
            resource: Some(R::default()),
            update_mask: mask(),
            cas: Some(Cas::default()),
            allow_missing: true,
            etag: text(),
        };
        let delete = Delete { name: text(), allow_missing: true, etag: text() };
        let create = Create { parent: String::new(), resource: Some(R::default()) };
        let requests = [
            (StandardVerb::Get, Get { name: text(), field_mask: mask(), view: 1 }.encode_to_vec()),
            (StandardVerb::List, list.encode_to_vec()),
            (StandardVerb::Create, create.encode_to_vec()),
            (StandardVerb::Update, update.encode_to_vec()),
            (StandardVerb::Delete, delete.encode_to_vec()),
        ];
        for (verb, bytes) in requests {
            let method = &registry.methods[&R::path(verb)];
            let read = DynamicMessage::decode(method.descriptor.input(), bytes.as_slice()).unwrap();
            assert_eq!(read.unknown_fields().count(), 0, "{}", method.path);
        }
        assert_eq!(registry.resource_type(R::KIND, VERSION).unwrap().message.name(), R::SINGULAR);
    }
    let registry = registry();
    check::<Region>(&registry);
    check::<Service>(&registry);
    check::<Resource>(&registry);
    check::<Deployment>(&registry);
}
