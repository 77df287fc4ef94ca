//! Leases (dissertation §6.4.1): reads without a message, at the price of trust in clocks.
//!
//! Whoever has heard its leader is loyal to it for the least election timeout (`election.rs`). So once a quorum
//! has answered a round of heartbeats, nobody else is elected before that time is over, counted from when the
//! first of them may have been *sent*: a timer is armed with the round, and the lease lasts until it fires. It
//! is shorter than loyalty by as much as two clocks within the declared bound can differ. A host that was
//! paused fires the timers that came due before it delivers anything, so that a lease that ran out meanwhile
//! serves no read.
//!
//! - A voter that restarts does not know whom it heard, and is loyal for a least election timeout first.
//! - A leader that appoints its successor frees its followers from their loyalty, by a message that may arrive
//!   at any later time: it has no lease for the rest of its term.
//!
//! Two timers are enough: one of the lease that is held, one of the round that is to renew it.

use contract::{Bug, Effect, Effects};

use super::quorum::agreed;
use super::{Raft, Standing, Timer};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    rounds: [Round; 2],
    /// A successor was appointed in this term.
    given_up: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Round {
    #[default]
    None,
    /// Its heartbeats were sent.
    Asked(u64),
    /// A quorum answered.
    Held,
}

impl Lease {
    pub(super) fn is_held(&self) -> bool {
        assert!(!self.given_up || self.rounds == [Round::None; 2], "no lease after an appointment");
        self.rounds.contains(&Round::Held)
    }

    /// Whether an answer could confirm a round.
    pub(super) fn is_asked(&self) -> bool {
        self.rounds.iter().any(|round| matches!(round, Round::Asked(_)))
    }

    pub(super) fn give_up(&mut self, fx: &mut Effects<Raft>) {
        self.cancel_timers(fx);
        (self.rounds, self.given_up) = ([Round::None; 2], true);
    }

    pub(super) fn cancel_timers(&self, fx: &mut Effects<Raft>) {
        for (slot, round) in (0..).zip(self.rounds) {
            if round != Round::None {
                fx.push(Effect::CancelTimer(Timer::Lease(slot)));
            }
        }
    }

    /// A quorum has echoed `round`: the latest lease that follows from it takes the place of all others.
    fn confirm(&mut self, round: u64, fx: &mut Effects<Raft>) {
        let latest = self.rounds.iter().filter_map(|asked| match asked {
            Round::Asked(asked) if *asked <= round => Some(*asked),
            _ => None,
        });
        let Some(latest) = latest.max() else { return };
        for (slot, held) in (0..).zip(&mut self.rounds) {
            match *held {
                Round::Asked(asked) if asked == latest => *held = Round::Held,
                Round::Asked(asked) if asked > latest => {}
                Round::None => {}
                Round::Asked(_) | Round::Held => {
                    *held = Round::None;
                    fx.push(Effect::CancelTimer(Timer::Lease(slot)));
                }
            }
        }
    }
}

impl Raft {
    /// Before heartbeats are sent: what answers them may renew the lease.
    pub(super) fn begin_lease_round(&mut self, fx: &mut Effects<Self>) {
        let Some(mut lasts) = self.cluster.options.lease() else { return };
        if self.cluster.bugs.has(Bug::LeaseIgnoresDrift) {
            lasts = self.cluster.options.election_timeout.0;
        }
        let Standing::Leader(leading) = &mut self.standing else { panic!("only leaders have leases") };
        let free = leading.lease.rounds.iter().position(|round| *round == Round::None);
        if let Some(slot) = free.filter(|_| !leading.lease.given_up) {
            leading.lease.rounds[slot] = Round::Asked(leading.reads.next_round());
            fx.push(Effect::SetTimer { timer: Timer::Lease(slot as u8), within: lasts..=lasts });
        }
    }

    /// A lease ran out, or a round was not answered in time.
    pub(super) fn on_lease_timer(&mut self, slot: u8) {
        if let Standing::Leader(leading) = &mut self.standing {
            leading.lease.rounds[usize::from(slot)] = Round::None;
        }
    }

    /// Someone answered: reads may be served, and the lease be renewed.
    pub(super) fn confirm_rounds(&mut self, fx: &mut Effects<Self>) {
        let Standing::Leader(leading) = &mut self.standing else { return };
        if !leading.reads.is_begun() && !leading.lease.is_asked() {
            return;
        }
        let (me, membership) = (self.cluster.me, self.log.membership());
        let round = leading.reads.round;
        let echo = |voter| if voter == me { round } else { leading.peer(voter).round };
        let echoed = agreed(membership, echo);
        assert!(echoed <= round, "nobody echoes a round that has not begun");
        leading.lease.confirm(echoed, fx);
        self.finish_reads(echoed, fx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rounds: [Round; 2], echoed: u64) -> ([Round; 2], Vec<Timer>) {
        let (mut lease, mut fx) = (Lease { rounds, given_up: false }, Effects::default());
        lease.confirm(echoed, &mut fx);
        let cancelled = fx.drain().map(|effect| match effect {
            Effect::CancelTimer(timer) => timer,
            other => panic!("{other:?}"),
        });
        (lease.rounds, cancelled.collect())
    }

    #[test]
    fn the_latest_round_that_a_quorum_echoed_is_the_lease() {
        use Round::{Asked, Held, None};
        assert_eq!(after([Asked(1), None], 1), ([Held, None], vec![]));
        assert_eq!(after([Held, Asked(2)], 1), ([Held, Asked(2)], vec![]), "an older echo renews nothing");
        assert_eq!(after([Held, Asked(2)], 2), ([None, Held], vec![Timer::Lease(0)]));
        assert_eq!(
            after([Held, Asked(2)], 5),
            ([None, Held], vec![Timer::Lease(0)]),
            "it came after round 2"
        );
        assert_eq!(after([Asked(3), Asked(2)], 3), ([Held, None], vec![Timer::Lease(1)]));
        assert_eq!(after([Asked(3), Asked(2)], 2), ([Asked(3), Held], vec![]));
    }
}
