//! What holds for references however many processes there are.

use bowline_testkit::eventually_blocking;
use bowline_wire::bowline::mixin::v1::ResourceShadow;

use crate::lab::{Fleet, PATIENCE};

const SECRETS: &str = "secrets.graph.test";
const SECRET: &str = "secrets.graph.test/Secret";

#[test]
fn a_referrer_elsewhere_keeps_what_it_refers_to_under_its_name_of_an_older_version() {
    Fleet::in_both_forms("graph-mixed", |fleet| {
        let (secret, device) =
            ("projects/p/regions/us/secrets/s", "projects/p/regions/eu/devices/d");
        fleet.make("eu", "secret", secret, &[]).ok();
        let token = "token=projects/p/regions/us/tokens/s";
        fleet.make("us", "device", device, &[token]).ok();

        let shadow = confirmed(fleet, secret);
        let sources = shadow.back_reference_sources.iter().map(|s| (&*s.service, &*s.region));
        assert_eq!(sources.collect::<Vec<_>>(), [("devices.graph.test", "eu")]);

        for region in ["us", "eu"] {
            let said = fleet.at(region, &["delete", secret]).fails("DELETION_BLOCKED");
            assert!(said.contains(device) && said.contains("(token)"), "{said}");
        }
        assert_eq!(fleet.names("eu", "secret"), [secret]);

        fleet.at("us", &["delete", device]).ok();
        fleet.at("eu", &["delete", secret]).ok();
        assert_eq!(fleet.shadow(SECRETS, "us", SECRET, secret), None);
        // A name that does not exist is refused in either version.
        fleet.make("eu", "device", device, &[token]).fails("REFERENCE_NOT_FOUND");
    });
}

/// The shadow of a secret once the source that was granted a reference has said that it is committed.
#[track_caller]
fn confirmed(fleet: &Fleet, secret: &str) -> ResourceShadow {
    let mut last = None;
    let confirmed = eventually_blocking("no blockade", PATIENCE, || {
        last = fleet.shadow(SECRETS, "us", SECRET, secret);
        last.clone().filter(|shadow| shadow.tentative_blockades == 0)
    });
    confirmed.unwrap_or_else(|error| panic!("{error}: {last:?}"))
}

#[test]
fn a_pair_in_one_deployment_holds_without_asking_anybody() {
    Fleet::in_both_forms("graph-pair", |fleet| {
        let device = |id: &str| format!("projects/p/regions/eu/devices/{id}");
        let uplink = format!("uplink={}", device("a"));
        fleet.make("eu", "device", &device("b"), &[&uplink]).fails("REFERENCE_NOT_FOUND");
        fleet.make("us", "device", &device("a"), &[]).ok();
        fleet.make("eu", "device", &device("b"), &[&uplink]).ok();
        let of = |id: &str| {
            let kind = "devices.graph.test/Device";
            fleet.shadow("devices.graph.test", "eu", kind, &device(id)).expect("it is there")
        };
        assert!(of("a").back_reference_sources.is_empty(), "{:?}", of("a"));
        let held = of("b").references;
        assert!(held.iter().any(|held| held.path == "uplink" && held.region.is_empty()));

        let said = fleet.at("us", &["delete", &device("a")]).fails("DELETION_BLOCKED");
        assert!(said.contains(&device("b")), "{said}");
        fleet.at("us", &["update", &device("b"), "--set", "uplink="]).ok();
        fleet.at("us", &["delete", &device("a")]).ok();
    });
}

#[test]
fn a_cascade_over_three_services_ends_when_its_last_referrer_is_let_go() {
    Fleet::in_all_forms("graph-cascade", |fleet| {
        let account = "projects/p/accounts/a";
        fleet.make("eu", "account", account, &[]).ok();
        for region in ["eu", "us"] {
            make_tree(fleet, region);
        }
        let kept = "projects/p/regions/eu/apps/a1";
        fleet.make("us", "lease", "leases/l", &[&format!("app={kept}")]).ok();

        fleet.at("eu", &["delete", account]).ok();
        fleet.only("device", &[]);
        fleet.only("app", &[kept]);
        // What cannot go keeps the name of what it refers to taken.
        let device = "projects/p/regions/eu/devices/d1";
        let said = fleet.make("us", "device", device, &[]).fails("DELETION_PENDING");
        let waits_for = format!("when {} holds", fleet.deployment("apps.graph.test", "eu"));
        assert!(said.contains(&waits_for), "{said}");
        let gone = "projects/p/regions/us/devices/d1";
        fleet.in_the_end("DELETION_PENDING", || fleet.make("us", "device", gone, &[]));
        let said = fleet.at("eu", &["delete", kept]).fails("DELETION_BLOCKED");
        assert!(said.contains("leases/l"), "{said}");

        fleet.at("us", &["delete", "leases/l"]).ok();
        fleet.only("app", &[]);
        fleet.in_the_end("DELETION_PENDING", || fleet.make("us", "device", device, &[]));
        fleet.in_the_end("DELETION_PENDING", || fleet.make("us", "account", account, &[]));
    });
}

/// Devices that go with the account, and apps that go with them.
fn make_tree(fleet: &Fleet, region: &str) {
    for n in [1, 2] {
        let device = format!("projects/p/regions/{region}/devices/d{n}");
        fleet.make(region, "device", &device, &["owner=projects/p/accounts/a"]).ok();
        let app = format!("projects/p/regions/{region}/apps/a{n}");
        fleet.make(region, "app", &app, &[&format!("device={device}")]).ok();
    }
}

#[test]
fn all_that_lies_in_a_project_goes_with_it_in_every_service_and_region() {
    Fleet::in_all_forms("graph-project", |fleet| {
        fleet.make("eu", "account", "projects/p/accounts/a", &[]).ok();
        for region in ["eu", "us"] {
            make_tree(fleet, region);
            let secret = format!("projects/p/regions/{region}/secrets/s");
            fleet.make(region, "secret", &secret, &[]).ok();
        }
        // Devices keep a secret, and go themselves.
        let device = "projects/p/regions/eu/devices/d1";
        let token = "token=projects/p/regions/us/tokens/s";
        fleet.at("eu", &["update", device, "--set", token]).ok();

        fleet.at("us", &["delete", "projects/p"]).ok();
        for kind in ["app", "device", "secret", "account", "project"] {
            fleet.only(kind, &[]);
        }
        fleet.in_the_end("DELETION_PENDING", || fleet.make_project("p"));
        fleet.make("eu", "device", device, &[]).ok();
    });
}

#[test]
fn what_a_deleted_project_cannot_take_along_stays_in_reach_until_it_is_let_go() {
    Fleet::in_all_forms("graph-reach", |fleet| {
        let make_project = |control: &str| {
            let policy = format!(
                r#"multi_region_policy={{"enabledRegions":["eu","us"],"defaultControlRegion":"{control}"}}"#
            );
            fleet.at("us", &["create", "project", "--id", "q", "--set", &policy])
        };
        make_project("eu").ok();
        let (account, secret) = ("projects/q/accounts/a", "projects/q/regions/us/secrets/s");
        let device = "projects/p/regions/eu/devices/d";
        fleet.make("us", "account", account, &[]).ok();
        fleet.make("eu", "secret", secret, &[]).ok();
        let fields = [&format!("account={account}"), "token=projects/q/regions/us/tokens/s"];
        fleet.make("us", "device", device, &fields).ok();

        fleet.at("us", &["delete", "projects/q"]).ok();
        fleet.only("project", &["projects/p"]);
        for region in ["eu", "us"] {
            for (kind, name) in [("account", account), ("secret", secret)] {
                fleet.at(region, &["get", name]).ok();
                let (parent, _) = name.rsplit_once(&format!("/{kind}s/")).expect("a parent");
                let listed = fleet.at(region, &["list", kind, "--parent", parent, "-o", "name"]);
                assert_eq!(listed.ok().trim(), name);
                let label = format!("metadata.labels={{\"from\":\"{region}\"}}");
                fleet.at(region, &["update", name, "--set", &label]).ok();
                fleet
                    .make(region, kind, &format!("{parent}/{kind}s/n"), &[])
                    .fails("REFERENCE_REFUSED");
                let said = fleet.at(region, &["delete", name]).fails("DELETION_BLOCKED");
                assert!(said.contains(device), "{said}");
            }
        }
        // Whatever policy it would have.
        let said = make_project("us").fails("DELETION_PENDING");
        assert!(said.contains("projects/q"), "{said}");

        fleet.at("us", &["update", device, "--set", "account=", "--set", "token="]).ok();
        fleet.only("account", &[]);
        fleet.only("secret", &[]);
        fleet.in_the_end("DELETION_PENDING", || make_project("us"));
        fleet.make("eu", "account", account, &[]).ok();
        fleet.at("us", &["get", account]).ok();
    });
}

#[test]
fn a_name_that_nothing_referred_to_is_free_at_once() {
    Fleet::in_all_forms("graph-name", |fleet| {
        let device = "projects/p/regions/eu/devices/d";
        for _ in 0..3 {
            fleet.make("us", "device", device, &[]).ok();
            fleet.at("us", &["delete", device]).ok();
        }
        assert_eq!(fleet.names("eu", "device"), [""; 0]);
    });
}

#[test]
fn what_is_held_is_marked_and_gone_when_nothing_holds_it_any_more() {
    Fleet::in_all_forms("graph-marked", |fleet| {
        let device = "projects/p/regions/eu/devices/d";
        fleet.make("eu", "device", device, &[]).ok();
        let app = "projects/p/regions/eu/apps/a";
        let needs = format!("needs={device}");
        fleet.make("us", "app", app, &[&needs, "metadata.finalizers=graph.test/drain"]).ok();
        // Leases belong to the other region.
        fleet.make("us", "lease", "leases/blocks", &[&format!("app={app}")]).ok();
        fleet.make("us", "lease", "leases/follows", &[&format!("follows={app}")]).ok();
        fleet.make("us", "lease", "leases/keeps", &["behind=leases/follows"]).ok();
        let mut watch = fleet.beside("us", &["watch", app, "-o", "json", "--limit", "4"]);
        let shown = watch.line();
        assert!(shown.contains("ADDED") && !shown.contains("DELETING"), "{shown}");

        fleet.at("us", &["delete", app]).fails("DELETION_BLOCKED");
        fleet.at("us", &["delete", "leases/blocks"]).ok();
        let said = fleet.at("us", &["delete", app]).ok();
        assert!(said.contains("is being deleted") && said.contains("graph.test/drain"), "{said}");
        let shown = watch.line();
        assert!(shown.contains("MODIFIED") && shown.contains("DELETING"), "{shown}");
        assert!(fleet.at("us", &["get", app]).ok().contains("deleting"));

        let late = format!("app={app}");
        fleet.make("us", "lease", "leases/late", &[&late]).fails("REFERENCE_REFUSED");
        let said = fleet.at("us", &["delete", device]).fails("DELETION_BLOCKED");
        assert!(said.contains(app), "{said}");
        let said = fleet.make("us", "app", app, &[]).fails("DELETION_PENDING");
        assert!(said.contains("its finalizer is removed: graph.test/drain"), "{said}");
        fleet.at("us", &["delete", app]).ok();

        fleet.at("us", &["update", app, "--set", "metadata.finalizers=[]"]).ok();
        let shown = watch.line();
        assert!(shown.contains("MODIFIED") && shown.contains("DELETING"), "{shown}");
        // The cascade is held up as well, and is waited for.
        let said = fleet.make("us", "app", app, &[]).fails("DELETION_PENDING");
        assert!(said.contains("no reference any more"), "{said}");
        fleet.at("us", &["delete", "leases/keeps"]).ok();
        let ended = watch.ends().ok();
        assert!(ended.contains("REMOVED"), "{ended}");
        assert_eq!(fleet.names("us", "lease"), [""; 0]);
        fleet.at("us", &["delete", device]).ok();
        fleet.make("us", "app", app, &[]).ok();
    });
}
