//! A client: one operation at a time, retried on any server until it is answered or given up.
//!
//! Operations arrive by a schedule of the client's own (a Poisson process); one that arrives while
//! another is under way waits. A request that may have been lost is sent again under the same number,
//! to another server, where the protocol makes it take effect once (by the service's sessions, for most). A client that gives up records
//! the outcome as unknown: the request may still take effect, at any later time.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use contract::kv::{Op, Ret};
use contract::{
    Address, ClientId, Env, GroupId, History, NodeId, OpId, Outcome, Packet, Rejection, Request, Response,
    Time, TimerId,
};
use hdrhistogram::Histogram;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use sim::rng::{Keys, Purpose};

use crate::plan::{Plan, WorkloadPlan};
use crate::report::Availability;
use crate::service::{Answer, Ask};
use crate::workload::kv::KvClient;

/// An operation arrives.
const ARRIVAL: TimerId = TimerId(0);
/// The server did not answer, or a pause before the next attempt is over.
const ATTEMPT: TimerId = TimerId(1);
/// The operation is given up.
const DEADLINE: TimerId = TimerId(2);

/// How often in a row a server's word for who leads is taken without a pause: two servers may each
/// take the other for the leader.
const MAX_REDIRECTS: u8 = 3;

/// Operations that are not answered for longer than this are waited for in vain.
const UNAVAILABLE: Duration = Duration::from_millis(100);

/// How long to wait when there is no leader.
const PAUSE: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(60);

/// What all clients of a run write down.
#[derive(Debug)]
pub struct Records {
    /// Invocations and returns.
    pub history: History<Op, Ret>,
    /// Microseconds from invocation to return of operations that were answered.
    pub latency: Histogram<u64>,
    /// Operations answered.
    pub answered: u64,
    /// Operations answered of those invoked after the faults ended.
    pub answered_in_quiet: u64,
    /// Operations given up.
    pub unknown: u64,
    /// Writes that clients wait for.
    pub writes_in_flight: u64,
    /// From when on no fault is active.
    pub quiet_from: Time,
    /// Operations under way.
    pub(crate) under_way: u64,
    /// Since when clients have waited without an answer to any of them.
    waiting_since: Time,
    waited: Availability,
    /// Which arrivals became operations, in order of invocation.
    pub invoked: Vec<(ClientId, u64)>,
    /// Per client its operations, in the order of their numbers, which begin with 1.
    by_client: Vec<Vec<OpId>>,
}

impl Records {
    /// Nothing written yet.
    pub fn new(quiet_from: Time) -> Self {
        Self {
            history: History::default(),
            latency: Histogram::new(3).expect("three digits are within the histogram's bounds"),
            answered: 0,
            answered_in_quiet: 0,
            unknown: 0,
            writes_in_flight: 0,
            quiet_from,
            under_way: 0,
            waiting_since: Time::ZERO,
            waited: Availability::default(),
            invoked: Vec::new(),
            by_client: Vec::new(),
        }
    }

    /// An operation or a transaction has begun.
    pub(crate) fn began(&mut self, now: Time, client: ClientId, arrival: u64) {
        self.invoked.push((client, arrival));
        if self.under_way == 0 {
            self.waiting_since = now;
        }
        self.under_way += 1;
    }

    fn invoke(&mut self, now: Time, client: ClientId, arrival: u64, op: Op) -> OpId {
        self.began(now, client, arrival);
        self.writes_in_flight += u64::from(!op.is_read());
        let id = self.history.invoke(now, client, op);
        if self.by_client.len() <= client.slot() {
            self.by_client.resize(client.slot() + 1, Vec::new());
        }
        self.by_client[client.slot()].push(id);
        id
    }

    /// What began at `since` was answered.
    pub(crate) fn answered(&mut self, now: Time, since: Time) {
        self.answered += 1;
        self.answered_in_quiet += u64::from(since >= self.quiet_from);
        let micros = u64::try_from(now.since(since).as_micros()).unwrap_or(u64::MAX);
        self.latency.record(micros).expect("the histogram grows as needed");
        self.ended(now, true);
    }

    /// What had begun was given up.
    pub(crate) fn gave_up(&mut self, now: Time) {
        self.unknown += 1;
        self.ended(now, false);
    }

    /// An operation has ended, with an answer or without.
    pub(crate) fn ended(&mut self, now: Time, answered: bool) {
        self.under_way -= 1;
        if answered {
            self.waited = self.waited_until(now);
            self.waiting_since = now;
        }
    }

    /// How long clients have waited in vain until now.
    pub(crate) fn availability(&self, now: Time) -> Availability {
        if self.under_way == 0 { self.waited } else { self.waited_until(now) }
    }

    fn waited_until(&self, now: Time) -> Availability {
        let Availability { longest, total } = self.waited;
        let waits = now.since(self.waiting_since);
        if waits <= UNAVAILABLE {
            return self.waited;
        }
        Availability { longest: longest.max(waits), total: total + waits }
    }

    /// A client's operation by its number, from 1.
    pub fn operation(&self, client: ClientId, seq: u64) -> Option<OpId> {
        let place = usize::try_from(seq).ok()?.checked_sub(1)?;
        self.by_client.get(client.slot())?.get(place).copied()
    }
}

/// The arrivals of a client among those of all.
pub(crate) fn of_client(only: &[(ClientId, u64)], me: ClientId) -> BTreeSet<u64> {
    only.iter().filter(|(client, _)| *client == me).map(|(_, arrival)| *arrival).collect()
}

struct UnderWay {
    op: Op,
    id: OpId,
    since: Time,
}

/// One client.
pub(crate) struct Client<M, V> {
    me: ClientId,
    env: V,
    nodes: u16,
    arrivals: ChaCha8Rng,
    mean_gap: f64,
    timeout: Duration,
    retry_after: (Duration, Duration),
    ops: KvClient,
    records: Rc<RefCell<Records>>,
    under_way: Option<UnderWay>,
    /// How many operations have arrived.
    arrived: u64,
    /// Which of them are invoked; all, if not given.
    only: Option<BTreeSet<u64>>,
    /// Arrived, but another operation was under way.
    queued: VecDeque<u64>,
    seq: u64,
    server: NodeId,
    /// How often the operation under way was sent on without a pause.
    redirects: u8,
    /// Whether a request that may have been lost is sent again.
    retries: bool,
    speaks: PhantomData<M>,
}

impl<M, V: Env<Packet<M, Ask, Answer>>> Client<M, V> {
    /// A client of a plan's cluster under one of its workloads, which `shared_by` clients share. `retries`:
    /// whether the protocol has a request that is sent again take effect once.
    pub(crate) fn new(
        me: ClientId,
        env: V,
        plan: &Plan,
        workload: &WorkloadPlan,
        shared_by: usize,
        retries: bool,
        records: Rc<RefCell<Records>>,
    ) -> Self {
        let nodes = plan.world.nodes;
        Self {
            me,
            env,
            nodes,
            arrivals: Keys::new(plan.seed).stream(Purpose::new("arrivals"), u64::from(me.0)),
            mean_gap: shared_by as f64 / workload.rate,
            timeout: workload.timeout,
            retry_after: workload.retry_after,
            ops: KvClient::new(plan.seed, me, workload),
            records,
            under_way: None,
            arrived: 0,
            only: plan.only.as_ref().map(|only| of_client(only, me)),
            queued: VecDeque::new(),
            seq: 0,
            server: NodeId::new(me.0 % nodes + 1),
            redirects: 0,
            retries,
            speaks: PhantomData,
        }
    }

    /// Begins to send operations.
    pub(crate) fn start(&mut self) {
        self.await_arrival();
    }

    fn await_arrival(&mut self) {
        let uniform: f64 = self.arrivals.random();
        let gap = Duration::from_secs_f64(-libm::log(1.0 - uniform) * self.mean_gap);
        self.env.set_timer(ARRIVAL, gap..=gap);
    }

    /// A timer fired.
    pub(crate) fn on_timer(&mut self, timer: TimerId) {
        match timer {
            ARRIVAL => {
                if self.only.as_ref().is_none_or(|only| only.contains(&self.arrived)) {
                    self.queued.push_back(self.arrived);
                }
                self.arrived += 1;
                self.await_arrival();
                if self.under_way.is_none() {
                    self.invoke_next();
                }
            }
            ATTEMPT => self.ask_next(),
            DEADLINE => {
                if !self.retries {
                    self.turn_to_next();
                }
                self.finish(Outcome::Unknown);
            }
            other => unreachable!("{other} is not a client's"),
        }
    }

    /// An answer arrived.
    pub(crate) fn on_response(&mut self, from: Address, response: Response<Answer>) {
        // An answer to an earlier attempt or operation may come late, or twice.
        if self.under_way.is_none() || response.seq != self.seq {
            return;
        }
        match response.result {
            Ok(Answer::Kv(ret)) => self.finish(Outcome::Ok(ret)),
            Ok(Answer::Percolator(ret)) => unreachable!("a key-value service answered {ret}"),
            Err(_) if from != Address::Node(self.server) => {}
            Err(Rejection::NotLeader { leader: Some(leader) }) if self.redirects < MAX_REDIRECTS => {
                self.redirects += 1;
                self.server = leader;
                self.send();
            }
            // It may have taken effect, or may yet.
            Err(Rejection::Lost | Rejection::Stopped) if !self.retries => {}
            Err(_) => {
                self.redirects = 0;
                self.env.set_timer(ATTEMPT, PAUSE);
            }
        }
    }

    fn invoke_next(&mut self) {
        let Some(arrival) = self.queued.pop_front() else { return };
        self.seq += 1;
        self.redirects = 0;
        let op = self.ops.op(arrival);
        let since = self.env.now();
        let id = self.records.borrow_mut().invoke(since, self.me, arrival, op.clone());
        self.under_way = Some(UnderWay { op, id, since });
        self.env.set_timer(DEADLINE, self.timeout..=self.timeout);
        self.send();
    }

    fn send(&mut self) {
        let op = self.under_way.as_ref().expect("only an operation under way is sent").op.clone();
        let request = Request { client: self.me, seq: self.seq, op: Ask::Kv(op) };
        let packet = Packet::Request { group: GroupId(0), request };
        self.env.send(self.server.into(), packet);
        if self.retries {
            let (least, most) = self.retry_after;
            self.env.set_timer(ATTEMPT, least..=most);
        }
    }

    fn ask_next(&mut self) {
        self.turn_to_next();
        self.send();
    }

    fn turn_to_next(&mut self) {
        self.server = NodeId::new(self.server.0 % self.nodes + 1);
    }

    fn finish(&mut self, outcome: Outcome<Ret>) {
        let UnderWay { op, id, since } = self.under_way.take().expect("an operation ends once");
        self.env.cancel_timer(ATTEMPT);
        self.env.cancel_timer(DEADLINE);
        let now = self.env.now();
        self.write_down(now, since, &outcome);
        self.records.borrow_mut().writes_in_flight -= u64::from(!op.is_read());
        if let Outcome::Ok(ret) = &outcome {
            self.ops.learn(&op, ret);
        }
        self.records.borrow_mut().history.complete(now, self.me, id, outcome);
        self.invoke_next();
    }

    fn write_down(&self, now: Time, since: Time, outcome: &Outcome<Ret>) {
        let records = &mut *self.records.borrow_mut();
        match outcome {
            Outcome::Ok(_) => records.answered(now, since),
            Outcome::Fail | Outcome::Unknown => records.gave_up(now),
        }
    }
}
