//! `bowline env`, `regions`, `services` and `deployments`, against a server that has the meta service and one that has not.

use bowline_schema::Source;
use expect_test::expect;

use crate::lab::Lab;

/// A server with the meta service beside the library.
fn with_meta(test: &str) -> Lab {
    let mut lab = Lab::unserved(test);
    let Source::Files { service_yaml, files } = bowline_wire::meta::source() else {
        panic!("the meta service is texts")
    };
    lab.world
        .write("library/meta/service.yaml", &service_yaml.expect("a manifest"))
        .expect("a manifest");
    for (path, text) in files {
        lab.world.write(&format!("library/meta/{path}"), &text).expect("a proto");
    }
    lab.serve(&["--memory", "--listen", "127.0.0.1:0"]);
    lab
}

/// Two regions and two services, registered by hand; one deployment is the server itself, one address has nobody.
pub(crate) fn registered(test: &str) -> (Lab, String) {
    let lab = with_meta(test);
    let address = lab.server().url().trim_start_matches("http://").to_owned();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("an address");
    let service = |name: &str| {
        format!(
            "kind: meta.goten.com/Service\nname: services/{name}\nmultiRegionPolicy:\n  \
             enabledRegions: [eu-west]\n  defaultControlRegion: eu-west\n---\n"
        )
    };
    let deployment = |service: &str, region: &str, address: &str| {
        format!(
            "kind: meta.goten.com/Deployment\nname: services/{service}/deployments/{region}\n\
             region: regions/{region}\ncurrentVersion: v1\npublicDomain: {address}\n---\n"
        )
    };
    let region = |name: &str| format!("kind: meta.goten.com/Region\nname: regions/{name}\n---\n");
    let text = [
        region("eu-west"),
        region("us-east"),
        service("iam.test"),
        service("library.test"),
        deployment("iam.test", "eu-west", &address),
        deployment("library.test", "eu-west", &address),
        deployment("library.test", "us-east", &nobody.to_string()),
    ];
    lab.apply("fleet.yaml", &text.concat()).ok();
    (lab, address)
}

#[test]
fn deployments_say_how_they_are_and_those_that_do_not_are_unreachable() {
    let (lab, address) = registered("env");
    let shown = lab.run(&["env"]).ok().replace(&address, "HERE");
    let lines: Vec<String> =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[0], "SERVICE eu-west us-east");
    assert!(lines[1].starts_with("HERE 127.0.0.1:"), "{shown}");
    assert_eq!(lines[2], "iam.test v1 serving -");
    assert_eq!(lines[3], "library.test v1 serving v1 unreachable");
    let wide = lab.run(&["env", "-o", "wide"]).ok();
    let unreachable = wide.lines().find(|line| line.contains("us-east")).unwrap();
    assert!(unreachable.contains("refused"), "{wide}");
    let data = lab.run(&["env", "-o", "json"]).ok();
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!(data["deployments"][2]["health"], "unreachable");
    assert_eq!(data["deployments"][0]["health"], "serving");
}

#[test]
fn a_deployment_that_hangs_holds_nothing_up() {
    let lab = with_meta("env-hangs");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let text = format!(
        "kind: meta.goten.com/Region\nname: regions/eu-west\n---\n\
         kind: meta.goten.com/Service\nname: services/a.test\nmultiRegionPolicy: {{ enabledRegions: [eu-west], defaultControlRegion: eu-west }}\n---\n\
         kind: meta.goten.com/Deployment\nname: services/a.test/deployments/eu-west\nregion: regions/eu-west\npublicDomain: {address}\n"
    );
    lab.apply("fleet.yaml", &text).ok();
    let env = lab.beside("env", &["env", "-o", "wide", "--health-timeout", "100ms"]);
    env.shows(&["a.test", "unreachable", "no answer within 100 ms"]);
}

#[test]
fn lists_are_of_the_fleet_and_can_be_narrowed() {
    let (lab, address) = registered("fleet-lists");
    let names = |args: &[&str]| lab.run(&[args, &["-o", "name"]].concat()).ok();
    expect![[r#"
        regions/eu-west
        regions/us-east
    "#]]
    .assert_eq(&names(&["regions"]));
    expect![[r#"
        services/iam.test
        services/library.test
    "#]]
    .assert_eq(&names(&["services"]));
    expect![[r#"
        services/iam.test/deployments/eu-west
        services/library.test/deployments/eu-west
        services/library.test/deployments/us-east
    "#]]
    .assert_eq(&names(&["deployments"]));
    assert_eq!(
        names(&["deployments", "--service", "iam.test"]),
        "services/iam.test/deployments/eu-west\n"
    );
    let far = "services/library.test/deployments/us-east\n";
    assert_eq!(names(&["deployments", "--region", "us-east"]), far);
    assert_eq!(names(&["deployments", "--region", "regions/us-east"]), far);
    let table = lab.run(&["deployments", "--service", "iam.test"]).ok().replace(&address, "HERE");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = table.lines().map(words).collect();
    assert_eq!(
        lines[0],
        ["NAME", "CURRENT_VERSION", "PUBLIC_DOMAIN", "IS_DISABLED", "STAGE", "AGE"]
    );
    assert_eq!(lines[1][1..4], ["v1", "HERE", "false"]);
    let wide = lab.run(&["deployments", "-o", "wide"]).ok();
    assert!(wide.lines().next().unwrap().contains("LOCAL_NETWORK_ID"), "{wide}");
    assert!(lab.run(&["deployments", "-o", "yaml"]).ok().contains("currentVersion: v1"));
}

#[test]
fn a_server_without_a_fleet_says_so() {
    let lab = Lab::new("no-fleet");
    let said = ["env", "regions", "services", "deployments"].map(|command| {
        let said = lab.run(&[command]).fails(1);
        said.replace(lab.server().url(), "SERVER")
    });
    expect![[r#"
        error: SERVER has no meta service, so it knows of no regions and no other deployments
          hint: it was started without a configuration; `bowline up -f bowline.yaml` starts a fleet, see docs/deployments.md
    "#]]
    .assert_eq(&said[0]);
    assert!(said.iter().all(|other| *other == said[0]), "{said:?}");
}
