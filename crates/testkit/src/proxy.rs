//! A network that can be cut: a proxy on loopback that, while cut, takes bytes and connections and passes nothing on.
//!
//! That is how a partition looks from both ends: no refusal, only silence. Nothing is lost, for TCP would send it again.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that one direction of a connection takes at once.
const CHUNK: usize = 16 * 1024;

/// Passes connections on to one address. Dropped, it takes no more of them; those it has end with their ends.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    link: Arc<Link>,
}

#[derive(Debug)]
struct Link {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Cut,
    Gone,
}

impl Proxy {
    /// Listens on a port of its own, which the system picks.
    ///
    /// # Errors
    /// What the operating system says when it cannot listen.
    pub fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let link =
            Arc::new(Link { target, state: Mutex::new(State::Whole), changed: Condvar::new() });
        let own = link.clone();
        spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if *own.state() == State::Gone {
                    return;
                }
                let link = own.clone();
                spawn(move || link.join(&connection));
            }
        });
        Ok(Self { address, link })
    }

    /// Where others connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes, in either direction.
    pub fn cut(&self) {
        self.link.set(State::Cut);
    }

    /// From now on everything passes, what waited first.
    pub fn heal(&self) {
        self.link.set(State::Whole);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.set(State::Gone);
        // Wakes the thread that waits for connections; if that fails, it has ended already.
        let _ = TcpStream::connect(self.address);
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state() = state;
        self.changed.notify_all();
    }

    /// Waits while the link is cut; `false`: the proxy is no more.
    fn is_whole(&self) -> bool {
        let mut state = self.state();
        while *state == State::Cut {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *state == State::Whole
    }

    /// Carries the bytes of one connection until both directions have ended.
    fn join(self: &Arc<Self>, client: &TcpStream) {
        if !self.is_whole() {
            return;
        }
        let Ok(server) = TcpStream::connect(self.target) else { return };
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        let link = self.clone();
        spawn(move || link.carry(&server_too, &client_too));
        self.carry(client, &server);
    }

    fn carry(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut chunk = [0; CHUNK];
        loop {
            let size = match from.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(size) => size,
            };
            if !self.is_whole() || to.write_all(&chunk[..size]).is_err() {
                break;
            }
        }
        // The end of a connection is news as well, and does not pass while the link is cut.
        self.is_whole();
        // Both fail only if the connection has ended already.
        let _ = from.shutdown(Shutdown::Read);
        let _ = to.shutdown(Shutdown::Write);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's network runs beside the test")]
fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A server that sends everything back.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let _ = std::io::copy(&mut &connection, &mut &connection);
            }
        });
        address
    }

    #[test]
    fn a_cut_link_is_silent_and_loses_nothing() {
        let proxy = Proxy::start(echo()).expect("a proxy");
        let mut client = TcpStream::connect(proxy.address()).expect("a connection");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut got = [0; 3];
        client.write_all(b"one").expect("it takes bytes");
        client.read_exact(&mut got).expect("the echo");
        assert_eq!(&got, b"one");

        proxy.cut();
        client.write_all(b"two").expect("it takes bytes");
        client.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        assert!(client.read_exact(&mut got).is_err(), "nothing comes back");

        proxy.heal();
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        client.read_exact(&mut got).expect("the echo");
        assert_eq!(&got, b"two");
    }
}
