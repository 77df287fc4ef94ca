//! What the tests of servers share.

use seedbed_node::HostOptions;
use storage::journal::JournalOptions;

pub(crate) fn host_options() -> HostOptions {
    HostOptions {
        journal: JournalOptions::default(),
        flush_every: 100,
        chunk_bytes: 1024,
        waiting_requests: 100,
    }
}
