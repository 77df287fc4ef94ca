//! Requests under way at devices: when they are done, and what makes that another moment.

use contract::{NodeId, Time};

use super::device::{Due, Pace};
use super::trouble::{Trouble, TroubleId, Troubles};
use super::{Request, Work};
use crate::digest::Kind;
use crate::gate::Pending;
use crate::kernel::State;
use crate::queue::Topic;
use crate::slab::Ticket;
use crate::task::Sleeping;

impl State {
    /// Queues a request at a device.
    pub(crate) fn request(&mut self, node: u32, work: Work, due: Due) -> Ticket {
        self.requests_made += 1;
        let number = self.requests_made;
        // It may have to wait for the arm: then nobody can tell yet.
        let unknown = Time::ZERO;
        let request =
            Request { node, number, work, due: unknown, done: false, abandoned: false, sleeping: None };
        let ticket = self.requests.insert(request);
        let due = match due {
            Due::At(done, tie) => Some((done, tie)),
            Due::Arm(job) => self.disks[node as usize].device.queue_for_arm(self.now, job, ticket),
        };
        if let Some((done, tie)) = due {
            self.request_is_due(done, tie, ticket);
        }
        ticket
    }

    /// When a request will be done; what was said before is void.
    fn request_is_due(&mut self, at: Time, tie: u32, ticket: Ticket) {
        if let Some(request) = self.requests.get_mut(ticket) {
            request.due = at;
            self.queue.push(at, tie, Topic::Disk, ticket);
        }
    }

    /// A request is done: it takes effect, and whoever waits is to be woken.
    #[inline]
    pub(crate) fn disk_pops(&mut self, ticket: Ticket) -> Option<Sleeping> {
        let request =
            self.requests.get_mut(ticket).filter(|request| request.due == self.now && !request.done)?;
        let disk = &mut self.disks[request.node as usize];
        if disk.is_stalled() {
            disk.stalled.push(ticket);
            return None;
        }
        request.done = true;
        let (node, number, sleeping) = (request.node, request.number, request.sleeping.take());
        request.work.take_effect(&mut disk.tree);
        if request.abandoned {
            self.requests.remove(ticket);
        }
        if let Some((next, done, tie)) = disk.device.finished(self.now, ticket) {
            self.request_is_due(done, tie, next);
        }
        self.stats.events += 1;
        self.digest.event(Kind::DiskDone, [self.now.0, self.code(node), number]);
        self.trace(|state| format!("done {} disk request {number}", state.address(node)));
        if self.gates.any() && self.gates.is_shut(node, self.now) {
            if let Some(sleeping) = sleeping {
                self.hold(node, Pending::Wake(sleeping));
            }
            return None;
        }
        sleeping
    }

    /// Something is wrong with a disk from now on.
    pub(crate) fn begin_trouble(&mut self, node: NodeId, trouble: Trouble) -> TroubleId {
        self.change_trouble(node, |troubles| troubles.begin(trouble))
    }

    /// A disk's trouble is over; what it had stalled is done now.
    pub(crate) fn end_trouble(&mut self, node: NodeId, id: TroubleId) {
        self.change_trouble(node, |troubles| troubles.end(id));
        let disk = &mut self.disks[node.slot()];
        if !disk.is_stalled() {
            for ticket in std::mem::take(&mut disk.stalled) {
                self.request_is_due(self.now, 0, ticket);
            }
        }
    }

    /// If that makes the device slower or faster, what is under way is done at the new pace too.
    fn change_trouble<T>(&mut self, node: NodeId, change: impl FnOnce(&mut Troubles) -> T) -> T {
        let (now, index) = (self.now, self.index(node.into()));
        let disk = &mut self.disks[node.slot()];
        let before = disk.slow_permille();
        let changed = change(&mut disk.troubles);
        let pace = Pace { now, from: before, to: disk.slow_permille() };
        if pace.from == pace.to {
            return changed;
        }
        disk.device.changes_pace(pace);
        let under_way = |(_, request): &(Ticket, &mut Request)| request.node == index && request.due > now;
        let moved: Vec<(Ticket, Time, u64)> = self
            .requests
            .iter_mut()
            .filter(under_way)
            .map(|(ticket, request)| (ticket, pace.of(request.due), request.number))
            .collect();
        for (ticket, due, number) in moved {
            self.request_is_due(due, 0, ticket);
            self.trace(|_| format!("disk {node} request {number}, now until {due}"));
        }
        changed
    }
}
