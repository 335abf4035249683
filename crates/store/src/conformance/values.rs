//! What goes in comes out: rows, sizes, names, and tables that are apart.

use std::sync::Arc;

use bytes::Bytes;

use super::build::{Building, all_changes, batch, is_refused, key, row, rows_of, table};
use super::{Factory, LogLength, Verdict, ensure, ensure_same};
use crate::contract::{
    Condition, Extract, Key, NAME_BYTES_MAX, NameRange, Position, Range, Row, RowId, Table, Value,
    Write,
};

pub(super) async fn a_row_comes_back_as_it_was_put(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let bodies: [&[u8]; 4] = [b"", b"\0", b"text", &[0xff; 300]];
    for (n, version) in [0, 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX].into_iter().enumerate() {
        for body in bodies {
            for aside in bodies {
                let (body, aside) = (Bytes::from_static(body), Bytes::from_static(aside));
                let extract = Extract::builder().field("f", Value::from(body.clone())).build();
                let id = RowId(u128::from(version));
                let row = Row { id, version, body, aside, extract };
                let name = format!("row {n}");
                let position = store.commit(batch().put_row(&name, row.clone())).await?;
                let found = store.get(&key(&name)).await?;
                ensure_same("get", found, (Some(row), position))?;
                let held = batch().when(Condition::RowAt { key: key(&name), version });
                store.commit(held).await?;
            }
        }
    }
    Ok(())
}

/// Whether or not a store wants it: documents with whatever JSON allows and databases may not.
pub(super) async fn a_readable_form_changes_nothing(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let big = format!("{{\"text\":\"{}\"}}", "long ".repeat(100_000));
    let documents = [
        "{}",
        "null",
        "{\"a\":\"\\u0000\",\"\\u0000\":1}",
        "{\"a\":\"\\\\u0000\",\"b\":\"\\\\\\u0000\"}",
        "{\"a\":\"\\ud83e\\udea2\",\"a\":2}",
        "{\"n\":123456789012345678901234567890.5e-300,\"t\":\"'$1%\\\"\"}",
        &deep,
        &big,
    ];
    for (n, document) in documents.iter().enumerate() {
        let readable = Some(Bytes::copy_from_slice(document.as_bytes()));
        let (key, row) = (key("a"), row(n as u64 + 1));
        store
            .commit(batch().write(Write::Put { key: key.clone(), row: row.clone(), readable }))
            .await?;
        ensure_same("the row", store.get(&key).await?.0, Some(row.clone()))?;
        let readable = Some(Bytes::copy_from_slice(document.as_bytes()));
        let extract = Extract::builder().field("f", Value::number(1)).build();
        let (version, indexed) = (row.version, Row { extract: extract.clone(), ..row });
        let reindex = Write::Reindex { key: key.clone(), version, extract, readable };
        store.commit(batch().write(reindex)).await?;
        ensure_same("the row, reindexed", store.get(&key).await?.0, Some(indexed))?;
    }
    ensure_same("rows", rows_of(&*store, &table("Device")).await?.len(), 1)
}

/// Names that have broken something somewhere.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        " ",
        "\0",
        "a\0",
        "a\0b",
        "a",
        "A",
        "'",
        "\"",
        "';--",
        "%",
        "_",
        "*",
        "a%",
        "a_b",
        "\\",
        "/",
        "//",
        "..",
        "\n",
        "\r\n",
        "\u{feff}",
        "é",
        "e\u{301}",
        "ß",
        "ss",
        "İ",
        "\u{202e}x",
        "日本",
        "🪢",
        "\u{10ffff}",
        "\u{e000}",
        "\u{d7ff}",
        "0",
        "00",
        "1e3",
        "null",
        "NULL",
        "~",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(NAME_BYTES_MAX));
    names.push("é".repeat(NAME_BYTES_MAX / 2));
    names.sort();
    names
}

pub(super) async fn hostile_names_are_names_like_any_other(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let names = hostile_names();
    let start = *store.head().borrow();
    for (version, name) in names.iter().enumerate() {
        store.commit(batch().absent(name).put(name, version as u64)).await?;
    }
    for (version, name) in names.iter().enumerate() {
        let found = store.get(&key(name)).await?.0.map(|row| row.version);
        ensure_same(&format!("get {name:?}"), found, Some(version as u64))?;
    }
    let mut snapshot = store.snapshot().await?;
    let all = NameRange::all(table("Device"));
    let scanned = snapshot.scan(&all, usize::MAX, false).await?;
    let scanned: Vec<String> = scanned.into_iter().map(|(name, _)| name.to_string()).collect();
    ensure_same("names in byte order", &scanned, &names)?;
    for name in &names {
        let starts = names.iter().filter(|other| other.starts_with(name.as_str())).count();
        let found = snapshot.scan(&NameRange::prefix(table("Device"), name), 1000, true).await?;
        ensure_same(&format!("names that start with {name:?}"), found.len(), starts)?;
    }
    let (changes, _) = all_changes(&*store, start, 7).await?;
    let logged: Vec<String> = changes.iter().map(|change| change.key.name.to_string()).collect();
    ensure(logged.iter().eq(&names), || format!("names in the log: {logged:?}"))
}

pub(super) async fn big_rows_are_kept_whole(factory: Arc<dyn Factory>) -> Verdict {
    const MIB: usize = 1024 * 1024;
    let store = factory.fresh(LogLength::Long).await;
    let start = *store.head().borrow();
    // Lines of an odd length, so that no piece that is lost or twice goes unnoticed at a page or block border.
    let body = |n: usize| Bytes::from(format!("{n} one line of many\n").repeat(MIB / 16));
    let mut all = batch();
    for n in 0..4 {
        let row = Row { aside: body(n + 1), ..Row::new(1, body(n)) };
        all = all.put_row(&format!("big {n}"), row);
    }
    store.commit(all).await?;
    for n in 0..4 {
        let found = store.get(&key(&format!("big {n}"))).await?.0;
        let is_same = found.is_some_and(|row| row.body == body(n) && row.aside == body(n + 1));
        ensure(is_same, || format!("row {n} of a MiB came back different"))?;
    }
    let (changes, _) = all_changes(&*store, start, 1).await?;
    let is_same = |(n, change): (usize, &crate::Change)| {
        change.after.as_ref().is_some_and(|row| row.body == body(n))
    };
    let all_same = changes.len() == 4 && changes.iter().enumerate().all(is_same);
    ensure(all_same, || "the log does not tell the big rows".to_owned())
}

pub(super) async fn tables_do_not_see_each_other(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    // The same letters, cut at different places.
    let tables = [("v1", "Device"), ("v1D", "evice"), ("v2", "Device"), ("v1", "device"), ("", "")];
    let tables = tables.map(|(n, k)| Table { namespace: n.into(), kind: k.into() });
    for (n, table) in tables.iter().enumerate() {
        let key = Key { table: table.clone(), name: "a".into() };
        let row = Row::new(n as u64, Bytes::new());
        let create = batch().when(Condition::RowAbsent { key: key.clone() });
        let range = Range::Names(NameRange::prefix(table.clone(), "b"));
        let create = create.when(Condition::NoRowInRange { range }).put_at(key, row);
        store.commit(create).await?;
    }
    let mut snapshot = store.snapshot().await?;
    for (n, table) in tables.into_iter().enumerate() {
        let rows = snapshot.scan(&NameRange::all(table.clone()), 10, false).await?;
        let versions: Vec<u64> = rows.iter().map(|(_, row)| row.version).collect();
        ensure_same(&format!("rows of {table:?}"), versions, vec![n as u64])?;
    }
    let nobody = NameRange::all(Table { namespace: "v9".into(), kind: "Device".into() });
    ensure_same("a table of nobody", snapshot.scan(&nobody, 10, false).await?, vec![])
}

pub(super) async fn a_name_that_is_too_long_is_refused(factory: Arc<dyn Factory>) -> Verdict {
    let store = factory.fresh(LogLength::Long).await;
    let name = "x".repeat(NAME_BYTES_MAX + 1);
    for refused in [batch().put(&name, 1), batch().remove(&name), batch().absent(&name)] {
        is_refused(&*store, &format!("a name of {} bytes", name.len()), refused).await?;
    }
    ensure_same("head", *store.head().borrow(), Position::default())
}
