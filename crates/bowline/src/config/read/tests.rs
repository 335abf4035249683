//! Whole configurations read: what each key becomes, and what is said of each mistake.

use bowline_schema::diagnostic::render;
use expect_test::{Expect, expect};

use super::*;

const FULL: &str = "
regions:
  eu-west: { listen: 127.0.0.1:7410 }
  us-east: { listen: '0.0.0.0:7430', address: us.example.com:443, store: 'postgres://me:${PASSWORD}@db/us' }
control_region: us-east
identity: keys
meta: { deployments: { eu-west: { store: meta-data } } }
services:
  - services/iam
  - folder: services/devices
    regions: [eu-west]
    deployments:
      eu-west: { listen: 127.0.0.1:7501, store: memory, start_version: v1alpha2, generation: 2 }
";

fn parse(text: &str) -> Result<Config, Vec<Diagnostic>> {
    let known = |name: &str| (name == "PASSWORD").then(|| "secret".to_owned());
    read("bowline.yaml", Path::new("fleet"), text, &known)
}

#[track_caller]
fn problems(text: &str, expected: Expect) {
    expected.assert_eq(&render(&parse(text).unwrap_err()));
}

#[test]
fn everything_that_can_be_said_is_read() {
    let config = parse(FULL).unwrap();
    assert_eq!(&*config.control_region, "us-east");
    assert_eq!(config.identity, Identity::Made("fleet/keys".into()));
    assert_eq!(config.storage, Storage::Folder("fleet/bowline-data".into()));
    let us = &config.regions[1];
    assert_eq!(us.address.as_deref(), Some("us.example.com:443"));
    let database: Storage = "postgres://me:secret@db/us".parse().unwrap();
    assert_eq!(us.storage, Some(database));
    assert_eq!(
        config.meta.deployments["eu-west"].storage,
        Some(Storage::Folder("fleet/meta-data".into()))
    );
    assert_eq!(config.services[0].folder, Path::new("fleet/services/iam"));
    let devices = &config.services[1];
    assert_eq!(devices.regions.as_deref(), Some(&["eu-west".into()][..]));
    assert_eq!(devices.deployments["eu-west"].start_version.as_deref(), Some("v1alpha2"));
    assert_eq!(devices.deployments["eu-west"].storage, Some(Storage::Memory));
    assert_eq!((config.generation, devices.deployments["eu-west"].generation), (1, 2));
}

#[test]
fn keys_that_are_given_may_lie_apart() {
    let given = FULL.replace("identity: keys", "identity: { private: own, public: /keys }");
    let config = parse(&given).unwrap();
    let (private, public) = ("fleet/own".into(), "/keys".into());
    assert_eq!(config.identity, Identity::Given { private, public });
}

#[test]
fn a_password_shows_nowhere() {
    assert!(!format!("{:?}", parse(FULL).unwrap()).contains("secret"));
}

#[test]
fn a_file_without_anything_says_what_belongs_into_it() {
    problems(
        "{}",
        expect![[r#"
        error[BL070]: no `regions`
          --> bowline.yaml:1:1
          = help: name at least one: `regions: { eu-west: { listen: 127.0.0.1:7410 } }`

        error[BL070]: no `services`
          --> bowline.yaml:1:1
          = help: name the folders: `services: [ { folder: services/devices } ]`

        2 errors, 0 warnings
    "#]],
    );
}

#[test]
fn misspelt_keys_and_regions_get_a_suggestion() {
    let text = "
regions:
  eu-west: { listn: 127.0.0.1:7410, listen: 127.0.0.1:7410 }
control_region: eu-wst
services:
  - folder: iam
    regons: [eu-west]
    deployments: { asia: {} }
colour: red
";
    problems(
        text,
        expect![[r#"
        error[BL011]: unknown key "listn"
          --> bowline.yaml:3:14
          = help: did you mean `listen`?

        error[BL071]: there is no region "eu-wst"
          --> bowline.yaml:4:17
          = help: did you mean `eu-west`?

        error[BL011]: unknown key "regons"
          --> bowline.yaml:7:5
          = help: did you mean `regions`?

        error[BL071]: there is no region "asia"
          --> bowline.yaml:8:20
          = help: the regions are eu-west

        error[BL011]: unknown key "colour"
          --> bowline.yaml:9:1
          = help: the configuration has regions, control_region, generation, store, identity, meta, services

        5 errors, 0 warnings
    "#]],
    );
}

#[test]
fn values_that_do_not_fit_are_told_with_their_places() {
    let text = "
regions:
  EU: { listen: localhost:7410, address: 'http://x' }
  us: {}
  ok: { listen: 127.0.0.1:1 }
store: mysql://me:secret@db
identity: { private: a }
generation: -3
services:
  - folder: [iam]
  - regions: [ok, ok]
  - folder: ${NOWHERE}
    regions: []
";
    problems(
        text,
        expect![[r#"
            error[BL070]: "EU" is no name of a region
              --> bowline.yaml:3:3
              = help: a name begins with a letter, has a-z, 0-9 and `-`, and at most 40 of them

            error[BL070]: "localhost:7410" is no address to listen on
              --> bowline.yaml:3:17
              = help: write IP and port: `127.0.0.1:7410`, `0.0.0.0:7410`, `[::1]:7410`

            error[BL070]: region us has no `listen`
              --> bowline.yaml:4:3
              = help: say where it listens: `listen: 127.0.0.1:7410`

            error[BL070]: this is no store: expected postgres://USER@HOST/DATABASE, a folder, or "memory"
              --> bowline.yaml:6:8

            error[BL070]: `identity` needs `private` and `public`
              --> bowline.yaml:7:11
              = help: either a folder in which keys are made, or both: `identity: { private: FOLDER, public: FOLDER }`

            error[BL070]: "-3" is no generation
              --> bowline.yaml:8:13
              = help: write a number from 1

            error[BL070]: a list, where a text is expected
              --> bowline.yaml:10:13

            error[BL070]: a service without `folder`
              --> bowline.yaml:11:5
              = help: say where its protos are: `folder: services/devices`

            error[BL070]: ok comes twice
              --> bowline.yaml:11:19

            error[BL070]: the variable NOWHERE is not set
              --> bowline.yaml:12:13
              = help: set it in the environment of the program

            error[BL070]: a service that is in no region
              --> bowline.yaml:13:14
              = help: leave `regions` out for all

            11 errors, 0 warnings
        "#]],
    );
}

#[test]
fn a_deployment_where_the_service_is_not_is_refused() {
    let text = "
regions: { a: { listen: 127.0.0.1:1 }, b: { listen: 127.0.0.1:2 } }
meta: { deployments: { a: { start_version: v1 } } }
services: [ { folder: iam, regions: [a], deployments: { b: { store: memory } } } ]
";
    problems(
        text,
        expect![[r#"
        error[BL070]: the meta service starts at the version that the program has
          --> bowline.yaml:3:24
          = help: take `start_version` away

        error[BL071]: the service is not in b
          --> bowline.yaml:4:57
          = help: add the region to the service's `regions`

        2 errors, 0 warnings
    "#]],
    );
}

#[test]
fn what_is_no_yaml_says_where() {
    problems(
        "regions: { a: [",
        expect![[r#"
        error[BL070]: line 1 column 15: unclosed bracket '['
          --> bowline.yaml:1:15

        1 error, 0 warnings
    "#]],
    );
    problems(
        "just a text",
        expect![[r#"
        error[BL070]: the configuration is a text, not a map
          --> bowline.yaml:1:1

        1 error, 0 warnings
    "#]],
    );
}

proptest::proptest! {
    #[test]
    fn reading_never_panics(text in "(regions|services|store|identity|meta|[a-z:{}\\[\\],.\n ${}'-]){0,60}") {
        let _ = parse(&text);
    }
}
