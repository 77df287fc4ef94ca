//! Syncs that fail, in the manner of a file system.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::disk::trouble::{SyncFailure, Trouble};
use crate::world::World;

/// Syncs fail at times. The pages are clean afterwards, whatever the manner: the next sync does not write them again (Rebello and others, ATC'20).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SyncError {
    /// Whose disk.
    pub node: NodeId,
    /// The share of syncs of files, in parts per million.
    pub ppm: u32,
    /// What the file system makes of it.
    pub manner: SyncFailure,
}

impl SyncError {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.trouble(self.node, Trouble { sync_error: Some((self.ppm, self.manner)), ..Trouble::default() })
    }
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fail {} ppm of syncs of {} as {:?}", self.ppm, self.node, self.manner)
    }
}
