//! What the tests stand on: a simulated disk, and a folder of the real machine.

use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use contract::{Env, NodeId, Seed, Time};
use sim::{DiskConfig, World, WorldConfig, disk_profile, net_profile};
use storage::StdFs;

/// The only node of a test's world.
pub(crate) const NODE: NodeId = NodeId(1);

/// A world of one node with a named disk.
pub(crate) fn world(seed: u64, disk: &str) -> World<()> {
    world_with(seed, disk_profile(disk).expect("a named disk"))
}

/// A world of one node with any disk.
pub(crate) fn world_with(seed: u64, disk: DiskConfig) -> World<()> {
    World::new(&WorldConfig {
        seed: Seed(seed),
        nodes: 1,
        clients: 0,
        net: net_profile("ideal").expect("a named network"),
        disk,
        clock_skew: Duration::ZERO,
        ..WorldConfig::default()
    })
}

/// Runs a future on the node until it is done.
pub(crate) fn run<T: 'static>(world: &World<()>, future: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(RefCell::new(None));
    let out = Rc::clone(&result);
    world.env(NODE).spawn(async move {
        let done = future.await;
        *out.borrow_mut() = Some(done);
    });
    while result.borrow().is_none() {
        let event = world.next(Time::FAR);
        assert!(event.is_some() || result.borrow().is_some(), "the future waits for what never comes");
    }
    result.take().expect("the future is done")
}

/// Runs a future on a file system that is always ready.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
    panic!("the future waits for what never comes");
}

/// An empty folder of the real machine, removed with this value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("seedbed-storage-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    pub(crate) fn fs(&self) -> StdFs {
        StdFs::new(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the folder is ours");
    }
}
