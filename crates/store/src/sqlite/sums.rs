//! Checksums of what is kept, since SQLite has none for its pages: a changed byte in a row or a line of the log is told
//! when it is read, and not handed on.
//!
//! They are not keyed: they tell accidents, not attackers.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::contract::{Change, Row};

/// The sum of a row under its name.
pub(super) fn of_row(name: &str, row: &Row) -> i64 {
    let sum = add_row(xxh3_64_with_seed(name.as_bytes(), 0), row);
    xxh3_64_with_seed(row.extract.as_bytes(), sum).cast_signed()
}

/// The sum of a line of the log, `line` and `table` being its numbers.
pub(super) fn of_line(line: i64, table: [i64; 2], change: &Change) -> i64 {
    let sum = of_numbers([line, table[0], table[1]], 0);
    let sum = xxh3_64_with_seed(change.key.name.as_bytes(), sum);
    let rows = [&change.before, &change.after];
    let sum = rows.into_iter().fold(sum, |sum, row| match row {
        Some(row) => add_row(sum, row),
        None => of_numbers([], sum),
    });
    sum.cast_signed()
}

/// Numbers in their order.
pub(super) fn of_numbers<const N: usize>(numbers: [i64; N], seed: u64) -> u64 {
    xxh3_64_with_seed(numbers.map(i64::to_le_bytes).as_flattened(), seed)
}

/// All but the extract. Each part is hashed by itself, so that bytes cannot move from one to the next.
fn add_row(sum: u64, row: &Row) -> u64 {
    let mut head = [0; 24];
    head[..8].copy_from_slice(&row.version.to_le_bytes());
    head[8..].copy_from_slice(&row.id.0.to_le_bytes());
    let parts: [&[u8]; 3] = [&head, &row.body, &row.aside];
    parts.into_iter().fold(sum, |sum, part| xxh3_64_with_seed(part, sum))
}
