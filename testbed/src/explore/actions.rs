//! What may happen in a state, and where it leads. Which actions are left out because others lead to the
//! same is argued in the [module](super).

use std::sync::Arc;

use contract::{Channel, NodeId, Replica, RequestId, Role};

use super::bounds::Request;
use super::model::System;
use super::network::Packet;
use super::node::Input;
use super::state::{Action, Site, State};

impl<R: Replica> System<R> {
    /// What may happen, in an order that depends on the state alone.
    pub(super) fn possible(&self, state: &State<R>, actions: &mut Vec<Action<R>>) {
        let writing = |node: &NodeId| state.sites[node.slot()].node.is_writing();
        if state.left.overtakes == 0
            && let Some(node) = self.nodes().find(writing)
        {
            actions.push(Action::Written { node });
            actions.extend(self.crash(state, node));
            return;
        }
        self.network_actions(state, actions);
        for node in self.nodes() {
            self.node_actions(state, node, actions);
        }
        self.request_actions(state, actions);
        if self.bounds.symmetric {
            actions.retain(|action| action.node().is_none_or(|node| node.0 <= state.awake + 1));
        }
        if let Some(quiet) = &state.quiet {
            let crash = |action: &Action<R>| matches!(action, Action::Crash { .. });
            actions.retain(|action| action.node() == Some(quiet.node) && !crash(action));
        }
    }

    fn network_actions(&self, state: &State<R>, actions: &mut Vec<Action<R>>) {
        for place in state.network.next(R::CHANNEL) {
            let flight = &state.network.flights()[place];
            let (from, to) = (flight.from, flight.to);
            let Packet::Message(message) = &flight.packet else {
                actions.push(Action::Hangup { place: Some(place), from, to });
                continue;
            };
            let deliver = |stays| Action::Deliver { place, from, to, message: message.clone(), stays };
            if state.left.duplicates > 0 {
                actions.push(deliver(true));
            }
            actions.push(deliver(false));
        }
        let impatient = state.network.impatient().into_iter();
        actions.extend(impatient.map(|(from, to)| Action::Hangup { place: None, from, to }));
        if state.left.disconnects > 0 {
            actions.extend(state.network.open().map(|(one, other)| Action::Disconnect { one, other }));
        }
    }

    fn node_actions(&self, state: &State<R>, node: NodeId, actions: &mut Vec<Action<R>>) {
        let server = &state.sites[node.slot()].node;
        if server.is_writing() {
            actions.push(Action::Written { node });
        }
        if server.is_working() {
            actions.push(Action::Worked { node });
        }
        if state.left.timers > 0 {
            actions.extend(server.timers().map(|timer| Action::Fire { node, timer }));
        }
        if state.left.flushes > 0 && !server.is_flushed() {
            actions.push(Action::Flushed { node });
        }
        actions.extend(self.crash(state, node));
    }

    /// The crash of a node, if there may be one. Of those that keep in memory what they promised only so
    /// many may be without it.
    fn crash(&self, state: &State<R>, node: NodeId) -> Option<Action<R>> {
        let lost = |site: &Arc<Site<R>>| site.view.role == Role::Recovering;
        let survives = R::FAILURES.stable_storage || lost(&state.sites[node.slot()]) || {
            let lost = state.sites.iter().filter(|site| lost(site)).count();
            lost < R::FAILURES.tolerated(state.sites.len())
        };
        (state.left.crashes > 0 && survives).then_some(Action::Crash { node })
    }

    fn request_actions(&self, state: &State<R>, actions: &mut Vec<Action<R>>) {
        // Those who write, and those who read, are alike but for their names: they begin in order.
        let mut begun = [false; 2];
        let clients = &state.clients.value;
        for (id, request) in (1..).map(RequestId).zip(&self.hosting.requests) {
            let again = clients.has_invoked(id);
            if clients.has_returned(id) || (again && state.left.retries == 0) {
                continue;
            }
            let alike = match request {
                Request::Client(op) => Some(usize::from(op.is_read())),
                Request::Operator(_) => None,
            };
            if let Some(alike) = alike.filter(|_| !again)
                && std::mem::replace(&mut begun[alike], true)
            {
                continue;
            }
            let asked = self.bounds.asked.map_or(state.sites.len(), usize::from);
            for node in self.nodes().take(asked) {
                if !state.sites[node.slot()].node.waits_for(id) {
                    actions.push(Action::Ask { id, request: request.clone(), node, again });
                }
            }
        }
    }

    /// Where an action leads, if it changes anything.
    pub(super) fn after(&self, state: &State<R>, action: Action<R>) -> Option<State<R>> {
        let mut next = state.clone();
        next.depth += 1;
        if let Some(node) = action.node() {
            let overtakes = state.sites[node.slot()].node.is_writing() && !action.is_of_writes();
            next.left.overtakes -= u8::from(overtakes);
            if self.bounds.symmetric {
                next.awake = next.awake.max(node.0);
            }
        }
        let input = match &action {
            Action::Deliver { place, from, message, stays, .. } => {
                match stays {
                    true => next.left.duplicates -= 1,
                    false => next.network.take(*place),
                }
                Input::Message(*from, message.clone())
            }
            Action::Hangup { place, from, to } => {
                match place {
                    Some(place) => next.network.take(*place),
                    None => next.network.overtake(*from, *to),
                }
                Input::Disconnect(*from)
            }
            Action::Disconnect { one, other } => {
                next.left.disconnects -= 1;
                next.network.disconnect(*one, *other);
                return Some(next);
            }
            Action::Fire { timer, .. } => {
                next.left.timers -= 1;
                Input::Timer(*timer)
            }
            Action::Written { .. } => Input::Written,
            Action::Worked { .. } => Input::Worked,
            Action::Flushed { .. } => {
                next.left.flushes -= 1;
                Input::Flushed
            }
            Action::Crash { node } => {
                next.left.crashes -= 1;
                next.network.crash(R::CHANNEL, *node);
                Input::Restart
            }
            Action::Ask { id, again, .. } => {
                next.left.retries -= u8::from(*again);
                next.clients.change(|clients| clients.invoke(*id));
                Input::Request(*id)
            }
        };
        let node = action.node().expect("all else happens to a node");
        let outcome = self.happens(&mut next, node, &input);
        // A datagram that changes nothing might as well not have come: with it still under way all that
        // could follow can follow too.
        if outcome.idle && matches!(input, Input::Message(..)) && R::CHANNEL == Channel::Datagram {
            return None;
        }
        next.quiet = self.hush(state, node, &input, &outcome).ok()?;
        // What changes nothing and leaves less to come leads nowhere new.
        next.differs(state).then_some(next)
    }
}
