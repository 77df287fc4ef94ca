//! Circles of dependencies.
//!
//! A circle lies in one strongly connected component, which Tarjan's algorithm ("Depth-first search and linear
//! graph algorithms", 1972) finds in linear time. So a history without circles costs no more.
//!
//! Of the circles of a component people want the shortest. A breadth-first search finds a shortest one through a
//! given dependency, and one through each would find the shortest of all in quadratic time. So searches go only
//! so deep: through each dependency two deep, then four, and so on, until there is a circle. That finds the
//! shortest one wherever it lies, at a cost that grows with its length and not with the component. In a component
//! so large and dense that a bound on the work is met first, it is a shortest one through some dependencies.
//!
//! A [`Walk`] says which dependencies may follow each other. Whether two reads of what was replaced follow each
//! other is seen from the last dependency alone: so each transaction counts as two places, one for having come
//! to it by such a dependency, and a circle is one among places.

use super::graph::{Edge, Graph, Kinds};

const NONE: u32 = u32::MAX;
/// How often a dependency of a component may be looked at on the average until its shortest circle is found.
const VISITS_PER_EDGE: u64 = 16;
/// How many looks more all components have together: enough for the exact answer in small ones.
const VISITS_SPARE: u64 = 1 << 22;
/// Behind that, how many dependencies of a component a circle of any length is sought through, where not each
/// will do.
const PIVOTS_MAX: usize = 256;
/// How many where each will do, for the sake of a short circle.
const SHORT_PIVOTS: usize = 16;

/// Which circles are sought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// What they are made of.
    pub(super) kinds: Kinds,
    /// What must be among that.
    pub(super) through: Kinds,
    /// How the `rw` among that may stand.
    pub(super) reads: Reads,
}

/// How dependencies of the kind `rw` may stand in a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// As they like.
    Free,
    /// No two of them follow each other.
    Apart,
    /// There is one and no other.
    Single,
}

impl Walk {
    /// The place that an edge leads to, if it may follow what led to `place`.
    fn step(&self, place: u32, edge: &Edge) -> Option<u32> {
        if !self.kinds.has(edge.why.kind()) {
            return None;
        }
        let is_rw = edge.why.kind() == Kinds::RW;
        match self.reads {
            Reads::Free => Some(2 * edge.to),
            Reads::Apart | Reads::Single if is_rw && place % 2 == 1 => None,
            Reads::Apart => Some(2 * edge.to + u32::from(is_rw)),
            // Behind the one there is no other.
            Reads::Single => Some(2 * edge.to + u32::from(is_rw || place % 2 == 1)),
        }
    }
}

/// For each component among `members` that has a circle the shortest, within the bounds of the work.
pub(super) fn circles(graph: &Graph, walk: Walk, members: &[u32]) -> Vec<Vec<Edge>> {
    // With a single `rw` no circle of places closes; the components are those of any number of them.
    let loose = match walk.reads {
        Reads::Single => Walk { reads: Reads::Apart, ..walk },
        Reads::Free | Reads::Apart => walk,
    };
    let components = components(graph, loose, Some(members));
    let mut component_of = vec![NONE; if components.is_empty() { 0 } else { 2 * graph.transactions() }];
    for (number, component) in (0..).zip(&components) {
        component.iter().for_each(|place| component_of[*place as usize] = number);
    }
    let reached = vec![Reached::default(); component_of.len()];
    let mut search = Breadth { graph, walk, reached, round: 0, visits: 0 };
    let mut spare = VISITS_SPARE;
    let mut found = Vec::new();
    for (number, component) in (0..).zip(&components) {
        let is_in = |place: u32| component_of[place as usize] == number;
        let pivots = pivots(graph, walk, loose, component, is_in);
        let edges: usize = component.iter().map(|place| graph.from(place / 2).len()).sum();
        let own = VISITS_PER_EDGE * edges as u64;
        let before = search.visits;
        let is_open = |place| is_in(place) || (walk.reads == Reads::Single && is_in(place ^ 1));
        found.extend(search.shortest(&pivots, own + spare, is_open));
        spare -= (search.visits - before).saturating_sub(own).min(spare);
    }
    found
}

/// A dependency that a circle is sought through, and the place that it leads to.
type Pivot = (Edge, u32);

/// The dependencies of a component that a circle may go through.
fn pivots(
    graph: &Graph,
    walk: Walk,
    loose: Walk,
    component: &[u32],
    is_in: impl Fn(u32) -> bool,
) -> Vec<Pivot> {
    let mut pivots = Vec::new();
    for place in component {
        for edge in graph.from(place / 2).iter().filter(|edge| walk.through.has(edge.why.kind())) {
            let after = loose.step(*place, edge).filter(|after| is_in(*after));
            pivots.extend(after.map(|after| (*edge, after)));
        }
    }
    // Both places of a transaction may lead on by the same dependency.
    pivots.sort_unstable();
    pivots.dedup();
    pivots
}

#[derive(Clone, Copy, Default)]
struct Reached {
    round: u32,
    /// The place before, and the number of the edge among those from there.
    before: (u32, u32),
}

/// What a search came to.
enum Sought {
    Found(Vec<Edge>),
    /// There is none through the dependency.
    Nowhere,
    /// There is none as short as asked.
    Longer,
}

struct Breadth<'g> {
    graph: &'g Graph,
    walk: Walk,
    reached: Vec<Reached>,
    round: u32,
    /// How often a dependency was looked at.
    visits: u64,
}

impl Breadth<'_> {
    /// The shortest circle through one of the pivots, if it is found in so many visits; else a short one.
    fn shortest(
        &mut self,
        pivots: &[Pivot],
        visits: u64,
        is_open: impl Fn(u32) -> bool,
    ) -> Option<Vec<Edge>> {
        let end = self.visits + visits;
        let mut most = 2;
        while self.visits < end {
            let mut shortest: Option<Vec<Edge>> = None;
            let mut is_all = true;
            for pivot in pivots {
                let most = shortest.as_ref().map_or(most, |shortest| shortest.len() - 1);
                if most < 2 || self.visits >= end {
                    break;
                }
                match self.circle(pivot, most, &is_open) {
                    Sought::Found(circle) => shortest = Some(circle),
                    Sought::Nowhere => {}
                    Sought::Longer => is_all = false,
                }
            }
            if shortest.is_some() || (is_all && self.visits < end) {
                return shortest;
            }
            most *= 2;
        }
        // None is short, or there are too many ways to know.
        let mut shortest: Option<Vec<Edge>> = None;
        let spread = pivots.iter().step_by(pivots.len().div_ceil(PIVOTS_MAX).max(1));
        for (tried, pivot) in spread.enumerate() {
            if shortest.is_some() && tried >= SHORT_PIVOTS {
                break;
            }
            let most = shortest.as_ref().map_or(usize::MAX, |shortest| shortest.len() - 1);
            if let Sought::Found(circle) = self.circle(pivot, most, &is_open) {
                shortest = Some(circle);
            }
        }
        shortest
    }

    /// A shortest circle that begins with the pivot, of at most so many dependencies.
    fn circle(&mut self, (pivot, after): &Pivot, most: usize, is_open: impl Fn(u32) -> bool) -> Sought {
        self.round += 1;
        let pivot_is_rw = pivot.why.kind() == Kinds::RW;
        let mut open = vec![*after];
        self.reached[*after as usize] = Reached { round: self.round, before: (NONE, 0) };
        // What is reached so far is behind so many dependencies, the pivot among them.
        let (mut next, mut length, mut length_ends) = (0, 1, 1);
        while next < open.len() {
            if next == length_ends {
                (length, length_ends) = (length + 1, open.len());
            }
            if length == most {
                return Sought::Longer;
            }
            let place = open[next];
            next += 1;
            let edges = self.graph.from(place / 2);
            self.visits += edges.len() as u64;
            for (number, edge) in (0..).zip(edges) {
                let Some(to) = self.walk.step(place, edge) else { continue };
                let closes = edge.to == pivot.from
                    && match self.walk.reads {
                        Reads::Free => true,
                        Reads::Apart | Reads::Single => !(pivot_is_rw && edge.why.kind() == Kinds::RW),
                    };
                if closes {
                    return Sought::Found(self.way(pivot, place, *edge));
                }
                if is_open(to) && self.reached[to as usize].round != self.round {
                    self.reached[to as usize] = Reached { round: self.round, before: (place, number) };
                    open.push(to);
                }
            }
        }
        Sought::Nowhere
    }

    fn way(&self, pivot: &Edge, mut place: u32, last: Edge) -> Vec<Edge> {
        let mut way = vec![last];
        while let Reached { before: (before, number), .. } = self.reached[place as usize]
            && before != NONE
        {
            way.push(self.graph.from(before / 2)[number as usize]);
            place = before;
        }
        way.push(*pivot);
        way.reverse();
        way
    }
}

/// The transactions in some circle, in order.
pub(super) fn members(graph: &Graph, walk: Walk) -> Vec<u32> {
    let places = components(graph, walk, None).into_iter().flatten();
    let mut members: Vec<u32> = places.map(|place| place / 2).collect();
    members.sort_unstable();
    members.dedup();
    members
}

/// The strongly connected components of places that have more than one transaction, each in order.
fn components(graph: &Graph, walk: Walk, members: Option<&[u32]>) -> Vec<Vec<u32>> {
    let places = 2 * graph.transactions();
    let mut tarjan = Tarjan {
        graph,
        walk,
        number: vec![NONE; places],
        low: vec![0; places],
        is_open: vec![false; places],
        is_member: members.map(|members| {
            let mut is_member = vec![false; graph.transactions()];
            members.iter().for_each(|transaction| is_member[*transaction as usize] = true);
            is_member
        }),
        open: Vec::new(),
        next: 0,
        found: Vec::new(),
    };
    match members {
        Some(members) => members.iter().for_each(|transaction| tarjan.visit(2 * transaction)),
        None => (0..graph.transactions() as u32).for_each(|transaction| tarjan.visit(2 * transaction)),
    }
    tarjan.found
}

struct Tarjan<'g> {
    graph: &'g Graph,
    walk: Walk,
    number: Vec<u32>,
    low: Vec<u32>,
    is_open: Vec<bool>,
    is_member: Option<Vec<bool>>,
    open: Vec<u32>,
    next: u32,
    found: Vec<Vec<u32>>,
}

impl Tarjan<'_> {
    /// Without recursion: a way may have as many places as there are.
    fn visit(&mut self, root: u32) {
        if self.number[root as usize] != NONE {
            return;
        }
        let mut calls = vec![(root, 0)];
        self.enter(root);
        while let Some((place, edge)) = calls.last_mut() {
            let place = *place;
            let Some(next) = self.graph.from(place / 2).get(*edge) else {
                calls.pop();
                if let Some((before, _)) = calls.last() {
                    self.low[*before as usize] = self.low[*before as usize].min(self.low[place as usize]);
                }
                if self.low[place as usize] == self.number[place as usize] {
                    self.close(place);
                }
                continue;
            };
            *edge += 1;
            if self.is_member.as_ref().is_some_and(|is_member| !is_member[next.to as usize]) {
                continue;
            }
            let Some(to) = self.walk.step(place, next) else { continue };
            if self.number[to as usize] == NONE {
                self.enter(to);
                calls.push((to, 0));
            } else if self.is_open[to as usize] {
                self.low[place as usize] = self.low[place as usize].min(self.number[to as usize]);
            }
        }
    }

    fn enter(&mut self, place: u32) {
        (self.number[place as usize], self.low[place as usize]) = (self.next, self.next);
        self.next += 1;
        self.is_open[place as usize] = true;
        self.open.push(place);
    }

    fn close(&mut self, place: u32) {
        let at = self.open.iter().rposition(|open| *open == place).expect("it is open");
        let mut component = self.open.split_off(at);
        component.iter().for_each(|place| self.is_open[*place as usize] = false);
        if component.len() > 1 {
            component.sort_unstable();
            self.found.push(component);
        }
    }
}
