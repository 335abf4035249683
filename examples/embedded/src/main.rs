//! Serves the library on port 7400 until it is interrupted.

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program says where it listens")]
async fn main() -> Result<(), bowline::StartError> {
    let node = embedded::node().in_memory().start().await?;
    println!("ready on http://{}", node.address());
    // An error means that no signal can be waited for; then there is nothing to wait for either.
    let _ = tokio::signal::ctrl_c().await;
    node.stop().await;
    Ok(())
}
