//! To whom a server's reports go. It is like a client of other groups: it may take part in one without knowing who
//! leads it now, since it was removed from it, or lags behind.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use contract::{GroupId, Membership, NodeId, Rejection};

/// Whom a server takes for the leaders of groups.
#[derive(Debug, Default)]
pub(crate) struct Addressees {
    /// Who answered for a group last time, or was named then.
    heard: RefCell<BTreeMap<GroupId, NodeId>>,
    guesses: Cell<usize>,
}

impl Addressees {
    /// Whom to tell what is for a group: whoever is known from the last answer, whom its replica here follows, or
    /// one member after the other. An answer counts once: whoever gave it may be down since.
    pub(crate) fn of(
        &self,
        group: GroupId,
        followed: Option<NodeId>,
        members: &Membership,
    ) -> Option<NodeId> {
        let guess = || {
            let guesses = self.guesses.get();
            self.guesses.set(guesses.wrapping_add(1));
            members.voters.iter().copied().nth(guesses % members.voters.len().max(1))
        };
        self.heard.borrow_mut().remove(&group).or(followed).or_else(guess)
    }

    /// A server answered for a group, or refused to.
    pub(crate) fn answered(&self, group: GroupId, from: NodeId, refused: Option<Rejection>) {
        let leader = match refused {
            Some(Rejection::NotLeader { leader }) => leader,
            Some(_) | None => Some(from),
        };
        if let Some(leader) = leader {
            self.heard.borrow_mut().insert(group, leader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_asked_for_among_the_members_until_one_answers() {
        let (group, [one, two, three]) = (GroupId(0), [1, 2, 3].map(NodeId::new));
        let members = Membership::of([one, two, three]);
        let addressees = Addressees::default();
        let next = |followed| addressees.of(group, followed, &members);
        assert_eq!([next(None), next(None), next(None), next(None)], [one, two, three, one].map(Some));
        addressees.answered(group, two, Some(Rejection::NotLeader { leader: Some(three) }));
        assert_eq!(next(Some(one)), Some(three), "the last answer tells more than what is followed");
        assert_eq!(next(Some(one)), Some(one), "it gave no answer: it may be down");
        addressees.answered(group, three, None);
        addressees.answered(group, one, Some(Rejection::NotLeader { leader: None }));
        assert_eq!(next(None), Some(three));
        assert_eq!(next(None), Some(two));
    }
}
