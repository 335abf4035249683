//! Who a deployment is to others: a key pair of its own, and short-lived signed tokens made with it.
//!
//! A token is a JWT (`EdDSA`, `kid` = the deployment): who calls whom, from when until when, and the caller's generation.
//! `key` is what signs and verifies, `folder` keeps keys in files, `token` is the pure part, [`Signers`] makes tokens for
//! calls that leave, [`Verifier`] judges those of calls that arrive. Not here: users, and what a caller may do.

mod folder;
mod key;
mod signer;
mod source;
mod token;
mod verifier;

pub use folder::{FolderError, KeyFolder, read_private_key};
pub use key::{KeyError, KeyPair, PublicKey};
pub use signer::Signers;
pub use source::{KeySource, Keyring};
pub use token::{LEEWAY, LIFE, TOKEN_BYTES_MAX};
pub use verifier::{Admits, Verifier};
