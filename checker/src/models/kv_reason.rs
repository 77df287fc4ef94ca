//! Stub.
use super::kv::Kv;
use crate::parts::Part;
use crate::spec::Reason;
pub(super) fn reason(_part: &Part<'_, Kv>, _failing: usize) -> Option<Reason> {
    None
}
