//! Objects to judge histories by.

pub mod kv;
mod kv_helpers;
mod kv_reason;
pub mod register;
