//! The stores that are compared: ours behind the backend contract, and what each has as its limit or its rival.
//!
//! `ours` drives any backend, `raw_sqlite` and `raw_postgres` write the same rows without a store around them, `etcd` and
//! `postgres` run the servers, `pages` counts what a commit touches, `resident` sees
//! how much memory a store takes.

pub(crate) mod disk;
pub(crate) mod etcd;
pub(crate) mod ours;
pub(crate) mod pages;
pub(crate) mod postgres;
pub(crate) mod raw_postgres;
pub(crate) mod raw_sqlite;
pub(crate) mod resident;
