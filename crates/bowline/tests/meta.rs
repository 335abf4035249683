//! The upgrade methods of the meta service in a fleet: called in any region, carried out where the deployment is owned.

use std::path::Path;
use std::time::Duration;

use bowline::{Config, Context, DynamicMessage, Fleet, Status};
use bowline_api::handler::{Handler, Reply};
use serde_json::{Value, json};
use tempfile::TempDir;

const METHODS: &str = "/goten.meta.v1.DeploymentService";
/// Owned in the control region, which is another one.
const NAME: &str = "services/iam.example.com/deployments/us";
const REGIONS: [usize; 2] = [0, 1];

/// Two regions with one service beside the meta service. The folder has the keys.
async fn fleet() -> (Fleet, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let iam = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fleet/iam");
    let text = format!(
        "regions:\n  eu: {{ listen: 127.0.0.1:0 }}\n  us: {{ listen: 127.0.0.1:0 }}\n\
         store: memory\nidentity: ./keys\nservices:\n  - {}\n",
        iam.display()
    );
    let config = Config::parse("bowline.yaml", folder.path(), &text, |_| None);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    (Fleet::builder(config).start().await.expect("it starts"), folder)
}

/// Calls a method of deployments as a user of that region would.
async fn call(fleet: &Fleet, region: usize, method: &str, request: Value) -> Result<Value, Status> {
    let site = fleet.sites().nth(region).expect("a region");
    let method = fleet.registry().methods.get(&format!("{METHODS}/{method}")).expect("a method");
    let request =
        DynamicMessage::deserialize(method.descriptor.input(), request).expect("a request");
    let context = Context { deadline: Some(Duration::from_secs(20)), ..Context::default() };
    match site.engine().call(method, request, context).await? {
        Reply::Unary(bytes) => {
            let answer =
                DynamicMessage::decode(method.descriptor.output(), bytes).expect("an answer");
            Ok(serde_json::to_value(&answer).expect("JSON"))
        }
        Reply::Stream(_) => panic!("no stream was asked for"),
    }
}

async fn get(fleet: &Fleet, region: usize) -> Value {
    call(fleet, region, "GetDeployment", json!({ "name": NAME })).await.expect("the deployment")
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_are_carried_on_from_every_region_at_once() {
    let (fleet, _folder) = fleet().await;
    assert_eq!(get(&fleet, 1).await["metadata"]["syncing"]["owningRegion"], "eu");
    let announcement =
        json!({ "name": NAME, "targetDbLocationTag": "elsewhere", "totalShardsCount": 16 });
    // Every node announces when it boots; they need not agree on who is first.
    for region in REGIONS {
        call(&fleet, region, "SetAvailableUpgrade", announcement.clone()).await.unwrap();
    }
    call(&fleet, 1, "BeginUpgrade", json!({ "name": NAME })).await.unwrap();
    let refused = call(&fleet, 0, "BeginUpgrade", json!({ "name": NAME })).await.unwrap_err();
    assert_eq!(refused.message, "an upgrade is under way, in stage INITIAL_SYNCING");
    let notices = (0..16).map(|shard| {
        let (region, to) = (shard % 2, shard + 1);
        let notice = json!({
            "name": NAME, "shardsFrom": shard, "shardsTo": to, "ready": true, "totalShardsCount": 16,
        });
        call(&fleet, region, "NotifyShardsUpgradeReadiness", notice)
    });
    for answer in futures::future::join_all(notices).await {
        answer.unwrap();
    }
    for region in REGIONS {
        let state = &get(&fleet, region).await["upgradeState"];
        assert_eq!(state["readyShards"].as_array().map(Vec::len), Some(16), "{state}");
        assert_eq!(state["stage"], "INITIAL_SYNCING");
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_task_is_one_task_in_every_region() {
    let (fleet, _folder) = fleet().await;
    let version = json!({
        "deployment": { "name": NAME, "dbDataVersion": "v1" }, "updateMask": "dbDataVersion",
    });
    call(&fleet, 1, "UpdateDeployment", version).await.unwrap();
    let task =
        json!({ "name": NAME, "tag": "fill", "shardsCount": 2, "dbDataTargetVersion": "v2" });
    for region in REGIONS {
        let method = "GetOrRegisterDataUpdateTask";
        let answer = call(&fleet, region, method, task.clone()).await.unwrap();
        assert_eq!(answer["status"]["shardsCount"], "2");
    }
    for region in REGIONS {
        let done = json!({
            "name": NAME, "tag": "fill", "shard": region, "done": true, "dbDataTargetVersion": "v2",
        });
        call(&fleet, region, "UpdateDataTaskUpdate", done).await.unwrap();
    }
    for region in REGIONS {
        let deployment = get(&fleet, region).await;
        assert_eq!(deployment["dbDataVersion"], "v2");
        assert_eq!(deployment["dataUpdateStatuses"], Value::Null);
    }
    fleet.stop().await;
}
