//! What people see with SQL: documents as `jsonb`, and a view for every table that is not internal.
//!
//! A view is named after the last part of the kind and the namespace, `devices_v1`, and shows `name`, `uid`, `version`
//! and `document`. It looks the space of its namespace up in `namespaces`, so that it follows a swap.

use std::collections::BTreeSet;

use bowline_store::Table;

use crate::connect::{Session, quoted};
use crate::failure::Failure;
use crate::row::{column, name_at};

/// PostgreSQL cuts longer identifiers.
const NAME_BYTES_MAX: usize = 63;

const WITHOUT_VIEW: &str = "SELECT t.namespace, t.kind, n.name, k.name FROM tables t \
    JOIN namespaces n ON n.number = t.namespace JOIN kinds k ON k.number = t.kind \
    WHERE t.view_name IS NULL ORDER BY t.namespace, t.kind";
const NAMES: &str = "SELECT view_name FROM tables WHERE view_name IS NOT NULL";
const LOCK: &str = "SELECT 1 FROM bowline_meta WHERE id = 1 FOR UPDATE";
const SET_NAME: &str = "UPDATE tables SET view_name = $3 WHERE namespace = $1 AND kind = $2";

/// The JSON as a value of `jsonb`; `None` if it is none, or one that PostgreSQL would refuse.
pub(crate) fn readable(json: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(json).ok()?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    // jsonb has no NUL. An escape that is itself escaped is none, hence the walk.
    if !text.contains("\\u0000") {
        return Some(text.to_owned());
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        kept.push_str(before);
        let length = if escape.starts_with("\\u") { 6 } else { 2 };
        let (escape, after) = escape.split_at_checked(length)?;
        if escape != "\\u0000" {
            kept.push_str(escape);
        }
        rest = after;
    }
    kept.push_str(rest);
    Some(kept)
}

/// Makes the views that are missing.
pub(crate) async fn make(session: &Session) -> Result<(), Failure> {
    let missing = session.client.query(&session.statement(WITHOUT_VIEW).await?, &[]).await?;
    if missing.is_empty() {
        return Ok(());
    }
    session.client.batch_execute("BEGIN").await?;
    session.client.query(&session.statement(LOCK).await?, &[]).await?;
    let missing = session.client.query(&session.statement(WITHOUT_VIEW).await?, &[]).await?;
    let mut taken = BTreeSet::new();
    for row in session.client.query(&session.statement(NAMES).await?, &[]).await? {
        taken.insert(column::<String>(&row, 0)?);
    }
    for row in missing {
        let (namespace, kind): (i32, i32) = (column(&row, 0)?, column(&row, 1)?);
        let table = Table { namespace: name_at(&row, 2)?, kind: name_at(&row, 3)? };
        // An empty name says that there is to be none.
        let mut name = String::new();
        if !table.is_internal() {
            name = name_of(&table, (namespace, kind), &taken);
            session.client.batch_execute(&definition(&name, namespace, kind)).await?;
            taken.insert(name.clone());
        }
        let statement = session.statement(SET_NAME).await?;
        session.client.execute(&statement, &[&namespace, &kind, &name]).await?;
    }
    session.client.batch_execute("COMMIT").await?;
    Ok(())
}

fn definition(name: &str, namespace: i32, kind: i32) -> String {
    // `convert_from` refuses a NUL, and one such name must not make the whole view unreadable.
    format!(
        "CREATE OR REPLACE VIEW {} AS SELECT CASE WHEN position('\\x00'::bytea IN r.name) = 0 \
         THEN convert_from(r.name, 'UTF8') END AS name, r.id AS uid, r.version AS version, \
         r.readable AS document FROM rows r JOIN namespaces n ON n.space = r.space \
         WHERE n.number = {namespace} AND r.kind = {kind}",
        quoted(name)
    )
}

/// `devices.example.com/Device` in `v1` is `devices_v1`. One that is taken gets its numbers behind it.
fn name_of(table: &Table, numbers: (i32, i32), taken: &BTreeSet<String>) -> String {
    let kind = table.kind.rsplit(['/', '.']).next().unwrap_or(&table.kind);
    let name = format!("{}_{}", plural(&snake(kind)), snake(&table.namespace));
    if name.len() <= NAME_BYTES_MAX && !taken.contains(&name) && !is_ours(&name) {
        return name;
    }
    let behind = format!("_{}_{}", numbers.0, numbers.1);
    let kept = name.floor_char_boundary(NAME_BYTES_MAX - behind.len());
    format!("{}{behind}", &name[..kept])
}

/// Names of our own tables have no namespace behind them, but a kind can be called anything.
fn is_ours(name: &str) -> bool {
    matches!(name, "bowline_meta" | "rows_by_id" | "log_removals")
        || name.ends_with("_pkey")
        || name.ends_with("_key")
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut was_lower = false;
    for char in name.chars() {
        if char.is_uppercase() && was_lower {
            snake.push('_');
        }
        was_lower = char.is_lowercase() || char.is_ascii_digit();
        match char.is_alphanumeric() {
            true => snake.extend(char.to_lowercase()),
            false => snake.push('_'),
        }
    }
    snake
}

fn plural(word: &str) -> String {
    let ends = |ends: &[&str]| ends.iter().any(|end| word.ends_with(end));
    match word.strip_suffix('y') {
        Some(stem) if !ends(&["ay", "ey", "oy", "uy"]) => format!("{stem}ies"),
        _ if ends(&["s", "x", "z", "ch", "sh"]) => format!("{word}es"),
        _ => format!("{word}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(kind: &str, namespace: &str) -> String {
        let table = Table { namespace: namespace.into(), kind: kind.into() };
        name_of(&table, (3, 4), &BTreeSet::from(["shelves_v1".to_owned()]))
    }

    #[test]
    fn views_are_named_after_kinds_in_the_plural() {
        assert_eq!(name("devices.example.com/Device", "v1"), "devices_v1");
        assert_eq!(name("x/LogEntry", "v1alpha2"), "log_entries_v1alpha2");
        assert_eq!(name("x/Gateway", "v1"), "gateways_v1");
        assert_eq!(name("x/Box", "v1"), "boxes_v1");
        assert_eq!(name("Größe", "v 1"), "größes_v_1");
    }

    #[test]
    fn a_name_that_is_taken_or_too_long_gets_numbers() {
        assert_eq!(name("shelve", "v1"), "shelves_v1_3_4");
        assert_eq!(name(&"ä".repeat(40), "v1").len(), 62);
    }

    #[test]
    fn a_nul_is_left_out_and_a_backslash_before_it_is_not_one() {
        let kept = |json: &str| readable(json.as_bytes());
        assert_eq!(kept(r#"{"a":"x\u0000y"}"#).as_deref(), Some(r#"{"a":"xy"}"#));
        assert_eq!(kept(r#"{"a":"x\\u0000y"}"#).as_deref(), Some(r#"{"a":"x\\u0000y"}"#));
        assert_eq!(kept(r#"{"a":"\\\u0000\n\u0041"}"#).as_deref(), Some(r#"{"a":"\\\n\u0041"}"#));
        assert_eq!(kept("{"), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_kept_has_a_nul(text in "[\u{0}a\\\\\"u0]{0,12}") {
            let json = serde_json::to_string(&text).unwrap();
            let kept: String = serde_json::from_str(&readable(json.as_bytes()).unwrap()).unwrap();
            proptest::prop_assert_eq!(kept, text.replace('\0', ""));
        }
    }
}
