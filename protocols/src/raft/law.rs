//! The laws of Fig. 3, as far as one replica can see them kept or broken.

use std::fmt;

use super::{Raft, Standing};

/// A law that holds as long as every replica keeps to the protocol and its disk to its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// At most one leader per term (Fig. 3): another claims to lead this one's term.
    ElectionSafety,
    /// A leader of a term never loses what it appended in it (Fig. 3): a follower answers what this
    /// leader never said.
    LeaderAppendOnly,
    /// What is committed is in every later leader's log (Fig. 3): a leader's entry conflicts with it.
    LeaderCompleteness,
}

impl Law {
    /// The law's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ElectionSafety => "election safety",
            Self::LeaderAppendOnly => "leader append-only",
            Self::LeaderCompleteness => "leader completeness",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Raft {
    /// The first law that a message of another replica was seen to break.
    pub fn broken_law(&self) -> Option<Law> {
        self.broken
    }

    pub(super) fn breaks(&mut self, law: Law) {
        self.broken.get_or_insert(law);
    }

    /// What this replica owes to itself alone, after each step.
    pub(super) fn assert_laws(&self) {
        let (start, last) = (self.log.start(), self.log.last());
        assert!(!self.unsaved, "hard state is written in the step that changes it");
        assert!(self.commit <= last.index, "only entries that exist are committed");
        assert!(self.commit >= start.index, "only committed entries leave the log");
        assert!(self.handed <= self.commit, "the service is handed what is committed");
        assert!(self.term >= last.epoch, "no entry is of a term that has not begun");
        match &self.standing {
            Standing::Follower { .. } | Standing::PreCandidate { .. } => {}
            Standing::Candidate { .. } | Standing::Leader(_) => {
                assert_eq!(self.vote, Some(self.cluster.me), "who stands votes for itself");
            }
        }
        if let Standing::Leader(leading) = &self.standing {
            assert!(!self.is_installing(), "a leader has all that is committed");
            let others = self.log.membership().all().filter(|member| *member != self.cluster.me);
            debug_assert!(
                leading.peers.iter().map(|progress| progress.peer).eq(others),
                "a leader knows of every other member how far it is"
            );
        }
    }
}
