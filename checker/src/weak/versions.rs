//! The versions of one key, and what is known of the order in which they came.
//!
//! A version is what one operation left behind, or what was there at the start. Whatever is claimed about
//! their order is an edge of a graph; there is an order that fits all claims if and only if the graph has
//! no cycle.

use std::collections::{BTreeMap, VecDeque};

use crate::origins::{Numbered, Register, Source, sources};
use crate::parts::Operation;
use crate::spec::{Content, Keys, RegisterOp, Spec};

/// A version: 0 is what was there at the start, `n + 1` is what the operation at place `n` of the key
/// left behind.
pub(super) type Version = u32;

pub(super) const START: Version = 0;

/// An operation on the key, as places among all operations.
#[derive(Clone, Copy)]
pub(super) struct Access {
    /// Which operation it is.
    pub(super) at: usize,
    /// What it saw, if it saw something that can be told apart.
    pub(super) saw: Option<Version>,
    /// Whether its client was told what it saw.
    pub(super) reads: bool,
    /// Whether it left a version behind, or may have.
    pub(super) writes: bool,
}

/// What a key's operations did, in the order of their invocations.
pub(super) struct Accesses {
    pub(super) list: Vec<Access>,
    /// The place in the list of the first read of something that nobody wrote.
    pub(super) from_nowhere: Option<usize>,
    /// Whether every read could be told apart.
    pub(super) is_certain: bool,
}

/// One operation's part in one key.
pub(super) struct Touch<'h> {
    pub(super) at: usize,
    call: u32,
    is_answered: bool,
    op: RegisterOp<'h>,
}

/// Per key what touches it, in the order of invocations. `None` if an operation is none of a register.
pub(super) fn by_key<'h, S: Spec>(
    operations: &[Operation<'h, S::Op, S::Ret>],
) -> Option<BTreeMap<S::Key, Vec<Touch<'h>>>> {
    let mut touched: BTreeMap<S::Key, Vec<Touch<'h>>> = BTreeMap::new();
    let mut several = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        let Operation { op, ret, call, .. } = *operation;
        let is_answered = ret.is_some();
        match S::keys(op) {
            _ if ret.is_none() && S::is_read(op, None) => {}
            Keys::One(key) => {
                let op = S::register_op(op, ret)?;
                touched.entry(key.clone()).or_default().push(Touch { at, call, is_answered, op });
            }
            keys => {
                let shown = S::shown(op, ret?)?;
                for (key, _) in &shown {
                    touched.entry(key.clone()).or_default();
                }
                several.push((at, call, keys, shown));
            }
        }
    }
    for (at, call, keys, shown) in several {
        let is_touched = |key: &S::Key| match keys {
            Keys::One(one) => one == key,
            Keys::Range { from, to } => from <= key && key < to,
            Keys::All => true,
        };
        for (key, touches) in touched.iter_mut().filter(|(key, _)| is_touched(key)) {
            let pair = shown.iter().find(|(known, _)| known == key);
            let content = pair.map_or(Content::Nothing, |(_, content)| *content);
            touches.push(Touch { at, call, is_answered: true, op: RegisterOp::Read(content) });
        }
    }
    for touches in touched.values_mut() {
        touches.sort_by_key(|touch| touch.call);
    }
    Some(touched)
}

impl Accesses {
    /// What the operations on a key saw of each other, where `initial` was there at the start.
    pub(super) fn new<'h>(touches: &[Touch<'h>], initial: Content<'h>) -> Self {
        let mut register = Register::new(initial);
        touches.iter().for_each(|touch| register.add(touch.op));
        let sources = sources(&mut register.claims());
        let mut accesses =
            Self { list: Vec::with_capacity(touches.len()), from_nowhere: None, is_certain: true };
        let (made, is_possible) = made(touches, &register.operations, &sources);
        let found = |content: u32| match sources[content as usize] {
            Some(Source::Operation { before, .. }) => sources[before? as usize],
            _ => None,
        };
        for (place, touch) in touches.iter().enumerate() {
            let seen = match register.operations[place] {
                Numbered::Read(value) | Numbered::Swap { old: value, .. } => {
                    if is_possible[value as usize] {
                        sources[value as usize]
                    } else {
                        Some(Source::Nowhere)
                    }
                }
                Numbered::Append(_) => made[place].and_then(found),
                Numbered::Write(_) | Numbered::Refused(_) => None,
            };
            let saw = match seen {
                Some(Source::Start) => Some(START),
                Some(Source::Operation { operation, .. }) => Some(operation + 1),
                Some(Source::Nowhere) => {
                    // A swap that may not have happened saw nothing that must be explained.
                    if touch.is_answered {
                        accesses.from_nowhere.get_or_insert(place);
                    }
                    None
                }
                Some(Source::Several) => {
                    accesses.is_certain = false;
                    None
                }
                None => None,
            };
            let writes = !matches!(touch.op, RegisterOp::Read(_) | RegisterOp::Refused { .. });
            let reads =
                touch.is_answered && matches!(touch.op, RegisterOp::Read(_) | RegisterOp::Swap { .. });
            accesses.list.push(Access { at: touch.at, saw, reads, writes });
        }
        accesses
    }
}

/// Per operation the content that it left behind, as those show who were told what they saw; and per content
/// whether it fits that each operation left one content behind: what was appended once is there once.
fn made(
    touches: &[Touch<'_>],
    operations: &[Numbered],
    sources: &[Option<Source>],
) -> (Vec<Option<u32>>, Vec<bool>) {
    let mut made = vec![None; touches.len()];
    let (mut is_asked, mut is_possible) = (vec![false; sources.len()], vec![true; sources.len()]);
    for (_, operation) in touches.iter().zip(operations).filter(|(touch, _)| touch.is_answered) {
        let (Numbered::Read(seen) | Numbered::Swap { old: seen, .. }) = *operation else { continue };
        // Back to the start, or to what was asked about before.
        let (mut contents, mut next) = (Vec::new(), Some(seen));
        while let Some(content) = next.filter(|content| !is_asked[*content as usize]) {
            is_asked[content as usize] = true;
            contents.push(content);
            next = match sources[content as usize] {
                Some(Source::Operation { before, .. }) => before,
                _ => None,
            };
        }
        let mut fits = next.is_none_or(|content| is_possible[content as usize]);
        for content in contents.into_iter().rev() {
            fits &= match sources[content as usize] {
                Some(Source::Operation { operation, .. }) => {
                    *made[operation as usize].get_or_insert(content) == content
                }
                Some(Source::Nowhere) => false,
                Some(Source::Start | Source::Several) | None => true,
            };
            is_possible[content as usize] = fits;
        }
    }
    (made, is_possible)
}

/// Claims about the order of versions.
pub(super) struct Order<W> {
    /// Per version, the versions that must come after it, and why.
    after: Vec<Vec<(Version, W)>>,
}

impl<W: Copy> Order<W> {
    pub(super) fn new(versions: usize) -> Self {
        Self { after: vec![Vec::new(); versions] }
    }

    pub(super) fn claim(&mut self, older: Version, newer: Version, why: W) {
        if older != newer {
            self.after[older as usize].push((newer, why));
        }
    }

    /// All claims that are part of a cycle.
    pub(super) fn contradicted(&self) -> Vec<(Version, Version, W)> {
        let component = components(&self.after);
        let of = |version: Version| component[version as usize];
        (0..)
            .zip(&self.after)
            .flat_map(|(older, after)| after.iter().map(move |(newer, why)| (older, *newer, *why)))
            .filter(|(older, newer, _)| of(*older) == of(*newer))
            .collect()
    }

    /// The shortest chain of claims from one version to another.
    pub(super) fn chain(&self, from: Version, to: Version) -> Vec<(Version, Version, W)> {
        let mut came: Vec<Option<(Version, W)>> = vec![None; self.after.len()];
        let mut open = VecDeque::from([from]);
        while let Some(version) = open.pop_front() {
            if version == to {
                break;
            }
            for (next, why) in &self.after[version as usize] {
                if *next != from && came[*next as usize].is_none() {
                    came[*next as usize] = Some((version, *why));
                    open.push_back(*next);
                }
            }
        }
        let mut chain = Vec::new();
        let mut version = to;
        while version != from {
            let (before, why) = came[version as usize].expect("there is a chain");
            chain.push((before, version, why));
            version = before;
        }
        chain.reverse();
        chain
    }
}

/// Per node the number of its strongly connected component (Tarjan, 1972, without recursion).
fn components<W>(after: &[Vec<(Version, W)>]) -> Vec<u32> {
    const UNSEEN: u32 = u32::MAX;
    let (mut index, mut low) = (vec![UNSEEN; after.len()], vec![0_u32; after.len()]);
    let mut component = vec![UNSEEN; after.len()];
    let (mut stack, mut path): (Vec<u32>, Vec<(u32, usize)>) = (Vec::new(), Vec::new());
    let (mut seen, mut found) = (0, 0);
    for root in 0..after.len() as u32 {
        if index[root as usize] == UNSEEN {
            path.push((root, 0));
        }
        while let Some((node, next)) = path.last_mut() {
            let at = *node as usize;
            if *next == 0 {
                (index[at], low[at]) = (seen, seen);
                seen += 1;
                stack.push(*node);
            }
            if let Some((other, _)) = after[at].get(*next) {
                *next += 1;
                let other = *other as usize;
                if index[other] == UNSEEN {
                    path.push((other as u32, 0));
                } else if component[other] == UNSEEN {
                    low[at] = low[at].min(index[other]);
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                low[*parent as usize] = low[*parent as usize].min(low[at]);
            }
            if low[at] == index[at] {
                while let Some(member) = stack.pop() {
                    component[member as usize] = found;
                    if member as usize == at {
                        break;
                    }
                }
                found += 1;
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_claims_on_a_cycle_are_contradicted() {
        let mut order = Order::new(6);
        for (older, newer) in [(0, 1), (1, 2), (2, 3), (3, 1), (3, 4), (5, 0), (2, 3)] {
            order.claim(older, newer, ());
        }
        let on_a_cycle: Vec<_> = order.contradicted().iter().map(|(a, b, ())| (*a, *b)).collect();
        assert_eq!(on_a_cycle, [(1, 2), (2, 3), (2, 3), (3, 1)]);
        let chain: Vec<_> = order.chain(5, 4).iter().map(|(a, b, ())| (*a, *b)).collect();
        assert_eq!(chain, [(5, 0), (0, 1), (1, 2), (2, 3), (3, 4)]);
    }
}
