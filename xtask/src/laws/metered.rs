//! A file system that counts the bytes written to each kind of file.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use contract::{File, Fs, FsError, OpenMode};
use sim::{SimFile, SimFs};

/// The simulated file system, metered.
#[derive(Clone)]
pub(super) struct Metered {
    fs: SimFs,
    meters: Rc<RefCell<BTreeMap<String, Rc<Cell<u64>>>>>,
}

#[derive(Clone)]
pub(super) struct MeteredFile {
    file: SimFile,
    written: Rc<Cell<u64>>,
}

impl Metered {
    pub(super) fn new(fs: SimFs) -> Self {
        Self { fs, meters: Rc::default() }
    }

    /// Bytes written so far to files of a kind: what stands behind the dot of their names, or their names.
    pub(super) fn written(&self, kind: &str) -> u64 {
        self.meters.borrow().get(kind).map_or(0, |meter| meter.get())
    }
}

impl Fs for Metered {
    type File = MeteredFile;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<MeteredFile, FsError> {
        let file = self.fs.open(path, mode).await?;
        let kind = path.rsplit(['/', '.']).next().expect("a split has a part");
        let written = Rc::clone(self.meters.borrow_mut().entry(kind.to_owned()).or_default());
        Ok(MeteredFile { file, written })
    }

    async fn exists(&self, path: &str) -> Result<bool, FsError> {
        self.fs.exists(path).await
    }

    async fn create_dir(&self, path: &str) -> Result<(), FsError> {
        self.fs.create_dir(path).await
    }

    async fn remove_dir(&self, path: &str) -> Result<(), FsError> {
        self.fs.remove_dir(path).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.fs.rename(from, to).await
    }

    async fn link(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.fs.link(from, to).await
    }

    async fn remove(&self, path: &str) -> Result<(), FsError> {
        self.fs.remove(path).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<String>, FsError> {
        self.fs.list(dir).await
    }

    async fn sync_dir(&self, dir: &str) -> Result<(), FsError> {
        self.fs.sync_dir(dir).await
    }
}

impl File for MeteredFile {
    async fn read_at(&self, offset: u64, buf: Vec<u8>) -> (Result<usize, FsError>, Vec<u8>) {
        self.file.read_at(offset, buf).await
    }

    async fn write_at(&self, offset: u64, buf: Vec<u8>) -> (Result<(), FsError>, Vec<u8>) {
        self.written.set(self.written.get() + buf.len() as u64);
        self.file.write_at(offset, buf).await
    }

    async fn sync_data(&self) -> Result<(), FsError> {
        self.file.sync_data().await
    }

    async fn allocate(&self, len: u64) -> Result<(), FsError> {
        self.file.allocate(len).await
    }

    async fn set_len(&self, len: u64) -> Result<(), FsError> {
        self.file.set_len(len).await
    }

    async fn len(&self) -> Result<u64, FsError> {
        self.file.len().await
    }
}
