//! The `bowline` program: nothing but the way into [`cli`].

mod cli;

/// Resources are many small pieces of memory, made and freed by different threads; the system's allocator took a third of the
/// time of a request that reads a thousand of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
