//! What goes wrong with a disk while a fault is in force.
//!
//! Draws are keyed by (node, kind of trouble, how many chances that kind had), so that one kind shifts
//! nothing of another, and a disk without trouble draws nothing.

use serde::{Deserialize, Serialize};

use crate::rng::philox;

/// Names a trouble that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TroubleId(u64);

/// What a file system makes of a write that fails during a sync (Rebello and others, ATC'20). In each
/// case the pages are clean afterwards: no later sync writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncFailure {
    /// ext4 in ordered mode, and XFS: this sync fails, once per open file; the new content stays in the
    /// cache.
    Ext4Ordered,
    /// ext4 with journalled data: this sync returns as if nothing had happened, the next one fails.
    Ext4Data,
    /// Btrfs: this sync fails, and the old content is back.
    Btrfs,
}

/// Shares are in parts per million.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) read_error_ppm: u32,
    pub(crate) write_error_ppm: u32,
    pub(crate) short_read_ppm: u32,
    pub(crate) lost_write_ppm: u32,
    pub(crate) misdirected_ppm: u32,
    pub(crate) garbage_ppm: u32,
    pub(crate) lying_flush: bool,
    pub(crate) stalled: bool,
    pub(crate) space_left: Option<u64>,
    /// 0: as fast as ever.
    pub(crate) slow_permille: u32,
    pub(crate) sync_error: Option<(u32, SyncFailure)>,
}

impl Trouble {
    fn add(&mut self, other: &Self) {
        self.read_error_ppm += other.read_error_ppm;
        self.write_error_ppm += other.write_error_ppm;
        self.short_read_ppm += other.short_read_ppm;
        self.lost_write_ppm += other.lost_write_ppm;
        self.misdirected_ppm += other.misdirected_ppm;
        self.garbage_ppm += other.garbage_ppm;
        self.lying_flush |= other.lying_flush;
        self.stalled |= other.stalled;
        self.space_left = self.space_left.into_iter().chain(other.space_left).min();
        self.slow_permille = self.slow_permille.max(other.slow_permille);
        self.sync_error = self.sync_error.or(other.sync_error);
    }
}

/// The kinds of chances. Their numbers are positions of draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chance {
    ReadError,
    WriteError,
    ShortRead,
    LostWrite,
    Misdirected,
    SyncError,
    /// Where something is damaged.
    Damage,
}

/// The troubles of one disk.
#[derive(Debug)]
pub(crate) struct Troubles {
    key: u64,
    chances: [u64; 7],
    in_force: Vec<(TroubleId, Trouble)>,
    begun: u64,
    sum: Option<Box<Trouble>>,
}

impl Troubles {
    pub(crate) fn new(key: u64) -> Self {
        Self { key, chances: [0; 7], in_force: Vec::new(), begun: 0, sum: None }
    }

    /// All of them together, if there are any.
    #[inline]
    pub(crate) fn sum(&self) -> Option<&Trouble> {
        self.sum.as_deref()
    }

    pub(crate) fn begin(&mut self, trouble: Trouble) -> TroubleId {
        self.begun += 1;
        let id = TroubleId(self.begun);
        self.in_force.push((id, trouble));
        self.find_sum();
        id
    }

    pub(crate) fn end(&mut self, id: TroubleId) {
        self.in_force.retain(|(other, _)| *other != id);
        self.find_sum();
    }

    fn find_sum(&mut self) {
        self.sum = None;
        for (_, trouble) in &self.in_force {
            self.sum.get_or_insert_default().add(trouble);
        }
    }

    pub(crate) fn draw(&mut self, chance: Chance) -> [u32; 4] {
        let position = &mut self.chances[chance as usize];
        *position += 1;
        philox(self.key, chance as u64, *position)
    }

    /// Whether it happens, and three more words for how.
    pub(crate) fn happens(&mut self, chance: Chance, ppm: u32) -> Option<[u32; 3]> {
        if ppm == 0 {
            return None;
        }
        let [word, a, b, c] = self.draw(chance);
        (u64::from(word) * 1_000_000 < u64::from(ppm) << 32).then_some([a, b, c])
    }

    /// Files grow. Whether there is space for that.
    pub(crate) fn take_space(&mut self, bytes: u64) -> bool {
        let Some(left) = self.sum.as_mut().and_then(|sum| sum.space_left.as_mut()) else { return true };
        let fits = bytes <= *left;
        if fits {
            *left -= bytes;
        }
        fits
    }
}
