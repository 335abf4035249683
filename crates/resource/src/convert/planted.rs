//! Mistakes that tests plant into conversion, to see that its laws find them. Nothing of this is in a release.

use std::cell::Cell;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// A name counts although it does not lead back.
    NoWayBack,
    /// Any region is left out, whatever the context says of it.
    AnyContext,
    /// What was taken from context is not told.
    Untold,
}

thread_local! {
    static PLANTED: Cell<&'static [Mistake]> = const { Cell::new(&[]) };
}

/// Runs with these mistakes, on this thread.
pub(super) fn with<T>(mistakes: &'static [Mistake], run: impl FnOnce() -> T) -> T {
    PLANTED.set(mistakes);
    let result = run();
    PLANTED.set(&[]);
    result
}

pub(super) fn is(mistake: Mistake) -> bool {
    PLANTED.get().contains(&mistake)
}
