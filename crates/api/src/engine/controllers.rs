//! `bowline.server.v1.ControllerService`: how it stands with the controllers of this process, for people. Every server has
//! it beside the services that it serves; reflection shows it.
//!
//! Read from what the controllers themselves last told; nothing is looked up, and nobody else is asked.

use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::Status;
use bowline_control::{Report, Status as Queue};
use bowline_node::DeploymentId;
use bowline_schema::http::{HttpRule, Template};
use bowline_schema::model::{Method, Registry, Role};
use bowline_store::ring::Shards;
use bowline_wire::bowline::server::v1::controller::Queue as WireQueue;
use bowline_wire::bowline::server::v1::{
    Controller, DESCRIPTORS, LIST_CONTROLLERS, LIST_CONTROLLERS_PATH, ListControllersResponse,
};
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::{Duration, Timestamp};

use super::{Action, ActionRequest, Engine};
use crate::handler::Reply;

/// The registry with the method. It belongs to no service of it.
pub(super) fn with_method(registry: &Arc<Registry>) -> Arc<Registry> {
    let mut all = Registry {
        services: registry.services.clone(),
        methods: registry.methods.clone(),
        types: registry.types.clone(),
    };
    all.methods.insert(LIST_CONTROLLERS.to_owned(), Arc::new(method()));
    Arc::new(all)
}

fn method() -> Method {
    let pool = DescriptorPool::decode(DESCRIPTORS);
    let pool = pool.expect("the descriptors were made by the compiler of this build");
    let (service, name) = split(LIST_CONTROLLERS);
    let service = pool.get_service_by_name(service);
    let service = service.expect("the service is in the descriptors of this build");
    let mut methods = service.methods();
    let template = Template::parse(LIST_CONTROLLERS_PATH);
    let rule = HttpRule {
        method: "GET".to_owned(),
        template: template.expect("the path is a template without variables"),
        body: String::new(),
        response_body: String::new(),
    };
    Method {
        path: LIST_CONTROLLERS.to_owned(),
        descriptor: methods
            .find(|method| method.name() == name)
            .expect("the method is in the descriptors of this build"),
        service: String::new(),
        version: String::new(),
        synthesised: false,
        http: vec![rule],
        role: Role::Action { unbound: None },
    }
}

/// Service and method of a path.
fn split(path: &str) -> (&str, &str) {
    path.trim_start_matches('/').split_once('/').unwrap_or_default()
}

/// Answers `ListControllers`.
pub(super) struct ListControllers;

#[async_trait]
impl Action for ListControllers {
    async fn call(&self, request: ActionRequest) -> Result<Reply, Status> {
        let answer = request.engine().list_controllers();
        Ok(Reply::Unary(answer.encode_to_vec().into()))
    }
}

impl Engine {
    fn list_controllers(&self) -> ListControllersResponse {
        let now = self.seams.clock.monotonic();
        let of = |(service, reports): (Arc<str>, Vec<Report>)| {
            let me = self.me(&service);
            let shown = reports.iter().map(|report| controller(&me, report, now));
            shown.collect::<Vec<_>>()
        };
        ListControllersResponse { controllers: self.reports().into_iter().flat_map(of).collect() }
    }
}

/// `now` is monotonic time.
fn controller(me: &DeploymentId, report: &Report, now: std::time::Duration) -> Controller {
    let Shards { from, to } = report.shards;
    Controller {
        service: me.service.to_string(),
        region: me.region.to_string(),
        name: report.controller.to_string(),
        shards_from: i32::try_from(from).unwrap_or(i32::MAX),
        shards_to: i32::try_from(to).unwrap_or(i32::MAX),
        last_run_time: timestamp(report.run_millis),
        queues: report.queues.iter().map(|queue| wire(queue, now)).collect(),
    }
}

fn wire(queue: &Queue, now: std::time::Duration) -> WireQueue {
    let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    let retry_in = queue.next_try.map(|due| due.saturating_sub(now));
    WireQueue {
        name: queue.queue.to_string(),
        pending: i64::try_from(queue.pending).unwrap_or(i64::MAX),
        oldest_time: queue.oldest_millis.and_then(timestamp),
        last_error: text(&queue.last_error),
        failures: i64::try_from(queue.failures).unwrap_or(i64::MAX),
        waits_for: text(&queue.waits_for),
        retry_in: retry_in.filter(|left| !left.is_zero()).and_then(duration),
    }
}

fn timestamp(millis: i64) -> Option<Timestamp> {
    let seconds = millis.div_euclid(1_000);
    let nanos = i32::try_from(millis.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
    (millis != 0).then_some(Timestamp { seconds, nanos })
}

fn duration(left: std::time::Duration) -> Option<Duration> {
    let (seconds, nanos) = (left.as_secs(), left.subsec_nanos());
    Some(Duration { seconds: i64::try_from(seconds).ok()?, nanos: i32::try_from(nanos).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_told_with_the_time_that_is_left() {
        let queue = Queue {
            controller: "owned_deleting".into(),
            queue: "a.test@us".into(),
            shards: Shards::ALL,
            pending: 3,
            oldest_millis: Some(1_500),
            last_error: Some("no answer".into()),
            failures: 4,
            waits_for: None,
            next_try: Some(std::time::Duration::from_millis(12_250)),
        };
        let report = Report {
            controller: "owned_deleting".into(),
            shards: Shards::ALL,
            run_millis: 2_000,
            queues: vec![queue],
        };
        let now = std::time::Duration::from_secs(10);
        let told = controller(&DeploymentId::new("iam.test", "eu"), &report, now);
        expect_test::expect![[
            r#"iam.test eu owned_deleting 0..1024 Some(Timestamp { seconds: 2, nanos: 0 })"#
        ]]
        .assert_eq(&format!(
            "{} {} {} {}..{} {:?}",
            told.service,
            told.region,
            told.name,
            told.shards_from,
            told.shards_to,
            told.last_run_time
        ));
        expect_test::expect![[r#"Queue { name: "a.test@us", pending: 3, oldest_time: Some(Timestamp { seconds: 1, nanos: 500000000 }), last_error: "no answer", failures: 4, waits_for: "", retry_in: Some(Duration { seconds: 2, nanos: 250000000 }) }"#]]
            .assert_eq(&format!("{:?}", told.queues[0]));
    }

    #[test]
    fn the_path_over_http_is_that_of_the_protos() {
        let method = method();
        let options = method.descriptor.options();
        let rule = options.extensions().find(|(field, _)| field.full_name() == "google.api.http");
        let (_, rule) = rule.expect("the method has an HTTP rule");
        let get = rule.as_message().and_then(|rule| rule.get_field_by_name("get"));
        assert_eq!(
            get.and_then(|get| get.as_str().map(str::to_owned)).unwrap(),
            LIST_CONTROLLERS_PATH
        );
    }
}
