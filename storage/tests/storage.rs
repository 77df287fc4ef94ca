//! The journal and the engines on simulated disks and real folders.

extern crate seedbed_storage as storage;

#[path = "conformance.rs"]
mod conformance;
#[path = "corruption.rs"]
mod corruption;
#[path = "crash.rs"]
mod crash;
#[path = "faulty.rs"]
mod faulty;
#[path = "frontier.rs"]
mod frontier;
#[path = "ground.rs"]
mod ground;
#[path = "journal.rs"]
mod journal;
