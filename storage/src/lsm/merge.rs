//! Many sorted sources read as one: of equal keys the newest source's entry counts, and none that a
//! range tombstone of a newer source covers.

use contract::{EngineError, Fs, Order};

use super::ranges::RangeSet;
use super::source::Source;

/// The sources as one, tombstones included.
pub(super) struct Merge<F: Fs> {
    /// Newest first.
    sources: Vec<Source<F>>,
    /// Those with range tombstones.
    ranged: Vec<usize>,
    order: Order,
    /// Those that stand at an entry, in the order in which their entries come; of equal keys the newest first.
    standing: Vec<usize>,
}

impl<F: Fs> Merge<F> {
    /// Begins at the first key at or behind `bound` or, descending, at the last one before it.
    /// `sources` are newest first, and all read in this order.
    pub(super) async fn new(
        mut sources: Vec<Source<F>>,
        bound: &[u8],
        order: Order,
    ) -> Result<Self, EngineError> {
        for source in &mut sources {
            source.seek(bound).await?;
        }
        let ranged = (0..sources.len()).filter(|source| sources[*source].has_ranges()).collect();
        let mut merge = Self { sources, ranged, order, standing: Vec::new() };
        merge.line_up();
        merge.settle().await?;
        Ok(merge)
    }

    /// The range tombstones of all sources.
    pub(super) fn ranges(&self) -> RangeSet {
        let mut ranges = RangeSet::default();
        self.sources.iter().for_each(|source| source.collect_ranges(&mut ranges));
        ranges
    }

    fn line_up(&mut self) {
        self.standing.clear();
        (0..self.sources.len()).for_each(|source| self.put_in_line(source));
    }

    /// Finds a source its place among those that stand at an entry, if it does.
    fn put_in_line(&mut self, source: usize) {
        let Some((key, _)) = self.sources[source].current() else { return };
        let comes_before = |other: &usize| {
            let (theirs, _) = self.sources[*other].current().expect("it stands at an entry");
            let by_key = match self.order {
                Order::Ascending => theirs.cmp(key),
                Order::Descending => key.cmp(theirs),
            };
            by_key.then(other.cmp(&source)).is_lt()
        };
        // Most often a source that went on comes first again.
        let place = match self.standing.first() {
            Some(first) if comes_before(first) => self.standing.partition_point(comes_before),
            _ => 0,
        };
        self.standing.insert(place, source);
    }

    /// Goes on past what range tombstones hide.
    async fn settle(&mut self) -> Result<(), EngineError> {
        while let Some((newer, bound)) = self.hidden() {
            for source in &mut self.sources[newer + 1..] {
                let Some((key, _)) = source.current() else { continue };
                let hidden = match self.order {
                    Order::Ascending => key < bound.as_slice(),
                    Order::Descending => key >= bound.as_slice(),
                };
                if hidden {
                    source.seek(&bound).await?;
                }
            }
            self.line_up();
        }
        Ok(())
    }

    /// If a tombstone hides the entry that comes next: whose it is, and how far it reaches.
    fn hidden(&self) -> Option<(usize, Vec<u8>)> {
        let lead = *self.standing.first()?;
        let (key, _) = self.sources[lead].current().expect("it stands at an entry");
        let newer = self.ranged.iter().copied().take_while(|source| *source < lead);
        let covering = newer.filter_map(|source| Some((source, self.sources[source].covering(key)?)));
        let bound = |(from, to): (&[u8], &[u8])| match self.order {
            Order::Ascending => to.to_vec(),
            Order::Descending => from.to_vec(),
        };
        covering.map(|(source, range)| (source, bound(range))).next()
    }

    /// The entry it stands at; no value is a tombstone.
    pub(super) fn current(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.sources[*self.standing.first()?].current()
    }

    /// Goes to the next key.
    pub(super) async fn advance(&mut self) -> Result<(), EngineError> {
        assert!(!self.standing.is_empty(), "only who stands at an entry can leave it");
        let lead = self.standing.remove(0);
        // A source holds a key once; those that have it too are older, and stand right behind.
        while let Some(&older) = self.standing.first() {
            if self.key_of(lead) != self.key_of(older) {
                break;
            }
            assert!(lead < older, "of equal keys the newest comes first");
            self.standing.remove(0);
            self.sources[older].advance().await?;
            self.put_in_line(older);
        }
        self.sources[lead].advance().await?;
        self.put_in_line(lead);
        if self.ranged.is_empty() { Ok(()) } else { self.settle().await }
    }

    fn key_of(&self, source: usize) -> &[u8] {
        self.sources[source].current().expect("it stands at an entry").0
    }
}
