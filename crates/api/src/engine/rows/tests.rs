//! Tests of sources: every row of the scope, once where that is promised, in order, from where they start.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use bowline_resource::name::Scope;
use bowline_schema::load::load;
use bowline_schema::model::ResourceType;
use bowline_schema::source::Source as SchemaSource;
use bowline_store::{
    Backend, Batch, Extract, Index, IndexRange, Key, Memory, Row, Table, Value, Write,
};
use futures::FutureExt as _;
use proptest::prelude::*;

use super::*;

const PROTO: &str = r#"
syntax = "proto3";
package t.v1;
import "google/api/resource.proto";
message Item {
  option (google.api.resource) = {
    type: "t.test/Item" pattern: "items/{item}" pattern: "a/{a}/items/{item}" pattern: "a/{a}/b/{b}/items/{item}"
  };
  string name = 1;
}
"#;

static TYPE: LazyLock<Arc<ResourceType>> = LazyLock::new(|| {
    let manifest = "name: t.test\nversions:\n  v1: { package: t.v1 }\n";
    let files = vec![("v1/t.proto".to_owned(), PROTO.to_owned())];
    let loaded = load(&[SchemaSource::Files { service_yaml: Some(manifest.to_owned()), files }]);
    loaded.registry.types["t.test/Item"][0].clone()
});

fn table() -> Table {
    Table { namespace: "v1".into(), kind: "t.test/Item".into() }
}

fn index() -> Index {
    Index { namespace: "v1".into(), name: "by".into() }
}

fn name() -> impl Strategy<Value = String> {
    let id = || prop::sample::select(vec!["a", "b", "b-", "b0", "c"]);
    prop_oneof![
        id().prop_map(|i| format!("items/{i}")),
        (id(), id()).prop_map(|(a, i)| format!("a/{a}/items/{i}")),
        (id(), id(), id()).prop_map(|(a, b, i)| format!("a/{a}/b/{b}/items/{i}")),
    ]
}

/// Rows by name, each with the values that it has in the index.
fn rows() -> impl Strategy<Value = Vec<(String, BTreeSet<u8>)>> {
    let values = prop::collection::btree_set(0..4_u8, 0..3);
    prop::collection::btree_map(name(), values, 0..60).prop_map(|rows| rows.into_iter().collect())
}

fn parent() -> impl Strategy<Value = String> {
    let parents = ["", "a/-", "a/b", "a/-/b/-", "a/-/b/b", "a/b/b/-", "a/b-/b/c"];
    prop::sample::select(parents.to_vec()).prop_map(str::to_owned)
}

fn filled(rows: &[(String, BTreeSet<u8>)]) -> Memory {
    let store = Memory::new();
    let write = |(name, values): &(String, BTreeSet<u8>)| {
        let extract = values.iter().fold(Extract::builder(), |extract, value| {
            extract.entry("by", Value::from(vec![*value]))
        });
        let key = Key { table: table(), name: name.as_str().into() };
        Write::put(key, Row { extract: extract.build(), ..Row::new(1, "x") })
    };
    let batch = Batch { conditions: Vec::new(), writes: rows.iter().map(write).collect() };
    done(store.commit(batch)).unwrap();
    store
}

/// The store in memory does everything at once.
fn done<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("it never waits")
}

fn all(store: &Memory, mut source: Source) -> Vec<String> {
    done(async {
        let mut snapshot = store.snapshot().await.unwrap();
        let mut found = Vec::new();
        while let Some(rows) = source.next(snapshot.as_mut()).await.unwrap() {
            found.extend(rows.into_iter().map(|(name, _)| name.to_string()));
        }
        found
    })
}

/// Names of the scope beyond `after`, in the direction of reading.
fn expected<'r>(rows: impl Iterator<Item = &'r String>, start: &Start) -> Vec<String> {
    let is_beyond = |name: &&&String| match (&start.after, start.descending) {
        (None, _) => true,
        (Some(after), true) => **name < after,
        (Some(after), false) => **name > after,
    };
    let all: Vec<_> = rows.collect();
    let mut names: Vec<String> = all
        .iter()
        .filter(is_beyond)
        .filter(|n| start.scope.contains(n))
        .map(|n| (*n).clone())
        .collect();
    if start.descending {
        names.reverse();
    }
    names
}

fn start() -> impl Strategy<Value = Start> {
    (parent(), any::<bool>(), prop::option::of(name()), 1..40_usize).prop_map(
        |(parent, descending, after, n_wanted)| {
            let scope = Scope::of_parent(&TYPE, &parent).unwrap();
            Start { table: table(), scope, descending, after, n_wanted }
        },
    )
}

proptest! {
    #[test]
    fn names_are_all_there_and_in_order(rows in rows(), start in start()) {
        let found = all(&filled(&rows), Source::Names(Names::new(start.clone())));
        prop_assert_eq!(found, expected(rows.iter().map(|(name, _)| name), &start));
    }

    #[test]
    fn points_give_each_row_once_and_in_order(
        rows in rows(),
        values in prop::collection::btree_set(0..5_u8, 0..4),
        start in start(),
    ) {
        let wanted = rows.iter().filter(|(_, of_row)| !of_row.is_disjoint(&values));
        let points = values.iter().map(|value| Value::from(vec![*value]));
        let source = Source::Points(Points::new(&index(), points, start.clone()));
        let found = all(&filled(&rows), source);
        prop_assert_eq!(found, expected(wanted.map(|(name, _)| name), &start));
    }

    #[test]
    fn ranges_give_each_entry_in_order(
        rows in rows(),
        bounds in prop::collection::btree_set(0..5_u8, 2..5),
        beyond in prop::option::of((0..5_u8, name())),
        start in start(),
    ) {
        let bounds: Vec<_> = bounds.into_iter().collect();
        let pairs = bounds.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        let range = |(from, to): (u8, u8)| IndexRange {
            index: index(),
            from: Value::from(vec![from]),
            to: Some(Value::from(vec![to])),
        };
        let mut entries: Vec<(u8, &String)> = rows
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (*value, name)))
            .filter(|(value, _)| pairs.clone().any(|(from, to)| (from..to).contains(value)))
            .filter(|(_, name)| start.scope.contains(name))
            .filter(|entry| match &beyond {
                None => true,
                Some((value, name)) if start.descending => *entry < (*value, name),
                Some((value, name)) => *entry > (*value, name),
            })
            .collect();
        entries.sort();
        if start.descending {
            entries.reverse();
        }
        let ranges: Vec<_> = pairs.clone().map(range).collect();
        let beyond = beyond.map(|(value, name)| (Value::from(vec![value]), name));
        let source = Source::Ranges(Ranges::new(ranges.into_iter(), beyond, start));
        let names: Vec<_> = entries.into_iter().map(|(_, name)| name.clone()).collect();
        prop_assert_eq!(all(&filled(&rows), source), names);
    }

    #[test]
    fn what_is_just_before_is_before_and_close(text in ".{1,4}", other in ".{0,4}") {
        let before = just_before(&text);
        prop_assert!(before < text);
        // Only what goes on after the greatest character lies between.
        if other > before && other < text {
            prop_assert!(other.contains(char::MAX), "{before:?} {other:?} {text:?}");
        }
    }
}
