//! The `bowline` program: nothing but the way into [`cli`].

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
