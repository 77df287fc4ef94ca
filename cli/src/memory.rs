//! How much memory the process takes, where the system tells.

use std::fs;

/// What the process takes now and took at its most, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) now: u64,
    /// At its most.
    pub(crate) peak: u64,
}

impl Memory {
    /// Asks the system; `None` where it has no `/proc`.
    pub(crate) fn read() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        };
        Some(Self { now: kibibytes("VmRSS:")? << 10, peak: kibibytes("VmHWM:")? << 10 })
    }
}
