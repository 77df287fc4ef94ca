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
    /// The newest of the sources that stand at the next key.
    lead: Option<usize>,
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
        let mut merge = Self { sources, ranged, order, lead: None };
        merge.settle().await?;
        Ok(merge)
    }

    /// The range tombstones of all sources.
    pub(super) fn ranges(&self) -> RangeSet {
        let mut ranges = RangeSet::default();
        self.sources.iter().for_each(|source| source.collect_ranges(&mut ranges));
        ranges
    }

    fn choose(&mut self) {
        let keys = self.sources.iter().enumerate().filter_map(|(i, s)| Some((s.current()?.0, i)));
        // Of equal keys the first source's is both the least and the greatest.
        let lead = match self.order {
            Order::Ascending => keys.min(),
            Order::Descending => keys.max_by(|a, b| a.0.cmp(b.0).then(b.1.cmp(&a.1))),
        };
        self.lead = lead.map(|(_, source)| source);
    }

    /// Chooses the next entry, past what range tombstones hide.
    async fn settle(&mut self) -> Result<(), EngineError> {
        loop {
            self.choose();
            let Some((newer, bound)) = self.hidden() else { return Ok(()) };
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
        }
    }

    /// If a tombstone hides the lead: whose it is, and how far it reaches.
    fn hidden(&self) -> Option<(usize, Vec<u8>)> {
        let lead = self.lead?;
        let (key, _) = self.sources[lead].current().expect("the lead stands at an entry");
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
        self.sources[self.lead?].current()
    }

    /// Goes to the next key.
    pub(super) async fn advance(&mut self) -> Result<(), EngineError> {
        let lead = self.lead.expect("only who stands at an entry can leave it");
        assert!(lead < self.sources.len(), "the lead is a source");
        let (newer, older) = self.sources.split_at_mut(lead + 1);
        let passed = newer[lead].current().expect("the lead stands at an entry").0;
        for source in older {
            // A source holds a key once.
            if source.current().is_some_and(|(key, _)| key == passed) {
                source.advance().await?;
            }
        }
        newer[lead].advance().await?;
        if self.ranged.is_empty() {
            self.choose();
            return Ok(());
        }
        self.settle().await
    }
}
