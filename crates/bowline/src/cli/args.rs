//! What the command line looks like: every command, argument and flag, with the help that users read.
//!
//! No behaviour here; `super::run` dispatches, `super::verbs` acts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bowline::Storage;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Serve AIP protos as a durable, watchable API, and talk to one.
#[derive(Debug, Parser)]
#[command(name = "bowline", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the services in the given folders on one port, or a whole fleet, one port per region
    #[command(after_long_help = UP_HELP)]
    Up(UpArgs),
    /// Serve one deployment of a fleet (a service in a region) as a process of its own
    #[command(after_long_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Check, show or export the schema of service folders
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Show resources by name
    Get(GetArgs),
    /// List the resources of a type
    List(ListArgs),
    /// Create a resource
    Create(CreateArgs),
    /// Create or update resources so that they are as the files say
    #[command(after_long_help = APPLY_HELP)]
    Apply(ApplyArgs),
    /// Change fields of a resource
    Update(UpdateArgs),
    /// Delete resources by name
    Delete(DeleteArgs),
    /// Follow the changes of a type or of one resource
    Watch(WatchArgs),
    /// List the types that the server has, or describe one
    Api(ApiArgs),
    /// Show which service is deployed in which region: version, health, address
    #[command(after_long_help = ENV_HELP)]
    Env(EnvArgs),
    /// Show what deployments still have to do after commits, what they wait for, and what fails
    #[command(after_long_help = CONTROLLERS_HELP)]
    Controllers(ControllersArgs),
    /// List the regions of the fleet that the server is part of
    Regions(FleetListArgs),
    /// List the services of the fleet that the server is part of
    Services(FleetListArgs),
    /// List the deployments of the fleet that the server is part of
    Deployments(DeploymentsArgs),
    /// Save all data to one file, while it is served
    Backup(BackupArgs),
    /// Put a backup into an empty store, of whichever kind, or check one
    Restore(RestoreArgs),
    /// Print the completion script of a shell
    Completion {
        /// The shell to write for
        shell: Shell,
    },
}

const APPLY_HELP: &str = "\
A document is a mapping with `kind: devices.example.com/Device` (or `type:`), optionally \
`apiVersion: v1`, the `name`, and fields of the resource. YAML files may hold many documents; JSON \
may be a list, or `{\"items\": [...]}`. Fields that a document leaves out are left as they are; \
lists and maps that it gives are taken as a whole. Parents and referenced resources go first.";

const ENV_HELP: &str = "\
Which deployments there are says the meta service, through any server of the fleet. How each one is, \
it is asked itself, at the address that it registered; what does not answer in time is unreachable \
from here, which need not mean that other deployments cannot reach it.";

const CONTROLLERS_HELP: &str = "\
A line for each controller of each deployment; `-o wide` has one for each of its queues. Each server tells of \
itself. Where the server has the meta service, all deployments that it knows are asked, at the addresses that they \
registered; otherwise only the server. Of several processes behind one address one answers, and the shards are its part.";

const UP_HELP: &str = "\
Without `-f`, the folders are served by one node that knows of no others:

    bowline up services/devices

With `-f`, the configuration names regions, services, and where each deployment keeps its data; all \
of them run in this process:

    regions:
      eu-west: { listen: 127.0.0.1:7410 }
      us-east: { listen: 127.0.0.1:7430 }
    services:
      - services/iam
      - { folder: services/devices, regions: [eu-west] }

docs/deployments.md describes the file.";

const SERVE_HELP: &str = "\
One process for each deployment of the configuration, the meta service among them:

    bowline serve -f bowline.yaml --service meta.goten.com --region eu-west
    bowline serve -f bowline.yaml --service iam.example.com --region eu-west

They find each other by the addresses in the configuration and prove to each other who they are by \
the keys in its `identity` folder. A deployment listens on its own `listen`, or else on the region's \
port + 1 for meta, + 2 for the first service, and so on.";

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Folders of services, or descriptor sets (`*.binpb`)
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub(crate) folders: Vec<PathBuf>,
    /// Configuration of a fleet (`bowline.yaml`) instead of folders
    #[arg(short, long, value_name = "FILE", conflicts_with = "folders")]
    pub(crate) file: Option<PathBuf>,
    /// With `-f`: only this region; the others are processes of their own
    #[arg(long, value_name = "REGION", requires = "file")]
    pub(crate) region: Option<String>,
    /// Address to serve on; port 0 takes a free one. With `-f`, the file says where
    #[arg(long, env = "BOWLINE_LISTEN", default_value = "127.0.0.1:7400")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Keep everything in memory, whatever `--data` and `--store` say; nothing survives the process
    #[arg(long)]
    pub(crate) memory: bool,
    /// Sample data: files or folders that are applied as `bowline apply -f` does, if there is no data yet
    #[arg(long, value_name = "PATH")]
    pub(crate) seed: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration of the fleet
    #[arg(short, long, value_name = "FILE", default_value = "bowline.yaml")]
    pub(crate) file: PathBuf,
    /// Service of the deployment (its name, `devices.example.com`)
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: String,
    /// Region of the deployment
    #[arg(long, value_name = "REGION")]
    pub(crate) region: String,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Keep everything in memory, whatever the file says; nothing survives the process
    #[arg(long)]
    pub(crate) memory: bool,
}

/// Where the data is.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Folder of the database files; `./bowline-data` unless given here or in a configuration
    #[arg(long, env = "BOWLINE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Database instead of files, `postgres://USER@HOST/DATABASE`; a URL with a password is better given by the variable
    #[arg(long, env = "BOWLINE_STORE", hide_env_values = true, value_name = "URL")]
    store: Option<Storage>,
}

impl StoreArgs {
    /// What was asked for, by flag or variable.
    pub(crate) fn given(&self) -> Option<Storage> {
        self.store.clone().or_else(|| self.data.clone().map(Storage::Folder))
    }

    pub(crate) fn storage(&self) -> Storage {
        self.given().unwrap_or_else(|| Storage::Folder("./bowline-data".into()))
    }
}

/// Whose data: of one node, or of a fleet.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// Configuration of a fleet (`bowline.yaml`), which says where the data of each deployment is
    #[arg(short = 'f', long = "file", value_name = "BOWLINE_YAML")]
    pub(crate) config: Option<PathBuf>,
    /// Only this region; without `-f` it is `local`, that of a node without a configuration
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// File to write; `-` is standard output. Whoever has it has all data
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Only this service (its name, `devices.example.com`); may be given several times
    #[arg(long = "service", value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Replace the file if it is there, once the new one is complete
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Only this service; may be given several times
    #[arg(long = "service", value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Read the backup to its end, say what is in it and whether it is whole; write nothing
    #[arg(long, conflicts_with_all = ["services", "moves", "era"])]
    pub(crate) check: bool,
    /// Go on with the history of the old store, which nobody uses any more, so that watches can resume
    #[arg(long = "move")]
    pub(crate) moves: bool,
    /// Era of the new history instead of the present second; above all that this data ever had
    #[arg(long, value_name = "N", conflicts_with = "moves")]
    pub(crate) era: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Report every problem of the schema, and what changes between versions
    Check {
        /// Folders of services, or descriptor sets
        #[arg(value_name = "FOLDER", default_value = ".")]
        folders: Vec<PathBuf>,
        /// Fail on warnings too
        #[arg(long)]
        strict: bool,
    },
    /// Show services, types, patterns, references and methods
    Show {
        /// Folders of services, or descriptor sets
        #[arg(value_name = "FOLDER", default_value = ".")]
        folders: Vec<PathBuf>,
    },
    /// Write the descriptor set and all `.proto` files, for client generators
    Export {
        /// Folders of services, or descriptor sets
        #[arg(value_name = "FOLDER", default_value = ".")]
        folders: Vec<PathBuf>,
        /// Folder to write to; made if it is not there
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// How to reach a server; part of every client command.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// Address of the server
    #[arg(
        long,
        env = "BOWLINE_SERVER",
        default_value = "http://127.0.0.1:7400",
        value_name = "URL"
    )]
    pub(crate) server: String,
    /// Longest time that one request may take (`500ms`, `30s`, `2m`)
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// API version to use instead of the newest
    #[arg(long, value_name = "VERSION")]
    pub(crate) api_version: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// More columns, nothing shortened
    Wide,
    /// Proto3 JSON
    Json,
    /// The same as YAML documents; `bowline apply` takes them back
    Yaml,
    /// Names only, one a line
    Name,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutputArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// `NAME...`, or `TYPE NAME...`
    #[arg(required = true, value_name = "TYPE|NAME")]
    pub(crate) targets: Vec<String>,
    /// Parent of names that are given as bare ids
    #[arg(long)]
    pub(crate) parent: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The type: singular, plural or kind, in any case
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// Only below this parent; `-` stands for any id (`projects/p/regions/-`)
    #[arg(long)]
    pub(crate) parent: Option<String>,
    /// Only what matches, in AIP-160's language
    #[arg(long)]
    pub(crate) filter: Option<String>,
    /// Order, as in `display_name, metadata.create_time desc`
    #[arg(long)]
    pub(crate) order_by: Option<String>,
    /// Resources asked for in one request
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) page_size: Option<u32>,
    /// Print at most so many resources
    #[arg(long, default_value_t = 500, value_name = "N", conflicts_with = "all")]
    pub(crate) limit: u64,
    /// Print all there are
    #[arg(long)]
    pub(crate) all: bool,
    /// Go on where an earlier list stopped
    #[arg(long, value_name = "TOKEN")]
    pub(crate) page_token: Option<String>,
    /// Fields to show in the table beside name and age (`spec.model,state`)
    #[arg(long, value_name = "PATHS", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// Say on standard error how the server found the resources: which index, how many rows it looked at
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Where the fields of a resource come from.
#[derive(Debug, Args)]
pub(crate) struct BodyArgs {
    /// YAML or JSON file with the fields; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Set one field: `spec.model=x`, `labels.env=prod`, `tags=["a","b"]`, `note=null`
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The type; may be left out if the file says it
    #[arg(value_name = "TYPE", required_unless_present = "file")]
    pub(crate) kind: Option<String>,
    /// Parent of the new resource
    #[arg(long)]
    pub(crate) parent: Option<String>,
    /// Id of the new resource; left out, the server makes one
    #[arg(long)]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) body: BodyArgs,
    /// Check on the server, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Files, or folders that are searched for `.yaml`, `.yml` and `.json`; `-` reads standard input
    #[arg(short, long = "file", required = true, value_name = "FILE|DIR")]
    pub(crate) files: Vec<PathBuf>,
    /// Show what would be done, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// `NAME`, or `TYPE NAME`
    #[arg(required = true, num_args = 1..=2, value_name = "TYPE|NAME")]
    pub(crate) targets: Vec<String>,
    /// Parent of a name that is given as a bare id
    #[arg(long)]
    pub(crate) parent: Option<String>,
    #[command(flatten)]
    pub(crate) body: BodyArgs,
    /// Fields to write, comma separated; left out, the fields that are given. `*` replaces everything
    #[arg(long, value_name = "PATHS")]
    pub(crate) mask: Option<String>,
    /// Refuse if the resource is not at this etag any more
    #[arg(long)]
    pub(crate) etag: Option<String>,
    /// Create the resource if it is not there
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Check on the server, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// `NAME...`, or `TYPE NAME...`
    #[arg(required = true, value_name = "TYPE|NAME")]
    pub(crate) targets: Vec<String>,
    /// Parent of names that are given as bare ids
    #[arg(long)]
    pub(crate) parent: Option<String>,
    /// Delete the children too
    #[arg(long)]
    pub(crate) force: bool,
    /// Succeed if the resource is not there
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Refuse if the resource is not at this etag any more
    #[arg(long)]
    pub(crate) etag: Option<String>,
    /// Check on the server, delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// A type, a name, or `TYPE NAME`
    #[arg(required = true, num_args = 1..=2, value_name = "TYPE|NAME")]
    pub(crate) targets: Vec<String>,
    /// Only below this parent; `-` stands for any id
    #[arg(long)]
    pub(crate) parent: Option<String>,
    /// Only what matches, in AIP-160's language
    #[arg(long)]
    pub(crate) filter: Option<String>,
    /// Stop once everything that is there now has been printed
    #[arg(long)]
    pub(crate) until_current: bool,
    /// Stop after so many changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ApiArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ApiCommand>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiCommand {
    /// List services, types, patterns and verbs (the default)
    List {
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show patterns, methods and fields of a type
    Describe {
        /// The type: singular, plural or kind, in any case
        #[arg(value_name = "TYPE")]
        kind: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct EnvArgs {
    /// Longest time that a deployment may take to say how it is
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = duration)]
    pub(crate) health_timeout: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ControllersArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FleetListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeploymentsArgs {
    /// Only those of this service (its name, `devices.example.com`)
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// Only those in this region
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

/// Reads `500ms`, `30s`, `2m` and the like; zero and negative times make no sense for a request.
fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration =
        text.parse().map_err(|error: jiff::Error| error.to_string())?;
    match Duration::try_from(signed) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be more than zero".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_positive() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("0s").is_err());
        assert!(duration("-1s").is_err());
        assert!(duration("soon").is_err());
    }

    #[test]
    fn list_is_not_both_limited_and_unlimited() {
        let parsed = Cli::try_parse_from(["bowline", "list", "devices", "--all", "--limit", "3"]);
        assert!(parsed.is_err());
    }

    #[test]
    fn a_restore_either_continues_or_begins_an_era() {
        let parse =
            |flags: &[&str]| Cli::try_parse_from([&["bowline", "restore", "f"], flags].concat());
        assert!(parse(&["--move", "--data", "d"]).is_ok());
        assert!(parse(&["--era", "7"]).is_ok());
        assert!(parse(&["--move", "--era", "7"]).is_err());
        assert!(parse(&["--check", "--move"]).is_err());
    }

    #[test]
    fn a_create_without_type_needs_a_file() {
        assert!(Cli::try_parse_from(["bowline", "create", "--id", "x"]).is_err());
        assert!(Cli::try_parse_from(["bowline", "create", "-f", "-"]).is_ok());
    }
}
