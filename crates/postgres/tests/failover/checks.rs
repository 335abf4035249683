//! The checks of the failover tests: they pass on a good backend, and notice every broken promise.

use std::sync::Arc;

use bowline_store::{Backend, Memory};

use crate::load::Load;
use crate::load::faulty::{Fault, Faulty};

const WRITERS: usize = 8;

async fn run(backend: Arc<dyn Backend>) {
    let load = Load::start(&[backend], WRITERS).await;
    load.more(2_000).await;
    load.finish().await.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_backend_passes() {
    run(Arc::new(Memory::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_promise_is_noticed() {
    let faults = [
        (Fault::LostCommit, "the batch does not hold"),
        (Fault::DoneTwice, "the batch does not hold"),
        (Fault::Gap, "a gap before"),
        (Fault::Repetition, "comes after"),
        (Fault::WrongError, "no client can retry this"),
    ];
    for (fault, symptom) in faults {
        let error =
            tokio::spawn(run(Faulty::backend(fault))).await.expect_err("it was not noticed");
        let text = error.into_panic();
        let text = text.downcast_ref::<String>().unwrap();
        assert!(text.contains(symptom), "{fault:?} shows as {text}");
    }
}
