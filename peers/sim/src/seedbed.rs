//! The same work here.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use contract::{Address, Env, NodeId, Seed, Time, WireSize};
use sim::{Event, Latency, NetConfig, SimEnv, World, WorldConfig};

use crate::{NODES, SLEEPERS};

#[derive(Clone, Copy, Debug, Hash)]
enum Message {
    Request { client: u16, round: u64 },
    Response { client: u16, round: u64 },
}

impl WireSize for Message {
    fn wire_size(&self) -> usize {
        11
    }
}

fn world() -> World<Message> {
    let latency = Latency::Uniform { min: Duration::from_millis(1), max: Duration::from_millis(10) };
    World::new(&WorldConfig {
        seed: Seed(1),
        nodes: NODES,
        net: NetConfig::with_latency(latency),
        ..WorldConfig::default()
    })
}

fn next(node: NodeId) -> Address {
    Address::Node(NodeId(node.0 % NODES + 1))
}

/// Messages are dispatched by plain calls.
pub(crate) fn typed(clients: u16, rounds: u64) -> u64 {
    let world = world();
    let nodes: Vec<NodeId> = (1..=NODES).map(NodeId).collect();
    let envs: Vec<_> = nodes.iter().map(|node| world.env(*node)).collect();
    for node in &nodes {
        for client in 0..clients {
            envs[node.slot()].send(next(*node), Message::Request { client, round: 1 });
        }
    }
    while let Some(event) = world.next(Time::FAR) {
        let Event::Message { to: Address::Node(to), from, message } = event else { continue };
        match message {
            Message::Request { client, round } => {
                envs[to.slot()].send(from, Message::Response { client, round });
            }
            Message::Response { client, round } if round < rounds => {
                envs[to.slot()].send(next(to), Message::Request { client, round: round + 1 });
            }
            Message::Response { .. } => {}
        }
    }
    let sent = world.stats().messages_delivered;
    assert_eq!(sent, u64::from(NODES * clients) * rounds * 2);
    sent
}

/// What a task waits for.
#[derive(Default)]
struct Inbox {
    messages: RefCell<VecDeque<(Address, Message)>>,
    waiting: RefCell<Option<Waker>>,
}

impl Inbox {
    fn put(&self, from: Address, message: Message) {
        self.messages.borrow_mut().push_back((from, message));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    async fn take(&self) -> (Address, Message) {
        poll_fn(|context| match self.messages.borrow_mut().pop_front() {
            Some(message) => Poll::Ready(message),
            None => {
                *self.waiting.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

async fn server(env: SimEnv<Message>, inbox: Rc<Inbox>) {
    loop {
        if let (from, Message::Request { client, round }) = inbox.take().await {
            env.send(from, Message::Response { client, round });
        }
    }
}

async fn client(env: SimEnv<Message>, to: Address, client: u16, rounds: u64, inbox: Rc<Inbox>) {
    for round in 1..=rounds {
        env.send(to, Message::Request { client, round });
        inbox.take().await;
    }
}

/// Servers and clients are tasks that wait for messages.
pub(crate) fn tasks(clients: u16, rounds: u64) -> u64 {
    let world = world();
    let mut inboxes = Vec::new();
    for node in (1..=NODES).map(NodeId) {
        let env = world.env(node);
        let own: Vec<Rc<Inbox>> = (0..=clients).map(|_| Rc::default()).collect();
        env.spawn(server(env.clone(), Rc::clone(&own[usize::from(clients)])));
        for number in 0..clients {
            let inbox = Rc::clone(&own[usize::from(number)]);
            env.spawn(client(env.clone(), next(node), number, rounds, inbox));
        }
        inboxes.push(own);
    }
    while let Some(event) = world.next(Time::FAR) {
        let Event::Message { to: Address::Node(to), from, message } = event else { continue };
        let number = match message {
            Message::Request { .. } => clients,
            Message::Response { client, .. } => client,
        };
        inboxes[to.slot()][usize::from(number)].put(from, message);
    }
    let sent = world.stats().messages_delivered;
    assert_eq!(sent, u64::from(NODES * clients) * rounds * 2);
    sent
}

/// Tasks that sleep.
pub(crate) fn sleepers(rounds: u64) -> u64 {
    let world = world();
    let slept = Rc::new(Cell::new(0_u64));
    for task in 0..SLEEPERS {
        let env = world.env(NodeId(1));
        let slept = Rc::clone(&slept);
        env.clone().spawn(async move {
            for _ in 0..rounds {
                env.sleep(Duration::from_micros(1000 + task)).await;
                slept.set(slept.get() + 1);
            }
        });
    }
    assert!(world.next(Time::FAR).is_none());
    assert_eq!(slept.get(), SLEEPERS * rounds);
    slept.get()
}
