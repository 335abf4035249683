//! Where a type keeps its `goten.types.MultiRegionPolicy`, and how it is read and written.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};

use super::{Criterion, Policy};

const MESSAGE: &str = "goten.types.MultiRegionPolicy";
/// Messages that are looked into, and how deep: a policy lies near the top, and types can be huge.
const MESSAGES_MAX: usize = 2_000;
const DEPTH_MAX: usize = 8;

/// The field of a policy holder that has the policy.
#[derive(Clone, Debug)]
pub struct PolicyField {
    /// From the resource, through messages; never empty.
    path: Vec<FieldDescriptor>,
}

impl PolicyField {
    /// The first policy breadth-first through singular message fields, in the order of their numbers.
    pub fn of(message: &MessageDescriptor) -> Option<Self> {
        let mut waiting = VecDeque::from([(message.clone(), Vec::new())]);
        let mut seen = BTreeSet::from([message.full_name().to_owned()]);
        while let Some((message, above)) = waiting.pop_front() {
            for field in message.fields() {
                let Kind::Message(child) = field.kind() else { continue };
                if field.is_list() || field.is_map() {
                    continue;
                }
                let mut path: Vec<FieldDescriptor> = above.clone();
                path.push(field);
                if child.full_name() == MESSAGE {
                    return Some(Self { path });
                }
                let enter = path.len() < DEPTH_MAX && seen.len() < MESSAGES_MAX;
                if enter && seen.insert(child.full_name().to_owned()) {
                    waiting.push_back((child, path));
                }
            }
        }
        None
    }

    /// Where it is, from the resource: `spec.multi_region_policy`.
    pub fn path(&self) -> String {
        let names: Vec<_> = self.path.iter().map(FieldDescriptor::name).collect();
        names.join(".")
    }

    /// The policy in a resource; `None` if it says none. Regions are sorted, those said twice collapse.
    pub fn read(&self, resource: &DynamicMessage) -> Option<Policy> {
        let policy = read(policy_in(resource, &self.path)?);
        (!policy.is_empty()).then_some(policy)
    }

    /// Replaces the policy in a resource.
    pub fn write(&self, resource: &mut DynamicMessage, policy: &Policy) {
        let mut at = resource;
        for field in &self.path {
            let Some(inner) = at.get_field_mut(field).as_message_mut() else { return };
            at = inner;
        }
        let list = |texts: &[Arc<str>]| Value::List(texts.iter().map(text).collect());
        at.set_field_by_number(1, list(&policy.enabled_regions));
        at.set_field_by_number(2, text(&policy.control_region));
        let Some(rules) = at.descriptor().get_field(3) else { return };
        let Kind::Message(rule_message) = rules.kind() else { return };
        let rules = policy.disabled_sync.iter().map(|rule| {
            let mut message = DynamicMessage::new(rule_message.clone());
            message.set_field_by_number(1, text(&rule.kind));
            message.set_field_by_number(2, text(&rule.source));
            message.set_field_by_number(3, text(&rule.destination));
            Value::Message(message)
        });
        let rules = Value::List(rules.collect());
        at.set_field_by_number(3, rules);
    }
}

fn text(text: &Arc<str>) -> Value {
    Value::String(text.to_string())
}

fn policy_in<'m>(
    message: &'m DynamicMessage,
    path: &[FieldDescriptor],
) -> Option<&'m DynamicMessage> {
    let Some((first, rest)) = path.split_first() else { return Some(message) };
    if !message.has_field(first) {
        return None;
    }
    match message.get_field(first) {
        std::borrow::Cow::Borrowed(value) => policy_in(value.as_message()?, rest),
        std::borrow::Cow::Owned(_) => None,
    }
}

/// By field number, since names differ between copies of the message.
fn read(message: &DynamicMessage) -> Policy {
    let text = |message: &DynamicMessage, number: u32| {
        let value = message.get_field_by_number(number);
        Arc::<str>::from(value.as_ref().and_then(|v| v.as_str()).unwrap_or_default())
    };
    let list = |number: u32| {
        let value = message.get_field_by_number(number).map(|v| v.into_owned());
        value.and_then(|v| v.as_list().map(<[Value]>::to_vec)).unwrap_or_default()
    };
    let mut enabled_regions: Vec<Arc<str>> =
        list(1).iter().filter_map(Value::as_str).map(Arc::from).collect();
    enabled_regions.sort();
    enabled_regions.dedup();
    let rules = list(3);
    let rules = rules.iter().filter_map(Value::as_message).map(|rule| Criterion {
        kind: text(rule, 1),
        source: text(rule, 2),
        destination: text(rule, 3),
    });
    Policy { enabled_regions, control_region: text(message, 2), disabled_sync: rules.collect() }
}
