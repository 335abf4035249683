//! Every fault of layering, as it is told.

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;

/// A service with these versions, imports (each at a version) and uses.
fn service(versions: &[&str], imports: &[(&str, &str)], uses: &[&str]) -> ServiceInfo {
    let text = |text: &&str| Arc::<str>::from(*text);
    let imported_versions = versions.iter().flat_map(|version| {
        let one = |(other, at): &(&str, &str)| ((text(version), text(other)), text(at));
        imports.iter().map(one)
    });

    ServiceInfo {
        versions: versions.iter().map(text).collect(),
        imports: imports.iter().map(|(other, _)| text(other)).collect(),
        uses: uses.iter().map(text).collect(),
        imported_versions: imported_versions.collect(),
        ..ServiceInfo::default()
    }
}

fn info(version: &str) -> DeploymentInfo {
    DeploymentInfo { current_version: version.into(), ..DeploymentInfo::default() }
}

/// iam (v1, v1alpha2) in eu and us, devices (imports iam v1) in eu; ap is a region without anything.
fn world() -> Picture {
    let regions = ["eu", "us", "ap"].map(Arc::from).into();
    let mut picture = Picture { regions, ..Picture::default() };
    let iam = service(&["v1", "v1alpha2"], &[], &[]);
    let devices = service(&["v1"], &[("iam.test", "v1")], &[]);
    picture.services.insert("iam.test".into(), Arc::new(iam));
    picture.services.insert("devices.test".into(), Arc::new(devices));
    for (name, region, version) in
        [("iam.test", "eu", "v1"), ("iam.test", "us", "v1alpha2"), ("devices.test", "eu", "v1")]
    {
        picture.deployments.insert(DeploymentId::new(name, region), Arc::new(info(version)));
    }
    picture
}

fn check_says(id: &str, service: &ServiceInfo, version: &str, expected: Expect) {
    let faults = check(&world(), &id.parse().unwrap(), service, &info(version));
    let mut text = String::new();
    for fault in faults {
        let when = if fault.may_pass() { " (may pass)" } else { "" };
        writeln!(text, "{fault}{when}").unwrap();
    }
    expected.assert_eq(&text);
}

#[test]
fn a_service_that_fits_has_no_faults() {
    let devices = service(&["v1"], &[("iam.test", "v1")], &[]);
    check_says("devices.test@us", &devices, "v1", expect![""]);
    let new = service(&["v1"], &[("devices.test", "v1")], &["iam.test"]);
    check_says("new.test@eu", &new, "v1", expect![""]);
}

#[test]
fn a_cycle_is_told_with_all_that_take_part() {
    let iam = service(&["v1", "v1alpha2"], &[("devices.test", "v1")], &[]);
    check_says(
        "iam.test@eu",
        &iam,
        "v1",
        expect![[r#"
        imports form a cycle: iam.test -> devices.test -> iam.test
        iam.test imports devices.test, which is not deployed in us (may pass)
    "#]],
    );
    let selfish = service(&["v1"], &[], &["new.test"]);
    check_says(
        "new.test@eu",
        &selfish,
        "v1",
        expect![[r#"
        imports form a cycle: new.test -> new.test
    "#]],
    );
}

#[test]
fn a_region_without_an_imported_service_is_named() {
    let devices = service(&["v1"], &[("iam.test", "v1")], &["gone.test"]);
    check_says(
        "devices.test@ap",
        &devices,
        "v1",
        expect![[r#"
        devices.test uses gone.test, which is not deployed in ap (may pass)
        devices.test uses gone.test, which is not deployed in eu (may pass)
        devices.test imports iam.test, which is not deployed in ap (may pass)
    "#]],
    );
}

#[test]
fn a_region_that_nobody_knows_is_refused() {
    let new = service(&["v1"], &[], &[]);
    check_says(
        "new.test@mars",
        &new,
        "v1",
        expect![[r#"
        new.test@mars is in no region that is known: ap, eu, us
    "#]],
    );
}

#[test]
fn versions_that_do_not_exist_are_refused() {
    let new = service(&["v2", "v1"], &[("iam.test", "v7")], &[]);
    check_says(
        "new.test@eu",
        &new,
        "v3",
        expect![[r#"
        new.test v1 imports iam.test v7, which does not exist, only v1, v1alpha2 (may pass)
        new.test v2 imports iam.test v7, which does not exist, only v1, v1alpha2 (may pass)
        new.test@eu is to start in v3, which does not exist, only v2, v1
    "#]],
    );
    // The configured version is for the first start only.
    let devices = service(&["v1"], &[("iam.test", "v1")], &[]);
    check_says("devices.test@eu", &devices, "v3", expect![""]);
}

#[test]
fn a_version_in_use_cannot_be_taken_away() {
    let iam = service(&["v2"], &[], &[]);
    check_says(
        "iam.test@eu",
        &iam,
        "v2",
        expect![[r#"
        iam.test v1 cannot be taken away: devices.test v1 imports it
        v1 cannot be taken away: the database of iam.test@eu is in it
        v1alpha2 cannot be taken away: the database of iam.test@us is in it
    "#]],
    );
}

#[test]
fn the_refusal_names_every_fault() {
    let devices = service(&["v1"], &[("iam.test", "v1")], &[]);
    let id = "devices.test@ap".parse().unwrap();
    let status = refusal(&check(&world(), &id, &devices, &info("v1")));
    expect![[r#"FAILED_PRECONDITION (REGISTRATION_REFUSED): devices.test imports iam.test, which is not deployed in ap"#]]
        .assert_eq(&status.to_string());
    assert!(
        matches!(&status.details[..], [Detail::Precondition(all)] if all[0].subject == "devices.test")
    );
}

proptest::proptest! {
    /// The search for a cycle ends, and finds one exactly if the candidate can be reached from itself.
    #[test]
    fn a_cycle_is_found_if_and_only_if_there_is_one(edges in proptest::collection::vec((0u8..8, 0u8..8), 0..24)) {
        let name = |n: u8| Arc::<str>::from(format!("s{n}"));
        let imports = |from: u8| edges.iter().filter(|e| e.0 == from).map(|e| name(e.1)).collect();
        let info = |n: u8| ServiceInfo { imports: imports(n), ..ServiceInfo::default() };
        let mut picture = Picture::default();
        for n in 1..8 {
            picture.services.insert(name(n), Arc::new(info(n)));
        }
        let id = DeploymentId::new("s0", "eu");
        let faults = check(&picture, &id, &info(0), &DeploymentInfo::default());
        let found = faults.iter().any(|fault| matches!(fault, Fault::Cycle { .. }));
        let mut reached = BTreeSet::from([0u8]);
        let mut is_cycle = false;
        for _ in 0..8 {
            for (from, to) in &edges {
                if reached.contains(from) {
                    is_cycle |= *to == 0;
                    reached.insert(*to);
                }
            }
        }
        proptest::prop_assert_eq!(found, is_cycle);
    }
}
