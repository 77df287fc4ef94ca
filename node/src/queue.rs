//! A queue between the host and one of its tasks, on one thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Any number of senders, one receiver.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    items: RefCell<VecDeque<T>>,
    receiver: RefCell<Option<Waker>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { items: RefCell::new(VecDeque::new()), receiver: RefCell::new(None) }
    }
}

impl<T> Queue<T> {
    /// Adds an item and wakes the receiver.
    pub(crate) fn push(&self, item: T) {
        self.items.borrow_mut().push_back(item);
        if let Some(receiver) = self.receiver.borrow_mut().take() {
            receiver.wake();
        }
    }

    /// The next item, once there is one.
    pub(crate) async fn pop(&self) -> T {
        poll_fn(|context| match self.try_pop() {
            Some(item) => Poll::Ready(item),
            None => {
                *self.receiver.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// The next item, if there is one now.
    pub(crate) fn try_pop(&self) -> Option<T> {
        self.items.borrow_mut().pop_front()
    }
}
