//! Certificates of one server's own: an authority that nobody else trusts, and a certificate from it for the loopback
//! address. Made with the openssl program, which Debian's PostgreSQL brings along.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::binaries::{Account, output};
use super::error::PostgresError;
use super::scratch::give_to;

/// What clients have to trust, in the scratch directory.
pub(super) const ROOT: &str = "root.crt";
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";

/// What the certificate says beyond its name.
const NAMES: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";

const STEPS: [&str; 3] = [
    "req -x509 -days 3650 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.crt -subj /CN=test",
    "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
    "x509 -req -days 3650 -extfile names -in server.csr -CA root.crt -CAkey root.key -CAcreateserial -out server.crt",
];

/// Makes authority, key and certificate in `folder`.
pub(super) fn make(folder: &Path, account: Account) -> Result<(), PostgresError> {
    let names = folder.join("names");
    let written = std::fs::write(&names, NAMES);
    written.map_err(|source| PostgresError::File { path: names, source })?;
    for step in STEPS {
        let mut openssl = Command::new("openssl");
        openssl.args(step.split(' ')).current_dir(folder);
        output(openssl)?;
    }
    hand_over(folder, account)
}

/// Copies what [`make`] made: a replica answers to the same certificate.
pub(super) fn copy(from: &Path, to: &Path, account: Account) -> Result<(), PostgresError> {
    for name in [ROOT, CERTIFICATE, KEY] {
        let path = to.join(name);
        let copied = std::fs::copy(from.join(name), &path);
        copied.map_err(|source| PostgresError::File { path, source })?;
    }
    hand_over(to, account)
}

/// What the server needs to know.
pub(super) fn settings(folder: &Path) -> [String; 3] {
    let path = |name| folder.join(name).display().to_string();
    [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", path(CERTIFICATE)),
        format!("ssl_key_file={}", path(KEY)),
    ]
}

/// PostgreSQL takes only a key that nobody else can read.
fn hand_over(folder: &Path, account: Account) -> Result<(), PostgresError> {
    let key = folder.join(KEY);
    let closed = std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600));
    closed.map_err(|source| PostgresError::File { path: key.clone(), source })?;
    give_to(&key, account)?;
    give_to(&folder.join(CERTIFICATE), account)
}
