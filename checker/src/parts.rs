//! A history made ready for a checker: validated, freed of what says nothing, and divided by key.
//!
//! Linearizability is local (Herlihy & Wing, theorem 1): a history is linearizable if and only if
//! its restriction to each object is. Keys are such objects as long as no operation touches several
//! of them; those that one operation touches together (a scan) are joined into one part.

use std::cell::OnceCell;
use std::hash::{Hash, Hasher};

use contract::{ClientId, Event, EventKind, History, OpId, Outcome, Time};

use crate::cache::{Table, Words};
use crate::spec::{Keys, RegisterOp, Spec};
use crate::values::hash;

/// The end of an operation that has none: later than every event.
pub(crate) const NEVER: u32 = u32::MAX;

/// A history that no clients can have produced. Events are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Time ran backwards.
    #[error("event {event} happened before the event in front of it")]
    Backwards {
        /// Which event.
        event: usize,
    },
    /// An operation's number is beyond the number of operations.
    #[error("event {event} names {op}, but the history counts fewer operations")]
    Unnumbered {
        /// Which event.
        event: usize,
        /// Which operation.
        op: OpId,
    },
    /// An operation was invoked twice.
    #[error("event {event} invokes {op} a second time")]
    InvokedTwice {
        /// Which event.
        event: usize,
        /// Which operation.
        op: OpId,
    },
    /// A client invoked an operation while it waited for another.
    #[error("event {event} invokes {op} while {client} still waits for {open}")]
    Busy {
        /// Which event.
        event: usize,
        /// Whose.
        client: ClientId,
        /// Which operation.
        op: OpId,
        /// The one that had not returned.
        open: OpId,
    },
    /// An operation returned that its client was not waiting for: it was never invoked, had returned
    /// before, or was another client's.
    #[error("event {event} returns {op} to {client}, who does not wait for it")]
    NotAwaited {
        /// Which event.
        event: usize,
        /// To whom.
        client: ClientId,
        /// Which operation.
        op: OpId,
    },
    /// The history is longer than can be numbered.
    #[error("a history of {events} events is too long")]
    TooLong {
        /// How many events it has.
        events: usize,
    },
}

/// An operation that took effect, or may have.
#[derive(Debug)]
pub struct Operation<'h, O, R> {
    /// Its number in the history.
    pub id: OpId,
    /// Whose it is.
    pub client: ClientId,
    /// What was asked.
    pub op: &'h O,
    /// What was answered; `None` if nobody knows.
    pub ret: Option<&'h R>,
    /// When it was invoked.
    pub invoked: Time,
    /// When it was answered; [`Time::FAR`] if it never was.
    pub returned: Time,
    pub(crate) call: u32,
    pub(crate) end: u32,
    /// The hash of the content that it reads or writes, if that was looked at when it was near.
    pub(crate) content_hash: Option<u64>,
}

impl<O, R> Operation<'_, O, R> {
    /// Whether it returned before `other` was invoked, so that it must take effect before it.
    pub fn precedes(&self, other: &Self) -> bool {
        self.end < other.call
    }

    /// Whether it was answered.
    pub fn is_answered(&self) -> bool {
        self.ret.is_some()
    }
}

/// Operations that are judged together.
#[derive(Debug)]
pub struct Part<'h, S: Spec> {
    /// The keys that they touch, in order.
    pub keys: Vec<S::Key>,
    /// First those that were answered, in the order in which they returned; then the others, in the
    /// order in which they were invoked.
    pub operations: Vec<Operation<'h, S::Op, S::Ret>>,
    /// How many of them were answered.
    pub answered: usize,
    blind: OnceCell<Vec<bool>>,
}

impl<'h, S: Spec> Part<'h, S> {
    pub(crate) fn new(
        keys: Vec<S::Key>,
        operations: Vec<Operation<'h, S::Op, S::Ret>>,
        answered: usize,
    ) -> Self {
        Self { keys, operations, answered, blind: OnceCell::new() }
    }

    /// Those of `operations` at the places `chosen`, in order.
    pub(crate) fn of(
        operations: &[Operation<'h, S::Op, S::Ret>],
        chosen: &[usize],
        keys: Vec<S::Key>,
    ) -> Self {
        let copy = |at: &usize| {
            let Operation { id, client, op, ret, invoked, returned, call, end, content_hash } =
                operations[*at];
            Operation { id, client, op, ret, invoked, returned, call, end, content_hash }
        };
        let chosen: Vec<Operation<'h, S::Op, S::Ret>> = chosen.iter().map(copy).collect();
        let answered = chosen.partition_point(Operation::is_answered);
        Self::new(keys, chosen, answered)
    }

    /// [`Spec::blind`] of the operation of unknown outcome at a place of the part.
    pub fn is_blind(&self, place: usize) -> bool {
        self.blind.get_or_init(|| S::blind(self))[place - self.answered]
    }

    /// Makes [`Part::is_blind`] say no: what is observed later is not known.
    pub(crate) fn with_a_future(self) -> Self {
        self.blind.set(vec![false; self.operations.len() - self.answered]).expect("nobody asked before");
        self
    }

    /// Whether an order of places explains every answer and holds no operation before one that had
    /// returned when it was invoked, nor any twice. Takes time linear in its length.
    pub(crate) fn is_explained(&self, initial: &S, order: &[u32]) -> bool {
        let mut state = initial.clone();
        let mut latest_call = 0;
        let mut left = vec![true; self.operations.len()];
        for at in order {
            let operation = &self.operations[*at as usize];
            latest_call = latest_call.max(operation.call);
            if operation.end < latest_call || !std::mem::replace(&mut left[*at as usize], false) {
                return false;
            }
            match state.step(operation.op, operation.ret) {
                Some(after) => state = after,
                None => return false,
            }
        }
        left[..self.answered].iter().all(|left| !left)
    }

    /// Its keys, for people.
    pub fn name(&self) -> String {
        let names: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        match names.split_last() {
            None => "no key".to_owned(),
            Some((only, [])) => only.clone(),
            Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        }
    }
}

/// Validates a history and divides it, smallest part first.
pub fn split<S: Spec>(history: &History<S::Op, S::Ret>) -> Result<Vec<Part<'_, S>>, Malformed> {
    let mut keys = Touched::new();
    // A long history does not fit into the caches of a processor: so what its operations touch is looked
    // at as soon as they return.
    let operations = operations_with(history, |operation| {
        // An operation without an answer that changes nothing says nothing, but would join keys.
        let says_something = operation.is_answered() || !S::is_read(operation.op, None);
        if says_something {
            keys.add::<S>(operation.op);
            operation.content_hash = match S::register_op(operation.op, operation.ret) {
                Some(RegisterOp::Read(content) | RegisterOp::Write(content)) => Some(hash(content)),
                _ => None,
            };
        }
        says_something
    })?;
    let mut parts = divide::<S>(operations, keys);
    parts.sort_by_key(|part| part.operations.len());
    Ok(parts)
}

/// Where an operation is while a history is read.
#[derive(Clone, Copy)]
enum Progress {
    Unseen,
    /// It was invoked by this event and has not returned, or nobody knows how.
    Open(u32),
    Over,
}

/// The operations of a history without those that failed: first those that were answered, in order of
/// return, then the others in order of invocation.
pub(crate) fn operations<O, R>(history: &History<O, R>) -> Result<Vec<Operation<'_, O, R>>, Malformed> {
    operations_with(history, |_| true)
}

/// The same without those for which `keep`, which is asked in the same order, says no.
fn operations_with<'h, O, R>(
    history: &'h History<O, R>,
    mut keep: impl FnMut(&mut Operation<'h, O, R>) -> bool,
) -> Result<Vec<Operation<'h, O, R>>, Malformed> {
    let events = history.events();
    if events.len() >= NEVER as usize {
        return Err(Malformed::TooLong { events: events.len() });
    }
    let mut operations: Vec<Operation<'h, O, R>> = Vec::with_capacity(history.operations());
    let mut progress: Vec<Progress> = vec![Progress::Unseen; history.operations()];
    let mut awaited: Vec<Option<OpId>> = Vec::new();
    let mut now = Time::ZERO;
    for (at, event) in events.iter().enumerate() {
        let (op, client) = (event.op, event.client);
        if event.time < now {
            return Err(Malformed::Backwards { event: at });
        }
        now = event.time;
        let Some(progress) = progress.get_mut(op.0 as usize) else {
            return Err(Malformed::Unnumbered { event: at, op });
        };
        if awaited.len() <= client.0 as usize {
            awaited.resize(client.0 as usize + 1, None);
        }
        let awaited = &mut awaited[client.0 as usize];
        match (&event.kind, *progress) {
            (EventKind::Invoke(_), Progress::Unseen) => {
                if let Some(open) = awaited.replace(op) {
                    return Err(Malformed::Busy { event: at, client, op, open });
                }
                *progress = Progress::Open(at as u32);
            }
            (EventKind::Invoke(_), _) => return Err(Malformed::InvokedTwice { event: at, op }),
            (EventKind::Return(outcome), Progress::Open(call)) if *awaited == Some(op) => {
                *awaited = None;
                if let Outcome::Ok(ret) = outcome {
                    let mut operation =
                        Operation { ret: Some(ret), returned: now, end: at as u32, ..invoked(events, call) };
                    if keep(&mut operation) {
                        operations.push(operation);
                    }
                }
                if !matches!(outcome, Outcome::Unknown) {
                    *progress = Progress::Over;
                }
            }
            (EventKind::Return(_), _) => return Err(Malformed::NotAwaited { event: at, client, op }),
        }
    }
    let open = |progress| if let Progress::Open(call) = progress { Some(call) } else { None };
    let mut calls: Vec<u32> = progress.into_iter().filter_map(open).collect();
    calls.sort_unstable();
    operations.extend(
        calls
            .into_iter()
            .map(|call| invoked(events, call))
            .filter_map(|mut operation| keep(&mut operation).then_some(operation)),
    );
    Ok(operations)
}

/// The operation that an event invokes.
fn invoked<O, R>(events: &[Event<O, R>], call: u32) -> Operation<'_, O, R> {
    let event = &events[call as usize];
    let EventKind::Invoke(op) = &event.kind else { unreachable!("what is open was invoked") };
    Operation {
        id: event.op,
        client: event.client,
        op,
        ret: None,
        invoked: event.time,
        returned: Time::FAR,
        call,
        end: NEVER,
        content_hash: None,
    }
}

/// What operations touch, in their order.
struct Touched<K> {
    known: Known<K>,
    ranges: Vec<(usize, K, K)>,
    /// Per operation one of its keys, by number; an operation on a range without keys has none.
    one_key: Vec<Option<u32>>,
}

impl<K: Clone + Ord + Hash + std::fmt::Display> Touched<K> {
    fn new() -> Self {
        let known = Known { table: Table::with_capacity(0), keys: Vec::new() };
        Self { known, ranges: Vec::new(), one_key: Vec::new() }
    }

    fn add<S: Spec<Key = K>>(&mut self, op: &S::Op) {
        self.one_key.push(match S::keys(op) {
            Keys::One(key) => Some(self.known.number(key)),
            Keys::Range { from, to } => {
                self.ranges.push((self.one_key.len(), from, to));
                None
            }
        });
    }
}

/// Gathers operations into parts that share no key.
fn divide<'h, S: Spec>(
    operations: Vec<Operation<'h, S::Op, S::Ret>>,
    touched: Touched<S::Key>,
) -> Vec<Part<'h, S>> {
    let Touched { known, ranges, mut one_key } = touched;
    let keys = known.keys;
    let mut sorted: Vec<u32> = (0..keys.len() as u32).collect();
    sorted.sort_unstable_by_key(|key| &keys[*key as usize]);
    let mut groups = Groups::new(keys.len());
    for (at, from, to) in ranges {
        let low = sorted.partition_point(|key| keys[*key as usize] < from);
        let high = sorted.partition_point(|key| keys[*key as usize] < to).max(low);
        let range = &sorted[low..high];
        one_key[at] = range.first().copied();
        for pair in range.windows(2) {
            groups.join(pair[0] as usize, pair[1] as usize);
        }
    }

    let mut sizes = vec![0; keys.len()];
    for key in one_key.iter().flatten() {
        sizes[groups.root(*key as usize)] += 1;
    }
    let mut parts: Vec<Part<'h, S>> = Vec::new();
    let mut part_of: Vec<Option<usize>> = vec![None; keys.len()];
    for key in sorted {
        let root = groups.root(key as usize);
        let part = *part_of[root].get_or_insert_with(|| {
            parts.push(Part::new(Vec::new(), Vec::with_capacity(sizes[root]), 0));
            parts.len() - 1
        });
        parts[part].keys.push(keys[key as usize].clone());
    }
    for (operation, key) in operations.into_iter().zip(one_key) {
        let part = match key {
            Some(key) => part_of[groups.root(key as usize)].expect("every key has a part"),
            None => {
                parts.push(Part::new(Vec::new(), Vec::new(), 0));
                parts.len() - 1
            }
        };
        parts[part].answered += usize::from(operation.is_answered());
        parts[part].operations.push(operation);
    }
    parts
}

/// Keys that are known by their numbers.
struct Known<K> {
    table: Table,
    keys: Vec<K>,
}

impl<K: PartialEq + Hash> Known<K> {
    fn number(&mut self, key: K) -> u32 {
        let hash = hash_of(&key);
        if let Some(number) = self.table.find(hash, |n| self.keys[n as usize] == key) {
            return number;
        }
        let number = self.keys.len() as u32;
        self.table.add(hash, number, |n| hash_of(&self.keys[n as usize]));
        self.keys.push(key);
        number
    }
}

fn hash_of(key: &impl Hash) -> u64 {
    let mut hasher = Words::default();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Disjoint sets of numbers (union-find with path halving). The least member represents its set.
struct Groups(Vec<usize>);

impl Groups {
    fn new(members: usize) -> Self {
        Self((0..members).collect())
    }

    fn root(&mut self, mut member: usize) -> usize {
        while self.0[member] != member {
            self.0[member] = self.0[self.0[member]];
            member = self.0[member];
        }
        member
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
