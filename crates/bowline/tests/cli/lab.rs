//! A small library of shelves and books, served by the real program, and the real program as its client.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bowline_testkit::{Server, World, eventually_blocking};

/// Generous, since other tests run at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

const MANIFEST: &str =
    "name: library.example.com\nversions:\n  v1: { package: example.library.v1 }\n";

const PROTO: &str = r#"
syntax = "proto3";
package example.library.v1;
import "google/api/field_behavior.proto";
import "google/api/resource.proto";
import "goten/types/meta.proto";

// A place for books.
message Shelf {
  option (google.api.resource) = {
    type: "library.example.com/Shelf" pattern: "shelves/{shelf}"
    singular: "shelf" plural: "shelves"
  };
  string name = 1;
  goten.types.Meta metadata = 2;
  string theme = 3;
}

// Something to read.
message Book {
  option (google.api.resource) = {
    type: "library.example.com/Book" pattern: "shelves/{shelf}/books/{book}"
    singular: "book" plural: "books"
  };
  enum State {
    STATE_UNSPECIFIED = 0;
    IN = 1;
    LENT = 2;
  }
  string name = 1;
  goten.types.Meta metadata = 2;
  string title = 3 [(google.api.field_behavior) = REQUIRED];
  int32 pages = 4;
  State state = 5;
  repeated string authors = 6;
  // The volume that comes after this one.
  string sequel = 7 [(google.api.resource_reference).type = "library.example.com/Book"];
  Binding binding = 8;
}

message Binding {
  string colour = 1;
  bool leather = 2;
}
"#;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The output of a command that must succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// What a command that must fail with `code` said.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stderr
    }
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_bowline"))
}

/// Runs the program without a server of its own.
pub(crate) fn run(server: &str, args: &[&str]) -> Ran {
    let output = Command::new(program())
        .args(args)
        .env("BOWLINE_SERVER", server)
        .env_remove("BOWLINE_LISTEN")
        .env_remove("BOWLINE_DATA")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A folder with the service, and what serves it.
pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) server: Option<Server>,
}

impl Lab {
    /// The service served from memory.
    pub(crate) fn new(test: &str) -> Self {
        let mut lab = Self::unserved(test);
        lab.serve(&["--memory", "--listen", "127.0.0.1:0"]);
        lab
    }

    /// Only the folder.
    pub(crate) fn unserved(test: &str) -> Self {
        let world = World::new(test).expect("a folder");
        world.write("library/service.yaml", MANIFEST).expect("a manifest");
        world.write("library/v1/library.proto", PROTO).expect("a proto");
        Self { world, server: None }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.world.path().join("library")
    }

    pub(crate) fn path(&self, path: &str) -> String {
        self.world.path().join(path).display().to_string()
    }

    pub(crate) fn serve(&mut self, args: &[&str]) {
        let folder = self.folder();
        let folder = folder.to_str().expect("a path in UTF-8");
        let all = ["up", folder].into_iter().chain(args.iter().copied());
        self.server = Some(Server::start(program(), all).expect("it serves"));
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("the service is served")
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run(self.server().url(), args)
    }

    /// Writes a file and applies it.
    pub(crate) fn apply(&self, file: &str, text: &str) -> Ran {
        let path = self.world.write(file, text).expect("a file");
        self.run(&["apply", "-f", path.to_str().expect("a path in UTF-8")])
    }

    /// Starts a command that goes on beside the test; what it prints goes to a file.
    pub(crate) fn beside(&self, name: &str, args: &[&str]) -> Beside {
        let output = self.world.path().join(format!("{name}.out"));
        let notes = self.world.path().join(format!("{name}.err"));
        let file = |path: &Path| std::fs::File::create(path).expect("a file");
        let child = Command::new(program())
            .args(args)
            .env("BOWLINE_SERVER", self.server().url())
            .stdin(Stdio::null())
            .stdout(file(&output))
            .stderr(file(&notes))
            .spawn()
            .expect("the program starts");
        Beside { child, output, notes }
    }
}

/// A command that runs beside the test. Dropped, it is killed.
pub(crate) struct Beside {
    child: Child,
    output: PathBuf,
    notes: PathBuf,
}

impl Beside {
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until a line of the output contains all of `words`.
    #[track_caller]
    pub(crate) fn shows(&self, words: &[&str]) {
        let what = format!("a line with {words:?}");
        let seen = eventually_blocking(&what, PATIENCE, || {
            self.printed()
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
                .then_some(())
        });
        if let Err(error) = seen {
            let notes = std::fs::read_to_string(&self.notes).unwrap_or_default();
            panic!("{error}; printed:\n{}\nand:\n{notes}", self.printed());
        }
    }

    /// Waits until a line of what goes to standard error contains all of `words`.
    #[track_caller]
    pub(crate) fn notes_show(&self, words: &[&str]) {
        let seen = eventually_blocking(&format!("a note with {words:?}"), PATIENCE, || {
            let notes = std::fs::read_to_string(&self.notes).unwrap_or_default();
            notes.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
        });
        seen.expect("the note");
    }

    /// Waits for the end of the command.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let ended = eventually_blocking("the end of the command", PATIENCE, || {
            self.child.try_wait().transpose()
        });
        ended.expect("it ends").expect("the system knows the process").code()
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
