//! What happens to a node and is noticed by nobody else, until it does something that is.
//!
//! An input is *quiet* if it only changes what the node has in memory: nothing is sent, written, answered or
//! committed, and nobody who looks at the node sees a difference. A vote that is not yet a majority is quiet, and so
//! is whatever a learner hears. Quiet inputs commute with all that happens elsewhere. So each may be put off
//! until the node does something for which it makes a difference, and one for which that never comes need not
//! happen at all. Only ways are gone on which nothing else happens between the first quiet input to a node and the
//! *closing* one, the next that is not quiet, and on which
//!
//! - each of the quiet ones is needed: the closing one does not come to the same without it, or it does not
//!   come to the same behind the closing one;
//! - two that stand side by side and commute are in the order of their prints.
//!
//! Every other way can be made into one of these step by step: a quiet input is moved behind what happens to other
//! nodes, then behind the closing one if it is not needed for that, and is left out when nothing is behind it.
//! Each step moves quiet inputs nearer to the end, or two of them into order, so that this comes to an end; and all
//! that others see stays as it was, and so do the verdicts of all laws. (Normal forms of traces: Mazurkiewicz, 1977.
//! What is quiet is *invisible* as in ample sets: Peled, CAV'93.)
//!
//! Writes are waited for at once where nothing may overtake them, so a closing input is one together with the
//! completion of its writes. A crash is never needed to close anything: it takes what was quiet with it, as if that
//! were still under way.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use contract::{Channel, NodeId, Replica};

use super::model::System;
use super::network::print;
use super::node::{Input, Node, Output, Sent};
use super::state::{Outcome, Site, State};

/// The quiet inputs to a node since something was noticed.
#[derive(Clone, Debug)]
pub(super) struct Quiet<R: Replica> {
    pub(super) node: NodeId,
    before: Arc<Site<R>>,
    inputs: Vec<Input<R>>,
}

impl<R: Replica> Hash for Quiet<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.node.hash(state);
        state.write_u64(self.before.print);
        self.inputs.hash(state);
    }
}

impl<R: Replica> PartialEq for Quiet<R> {
    fn eq(&self, other: &Self) -> bool {
        (self.node, self.before.print, &self.inputs) == (other.node, other.before.print, &other.inputs)
    }
}

/// From whom an input comes.
fn peer<R: Replica>(input: &Input<R>) -> Option<NodeId> {
    match input {
        Input::Message(from, _) | Input::Disconnect(from) => Some(*from),
        _ => None,
    }
}

/// Whether an input can come to a node in this state.
fn is_possible<R: Replica>(input: &Input<R>, node: &Node<R>) -> bool {
    match input {
        Input::Message(..) | Input::Disconnect(_) | Input::Restart => true,
        Input::Timer(timer) => node.timers().any(|armed| armed == *timer),
        Input::Written => node.is_writing(),
        Input::Worked => node.is_working(),
        Input::Flushed => !node.is_flushed(),
        Input::Request(request) => !node.waits_for(*request),
    }
}

/// What happened to a node: where that ended, and what others saw of it.
struct Course<R: Replica> {
    end: Arc<Site<R>>,
    seen: Vec<Arc<Outcome<R>>>,
}

impl<R: Replica> Course<R> {
    fn agrees(&self, other: &Self) -> bool {
        let same =
            |one: &Arc<Outcome<R>>, two: &Arc<Outcome<R>>| one.out == two.out && one.wrote == two.wrote;
        self.end.print == other.end.print
            && self.seen.len() == other.seen.len()
            && self.seen.iter().zip(&other.seen).all(|(one, two)| same(one, two))
    }
}

impl<R: Replica> System<R> {
    /// What is quiet after an input that came to `outcome`; `Err` if another way leads to the same.
    pub(super) fn hush(
        &self,
        state: &State<R>,
        me: NodeId,
        input: &Input<R>,
        outcome: &Outcome<R>,
    ) -> Result<Option<Arc<Quiet<R>>>, Superfluous> {
        let quiet = state.quiet.as_deref();
        let may_be_put_off = matches!(input, Input::Message(..) | Input::Disconnect(_) | Input::Timer(_));
        if self.puts_off && may_be_put_off && outcome.is_quiet {
            let mut next = match quiet {
                Some(quiet) => quiet.clone(),
                None => {
                    let before = Arc::clone(&state.sites[me.slot()]);
                    Quiet { node: me, before, inputs: Vec::new() }
                }
            };
            next.inputs.push(input.clone());
            return if self.is_out_of_order(&next) { Err(Superfluous) } else { Ok(Some(Arc::new(next))) };
        }
        match quiet {
            Some(quiet) if self.has_needless(quiet, input, state.left.overtakes == 0) => Err(Superfluous),
            _ => Ok(None),
        }
    }

    /// Whether the last two quiet inputs commute, and do not come in the order of their prints.
    fn is_out_of_order(&self, quiet: &Quiet<R>) -> bool {
        let [before @ .., one, two] = &quiet.inputs[..] else { return false };
        if print(one) <= print(two) || (R::CHANNEL == Channel::Stream && peer(one) == peer(two)) {
            return false;
        }
        let course = |inputs: &[&Input<R>]| {
            let before = self.course(quiet.node, &quiet.before, before.iter())?;
            self.course(quiet.node, &before.end, inputs.iter().copied())
        };
        match (course(&[one, two]), course(&[two, one])) {
            (Some(here), Some(there)) => {
                let silent = |outcome: &Arc<Outcome<R>>| outcome.is_quiet;
                here.end.print == there.end.print && there.seen.iter().all(silent)
            }
            _ => false,
        }
    }

    /// Whether some quiet input could as well come behind the one that closes.
    fn has_needless(&self, quiet: &Quiet<R>, closing: &Input<R>, writes_are_settled: bool) -> bool {
        let me = quiet.node;
        let closed = |inputs: &mut dyn Iterator<Item = &Input<R>>| {
            let before = self.course(me, &quiet.before, inputs)?;
            let mut course = self.course(me, &before.end, std::iter::once(closing))?;
            while writes_are_settled && course.end.node.is_writing() {
                let written = self.course(me, &course.end, std::iter::once(&Input::Written))?;
                course.end = written.end;
                course.seen.extend(written.seen);
            }
            Some(course)
        };
        let here = closed(&mut quiet.inputs.iter()).expect("it is what happens");
        (0..quiet.inputs.len()).any(|place| {
            let late = &quiet.inputs[place];
            if R::CHANNEL == Channel::Stream && self.is_held_by_stream(quiet, place, closing, &here) {
                return false;
            }
            let others = quiet.inputs.iter().enumerate().filter(|(other, _)| *other != place);
            let mut others = others.map(|(_, input)| input);
            let Some(mut there) = closed(&mut others) else { return false };
            if there.end.node.is_writing() {
                return false;
            }
            let Some(behind) = self.course(me, &there.end, std::iter::once(late)) else { return false };
            there.end = behind.end;
            there.agrees(&here) && behind.seen.iter().all(|outcome| outcome.is_quiet)
        })
    }

    /// Whether a quiet input could not wait for what comes behind it because of the connection it came by:
    /// that is in order, ends, or is sent on.
    fn is_held_by_stream(
        &self,
        quiet: &Quiet<R>,
        place: usize,
        closing: &Input<R>,
        course: &Course<R>,
    ) -> bool {
        let from = peer(&quiet.inputs[place]);
        let later = quiet.inputs[place + 1..].iter().chain([closing]);
        let concerns = |(to, sent): &(NodeId, Sent<R>)| {
            Some(*to) == from
                && (matches!(sent, Sent::Close) || matches!(quiet.inputs[place], Input::Disconnect(_)))
        };
        let sends = |out: &Output<R>| out.sent.iter().any(concerns);
        from.is_some()
            && (later.map(peer).any(|other| other == from)
                || course.seen.iter().any(|outcome| outcome.out.as_ref().is_ok_and(sends)))
    }

    /// Lets inputs come to a node one after the other, if they can.
    fn course<'a>(
        &self,
        me: NodeId,
        from: &Arc<Site<R>>,
        inputs: impl Iterator<Item = &'a Input<R>>,
    ) -> Option<Course<R>>
    where
        R: 'a,
    {
        let mut course = Course { end: Arc::clone(from), seen: Vec::new() };
        for input in inputs {
            if !is_possible(input, &course.end.node) {
                return None;
            }
            let outcome = self.outcome_of(me, &course.end, input);
            course.end = Arc::clone(&outcome.site);
            course.seen.push(outcome);
        }
        Some(course)
    }
}

/// Another way leads to the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Superfluous;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use contract::{Bug, Bugs};
    use protocols::{Abd, MultiPaxos, Paxos, Raft, Vr, Zab};
    use stateright::Model;

    use super::*;
    use crate::explore::bounds::Bounds;

    /// All that anyone but a node itself could see in any state, and how many states there are.
    fn seen<R: Replica>(
        options: &str,
        bug: Option<Bug>,
        bounds: &Bounds,
        puts_off: bool,
    ) -> (BTreeSet<u64>, usize) {
        let options = serde_json::from_str(options).expect("options are a table");
        let requests = bounds.requests(R::OPERATIONS, R::CHANNEL).expect("the bounds go together");
        let mut system = System::<R>::new(options, Bugs(bug), bounds.clone(), requests);
        system.puts_off = puts_off;
        let mut left = system.init_states();
        let (mut known, mut seen, mut actions) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        while let Some(state) = left.pop() {
            if !known.insert(print(&state)) || !system.within_boundary(&state) {
                continue;
            }
            let site = |site: &Arc<Site<R>>| {
                format!("{:?} {:?}", site.view, site.node.records().collect::<Vec<_>>())
            };
            let sites: Vec<String> = state.sites.iter().map(site).collect();
            seen.insert(print(&(sites, &state.past, &state.clients, &state.broken)));
            system.actions(&state, &mut actions);
            left.extend(actions.drain(..).filter_map(|action| system.next_state(&state, action)));
        }
        (seen, known.len())
    }

    /// How many states there are, with each quiet input at any time and with none where it makes no difference.
    fn compared<R: Replica>(options: &str, bug: Option<Bug>, bounds: &Bounds) -> (usize, usize) {
        let (all, states) = seen::<R>(options, bug, bounds, false);
        let (fewer, fewer_states) = seen::<R>(options, bug, bounds, true);
        assert!(all == fewer, "{} things to see of {} in {bounds:?}", fewer.len(), all.len());
        assert!(all.len() > 1, "nothing came about");
        (states, fewer_states)
    }

    const PLAIN: &str = r#"{"pre-vote": false, "check-quorum": false}"#;

    #[test]
    fn what_others_see_is_the_same() {
        let bounds = Bounds { timers: 1, crashes: 0, ..Bounds::default() };
        let of_one = Bounds { asked: Some(1), timers: 0, ..bounds.clone() };
        // Who is refused learns quietly how high to go, and shows it when it tries again.
        let refused = Bounds { writes: 2, asked: Some(2), depth: Some(11), ..bounds.clone() };
        let five = Bounds { nodes: 5, writes: 0, epochs: Some(1), depth: Some(6), ..bounds.clone() };
        let figures = [
            compared::<Raft>(PLAIN, None, &Bounds { epochs: Some(1), crashes: 1, ..bounds.clone() }),
            compared::<Raft>(PLAIN, Some(Bug::QuorumOfUnsorted), &bounds),
            compared::<Raft>(PLAIN, None, &five),
            compared::<MultiPaxos>("{}", None, &bounds),
            compared::<Zab>("{}", None, &Bounds { timers: 0, disconnects: 1, ..bounds.clone() }),
            compared::<Paxos>("{}", None, &of_one),
            compared::<Paxos>("{}", None, &Bounds { duplicates: 1, ..of_one.clone() }),
            compared::<Paxos>("{}", None, &Bounds { overtakes: 1, ..of_one.clone() }),
            compared::<Paxos>("{}", None, &refused),
            compared::<Abd>("{}", None, &of_one),
            compared::<Vr>("{}", None, &Bounds { timers: 0, ..bounds }),
        ];
        let (states, fewer) = figures[5];
        assert!(5 * fewer < states, "of {states} states {fewer} are left: nothing was put off");
    }
}
