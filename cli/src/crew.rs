//! The threads that shrinking borrows.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use testbed::shrink::Workers;

/// As many threads as asked for.
pub(crate) struct Crew(rayon::ThreadPool);

impl Crew {
    /// One thread per job at once; as many as there are cores if nobody says.
    pub(crate) fn of(jobs: Option<u16>) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let jobs = jobs.map_or_else(cores, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
        Self(pool.expect("threads can be started"))
    }
}

impl Workers for Crew {
    fn until(&self, jobs: usize, job: &(dyn Fn(usize) -> bool + Sync)) {
        let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        // Numbers are handed out in order, and what was begun is finished.
        self.0.broadcast(|_| {
            while !done.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= jobs {
                    return;
                }
                if job(number) {
                    done.store(true, Ordering::Relaxed);
                }
            }
        });
    }
}
