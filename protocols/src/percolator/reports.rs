//! What groups report to the scheduler, and which region it moves for it: PD's region heartbeats and its
//! balance of regions (TinyKV, project 3C).
//!
//! PD learns its map from heartbeats; here the map comes first, and a report only tells how much stands where. So
//! nothing of a report that does not fit the map is believed. A size is of a *span*: a region that moves whole
//! keeps it, and spans are cut but never joined, so that none comes back with another content.
//!
//! Of TinyKV's cases those have no counterpart that are about what this scheduler does not know, since it is
//! its group's own affair: pending peers (two cases). Who leads, it hears apart ([`leaders`](super::leaders)): a
//! group has one leader for all of its regions. There is one measure, not bytes and
//! keys (one case less); regions are not merged (half a case); and nothing is concurrent, since heartbeats are
//! commands of a log. A region's version and its group change together: what TinyKV tells by `conf_ver` is told by
//! the group. A group that is down is none that the scheduler knows of: it counts as long as it holds regions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use contract::{Bug, Bugs, GroupId};
use serde::{Deserialize, Serialize};

use super::SCHEDULER;
use super::op::{Held, Region, Span, Stale};

/// What was reported last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reports {
    /// Who has reported anything: a group that holds nothing yet is known by that alone.
    groups: BTreeSet<GroupId>,
    /// How many pairs a region had.
    sizes: BTreeMap<Span, u64>,
}

/// How regions are weighed.
enum Measure<'a> {
    /// By their pairs: each has been reported.
    Pairs(&'a BTreeMap<Span, u64>),
    /// All alike: nothing has been reported.
    Regions,
}

impl Measure<'_> {
    fn of(&self, region: &Region) -> u64 {
        match self {
            Self::Pairs(sizes) => sizes[&region.span],
            Self::Regions => 1,
        }
    }
}

/// Whether a group takes part in a move that is under way.
fn is_moving(group: GroupId, regions: &[Region]) -> bool {
    regions.iter().any(|region| region.moving_from.is_some_and(|from| from == group || region.group == group))
}

impl Reports {
    /// Takes down what a group reports to hold, where the map says so too; what does not fit it.
    pub(super) fn hear(
        &mut self,
        group: GroupId,
        held: Vec<Held>,
        regions: &[Region],
        bugs: Bugs,
    ) -> Vec<Stale> {
        if group != SCHEDULER {
            self.groups.insert(group);
        }
        self.sizes.retain(|span, _| regions.iter().any(|region| region.span == *span));
        let mut stale = Vec::new();
        for reported in held {
            let known = regions.iter().find(|region| region.span.contains(&reported.span.start));
            let known = known.expect("the map covers every key");
            let mut fits =
                known.span == reported.span && known.version == reported.version && known.group == group;
            if bugs.has(Bug::HeartbeatMustBeNewer) {
                fits &= !self.sizes.contains_key(&reported.span);
            }
            if fits || bugs.has(Bug::StaleHeartbeatBelieved) {
                self.sizes.insert(known.span.clone(), reported.pairs);
            } else {
                stale.push(Stale { reported, known: known.clone() });
            }
        }
        stale
    }

    /// Pairs and numbers of regions do not add up: while some have been reported and others not, none is
    /// weighed.
    fn measure(&self, regions: &[Region]) -> Option<Measure<'_>> {
        let reported = regions.iter().filter(|region| self.sizes.contains_key(&region.span)).count();
        match reported {
            0 => Some(Measure::Regions),
            all if all == regions.len() => Some(Measure::Pairs(&self.sizes)),
            _ => None,
        }
    }

    /// What each group holds that was heard of or is in the map.
    fn loads<'a>(
        &self,
        regions: &'a [Region],
        weight: impl Fn(&'a Region) -> u64,
        bugs: Bugs,
    ) -> BTreeMap<GroupId, u64> {
        let mut loads: BTreeMap<GroupId, u64> = self.groups.iter().map(|group| (*group, 0)).collect();
        for region in regions {
            let load = loads.entry(region.group).or_default();
            let weight = weight(region);
            *load = if bugs.has(Bug::BalanceByLargest) { weight.max(*load) } else { weight + *load };
        }
        loads
    }

    /// The largest region, if it has more pairs than this and is not on its way, and another group: the one that
    /// holds least.
    pub(super) fn largest(&self, regions: &[Region], above: u64, bugs: Bugs) -> Option<(Region, GroupId)> {
        let size = |region: &Region| self.sizes.get(&region.span).copied().unwrap_or_default();
        let settled = regions.iter().filter(|region| region.moving_from.is_none());
        let largest = settled.max_by_key(|region| (size(region), Reverse(region.group)))?;
        let loads = self.loads(regions, size, bugs);
        let others = loads.iter().filter(|(group, _)| **group != largest.group);
        let (least, _) = others.min_by_key(|(group, load)| (**load, **group))?;
        (size(largest) > above).then(|| (largest.clone(), *least))
    }

    /// Which region is to move, and where: from the group with the most to the one with the least (of equals,
    /// those with the lowest numbers), if they are further apart than the tolerance and closer afterwards;
    /// the region that brings them closest, of equals the first one. None while either takes part in a move.
    pub(super) fn balance(&self, regions: &[Region], tolerance: u64, bugs: Bugs) -> Option<(usize, GroupId)> {
        let measure = self.measure(regions)?;
        let loads = self.loads(regions, |region| measure.of(region), bugs);
        let (most, from) = loads.iter().map(|(group, load)| (*load, Reverse(*group))).max()?;
        let (least, to) = loads.iter().map(|(group, load)| (*load, *group)).min()?;
        let from = from.0;
        let apart = most - least;
        let is_busy = is_moving(from, regions) || is_moving(to, regions);
        if apart <= tolerance || (is_busy && !bugs.has(Bug::BalanceIgnoresMoves)) {
            return None;
        }
        let moves = regions.iter().enumerate().filter_map(|(place, region)| {
            let left_apart = apart.abs_diff(2 * measure.of(region));
            let helps = left_apart < apart || bugs.has(Bug::BalanceOvershoots);
            (region.group == from && helps).then_some((left_apart, place))
        });
        moves.min().map(|(_, place)| (place, to))
    }
}
