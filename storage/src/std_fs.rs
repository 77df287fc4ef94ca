//! A file system on a folder of a real machine.
//!
//! The model: POSIX. `sync_data` is `fdatasync`, `sync_dir` is `fsync` of the opened directory, and
//! `rename` replaces atomically. Every future is ready at its first poll: calls block, since a real
//! server of this kind has one thread and nothing better to do. This is the only code in the project
//! that opens real files of a store.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use contract::{File, Fs, FsError, OpenMode};

/// A folder of a real machine as a [`contract::Fs`]. Paths are relative to it.
#[derive(Clone, Debug)]
pub struct StdFs {
    root: Rc<Path>,
}

/// An open file of a [`StdFs`].
#[derive(Clone, Debug)]
pub struct StdFile {
    file: Rc<fs::File>,
    path: Rc<str>,
}

impl StdFs {
    /// The file system below `root`, which must exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into().into() }
    }

    fn at(&self, path: &str) -> PathBuf {
        assert!(
            !path.starts_with('/') && !path.split('/').any(|name| name == ".."),
            "{path}: a path that leaves the store's folder"
        );
        self.root.join(path)
    }
}

fn refused(path: &str, action: &'static str, error: &io::Error) -> FsError {
    match error.kind() {
        io::ErrorKind::NotFound => FsError::NotFound { path: path.into() },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FsError::NoSpace { path: path.into() },
        _ => FsError::Io { path: path.into(), action, cause: error.to_string().into() },
    }
}

impl Fs for StdFs {
    type File = StdFile;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<StdFile, FsError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match mode {
            OpenMode::Existing => {}
            OpenMode::Create => {
                options.create(true);
            }
            OpenMode::Truncate => {
                options.create(true).truncate(true);
            }
        }
        let file = options.open(self.at(path)).map_err(|e| refused(path, "open", &e))?;
        Ok(StdFile { file: Rc::new(file), path: path.into() })
    }

    async fn exists(&self, path: &str) -> Result<bool, FsError> {
        self.at(path).try_exists().map_err(|e| refused(path, "look up", &e))
    }

    async fn create_dir(&self, path: &str) -> Result<(), FsError> {
        fs::create_dir_all(self.at(path)).map_err(|e| refused(path, "create", &e))
    }

    async fn remove_dir(&self, path: &str) -> Result<(), FsError> {
        match fs::remove_dir_all(self.at(path)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(refused(path, "remove", &e)),
            _ => Ok(()),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        fs::rename(self.at(from), self.at(to)).map_err(|e| refused(from, "rename", &e))
    }

    async fn link(&self, from: &str, to: &str) -> Result<(), FsError> {
        fs::hard_link(self.at(from), self.at(to)).map_err(|e| refused(from, "link", &e))
    }

    async fn remove(&self, path: &str) -> Result<(), FsError> {
        fs::remove_file(self.at(path)).map_err(|e| refused(path, "remove", &e))
    }

    async fn list(&self, dir: &str) -> Result<Vec<String>, FsError> {
        let entries = fs::read_dir(self.at(dir)).map_err(|e| refused(dir, "list", &e))?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| refused(dir, "list", &e))?.file_name();
            // A name that is not text is none of ours.
            names.extend(name.into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    async fn sync_dir(&self, dir: &str) -> Result<(), FsError> {
        fs::File::open(self.at(dir)).and_then(|d| d.sync_all()).map_err(|e| refused(dir, "sync", &e))
    }
}

impl File for StdFile {
    async fn read_at(&self, offset: u64, mut buf: Vec<u8>) -> (Result<usize, FsError>, Vec<u8>) {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return (Err(refused(&self.path, "read", &e)), buf),
            }
        }
        assert!(done <= buf.len(), "a read fills no more than its buffer");
        (Ok(done), buf)
    }

    async fn write_at(&self, offset: u64, buf: Vec<u8>) -> (Result<(), FsError>, Vec<u8>) {
        let written = self.file.write_all_at(&buf, offset);
        (written.map_err(|e| refused(&self.path, "write", &e)), buf)
    }

    async fn sync_data(&self) -> Result<(), FsError> {
        self.file.sync_data().map_err(|e| refused(&self.path, "sync", &e))
    }

    async fn allocate(&self, len: u64) -> Result<(), FsError> {
        // Zeros are written out, and not only promised: where a block is allocated, or converted, when it is
        // first written, the flush behind that must write the file system's journal too.
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut end = self.len().await?;
        while end < len {
            let piece = ZEROS.len().min((len - end) as usize);
            self.file.write_all_at(&ZEROS[..piece], end).map_err(|e| refused(&self.path, "allocate", &e))?;
            end += piece as u64;
        }
        Ok(())
    }

    async fn set_len(&self, len: u64) -> Result<(), FsError> {
        self.file.set_len(len).map_err(|e| refused(&self.path, "resize", &e))
    }

    async fn len(&self) -> Result<u64, FsError> {
        self.file.metadata().map(|m| m.len()).map_err(|e| refused(&self.path, "measure", &e))
    }
}
