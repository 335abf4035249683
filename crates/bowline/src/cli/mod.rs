//! The command line: parses arguments, runs one command, ends with its exit code.
//!
//! `bowline up`, `serve`, `schema`, `backup` and `restore` use the library; all other commands are clients of a server over its public API, found
//! by gRPC reflection. Start at [`run`]; each client command has its file in [`verbs`].

mod apply_order;
mod args;
mod backup;
mod calls;
mod catalog;
mod client;
mod columns;
mod comments;
mod controllers;
mod controllers_table;
mod documents;
mod env;
mod env_health;
mod env_table;
mod error;
mod explain;
mod fields;
mod json;
mod new_store;
mod part_file;
mod places;
mod print;
mod reflect;
mod report;
mod restore;
mod say;
mod schema;
mod set;
#[cfg(test)]
mod testing;
mod transfer;
mod up;
mod verbs;
mod violations;
mod watch_state;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use futures::future::LocalBoxFuture;

use args::{Cli, Command, Shell};
use error::{Error, exit};

/// Runs the command of this process's arguments. Wrong usage ends the process with code 2.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let result = execute(cli.command, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            // What was printed before the failure is still worth having.
            let _ = out.flush();
            if !error.is_broken_pipe() {
                say::failure(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(command: Command, out: &mut dyn Write) -> Result<(), Error> {
    match command {
        Command::Up(args) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            block_on(&mut builder, Box::pin(up::run(args, out)))
        }
        Command::Serve(args) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            block_on(&mut builder, Box::pin(up::serve(args, out)))
        }
        Command::Backup(args) => block_on_or_leave(Box::pin(backup::run(args, out))),
        Command::Restore(args) => block_on_or_leave(Box::pin(restore::run(args, out))),
        Command::Schema(command) => schema::run(command, out),
        Command::Completion { shell } => completion(shell, out),
        client => {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            block_on(&mut builder, client_command(client, out))
        }
    }
}

fn block_on(
    builder: &mut tokio::runtime::Builder,
    command: LocalBoxFuture<'_, Result<(), Error>>,
) -> Result<(), Error> {
    builder.enable_all().build().map_err(Error::Runtime)?.block_on(command)
}

/// Does not wait for work that blocks, which may never end: a pipe that nobody writes to.
fn block_on_or_leave(command: LocalBoxFuture<'_, Result<(), Error>>) -> Result<(), Error> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().build().map_err(Error::Runtime)?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

/// Boxed, since the commands differ much in size.
fn client_command(command: Command, out: &mut dyn Write) -> LocalBoxFuture<'_, Result<(), Error>> {
    match command {
        Command::Get(args) => Box::pin(verbs::get::run(args, out)),
        Command::List(args) => Box::pin(verbs::list::run(args, out)),
        Command::Create(args) => Box::pin(verbs::create::run(args, out)),
        Command::Apply(args) => Box::pin(verbs::apply::run(args, out)),
        Command::Update(args) => Box::pin(verbs::update::run(args, out)),
        Command::Delete(args) => Box::pin(verbs::delete::run(args, out)),
        Command::Watch(args) => Box::pin(verbs::watch::run(args, out)),
        Command::Api(args) => Box::pin(verbs::api::run(args, out)),
        Command::Controllers(args) => Box::pin(controllers::run(args, out)),
        Command::Env(args) => Box::pin(env::run(args, out)),
        Command::Regions(args) => Box::pin(env::regions(args, out)),
        Command::Services(args) => Box::pin(env::services(args, out)),
        Command::Deployments(args) => Box::pin(env::deployments(args, out)),
        Command::Up(_)
        | Command::Serve(_)
        | Command::Schema(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Completion { .. } => Box::pin(async { Ok(()) }),
    }
}

fn completion(shell: Shell, out: &mut dyn Write) -> Result<(), Error> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Powershell => clap_complete::Shell::PowerShell,
    };
    clap_complete::generate(generator, &mut command, "bowline", &mut script);
    out.write_all(&script)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Powershell] {
            let mut out = Vec::new();
            completion(shell, &mut out).unwrap();
            let script = String::from_utf8(out).unwrap();
            assert!(script.contains("watch") && script.contains("completion"), "{shell:?}");
        }
    }
}
