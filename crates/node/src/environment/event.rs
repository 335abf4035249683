//! What changed from one picture to the next. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::id::DeploymentId;
use crate::picture::{DeploymentInfo, Picture, ServiceInfo};

/// A change of the environment. Consumers that compare and refresh need nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What there is; always the first one.
    Sync(Arc<Picture>),
    /// A service is new, or not as before.
    ServiceSet {
        service: Arc<str>,
        info: Arc<ServiceInfo>,
    },
    ServiceRemoved {
        service: Arc<str>,
    },
    /// A deployment is new, or not as before.
    DeploymentSet {
        deployment: DeploymentId,
        info: Arc<DeploymentInfo>,
    },
    DeploymentRemoved {
        deployment: DeploymentId,
    },
}

/// How `after` differs from `before`: what is set in the order in which it may be relied on (services, then deployments), what
/// is removed the other way round.
pub fn diff(before: &Picture, after: &Picture) -> Vec<Event> {
    let services = set(&before.services, &after.services)
        .map(|(service, info)| Event::ServiceSet { service, info });
    let deployments = set(&before.deployments, &after.deployments)
        .map(|(deployment, info)| Event::DeploymentSet { deployment, info });
    let gone = removed(&before.deployments, &after.deployments)
        .map(|deployment| Event::DeploymentRemoved { deployment });
    let gone_services =
        removed(&before.services, &after.services).map(|service| Event::ServiceRemoved { service });
    services.chain(deployments).chain(gone).chain(gone_services).collect()
}

fn set<K: Ord + Clone, V: PartialEq>(
    before: &BTreeMap<K, Arc<V>>,
    after: &BTreeMap<K, Arc<V>>,
) -> impl Iterator<Item = (K, Arc<V>)> {
    let is_new = |(key, value): &(&K, &Arc<V>)| before.get(key) != Some(value);
    after.iter().filter(is_new).map(|(key, value)| (key.clone(), value.clone()))
}

fn removed<K: Ord + Clone, V>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
) -> impl Iterator<Item = K> {
    before.keys().filter(|key| !after.contains_key(key)).cloned()
}

/// The events of one consumer. One that is slow gets what came in between as one difference.
pub struct Events {
    picture: watch::Receiver<Arc<Picture>>,
    seen: Option<Arc<Picture>>,
}

impl Events {
    pub fn of(picture: watch::Receiver<Arc<Picture>>) -> Self {
        Self { picture, seen: None }
    }

    /// The next events, never none; first of all [`Event::Sync`]. `None` when nobody keeps the picture any more.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            if self.seen.is_some() {
                self.picture.changed().await.ok()?;
            }
            let now = self.picture.borrow_and_update().clone();
            let Some(before) = self.seen.replace(now.clone()) else {
                return Some(vec![Event::Sync(now)]);
            };
            let events = diff(&before, &now);
            // Only regions changed.
            if !events.is_empty() {
                return Some(events);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(services: &[(&str, i32)], deployments: &[(&str, u64)]) -> Arc<Picture> {
        let service = |(name, generation): &(&str, i32)| {
            let info = ServiceInfo { generation: *generation, ..ServiceInfo::default() };
            (Arc::from(*name), Arc::new(info))
        };
        let deployment = |(id, generation): &(&str, u64)| {
            let info = DeploymentInfo { generation: *generation, ..DeploymentInfo::default() };
            (id.parse().unwrap(), Arc::new(info))
        };
        Arc::new(Picture {
            services: services.iter().map(service).collect(),
            deployments: deployments.iter().map(deployment).collect(),
            ..Picture::default()
        })
    }

    fn told(events: &[Event]) -> Vec<String> {
        let one = |event: &Event| match event {
            Event::Sync(_) => "sync".to_owned(),
            Event::ServiceSet { service, info } => format!("+{service} {}", info.generation),
            Event::ServiceRemoved { service } => format!("-{service}"),
            Event::DeploymentSet { deployment, info } => {
                format!("+{deployment} {}", info.generation)
            }
            Event::DeploymentRemoved { deployment } => format!("-{deployment}"),
        };
        events.iter().map(one).collect()
    }

    #[test]
    fn only_differences_are_told() {
        let before = picture(&[("a", 1), ("b", 1)], &[("a@eu", 1), ("b@eu", 1), ("b@us", 1)]);
        let after = picture(&[("a", 2), ("c", 1)], &[("a@eu", 1), ("a@us", 1), ("b@us", 2)]);
        assert_eq!(
            told(&diff(&before, &after)),
            ["+a 2", "+c 1", "+a@us 1", "+b@us 2", "-b@eu", "-b"]
        );
        assert!(diff(&after, &after).is_empty());
    }

    #[tokio::test]
    async fn a_consumer_starts_with_everything_and_goes_on_with_differences() {
        let (sender, receiver) = watch::channel(picture(&[("a", 1)], &[]));
        let mut events = Events::of(receiver);
        assert_eq!(told(&events.next().await.unwrap()), ["sync"]);
        sender.send_replace(picture(&[("a", 1)], &[("a@eu", 1)]));
        sender.send_replace(picture(&[("a", 1)], &[("a@us", 1)]));
        assert_eq!(told(&events.next().await.unwrap()), ["+a@us 1"]);
        drop(sender);
        assert!(events.next().await.is_none());
    }
}
