//! Ed25519 keys and their files: PKCS#8 and SubjectPublicKeyInfo in PEM, as `openssl genpkey -algorithm ed25519` writes them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bowline_base::Seams;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

/// What stands before the 32 bytes of an Ed25519 private key in PKCS#8 (RFC 8410, version 1).
const PRIVATE_PREFIX: [u8; 16] =
    *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// What stands before the 32 bytes of an Ed25519 public key in a SubjectPublicKeyInfo (RFC 8410).
const PUBLIC_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// A text that is no key of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("expected an Ed25519 private key, unencrypted PKCS#8 in PEM")]
    Private,
    #[error("expected an Ed25519 public key in PEM")]
    Public,
}

/// What a deployment signs with. The secret shows nowhere.
pub struct KeyPair {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl KeyPair {
    /// A new key pair and the text of its private file, which is the only place where the secret can be read.
    pub fn generate(seams: &Seams) -> (Self, String) {
        let mut seed = [0; 32];
        seams.random.fill(&mut seed);
        let text = pem("PRIVATE KEY", &[&PRIVATE_PREFIX[..], &seed].concat());
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .expect("every 32 bytes are the seed of an Ed25519 key");
        (Self::of(pair), text)
    }

    /// Reads a private file.
    ///
    /// # Errors
    /// [`KeyError::Private`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
        let der = der.map_err(|_| KeyError::Private)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        Ok(Self::of(pair.map_err(|_| KeyError::Private)?))
    }

    fn of(pair: Ed25519KeyPair) -> Self {
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { pair, public: PublicKey(public) }
    }

    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// What others verify a deployment's signatures with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a public file.
    ///
    /// # Errors
    /// [`KeyError::Public`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes());
        let der = der.map_err(|_| KeyError::Public)?;
        let key = der.as_ref().strip_prefix(&PUBLIC_PREFIX[..]).ok_or(KeyError::Public)?;
        key.try_into().map(Self).map_err(|_| KeyError::Public)
    }

    /// The text of the public file.
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[&PUBLIC_PREFIX[..], &self.0].concat())
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// PEM of at most 48 bytes, which is one line.
fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 8410, section 10.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn standard_key_files_are_read_and_written() {
        let pair = KeyPair::from_pem(PRIVATE).unwrap();
        assert_eq!(pair.public(), PublicKey::from_pem(PUBLIC).unwrap());
        assert_eq!(pair.public().to_pem(), PUBLIC);
    }

    #[test]
    fn a_generated_key_is_the_one_in_its_file() {
        let (pair, text) = KeyPair::generate(&Seams::real());
        let read = KeyPair::from_pem(&text).unwrap();
        assert_eq!(pair.public(), read.public());
        assert!(pair.public().verifies(b"message", &read.sign(b"message")));
        assert!(!pair.public().verifies(b"messagE", &read.sign(b"message")));
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_panics() {
        let (pair, private) = KeyPair::generate(&Seams::real());
        for text in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", &private] {
            assert_eq!(PublicKey::from_pem(text), Err(KeyError::Public));
        }
        for text in ["", "\0", &pair.public().to_pem()] {
            assert_eq!(KeyPair::from_pem(text).unwrap_err(), KeyError::Private);
        }
    }

    #[test]
    fn the_secret_does_not_show() {
        let (pair, text) = KeyPair::generate(&Seams::real());
        let secret = text.lines().nth(1).unwrap();
        let secret = STANDARD.decode(secret).unwrap().split_off(16);
        let shown = format!("{pair:?}");
        assert!(!shown.contains(&format!("{secret:?}")), "{shown}");
        assert!(shown.starts_with("KeyPair { public: PublicKey(["), "{shown}");
    }
}
