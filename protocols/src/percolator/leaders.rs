//! Which server leads which group, and which of them is to hand one over: PD's balance of leaders.
//!
//! A leader is where a group's work is done. Groups elect whom they like, so that after some crashes one server
//! may lead most of them. The scheduler cannot move a leader; it can only ask one to hand over.
//!
//! Whether a server lives is told without a clock, since clocks jump: servers report equally often, so that one of
//! which nothing was heard while the others spoke more than once each is taken to be down.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Bug, Bugs, Epoch, GroupId, NodeId};
use serde::{Deserialize, Serialize};

/// What servers have told of themselves and of the groups that they lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leaders {
    /// How many reports of other servers were heard since a server's last one.
    silent_for: BTreeMap<NodeId, u32>,
    /// Who leads a group, and since which epoch.
    of: BTreeMap<GroupId, (Epoch, NodeId)>,
}

impl Leaders {
    /// A server says that it lives.
    pub(super) fn lives(&mut self, server: NodeId) {
        self.silent_for.values_mut().for_each(|reports| *reports = reports.saturating_add(1));
        self.silent_for.insert(server, 0);
    }

    fn is_alive(&self, server: NodeId) -> bool {
        let servers = u32::try_from(self.silent_for.len()).expect("there are few servers");
        self.silent_for.get(&server).is_some_and(|reports| *reports <= servers)
    }

    /// Who leads a group says so. Returns to which of the candidates it is to hand over, if it leads two more
    /// groups than the one that leads least of those that live (of equals, the one with the lowest number).
    pub(super) fn hear(
        &mut self,
        group: GroupId,
        (epoch, leader): (Epoch, NodeId),
        candidates: &BTreeSet<NodeId>,
        bugs: Bugs,
    ) -> Option<NodeId> {
        let known = self.of.get(&group).is_some_and(|(known, _)| *known > epoch);
        if known && !bugs.has(Bug::OldLeaderBelieved) {
            return None;
        }
        // Under the same epoch nobody else has led. Whom it was to hand over to, as was noted, did not take over: it
        // may be down, and does not count until it is heard of again.
        let noted = self.of.insert(group, (epoch, leader));
        if let Some((_, heir)) = noted.filter(|(noted, heir)| *noted == epoch && *heir != leader) {
            self.silent_for.remove(&heir);
        }
        let led = |server: NodeId| self.of.values().filter(|(_, leader)| *leader == server).count();
        let lives = |server: &&NodeId| self.is_alive(**server) || bugs.has(Bug::HandoverToDead);
        let to = candidates.iter().filter(lives).copied().min_by_key(|server| (led(*server), *server))?;
        if led(leader) < led(to) + 2 || bugs.has(Bug::LeadersNotBalanced) {
            return None;
        }
        // It counts as handed over until somebody reports it: two groups are not to run to the same server at
        // once.
        if !bugs.has(Bug::HandoverNotNoted) {
            self.of.insert(group, (epoch, to));
        }
        Some(to)
    }
}
