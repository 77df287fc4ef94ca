//! What is true of a cluster by the protocol's laws; says which law a run broke.

use std::collections::BTreeMap;

use contract::{Effect, Entry, Epoch, Index, Mark, NodeId, Payload, Replica, RequestId, Role};

use crate::{Fx, Host};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    ElectionSafety,
    LogMatching,
    LeaderCompleteness,
    StateMachineSafety,
    CommitMonotonic,
    StaleRead,
    /// A request was answered that nobody asked, or for the second time.
    AnsweredTwice,
    BrokenLawNoticed,
    /// Nothing fails any more, and still the cluster does not get on.
    NoProgress,
    /// Nothing fails any more, and two sets of voters are still to agree.
    StaysJoint,
}

#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) leaders: BTreeMap<Epoch, NodeId>,
    /// Every entry ever seen in a log, with the one before it: a mark identifies a whole prefix.
    entries: BTreeMap<Mark, (Mark, Payload)>,
    /// What was committed, and the lowest term of a replica that knew it.
    pub(crate) committed: Vec<(Entry, Epoch)>,
    /// Requests that wait for their answer: at whom, and what was committed when they came.
    open: BTreeMap<RequestId, (NodeId, Index)>,
}

impl Judge {
    pub(crate) fn asked(&mut self, request: RequestId, node: NodeId) {
        self.open.insert(request, (node, Index(self.committed.len() as u64)));
    }

    /// Whoever asked a replica that went down hears nothing any more.
    pub(crate) fn went_down(&mut self, node: NodeId) {
        self.open.retain(|_, (asked, _)| *asked != node);
    }

    pub(crate) fn check(
        &mut self,
        host: &Host,
        before: (Epoch, Index),
        effects: &Fx,
    ) -> Result<(), Violation> {
        let view = host.replica.view();
        if view.commit < before.1 || view.epoch < before.0 {
            return Err(Violation::CommitMonotonic);
        }
        for effect in effects {
            match effect {
                Effect::Commit(entries) => self.check_committed(entries, view.epoch)?,
                Effect::ReadAt { request, index } => {
                    let known = self.answered(*request)?;
                    if *index < known {
                        return Err(Violation::StaleRead);
                    }
                }
                Effect::Proposed { request, .. }
                | Effect::Controlled { request }
                | Effect::Reject { request, .. } => drop(self.answered(*request)?),
                Effect::Persist { .. } => self.check_log(host)?,
                _ => {}
            }
        }
        if view.role == Role::Leader {
            let first_seen = !self.leaders.contains_key(&view.epoch);
            if *self.leaders.entry(view.epoch).or_insert(host.cluster.me) != host.cluster.me {
                return Err(Violation::ElectionSafety);
            }
            if first_seen {
                self.check_complete(host, view.epoch)?;
            }
        }
        Ok(())
    }

    fn answered(&mut self, request: RequestId) -> Result<Index, Violation> {
        self.open.remove(&request).map(|(_, known)| known).ok_or(Violation::AnsweredTwice)
    }

    fn check_committed(&mut self, entries: &[Entry], term: Epoch) -> Result<(), Violation> {
        for entry in entries {
            match self.committed.get_mut(entry.mark.index.0 as usize - 1) {
                Some((other, _)) if other != entry => return Err(Violation::StateMachineSafety),
                Some((_, known)) => *known = term.min(*known),
                None => self.committed.push((entry.clone(), term)),
            }
        }
        Ok(())
    }

    fn check_log(&mut self, host: &Host) -> Result<(), Violation> {
        let (mut before, entries) = host.replica.entries();
        for entry in entries {
            let seen = self.entries.entry(entry.mark).or_insert((before, entry.payload.clone()));
            if *seen != (before, entry.payload.clone()) {
                return Err(Violation::LogMatching);
            }
            before = entry.mark;
        }
        Ok(())
    }

    fn check_complete(&self, host: &Host, term: Epoch) -> Result<(), Violation> {
        let (start, entries) = host.replica.entries();
        let log: BTreeMap<Index, Mark> = entries.map(|entry| (entry.mark.index, entry.mark)).collect();
        let earlier = self.committed.iter().filter(|(_, known)| *known < term);
        let mut owed = earlier.map(|(entry, _)| entry.mark).filter(|mark| mark.index > start.index);
        if owed.any(|mark| log.get(&mark.index) != Some(&mark)) {
            return Err(Violation::LeaderCompleteness);
        }
        Ok(())
    }
}
