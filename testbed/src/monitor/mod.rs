//! Invariants watched during a run: each looks at what replicas do, from outside, and says which law
//! was broken, where and by whom.
//!
//! To add one: a file here that implements [`Monitor`], a line in [`crate::registry::MONITORS`] and
//! its constructor in [`by_name`].

mod commit_monotonic;
mod log;
mod log_matching;
mod one_leader;
mod primary_integrity;
mod promises_kept;
mod protocol_laws;
mod state_machine_safety;

use contract::{Effect, Entry, LogShape, Mark, NodeId, Payload, Replica, View};

/// A law that was broken, in plain words.
pub type Broken = String;

/// Watches the replicas of a run. All methods default to seeing nothing wrong.
pub trait Monitor<R: Replica> {
    /// A replica started from what its disk held.
    fn started(&mut self, _node: NodeId, _view: &View, _records: &[R::Record]) -> Result<(), Broken> {
        Ok(())
    }
    /// A replica took a step; its effects are not carried out yet.
    fn stepped(
        &mut self,
        _node: NodeId,
        _before: &View,
        _after: &View,
        _effects: &[Effect<R>],
    ) -> Result<(), Broken> {
        Ok(())
    }
    /// A node's service applied an entry.
    fn applied(&mut self, _node: NodeId, _entry: &Entry) -> Result<(), Broken> {
        Ok(())
    }
    /// A node's service state was replaced by a snapshot.
    fn installed(&mut self, _node: NodeId, _snapshot: Mark) -> Result<(), Broken> {
        Ok(())
    }
}

/// The monitor of a name in [`crate::registry::MONITORS`], for a cluster of `nodes`; `None` if the law is
/// none of the protocol's.
pub fn by_name<R: Replica>(name: &str, nodes: usize) -> Option<Box<dyn Monitor<R>>> {
    Some(match name {
        "one-leader-per-term" => Box::new(one_leader::OneLeader::default()),
        "log-matching" if R::LOG != LogShape::Chain => return None,
        "log-matching" => Box::new(log_matching::LogMatching::new(nodes)),
        "state-machine-safety" => Box::new(state_machine_safety::StateMachineSafety::new(nodes)),
        "promises-kept" if R::LOG != LogShape::Slots => return None,
        "promises-kept" => Box::new(promises_kept::PromisesKept::new(nodes)),
        "primary-integrity" if R::LOG != LogShape::Chain => return None,
        "primary-integrity" => Box::new(primary_integrity::PrimaryIntegrity::new(nodes)),
        "protocol-laws" => Box::new(protocol_laws::ProtocolLaws),
        "commit-monotonic" => Box::new(commit_monotonic::CommitMonotonic),
        _ => return None,
    })
}

/// A 64-bit FNV-1a hash of what an entry holds, so that entries are compared without being kept.
fn fingerprint(payload: &Payload) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let command = match payload {
        Payload::Noop => return 0,
        Payload::Command(command) => command,
        Payload::Membership(membership) => {
            let text = membership.to_string();
            return text.bytes().fold(!OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        }
    };
    let stamp = command.proposed_at.0.to_le_bytes();
    let bytes = stamp.iter().chain(command.data.iter());
    bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}
