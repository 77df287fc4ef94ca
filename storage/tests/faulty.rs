//! A file system that does not keep its promises.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use contract::{File, Fs, FsError, OpenMode};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// With EIO. Of a write that fails so every other has written a half.
    Io,
    /// With ENOSPC, if it needs space.
    Full,
}

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    /// The first one, counted from 1.
    pub(crate) from: u64,
    /// How many from there on.
    pub(crate) calls: u64,
    pub(crate) failure: Failure,
}

/// What is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Syncs of files return at once and do nothing.
    pub(crate) ignores_file_syncs: Cell<bool>,
    /// Syncs of directories return at once and do nothing.
    pub(crate) ignores_dir_syncs: Cell<bool>,
    /// So many syncs of files succeed, and all later ones fail.
    pub(crate) file_syncs_left: Cell<Option<u32>>,
    /// So often a read that has its bytes gives way to others before it returns them.
    pub(crate) read_yields: Cell<u32>,
    /// How many calls there were.
    pub(crate) calls: Cell<u64>,
    pub(crate) failing: Cell<Option<Failing>>,
    /// What the call was to do that failed first.
    pub(crate) failed: Cell<Option<&'static str>>,
}

impl Faults {
    /// Counts a call; whether it fails.
    fn call(&self, action: &'static str, needs_space: bool) -> Result<(), FsError> {
        self.calls.set(self.calls.get() + 1);
        let Some(Failing { from, calls, failure }) = self.failing.get() else { return Ok(()) };
        let hit = self.calls.get() >= from && self.calls.get() - from < calls;
        if !hit || failure == Failure::Full && !needs_space {
            return Ok(());
        }
        self.failed.set(self.failed.get().or(Some(action)));
        Err(match failure {
            Failure::Io => FsError::Io { path: "faulty".into(), action, cause: "EIO".into() },
            Failure::Full => FsError::NoSpace { path: "faulty".into() },
        })
    }
}

/// A file system with [`Faults`].
#[derive(Clone)]
pub(crate) struct Faulty<F> {
    pub(crate) inner: F,
    pub(crate) faults: Rc<Faults>,
}

impl<F> Faulty<F> {
    pub(crate) fn new(inner: F) -> Self {
        Self { inner, faults: Rc::default() }
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn used_up(left: &Cell<Option<u32>>) -> bool {
    let before = left.get();
    left.set(before.map(|n| n.saturating_sub(1)));
    before == Some(0)
}

impl<F: Fs> Fs for Faulty<F> {
    type File = Faulty<F::File>;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<Self::File, FsError> {
        self.faults.call("open", mode != OpenMode::Existing)?;
        Ok(Faulty { inner: self.inner.open(path, mode).await?, faults: Rc::clone(&self.faults) })
    }

    async fn exists(&self, path: &str) -> Result<bool, FsError> {
        self.faults.call("look up", false)?;
        self.inner.exists(path).await
    }

    async fn create_dir(&self, path: &str) -> Result<(), FsError> {
        self.faults.call("create", true)?;
        self.inner.create_dir(path).await
    }

    async fn remove_dir(&self, path: &str) -> Result<(), FsError> {
        self.faults.call("remove", false)?;
        self.inner.remove_dir(path).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.faults.call("rename", true)?;
        self.inner.rename(from, to).await
    }

    async fn link(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.faults.call("link", true)?;
        self.inner.link(from, to).await
    }

    async fn remove(&self, path: &str) -> Result<(), FsError> {
        self.faults.call("remove", false)?;
        self.inner.remove(path).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<String>, FsError> {
        self.faults.call("list", false)?;
        self.inner.list(dir).await
    }

    async fn sync_dir(&self, dir: &str) -> Result<(), FsError> {
        self.faults.call("sync", true)?;
        if self.faults.ignores_dir_syncs.get() { Ok(()) } else { self.inner.sync_dir(dir).await }
    }
}

impl<F: File> File for Faulty<F> {
    async fn read_at(&self, offset: u64, buf: Vec<u8>) -> (Result<usize, FsError>, Vec<u8>) {
        if let Err(error) = self.faults.call("read", false) {
            return (Err(error), buf);
        }
        let yields = self.faults.read_yields.get();
        let read = self.inner.read_at(offset, buf).await;
        for _ in 0..yields {
            yield_once().await;
        }
        read
    }

    async fn write_at(&self, offset: u64, buf: Vec<u8>) -> (Result<(), FsError>, Vec<u8>) {
        if let Err(error) = self.faults.call("write", true) {
            if self.faults.calls.get().is_multiple_of(2) {
                let _ = self.inner.write_at(offset, buf[..buf.len() / 2].to_vec()).await;
            }
            return (Err(error), buf);
        }
        self.inner.write_at(offset, buf).await
    }

    async fn sync_data(&self) -> Result<(), FsError> {
        self.faults.call("sync", true)?;
        if used_up(&self.faults.file_syncs_left) {
            return Err(FsError::Io { path: "faulty".into(), action: "sync", cause: "EIO".into() });
        }
        if self.faults.ignores_file_syncs.get() { Ok(()) } else { self.inner.sync_data().await }
    }

    async fn allocate(&self, len: u64) -> Result<(), FsError> {
        self.faults.call("allocate", true)?;
        self.inner.allocate(len).await
    }

    async fn set_len(&self, len: u64) -> Result<(), FsError> {
        self.faults.call("resize", false)?;
        self.inner.set_len(len).await
    }

    async fn len(&self) -> Result<u64, FsError> {
        self.faults.call("measure", false)?;
        self.inner.len().await
    }
}
