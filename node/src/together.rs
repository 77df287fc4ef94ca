//! What the groups of one server do together: their beats fall on the same moments, and what they say to a
//! peer at such a moment, or in answer to what came in one packet, goes in one packet.
//!
//! Of many groups most are idle most of the time. Then heartbeats are what a server mostly sends, and without
//! this as many packets as there are groups would say the same to the same peer.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use contract::{Env, GroupId, NodeId, TimerId};

/// What is gathered for each peer.
type Outbox<M> = BTreeMap<NodeId, Vec<(GroupId, M)>>;

/// A handle of a server and its groups; a clone is another one.
pub(crate) struct Together<M>(Rc<Inner<M>>);

impl<M> Clone for Together<M> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

struct Inner<M> {
    groups: u32,
    /// The server's own timers, in the order in which they were first asked for.
    timers: RefCell<Vec<Timer>>,
    /// There is one while groups act together.
    outbox: RefCell<Option<Outbox<M>>>,
}

/// A timer of the server.
enum Timer {
    /// When it fires, all groups that wait for it are called. There is one for each pace.
    Beat(Beat),
    /// It is time to report.
    Report,
}

struct Beat {
    within: RangeInclusive<Duration>,
    waiting: BTreeSet<GroupId>,
    armed: bool,
}

/// Whose timer one of a server's timers is.
pub(crate) enum TimerOf {
    /// A group's, by its place among the group's own.
    Group(GroupId, u32),
    /// The server's: a beat has come, for those who waited for it.
    Beat(BTreeSet<GroupId>),
    /// The server's: it is time to report.
    Report,
}

impl<M> Together<M> {
    /// Of a server with so many groups.
    pub(crate) fn new(groups: u32) -> Self {
        assert!(groups > 0, "a server serves at least one group");
        Self(Rc::new(Inner { groups, timers: RefCell::default(), outbox: RefCell::default() }))
    }

    /// A group of its own has nobody to go along with.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.groups > 1
    }

    /// A server's timers are dense: its groups take turns, and then comes one of the server's own, if it has
    /// any.
    fn turns(&self) -> u32 {
        self.0.groups + u32::from(self.is_shared())
    }

    fn timer_id(&self, turn: u32, place: usize) -> TimerId {
        let place = u32::try_from(place).expect("a protocol has few timers");
        TimerId(place * self.turns() + turn)
    }

    pub(crate) fn timer_of_group(&self, group: GroupId, place: usize) -> TimerId {
        self.timer_id(group.0, place)
    }

    /// A timer has fired: whose it is.
    pub(crate) fn whose(&self, timer: TimerId) -> TimerOf {
        let (turn, place) = (timer.0 % self.turns(), timer.0 / self.turns());
        if turn < self.0.groups {
            return TimerOf::Group(GroupId(turn), place);
        }
        match &mut self.0.timers.borrow_mut()[place as usize] {
            Timer::Report => TimerOf::Report,
            Timer::Beat(beat) => {
                assert!(beat.armed, "only a timer that was armed fires");
                beat.armed = false;
                TimerOf::Beat(std::mem::take(&mut beat.waiting))
            }
        }
    }

    /// The server reports after a time.
    pub(crate) fn await_report<P>(&self, after: Duration, env: &impl Env<P>) {
        let timers = &mut *self.0.timers.borrow_mut();
        let place = timers.iter().position(|timer| matches!(timer, Timer::Report)).unwrap_or_else(|| {
            timers.push(Timer::Report);
            timers.len() - 1
        });
        env.set_timer(self.timer_id(self.0.groups, place), after..=after);
    }

    /// A group waits for the next beat of a pace. One that is under way comes early for it.
    pub(crate) fn await_beat<P>(&self, group: GroupId, within: RangeInclusive<Duration>, env: &impl Env<P>) {
        let timers = &mut *self.0.timers.borrow_mut();
        let is_beat = |timer: &Timer| matches!(timer, Timer::Beat(beat) if beat.within == within);
        let place = timers.iter().position(is_beat).unwrap_or_else(|| {
            let (waiting, armed) = (BTreeSet::new(), false);
            timers.push(Timer::Beat(Beat { within: within.clone(), waiting, armed }));
            timers.len() - 1
        });
        let Timer::Beat(beat) = &mut timers[place] else { unreachable!("it was found, or put there") };
        beat.waiting.insert(group);
        if !beat.armed {
            beat.armed = true;
            env.set_timer(self.timer_id(self.0.groups, place), within);
        }
    }

    /// A group waits for no beat any more. The server's timer may fire for nobody.
    pub(crate) fn leave_beats(&self, group: GroupId) {
        for timer in self.0.timers.borrow_mut().iter_mut() {
            if let Timer::Beat(beat) = timer {
                beat.waiting.remove(&group);
            }
        }
    }

    /// Lets groups act, and returns what they had to say to each peer meanwhile.
    pub(crate) fn gather(&self, act: impl FnOnce()) -> impl Iterator<Item = (NodeId, Vec<(GroupId, M)>)> {
        let before = self.0.outbox.borrow_mut().replace(Outbox::new());
        assert!(before.is_none(), "groups act together one time after the other");
        act();
        self.0.outbox.borrow_mut().take().expect("it was put there just now").into_iter()
    }

    /// Keeps a message for the packet of those who act together. Hands it back if nobody does.
    pub(crate) fn keep(&self, to: NodeId, group: GroupId, message: M) -> Option<M> {
        match &mut *self.0.outbox.borrow_mut() {
            Some(outbox) => {
                outbox.entry(to).or_default().push((group, message));
                None
            }
            None => Some(message),
        }
    }
}
