//! The journal of a server, which its groups share: what several of them write in one moment is flushed
//! together.
//!
//! **Invariant:** a segment goes only once every group that wrote into it can do without. A group that
//! writes nothing any more therefore holds on to the segments behind its last purge.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use contract::{Fs, GroupId};
use futures::lock::Mutex;
use storage::journal::{Journal, JournalEntry, JournalError, JournalOptions, JournalStats, SegmentId};

/// A handle; a clone is another one on the same journal.
pub(crate) struct SharedJournal<F: Fs>(Rc<Inner<F>>);

impl<F: Fs> Clone for SharedJournal<F> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

struct Inner<F: Fs> {
    opened: Mutex<Option<Result<Opened<F>, JournalError>>>,
    needed: RefCell<Needed>,
    /// For whoever wants numbers.
    journal: RefCell<Option<Journal<F>>>,
}

/// Per group: the first segment that it needs.
#[derive(Debug, Default)]
struct Needed(BTreeMap<GroupId, SegmentId>);

impl Needed {
    /// A group is about to write: from the active segment on it may need what there is.
    fn writes(&mut self, group: GroupId, active: SegmentId) {
        self.0.entry(group).or_insert(active);
    }

    /// A group needs nothing before a segment. Returns below which nobody needs anything.
    fn from(&mut self, group: GroupId, segment: SegmentId) -> SegmentId {
        let before = self.0.insert(group, segment);
        assert!(before.is_some_and(|before| before <= segment), "a group that purges has written");
        *self.0.values().min().expect("it was inserted just now")
    }
}

struct Opened<F: Fs> {
    journal: Journal<F>,
    /// What was found in it, for groups that have not asked yet.
    found: BTreeMap<GroupId, Vec<JournalEntry>>,
}

impl<F: Fs> SharedJournal<F> {
    pub(crate) fn new() -> Self {
        Self(Rc::new(Inner {
            opened: Mutex::new(None),
            needed: RefCell::default(),
            journal: RefCell::default(),
        }))
    }

    /// The journal and what it holds of a group. Whoever comes first opens it.
    pub(crate) async fn open(
        &self,
        fs: &F,
        options: JournalOptions,
        group: GroupId,
    ) -> Result<(Journal<F>, Vec<JournalEntry>), JournalError> {
        let mut opened = self.0.opened.lock().await;
        if opened.is_none() {
            *opened = Some(Self::read(fs, options).await);
            if let Some(Ok(Opened { journal, found })) = &*opened {
                let first = |entries: &Vec<JournalEntry>| entries[0].segment;
                let needed = found.iter().map(|(group, entries)| (*group, first(entries)));
                *self.0.needed.borrow_mut() = Needed(needed.collect());
                *self.0.journal.borrow_mut() = Some(journal.clone());
            }
        }
        match opened.as_mut().expect("it was opened just now") {
            Ok(Opened { journal, found }) => Ok((journal.clone(), found.remove(&group).unwrap_or_default())),
            Err(error) => Err(error.clone()),
        }
    }

    async fn read(fs: &F, options: JournalOptions) -> Result<Opened<F>, JournalError> {
        let (journal, recovery) = Journal::open(fs.clone(), "journal", options).await?;
        let mut found = BTreeMap::<_, Vec<_>>::new();
        for entry in recovery.entries {
            found.entry(GroupId(entry.stream)).or_default().push(entry);
        }
        Ok(Opened { journal, found })
    }

    /// A group is about to write: from where the journal stands now on it may need what there is.
    pub(crate) fn writes(&self, group: GroupId, active: SegmentId) {
        self.0.needed.borrow_mut().writes(group, active);
    }

    /// A group needs nothing before a segment. Returns below which nobody needs anything.
    pub(crate) fn needs_from(&self, group: GroupId, segment: SegmentId) -> SegmentId {
        self.0.needed.borrow_mut().from(group, segment)
    }

    pub(crate) fn stats(&self) -> JournalStats {
        self.0.journal.borrow().as_ref().map_or_else(JournalStats::default, Journal::stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_goes_once_no_group_needs_it() {
        let mut needed = Needed::default();
        let (one, two) = (GroupId(0), GroupId(1));
        needed.writes(one, SegmentId(1));
        needed.writes(two, SegmentId(2));
        needed.writes(one, SegmentId(3));
        assert_eq!(needed.from(one, SegmentId(5)), SegmentId(2), "the other group wrote into it");
        assert_eq!(needed.from(two, SegmentId(7)), SegmentId(5));
        assert_eq!(needed.from(two, SegmentId(7)), SegmentId(5));
    }

    #[test]
    #[should_panic(expected = "a group that purges has written")]
    fn what_a_group_needs_does_not_come_back() {
        let mut needed = Needed::default();
        needed.writes(GroupId(0), SegmentId(5));
        needed.from(GroupId(0), SegmentId(4));
    }
}
