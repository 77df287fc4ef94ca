//! The world as one endpoint sees it.

use std::future::Future;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use contract::{Address, Env, StreamId, Time, TimerId, WireSize};

use crate::kernel::{Incarnation, Kernel};
use crate::slab::Ticket;
use crate::world::Inner;

/// [`contract::Env`] in a simulated world, for one incarnation of an endpoint. Once that incarnation
/// is gone it does nothing, and its clock still goes.
pub struct SimEnv<M> {
    inner: Rc<Inner<M>>,
    owner: Incarnation,
}

impl<M> Clone for SimEnv<M> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner), owner: self.owner }
    }
}

impl<M> SimEnv<M> {
    pub(crate) fn new(inner: Rc<Inner<M>>, owner: Incarnation) -> Self {
        Self { inner, owner }
    }

    /// Waits, in simulated time, from the call on. The incarnation's end is never waited out.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let kernel = Rc::clone(&self.inner.kernel);
        let deadline = {
            let state = kernel.state.borrow();
            state.now + state.endpoints[self.owner.endpoint as usize].clock.wait(duration)
        };
        Sleep { kernel, owner: self.owner, deadline, ticket: None }
    }
}

impl<M: Clone + Hash + WireSize + 'static> Env<M> for SimEnv<M> {
    fn now(&self) -> Time {
        let state = self.inner.kernel.state.borrow();
        state.endpoints[self.owner.endpoint as usize].clock.read(state.now)
    }

    fn send(&self, to: Address, message: M) {
        self.inner.send(self.owner, to, message);
    }

    /// A FIFO channel that sends again what is lost; it is opened if it is not open.
    /// [`Event::Disconnect`](crate::Event::Disconnect) tells that what was sent may not have arrived.
    fn send_stream(&self, to: Address, message: M) {
        self.inner.send_stream(self.owner, to, message);
    }

    fn close_stream(&self, to: Address, stream: StreamId) {
        self.inner.close_stream(self.owner, to, stream);
    }

    fn set_timer(&self, timer: TimerId, within: RangeInclusive<Duration>) {
        self.inner.kernel.state.borrow_mut().arm(self.owner, timer, &within);
    }

    fn cancel_timer(&self, timer: TimerId) {
        let mut state = self.inner.kernel.state.borrow_mut();
        if state.is_alive(self.owner) {
            state.timers.disarm(self.owner.endpoint, timer);
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.inner.kernel.spawn(self.owner, Box::pin(task));
    }
}

/// The future of [`SimEnv::sleep`].
#[must_use = "nobody sleeps without awaiting it"]
pub struct Sleep {
    kernel: Rc<Kernel>,
    owner: Incarnation,
    deadline: Time,
    /// Once it was polled.
    ticket: Option<Ticket>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let state = &mut *this.kernel.state.borrow_mut();
        if !state.is_alive(this.owner) {
            return Poll::Pending;
        }
        let sleeping = || this.kernel.tasks.sleeping(context.waker());
        match this.ticket.map(|ticket| state.sleepers.get_mut(ticket)) {
            None => {
                let deadline = this.deadline.max(state.now);
                this.ticket = Some(state.sleep(this.owner, deadline, sleeping()));
                Poll::Pending
            }
            Some(Some(sleeper)) if sleeper.sleeping.is_some() => {
                sleeper.sleeping = Some(sleeping());
                Poll::Pending
            }
            Some(_) => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let sleeper = self.kernel.state.borrow_mut().sleepers.remove(ticket);
            drop(sleeper);
        }
    }
}
