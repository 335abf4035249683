//! Ownership rows: what a deployment has committed to about places, whatever names and policies say.
//!
//! A row is there once a place changed hands. It says who owns the place and since which *epoch*; without one, names and
//! policies decide, at epoch 1. Every commit requires that the row of its place is still as the writer thinks
//! ([`unchanged`]), so that a slow process of a former owner cannot commit. Rows are never removed, and their
//! epochs only grow.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bowline_store::{
    Backend, Condition, Extract, Key, NameRange, Row, StoreError, Table, Value, Write, layout,
};
use tokio::sync::OnceCell;

use crate::place::{Part, Place};

#[cfg(test)]
mod tests;

/// The epoch of a place that never had another owner.
pub const FIRST_EPOCH: u64 = 1;

const OWNER: &str = "owner";
const EPOCH: &str = "epoch";
/// Rows read at once.
const PAGE: usize = 1_000;

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The region that owns the place; empty: none.
    pub owner: Arc<str>,
    /// Above that of every claim before.
    pub epoch: u64,
}

/// The rows of one deployment, in memory. What other processes of the deployment commit is seen on [`Ownership::refresh`].
#[derive(Debug)]
pub struct Ownership {
    backend: Arc<dyn Backend>,
    /// By row name.
    claims: RwLock<BTreeMap<Arc<str>, Claim>>,
    loaded: OnceCell<()>,
}

impl Ownership {
    /// The rows in `backend`; nothing is read yet.
    pub fn new(backend: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self { backend, claims: RwLock::default(), loaded: OnceCell::new() })
    }

    /// Reads all rows, unless that was done before. Memory: about 100 bytes for each place that ever changed hands.
    ///
    /// # Errors
    /// What reading fails with; the next call tries again.
    pub async fn load(&self) -> Result<(), StoreError> {
        self.loaded.get_or_try_init(|| self.read_all()).await.copied()
    }

    /// What the row of `place` says, if there is one; as of the last time that it was read or written here.
    pub fn claim(&self, place: &Place) -> Option<Claim> {
        let claims = self.claims.read().unwrap_or_else(PoisonError::into_inner);
        if claims.is_empty() {
            return None;
        }
        claims.get(row_name(place).as_str()).cloned()
    }

    /// Reads one row anew.
    ///
    /// # Errors
    /// What reading fails with.
    pub async fn refresh(&self, place: &Place) -> Result<Option<Claim>, StoreError> {
        let (row, _) = self.backend.get(&key(place)).await?;
        let claim = row.as_ref().and_then(claim_of);
        if let Some(claim) = &claim {
            self.note(place, claim.clone());
        }
        Ok(claim)
    }

    /// Takes note of a row that was committed or read; one that is older than what is known is ignored.
    pub fn note(&self, place: &Place, claim: Claim) {
        self.note_named(row_name(place).into(), claim);
    }

    fn note_named(&self, name: Arc<str>, claim: Claim) {
        let mut claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        if claims.get(&name).is_none_or(|known| known.epoch < claim.epoch) {
            claims.insert(name, claim);
        }
    }

    async fn read_all(&self) -> Result<(), StoreError> {
        let mut range = NameRange::all(table());
        let mut snapshot = self.backend.snapshot().await?;
        loop {
            let rows = snapshot.scan(&range, PAGE, false).await?;
            for (name, row) in &rows {
                let claim = claim_of(row).ok_or_else(|| {
                    StoreError::Corrupt(format!("ownership row \"{name}\" says no owner"))
                })?;
                self.note_named(name.clone(), claim);
            }
            match rows.last() {
                Some((name, _)) if rows.len() == PAGE => range.from = format!("{name}\0"),
                _ => return Ok(()),
            }
        }
    }
}

/// What must hold for the row to be exactly as `seen`. *Shared*: it costs no write.
pub fn unchanged(place: &Place, seen: Option<&Claim>) -> Condition {
    match seen {
        None => Condition::RowAbsent { key: key(place) },
        Some(claim) => Condition::RowAt { key: key(place), version: claim.epoch },
    }
}

/// Writes the row.
pub fn put(place: &Place, claim: &Claim) -> Write {
    let extract = Extract::builder()
        .field(OWNER, Value::text(&claim.owner))
        .field(EPOCH, Value::number(claim.epoch));
    // Epochs only grow, so they are good versions.
    Write::put(key(place), Row { extract: extract.build(), ..Row::new(claim.epoch, "") })
}

/// Where the row is.
pub fn key(place: &Place) -> Key {
    Key { table: table(), name: row_name(place).into() }
}

fn table() -> Table {
    layout::common("~ownership")
}

/// `projects/p|region/eu-west`, `projects/p|control`; without a holder the first part is empty.
fn row_name(place: &Place) -> String {
    let holder = place.holder.as_ref().map_or("", |holder| &*holder.name);
    match &place.part {
        Part::Control => format!("{holder}|control"),
        Part::Region(region) => format!("{holder}|region/{region}"),
    }
}

fn claim_of(row: &Row) -> Option<Claim> {
    let owner = row.extract.field(OWNER)?;
    let owner = std::str::from_utf8(owner.as_bytes()).ok()?.into();
    Some(Claim { owner, epoch: row.extract.field(EPOCH)?.as_number()? })
}
