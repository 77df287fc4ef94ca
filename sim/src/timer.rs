//! Timers, armed lazily: at most one queued event per timer in the common case.
//!
//! Arming a timer again for later, as a server that hears from its leader does, only stores the new
//! deadline; the event that is queued already finds it when it pops, and is queued again. Delays are
//! drawn at (timer, how often it was armed) under the endpoint's key.

use std::ops::RangeInclusive;
use std::time::Duration;

use contract::{Time, TimerId};

use crate::latency::nanos;
use crate::queue::{Queue, Topic};
use crate::rng::{philox, up_to, wide};
use crate::slab::Ticket;

#[derive(Debug)]
struct Timer {
    endpoint: u32,
    id: TimerId,
    /// [`Time::FAR`]: not armed.
    deadline: Time,
    /// When the queued event pops; [`Time::FAR`]: none is queued.
    queued: Time,
    /// Of the queued event; events of other generations are stale.
    generation: u32,
    tie: u32,
    arms: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    timers: Vec<Timer>,
    /// By endpoint and timer id: the place in `timers`, plus one.
    places: Vec<Vec<u32>>,
}

impl Timers {
    pub(crate) fn new(endpoints: usize) -> Self {
        Self { timers: Vec::new(), places: vec![Vec::new(); endpoints] }
    }

    fn place(&mut self, endpoint: u32, id: TimerId) -> u32 {
        assert!(id.0 < 1 << 24, "timer ids are small and dense, and {id} is not");
        let row = &mut self.places[endpoint as usize];
        if row.len() <= id.0 as usize {
            row.resize(id.0 as usize + 1, 0);
        }
        let place = &mut row[id.0 as usize];
        if *place == 0 {
            let (deadline, queued) = (Time::FAR, Time::FAR);
            self.timers.push(Timer { endpoint, id, deadline, queued, generation: 0, tie: 0, arms: 0 });
            *place = u32::try_from(self.timers.len()).expect("fewer than 2^32 timers");
        }
        *place - 1
    }

    #[inline]
    pub(crate) fn arm(
        &mut self,
        (now, queue): (Time, &mut Queue),
        (endpoint, key): (u32, u64),
        id: TimerId,
        within: &RangeInclusive<Duration>,
    ) {
        let (least, most) = (nanos(*within.start()), nanos(*within.end()));
        assert!(least <= most, "{id} cannot fire within {within:?}");
        let slot = self.place(endpoint, id);
        let timer = &mut self.timers[slot as usize];
        let draw = philox(key, u64::from(id.0), timer.arms);
        timer.arms += 1;
        timer.tie = draw[3];
        timer.deadline = now + Duration::from_nanos(least + up_to(most - least, wide(draw[1], draw[2])));
        if timer.deadline < timer.queued {
            timer.generation = (timer.generation + 1) & Ticket::GENERATION_MASK;
            timer.enqueue(slot, queue);
        }
    }

    pub(crate) fn disarm(&mut self, endpoint: u32, id: TimerId) {
        let place = self.place(endpoint, id);
        self.timers[place as usize].deadline = Time::FAR;
    }

    pub(crate) fn disarm_all(&mut self, endpoint: u32) {
        for place in self.places[endpoint as usize].iter().filter(|place| **place > 0) {
            self.timers[*place as usize - 1].deadline = Time::FAR;
        }
    }

    /// Whose the timer of a queued event is.
    pub(crate) fn endpoint(&self, ticket: Ticket) -> u32 {
        self.timers[ticket.slot as usize].endpoint
    }

    /// Puts off all timers of an endpoint that are armed.
    pub(crate) fn put_off(&mut self, endpoint: u32, by: Duration) {
        for place in self.places[endpoint as usize].iter().filter(|place| **place > 0) {
            let timer = &mut self.timers[*place as usize - 1];
            // An event that is queued already finds the new deadline when it pops.
            if timer.deadline != Time::FAR {
                timer.deadline = timer.deadline + by;
            }
        }
    }

    /// A queued event popped: the endpoint and the timer that fires, unless it moved on.
    #[inline]
    pub(crate) fn pop(&mut self, now: Time, ticket: Ticket, queue: &mut Queue) -> Option<(u32, TimerId)> {
        let timer = &mut self.timers[ticket.slot as usize];
        if timer.generation != ticket.generation {
            return None;
        }
        timer.queued = Time::FAR;
        if timer.deadline == Time::FAR {
            return None;
        }
        if timer.deadline > now {
            timer.enqueue(ticket.slot, queue);
            return None;
        }
        timer.deadline = Time::FAR;
        Some((timer.endpoint, timer.id))
    }
}

impl Timer {
    fn enqueue(&mut self, slot: u32, queue: &mut Queue) {
        queue.push(self.deadline, self.tie, Topic::Timer, Ticket { slot, generation: self.generation });
        self.queued = self.deadline;
    }
}
