//! The network between two processes: passes HTTP/2 on, knows which gRPC messages were sent, and can hold up the answers
//! to one of them, or everything.
//!
//! What is held up is delayed, never lost or reordered. Not here: what messages mean.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes, BytesMut};

/// Bytes with which every client begins.
const PREFACE: usize = 24;
/// Bytes in front of every frame, and of every gRPC message.
const FRAME_HEAD: usize = 9;
const MESSAGE_HEAD: usize = 5;
/// Frames of this type carry messages; ...
const DATA: u8 = 0;
/// ... those of this one only ask whether the other end is there, and have no part in any order.
const PING: u8 = 6;

/// Which message is waited for.
pub(crate) type Wanted = Box<dyn Fn(&[u8]) -> bool + Send>;

/// A way to one address. Dropped, it passes nothing any more.
pub(crate) struct Tap {
    address: SocketAddr,
    line: Arc<Line>,
}

struct Line {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Messages to the target, in the order in which they came.
    sent: Vec<Bytes>,
    /// From the message that it fits on, answers of its connection are held up.
    trap: Option<Wanted>,
    /// The connection whose answers are held up.
    held: Option<u64>,
    is_cut: bool,
    is_gone: bool,
    connections: u64,
}

/// What one direction of a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

impl Tap {
    /// Listens on a port that the system picks.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let line = Arc::new(Line { target, state: Mutex::default(), changed: Condvar::new() });
        let own = line.clone();
        spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if own.state().is_gone {
                    return;
                }
                let line = own.clone();
                spawn(move || line.join(&connection));
            }
        });
        Self { address, line }
    }

    /// Where others connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The messages to the target so far that are such ones.
    pub(crate) fn sent(&self, is_such: impl Fn(&[u8]) -> bool) -> Vec<Bytes> {
        let state = self.line.state();
        state.sent.iter().filter(|message| is_such(message)).cloned().collect()
    }

    /// The next such message is delivered, and nothing comes back on its connection until [`Tap::release`].
    pub(crate) fn hold_answer_to(&self, is_such: impl Fn(&[u8]) -> bool + Send + 'static) {
        self.line.state().trap = Some(Box::new(is_such));
    }

    /// Whether a message came whose answer is held up.
    pub(crate) fn holds(&self) -> bool {
        self.line.state().held.is_some()
    }

    /// Lets through what was held up.
    pub(crate) fn release(&self) {
        self.line.change(|state| (state.trap, state.held) = (None, None));
    }

    /// From now on nothing passes, in either direction.
    pub(crate) fn cut(&self) {
        self.line.change(|state| state.is_cut = true);
    }

    /// From now on everything passes, what waited first.
    pub(crate) fn heal(&self) {
        self.line.change(|state| state.is_cut = false);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.line.change(|state| state.is_gone = true);
        // Wakes the thread that waits for connections; if that fails, it has ended already.
        let _ = TcpStream::connect(self.address);
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits while this way is closed; `false`: the tap is no more.
    fn is_open(&self, way: Way, connection: u64) -> bool {
        let mut state = self.state();
        let is_closed =
            |state: &State| state.is_cut || (way == Way::Back && state.held == Some(connection));
        while !state.is_gone && is_closed(&state) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_gone
    }

    /// Takes note of a message before it is delivered, so that its answer cannot come before.
    fn note(&self, message: Bytes, connection: u64) {
        self.change(|state| {
            if state.trap.as_ref().is_some_and(|is_wanted| is_wanted(&message)) {
                (state.trap, state.held) = (None, Some(connection));
            }
            state.sent.push(message);
        });
    }

    /// Carries one connection until both directions have ended.
    fn join(self: &Arc<Self>, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.target) else { return };
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        let number = {
            let mut state = self.state();
            state.connections += 1;
            state.connections
        };
        let line = self.clone();
        spawn(move || line.carry(&server_too, &client_too, Way::Back, number));
        self.carry(client, &server, Way::There, number);
    }

    fn carry(&self, mut from: &TcpStream, to: &TcpStream, way: Way, connection: u64) {
        let mut reader = Reader::new(way);
        let mut chunk = [0; 16 * 1024];
        loop {
            let size = match from.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(size) => size,
            };
            reader.buffer.extend_from_slice(&chunk[..size]);
            if !self.pass_on(&mut reader, to, way, connection) {
                break;
            }
        }
        // The end of a connection is news as well. Both fail only if it has ended already.
        self.is_open(way, connection);
        let _ = from.shutdown(std::net::Shutdown::Read);
        let _ = to.shutdown(std::net::Shutdown::Write);
    }

    /// Passes on all whole frames.
    fn pass_on(&self, reader: &mut Reader, mut to: &TcpStream, way: Way, connection: u64) -> bool {
        while let Some(frame) = reader.next() {
            if way == Way::There {
                for message in reader.messages_of(&frame) {
                    self.note(message, connection);
                }
            }
            // An end that gets no answer to its pings would end the connection.
            let is_ping = frame.bytes.get(3) == Some(&PING) && !self.state().is_cut;
            if !(is_ping || self.is_open(way, connection)) || to.write_all(&frame.bytes).is_err() {
                return false;
            }
        }
        true
    }
}

/// Bytes that are passed on together.
struct Frame {
    bytes: Bytes,
    is_preface: bool,
}

/// Finds frames and messages in the bytes of one direction.
struct Reader {
    buffer: BytesMut,
    is_begun: bool,
    /// Parts of messages, by stream.
    parts: BTreeMap<u32, BytesMut>,
}

impl Reader {
    fn new(way: Way) -> Self {
        let is_begun = way == Way::Back;
        Self { buffer: BytesMut::new(), is_begun, parts: BTreeMap::new() }
    }

    fn next(&mut self) -> Option<Frame> {
        let size = match self.buffer.get(..3) {
            _ if !self.is_begun => PREFACE,
            Some(&[a, b, c]) => FRAME_HEAD + u32::from_be_bytes([0, a, b, c]) as usize,
            _ => return None,
        };
        if self.buffer.len() < size {
            return None;
        }
        let is_preface = !std::mem::replace(&mut self.is_begun, true);
        Some(Frame { bytes: self.buffer.split_to(size).freeze(), is_preface })
    }

    fn messages_of(&mut self, frame: &Frame) -> Vec<Bytes> {
        let mut messages = Vec::new();
        let (Some(&[.., kind, _flags, a, b, c, d]), false) =
            (frame.bytes.first_chunk::<FRAME_HEAD>(), frame.is_preface)
        else {
            return messages;
        };
        if kind != DATA {
            return messages;
        }
        let part = self.parts.entry(u32::from_be_bytes([a, b, c, d])).or_default();
        part.extend_from_slice(&frame.bytes[FRAME_HEAD..]);
        while let Some(&[_, a, b, c, d]) = part.first_chunk::<MESSAGE_HEAD>() {
            let size = u32::from_be_bytes([a, b, c, d]) as usize;
            if part.len() < MESSAGE_HEAD + size {
                break;
            }
            part.advance(MESSAGE_HEAD);
            messages.push(part.split_to(size).freeze());
        }
        messages
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's network runs beside the test")]
fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}
