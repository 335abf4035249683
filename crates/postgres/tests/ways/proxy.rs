//! A way to the server on which answers get lost: it passes everything on until a `COMMIT` that it was told to lose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What happens to a `COMMIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It never reaches the server.
    Question,
    /// The server does it, and the answer never reaches the client.
    Answer,
}

#[derive(Debug)]
struct State {
    loss: Loss,
    /// How many more to lose.
    left: AtomicUsize,
    /// Whether new connections are turned away from the first loss on.
    ends_with_loss: bool,
    is_down: AtomicBool,
    lost: AtomicUsize,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

/// `COMMIT` as the driver sends it.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// How the server answers it.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

impl Proxy {
    pub(crate) async fn start(server: u16, loss: Loss, ends_with_loss: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            loss,
            left: AtomicUsize::new(0),
            ends_with_loss,
            is_down: AtomicBool::new(false),
            lost: AtomicUsize::new(0),
        });
        let passing = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !passing.is_down.load(Ordering::SeqCst) {
                    tokio::spawn(pass(client, server, passing.clone()));
                }
            }
        });
        Self { port, state }
    }

    /// Loses the next `count` of them.
    pub(crate) fn lose(&self, count: usize) {
        self.state.left.store(count, Ordering::SeqCst);
    }

    pub(crate) fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// The URL of the server, by way of here.
    pub(crate) fn url(&self, url: &str, server: u16) -> String {
        url.replace(&format!(":{server}/"), &format!(":{}/", self.port))
    }
}

async fn pass(client: TcpStream, server: u16, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    for end in [&client, &server] {
        end.set_nodelay(true).unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let losing = Arc::new(AtomicBool::new(false));
    let cut = Arc::new(Notify::new());
    // Whichever ends drops both connections.
    tokio::select! {
        () = questions(from_client, to_server, &state, &losing, &cut) => {}
        () = answers(from_server, to_client, &state, &losing) => {}
    }
}

/// Client to server. Never ends by itself while an answer is to be lost, so that the server is seen to give it.
async fn questions(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    losing: &AtomicBool,
    cut: &Notify,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let commit = find(&bytes[..length], COMMIT);
        match commit.filter(|_| take_one(state)) {
            None => {
                if to.write_all(&bytes[..length]).await.is_err() {
                    return;
                }
            }
            Some(at) if state.loss == Loss::Question => {
                note(state);
                let _ = to.write_all(&bytes[..at]).await;
                return;
            }
            Some(_) => {
                losing.store(true, Ordering::SeqCst);
                let _ = to.write_all(&bytes[..length]).await;
                cut.notified().await;
            }
        }
    }
}

/// Server to client.
async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    losing: &AtomicBool,
) {
    let (mut bytes, mut held) = (vec![0; 64 * 1024], Vec::new());
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if losing.load(Ordering::SeqCst) {
            held.extend_from_slice(&bytes[..length]);
            if find(&held, COMMITTED).is_some() {
                note(state);
                return;
            }
        } else if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

fn take_one(state: &State) -> bool {
    let less = |left: usize| left.checked_sub(1);
    state.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
}

fn note(state: &State) {
    state.lost.fetch_add(1, Ordering::SeqCst);
    if state.ends_with_loss {
        state.is_down.store(true, Ordering::SeqCst);
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
