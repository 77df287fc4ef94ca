//! Operations and answers as a trace shows them.

use std::fmt::{Display, Formatter, Result};

use contract::Bytes;

use crate::mvcc::Timestamp;

use super::op::{
    Content, Held, LockInfo, Mutation, MutationKind, Op, Prewrite, Region, Ret, SchedulerOp, ShardOp, Span,
    Stale,
};

struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (i, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

struct Maybe<'a>(&'a Option<Bytes>);

impl Display for Maybe<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            Some(value) => write!(f, "\"{value}\""),
            None => f.write_str("nothing"),
        }
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}..", self.start)?;
        self.end.as_ref().map_or(Ok(()), |end| end.fmt(f))
    }
}

impl Display for Region {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} v{} {}", self.span, self.version, self.group)?;
        self.moving_from.map_or(Ok(()), |from| write!(f, " moving from {from}"))
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Scheduler(op) => op.fmt(f),
            Self::Shard { version, op } => write!(f, "v{version} {op}"),
        }
    }
}

impl Display for SchedulerOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Timestamps { count } => write!(f, "timestamps({count})"),
            Self::Regions => f.write_str("regions"),
            Self::Split { at, to } => write!(f, "split({at} to {to})"),
            Self::Moved { start, version } => write!(f, "moved({start} v{version})"),
            Self::Heartbeat { group, regions } => write!(f, "heartbeat({group} holds [{}])", List(regions)),
            Self::Balance { tolerance } => write!(f, "balance(tolerance {tolerance})"),
            Self::Largest { above } => write!(f, "largest(above {above})"),
            Self::Alive { server } => write!(f, "alive({server})"),
            Self::Leads { group, epoch, server, candidates } => {
                let candidates: Vec<_> = candidates.iter().collect();
                write!(f, "leads({server} {group} since {epoch}, or [{}])", List(&candidates))
            }
        }
    }
}

impl Display for Held {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { span, version, pairs } = self;
        write!(f, "{span} v{version} {pairs} pair{}", if *pairs == 1 { "" } else { "s" })
    }
}

impl Display for Stale {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} is stale, the map has {}", self.reported, self.known)
    }
}

impl Display for Mutation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let key = &self.key;
        match &self.kind {
            MutationKind::Put(value) => write!(f, "{key}=\"{value}\""),
            MutationKind::Delete => write!(f, "{key} deleted"),
            MutationKind::Lock => write!(f, "{key} locked"),
        }
    }
}

impl Display for Prewrite {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let name = if self.one_phase { "write" } else { "prewrite" };
        write!(f, "{name}({}; primary {} {}", List(&self.mutations), self.primary, self.start)?;
        if let Some(for_update) = self.for_update {
            write!(f, " for update {for_update}")?;
        }
        if self.shards_choose {
            f.write_str(" async")?;
        }
        if let Some(secondaries) = &self.secondaries {
            write!(f, " with [{}]", List(secondaries))?;
        }
        write!(f, " ttl {}us)", self.ttl)
    }
}

fn noted(noted: bool) -> &'static str {
    if noted { " noted" } else { "" }
}

impl Display for ShardOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Get { key, at, noted: is_noted } => write!(f, "get({key} {at}{})", noted(*is_noted)),
            Self::Scan { span, at, limit, noted: is_noted } => {
                write!(f, "scan({span} {at}, {limit} at most{})", noted(*is_noted))
            }
            Self::Prewrite(prewrite) => prewrite.fmt(f),
            Self::Commit { keys, start, commit } => write!(f, "commit({} {start} at {commit})", List(keys)),
            Self::Rollback { keys, start } => write!(f, "rollback({} {start})", List(keys)),
            Self::CheckStatus { primary, start } => write!(f, "check-status({primary} {start})"),
            Self::CheckSecondaries { keys, start } => {
                write!(f, "check-secondaries({} {start})", List(keys))
            }
            Self::Resolve { keys, start, commit: Some(commit) } => {
                write!(f, "resolve({} {start} committed at {commit})", List(keys))
            }
            Self::Resolve { keys, start, commit: None } => {
                write!(f, "resolve({} {start} rolled back)", List(keys))
            }
            Self::Heartbeat { primary, start, ttl } => write!(f, "heartbeat({primary} {start} ttl {ttl}us)"),
            Self::Acquire { keys, primary, start, for_update, ttl } => write!(
                f,
                "acquire({}; primary {primary} {start} for update {for_update} ttl {ttl}us)",
                List(keys)
            ),
            Self::Abandon { keys, start, for_update } => {
                write!(f, "abandon({} {start} for update {for_update})", List(keys))
            }
            Self::Collect { safepoint } => write!(f, "collect(below {safepoint})"),
            Self::Freeze { span, version } => write!(f, "freeze({span} as v{version})"),
            Self::Install { span, version, content } => write!(f, "install({span} as v{version}, {content})"),
            Self::Release { span, version } => write!(f, "release({span} v{version})"),
            Self::Middle { span } => write!(f, "middle({span})"),
            Self::Sizes => f.write_str("sizes"),
        }
    }
}

/// How much it is, not what.
impl Display for Content {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let pairs: usize = self.families.iter().map(|(_, pairs)| pairs.len()).sum();
        write!(f, "{pairs} pairs, noted {}, clock {}us, safepoint {}", self.noted, self.clock, self.safepoint)
    }
}

impl Display for LockInfo {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let expired = if self.expired { ", expired" } else { "" };
        write!(f, "{} locked since {} by {}{expired}", self.key, self.start, self.primary)?;
        if let Some(secondaries) = &self.secondaries {
            write!(f, " with [{}]", List(secondaries))?;
        }
        write!(f, ", commits from {}", self.min_commit)
    }
}

impl Display for Ret {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Value(value) => Maybe(value).fmt(f),
            Self::Values(values) => {
                let values: Vec<_> = values.iter().map(Maybe).collect();
                write!(f, "[{}]", List(&values))
            }
            Self::Pairs(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
                write!(f, "[{}]", List(&pairs))
            }
            Self::Locked(lock) => lock.fmt(f),
            Self::Conflict { key, start, commit } => {
                write!(f, "conflict: {key} was committed at {commit} by {start}")
            }
            Self::Prewritten { min_commit: Timestamp::ZERO } => f.write_str("prewritten"),
            Self::Prewritten { min_commit } => write!(f, "prewritten, commits from {min_commit}"),
            Self::Committed { commit } => write!(f, "committed at {commit}"),
            Self::RolledBack => f.write_str("rolled back"),
            Self::NotFound => f.write_str("not found"),
            Self::TooLow { min_commit } => write!(f, "too low: commits from {min_commit}"),
            Self::Timestamp(timestamp) => timestamp.fmt(f),
            Self::Regions(regions) => write!(f, "[{}]", List(regions)),
            Self::NotHere => f.write_str("not here"),
            Self::Content(content) => content.fmt(f),
            Self::Held(held) => write!(f, "[{}]", List(held)),
            Self::Middle(None) => f.write_str("no middle"),
            Self::Middle(Some(key)) => write!(f, "falls in two at {key}"),
            Self::Stale(stale) if stale.is_empty() => f.write_str("up to date"),
            Self::Stale(stale) => write!(f, "[{}]", List(stale)),
            Self::Largest(None) => f.write_str("none is too large"),
            Self::Largest(Some((region, to))) => write!(f, "{region} is too large, {to} holds least"),
            Self::HandOver { group, to } => write!(f, "hand {group} over to {to}"),
        }
    }
}
