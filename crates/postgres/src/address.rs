//! The URL of a database, taken apart: what the driver understands, and what of TLS it leaves to us.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use crate::failure::OpenError;
use crate::options::PostgresOptions;

/// How sure we must be of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Encrypted at most; nobody is asked for papers.
    Anyone,
    /// Its certificate was signed by one of ours.
    Authority,
    /// And was made out to the host that we asked for.
    Host,
}

/// Where the server is and how to talk to it. The driver's `Config` does not show the password in `Debug`.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) config: Config,
    pub(crate) trust: Trust,
    pub(crate) root_certificates: Option<PathBuf>,
}

const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged before the connection counts as broken.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);

impl Address {
    pub(crate) fn parse(options: &PostgresOptions) -> Result<Self, OpenError> {
        let parts = Parts::split(options.url.reveal())?;
        // The driver's error may quote a part of the URL, and that part may be of the password.
        let mut config: Config =
            parts.plain.parse().map_err(|_| OpenError::Url { hint: "is not well-formed" })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(OpenError::Url { hint: "names no host" });
        }
        let (ssl, trust) = parts.security()?;
        config.ssl_mode(ssl).target_session_attrs(TargetSessionAttrs::ReadWrite);
        let given = |key: &str| parts.keys.contains(key);
        if !given("application_name") {
            config.application_name("bowline");
        }
        if !given("connect_timeout") {
            config.connect_timeout(options.connect_timeout);
        }
        if !given("keepalives_idle") {
            config.keepalives_idle(KEEPALIVE_IDLE);
            config.keepalives_interval(KEEPALIVE_INTERVAL);
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        if !given("tcp_user_timeout") {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        Ok(Self { config, trust, root_certificates: parts.root_certificates })
    }
}

/// A URL without the options that the driver does not know.
struct Parts {
    plain: String,
    keys: BTreeSet<String>,
    mode: Option<String>,
    root_certificates: Option<PathBuf>,
}

impl Parts {
    fn split(url: &str) -> Result<Self, OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(OpenError::Url { hint: "does not start with postgres://" });
        }
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut parts = Self {
            plain: place.to_owned(),
            keys: BTreeSet::new(),
            mode: None,
            root_certificates: None,
        };
        let mut separator = '?';
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "sslmode" => parts.mode = Some(value.to_owned()),
                "sslrootcert" => {
                    let path = percent_decode_str(value).decode_utf8();
                    let path =
                        path.map_err(|_| OpenError::Url { hint: "has a bad sslrootcert" })?;
                    parts.root_certificates = Some(PathBuf::from(path.as_ref()));
                }
                _ => {
                    parts.plain.push(separator);
                    parts.plain.push_str(pair);
                    parts.keys.insert(key.to_owned());
                    separator = '&';
                }
            }
        }
        Ok(parts)
    }

    /// As libpq has it: `require` with a root certificate checks the certificate too.
    fn security(&self) -> Result<(SslMode, Trust), OpenError> {
        let has_roots = self.root_certificates.is_some();
        let security = match self.mode.as_deref() {
            Some("disable") => (SslMode::Disable, Trust::Anyone),
            None | Some("prefer") if !has_roots => (SslMode::Prefer, Trust::Anyone),
            Some("require") if !has_roots => (SslMode::Require, Trust::Anyone),
            None => (SslMode::Require, Trust::Host),
            Some("prefer") => (SslMode::Prefer, Trust::Authority),
            Some("require" | "verify-ca") => (SslMode::Require, Trust::Authority),
            Some("verify-full") => (SslMode::Require, Trust::Host),
            Some(_) => return Err(OpenError::Url { hint: "has an sslmode that nobody knows" }),
        };
        match security {
            (_, Trust::Authority | Trust::Host) if !has_roots => {
                Err(OpenError::Url { hint: "wants the server verified and has no sslrootcert" })
            }
            security => Ok(security),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::DatabaseUrl;

    fn parse(url: &str) -> Result<Address, OpenError> {
        Address::parse(&PostgresOptions::new(DatabaseUrl::new(url)))
    }

    #[test]
    fn what_the_driver_does_not_know_is_taken_out_and_kept() {
        let address = parse(
            "postgres://u:p@a:1,b:2/d?sslmode=verify-full&sslrootcert=%2Fx%2Fy.pem&options=-c%20x=y",
        );
        let address = address.unwrap();
        assert_eq!(address.trust, Trust::Host);
        assert_eq!(address.root_certificates, Some("/x/y.pem".into()));
        assert_eq!(address.config.get_hosts().len(), 2);
        assert_eq!(address.config.get_options(), Some("-c x=y"));
    }

    #[test]
    fn a_connection_that_must_be_verified_needs_a_root_certificate() {
        for mode in ["verify-ca", "verify-full"] {
            let error = parse(&format!("postgres://u@h/d?sslmode={mode}")).unwrap_err();
            assert!(error.to_string().contains("sslrootcert"), "{error}");
        }
        assert!(parse("postgres://u@h/d?sslmode=sometimes").is_err());
    }

    #[test]
    fn a_root_certificate_makes_sure_of_the_server() {
        let trust = |query: &str| parse(&format!("postgres://u@h/d?{query}")).unwrap().trust;
        assert_eq!(trust("sslrootcert=/r"), Trust::Host);
        assert_eq!(trust("sslmode=require&sslrootcert=/r"), Trust::Authority);
        assert_eq!(trust("sslmode=require"), Trust::Anyone);
    }

    #[test]
    fn no_password_shows_in_errors_or_debug() {
        const URLS: [&str; 7] = [
            "postgres://u:s3cret@h:x/d",
            "postgres://u:s3cret?s3cret@h/d",
            "u:s3cret@h/d",
            "host=h password=s3cret",
            "postgres://u:s3cret@h/d?s3cret=1",
            "postgres://u:s3cret@h/d",
            "postgres://u@h/d?password=s3cret",
        ];
        for url in URLS {
            let options = PostgresOptions::new(DatabaseUrl::new(url));
            let shown = match Address::parse(&options) {
                Ok(address) => format!("{address:?}"),
                Err(error) => format!("{error:?} {}", bowline_base::chain(&error)),
            };
            assert!(!format!("{shown} {options:?}").contains("s3cret"), "{shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_url_makes_it_panic(rest in ".{0,60}") {
            drop(parse(&format!("postgres://{rest}")));
            drop(parse(&rest));
        }
    }
}
