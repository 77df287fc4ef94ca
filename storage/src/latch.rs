//! Whether a store still writes.
//!
//! A write or flush that fails, or whose future is dropped half-way, leaves a file whose content nobody
//! knows, and a flush that is tried again may lie (Rebello et al., ATC'20). So the first failure is the
//! last: whatever is to be written afterwards is refused with the same error, until the store is opened
//! anew. Reading goes on.

use std::cell::RefCell;
use std::rc::Rc;

use contract::{EngineError, FsError};

/// Open until the first failure.
pub(crate) struct Latch {
    dir: Rc<str>,
    cause: RefCell<Option<EngineError>>,
}

/// Shuts the latch if what it guards does not come to its end.
struct Guard<'a> {
    latch: &'a Latch,
    ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.latch.shut(&EngineError::Fs(FsError::Io {
                path: Rc::clone(&self.latch.dir),
                action: "write",
                cause: "abandoned half-way".into(),
            }));
        }
    }
}

impl Latch {
    /// The latch of the store in `dir`.
    pub(crate) fn new(dir: &str) -> Self {
        Self { dir: dir.into(), cause: RefCell::new(None) }
    }

    /// Why nothing more is written, if something failed.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        self.cause.borrow().clone().map_or(Ok(()), Err)
    }

    fn shut(&self, cause: &EngineError) {
        self.cause.borrow_mut().get_or_insert_with(|| cause.clone());
    }

    /// Runs what must neither fail nor be abandoned while the store goes on.
    pub(crate) async fn or_shut<T>(
        &self,
        writing: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let mut guard = Guard { latch: self, ended: false };
        let outcome = writing.await;
        guard.ended = true;
        outcome.inspect_err(|error| self.shut(error))
    }
}
