//! Circles of dependencies.
//!
//! A circle lies in one strongly connected component, which Tarjan's algorithm ("Depth-first search and linear
//! graph algorithms", 1972) finds in linear time. So a history without circles costs no more. In a component
//! a breadth-first search finds a circle, a short one.
//!
//! A [`Walk`] says which dependencies may follow each other. Whether two reads of what was replaced follow each
//! other is seen from the last dependency alone: so each transaction counts as two places, one for having come
//! to it by such a dependency, and a circle is one among places.

use super::graph::{Edge, Graph, Kinds};

const NONE: u32 = u32::MAX;
/// How many dependencies of a component a circle is sought through, where not each will do.
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

/// Short circles, one for each component among `members` that has one.
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
    let mut search = Breadth { reached: vec![Reached::default(); component_of.len()], round: 0 };
    let mut found = Vec::new();
    for (number, component) in (0..).zip(&components) {
        let is_in = |place: u32| component_of[place as usize] == number;
        let mut shortest: Option<Vec<Edge>> = None;
        let mut tried = 0;
        'pivots: for place in component {
            for pivot in graph.from(place / 2).iter().filter(|edge| walk.through.has(edge.why.kind())) {
                let Some(after) = loose.step(*place, pivot).filter(|after| is_in(*after)) else { continue };
                tried += 1;
                let circle = search.circle(graph, walk, pivot, after, |place| {
                    is_in(place) || (walk.reads == Reads::Single && (is_in(place ^ 1)))
                });
                if let Some(circle) = circle
                    && shortest.as_ref().is_none_or(|shortest| circle.len() < shortest.len())
                {
                    shortest = Some(circle);
                }
                if tried >= PIVOTS_MAX || (shortest.is_some() && tried >= SHORT_PIVOTS) {
                    break 'pivots;
                }
            }
        }
        found.extend(shortest);
    }
    found
}

#[derive(Clone, Copy, Default)]
struct Reached {
    round: u32,
    /// The place before, and the number of the edge among those from there.
    before: (u32, u32),
}

struct Breadth {
    reached: Vec<Reached>,
    round: u32,
}

impl Breadth {
    /// A shortest circle that begins with `pivot`, which leads to the place `after`.
    fn circle(
        &mut self,
        graph: &Graph,
        walk: Walk,
        pivot: &Edge,
        after: u32,
        is_in: impl Fn(u32) -> bool,
    ) -> Option<Vec<Edge>> {
        self.round += 1;
        let pivot_is_rw = pivot.why.kind() == Kinds::RW;
        let mut open = vec![after];
        self.reached[after as usize] = Reached { round: self.round, before: (NONE, 0) };
        let mut next = 0;
        while next < open.len() {
            let place = open[next];
            next += 1;
            for (number, edge) in (0..).zip(graph.from(place / 2)) {
                let Some(to) = walk.step(place, edge) else { continue };
                let closes = edge.to == pivot.from
                    && match walk.reads {
                        Reads::Free => true,
                        Reads::Apart | Reads::Single => !(pivot_is_rw && edge.why.kind() == Kinds::RW),
                    };
                if closes {
                    return Some(self.way(graph, pivot, place, *edge));
                }
                if is_in(to) && self.reached[to as usize].round != self.round {
                    self.reached[to as usize] = Reached { round: self.round, before: (place, number) };
                    open.push(to);
                }
            }
        }
        None
    }

    fn way(&self, graph: &Graph, pivot: &Edge, mut place: u32, last: Edge) -> Vec<Edge> {
        let mut way = vec![last];
        while let Reached { before: (before, number), .. } = self.reached[place as usize]
            && before != NONE
        {
            way.push(graph.from(before / 2)[number as usize]);
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
