//! `bowline backup` and `bowline restore`, as users run them: beside a server, killed in the middle, with damaged files.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bowline_testkit::postgres::{Options, require};
use bowline_testkit::{Server, eventually_blocking};

use crate::lab::{Lab, Ran, program, run};

const PATIENCE: Duration = Duration::from_secs(60);
const STORE: &str = "local/library.example.com.db";

/// Serves some books from files, and takes a backup.
fn saved(test: &str) -> (Lab, String) {
    let mut lab = Lab::unserved(test);
    let data = lab.path("data");
    lab.serve(&["--data", &data, "--listen", "127.0.0.1:0"]);
    lab.run(&["create", "shelf", "--id", "a", "--set", "theme=knots"]).ok();
    for id in ["x", "y", "z"] {
        lab.run(&["create", "book", "--parent", "shelves/a", "--id", id, "--set", "title=t"]).ok();
    }
    let file = lab.path("all.backup");
    let said = alone(&["backup", &file, "--data", &data]).ok();
    assert!(said.contains("wrote"), "{said}");
    (lab, file)
}

/// Runs a command that needs no server.
fn alone(args: &[&str]) -> Ran {
    run("http://127.0.0.1:1", args)
}

fn stop(lab: &mut Lab) {
    lab.server.take().expect("it serves").stop().expect("it ends");
}

fn everything(lab: &Lab) -> String {
    let shelves = lab.run(&["list", "shelves", "-o", "json"]).ok();
    shelves + &lab.run(&["list", "books", "--parent", "shelves/-", "-o", "json"]).ok()
}

#[test]
fn what_was_saved_beside_a_server_is_served_after_a_restore() {
    let (mut lab, file) = saved("backup");
    let before = everything(&lab);
    lab.run(&["delete", "shelves/a/books/x"]).ok();
    stop(&mut lab);
    let restored = lab.path("restored");
    let said = alone(&["restore", &file, "--data", &restored]).ok();
    assert!(said.contains("era 0 -> "), "{said}");
    assert!(said.contains("v1 library.example.com/Book"), "{said}");
    lab.serve(&["--data", &restored, "--listen", "127.0.0.1:0"]);
    assert_eq!(everything(&lab), before, "as of the backup");
    lab.run(&["update", "shelves/a", "--set", "theme=new"]).ok();
}

#[test]
fn check_says_what_is_in_a_backup() {
    let (_lab, file) = saved("check");
    let said = alone(&["restore", "--check", &file]).ok();
    assert!(said.contains("library.example.com in local: era 0, sequence "), "{said}");
    assert!(said.contains("whole and undamaged: "), "{said}");
    let books = said.lines().find(|line| line.contains("/Book")).expect("a line for books");
    assert!(books.ends_with(" 3"), "{books}");
}

#[test]
fn a_backup_goes_through_a_pipe() {
    let (lab, _) = saved("pipe");
    let backup = Command::new(program())
        .args(["backup", "-", "--data", &lab.path("data")])
        .output()
        .expect("the program starts");
    let target = lab.path("piped");
    let mut restore = restore_of(&target);
    restore.stdin.take().expect("a pipe").write_all(&backup.stdout).expect("it reads all");
    assert!(restore.wait().expect("it ends").success());
    assert!(Path::new(&target).join(STORE).exists());
}

/// A restore that reads from a pipe.
fn restore_of(data: &str) -> Child {
    restore_into(&["--data", data])
}

fn restore_into(place: &[&str]) -> Child {
    Command::new(program())
        .args(["restore", "-", "--move"])
        .args(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// Half of a restore: all rows are in their store, but the end of the file has not come.
fn half_restored(lab: &Lab, file: &str) -> (Child, PathBuf) {
    let data = lab.path("half");
    let mut restore = restore_of(&data);
    let bytes = std::fs::read(file).expect("the backup");
    let pipe = restore.stdin.as_mut().expect("a pipe");
    pipe.write_all(&bytes[..bytes.len() - 40]).expect("it reads");
    pipe.flush().expect("it reads");
    let hidden = Path::new(&data).join(format!("{STORE}.restoring"));
    eventually_blocking("a store that is being made", PATIENCE, || hidden.exists().then_some(()))
        .expect("a hidden store");
    (restore, PathBuf::from(data))
}

#[test]
fn a_killed_restore_leaves_no_store_and_can_be_done_again() {
    let (mut lab, file) = saved("kill");
    let before = everything(&lab);
    stop(&mut lab);
    let (mut restore, data) = half_restored(&lab, &file);
    restore.kill().expect("it is killed");
    restore.wait().expect("it is gone");
    assert!(!data.join(STORE).exists());

    let (folder, data) = (lab.folder().display().to_string(), data.display().to_string());
    let refused = alone(&["up", &folder, "--data", &data, "--listen", "127.0.0.1:0"]).fails(1);
    assert!(refused.contains("a restore that was not finished"), "{refused}");

    alone(&["restore", &file, "--data", &data]).ok();
    lab.serve(&["--data", &data, "--listen", "127.0.0.1:0"]);
    assert_eq!(everything(&lab), before);
}

#[test]
fn an_interrupted_restore_leaves_nothing() {
    let (lab, file) = saved("interrupt");
    let (mut restore, data) = half_restored(&lab, &file);
    let sent = Command::new("kill").args(["-INT", &restore.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    let pipe = restore.stdin.take();
    let ended =
        eventually_blocking("the end of the restore", PATIENCE, || restore.try_wait().transpose());
    let ended = ended.expect("it ends").expect("the system knows it");
    drop(pipe);
    assert_eq!(ended.code(), Some(1));
    assert_eq!(left_in(&data.join("local")), [".restore.lock"]);
}

fn left_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("an entry").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn a_damaged_backup_is_refused_and_leaves_nothing() {
    let (lab, file) = saved("damaged");
    let mut bytes = std::fs::read(&file).expect("the backup");
    let late = bytes.len() - 100;
    bytes[late] ^= 1;
    std::fs::write(&file, &bytes).expect("it is ours");
    let data = lab.path("damaged");
    let said = alone(&["restore", &file, "--data", &data]).fails(1);
    assert!(said.contains("damaged in block") && said.contains("at byte"), "{said}");
    assert_eq!(left_in(&Path::new(&data).join("local")), [".restore.lock"]);
    let said = alone(&["restore", "--check", &file]).fails(1);
    assert!(said.contains("damaged in block"), "{said}");
}

#[test]
fn nothing_that_is_there_is_touched() {
    let (lab, file) = saved("occupied");
    let data = lab.path("data");
    let said = alone(&["restore", &file, "--data", &data]).fails(3);
    assert!(said.contains("is there already") && said.contains("hint: "), "{said}");
    let said = alone(&["backup", &file, "--data", &data]).fails(3);
    assert!(said.contains("--overwrite"), "{said}");
    alone(&["backup", &file, "--data", &data, "--overwrite"]).ok();
    assert_eq!(left_in(lab.world.path()).iter().filter(|name| name.contains(".part")).count(), 0);
}

#[test]
fn services_are_named_by_what_is_there() {
    let (lab, file) = saved("services");
    let said = alone(&["restore", &file, "--service", "other", "--data", &lab.path("o")]).fails(2);
    assert!(said.contains("it has library.example.com in local"), "{said}");
    let said = alone(&["backup", &lab.path("n"), "--data", &lab.path("nowhere")]).fails(1);
    assert!(said.contains("nowhere") && said.contains("hint: --data or --store"), "{said}");
    assert!(!Path::new(&lab.path("n")).exists());
}

#[test]
fn data_moves_to_postgres_and_back() {
    let Some(postgres) = require(Options::default()) else { return };
    let (mut lab, _) = saved("move");
    let (url, before) = (postgres.url("postgres"), everything(&lab));
    stop(&mut lab);
    let file = lab.path("there.backup");
    alone(&["backup", &file, "--data", &lab.path("data")]).ok();
    let said = alone(&["restore", &file, "--move", "--store", &url]).ok();
    assert!(said.contains("era 0, as before"), "{said}");
    let refused = alone(&["restore", &file, "--move", "--store", &url]).fails(3);
    assert!(refused.contains("the store is not empty") && refused.contains("hint: "), "{refused}");

    lab.serve(&["--store", &url, "--listen", "127.0.0.1:0"]);
    assert_eq!(everything(&lab), before);
    let documents = "SELECT count(document) FROM \"bowline_local_library.example.com\".books_v1";
    let made = || postgres.sql("postgres", documents).ok().filter(|found| found.trim() == "3");
    eventually_blocking("documents for SQL", PATIENCE, made).expect("they are made again");
    lab.run(&["update", "shelves/a", "--set", "theme=new"]).ok();
    let changed = everything(&lab);
    let file = lab.path("back.backup");
    let said = alone(&["backup", &file, "--store", &url]).ok();
    assert!(!said.contains(postgres.password()), "{said}");
    stop(&mut lab);

    let back = lab.path("back");
    alone(&["restore", &file, "--move", "--data", &back]).ok();
    lab.serve(&["--data", &back, "--listen", "127.0.0.1:0"]);
    assert_eq!(everything(&lab), changed);
    let absent = lab.path("absent.backup");
    let said = alone(&["backup", &absent, "--store", &url, "--service", "other"]).fails(1);
    assert!(said.contains("other has no data there"), "{said}");
}

#[test]
fn a_killed_restore_into_postgres_is_not_served_and_can_be_done_again() {
    let Some(postgres) = require(Options::default()) else { return };
    let (mut lab, file) = saved("kill-postgres");
    let (url, before) = (postgres.url("postgres"), everything(&lab));
    stop(&mut lab);
    let mut restore = restore_into(&["--store", &url]);
    let bytes = std::fs::read(&file).expect("the backup");
    let pipe = restore.stdin.as_mut().expect("a pipe");
    pipe.write_all(&bytes[..bytes.len() - 40]).expect("it reads");
    pipe.flush().expect("it reads");
    let rows = "SELECT 1 FROM \"bowline_local_library.example.com\".rows LIMIT 1";
    let marked = || postgres.sql("postgres", rows).ok().filter(|found| found.trim() == "1");
    eventually_blocking("a marked schema", PATIENCE, marked).expect("a mark");
    restore.kill().expect("it is killed");
    restore.wait().expect("it is gone");

    let folder = lab.folder().display().to_string();
    let up = ["up", folder.as_str(), "--store", &url, "--listen", "127.0.0.1:0"];
    let refused = alone(&up).fails(1);
    assert!(refused.contains("a restore that was not finished"), "{refused}");
    assert!(!refused.contains(postgres.password()), "{refused}");
    alone(&["restore", &file, "--store", &url]).ok();
    lab.serve(&["--store", &url, "--listen", "127.0.0.1:0"]);
    assert_eq!(everything(&lab), before);
}

#[test]
fn a_restore_of_many_services_takes_few_connections() {
    // A store that is served would take nine and more of them, and there are four services.
    let Some(postgres) = require(Options::default().set("max_connections", "24")) else { return };
    let mut lab = Lab::unserved("few-connections");
    let fleet = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fleet");
    let (data, sample) = (lab.path("data"), format!("{fleet}/sample"));
    let up = ["up", fleet, "--data", &data, "--listen", "127.0.0.1:0", "--seed", &sample];
    lab.server = Some(Server::start(program(), up).expect("it serves"));
    let file = lab.path("fleet.backup");
    alone(&["backup", &file, "--data", &data]).ok();
    stop(&mut lab);
    let said = alone(&["restore", &file, "--store", &postgres.url("postgres")]).ok();
    assert!(said.contains("applications.example.com in local: era 0 -> "), "{said}");
}
