//! All linearizations at once, return by return.
//!
//! After Lowe ("Testing for linearizability", 2017, just-in-time linearization): where a search goes
//! deep, this advances the *set* of all configurations from one front to the next, and forgets those
//! behind it. The configurations and what leads from one to the next are those of
//! [`linearizability`](crate::linearizability), with all that is left out there. So it finds the same,
//! in memory that depends on how many configurations there are at once, not on how long the history is;
//! and what it has at a front is all that the past means for the future.

use std::collections::BTreeMap;

use crate::cache::{Configurations, States};
use crate::linearizability::{Attempt, Status};
use crate::parts::Part;
use crate::spec::{Helpers, Spec};
use crate::windows::Windows;

/// So many states are not worth forgetting.
const STATES_MIN: usize = 256;

/// A configuration: what a past means for the future.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached<S> {
    pub(crate) state: S,
    /// The answered operations from the front on that have a place already, in order.
    pub(crate) placed: Vec<u32>,
    /// The operations of unknown outcome that have one, one bit each.
    pub(crate) used: Vec<u64>,
    /// Whether it stands for several, and may do more than any of them.
    pub(crate) is_merged: bool,
}

/// The sets of configurations of a part, front by front.
pub(crate) struct Layers<'p, 'h, S: Spec> {
    part: &'p Part<'h, S>,
    windows: Windows,
    is_read: Vec<bool>,
    helpers: Vec<Option<Box<Helpers>>>,
    states: States<S>,
    /// How many states there were after others were forgotten.
    states_kept: usize,
    /// Per front the configurations found there so far.
    layers: BTreeMap<u32, Layer>,
    front: u32,
    width: usize,
    words: Vec<u64>,
    steps: u64,
}

/// The configurations at one front.
struct Layer {
    visited: Configurations,
    /// One behind the other: the words and the set of each.
    found: Vec<u64>,
    /// How many of them were looked at.
    done: usize,
}

/// A configuration while it is looked at.
struct Open {
    front: u32,
    state: u32,
    target: Option<u32>,
    placed: Vec<u32>,
    used: Vec<u64>,
    is_merged: bool,
}

impl<'p, 'h, S: Spec> Layers<'p, 'h, S> {
    /// Starts with the object in state `initial`.
    pub(crate) fn from_start(part: &'p Part<'h, S>, initial: &S) -> Self {
        let used = vec![0; (part.operations.len() - part.answered).div_ceil(64)];
        Self::new(part, [Reached { state: initial.clone(), placed: Vec::new(), used, is_merged: false }])
    }

    /// Starts in all these configurations.
    pub(crate) fn new(part: &'p Part<'h, S>, starts: impl IntoIterator<Item = Reached<S>>) -> Self {
        let windows = Windows::new(part);
        let answered = &part.operations[..part.answered];
        let width = 2 + windows.widest().saturating_sub(1).div_ceil(64);
        let mut layers = Self {
            part,
            windows,
            is_read: answered.iter().map(|operation| S::is_read(operation.op, operation.ret)).collect(),
            helpers: answered.iter().map(|_| None).collect(),
            states: States::new(),
            states_kept: 0,
            layers: BTreeMap::new(),
            front: 0,
            width,
            words: Vec::with_capacity(width),
            steps: 0,
        };
        for Reached { state, placed, used, is_merged } in starts {
            let state = layers.states.start(state, 0);
            let mut open = Open { front: 0, state, target: None, placed, used, is_merged };
            open.skip_placed();
            layers.found(open);
        }
        layers
    }

    /// Goes on until all configurations at front `to` are known, for about `steps` steps.
    pub(crate) fn run_to(&mut self, to: usize, steps: u64) -> Status {
        let until = self.steps.saturating_add(steps);
        let length = self.width + self.used_width();
        while let Some((&front, layer)) = self.layers.iter_mut().next() {
            if front as usize >= to {
                return Status::Linearizable;
            }
            self.front = front;
            let Some(words) = layer.found.get(layer.done * length..(layer.done + 1) * length) else {
                // The last front with configurations stays: it is where no order goes on.
                if self.layers.len() == 1 {
                    return Status::Refuted;
                }
                self.layers.pop_first();
                self.forget_states();
                continue;
            };
            if self.steps >= until {
                return Status::Paused;
            }
            layer.done += 1;
            let words = words.to_vec();
            let open = self.decoded(front, &words);
            self.advance(&open);
        }
        unreachable!("the last layer is never removed")
    }

    /// Forgets the states behind all fronts, if that is worth it.
    fn forget_states(&mut self) {
        if self.states.len() < self.states_kept.max(STATES_MIN) * 4 {
            return;
        }
        let states = std::mem::replace(&mut self.states, States::new());
        let bytes = states.bytes() / states.len() as u64;
        for (front, layer) in std::mem::take(&mut self.layers) {
            for words in layer.found.chunks(self.width + self.used_width()) {
                let mut open = self.decoded(front, words);
                open.state = self.states.start(states.get(open.state).clone(), bytes);
                self.found(open);
            }
        }
        self.states_kept = self.states.len();
    }

    /// All configurations in which what is in front of `front` has a place, after all before it were
    /// looked at. Those in front of a target are no cut: their like without the helper is there too.
    pub(crate) fn reached(&self, front: usize) -> Vec<Reached<S>> {
        let mut reached = Vec::new();
        for (at, layer) in self.layers.range(front as u32..) {
            for words in layer.found.chunks(self.width + self.used_width()) {
                let Open { state, target: None, placed, used, is_merged, .. } = self.decoded(*at, words)
                else {
                    continue;
                };
                let placed = (front as u32..*at).chain(placed).collect();
                reached.push(Reached { state: self.states.get(state).clone(), placed, used, is_merged });
            }
        }
        reached
    }

    fn used_width(&self) -> usize {
        (self.part.operations.len() - self.part.answered).div_ceil(64)
    }

    fn decoded(&self, front: u32, words: &[u64]) -> Open {
        let mut placed = Vec::new();
        if (front as usize) < self.part.answered {
            for (word, others) in words[2..].iter().zip(self.windows.open(front as usize)[1..].chunks(64)) {
                placed.extend((0..others.len()).filter(|bit| word >> bit & 1 == 1).map(|bit| others[bit]));
            }
        }
        Open {
            front,
            state: words[0] as u32,
            target: (words[1] as u32).checked_sub(1),
            placed,
            used: words[self.width..].to_vec(),
            is_merged: words[1] >> 32 == 1,
        }
    }

    /// Finds all that follows directly.
    fn advance(&mut self, open: &Open) {
        let front = open.front as usize;
        if let Some(target) = open.target {
            // Where a read fits, further helpers could as well stand behind it.
            if !(self.place(open, target as usize, None) && self.is_read[target as usize]) {
                self.help(open, target);
            }
            return;
        }
        let focus: Vec<u32> = self.windows.focus(front).to_vec();
        let is_left = |operation: &&u32| !open.placed.contains(operation);
        for operation in focus.iter().filter(is_left) {
            if self.is_read[*operation as usize] && self.place(open, *operation as usize, None) {
                return;
            }
        }
        for operation in focus.iter().filter(is_left) {
            if !self.is_read[*operation as usize] {
                self.place(open, *operation as usize, None);
            }
        }
        if self.windows.optional(front) > 0 {
            for target in focus.iter().filter(is_left) {
                self.help(open, *target);
            }
        }
    }

    /// Places each operation of unknown outcome that may help `target`.
    fn help(&mut self, open: &Open, target: u32) {
        let part = self.part;
        let invoked = part.answered + self.windows.optional(open.front as usize);
        let windows = &self.windows;
        let is_used = |optional: usize| open.used[optional / 64] >> (optional % 64) & 1 == 1;
        let is_possible = |helper: &usize| {
            let optional = helper - part.answered;
            *helper < invoked && !is_used(optional) && windows.twin(optional).is_none_or(is_used)
        };
        let helpers =
            self.helpers[target as usize].get_or_insert_with(|| Box::new(S::helpers(part, target as usize)));
        let each = helpers.each.iter().copied().filter(is_possible);
        // What nobody could tell apart so far, the future may.
        let enough = if part.has_a_future() { usize::MAX } else { 1 };
        let alike = helpers.alike.iter().copied().filter(is_possible).take(enough);
        for helper in each.chain(alike).collect::<Vec<_>>() {
            self.place(open, helper, Some(target));
        }
    }

    /// Whether the operation can stand there.
    fn place(&mut self, open: &Open, operation: usize, target: Option<u32>) -> bool {
        self.steps += 1;
        let after = self.states.after(open.state, operation as u32, &self.part.operations[operation]);
        let Some(state) = after else { return false };
        if let Some(target) = target
            && (state == open.state
                || !self.states.get(state).is_helped(self.part, operation, target as usize))
        {
            return false;
        }
        let (placed, used) = (open.placed.clone(), open.used.clone());
        let mut next = Open { front: open.front, state, target, placed, used, is_merged: open.is_merged };
        match operation.checked_sub(self.part.answered) {
            Some(optional) => next.used[optional / 64] |= 1 << (optional % 64),
            None if operation == open.front as usize => {
                next.front += 1;
                next.skip_placed();
            }
            None => {
                let at = next.placed.partition_point(|placed| (*placed as usize) < operation);
                next.placed.insert(at, operation as u32);
            }
        }
        self.found(next);
        true
    }

    fn found(&mut self, open: Open) {
        let Open { front, state, target, placed, used, is_merged } = open;
        self.words.clear();
        let target = target.map_or(0, |target| u64::from(target) + 1);
        self.words.extend([u64::from(state), u64::from(is_merged) << 32 | target]);
        if (front as usize) < self.part.answered {
            for others in self.windows.open(front as usize)[1..].chunks(64) {
                let bits = others.iter().enumerate().filter(|(_, operation)| placed.contains(operation));
                self.words.push(bits.fold(0, |word, (bit, _)| word | 1 << bit));
            }
        }
        self.words.resize(self.width, 0);
        let layer = self.layers.entry(front).or_insert_with(|| Layer {
            visited: Configurations::new(self.width, used.len()),
            found: Vec::new(),
            done: 0,
        });
        let visit = layer.visited.visit(&self.words, &used);
        self.steps += visit.compared / 16;
        if visit.is_new {
            layer.found.extend_from_slice(&self.words);
            layer.found.extend_from_slice(&used);
        }
    }
}

impl Open {
    /// Moves the front to the first operation without a place.
    fn skip_placed(&mut self) {
        let skipped = self.placed.iter().zip(self.front..).take_while(|(placed, front)| **placed == *front);
        let skipped = skipped.count();
        self.front += skipped as u32;
        self.placed.drain(..skipped);
    }
}

impl<S: Spec> Attempt for Layers<'_, '_, S> {
    fn run(&mut self, steps: u64) -> Status {
        self.run_to(self.part.answered, steps)
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn bytes(&self) -> u64 {
        let words: usize = self.layers.values().map(|layer| layer.found.len()).sum();
        self.states.bytes() + 16 * words as u64
    }

    fn front(&self) -> usize {
        self.front as usize
    }

    /// Orders are not kept.
    fn longest(&self) -> Vec<u32> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Layers, STATES_MIN};
    use crate::division::split;
    use crate::generate::{self, Flaw, Mix, Values, Workload};
    use crate::linearizability::{Attempt, Search, Status};
    use crate::models::kv::Kv;

    /// Long enough that states are forgotten many times.
    #[test]
    fn layers_find_what_the_search_finds() {
        let mut refuted = 0;
        for seed in 0..30 {
            let workload = Workload {
                clients: 5,
                operations: 1_500,
                keys: 4,
                mix: Mix { get: 40, put: 25, append: 10, delete: 5, cas: 15, scan: 5, decide: 0 },
                values: Values::Unique { bytes_min: 1 },
                unknown_per_mille: seed as u32 % 3,
                flaw: if seed % 2 == 0 { Flaw::None } else { Flaw::StaleRead { from: 1_200 } },
            };
            let history = generate::kv(&workload, seed);
            for part in &split(&history, &Kv::default()).expect("well formed") {
                let (mut search, mut layers) =
                    (Search::new(part, &Kv::default()), Layers::from_start(part, &Kv::default()));
                let expected = Attempt::run(&mut search, 3_000_000);
                while layers.run(100) == Status::Paused && layers.steps() < 3_000_000 {
                    let count = layers.states.len();
                    assert!(count < STATES_MIN * 4 + 100, "{count} states are kept, few of which are ahead");
                    let average = layers.states.bytes() / count as u64;
                    assert!(count < STATES_MIN || (100..300).contains(&average), "{average} bytes for each");
                }
                assert!(layers.steps() >= layers.front() as u64, "whatever has a place took a step");
                assert!(layers.bytes() > layers.states.bytes(), "configurations take memory too");
                let found = layers.run(1);
                assert!(
                    found == expected || expected == Status::Paused || found == Status::Paused,
                    "seed {seed}"
                );
                if found == Status::Refuted && expected == Status::Refuted {
                    assert_eq!(layers.front(), search.front(), "seed {seed}");
                    refuted += 1;
                }
                assert!(layers.layers.len() < 100, "what is behind is forgotten");
            }
        }
        assert!(refuted > 5, "{refuted} refuted");
    }
}
