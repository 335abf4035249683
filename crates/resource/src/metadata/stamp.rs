//! What a write does to metadata: which parts a client may set, and what the server sets itself.

use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::{Lifecycle, LifecycleState, Meta};

/// The parts of metadata that clients write; every other part is the server's.
pub const WRITABLE: &[&str] =
    &["tags", "labels", "annotations", "owner_references", "services", "finalizers"];

impl Meta {
    /// Metadata of a resource that is being made: the client's parts of `self`, the rest new.
    pub fn on_create(self, now: Timestamp, uid: &str, version: u64) -> Self {
        let now = wire_time(now);
        Self {
            create_time: Some(now),
            update_time: Some(now),
            uuid: uid.to_owned(),
            generation: 1,
            resource_version: version.to_string(),
            ..Self::default().with_writable_of(self)
        }
    }

    /// Metadata of a resource that is being changed: the client's parts of `self`, the rest from `stored`.
    pub fn on_update(
        self,
        stored: &Meta,
        now: Timestamp,
        version: u64,
        spec_changed: bool,
    ) -> Self {
        Self {
            update_time: Some(wire_time(now)),
            generation: stored.generation.saturating_add(i64::from(spec_changed)),
            resource_version: version.to_string(),
            ..stored.clone().with_writable_of(self)
        }
    }

    /// Metadata of a resource that is marked as being deleted. Nothing sets it back: the mark is the server's part.
    #[must_use]
    pub fn on_deletion(self, now: Timestamp, version: u64) -> Self {
        let now = wire_time(now);
        let lifecycle = self.lifecycle.unwrap_or_default();
        Self {
            update_time: Some(now),
            delete_time: Some(now),
            resource_version: version.to_string(),
            lifecycle: Some(Lifecycle { state: LifecycleState::Deleting.into(), ..lifecycle }),
            ..self
        }
    }

    /// `self`, with the parts that clients write taken from `client`.
    pub fn with_writable_of(self, client: Meta) -> Self {
        Self {
            tags: client.tags,
            labels: client.labels,
            annotations: client.annotations,
            owner_references: client.owner_references,
            services: client.services,
            finalizers: client.finalizers,
            ..self
        }
    }
}

/// The etag of AIP-154, quotes included: another one for every version of every resource.
pub fn etag_of(meta: &Meta) -> String {
    let text = format!("{}/{}", meta.uuid, meta.resource_version);
    format!("\"{:016x}\"", xxh3_64(text.as_bytes()))
}

/// A time as protobuf has it. Nanoseconds count forward from the second, also before 1970.
pub(crate) fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    prost_types::Timestamp { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn client() -> Meta {
        Meta {
            labels: [("env".to_owned(), "prod".to_owned())].into(),
            uuid: "forged".to_owned(),
            resource_version: "999".to_owned(),
            generation: 70,
            lifecycle: Some(Lifecycle { state: 2, block_deletion: true }),
            ..Meta::default()
        }
    }

    #[test]
    fn a_client_sets_only_its_own_parts_on_create() {
        let made = client().on_create(at(10), "u1", 5);
        assert_eq!(made.labels["env"], "prod");
        assert_eq!((made.uuid.as_str(), made.generation, made.version()), ("u1", 1, Some(5)));
        assert_eq!(made.lifecycle, None);
        assert_eq!(made.create_time, made.update_time);
    }

    #[test]
    fn an_update_keeps_what_is_the_servers() {
        let stored = client().on_create(at(10), "u1", 5);
        let next = Meta { uuid: "forged".to_owned(), ..Meta::default() };
        let next = next.on_update(&stored, at(20), 6, true);
        assert_eq!((next.uuid.as_str(), next.generation, next.version()), ("u1", 2, Some(6)));
        assert_eq!(next.create_time, stored.create_time);
        assert!(next.labels.is_empty());
    }

    #[test]
    fn the_generation_stays_when_the_specification_does() {
        let stored = client().on_create(at(10), "u1", 5);
        assert_eq!(stored.clone().on_update(&stored, at(20), 6, false).generation, 1);
    }

    #[test]
    fn every_version_has_its_own_etag() {
        let one = client().on_create(at(10), "u1", 5);
        let two = one.clone().on_update(&one, at(10), 6, false);
        let namesake = client().on_create(at(10), "u2", 5);
        assert_ne!(etag_of(&one), etag_of(&two));
        assert_ne!(etag_of(&one), etag_of(&namesake));
        assert_eq!(etag_of(&one), etag_of(&one.clone()));
    }

    #[test]
    fn times_before_1970_have_forward_nanoseconds() {
        let time = Timestamp::new(-1, -250_000_000).unwrap();
        assert_eq!(wire_time(time), prost_types::Timestamp { seconds: -2, nanos: 750_000_000 });
    }
}
