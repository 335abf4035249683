//! Six published EdgeLQ skeletons, with protos of ours for what they name, load and serve.
//!
//! The skeletons are found beside the repository, in `shared/data/api-skeletons`; without them the tests say so and pass.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline::{DynamicMessage, Node};
use bowline_schema::diagnostic;
use bowline_schema::load;
use bowline_schema::model::{Behaviour, Registry, ResourceType, Role, Verb};
use bowline_schema::source::Source;
use bowline_testkit::World;
use serde::de::DeserializeSeed;

const SKELETONS: [(&str, &str); 6] = [
    ("applications", "v1"),
    ("devices", "v1"),
    ("iam", "v1alpha2"),
    ("iam", "v1"),
    ("secrets", "v1alpha2"),
    ("secrets", "v1"),
];

/// Services as the SDK lays them out: `edgelq/<service>/api-skeleton-<version>.yaml` beside `proto/`.
#[expect(clippy::print_stderr, reason = "a test that does nothing has to say so")]
fn services() -> Option<World> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let skeletons = root.join("../shared/data/api-skeletons");
    if !skeletons.is_dir() {
        eprintln!("SKIPPED: the EdgeLQ skeletons are not beside this repository");
        return None;
    }
    let world = World::new("edgelq").expect("a directory");
    for (service, version) in SKELETONS {
        let skeleton = std::fs::read_to_string(skeletons.join(format!("{service}-{version}.yaml")));
        let path = format!("edgelq/{service}/api-skeleton-{version}.yaml");
        world.write(&path, &skeleton.expect("the skeleton")).expect("a copy");
        let protos = format!("{service}/proto/{version}");
        for file in files(&root.join("tests/edgelq").join(&protos)) {
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&file).expect("a proto");
            world.write(&format!("edgelq/{protos}/{name}"), &text).expect("a copy");
        }
    }
    Some(world)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of protos");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// The registry of all six, which must have no errors.
fn registry(world: &World) -> Registry {
    let loaded = load::load(&[Source::Folder(world.path().join("edgelq"))]);
    let errors: Vec<_> = loaded.diagnostics.into_iter().filter(|d| d.is_error()).collect();
    assert!(errors.is_empty(), "{}", diagnostic::render(&errors));
    loaded.registry
}

fn patterns(registry: &Registry, kind: &str, version: &str) -> Vec<String> {
    let found = registry.resource_type(kind, version).expect(kind);
    found.patterns.iter().map(|pattern| pattern.text.clone()).collect()
}

#[test]
fn every_type_of_the_skeletons_is_there() {
    let Some(world) = services() else { return };
    let registry = registry(&world);
    let count = |service: &str| -> Vec<(String, usize)> {
        let versions = &registry.service(service).expect(service).versions;
        versions.iter().map(|v| (v.version.clone(), v.types.len())).collect()
    };
    let of = |version: &str, types: usize| (version.to_owned(), types);
    assert_eq!(count("applications.edgelq.com"), [of("v1", 4)]);
    assert_eq!(count("devices.edgelq.com"), [of("v1", 12)]);
    assert_eq!(count("iam.edgelq.com"), [of("v1alpha2", 14), of("v1", 15)]);
    assert_eq!(count("secrets.edgelq.com"), [of("v1alpha2", 2), of("v1", 3)]);
}

#[test]
fn an_optional_region_gives_both_forms_of_a_name() {
    let Some(world) = services() else { return };
    let registry = registry(&world);
    let secret = "secrets.edgelq.com/Secret";
    assert_eq!(patterns(&registry, secret, "v1alpha2"), ["projects/{project}/secrets/{secret}"]);
    let v1: BTreeSet<String> = patterns(&registry, secret, "v1").into_iter().collect();
    let wanted = [
        "projects/{project}/regions/{region}/secrets/{secret}",
        "projects/{project}/secrets/{secret}",
        "secrets/{secret}",
    ];
    assert_eq!(v1, wanted.map(str::to_owned).into());
}

#[test]
fn a_foreign_parent_is_part_of_the_name() {
    let Some(world) = services() else { return };
    let registry = registry(&world);
    assert_eq!(
        patterns(&registry, "iam.edgelq.com/Permission", "v1"),
        ["services/{service}/permissions/{permission}"]
    );
    assert_eq!(
        patterns(&registry, "iam.edgelq.com/Permission", "v1alpha2"),
        ["permissions/{permission}"]
    );
}

#[test]
fn references_carry_what_goten_says_of_them() {
    let Some(world) = services() else { return };
    let registry = registry(&world);
    let device = registry.resource_type("devices.edgelq.com/Device", "v1").expect("Device");
    let behaviour = |path: &str| {
        let found = device.references.iter().find(|r| r.path == path).expect(path);
        (found.on_target_delete, found.external)
    };
    assert_eq!(behaviour("spec.service_account"), (Behaviour::Block, false));
    assert_eq!(behaviour("spec.logging_config.bucket"), (Behaviour::Block, true));
    let pod = registry.resource_type("applications.edgelq.com/Pod", "v1").expect("Pod");
    let node = pod.references.iter().find(|r| r.path == "spec.node").expect("spec.node");
    assert_eq!(node.on_target_delete, Behaviour::Cascade);
}

#[test]
fn methods_that_a_skeleton_opts_out_of_are_absent() {
    let Some(world) = services() else { return };
    let registry = registry(&world);
    let verbs = |kind: &str| -> BTreeSet<Verb> {
        let ours = registry.methods.values().filter_map(|method| match &method.role {
            Role::Standard(binding) if binding.resource.kind == kind => Some(binding.verb),
            _ => None,
        });
        ours.collect()
    };
    let counter = verbs("devices.edgelq.com/DeviceDistributionCounter");
    assert!(counter.contains(&Verb::List) && counter.contains(&Verb::Watch));
    assert!(!counter.contains(&Verb::Create) && !counter.contains(&Verb::Delete));
    assert!(!verbs("iam.edgelq.com/MemberAssignment").contains(&Verb::Create));
    assert!(verbs("secrets.edgelq.com/CryptoKey").contains(&Verb::Delete));
}

#[tokio::test]
async fn every_type_goes_through_create_get_list_and_delete() {
    let Some(world) = services() else { return };
    let node = Node::builder().folder(world.path().join("edgelq")).in_memory();
    let listen = "127.0.0.1:0".parse().expect("an address");
    let node = node.listen(listen).start().await.expect("the services are served");
    let types: Vec<Arc<ResourceType>> = node.registry().all_types().cloned().collect();
    let methods: Vec<_> = types
        .iter()
        .filter_map(|found| Some((found, Methods::of(node.registry(), found)?)))
        .collect();
    let open = methods.iter().flat_map(|(found, methods)| {
        found.patterns.iter().map(move |pattern| (*found, methods, name_of(&pattern.text)))
    });
    let mut open: Vec<_> = open.collect();
    // 50 types; three cannot be created by clients.
    assert!(open.len() > 60, "{} patterns are tried", open.len());
    // What others refer to comes first; what does not fit yet is tried again when more is there.
    let mut made = Vec::new();
    while !open.is_empty() {
        let (before, mut later) = (made.len(), Vec::new());
        for one in std::mem::take(&mut open) {
            match create(&node, &one).await {
                Ok(created) => made.push((one, created)),
                Err(status) => later.push((one, status)),
            }
        }
        let stuck = later.first().map(|(one, status)| format!("{}: {status}", one.2));
        assert!(later.is_empty() || made.len() > before, "nothing fits any more: {stuck:?}");
        open = later.into_iter().map(|(one, _)| one).collect();
    }
    // In the other order nothing is blocked, and nothing goes along.
    for (one, created) in made.iter().rev() {
        look_and_delete(&node, one, created).await;
    }
    node.stop().await;
}

/// Paths of the methods of one type.
struct Methods {
    create: String,
    get: String,
    list: String,
    delete: String,
}

impl Methods {
    /// `None` if the type cannot be created.
    fn of(registry: &Registry, found: &Arc<ResourceType>) -> Option<Self> {
        let path = |verb: Verb| {
            let mut methods = registry.methods.values();
            let method = methods.find(|method| match &method.role {
                Role::Standard(binding) => {
                    binding.verb == verb && Arc::ptr_eq(&binding.resource, found)
                }
                Role::Action { .. } => false,
            });
            method.map(|method| method.path.clone())
        };
        Some(Self {
            create: path(Verb::Create)?,
            get: path(Verb::Get)?,
            list: path(Verb::List)?,
            delete: path(Verb::Delete)?,
        })
    }
}

/// A name that fits a pattern, and each id pattern in the skeletons.
fn name_of(pattern: &str) -> String {
    let id = |segment: &str| {
        if segment.starts_with('{') { "abcd1".to_owned() } else { segment.to_owned() }
    };
    pattern.split('/').map(id).collect::<Vec<_>>().join("/")
}

/// A name of a type, with the type's methods.
type One<'a> = (&'a Arc<ResourceType>, &'a Methods, String);

/// Makes a resource; a failure is that something which it refers to is not there.
async fn create(
    node: &Node,
    (found, methods, name): &One<'_>,
) -> Result<DynamicMessage, bowline::Status> {
    let field = snake(&found.singular);
    let required = match found.singular.to_ascii_lowercase().as_str() {
        "rolebinding" => r#", "role": "projects/abcd1/roles/abcd1""#,
        "pod" | "distribution" => r#", "spec": {}"#,
        _ => "",
    };
    // v1alpha2 knows roles of no project.
    let required = match found.version.as_str() {
        "v1alpha2" => required.replace("projects/abcd1/", ""),
        _ => required.to_owned(),
    };
    let body = format!(r#"{{"{field}": {{"name": "{name}"{required}}}}}"#);
    match node.call(&methods.create, request(node, &methods.create, &body)).await {
        Err(status) if status.reason != bowline::Reason::ReferenceNotFound => {
            panic!("{} {body}: {status}", methods.create)
        }
        made_or_later => made_or_later,
    }
}

async fn look_and_delete(node: &Node, (_, methods, name): &One<'_>, created: &DynamicMessage) {
    let named = format!(r#"{{"name": "{name}"}}"#);
    assert_eq!(call(node, &methods.get, &named).await, *created, "{name} reads back as made");
    let listed = call(node, &methods.list, "{}").await;
    let text = serde_json::to_string(&listed).expect("JSON");
    assert!(text.contains(&format!("\"{name}\"")), "{name} is in {text}");
    call(node, &methods.delete, &named).await;
    let request = request(node, &methods.get, &named);
    let gone = node.call(&methods.get, request).await.expect_err("it was deleted");
    assert_eq!(gone.reason, bowline::Reason::ResourceNotFound);
}

async fn call(node: &Node, path: &str, json: &str) -> DynamicMessage {
    match node.call(path, request(node, path, json)).await {
        Ok(answer) => answer,
        Err(status) => panic!("{path} {json}: {status}"),
    }
}

fn request(node: &Node, path: &str, json: &str) -> DynamicMessage {
    let input = node.request_for(path).expect(path);
    let input = bowline::ReflectMessage::descriptor(&input);
    let mut text = serde_json::Deserializer::from_str(json);
    input.deserialize(&mut text).unwrap_or_else(|error| panic!("{path} {json}: {error}"))
}

fn snake(text: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in text.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
