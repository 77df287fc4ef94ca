//! A key-value store with client sessions, so that each command takes effect once (Raft §8;
//! Ongaro's dissertation, §6.3).
//!
//! Keys in the store:
//!
//! | Key | Value |
//! |---|---|
//! | `k`, the user's key | the user's value |
//! | `s`, the client's id as two bytes, high first | postcard: number and answer of its last command |
//!
//! A client sends one command after the other, so a session holds one answer. A command's effect and
//! its session's new state are written together: a command that comes twice, by a retry or by two
//! places in the log, finds its own answer and changes nothing.

use contract::kv::{Op, Ret};
use contract::{
    Batch, Bug, Bugs, Bytes, ClientId, EngineError, Entry, Range, ReadStore, Rejection, Request, Service,
    Time,
};

/// The key-value service.
#[derive(Clone, Copy, Debug, Default)]
pub struct KvService {
    /// Bugs planted in it.
    pub bugs: Bugs,
}

fn user_key(key: &[u8]) -> Vec<u8> {
    [b"k", key].concat()
}

fn session_key(client: ClientId) -> Vec<u8> {
    [b"s".as_slice(), &client.0.to_be_bytes()].concat()
}

fn decode<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8], what: &str) -> T {
    postcard::from_bytes(bytes).unwrap_or_else(|error| panic!("{what} is what was encoded: {error}"))
}

async fn value(store: &impl ReadStore, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
    Ok(store.get(&user_key(key)).await?.map(Bytes::from))
}

async fn pairs(store: &impl ReadStore, from: &[u8], to: &[u8]) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
    if from >= to {
        return Ok(Vec::new());
    }
    let (from, to, mut pairs) = (user_key(from), user_key(to), Vec::new());
    let mut pair = |key: &[u8], value: &[u8]| pairs.push((key[1..].into(), value.into()));
    store.visit(Range::between(&from, &to), usize::MAX, &mut pair).await?;
    assert!(pairs.is_sorted(), "a store scans in key order");
    Ok(pairs)
}

impl KvService {
    /// The request that a command was made of.
    pub fn decode(command: &[u8]) -> Request<Op> {
        decode(command, "a command")
    }

    /// The effect of a command, added to `batch`, and its answer.
    async fn effect(&self, op: Op, store: &impl ReadStore, batch: &mut Batch) -> Result<Ret, EngineError> {
        Ok(match op {
            Op::Get { .. } | Op::Scan { .. } => self.query(&op, store).await?,
            Op::Put { key, value } => {
                batch.put(user_key(&key), &*value);
                Ret::Done
            }
            Op::Append { key, value: added } => {
                let mut bytes = value(store, &key).await?.map_or_else(Vec::new, |old| old.to_vec());
                bytes.extend_from_slice(&added);
                batch.put(user_key(&key), bytes);
                Ret::Done
            }
            Op::Delete { key } => {
                batch.delete(user_key(&key));
                Ret::Done
            }
            Op::Cas { key, expected, value: new } => {
                let swap = value(store, &key).await? == expected;
                if swap {
                    batch.put(user_key(&key), &*new);
                }
                Ret::Swapped(swap)
            }
            Op::Decide { key, value: proposed } => {
                let decided = match value(store, &key).await? {
                    Some(decided) => decided,
                    None => {
                        batch.put(user_key(&key), &*proposed);
                        proposed
                    }
                };
                Ret::Value(Some(decided))
            }
        })
    }
}

/// Planted: [`Bug::LastWriteWinsByClock`]. Whether a write is older than the last one to its key by
/// their leaders' clocks; the key `t`, the user's key, holds when that was.
async fn is_outdated(
    op: &Op,
    proposed_at: Time,
    store: &impl ReadStore,
    batch: &mut Batch,
) -> Result<bool, EngineError> {
    let Op::Put { key, .. } = op else { return Ok(false) };
    let stamp = [b"t", &**key].concat();
    let last = store.get(&stamp).await?.map_or(Time::ZERO, |bytes| decode(&bytes, "a time"));
    batch.put(stamp, postcard::to_stdvec(&last.max(proposed_at)).expect("a time encodes into memory"));
    Ok(proposed_at < last)
}

impl Service for KvService {
    type Op = Op;
    type Ret = Ret;

    fn is_read(op: &Op) -> bool {
        op.is_read()
    }

    fn encode(request: &Request<Op>) -> Bytes {
        assert!(request.seq > 0, "the operations of a session are numbered from 1");
        postcard::to_stdvec(request).expect("a request encodes into memory").into()
    }

    fn encode_answer(answer: &Ret) -> Bytes {
        postcard::to_stdvec(answer).expect("an answer encodes into memory").into()
    }

    fn decode_answer(answer: &[u8]) -> Ret {
        decode(answer, "an answer")
    }

    async fn apply(
        &mut self,
        entry: &Entry,
        store: &impl ReadStore,
        batch: &mut Batch,
    ) -> Result<Result<Ret, Rejection>, EngineError> {
        let Some(command) = entry.command() else { return Ok(Ok(Ret::Done)) };
        let Request { client, seq, op } = Self::decode(&command.data);
        assert!(seq > 0, "the operations of a session are numbered from 1");
        if let Some(session) = store.get(&session_key(client)).await?
            && !self.bugs.has(Bug::CommandAppliedTwice)
        {
            let (last, answer): (u64, Ret) = decode(&session, "a session");
            if seq <= last {
                return Ok(if seq == last { Ok(answer) } else { Err(Rejection::Stale) });
            }
        }
        let outdated = self.bugs.has(Bug::LastWriteWinsByClock)
            && is_outdated(&op, command.proposed_at, store, batch).await?;
        let answer = if outdated { Ret::Done } else { self.effect(op, store, batch).await? };
        let session = postcard::to_stdvec(&(seq, &answer)).expect("a session encodes into memory");
        batch.put(session_key(client), session);
        Ok(Ok(answer))
    }

    async fn query(&self, op: &Op, store: &impl ReadStore) -> Result<Ret, EngineError> {
        match op {
            Op::Get { key } => Ok(Ret::Value(value(store, key).await?)),
            Op::Scan { from, to } => Ok(Ret::Pairs(pairs(store, from, to).await?)),
            Op::Put { .. } | Op::Append { .. } | Op::Delete { .. } | Op::Cas { .. } | Op::Decide { .. } => {
                panic!("{} changes the state and needs a place in the log", op.name())
            }
        }
    }
}
