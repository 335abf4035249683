//! Blocks: how the bytes of a backup are framed, so that any damage is found and can be told where it is.
//!
//! A file is the magic, the format number, then blocks. A block is a header of 20 bytes (all numbers little-endian) and a
//! payload:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | kind |
//! | 1 | encoding: 0 as it is, 1 deflate |
//! | 2 | zero |
//! | 4 | length of the payload as stored |
//! | 4 | length of the payload as it is |
//! | 8 | XXH3-64 of the number of the block (8 bytes), the 12 bytes above and the payload as stored |
//!
//! The number of the block is part of its checksum, so that a block that is missing, doubled or moved is noticed.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use xxhash_rust::xxh3::Xxh3;

use super::error::BackupError;
use crate::contract::{EXTRACT_BYTES_MAX, NAME_BYTES_MAX, ROW_BYTES_MAX};

const MAGIC: [u8; 8] = *b"BOWLBACK";

/// Raised by every change that an older program cannot read.
pub const FORMAT: u32 = 1;

/// Longest payload of a block of rows: one row of the largest size.
pub(super) const ROWS_BYTES_MAX: usize = ROW_BYTES_MAX + EXTRACT_BYTES_MAX + NAME_BYTES_MAX + 64;

/// Longest payload of every other block.
pub(super) const FACTS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Payloads below this are not worth compressing.
const COMPRESSED_FROM: usize = 256;

const HEAD_BYTES: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Header = 1,
    /// Service, region and position; its tables follow.
    Deployment = 2,
    /// Namespace and kind; its rows follow.
    Table = 3,
    Rows = 4,
    /// What the deployment came to.
    DeploymentEnd = 5,
    /// What everything came to, and the checksum of all bytes before this block. The last one.
    End = 6,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Header, Self::Deployment, Self::Table, Self::Rows, Self::DeploymentEnd, Self::End];

    fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    fn bytes_max(self) -> usize {
        if self == Self::Rows { ROWS_BYTES_MAX } else { FACTS_BYTES_MAX }
    }
}

const PLAIN: u8 = 0;
const DEFLATE: u8 = 1;

/// The first 12 bytes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: u8,
    encoding: u8,
    stored: u32,
    plain: u32,
}

impl Head {
    fn bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[0] = self.kind;
        bytes[1] = self.encoding;
        bytes[4..8].copy_from_slice(&self.stored.to_le_bytes());
        bytes[8..].copy_from_slice(&self.plain.to_le_bytes());
        bytes
    }

    fn checksum(self, block: u64, payload: &[u8]) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(&block.to_le_bytes());
        hash.update(&self.bytes());
        hash.update(payload);
        hash.digest()
    }
}

/// Writes blocks, and knows what was written.
pub(super) struct BlockWriter<W> {
    out: W,
    blocks: u64,
    all: Xxh3,
    packed: Vec<u8>,
}

impl<W: Write> BlockWriter<W> {
    pub(super) fn start(out: W) -> Result<Self, BackupError> {
        let mut writer = Self { out, blocks: 0, all: Xxh3::new(), packed: Vec::new() };
        writer.write(&MAGIC)?;
        writer.write(&FORMAT.to_le_bytes())?;
        Ok(writer)
    }

    /// Writes a block, compressed if that makes it smaller.
    pub(super) fn block(&mut self, kind: Kind, payload: &[u8]) -> Result<(), BackupError> {
        if payload.len() > kind.bytes_max() {
            return Err(BackupError::Unfit("a block would be too long"));
        }
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        // What people may want to see with ordinary tools stays readable.
        let is_packed = kind == Kind::Rows
            && payload.len() >= COMPRESSED_FROM
            && pack(payload, &mut packed).map_err(BackupError::Write)? < payload.len();
        let stored: &[u8] = if is_packed { &packed } else { payload };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("it is below the maximum");
        let head = Head {
            kind: kind as u8,
            encoding: if is_packed { DEFLATE } else { PLAIN },
            stored: length(stored),
            plain: length(payload),
        };
        self.write(&head.bytes())?;
        self.write(&head.checksum(self.blocks, stored).to_le_bytes())?;
        self.write(stored)?;
        self.packed = packed;
        self.blocks += 1;
        Ok(())
    }

    /// The checksum of everything so far.
    pub(super) fn checksum(&self) -> u128 {
        self.all.digest128()
    }

    pub(super) fn finish(mut self) -> Result<W, BackupError> {
        self.out.flush().map_err(BackupError::Write)?;
        Ok(self.out)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.all.update(bytes);
        self.out.write_all(bytes).map_err(BackupError::Write)
    }
}

/// Fast rather than small: a backup should not keep the processor from serving.
fn pack(payload: &[u8], packed: &mut Vec<u8>) -> io::Result<usize> {
    DeflateEncoder::new(payload, Compression::fast()).read_to_end(packed)
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) payload: Bytes,
    /// The checksum of everything before the block.
    pub(super) before: u128,
}

/// Reads blocks and judges their frames. What is in them is judged by whoever asks.
pub(super) struct BlockReader<R> {
    input: R,
    /// Bytes read so far.
    offset: u64,
    /// The number of the present block, and where it begins.
    block: u64,
    begins: u64,
    all: Xxh3,
}

impl<R: Read> BlockReader<R> {
    pub(super) fn start(input: R) -> Result<Self, BackupError> {
        let mut reader = Self { input, offset: 0, block: 0, begins: 0, all: Xxh3::new() };
        let mut start = [0; 12];
        match reader.fill(&mut start) {
            Err(BackupError::Truncated { .. }) => return Err(BackupError::NotABackup),
            filled => filled?,
        }
        if start[..8] != MAGIC {
            return Err(BackupError::NotABackup);
        }
        let found = number(&start[8..]);
        if found != FORMAT {
            return Err(BackupError::NewerFormat { found, known: FORMAT });
        }
        Ok(reader)
    }

    /// The next block; at the end of the file an error, since the file says itself which block is the last.
    pub(super) fn next_block(&mut self) -> Result<Block, BackupError> {
        self.begins = self.offset;
        let before = self.all.digest128();
        let mut bytes = [0; HEAD_BYTES];
        self.fill(&mut bytes)?;
        let (kind, head) = self.head(&bytes)?;
        let stored = self.payload(head.stored)?;
        let checksum = u64::from_le_bytes(bytes[12..].try_into().expect("they are eight bytes"));
        if head.checksum(self.block, &stored) != checksum {
            return Err(self.damaged("its checksum is wrong"));
        }
        let payload = match head.encoding {
            PLAIN => stored,
            _ => self.unpack(&stored, head.plain)?,
        };
        self.block += 1;
        Ok(Block { kind, payload: payload.into(), before })
    }

    /// Makes sure that nothing comes after the last block.
    pub(super) fn finish(mut self) -> Result<u64, BackupError> {
        self.begins = self.offset;
        match self.fill(&mut [0]) {
            Err(BackupError::Truncated { .. }) => Ok(self.offset),
            Err(error) => Err(error),
            Ok(()) => Err(self.damaged("there is something after the end")),
        }
    }

    /// An error about the block that was read last.
    pub(super) fn wrong(&self, problem: &'static str) -> BackupError {
        BackupError::Damaged { block: self.block.saturating_sub(1), offset: self.begins, problem }
    }

    /// An error about the block that is being read.
    fn damaged(&self, problem: &'static str) -> BackupError {
        BackupError::Damaged { block: self.block, offset: self.begins, problem }
    }

    fn head(&self, bytes: &[u8; HEAD_BYTES]) -> Result<(Kind, Head), BackupError> {
        let head = Head {
            kind: bytes[0],
            encoding: bytes[1],
            stored: number(&bytes[4..]),
            plain: number(&bytes[8..]),
        };
        let kind = Kind::of_byte(head.kind).ok_or_else(|| self.damaged("its kind is unknown"))?;
        let is_sound = match head.encoding {
            PLAIN => head.stored == head.plain,
            DEFLATE => head.stored < head.plain,
            _ => false,
        };
        if !is_sound || bytes[2..4] != [0, 0] || head.plain as usize > kind.bytes_max() {
            return Err(self.damaged("its header makes no sense"));
        }
        Ok((kind, head))
    }

    /// Takes memory as bytes come, so that a wrong length costs nothing.
    fn payload(&mut self, length: u32) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(length.into()).read_to_end(&mut bytes);
        read.map_err(BackupError::Read)?;
        self.offset += bytes.len() as u64;
        if bytes.len() < length as usize {
            return Err(self.truncated());
        }
        self.all.update(&bytes);
        Ok(bytes)
    }

    fn unpack(&self, stored: &[u8], length: u32) -> Result<Vec<u8>, BackupError> {
        let mut plain = Vec::new();
        let mut decoder = DeflateDecoder::new(stored).take(u64::from(length) + 1);
        let unpacked = decoder.read_to_end(&mut plain);
        if unpacked.is_err() || plain.len() != length as usize {
            return Err(self.damaged("it cannot be decompressed"));
        }
        Ok(plain)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) => return Err(self.truncated()),
                Ok(more) => {
                    filled += more;
                    self.offset += more as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BackupError::Read(error)),
            }
        }
        self.all.update(bytes);
        Ok(())
    }

    fn truncated(&self) -> BackupError {
        BackupError::Truncated { block: self.block, offset: self.offset }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
