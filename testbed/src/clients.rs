//! The clients of a run behind one type, as its services are.

use std::cell::RefCell;
use std::rc::Rc;

use contract::{Address, ClientId, Packet, Response, TimerId};
use sim::SimEnv;

use crate::client::{Client, Records};
use crate::plan::Plan;
use crate::service::{Answer, Ask};
use crate::transaction::record::SharedRecords;
use crate::transaction::{TransactionClient, Wire};

type Env<M> = SimEnv<Packet<M, Ask, Answer>>;

/// A client of either kind of store.
pub(crate) enum AnyClient<M> {
    Kv(Box<Client<M, Env<M>>>),
    Transactions(TransactionClient<M>),
}

impl<M: Wire> AnyClient<M> {
    /// The clients of a plan, each in an environment of its own. `retries`: whether the protocol has a request
    /// that is sent again take effect once.
    pub(crate) fn all(
        plan: &Plan,
        env: impl Fn(ClientId) -> Env<M>,
        retries: bool,
        records: &Rc<RefCell<Records>>,
        of_transactions: &SharedRecords,
    ) -> Vec<Self> {
        let transactions = plan.transactions.clone().map(Rc::new);
        let client = |me: ClientId| {
            let place = me.slot() % plan.workloads.len();
            let (workload, shared_by) = (&plan.workloads[place], plan.clients_of(place));
            match &transactions {
                None => {
                    let records = Rc::clone(records);
                    Self::Kv(Box::new(Client::new(me, env(me), plan, workload, shared_by, retries, records)))
                }
                Some(transactions) => {
                    let work = (workload, shared_by);
                    let me = (me, env(me));
                    Self::Transactions(TransactionClient::start(
                        me,
                        plan,
                        transactions,
                        work,
                        records,
                        of_transactions,
                    ))
                }
            }
        };
        (1..=plan.world.clients).map(ClientId).map(client).collect()
    }

    pub(crate) fn start(&mut self) {
        match self {
            Self::Kv(client) => client.start(),
            // Its tasks have begun.
            Self::Transactions(_) => {}
        }
    }

    pub(crate) fn on_response(&mut self, from: Address, response: Response<Answer>) {
        match self {
            Self::Kv(client) => client.on_response(from, response),
            Self::Transactions(client) => client.on_response(from, response),
        }
    }

    pub(crate) fn on_timer(&mut self, timer: TimerId) {
        match self {
            Self::Kv(client) => client.on_timer(timer),
            Self::Transactions(_) => unreachable!("{timer} is no timer of a client of transactions"),
        }
    }
}
