//! A client: one transaction after the other, as they arrive.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use checker::isolation::Outcome;
use contract::{Address, ClientId, Packet, Response, Time};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use sim::SimEnv;
use sim::rng::{Keys, Purpose};

use super::collect;
use super::commit::{Failed, Transaction};
use super::database::Database;
use super::link::{Link, Wire};
use super::mover::{self, Moves};
use super::record::SharedRecords;
use crate::client::Records;
use crate::plan::{Plan, TransactionPlan, WorkloadPlan};
use crate::service::{Answer, Ask};
use crate::workload::transactions::{Program, Programs, Ran};

/// Of so many clients each brings regions from one group to another.
const MOVERS: u16 = 2;

/// A client of transactions. Its work is tasks in the world: this is the handle on what it hears.
pub(crate) struct TransactionClient<M> {
    link: Link<M>,
}

impl<M: Wire> TransactionClient<M> {
    /// Starts a client of a plan's cluster under one of its workloads, which `shared_by` clients share.
    pub(crate) fn start(
        (me, env): (ClientId, SimEnv<Packet<M, Ask, Answer>>),
        plan: &Plan,
        transactions: &Rc<TransactionPlan>,
        (workload, shared_by): (&WorkloadPlan, usize),
        records: &Rc<RefCell<Records>>,
        of_transactions: &SharedRecords,
    ) -> Self {
        let keys = Keys::new(plan.seed);
        let stream = |purpose| keys.stream(Purpose::new(purpose), u64::from(me.0));
        let link = Link::new(
            me,
            env,
            plan.world.nodes,
            workload.retry_after,
            stream("transaction link"),
            Rc::clone(of_transactions),
        );
        let database =
            Database::new(link.clone(), Rc::clone(transactions), plan.bugs, Rc::clone(of_transactions));
        if let Some(every) = transactions.move_every.filter(|_| me.0 <= MOVERS) {
            let draws = stream("mover");
            link.spawn(mover::run(database.clone(), Moves::AtRandom, every, plan.quiet_from, draws));
        }
        if let Some(every) = transactions.balance_every.filter(|_| me.0 == 1) {
            let moves = Moves::Evenly { split_above: transactions.split_above };
            link.spawn(mover::run(database.clone(), moves, every, plan.quiet_from, stream("balancer")));
        }
        if let Some(every) = transactions.collect_every.filter(|_| me.0 == 1) {
            let lifetime = plan.workloads.iter().map(|workload| workload.timeout).max();
            let lifetime = lifetime.expect("a client runs a workload");
            let draws = stream("collector");
            link.spawn(collect::run(database.clone(), every, lifetime, plan.quiet_from, draws));
        }
        if let Some(liveness) = plan.checks.liveness.filter(|_| me.0 == 1) {
            let begins = plan.quiet_from + liveness.after_heal / 2;
            link.spawn(audit(database.clone(), begins));
        }
        let client = Running {
            me,
            database,
            arrivals: stream("arrivals"),
            mean_gap: shared_by as f64 / workload.rate,
            timeout: workload.timeout,
            only: plan.only.as_ref().map(|only| crate::client::of_client(only, me)),
            leaves: transactions.leaves,
            draws: stream("transaction client"),
            programs: Programs::new(plan.seed, me, workload, transactions),
            records: Rc::clone(records),
        };
        link.spawn(client.run());
        Self { link }
    }

    /// An answer arrived.
    pub(crate) fn on_response(&self, from: Address, response: Response<Answer>) {
        self.link.on_response(from, response);
    }
}

/// Reads all keys once the faults have long ended: no lock may be in the way for ever.
async fn audit<M: Wire>(database: Database<M>, begins: Time) {
    database.link.sleep(begins.since(database.link.now())).await;
    database.records.borrow_mut().audited = Some(false);
    let until = Time(u64::MAX);
    let at = database.timestamp(until).await.expect("there is time without end");
    database.scan(at, until).await.expect("there is time without end");
    database.records.borrow_mut().audited = Some(true);
}

/// What runs as a task.
struct Running<M> {
    me: ClientId,
    database: Database<M>,
    arrivals: ChaCha8Rng,
    mean_gap: f64,
    timeout: Duration,
    only: Option<BTreeSet<u64>>,
    leaves: f64,
    draws: ChaCha8Rng,
    programs: Programs,
    records: Rc<RefCell<Records>>,
}

impl<M: Wire> Running<M> {
    async fn run(mut self) {
        let mut due = self.database.link.now();
        for arrival in 0.. {
            let uniform: f64 = self.arrivals.random();
            due = due + Duration::from_secs_f64(-libm::log(1.0 - uniform) * self.mean_gap);
            // Every arrival takes the same draws, whatever comes of it.
            let program = self.programs.next();
            let leaves: f64 = self.draws.random();
            let steps = self.draws.random_range(2..=3);
            if let Some(only) = &self.only {
                match only.range(arrival..).next() {
                    None => return,
                    Some(next) if *next > arrival => continue,
                    Some(_) => {}
                }
            }
            let now = self.database.link.now();
            if due > now {
                self.database.link.sleep(due.since(now)).await;
            }
            let invoked = self.database.link.now();
            self.records.borrow_mut().began(invoked, self.me, arrival);
            self.database.records.borrow_mut().began(self.me, invoked, program.may_do());
            let leaves_after = (leaves < self.leaves).then_some(steps);
            let until = invoked + self.timeout;
            let result = self.attempt(&program, leaves_after, until).await;
            self.ended(invoked, result, leaves_after.is_some());
        }
    }

    async fn attempt(
        &mut self,
        program: &Program,
        leaves_after: Option<u32>,
        until: Time,
    ) -> (Ran, Result<(), Failed>) {
        let mut ran = Ran { did: program.may_do(), wrong: None };
        let may_write = program.may_write(self.database.locks_reads());
        let transaction = Transaction::begin(&self.database, &may_write, leaves_after, until).await;
        let result = match transaction {
            Err(failed) => Err(failed),
            Ok(mut transaction) => match program.run(&mut transaction, &mut ran).await {
                Ok(()) => transaction.commit().await,
                Err(failed) => Err(failed),
            },
        };
        (ran, result)
    }

    fn ended(&mut self, invoked: Time, (ran, result): (Ran, Result<(), Failed>), leaves: bool) {
        let now = self.database.link.now();
        let outcome = match result {
            Ok(()) => Outcome::Committed,
            Err(Failed::Aborted) => Outcome::Aborted,
            Err(Failed::Unknown) => Outcome::Unknown,
        };
        let records = &mut *self.database.records.borrow_mut();
        records.counts.clients_gone += u64::from(leaves);
        match outcome {
            Outcome::Committed => {
                records.counts.committed += 1;
                self.records.borrow_mut().answered(now, invoked);
            }
            Outcome::Aborted => {
                records.counts.aborted += 1;
                self.records.borrow_mut().ended(now, true);
            }
            Outcome::Unknown => self.records.borrow_mut().gave_up(now),
        }
        if let Some(finding) = ran.wrong.filter(|_| outcome == Outcome::Committed) {
            records.found(finding);
        }
        records.ended(self.me, now, outcome, ran.did);
    }
}
