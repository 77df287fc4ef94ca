//! The acceptors: what they promise and accept, they remember (§2.2).

use std::collections::BTreeMap;

use contract::{Bug, Bytes, Effects, NodeId};

use super::message::Message;
use super::record::Record;
use super::{Ballot, Paxos, Proposal};

/// What an acceptor remembers of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Acceptor {
    /// It accepts nothing of lower ballots.
    pub(super) promised: Ballot,
    /// What it accepted last.
    pub(super) accepted: Option<Proposal>,
}

impl Acceptor {
    fn assert_laws(&self) {
        let accepted = self.accepted.as_ref().map(|proposal| proposal.ballot).unwrap_or_default();
        assert!(accepted <= self.promised, "to accept in a ballot is to promise it (P1a)");
    }
}

/// What a journal holds: of each key, what was written last.
pub(super) fn fold(records: Vec<Record>) -> BTreeMap<Bytes, Acceptor> {
    let mut acceptors = BTreeMap::<Bytes, Acceptor>::new();
    for Record { key, promised, accepted } in records {
        let acceptor = acceptors.entry(key).or_default();
        assert!(
            promised >= acceptor.promised,
            "promises never fall: {} before {promised}",
            acceptor.promised
        );
        *acceptor = Acceptor { promised, accepted };
        acceptor.assert_laws();
    }
    acceptors
}

impl Paxos {
    pub(super) fn on_prepare(&mut self, from: NodeId, key: Bytes, ballot: Ballot, fx: &mut Effects<Self>) {
        match self.promise(&key, ballot, None, fx) {
            Err(promised) => fx.send(from, Message::Refused { key, ballot, promised }, None),
            Ok(()) => {
                let accepted = self.acceptors[&key].accepted.clone();
                fx.send(from, Message::Promise { key, ballot, accepted }, self.journal.writing());
            }
        }
    }

    pub(super) fn on_accept(&mut self, from: NodeId, key: Bytes, proposal: Proposal, fx: &mut Effects<Self>) {
        let ballot = proposal.ballot;
        match self.promise(&key, ballot, Some(&proposal), fx) {
            Err(promised) => fx.send(from, Message::Refused { key, ballot, promised }, None),
            Ok(()) => self.broadcast(&Message::Accepted { key, proposal }, self.journal.writing(), fx),
        }
    }

    /// Promises a ballot, and accepts what is proposed in it; or tells which higher ballot forbids it. What
    /// it changes is written down.
    pub(super) fn promise(
        &mut self,
        key: &Bytes,
        ballot: Ballot,
        proposal: Option<&Proposal>,
        fx: &mut Effects<Self>,
    ) -> Result<(), Ballot> {
        let acceptor = self.acceptors.entry(key.clone()).or_default();
        if ballot < acceptor.promised {
            return Err(acceptor.promised);
        }
        let before = acceptor.clone();
        acceptor.promised = ballot;
        if let Some(proposal) = proposal {
            acceptor.accepted = Some(proposal.clone());
        }
        acceptor.assert_laws();
        self.round = self.round.max(ballot.round);
        // Its own ballots are another matter: they are not used again.
        let forgets = self.cluster.bugs.has(Bug::PromiseForgotten)
            && proposal.is_none()
            && ballot.node != self.cluster.me;
        if *acceptor != before && !forgets {
            let record = Record::of(key, acceptor);
            let all = self.acceptors.iter().map(|(key, acceptor)| Record::of(key, acceptor));
            self.journal.write(record, || all.collect(), fx);
        }
        Ok(())
    }
}
