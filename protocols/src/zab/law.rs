//! What a replica can see broken by what others say.

use std::fmt;

/// A law that holds as long as every replica keeps to the protocol and its disk to its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// At most one leader is acknowledged in an epoch.
    EpochUniqueness,
    /// What is delivered here is in the history of every later leader (agreement).
    Agreement,
    /// A leader's transactions come in its order, without a gap (primary order).
    PrimaryOrder,
    /// Nobody acknowledges or confirms what this leader never said (integrity).
    Integrity,
}

impl Law {
    /// The law's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::EpochUniqueness => "epoch uniqueness",
            Self::Agreement => "agreement",
            Self::PrimaryOrder => "primary order",
            Self::Integrity => "integrity",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
