//! A whole run: packages side by side, each on a thread of its own, so that a panic or a hang ends only that package.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use bowline_schema::Source;

use crate::discover::Package;
use crate::package::{self, PackageReport};

/// Packages that run at the same time.
const WORKERS: usize = 2;
/// Stack of a package's thread; protos may be deeply nested.
const STACK_BYTES: usize = 16 << 20;
/// How long one package may take before it is given up.
const PACKAGE_MAX: Duration = Duration::from_secs(180);

/// Runs every package and gives the reports in the order in which they came; `done` sees each as it comes.
pub fn all(packages: Vec<Package>, done: &(dyn Fn(&PackageReport) + Sync)) -> Vec<PackageReport> {
    let queue = Mutex::new(VecDeque::from(packages));
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(package) = locked(&queue).pop_front() {
                    let report = isolated(package);
                    done(&report);
                    locked(&reports).push(report);
                }
            });
        }
    });
    reports.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs one package on its own thread. One that does not end is left behind; the process ends without it.
fn isolated(package: Package) -> PackageReport {
    let name = package.name.clone();
    let (sender, receiver) = mpsc::channel();
    let work = move || {
        let run =
            || package::run(&package.name, Source::Folder(package.folder.clone()), &package.kinds);
        let report = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|panic| failed(&package.name, package::panicked(panic.as_ref())));
        // Nobody waits any more for a package that was given up.
        let _ = sender.send(report);
    };
    let thread = std::thread::Builder::new().name(name.clone()).stack_size(STACK_BYTES).spawn(work);
    if let Err(error) = thread {
        return failed(&name, format!("no thread: {error}"));
    }
    receiver.recv_timeout(PACKAGE_MAX).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => failed(&name, format!("not done after {PACKAGE_MAX:?}")),
        RecvTimeoutError::Disconnected => {
            failed(&name, "the thread ended without a report".to_owned())
        }
    })
}

fn failed(name: &str, reason: String) -> PackageReport {
    PackageReport {
        package: name.to_owned(),
        load_errors: vec![reason],
        ..PackageReport::default()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
