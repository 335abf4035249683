//! Encrypted connections, how sure they are of the server, and passwords that nobody gets to see.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and runs in real time"
)]

mod ways;

use bowline_postgres::{DatabaseUrl, OpenError, PostgresOptions};
use bowline_store::Backend;
use bowline_testkit::postgres::{Options, Server, require};

use self::ways::{batch, key, open, options, put, refused};

fn with(server: &Server, query: &str) -> PostgresOptions {
    let mut options = options(&format!("{}?{query}", server.url("postgres")), "tls");
    // A refusal that looks like a broken connection is not tried for half a minute.
    options.answer_deadline = std::time::Duration::from_millis(500);
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_trusted_as_far_as_the_url_says() {
    let Some(server) = require(Options::tls()) else { return };
    let root = server.root_certificate().unwrap();
    let root = root.display();
    for query in [
        "sslmode=require".to_owned(),
        format!("sslmode=verify-ca&sslrootcert={root}"),
        format!("sslmode=verify-full&sslrootcert={root}"),
        String::new(),
    ] {
        let store = open(with(&server, &query)).await;
        store.commit(batch(vec![put("a", 1)])).await.unwrap();
        assert!(store.get(&key("a")).await.unwrap().0.is_some(), "{query}");
        store.close().await.unwrap();
    }
    let (_, shown) = refused(with(&server, "sslmode=disable")).await;
    assert!(shown.contains("no encryption"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_the_server_counts_only_where_it_is_to_be_verified() {
    let Some(server) = require(Options::tls()) else { return };
    let root = server.root_certificate().unwrap();
    let elsewhere = |mode: &str| {
        let mut options = with(
            &server,
            &format!("hostaddr=127.0.0.1&sslmode={mode}&sslrootcert={}", root.display()),
        );
        let url = server.url("postgres").replace("@127.0.0.1:", "@elsewhere.example:");
        let query = format!("hostaddr=127.0.0.1&sslmode={mode}&sslrootcert={}", root.display());
        options.url = DatabaseUrl::new(format!("{url}?{query}"));
        options
    };
    open(elsewhere("verify-ca")).await.close().await.unwrap();
    let (_, shown) = refused(elsewhere("verify-full")).await;
    assert!(shown.contains("not valid for name"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_somebody_else_signed_is_refused() {
    let (Some(server), Some(other)) = (require(Options::tls()), require(Options::tls())) else {
        return;
    };
    let root = other.root_certificate().unwrap();
    for mode in ["verify-ca", "verify-full"] {
        let query = format!("sslmode={mode}&sslrootcert={}", root.display());
        let (_, shown) = refused(with(&server, &query)).await;
        assert!(shown.contains("certificate"), "{shown}");
        assert!(!shown.contains(server.password()), "{shown}");
    }
    let (error, _) = refused(with(&server, "sslmode=verify-ca&sslrootcert=/nowhere.pem")).await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_in_no_error_and_in_no_debug_text() {
    let Some(server) = require(Options::default()) else { return };
    let url = server.url("postgres");
    let password = server.password();
    let soon = |url: &str| {
        let mut options = options(url, "quiet");
        options.answer_deadline = std::time::Duration::from_millis(300);
        options
    };
    let wrong = url.replace(":postgres@", ":WR0NG@").replace(password, "WR0NG");
    for url in [
        url.replace("/postgres", "/nowhere"),
        url.replace("127.0.0.1", "127.0.0.1:bad"),
        url.replace("127.0.0.1", "nowhere.invalid"),
        url.replace("postgres://postgres:", "postgres://nobody:"),
        url.replace(&server.port().to_string(), "1"),
        wrong,
    ] {
        if let Ok(store) =
            bowline_postgres::Postgres::open(soon(&url), bowline_base::Seams::real()).await
        {
            // Some servers trust whoever comes from this machine.
            store.close().await.unwrap();
            continue;
        }
        let (_, shown) = refused(soon(&url)).await;
        assert!(!shown.contains(password) && !shown.contains("WR0NG"), "{shown}");
    }
    let options = soon(&url);
    let shown = format!("{options:?} {:?}", open(options.clone()).await);
    assert!(!shown.contains(password), "{shown}");
}
