//! The key-value service against a model: a map, and the last answer of each client.

use std::collections::BTreeMap;

use contract::kv::{Op, Ret};
use contract::{
    Batch, Bytes, Change, ClientId, Command, EngineError, Entry, Epoch, Family, Index, Mark, Payload, Range,
    ReadStore, Rejection, Request, Service, Time,
};
use futures::FutureExt;
use proptest::prelude::*;
use seedbed_protocols::KvService;

#[derive(Clone, Debug, Default, PartialEq)]
struct Store(BTreeMap<Vec<u8>, Vec<u8>>);

impl ReadStore for Store {
    async fn get_in(&self, _family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.get(key).cloned())
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        let below = |key: &[u8]| range.to.is_none_or(|to| key < to);
        let pairs = self.0.range(range.from.to_vec()..).take_while(|(key, _)| below(key)).take(limit);
        Ok(pairs.map(|(key, value)| pair(key, value)).count())
    }
}

fn now<T>(future: impl Future<Output = Result<T, EngineError>>) -> T {
    future.now_or_never().expect("a map never waits").expect("a map never fails")
}

impl Store {
    /// Applies an entry as a host does.
    fn apply(&mut self, command_data: Option<Bytes>) -> Result<Ret, Rejection> {
        let command = |data| Payload::Command(Command { proposed_at: Time::ZERO, data });
        let payload = command_data.map_or(Payload::Noop, command);
        let entry = Entry { mark: Mark { epoch: Epoch(1), index: Index(1) }, payload };
        let mut batch = Batch::default();
        let answer = now(KvService::default().apply(&entry, self, &mut batch));
        for change in batch.changes {
            match change {
                Change::Put { key, value, .. } => self.0.insert(key, value),
                Change::Delete { key, .. } => self.0.remove(&key),
                Change::DeleteRange { .. } => panic!("the service deletes no ranges"),
            };
        }
        answer
    }
}

#[derive(Default)]
struct Model {
    map: BTreeMap<Bytes, Bytes>,
    sessions: BTreeMap<ClientId, (u64, Ret)>,
}

impl Model {
    fn apply(&mut self, request: &Request<Op>) -> Result<Ret, Rejection> {
        if let Some((last, answer)) = self.sessions.get(&request.client) {
            match request.seq.cmp(last) {
                std::cmp::Ordering::Less => return Err(Rejection::Stale),
                std::cmp::Ordering::Equal => return Ok(answer.clone()),
                std::cmp::Ordering::Greater => {}
            }
        }
        let answer = self.effect(&request.op);
        self.sessions.insert(request.client, (request.seq, answer.clone()));
        Ok(answer)
    }

    fn effect(&mut self, op: &Op) -> Ret {
        match op {
            Op::Get { key } => Ret::Value(self.map.get(key).cloned()),
            Op::Scan { from, to } => {
                let inside = self.map.iter().filter(|(key, _)| *from <= **key && **key < *to);
                Ret::Pairs(inside.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            Op::Put { key, value } => {
                self.map.insert(key.clone(), value.clone());
                Ret::Done
            }
            Op::Append { key, value } => {
                let old = self.map.get(key).map_or_else(Vec::new, |old| old.to_vec());
                self.map.insert(key.clone(), [&old, &**value].concat().into());
                Ret::Done
            }
            Op::Delete { key } => {
                self.map.remove(key);
                Ret::Done
            }
            Op::Cas { key, expected, value } => {
                let swap = self.map.get(key) == expected.as_ref();
                if swap {
                    self.map.insert(key.clone(), value.clone());
                }
                Ret::Swapped(swap)
            }
            Op::Decide { key, value } => {
                Ret::Value(Some(self.map.entry(key.clone()).or_insert_with(|| value.clone()).clone()))
            }
        }
    }
}

/// Few and short, so that they meet; some hold the prefixes that the store uses.
fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(prop::sample::select(vec![0, b'k', b's', 255]), 0..3).prop_map(Bytes::from)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        bytes().prop_map(|key| Op::Get { key }),
        (bytes(), bytes()).prop_map(|(key, value)| Op::Put { key, value }),
        (bytes(), bytes()).prop_map(|(key, value)| Op::Append { key, value }),
        bytes().prop_map(|key| Op::Delete { key }),
        (bytes(), prop::option::of(bytes()), bytes()).prop_map(|(key, expected, value)| Op::Cas {
            key,
            expected,
            value
        }),
        (bytes(), bytes()).prop_map(|(from, to)| Op::Scan { from, to }),
        (bytes(), bytes()).prop_map(|(key, value)| Op::Decide { key, value }),
    ]
}

fn request() -> impl Strategy<Value = Request<Op>> {
    (1u16..4, 1u64..12, op()).prop_map(|(client, seq, op)| Request { client: ClientId(client), seq, op })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_map_with_sessions(
        requests in prop::collection::vec(request(), 1..60),
        reads in prop::collection::vec(op(), 8),
    ) {
        let (mut store, mut model) = (Store::default(), Model::default());
        for request in &requests {
            let answer = store.apply(Some(KvService::encode(request)));
            prop_assert_eq!(answer, model.apply(request), "{}", request.op);
        }
        for read in reads.iter().filter(|op| KvService::is_read(op)) {
            prop_assert_eq!(now(KvService::default().query(read, &store)), model.effect(read), "{}", read);
        }
    }
}

#[test]
fn a_repeated_command_takes_effect_once_and_a_no_op_never() {
    let mut store = Store::default();
    let append = |seq| {
        let op = Op::Append { key: "x".into(), value: "1".into() };
        Some(KvService::encode(&Request { client: ClientId(1), seq, op }))
    };
    assert_eq!(store.apply(append(1)), Ok(Ret::Done));
    assert_eq!(store.apply(append(2)), Ok(Ret::Done));
    let before = store.clone();
    assert_eq!(store.apply(append(2)), Ok(Ret::Done));
    assert_eq!(store.apply(append(1)), Err(Rejection::Stale));
    assert_eq!(store.apply(None), Ok(Ret::Done));
    assert_eq!(store, before);
    let read = now(KvService::default().query(&Op::Get { key: "x".into() }, &store));
    assert_eq!(read, Ret::Value(Some("11".into())));
}
