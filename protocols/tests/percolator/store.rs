//! A group without replication: a service over maps, and what stands in them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use contract::{
    Batch, Bugs, Bytes, Change, ClientId, Command, EngineError, Entry, Epoch, Family, GroupId, Index, Mark,
    Order, Payload, Range, ReadStore, Request, Service, Time,
};
use futures::FutureExt;
use seedbed_protocols::PercolatorService;
use seedbed_protocols::mvcc::split_version_key;
use seedbed_protocols::percolator::{Op, Region, Ret, Span};

/// An ordered store in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Store(BTreeMap<Family, BTreeMap<Vec<u8>, Vec<u8>>>);

impl ReadStore for Store {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.get(&family).and_then(|pairs| pairs.get(key).cloned()))
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        assert_eq!(range.order, Order::Ascending, "a shard scans upwards");
        let Some(pairs) = self.0.get(&range.family) else { return Ok(0) };
        let below = |key: &[u8]| range.to.is_none_or(|to| key < to);
        let found = pairs.range(range.from.to_vec()..).take_while(|(key, _)| below(key)).take(limit);
        Ok(found.map(|(key, value)| pair(key, value)).count())
    }
}

impl Store {
    fn write(&mut self, batch: Batch) {
        for change in batch.changes {
            match change {
                Change::Put { family, key, value } => {
                    assert!(family != Family::DEFAULT || key.first() != Some(&0), "that key is the host's");
                    self.0.entry(family).or_default().insert(key, value);
                }
                Change::Delete { family, key } => {
                    self.0.entry(family).or_default().remove(&key);
                }
                Change::DeleteRange { family, from, to } => {
                    let inside = |key: &[u8]| *from <= *key && to.as_ref().is_none_or(|to| *key < **to);
                    self.0.entry(family).or_default().retain(|key, _| !inside(key));
                }
            }
        }
    }
}

/// A group's service, and its store.
pub(crate) struct Group {
    id: GroupId,
    bugs: Bugs,
    founding: Vec<Region>,
    service: PercolatorService,
    store: Store,
    applied: u64,
}

fn now<T>(future: impl Future<Output = Result<T, EngineError>>) -> T {
    future.now_or_never().expect("a map never waits").expect("a map never fails")
}

impl Group {
    pub(crate) fn new(bugs: Bugs, id: GroupId, founding: &[Region]) -> Self {
        let service = PercolatorService::new(bugs, id, founding.to_vec());
        Self { id, bugs, founding: founding.to_vec(), service, store: Store::default(), applied: 0 }
    }

    /// What the process had in memory is lost.
    pub(crate) fn restart(&mut self) {
        self.service = PercolatorService::new(self.bugs, self.id, self.founding.clone());
    }

    /// Applies an operation, as a host does; a read has no place in the log.
    pub(crate) fn ask(&mut self, op: &Op, proposed_at: Time) -> Ret {
        if PercolatorService::is_read(op) {
            return now(self.service.query(op, &self.store));
        }
        self.applied += 1;
        let request = Request { client: ClientId(1), seq: self.applied, op: op.clone() };
        let command = Command { proposed_at, data: PercolatorService::encode(&request) };
        let mark = Mark { epoch: Epoch(1), index: Index(self.applied) };
        let entry = Entry { mark, payload: Payload::Command(command) };
        let mut batch = Batch::default();
        let answer = now(self.service.apply(&entry, &self.store, &mut batch)).expect("it is never rejected");
        self.store.write(batch);
        let encoded = PercolatorService::encode_answer(&answer);
        assert_eq!(PercolatorService::decode_answer(&encoded), answer, "an answer is what was encoded");
        answer
    }

    /// How many pairs stand in each family.
    pub(crate) fn counted(&self) -> String {
        let count = |family| self.pairs_of(family).count();
        format!("data {}, locks {}, writes {}", count(1), count(2), count(3))
    }

    fn pairs_of(&self, family: u8) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.store.0.get(&Family(family)).into_iter().flatten()
    }

    /// What the scheduler keeps of reports: this pins the format, too.
    pub(crate) fn reports(&self) -> String {
        type Reports = (Vec<u32>, Vec<(Span, u64)>);
        let stored = self.store.0.get(&Family::DEFAULT).and_then(|pairs| pairs.get(&b"s"[..]));
        let Some(stored) = stored else { return "nothing\n".to_owned() };
        let (groups, sizes): Reports = postcard::from_bytes(stored).expect("reports");
        let groups: Vec<String> = groups.iter().map(|group| format!("g{group}")).collect();
        let sizes = sizes.iter().map(|(span, pairs)| format!("  {span}: {pairs}\n"));
        format!("by {}\n{}", groups.join(", "), sizes.collect::<String>())
    }

    /// What stands in the store, decoded by what its layout says: this pins the format.
    pub(crate) fn shown(&self) -> String {
        let mut text = String::new();
        let at = |encoded: &[u8]| {
            let (key, at) = split_version_key(encoded).expect("a version's key");
            format!("{}{at}", key.escape_ascii())
        };
        for (key, value) in self.pairs_of(1) {
            let _ = writeln!(text, "  data {} = \"{}\"", at(key), value.escape_ascii());
        }
        for (key, lock) in self.pairs_of(2) {
            type Lock = (u32, Bytes, u64, u64, u64, u64, Option<Vec<Bytes>>);
            let (kind, primary, start, expires, for_update, min_commit, secondaries): Lock =
                postcard::from_bytes(lock).expect("a lock");
            let kind = ["put", "delete", "lock", "pessimistic"][kind as usize];
            let _ = write!(text, "  lock {} {kind} since @{start} by {primary}", key.escape_ascii());
            if for_update > 0 {
                let _ = write!(text, " for update @{for_update}");
            }
            let _ = write!(text, ", commits from @{min_commit}, expires at {expires}us");
            if let Some(secondaries) = secondaries {
                let names: Vec<String> = secondaries.iter().map(ToString::to_string).collect();
                let _ = write!(text, ", with [{}]", names.join(", "));
            }
            let _ = writeln!(text);
        }
        for (key, record) in self.pairs_of(3) {
            let kind = ["delete", "put", "lock", "rollback", "protected rollback"][usize::from(record[0])];
            let (start, overlaps): (u64, bool) = postcard::from_bytes(&record[1..]).expect("a record");
            let overlaps = if overlaps { ", overlaps a rollback" } else { "" };
            let _ = writeln!(text, "  write {} {kind} since @{start}{overlaps}", at(key));
        }
        text
    }
}
