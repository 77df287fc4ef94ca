//! Where the value of each key is: a sorted map in memory.

use std::ops::Bound;
use std::rc::Rc;

use contract::{EngineError, Fs, Order, Range};

use super::segment::{Segment, Written};
use crate::batch::{self, Mutation, Mutations};
use crate::ordered::OrderedMap;
use crate::read::read_at;

/// What an entry takes in a segment beside key and value, about.
const ENTRY_BYTES: u64 = 8;
/// Values that are not further apart are read with one request.
const GAP_BYTES: u64 = 4 << 10;

/// Where a value is. It keeps the segment's file.
pub(super) struct Place<F: Fs> {
    segment: Rc<Segment<F>>,
    at: u64,
    len: u32,
    /// CRC32C of the value.
    checksum: u32,
}

impl<F: Fs> Clone for Place<F> {
    fn clone(&self) -> Self {
        Self { segment: Rc::clone(&self.segment), ..*self }
    }
}

impl<F: Fs> Place<F> {
    pub(super) fn new(segment: &Rc<Segment<F>>, (at, checksum): Written, len: usize) -> Self {
        let len = u32::try_from(len).expect("a value is below 4 GiB");
        assert!(at + u64::from(len) <= segment.bytes(), "a value is inside its segment");
        Self { segment: Rc::clone(segment), at, len, checksum }
    }

    pub(super) fn segment(&self) -> &Rc<Segment<F>> {
        &self.segment
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn checksum(&self) -> u32 {
        self.checksum
    }

    /// The value, if no file holds it yet.
    pub(super) fn unwritten(&self) -> Option<Vec<u8>> {
        self.segment.log().unwritten(self.at, self.len())
    }

    fn end(&self) -> u64 {
        self.at + u64::from(self.len)
    }

    pub(super) fn is_in_file(&self) -> bool {
        self.segment.log().is_written(self.end())
    }

    /// Reads the value out of the file of a store in `dir`.
    pub(super) async fn read(&self, dir: &str) -> Result<Vec<u8>, EngineError> {
        let file =
            self.segment.log().file_up_to(self.end()).expect("who reads a file knows that it is there");
        let value = read_at(&file, self.at, self.len()).await?;
        self.check(dir, &value)?;
        assert_eq!(value.len(), self.len(), "what was checked is whole");
        Ok(value)
    }

    fn check(&self, dir: &str, value: &[u8]) -> Result<(), EngineError> {
        if value.len() == self.len() && crc32c::crc32c(value) == self.checksum {
            return Ok(());
        }
        let what = "value checksum does not match";
        Err(EngineError::Corrupt { file: self.segment.path(dir), offset: self.at, what })
    }
}

/// The values at places that are all in files, in their order. What is close together in a segment is
/// read with one request.
pub(super) async fn read_together<F: Fs>(
    places: &[&Place<F>],
    dir: &str,
) -> Result<Vec<Vec<u8>>, EngineError> {
    assert!(places.iter().all(|place| place.is_in_file()), "what is read together is in files");
    let mut values = vec![Vec::new(); places.len()];
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|i| (places[*i].segment.kind() as u8, places[*i].segment.number(), places[*i].at));
    let close = |a: &usize, b: &usize| {
        let (a, b) = (places[*a], places[*b]);
        Rc::ptr_eq(&a.segment, &b.segment) && b.at <= a.end() + GAP_BYTES
    };
    for run in order.chunk_by(close) {
        let (first, last) = (places[run[0]], places[run[run.len() - 1]]);
        assert!(first.at <= last.at, "a run is read from its beginning");
        let file = first.segment.log().file_up_to(last.end()).expect("all of them are in files");
        let bytes = read_at(&file, first.at, (last.end() - first.at) as usize).await?;
        for &i in run {
            let start = (places[i].at - first.at) as usize;
            let value = bytes.get(start..start + places[i].len()).unwrap_or_default();
            places[i].check(dir, value)?;
            values[i] = value.to_vec();
        }
    }
    Ok(values)
}

pub(super) struct Index<F: Fs>(OrderedMap<Place<F>>);

impl<F: Fs> Clone for Index<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F: Fs> Default for Index<F> {
    fn default() -> Self {
        Self(OrderedMap::default())
    }
}

impl<F: Fs> Index<F> {
    /// What an entry counts for among a segment's live bytes.
    pub(super) fn weight(key: &[u8], len: usize) -> u64 {
        (key.len() + len) as u64 + ENTRY_BYTES
    }

    /// Applies a batch that was written into a segment, its values at `places`.
    pub(super) fn apply(&mut self, segment: &Rc<Segment<F>>, batch: Mutations, places: Vec<Written>) {
        let mut places = places.into_iter();
        for mutation in batch {
            match mutation {
                Mutation::Key((key, Some(value))) => {
                    let written = places.next().expect("every value has a place");
                    self.put(key, Place::new(segment, written, value.len()));
                }
                Mutation::Key((key, None)) => self.remove(&key),
                Mutation::Range((from, to)) => {
                    let inside = self.0.range(Bound::Included(&from), Bound::Excluded(&to));
                    let keys: Vec<_> = inside.map(|(key, _)| key.to_vec()).collect();
                    keys.iter().for_each(|key| self.remove(key));
                }
            }
        }
        assert!(places.next().is_none(), "every place is of a value");
    }

    /// Leads a key to another place.
    pub(super) fn put(&mut self, key: Vec<u8>, place: Place<F>) {
        let weight = Self::weight(&key, place.len());
        place.segment.add_live(weight);
        let len = key.len() as u64;
        if let Some(old) = self.0.insert(key, place) {
            old.segment.remove_live(len + old.len() as u64 + ENTRY_BYTES);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(old) = self.0.remove(key) {
            old.segment.remove_live(Self::weight(key, old.len()));
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Place<F>> {
        self.0.get(key).cloned()
    }

    /// The first `limit` places of a range, in its order, with their keys as callers know them.
    pub(super) fn scan(&self, range: Range<'_>, limit: usize) -> Vec<(Vec<u8>, Place<F>)> {
        let (from, to) = batch::inner_range(range.family, range.from, range.to);
        if from >= to {
            return Vec::new();
        }
        let entries = self.0.range(Bound::Included(&from), Bound::Excluded(&to));
        let pair =
            |(key, place): (&[u8], &Place<F>)| (batch::outer(range.family, key).to_vec(), place.clone());
        match range.order {
            Order::Ascending => entries.take(limit).map(pair).collect(),
            Order::Descending => entries.rev().take(limit).map(pair).collect(),
        }
    }

    /// Entries behind a key, in order.
    pub(super) fn after<'a>(
        &'a self,
        key: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a [u8], &'a Place<F>)> {
        self.0.range(key.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
    }

    /// All places.
    pub(super) fn all(&self) -> Vec<Place<F>> {
        self.0.iter().map(|(_, place)| place.clone()).collect()
    }
}
