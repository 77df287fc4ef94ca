//! The simulated world.

pub mod config;
