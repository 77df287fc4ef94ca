//! The simulated file system: [`contract::Fs`] on a simulated disk.
//!
//! Names, sizes and preallocation change at once, in memory; writes and syncs take the device's
//! time. A read costs nothing where the page cache holds the content: everywhere, but after a power
//! loss, when the first read of each page goes to the device, and where a node reads past it. What a
//! power loss takes away is told in the [crate documentation](crate).

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use contract::{File, Fs, FsError, OpenMode};

use crate::config::Persistence;
use crate::digest::{Kind, bytes_hash};
use crate::disk::device::{Access, Due};
use crate::disk::tree::{Node, SharedInode, parent};
use crate::disk::trouble::{Chance, SyncFailure};
use crate::disk::{FlushFate, Work, WriteFate};
use crate::kernel::{Incarnation, Kernel, State};
use crate::slab::Ticket;

/// The file system of one incarnation of a node. Once that incarnation is gone, no operation
/// completes.
#[derive(Clone)]
pub struct SimFs {
    kernel: Rc<Kernel>,
    owner: Incarnation,
}

/// An open file of a [`SimFs`].
#[derive(Clone)]
pub struct SimFile {
    fs: SimFs,
    inode: SharedInode,
    path: Rc<str>,
    /// How many failures of syncs this handle, and its clones, were told of.
    failures: Rc<Cell<u64>>,
}

/// What a request comes to: all is done already, or there is something to wait for.
enum Submitted {
    Done(Work),
    Waits(Ticket),
}

/// The changes of names and sizes that take no time.
#[derive(Clone, Copy, Debug)]
enum Instant {
    Create = 1,
    Remove,
    Rename,
    SetLen,
    Allocate,
    Link,
}

fn normal(path: &str) -> &str {
    path.trim_matches('/')
}

fn io_error(path: &str, action: &'static str) -> FsError {
    FsError::Io { path: path.into(), action, cause: "the device failed".into() }
}

fn not_found(path: &str) -> FsError {
    FsError::NotFound { path: path.into() }
}

impl SimFs {
    pub(crate) fn new(kernel: Rc<Kernel>, owner: Incarnation) -> Self {
        Self { kernel, owner }
    }

    /// Never ends once the incarnation is gone.
    async fn alive(&self) {
        if !self.kernel.is_alive(self.owner) {
            pending::<()>().await;
        }
    }

    /// Begins an operation that changes something: waits while a break point holds the world.
    async fn operation(&self) {
        poll_fn(|context| {
            let state = &mut *self.kernel.state.borrow_mut();
            if !state.is_alive(self.owner) {
                return Poll::Pending;
            }
            if state.begin_operation(self.owner.endpoint, context.waker()) {
                return Poll::Ready(());
            }
            self.kernel.holding.set(true);
            Poll::Pending
        })
        .await;
    }

    fn with<T>(&self, change: impl FnOnce(&mut State, usize) -> T) -> T {
        change(&mut self.kernel.state.borrow_mut(), self.owner.endpoint as usize)
    }

    /// Tells trace and digest of a change that takes no time.
    fn record(&self, state: &mut State, what: Instant, file: u64, len: u64, path: &str) {
        let node = self.owner.endpoint;
        let words = [state.now.0, state.code(node), what as u64, file, len, bytes_hash(path.as_bytes())];
        state.digest.event(Kind::Directory, words);
        state.trace(|state| format!("disk {} {what:?} {path} {len}", state.address(node)));
    }

    /// Hands work to the device, or does it at once if that takes no time.
    fn submit(&self, state: &mut State, access: Access, bytes: usize, work: Work, path: &str) -> Submitted {
        let node = self.owner.endpoint;
        let disk = &mut state.disks[node as usize];
        let (file, offset, hash, place) = match &work {
            Work::Read { file, offset, .. } => (file.borrow().id, *offset, 0, disk.place(file, *offset)),
            Work::Write { file, offset, data, .. } => {
                (file.borrow().id, *offset, bytes_hash(data), disk.place(file, *offset))
            }
            Work::Flush { file, generation, .. } => (file.borrow().id, *generation, 0, 0),
            Work::SyncDir { covered, .. } => (0, *covered, 0, 0),
        };
        match access {
            Access::Read => {
                state.stats.disk_reads += 1;
                state.stats.disk_bytes_read += bytes as u64;
            }
            Access::Write => {
                state.stats.disk_writes += 1;
                state.stats.disk_bytes_written += bytes as u64;
            }
            Access::Flush | Access::FlushMetadata => state.stats.disk_flushes += 1,
        }
        let words = [state.now.0, state.code(node), access as u64, file, offset, bytes as u64, hash];
        state.digest.event(Kind::DiskRequest, words);
        let disk = &mut state.disks[node as usize];
        let slow = disk.slow_permille();
        let due = disk.device.submit(state.now, access, (place, bytes), slow);
        let stalled = disk.is_stalled();
        state.trace(|state| {
            let node = state.address(node);
            let path = if path.is_empty() { "/" } else { path };
            let until = match due {
                Due::At(done, _) => format!("until {done}"),
                Due::Arm(_) => "for the arm".to_owned(),
            };
            format!("disk {node} {access:?} {path} at {offset}, {bytes} bytes, {until}")
        });
        match due {
            Due::At(done, _) if done <= state.now && !stalled => Submitted::Done(work),
            due => Submitted::Waits(state.request(node, work, due)),
        }
    }

    async fn finish(&self, submitted: Submitted) -> Work {
        match submitted {
            Submitted::Waits(ticket) => Claim { kernel: Rc::clone(&self.kernel), ticket }.await,
            Submitted::Done(work) => {
                self.with(|state, node| work.take_effect(&mut state.disks[node].tree));
                work
            }
        }
    }
}

impl SimFs {
    /// Tells trace and digest that something went wrong with the disk.
    fn trouble(&self, state: &mut State, what: &str, path: &str) {
        let node = self.owner.endpoint;
        state.stats.disk_troubles += 1;
        let words = [state.now.0, state.code(node), bytes_hash(what.as_bytes())];
        state.digest.event(Kind::DiskError, words);
        state.trace(|state| format!("disk {} {what} {path}", state.address(node)));
    }

    fn flush_fate(&self, state: &mut State, path: &str) -> FlushFate {
        let fate = state.disks[self.owner.endpoint as usize].flush_fate();
        match fate {
            FlushFate::Done => {}
            FlushFate::Lies => self.trouble(state, "lies about a flush of", path),
            FlushFate::Fails(_) => self.trouble(state, "fails a flush of", path),
        }
        fate
    }
}

impl Fs for SimFs {
    type File = SimFile;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<SimFile, FsError> {
        self.alive().await;
        let path = normal(path);
        let found = self.with(|state, node| {
            let disk = &mut state.disks[node];
            if let Some(inode) = disk.tree.file(path) {
                return Ok(inode);
            }
            if mode == OpenMode::Existing || disk.tree.exists(path) {
                return Err(not_found(path));
            }
            if !disk.tree.is_directory(parent(path)) {
                return Err(not_found(parent(path)));
            }
            let inode = disk.new_file();
            disk.tree.create(path, Node::File(Rc::clone(&inode)));
            let id = inode.borrow().id;
            self.record(state, Instant::Create, id, 0, path);
            Ok(inode)
        });
        let inode = found?;
        let failures = Rc::new(Cell::new(inode.borrow().failures_told()));
        let file = SimFile { fs: self.clone(), inode, path: path.into(), failures };
        if mode == OpenMode::Truncate && file.inode.borrow().size() > 0 {
            file.set_len(0).await?;
        }
        Ok(file)
    }

    async fn exists(&self, path: &str) -> Result<bool, FsError> {
        self.alive().await;
        Ok(self.with(|state, node| state.disks[node].tree.exists(normal(path))))
    }

    async fn create_dir(&self, path: &str) -> Result<(), FsError> {
        self.alive().await;
        let path = normal(path);
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for directory in ends.map(|end| &path[..end]) {
            let file_in_the_way = self.with(|state, node| {
                let tree = &mut state.disks[node].tree;
                let exists = tree.exists(directory);
                if !exists {
                    tree.create(directory, Node::Directory);
                    self.record(state, Instant::Create, 0, 0, directory);
                    return false;
                }
                !tree.is_directory(directory)
            });
            if file_in_the_way {
                return Err(not_found(directory));
            }
        }
        Ok(())
    }

    /// Entry by entry, the deepest first: a power loss may leave a part of it.
    async fn remove_dir(&self, path: &str) -> Result<(), FsError> {
        self.alive().await;
        let path = normal(path);
        let mut doomed = self.with(|state, node| state.disks[node].tree.below(path));
        if !path.is_empty() && self.exists(path).await? {
            doomed.insert(0, path.into());
        }
        for path in doomed.into_iter().rev() {
            self.operation().await;
            self.with(|state, node| {
                if state.disks[node].tree.exists(&path) {
                    state.disks[node].tree.remove(&path);
                    self.record(state, Instant::Remove, 0, 0, &path);
                }
            });
        }
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.operation().await;
        let (from, to) = (normal(from), normal(to));
        self.with(|state, node| {
            let persistence = state.disks[node].persistence;
            let carries = matches!(persistence, Persistence::Ext4Ordered | Persistence::Btrfs);
            let tree = &mut state.disks[node].tree;
            let file = tree.file(from).ok_or_else(|| not_found(from))?;
            if !tree.is_directory(parent(to)) || tree.is_directory(to) {
                return Err(not_found(to));
            }
            if from != to {
                let id = file.borrow().id;
                tree.rename(from, to, file, carries);
                self.record(state, Instant::Rename, id, 0, to);
            }
            Ok(())
        })
    }

    async fn link(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.operation().await;
        let (from, to) = (normal(from), normal(to));
        self.with(|state, node| {
            let tree = &mut state.disks[node].tree;
            let file = tree.file(from).ok_or_else(|| not_found(from))?;
            if !tree.is_directory(parent(to)) {
                return Err(not_found(to));
            }
            if tree.exists(to) {
                return Err(FsError::Io {
                    path: to.into(),
                    action: "link",
                    cause: "the name is taken".into(),
                });
            }
            let id = file.borrow().id;
            tree.create(to, Node::File(file));
            self.record(state, Instant::Link, id, 0, to);
            Ok(())
        })
    }

    async fn remove(&self, path: &str) -> Result<(), FsError> {
        self.operation().await;
        let path = normal(path);
        self.with(|state, node| {
            let tree = &mut state.disks[node].tree;
            let file = tree.file(path).ok_or_else(|| not_found(path))?;
            tree.remove(path);
            let id = file.borrow().id;
            self.record(state, Instant::Remove, id, 0, path);
            Ok(())
        })
    }

    async fn list(&self, dir: &str) -> Result<Vec<String>, FsError> {
        self.alive().await;
        let dir = normal(dir);
        self.with(|state, node| {
            let tree = &state.disks[node].tree;
            if tree.is_directory(dir) { Ok(tree.list(dir)) } else { Err(not_found(dir)) }
        })
    }

    async fn sync_dir(&self, dir: &str) -> Result<(), FsError> {
        self.operation().await;
        let dir = normal(dir);
        let submitted = self.with(|state, node| {
            let tree = &state.disks[node].tree;
            if !tree.is_directory(dir) {
                return Err(not_found(dir));
            }
            let covered = tree.sync_begins(dir);
            let fate = self.flush_fate(state, dir);
            Ok(self.submit(state, Access::FlushMetadata, 0, Work::SyncDir { covered, fate }, dir))
        });
        match self.finish(submitted?).await {
            Work::SyncDir { fate: FlushFate::Fails(_), .. } => Err(io_error(dir, "sync")),
            _ => Ok(()),
        }
    }
}

impl SimFile {
    fn file(&self) -> SharedInode {
        Rc::clone(&self.inode)
    }

    /// Whether there is space for the file to grow to a size.
    fn grow(&self, size: u64) -> Result<(), FsError> {
        let growth = size.saturating_sub(self.inode.borrow().size());
        if growth == 0 {
            return Ok(());
        }
        self.fs.with(|state, node| {
            if state.disks[node].troubles.take_space(growth) {
                return Ok(());
            }
            self.fs.trouble(state, "has no space for", &self.path);
            Err(FsError::NoSpace { path: Rc::clone(&self.path) })
        })
    }

    /// How many bytes a read returns, if less than it could; never none, which would be the end.
    fn short_read(&self, len: usize) -> Option<usize> {
        self.fs.with(|state, node| {
            let troubles = &mut state.disks[node].troubles;
            let ppm = troubles.sum()?.short_read_ppm;
            let [word, ..] = troubles.happens(Chance::ShortRead, ppm)?;
            self.fs.trouble(state, "cuts short a read of", &self.path);
            let rest = len.saturating_sub(1) as u64;
            Some(len.min(1) + ((u64::from(word) * rest) >> 32) as usize)
        })
    }

    fn resize(&self, what: Instant, len: u64) {
        self.fs.with(|state, _| {
            self.inode.borrow_mut().set_len(len);
            let id = self.inode.borrow().id;
            self.fs.record(state, what, id, len, &self.path);
        });
    }
}

impl File for SimFile {
    async fn read_at(&self, offset: u64, mut buf: Vec<u8>) -> (Result<usize, FsError>, Vec<u8>) {
        self.fs.alive().await;
        let directly = self.fs.with(|state, node| state.disks[node].reads_directly);
        if directly || self.inode.borrow().is_cold(offset, buf.len()) {
            let len = self.inode.borrow().available(offset, buf.len());
            let work = Work::Read { file: self.file(), offset, len };
            let submitted =
                self.fs.with(|state, _| self.fs.submit(state, Access::Read, len, work, &self.path));
            self.fs.finish(submitted).await;
            let ppm = self.fs.with(|state, node| {
                state.disks[node].troubles.sum().map_or(0, |trouble| trouble.read_error_ppm)
            });
            let unreadable = self.inode.borrow().is_bad(offset, len);
            let fails = self.fs.with(|state, node| {
                let fails =
                    unreadable || state.disks[node].troubles.happens(Chance::ReadError, ppm).is_some();
                if fails {
                    self.fs.trouble(state, "fails a read of", &self.path);
                }
                fails
            });
            if fails {
                self.inode.borrow_mut().evict(offset, len);
                return (Err(io_error(&self.path, "read")), buf);
            }
        }
        if let Some(len) = self.short_read(buf.len()) {
            let read = self.inode.borrow().read(offset, &mut buf[..len]);
            return (Ok(read), buf);
        }
        let read = self.inode.borrow().read(offset, &mut buf);
        (Ok(read), buf)
    }

    async fn write_at(&self, offset: u64, buf: Vec<u8>) -> (Result<(), FsError>, Vec<u8>) {
        self.fs.operation().await;
        let len = buf.len();
        if let Err(error) = self.grow(offset + len as u64) {
            return (Err(error), buf);
        }
        let submitted = self.fs.with(|state, node| {
            let fate = state.disks[node].write_fate(len);
            match &fate {
                WriteFate::Done => {}
                WriteFate::Fails => self.fs.trouble(state, "fails a write of", &self.path),
                WriteFate::Lost(None) => self.fs.trouble(state, "forgets a write of", &self.path),
                WriteFate::Lost(Some(_)) => self.fs.trouble(state, "misdirects a write of", &self.path),
            }
            let work = Work::Write { file: self.file(), offset, data: buf, fate };
            self.fs.submit(state, Access::Write, len, work, &self.path)
        });
        match self.fs.finish(submitted).await {
            Work::Write { data, fate: WriteFate::Fails, .. } => (Err(io_error(&self.path, "write")), data),
            Work::Write { data, .. } => (Ok(()), data),
            other => unreachable!("a write came back as {other:?}"),
        }
    }

    async fn sync_data(&self) -> Result<(), FsError> {
        self.fs.operation().await;
        let submitted = self.fs.with(|state, _| {
            let access =
                if self.inode.borrow().size_changed() { Access::FlushMetadata } else { Access::Flush };
            let generation = self.inode.borrow_mut().flush_begins();
            let fate = self.fs.flush_fate(state, &self.path);
            let work = Work::Flush { file: self.file(), generation, fate };
            self.fs.submit(state, access, 0, work, &self.path)
        });
        // With journalled data the failure is found only after the sync has returned.
        let tells_late = matches!(
            self.fs.finish(submitted).await,
            Work::Flush { fate: FlushFate::Fails(SyncFailure::Ext4Data), .. }
        );
        let mut known = self.failures.get();
        let fails = !tells_late && self.inode.borrow_mut().tell_failure(&mut known);
        self.failures.set(known);
        if fails { Err(io_error(&self.path, "sync")) } else { Ok(()) }
    }

    async fn allocate(&self, len: u64) -> Result<(), FsError> {
        self.fs.operation().await;
        let size = self.inode.borrow().size();
        if len > size {
            self.grow(len)?;
            self.resize(Instant::Allocate, len);
        }
        Ok(())
    }

    async fn set_len(&self, len: u64) -> Result<(), FsError> {
        self.fs.operation().await;
        self.grow(len)?;
        self.resize(Instant::SetLen, len);
        Ok(())
    }

    async fn len(&self) -> Result<u64, FsError> {
        self.fs.alive().await;
        Ok(self.inode.borrow().size())
    }
}

/// A future's claim on a disk request; dropped with it.
struct Claim {
    kernel: Rc<Kernel>,
    ticket: Ticket,
}

impl Future for Claim {
    type Output = Work;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Work> {
        let state = &mut *self.kernel.state.borrow_mut();
        // A request that is gone went with its incarnation: it never completes.
        let Some(request) = state.requests.get_mut(self.ticket).filter(|request| !request.abandoned) else {
            return Poll::Pending;
        };
        if !request.done {
            request.sleeping = Some(self.kernel.tasks.sleeping(context.waker()));
            return Poll::Pending;
        }
        let request = state.requests.remove(self.ticket).expect("it was there a moment ago");
        Poll::Ready(request.work)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.kernel.state.borrow_mut();
        if let Some(request) = state.requests.get_mut(self.ticket) {
            request.abandoned = true;
            // Dropped after the borrow, for a waker may own anything.
            let sleeping = request.sleeping.take();
            let finished = if request.done { state.requests.remove(self.ticket) } else { None };
            drop(state);
            drop((sleeping, finished));
        }
    }
}
