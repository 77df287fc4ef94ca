//! Which operations can be placed while a given one is the front of a search.

use std::hash::{Hash, Hasher};

use crate::cache::{Table, Words};
use crate::nearly;
use crate::parts::{Interval, NEVER, Operation, Part};
use crate::spec::Spec;

/// Per front, the operations around it.
pub(crate) struct Windows {
    /// The answered operations that were open at each front's return, itself first, in the order of
    /// their returns.
    open: Lists,
    /// Those of them that share keys with the front, directly or through others; the same order. All, if there
    /// is but one key.
    focus: Option<Lists>,
    /// How many operations of unknown outcome were invoked before the front returned.
    optional: Vec<u32>,
    /// Per operation of unknown outcome, the place of the last before it that does the same.
    twin: Vec<Option<u32>>,
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
            let places = S::keys(o.op).places(&part.keys);
            (places.start as u32, places.end as u32)
        };
        let ranges = |operations: &[Operation<'_, S::Op, S::Ret>]| -> Vec<(u32, u32)> {
            if is_one_key { Vec::new() } else { operations.iter().map(range).collect() }
        };
        // Whatever nobody knows the outcome of stays open, and may tie keys together.
        let (ranges, ties) = (ranges(known), ranges(unknown));
        let by_call = nearly::sorted(known.len(), |o| known[o as usize].call);
        let mut calls = by_call.into_iter().peekable();
        let mut windows = Self {
            open: Lists::new(),
            focus: (!is_one_key).then(Lists::new),
            optional: Vec::with_capacity(known.len()),
            twin: twins(part),
            widest: 0,
        };
        let mut now_open: Vec<u32> = Vec::new();
        for (front, operation) in known.iter().enumerate() {
            while let Some(called) = calls.next_if(|o| known[*o as usize].call < operation.end) {
                now_open.insert(now_open.partition_point(|o| *o < called), called);
            }
            assert!(now_open[0] as usize == front, "what returned earlier is no longer open");
            let optional = unknown.partition_point(|o| o.call < operation.end);
            if let Some(focus) = &mut windows.focus {
                let open_ranges = now_open.iter().map(|o| ranges[*o as usize]);
                let wide = ties[..optional].iter().copied().filter(|(from, to)| to - from > 1);
                let (low, high) = reach(ranges[front], open_ranges.chain(wide));
                let is_in_focus = |o: &&u32| {
                    let (from, to) = ranges[**o as usize];
                    **o as usize == front || (from < high && low < to)
                };
                focus.items.extend(now_open.iter().filter(is_in_focus));
                focus.end();
            }
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
        self.focus.as_ref().unwrap_or(&self.open).get(front)
    }

    pub(crate) fn optional(&self, front: usize) -> usize {
        self.optional[front] as usize
    }

    /// The operation of unknown outcome that is to be used before this one. Of several that do the same, any
    /// can take the place of any that was invoked later: so they are used in the order of invocation.
    pub(crate) fn twin(&self, optional: usize) -> Option<usize> {
        self.twin[optional].map(|twin| twin as usize)
    }

    /// The length of the longest list of open operations.
    pub(crate) fn widest(&self) -> usize {
        self.widest
    }
}

/// Per operation of unknown outcome, counted from the first of them, the last before it that is equal.
pub(crate) fn twins<S: Spec>(part: &Part<'_, S>) -> Vec<Option<u32>> {
    let unknown = &part.operations[part.answered..];
    let hash = |operation: &Operation<'_, S::Op, S::Ret>| {
        let mut hasher = Words::default();
        operation.op.hash(&mut hasher);
        hasher.finish()
    };
    let hashes: Vec<u64> = unknown.iter().map(hash).collect();
    // The last of each kind stands for it.
    let mut kinds = Table::new();
    let mut last: Vec<u32> = Vec::new();
    let mut twins = Vec::with_capacity(unknown.len());
    for (place, operation) in unknown.iter().enumerate() {
        let is_it = |kind: u32| unknown[last[kind as usize] as usize].op == operation.op;
        let kind = kinds.find(hashes[place], is_it);
        twins.push(kind.map(|kind| std::mem::replace(&mut last[kind as usize], place as u32)));
        if kind.is_none() {
            kinds.add(hashes[place], last.len() as u32, |kind| hashes[last[kind as usize] as usize]);
            last.push(place as u32);
        }
    }
    twins
}

/// How many pairs of answered operations are open together, each counted with itself too; if they are more than
/// `max`, some number above it. The answered come first, in the order of their returns.
pub(crate) fn pairs(intervals: &[Interval], max: u64) -> u64 {
    let answered = &intervals[..intervals.partition_point(|interval| interval.end != NEVER)];
    let mut pairs = 0;
    for (at, interval) in answered.iter().enumerate() {
        // Those that returned while it was open stand right in front of it: so this takes a step for each pair.
        let earlier = answered[..at].iter().rev().take_while(|earlier| earlier.end > interval.call);
        pairs += 1 + earlier.count() as u64;
        if pairs > max {
            break;
        }
    }
    pairs
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

#[cfg(test)]
mod tests {
    use contract::kv::{Op, Ret};
    use contract::{ClientId, History, Time};

    use super::{Windows, pairs, reach, twins};
    use crate::generate::Draw;
    use crate::models::kv::Kv;
    use crate::parts::{Interval, NEVER, Part, operations};

    #[test]
    fn pairs_that_are_open_are_counted() {
        let mut draw = Draw(3);
        for answered in 0..40 {
            // The ends are in order, and all events have different moments.
            let interval = |at: u32| Interval { call: 2 * draw.below(50 * at + 1), end: 100 * at + 1 };
            let mut intervals: Vec<Interval> = (0..answered).map(interval).collect();
            let is_pair = |a: &Interval, b: &Interval| a.call < b.end && b.call < a.end;
            let count = |(at, b): (usize, &Interval)| {
                1 + intervals[..at].iter().filter(|a| is_pair(a, b)).count() as u64
            };
            let expected: u64 = intervals.iter().enumerate().map(count).sum();
            intervals.push(Interval { call: 1, end: NEVER });
            assert_eq!(pairs(&intervals, u64::MAX), expected);
            assert_eq!(pairs(&intervals, expected), expected);
            assert!(expected == 0 || pairs(&intervals, expected - 1) > expected - 1);
        }
    }

    #[test]
    fn a_reach_holds_all_that_it_meets() {
        assert_eq!(reach((3, 5), [(4, 7), (7, 9), (6, 8), (0, 3), (12, 13)].into_iter()), (3, 9));
        assert_eq!(reach((3, 5), [(2, 4), (0, 1), (1, 3), (5, 6)].into_iter()), (1, 5));
        assert_eq!(reach((3, 5), [(0, 3), (5, 8)].into_iter()), (3, 5), "they only touch");
    }

    #[test]
    fn what_does_the_same_is_used_in_order() {
        let mut history = History::<Op, Ret>::default();
        for (client, value) in (1..).zip(["a", "b", "a", "a", "b", "c"]) {
            history.invoke(Time(1), ClientId(client), Op::Put { key: "k".into(), value: value.into() });
        }
        let part = Part::<Kv>::new(vec!["k".into()], operations(&history).expect("well formed"), 0);
        let expected = [None, None, Some(0), Some(2), Some(1), None];
        assert_eq!(twins(&part), expected);
        let windows = Windows::new(&part);
        assert_eq!(
            [0, 1, 2, 3, 4, 5].map(|place| windows.twin(place)),
            expected.map(|twin| twin.map(|at| at as usize))
        );
    }
}
