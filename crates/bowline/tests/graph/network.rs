//! What saves and deletions say to each other between processes, and what becomes of them when that goes wrong.

use std::time::Duration;

use bowline_base::Seams;
use bowline_testkit::eventually_blocking;
use bowline_wire::bowline::mixin::v1::{
    BlockadesRequest, EstablishReferencesRequest, ResourceShadow,
};
use prost::Message as _;

use crate::lab::{Beside, Fleet, PATIENCE, Shape, creation};

const ACCOUNT: &str = "projects/p/accounts/a";
const DEVICE: &str = "projects/p/regions/eu/devices/d";
const FIELD: &str = "account=projects/p/accounts/a";

fn mentions_account(message: &[u8]) -> bool {
    message.windows(ACCOUNT.len()).any(|window| window == ACCOUNT.as_bytes())
}

fn establishes_account(message: &[u8]) -> bool {
    let request = EstablishReferencesRequest::decode(message).unwrap_or_default();
    let mut targets = request.wanted.iter().filter(|one| one.blockade_id.len() == 16);
    targets.any(|one| one.target.as_ref().is_some_and(|target| target.name == ACCOUNT))
}

/// The account, which `us` owns.
fn account(fleet: &Fleet) -> ResourceShadow {
    let kind = "iam.graph.test/Account";
    fleet.shadow("iam.graph.test", "us", kind, ACCOUNT).expect("the account is there")
}

/// Waits until nothing is to be confirmed at the account any more.
#[track_caller]
fn settled(fleet: &Fleet) {
    let settled = eventually_blocking("no blockade", PATIENCE, || {
        (account(fleet).tentative_blockades == 0).then_some(())
    });
    settled.expect("the source confirms");
}

/// A device that refers to the account, whose save is kept from hearing that it was granted that.
fn held_up(fleet: &Fleet) -> Beside {
    let tap = &fleet.taps["us"];
    tap.hold_answer_to(establishes_account);
    let args = creation("device", DEVICE, &[FIELD]);
    let save = fleet.beside("eu", &args.iter().map(String::as_str).collect::<Vec<_>>());
    let held = eventually_blocking("the answer", PATIENCE, || tap.holds().then_some(()));
    held.expect("the source asks for the reference");
    let granted = eventually_blocking("a blockade", PATIENCE, || {
        (account(fleet).tentative_blockades == 1).then_some(())
    });
    granted.expect("the owner grants it");
    save
}

#[test]
fn a_reference_costs_one_call_when_it_is_new_and_none_when_it_is_kept() {
    let fleet = Fleet::start("graph-calls", Shape::Regions);
    fleet.make("us", "account", ACCOUNT, &[]).ok();
    let tap = &fleet.taps["us"];
    let sent = || {
        let establishes = tap.sent(establishes_account).len();
        let all = tap.sent(mentions_account);
        let confirms = all.iter().map(|message| BlockadesRequest::decode(message.clone()));
        (establishes, confirms.filter(Result::is_ok).count(), all.len())
    };
    assert_eq!(sent(), (0, 0, 0));

    // The project is in `eu` and knows of this deployment from now on, so that the account is all there is to confirm.
    fleet.make("eu", "device", "projects/p/regions/eu/devices/c", &[]).ok();
    let project = || fleet.shadow("iam.graph.test", "eu", "iam.graph.test/Project", "projects/p");
    let settled_too = eventually_blocking("no blockade at the project", PATIENCE, || {
        project().filter(|project| project.tentative_blockades == 0)
    });
    assert_eq!(settled_too.expect("the source confirms").back_reference_sources.len(), 2);

    fleet.make("eu", "device", DEVICE, &[FIELD]).ok();
    settled(&fleet);
    // And one afterwards, which nobody waits for.
    assert_eq!(sent(), (1, 1, 2));

    fleet.at("eu", &["update", DEVICE, "--set", "note=other"]).ok();
    // A second device of this deployment is granted its reference without a write, so there is nothing to confirm.
    let second = "projects/p/regions/eu/devices/e";
    fleet.make("eu", "device", second, &[FIELD]).ok();
    fleet.at("eu", &["update", second, "--set", "note=other"]).ok();
    assert_eq!(sent(), (2, 1, 3), "{:?}", tap.sent(mentions_account));
}

#[test]
fn a_source_that_dies_before_its_commit_keeps_nothing() {
    let mut fleet = Fleet::start("graph-crash", Shape::Regions);
    fleet.make("us", "account", ACCOUNT, &[]).ok();
    let save = held_up(&fleet);
    fleet.kill("eu");
    fleet.taps["us"].release();
    assert_ne!(save.ends().code, Some(0));

    // Nobody can say whether it has committed.
    let said = fleet.at("us", &["delete", ACCOUNT]).fails("UNAVAILABLE");
    assert!(said.contains("devices.graph.test@eu"), "{said}");
    assert_eq!(account(&fleet).lifecycle, "ACTIVE");

    fleet.run(&["eu"]);
    fleet.delete_when_possible("us", ACCOUNT, "UNAVAILABLE");
    assert_eq!(fleet.names("us", "device"), [""; 0]);
    fleet.make("us", "account", ACCOUNT, &[]).ok();
}

#[test]
fn a_save_that_is_overtaken_by_a_deletion_does_not_commit() {
    let fleet = Fleet::start("graph-slow", Shape::Regions);
    fleet.make("us", "account", ACCOUNT, &[]).ok();
    let save = held_up(&fleet);
    // The source says that it holds nothing, and is bound by it.
    fleet.at("us", &["delete", ACCOUNT]).ok();
    fleet.taps["us"].release();
    save.ends().fails("REFERENCE_NOT_FOUND");
    assert_eq!(fleet.names("us", "device"), [""; 0]);
    // The name is another resource now, to which a save can refer again.
    fleet.make("us", "account", ACCOUNT, &[]).ok();
    fleet.make("eu", "device", DEVICE, &[FIELD]).ok();
    fleet.at("us", &["delete", ACCOUNT]).fails("DELETION_BLOCKED");
}

#[test]
fn a_save_that_is_slow_and_lands_is_respected() {
    let fleet = Fleet::start("graph-lands", Shape::Regions);
    fleet.make("us", "account", ACCOUNT, &[]).ok();
    let save = held_up(&fleet);
    let deletion = fleet.beside("us", &["delete", ACCOUNT]);
    fleet.taps["us"].release();
    // Whichever was first, they agree about it.
    let (saved, deleted) = (save.ends(), deletion.ends());
    if saved.code == Some(0) {
        let said = deleted.fails("DELETION_BLOCKED");
        assert!(said.contains(DEVICE), "{said}");
        assert_eq!(account(&fleet).lifecycle, "ACTIVE");
    } else {
        saved.fails("REFERENCE_");
        deleted.ok();
    }
}

#[test]
fn what_a_region_that_is_cut_off_may_refer_to_stays() {
    const DEADLINE: Duration = Duration::from_secs(10);
    let fleet = Fleet::start("graph-cut", Shape::Regions);
    fleet.make("us", "account", ACCOUNT, &[]).ok();
    fleet.make("eu", "device", DEVICE, &[FIELD]).ok();
    settled(&fleet);
    let read = || fleet.at("us", &["get", ACCOUNT, "-o", "yaml"]).ok();
    let before = read();

    fleet.taps.values().for_each(crate::tap::Tap::cut);
    let clock = Seams::real().clock;
    let began = clock.monotonic();
    let said = fleet.at("us", &["delete", ACCOUNT, "--timeout", "10s"]).fails("UNAVAILABLE");
    assert!(clock.monotonic() - began < DEADLINE);
    assert!(said.contains("devices.graph.test@eu"), "{said}");
    assert_eq!(read(), before);
    assert_eq!(account(&fleet).lifecycle, "ACTIVE");

    fleet.taps.values().for_each(crate::tap::Tap::heal);
    let mut last = None;
    let blocked = eventually_blocking("an answer of the source", PATIENCE, || {
        let ran = fleet.at("us", &["delete", ACCOUNT, "--timeout", "10s"]);
        let is_blocked = ran.stderr.contains("DELETION_BLOCKED");
        assert!(is_blocked || ran.stderr.contains("UNAVAILABLE"), "{ran:?}");
        last = Some(ran);
        is_blocked.then_some(())
    });
    assert!(blocked.is_ok(), "{last:?}");
    fleet.at("eu", &["delete", DEVICE]).ok();
    fleet.delete_when_possible("us", ACCOUNT, "UNAVAILABLE");
}
