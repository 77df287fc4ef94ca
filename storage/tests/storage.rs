//! The journal and the engines on simulated disks and real folders.

extern crate seedbed_storage as storage;

#[path = "btree_faulty.rs"]
mod btree_faulty;
#[path = "btree_shape.rs"]
mod btree_shape;
#[path = "conformance.rs"]
mod conformance;
#[path = "corruption.rs"]
mod corruption;
#[path = "courses.rs"]
mod courses;
#[path = "crash.rs"]
mod crash;
#[path = "crash_cycles.rs"]
mod crash_cycles;
#[path = "engines.rs"]
mod engines;
#[path = "failing.rs"]
mod failing;
#[path = "faulty.rs"]
mod faulty;
#[path = "formats.rs"]
mod formats;
#[path = "frontier.rs"]
mod frontier;
#[path = "ground.rs"]
mod ground;
#[path = "journal.rs"]
mod journal;
#[path = "logstore.rs"]
mod logstore;
#[path = "lsm.rs"]
mod lsm;
#[path = "model.rs"]
mod model;
#[path = "mvcc.rs"]
mod mvcc;
#[path = "mvcc_scripts.rs"]
mod mvcc_scripts;
#[path = "planted.rs"]
mod planted;
#[path = "reader.rs"]
mod reader;
#[path = "script.rs"]
mod script;
