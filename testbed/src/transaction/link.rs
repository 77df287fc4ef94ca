//! One request until its answer: sent again, to whoever is said to lead the group, until time is up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use contract::{
    Address, ClientId, Env as _, GroupId, NodeId, Packet, Rejection, Request, Response, Time, WireSize,
};
use protocols::percolator::{Op, Ret};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use sim::SimEnv;

use super::record::SharedRecords;
use crate::service::{Answer, Ask};

/// How often in a row a server's word for who leads is taken without a pause.
const MAX_REDIRECTS: u8 = 3;
/// How long to wait when nobody leads, in milliseconds.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 20..=60;

/// What replicas say to each other, as far as clients must know.
pub(crate) trait Wire: Clone + std::hash::Hash + WireSize + 'static {}
impl<M: Clone + std::hash::Hash + WireSize + 'static> Wire for M {}

type Env<M> = SimEnv<Packet<M, Ask, Answer>>;

/// A client's way to all groups. A clone is another handle on the same one.
pub(crate) struct Link<M>(Rc<Inner<M>>);

impl<M> Clone for Link<M> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

struct Inner<M> {
    me: ClientId,
    env: Env<M>,
    nodes: u16,
    retry_after: (Duration, Duration),
    draws: RefCell<ChaCha8Rng>,
    records: SharedRecords,
    sent: Cell<u64>,
    calls: RefCell<BTreeMap<u64, Call>>,
    /// Who is taken for the leader of each group.
    leaders: RefCell<BTreeMap<GroupId, NodeId>>,
}

/// A request that waits.
#[derive(Default)]
struct Call {
    answer: Option<(NodeId, Result<Ret, Rejection>)>,
    waker: Option<Waker>,
}

impl<M: Wire> Link<M> {
    pub(crate) fn new(
        me: ClientId,
        env: Env<M>,
        nodes: u16,
        retry_after: (Duration, Duration),
        draws: ChaCha8Rng,
        records: SharedRecords,
    ) -> Self {
        Self(Rc::new(Inner {
            me,
            env,
            nodes,
            retry_after,
            draws: RefCell::new(draws),
            records,
            sent: Cell::new(0),
            calls: RefCell::default(),
            leaders: RefCell::default(),
        }))
    }

    pub(crate) fn now(&self) -> Time {
        self.0.env.now()
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.env.spawn(task);
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        self.0.env.sleep(duration).await;
    }

    /// Waits for a time between two bounds.
    pub(crate) async fn pause(&self, least_ms: u64, most_ms: u64) {
        let millis = self.0.draws.borrow_mut().random_range(least_ms..=most_ms);
        self.sleep(Duration::from_millis(millis)).await;
    }

    /// An answer arrived. One to a request that nobody waits for any more comes to nothing.
    pub(crate) fn on_response(&self, from: Address, response: Response<Answer>) {
        let Address::Node(from) = from else { unreachable!("{from} answered a client") };
        let mut calls = self.0.calls.borrow_mut();
        let Some(call) = calls.get_mut(&response.seq) else { return };
        let result = response.result.map(|answer| match answer {
            Answer::Percolator(answer) => answer,
            Answer::Kv(answer) => unreachable!("a shard answered {answer}"),
        });
        // A real answer counts, whoever gives it; a refusal must not hide it.
        if !matches!(call.answer, Some((_, Ok(_)))) {
            call.answer = Some((from, result));
        }
        if let Some(waker) = call.waker.take() {
            waker.wake();
        }
    }

    /// The answer of a group; `None` if there is none until then. The request may still take effect.
    pub(crate) async fn ask(&self, group: GroupId, op: Op, until: Time) -> Option<Ret> {
        let seq = self.0.sent.get() + 1;
        self.0.sent.set(seq);
        self.0.calls.borrow_mut().insert(seq, Call::default());
        let answer = self.exchange(group, seq, op, until).await;
        self.0.calls.borrow_mut().remove(&seq);
        answer
    }

    async fn exchange(&self, group: GroupId, seq: u64, op: Op, until: Time) -> Option<Ret> {
        let Inner { me, env, retry_after, .. } = &*self.0;
        let mut redirects = 0;
        loop {
            let left = until.0.checked_sub(self.now().0).filter(|left| *left > 0)?;
            let server = self.leader(group);
            let request = Request { client: *me, seq, op: Ask::Percolator(op.clone()) };
            self.0.records.borrow_mut().counts.requests += 1;
            env.send(server.into(), Packet::Request { group, request });
            let (least, most) = *retry_after;
            let patience = self.0.draws.borrow_mut().random_range(least..=most);
            match self.answer(seq, patience.min(Duration::from_nanos(left))).await {
                Some((_, Ok(ret))) => return Some(ret),
                Some((from, Err(Rejection::NotLeader { leader: Some(leader) })))
                    if from == server && redirects < MAX_REDIRECTS =>
                {
                    redirects += 1;
                    self.0.leaders.borrow_mut().insert(group, leader);
                }
                refused => {
                    redirects = 0;
                    self.turn_to_next(group);
                    if refused.is_some() {
                        self.pause(*PAUSE_MS.start(), *PAUSE_MS.end()).await;
                    }
                }
            }
        }
    }

    /// What came in reply to a request, if something does within a time.
    async fn answer(&self, seq: u64, within: Duration) -> Option<(NodeId, Result<Ret, Rejection>)> {
        let mut sleep = pin!(self.0.env.sleep(within));
        poll_fn(|context| {
            let mut calls = self.0.calls.borrow_mut();
            let call = calls.get_mut(&seq).expect("a request waits until it is answered");
            if let Some(answer) = call.answer.take() {
                return Poll::Ready(Some(answer));
            }
            call.waker = Some(context.waker().clone());
            drop(calls);
            sleep.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    fn leader(&self, group: GroupId) -> NodeId {
        let guess = || NodeId::new(self.0.me.0 % self.0.nodes + 1);
        *self.0.leaders.borrow_mut().entry(group).or_insert_with(guess)
    }

    fn turn_to_next(&self, group: GroupId) {
        let next = NodeId::new(self.leader(group).0 % self.0.nodes + 1);
        self.0.leaders.borrow_mut().insert(group, next);
    }
}
