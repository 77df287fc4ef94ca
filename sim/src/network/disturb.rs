//! What makes links worse for a while. Several disturbances of one link add up.

use serde::{Deserialize, Serialize};

use crate::config::Bandwidth;

/// Names a disturbance that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DisturbanceId(pub(crate) u32);

/// Beside what a link does anyway. Shares are in parts per million of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Disturbance {
    pub(crate) loss_ppm: u32,
    pub(crate) duplicate_ppm: u32,
    pub(crate) corrupt_ppm: u32,
    pub(crate) reorder_ppm: u32,
    /// In nanoseconds.
    pub(crate) reorder_by: u64,
    /// Latency becomes this many thousandths; 0: as it is.
    pub(crate) latency_permille: u32,
    /// Added to latency, in nanoseconds.
    pub(crate) latency_extra: u64,
    /// The narrowest counts.
    pub(crate) bandwidth: Option<Bandwidth>,
}
