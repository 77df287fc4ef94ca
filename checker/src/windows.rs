//! Which operations can be placed while a given one is the front of a search.

use crate::nearly;
use crate::parts::{Operation, Part};
use crate::spec::{Keys, Spec};

/// Per front, the operations around it.
pub(crate) struct Windows {
    /// The answered operations that were open at each front's return, itself first, in the order of
    /// their returns.
    open: Lists,
    /// Those of them that share keys with the front, directly or through others; the same order.
    focus: Lists,
    /// How many operations of unknown outcome were invoked before the front returned.
    optional: Vec<u32>,
    widest: usize,
}

/// Lists behind each other in one piece of memory.
struct Lists {
    items: Vec<u32>,
    starts: Vec<u32>,
}

impl Lists {
    fn new() -> Self {
        Self { items: Vec::new(), starts: vec![0] }
    }

    /// Ends the list that `items` were added to.
    fn end(&mut self) {
        self.starts.push(u32::try_from(self.items.len()).expect("windows fit into memory"));
    }

    fn get(&self, list: usize) -> &[u32] {
        &self.items[self.starts[list] as usize..self.starts[list + 1] as usize]
    }
}

impl Windows {
    pub(crate) fn new<S: Spec>(part: &Part<'_, S>) -> Self {
        let (known, unknown) = part.operations.split_at(part.answered);
        let is_one_key = part.keys.len() == 1;
        let range = |o: &Operation<'_, S::Op, S::Ret>| {
            if is_one_key { (0, 1) } else { places(&part.keys, S::keys(o.op)) }
        };
        let ranges: Vec<(u32, u32)> = known.iter().map(range).collect();
        // Whatever nobody knows the outcome of stays open, and may tie keys together.
        let ties: Vec<(u32, u32)> = unknown.iter().map(range).collect();
        let by_call = nearly::sorted(known.len(), |o| known[o as usize].call);
        let mut calls = by_call.into_iter().peekable();
        let mut windows = Self {
            open: Lists::new(),
            focus: Lists::new(),
            optional: Vec::with_capacity(known.len()),
            widest: 0,
        };
        let mut now_open: Vec<u32> = Vec::new();
        for (front, operation) in known.iter().enumerate() {
            while let Some(called) = calls.next_if(|o| known[*o as usize].call < operation.end) {
                now_open.insert(now_open.partition_point(|o| *o < called), called);
            }
            assert!(now_open[0] as usize == front, "what returned earlier is no longer open");
            let optional = unknown.partition_point(|o| o.call < operation.end);
            let open_ranges = now_open.iter().map(|o| ranges[*o as usize]);
            let wide = ties[..optional].iter().copied().filter(|(from, to)| to - from > 1);
            if is_one_key {
                windows.focus.items.extend_from_slice(&now_open);
            } else {
                let (low, high) = reach(ranges[front], open_ranges.chain(wide));
                let is_in_focus = |o: &&u32| {
                    let (from, to) = ranges[**o as usize];
                    **o as usize == front || (from < high && low < to)
                };
                windows.focus.items.extend(now_open.iter().filter(is_in_focus));
            }
            windows.focus.end();
            windows.open.items.extend_from_slice(&now_open);
            windows.open.end();
            windows.optional.push(optional as u32);
            windows.widest = windows.widest.max(now_open.len());
            now_open.remove(0);
        }
        windows
    }

    pub(crate) fn open(&self, front: usize) -> &[u32] {
        self.open.get(front)
    }

    pub(crate) fn focus(&self, front: usize) -> &[u32] {
        self.focus.get(front)
    }

    pub(crate) fn optional(&self, front: usize) -> usize {
        self.optional[front] as usize
    }

    /// The length of the longest list of open operations.
    pub(crate) fn widest(&self) -> usize {
        self.widest
    }
}

/// How many pairs of answered operations of a part are open together.
pub(crate) fn pairs<S: Spec>(part: &Part<'_, S>) -> u64 {
    let answered = &part.operations[..part.answered];
    let mut calls: Vec<u32> = answered.iter().map(|operation| operation.call).collect();
    calls.sort_unstable();
    let open = (0..)
        .zip(answered)
        .map(|(returned, operation)| (calls.partition_point(|call| *call < operation.end) - returned) as u64);
    open.sum()
}

/// The places of an operation's keys among those of its part.
fn places<K: Ord>(keys: &[K], touched: Keys<K>) -> (u32, u32) {
    let (low, high) = match touched {
        Keys::One(key) => {
            let at = keys.binary_search(&key).expect("a part has the keys of its operations");
            (at, at + 1)
        }
        Keys::Range { from, to } => {
            let low = keys.partition_point(|key| *key < from);
            (low, keys.partition_point(|key| *key < to).max(low))
        }
    };
    (low as u32, high as u32)
}

/// The smallest range of keys that holds `range` and every one of `others` that meets it.
fn reach(range: (u32, u32), others: impl Iterator<Item = (u32, u32)> + Clone) -> (u32, u32) {
    let (mut low, mut high) = range;
    loop {
        let before = (low, high);
        for (from, to) in others.clone() {
            if from < high && low < to {
                (low, high) = (low.min(from), high.max(to));
            }
        }
        if (low, high) == before {
            return before;
        }
    }
}
