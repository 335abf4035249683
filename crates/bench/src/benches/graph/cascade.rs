//! A target goes with all that refer to it: until its name is free again.
//!
//! Beside it: what a database does by itself with the same number of rows and a foreign key that cascades (`raw`).

use std::time::{Duration, Instant};

use super::raw;
use super::schema::{
    CREATE_DEVICE, CREATE_PROJECT, CREATE_SITE, DELETE_PROJECT, DELETE_SITE, Device, create,
    delete, has_devices, project, send_all, serve, site,
};
use crate::client::Client;
use crate::error::Error;
use crate::process::Server;
use crate::report::Figure;
use crate::stage::Stage;
use crate::stores::postgres::Postgres;

/// Referrers, and the goal in seconds.
const SIZES: [(u64, f64); 2] = [(10_000, 0.5), (100_000, 5.0)];
const CONNECTIONS: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the target is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Local,
    Foreign,
}

/// How one cascade went.
struct Went {
    took: Duration,
    mib_before: f64,
    mib_highest: f64,
}

pub(super) async fn run(stage: &Stage) -> Result<Vec<Figure>, Error> {
    let mut figures = Vec::new();
    let server = serve(stage, "cascade", None).await?;
    for (referrers, goal) in SIZES {
        let limit = raw::sqlite(&stage.path("cascade.sqlite"), referrers)?;
        for target in [Target::Local, Target::Foreign] {
            let went = cascade(&server, target, referrers).await?;
            figures.extend(of("SQLite", target, referrers, &went, limit, Some(goal)));
        }
    }
    server.stop().await?;
    stage.remove("cascade")?;
    figures.extend(on_postgres(stage).await?);
    Ok(figures)
}

async fn on_postgres(stage: &Stage) -> Result<Vec<Figure>, Error> {
    let database = Postgres::start()?;
    let mut figures = Vec::new();
    let server = serve(stage, "", Some(database.url())).await?;
    for (referrers, _) in SIZES {
        let limit = raw::postgres(&database, referrers).await?;
        let went = cascade(&server, Target::Local, referrers).await?;
        figures.extend(of("PostgreSQL", Target::Local, referrers, &went, limit, None));
    }
    server.stop().await?;
    Ok(figures)
}

/// Makes a target with its referrers, deletes it, and waits until its name can be taken again.
async fn cascade(server: &Server, target: Target, referrers: u64) -> Result<Went, Error> {
    let client = Client::connect(server.url(), CONNECTIONS).await?;
    let (create_path, delete_path, name) = match target {
        Target::Local => (CREATE_SITE, DELETE_SITE, site(referrers)),
        Target::Foreign => (CREATE_PROJECT, DELETE_PROJECT, project(referrers)),
    };
    send_all(&client, create_path, std::iter::once(create(name.clone()))).await?;
    let device = |n| match target {
        Target::Local => Device { group: name.clone(), ..Device::number(n) },
        Target::Foreign => Device { tenant: name.clone(), ..Device::number(n) },
    };
    send_all(&client, CREATE_DEVICE, (0..referrers).map(|n| device(n).request())).await?;
    let mib_before = mib(server)?;
    let start = Instant::now();
    send_all(&client, delete_path, std::iter::once(delete(name.clone()))).await?;
    let mut mib_highest = mib_before;
    // The name is free once nothing refers to it any more.
    while let Err(status) = client.unary(0, create_path, create(name.clone())).await {
        if start.elapsed() > PATIENCE {
            return Err(Error::call(create_path)(status));
        }
        mib_highest = mib(server)?.max(mib_highest);
        tokio::time::sleep(PAUSE).await;
    }
    let took = start.elapsed();
    if has_devices(&client).await? {
        return Err(Error::Wrong(
            "the target is gone, and devices that refer to it are not".into(),
        ));
    }
    send_all(&client, delete_path, std::iter::once(delete(name))).await?;
    Ok(Went { took, mib_before, mib_highest })
}

fn mib(server: &Server) -> Result<f64, Error> {
    Ok(server.resident()? as f64 / f64::from(1 << 20))
}

fn of(
    store: &str,
    target: Target,
    referrers: u64,
    went: &Went,
    limit: Duration,
    goal: Option<f64>,
) -> Vec<Figure> {
    let place = if target == Target::Local { "local" } else { "foreign" };
    let what = format!("cascade of {referrers}, {place}, {store}");
    let figure = Figure::lower(what.clone(), went.took.as_secs_f64() * 1e3, "ms")
        .limit(limit.as_secs_f64() * 1e3)
        .note(format!("limit: ON DELETE CASCADE in {store}"));
    let figure = match goal {
        Some(seconds) => figure.goal(seconds * 1e3),
        None => figure,
    };
    let memory = Figure::lower(what + ", memory", went.mib_highest - went.mib_before, "MiB more")
        .note(format!("{:.0} MiB before", went.mib_before));
    vec![figure, memory]
}
