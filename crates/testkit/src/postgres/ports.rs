//! A port for a server, kept for it while it is down, so that a restarted server is found where it was.
//!
//! Ports that the system hands out by itself are avoided: a client that tries to reconnect to such a port while nobody
//! listens can end up connected to itself, and the port is taken.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use bowline_base::Seams;

use super::error::PostgresError;
use super::template::cache;

/// Below what Linux hands out by itself (from 32,768), above well-known services.
const RANGE: Range<u16> = 20_000..32_000;

const TRIES: usize = 200;

/// A port that no other test of this target directory takes while this is kept.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free one.
    ///
    /// # Errors
    /// None is free, or the folder of locks cannot be written.
    pub fn reserve() -> Result<Self, PostgresError> {
        let folder = cache()?.join("ports");
        let failed = |source| PostgresError::File { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        for _ in 0..TRIES {
            let number = any_in_range();
            let lock = File::create(folder.join(number.to_string())).map_err(failed)?;
            let is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
            if lock.try_lock().is_ok() && is_free() {
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(PostgresError::NoPort { range: RANGE })
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}

fn any_in_range() -> u16 {
    let mut bytes = [0; 2];
    Seams::real().random.fill(&mut bytes);
    RANGE.start + u16::from_le_bytes(bytes) % (RANGE.end - RANGE.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_reserved_again() {
        let port = Port::reserve().expect("a port");
        let lock =
            File::create(cache().expect("a folder").join("ports").join(port.number().to_string()));
        assert!(lock.expect("a file").try_lock().is_err());
    }
}
