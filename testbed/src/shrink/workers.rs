//! Where the runs of a search are made: on one thread, or on several.

/// Does numbered jobs. Seedbed's own crates start no thread; whoever has some lends them here.
pub trait Workers {
    /// Does the jobs 0, 1, 2 … below `jobs`, begun in this order and perhaps several at once, until
    /// one returns `true`. All before that one are done too; those behind it may or may not be.
    fn until(&self, jobs: usize, job: &(dyn Fn(usize) -> bool + Sync));
}

/// One after the other, on the caller's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct InTurn;

impl Workers for InTurn {
    fn until(&self, jobs: usize, job: &(dyn Fn(usize) -> bool + Sync)) {
        let _ = (0..jobs).any(job);
    }
}
