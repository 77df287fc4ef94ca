//! The order in which the service took in the operations of a run: a witness for its history.
//!
//! A write stands at the index of its entry, a read behind the entry with which its node answered it, in
//! the order in which reads were answered. The order is a hint: the checker verifies it, and searches if it
//! explains nothing (for example because a retried read was answered twice).

use std::collections::BTreeSet;

use contract::{Address, ClientId, Entry, Index, OpId};
use protocols::KvService;

use crate::client::Records;

/// Collects the order.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// Where each request stands: the index, and how many were noted before.
    places: Vec<(Index, u32, ClientId, u64)>,
    applied: Index,
}

impl Order {
    /// An entry was applied, by the first node or by another one.
    pub(crate) fn applied(&mut self, entry: &Entry) {
        if entry.mark.index <= self.applied {
            return;
        }
        self.applied = entry.mark.index;
        if let Some(command) = entry.command() {
            let request = KvService::decode(&command.data);
            self.note(entry.mark.index, request.client, request.seq);
        }
    }

    /// A read is answered with all entries up to an index applied.
    pub(crate) fn queried(&mut self, client: Address, seq: u64, at: Index) {
        if let Address::Client(client) = client {
            self.note(at, client, seq);
        }
    }

    fn note(&mut self, at: Index, client: ClientId, seq: u64) {
        let number = u32::try_from(self.places.len()).expect("a run has below 2^32 operations");
        self.places.push((at, number, client, seq));
    }

    /// The operations in that order. Of a request that came twice the first place counts.
    pub(crate) fn operations(&self, records: &Records) -> Vec<OpId> {
        let mut places = self.places.clone();
        places.sort_unstable();
        let mut seen = BTreeSet::new();
        let known = places.iter().filter_map(|(_, _, client, seq)| records.operation(*client, *seq));
        known.filter(|operation| seen.insert(*operation)).collect()
    }
}
