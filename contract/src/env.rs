//! What a server or a client needs of the world around it, and what they say to each other.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Address, ClientId, GroupId, NodeId, StreamId, TimerId};
use crate::time::Time;

/// How many bytes a message takes on a wire. An estimate that is a function of the message alone.
pub trait WireSize {
    /// The size in bytes.
    fn wire_size(&self) -> usize;
    /// Which of the streams between two endpoints it goes over, if it goes over one.
    fn stream(&self) -> StreamId {
        StreamId(0)
    }
}

impl WireSize for () {
    fn wire_size(&self) -> usize {
        0
    }
}

/// The world as one endpoint sees it: its clock, its network, its timers, its tasks. A clone is
/// another handle on the same one. Handles of an endpoint that has crashed do nothing.
pub trait Env<M>: Clone + 'static {
    /// The endpoint's own clock.
    fn now(&self) -> Time;
    /// Sends a message; it may be lost, late or out of order.
    fn send(&self, to: Address, message: M);
    /// Sends a message over its [stream](WireSize::stream) to another endpoint: in order and once, or the
    /// endpoint hears that the connection broke and what was under way may be lost.
    fn send_stream(&self, to: Address, message: M);
    /// Breaks a stream to another endpoint, if there is one: what is under way either way may be lost.
    /// The other endpoint hears of it. The next message opens a new one.
    fn close_stream(&self, to: Address, stream: StreamId);
    /// Arms a timer to fire after a delay that the world draws from `within`. Arming it again
    /// replaces it.
    fn set_timer(&self, timer: TimerId, within: RangeInclusive<Duration>);
    /// Disarms a timer.
    fn cancel_timer(&self, timer: TimerId);
    /// Runs a task beside the endpoint. It dies with the endpoint.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}

/// What travels: `M` between replicas, `Q` and `A` between clients and servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Packet<M, Q, A> {
    /// From replica to replica.
    Peer {
        /// Of which group.
        group: GroupId,
        /// What it says.
        message: M,
    },
    /// From the replicas on one server to those on another: what several groups say at the same moment.
    /// It arrives whole or not at all.
    Peers(Vec<(GroupId, M)>),
    /// From client to server.
    Request {
        /// Which group it is for.
        group: GroupId,
        /// What is asked.
        request: Request<Q>,
    },
    /// From server to client.
    Response {
        /// Which group answers.
        group: GroupId,
        /// What it answers.
        response: Response<A>,
    },
}

/// A client's request. A retry carries the same `client` and `seq`, so that it takes effect once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request<Q> {
    /// The session.
    pub client: ClientId,
    /// The operation's number within its session, from 1.
    pub seq: u64,
    /// What is asked.
    pub op: Q,
}

impl<Q> Request<Q> {
    /// A server's own request. It belongs to no session, so that it may take effect twice, or late.
    pub fn of_server(op: Q) -> Self {
        Self { client: ClientId(0), seq: 0, op }
    }
}

/// The answer to the request of the same `seq`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Response<A> {
    /// Which of the client's requests this answers.
    pub seq: u64,
    /// The answer, or why there is none.
    pub result: Result<A, Rejection>,
}

/// Why a server did not serve a request. The request may be tried again elsewhere; only
/// [`Rejection::Lost`] leaves open whether it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Another node leads, or none does.
    NotLeader {
        /// Who leads, as far as this server knows.
        leader: Option<NodeId>,
    },
    /// Too much is waiting already.
    Overloaded,
    /// The proposal lost its place in the log to another leader's.
    Lost,
    /// The session has gone on: the answer to this old request is no longer kept.
    Stale,
    /// This server can no longer store anything (its disk failed).
    Stopped,
    /// The protocol does not do that, or not in the state in which it is.
    Unsupported,
}

impl<M: WireSize, Q: WireSize, A: WireSize> WireSize for Packet<M, Q, A> {
    /// Groups do not share connections: one that breaks its own breaks no other's.
    fn stream(&self) -> StreamId {
        match self {
            Self::Peer { group, .. } | Self::Request { group, .. } | Self::Response { group, .. } => {
                (*group).into()
            }
            Self::Peers(_) => unreachable!("what goes over streams is not gathered"),
        }
    }

    fn wire_size(&self) -> usize {
        // Kind and group id, as in a compact binary encoding.
        const KIND: usize = 1;
        const GROUP: usize = 4;
        KIND + match self {
            Self::Peer { message, .. } => GROUP + message.wire_size(),
            Self::Peers(messages) => messages.iter().map(|(_, message)| GROUP + message.wire_size()).sum(),
            Self::Request { request, .. } => GROUP + 10 + request.op.wire_size(),
            Self::Response { response, .. } => {
                GROUP + 9 + response.result.as_ref().map_or(3, WireSize::wire_size)
            }
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader { leader: Some(leader) } => write!(f, "not the leader, {leader} is"),
            Self::NotLeader { leader: None } => f.write_str("not the leader"),
            Self::Overloaded => f.write_str("overloaded"),
            Self::Lost => f.write_str("lost its place in the log"),
            Self::Stale => f.write_str("session has gone on"),
            Self::Stopped => f.write_str("stopped"),
            Self::Unsupported => f.write_str("not supported"),
        }
    }
}

impl<M: fmt::Display, Q: fmt::Display, A: fmt::Display> fmt::Display for Packet<M, Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer { group, message } => write!(f, "{group} {message}"),
            Self::Peers(messages) => {
                for (place, (group, message)) in messages.iter().enumerate() {
                    let between = if place == 0 { "" } else { "; " };
                    write!(f, "{between}{group} {message}")?;
                }
                Ok(())
            }
            Self::Request { group, request } => {
                write!(f, "{group} request {}#{} {}", request.client, request.seq, request.op)
            }
            Self::Response { group, response } => match &response.result {
                Ok(answer) => write!(f, "{group} response #{} {answer}", response.seq),
                Err(rejection) => write!(f, "{group} response #{} rejected: {rejection}", response.seq),
            },
        }
    }
}
