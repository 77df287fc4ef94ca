//! The journal and the engines on simulated disks and real folders.

extern crate seedbed_storage as storage;

#[path = "btree_conformance.rs"]
mod btree_conformance;
#[path = "btree_corruption.rs"]
mod btree_corruption;
#[path = "btree_crash.rs"]
mod btree_crash;
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
#[path = "engine_crash.rs"]
mod engine_crash;
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
