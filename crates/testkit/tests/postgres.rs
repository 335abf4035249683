//! The PostgreSQL starter: what it starts works, and nothing of it is left behind, however the test ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bowline_testkit::eventually_blocking;
use bowline_testkit::postgres::{Options, Server, require};
use bowline_testkit::process::PATIENCE;

fn count(server: &Server) -> String {
    server.sql("postgres", "SELECT count(*) FROM t").unwrap().trim().to_owned()
}

/// The scratch directory, and with it the server's files.
fn scratch(server: &Server) -> PathBuf {
    server.socket_folder().unwrap().to_owned()
}

fn is_gone(scratch: &Path, port: u16) -> Option<()> {
    let refused = std::net::TcpStream::connect(("127.0.0.1", port)).is_err();
    (refused && !scratch.exists()).then_some(())
}

#[test]
fn databases_are_apart_and_everything_is_gone_at_the_end() {
    let Some(server) = require(Options::default()) else { return };
    let (a, b) = (server.fresh_database().unwrap(), server.fresh_database().unwrap());
    assert_ne!(a, b);
    assert!(a.contains(server.password()) && a.ends_with("/test0"), "{a}");
    server.sql("test0", "CREATE TABLE t (n int)").unwrap();
    let error = server.sql("test1", "SELECT * FROM t").unwrap_err().to_string();
    assert!(error.contains("relation \"t\" does not exist"), "{error}");
    let (scratch, port) = (scratch(&server), server.port());
    drop(server);
    assert!(is_gone(&scratch, port).is_some());
}

#[test]
fn a_killed_server_comes_back_with_what_was_committed() {
    let Some(mut server) = require(Options::durable()) else { return };
    server.sql("postgres", "CREATE TABLE t AS SELECT 1 AS n").unwrap();
    for kills in 2..4 {
        server.kill().unwrap();
        assert!(server.sql("postgres", "SELECT 1").is_err());
        server.restart().unwrap();
        assert!(server.log().contains("was not properly shut down"), "{}", server.log());
        server.sql("postgres", "INSERT INTO t VALUES (2)").unwrap();
        assert_eq!(count(&server), kills.to_string());
    }
}

#[test]
fn a_frozen_server_neither_answers_nor_refuses() {
    let Some(server) = require(Options::default()) else { return };
    server.freeze().unwrap();
    std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    server.thaw().unwrap();
    assert_eq!(server.sql("postgres", "SELECT 7").unwrap(), "7\n");
    // And frozen it goes, too.
    server.freeze().unwrap();
}

#[test]
fn a_promoted_standby_has_what_the_killed_primary_acknowledged() {
    let Some(mut primary) = require(Options::durable()) else { return };
    let standby = primary.standby().unwrap();
    primary.wait_for_standby_on_commit().unwrap();
    primary.sql("postgres", "CREATE TABLE t AS SELECT 1 AS n").unwrap();
    assert!(standby.sql("postgres", "INSERT INTO t VALUES (2)").is_err());
    primary.kill().unwrap();
    standby.promote().unwrap();
    assert_eq!(count(&standby), "1");
    standby.sql("postgres", "INSERT INTO t VALUES (2)").unwrap();
    let ports = format!("127.0.0.1:{},127.0.0.1:{}/x?", primary.port(), standby.port());
    assert!(primary.url_with(&standby, "x").contains(&ports));
}

#[test]
fn with_tls_nobody_connects_without() {
    let Some(server) = require(Options::tls()) else { return };
    let root = server.root_certificate().unwrap();
    assert!(std::fs::read_to_string(root).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    // psql prefers TLS, if the server has it.
    let answer = server.sql("postgres", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    assert_eq!(answer.unwrap(), "t\n");
    let plain = server.sql("dbname=postgres sslmode=disable", "SELECT 1").unwrap_err().to_string();
    assert!(plain.contains("no encryption"), "{plain}");
}

#[test]
fn settings_of_the_test_win() {
    let options = Options::default().set("fsync", "on").set("work_mem", "3MB");
    let Some(server) = require(options) else { return };
    assert_eq!(server.sql("postgres", "SHOW work_mem").unwrap(), "3MB\n");
    assert_eq!(server.sql("postgres", "SHOW fsync").unwrap(), "on\n");
    let error = Server::start(Options::default().set("work_mem", "much")).unwrap_err().to_string();
    assert!(error.contains("invalid value for parameter \"work_mem\""), "{error}");
}

/// Set for the process that the next test starts, to run [`victim`] in, and kills.
const VICTIM: &str = "BOWLINE_TEST_VICTIM";

#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let Some(server) = require(Options::default()) else { return };
    eprintln!("victim {} {}", server.port(), scratch(&server).display());
    eventually_blocking("the end", PATIENCE, || None::<()>).unwrap();
}

#[test]
fn sigkill_of_the_test_leaves_no_server_behind() {
    if require(Options::default()).is_none() {
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "victim", "--nocapture"]).env(VICTIM, "yes");
    let mut victim = victim.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(victim.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.into_iter().find(|line| line.starts_with("victim ")).unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let (port, scratch) = (words[1].parse().unwrap(), PathBuf::from(words[2]));
    assert!(is_gone(&scratch, port).is_none(), "it runs");
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually_blocking("the server's end", PATIENCE, || is_gone(&scratch, port)).unwrap();
}
