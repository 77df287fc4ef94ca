//! Giving way to other tasks of the same thread.

use std::future::poll_fn;
use std::task::Poll;

/// Lets every task that is ready run once before the caller goes on.
pub(crate) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
