//! From an action in which nothing is open to faults of the world.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::{Address, Control, Membership, NodeId};
use sim::config::{Bandwidth, Links};
use sim::fault::{self, Fault};
use sim::{Blocking, SyncFailure};

use crate::plan::{Action, Aim, Draw, Kind, Measure, Setting, Shape, Target, Word};

/// The faults that an action is, one for each node or set of links that it strikes.
///
/// # Panics
/// If something in it is still open.
pub(super) fn faults(action: &Action) -> Vec<Fault> {
    match &action.aim {
        Aim::Groups(groups) if action.setting(Setting::InFlight) == Word::Drop => {
            vec![Fault::Partition(fault::Partition {
                groups: groups.iter().map(|group| nodes(group)).collect(),
            })]
        }
        Aim::Groups(groups) => {
            let groups: Vec<_> = groups.iter().map(|group| nodes(group)).collect();
            cut(Links::between_groups(&groups), Blocking::HoldInFlight)
        }
        Aim::Shape(shape, order) => {
            let hold = action.setting(Setting::InFlight) == Word::Hold;
            let blocking = if hold { Blocking::HoldInFlight } else { Blocking::Drop };
            cut(shape_links(*shape, &nodes(order)), blocking)
        }
        Aim::Nodes(targets) => on_nodes(action, targets),
    }
}

/// Whom an operator asks for what, if an action is that; `leader` and `membership` are the cluster's.
pub(super) fn requests(action: &Action, leader: NodeId, membership: &Membership) -> Vec<(NodeId, Control)> {
    let Aim::Nodes(targets) = &action.aim else { unreachable!("a request is about nodes") };
    let named = nodes(targets);
    if named.is_empty() {
        return Vec::new();
    }
    match action.kind {
        Kind::Campaign => named.into_iter().map(|node| (node, Control::Campaign)).collect(),
        Kind::Compact => named.into_iter().map(|node| (node, Control::Compact)).collect(),
        Kind::Transfer => vec![(leader, Control::Transfer { to: named[0] })],
        Kind::Reconfigure => {
            let to = changed(membership, &named, action.setting(Setting::Change));
            let serves = to.voters.iter().any(|node| !to.is_witness(*node));
            serves.then_some((leader, Control::Reconfigure { to })).into_iter().collect()
        }
        other => unreachable!("{other} is no request"),
    }
}

/// A membership with the part of some nodes changed.
fn changed(from: &Membership, nodes: &[NodeId], change: Word) -> Membership {
    let mut to = Membership { outgoing: BTreeSet::new(), ..from.clone() };
    for set in [&mut to.voters, &mut to.learners, &mut to.witnesses] {
        set.retain(|node| !nodes.contains(node));
    }
    match change {
        Word::Remove => {}
        Word::Learn => to.learners.extend(nodes),
        Word::Witness => {
            to.voters.extend(nodes);
            to.witnesses.extend(nodes);
        }
        Word::Set => {
            to.voters = nodes.iter().copied().collect();
            to.witnesses.clear();
        }
        _ => to.voters.extend(nodes),
    }
    to
}

fn cut(links: Vec<Links>, blocking: Blocking) -> Vec<Fault> {
    if links.is_empty() { Vec::new() } else { vec![Fault::Cut(fault::Cut { links, blocking })] }
}

fn nodes(targets: &[Target]) -> Vec<NodeId> {
    let node = |target: &Target| match target {
        Target::Node(node) => *node,
        role => unreachable!("{role} was not resolved"),
    };
    targets.iter().map(node).collect()
}

fn shape_links(shape: Shape, order: &[NodeId]) -> Vec<Links> {
    let Some((middle, others)) = order.split_first() else { return Vec::new() };
    let addresses = |nodes: &[NodeId]| nodes.iter().copied().map(Address::Node).collect::<Vec<_>>();
    let one_way = |from: &[NodeId], to: &[NodeId]| {
        let named = !from.is_empty() && !to.is_empty();
        named
            .then(|| Links { from: addresses(from), to: addresses(to), both_ways: false })
            .into_iter()
            .collect()
    };
    match shape {
        Shape::Bridge => Links::bridge(order),
        Shape::Ring => Links::ring(order),
        Shape::Chained => Links::chained(order),
        Shape::Constrained => Links::constrained(order),
        Shape::OneWay => {
            let (first, second) = order.split_at(order.len().div_ceil(2));
            one_way(first, second)
        }
        Shape::IsolateInbound => one_way(others, &[*middle]),
        Shape::IsolateOutbound => one_way(&[*middle], others),
    }
}

/// The links that a fault of links strikes: those of its targets, or all if it names everyone.
fn links(targets: &[NodeId], everyone: bool, direction: Word) -> Links {
    if everyone {
        return Links::all();
    }
    let named: Vec<_> = targets.iter().copied().map(Address::Node).collect();
    match direction {
        Word::In => Links { to: named, ..Links::default() },
        Word::Out => Links { from: named, ..Links::default() },
        _ => Links { from: named, both_ways: true, ..Links::default() },
    }
}

fn ppm(share: f64) -> u32 {
    (share * 1e6).round() as u32
}

fn permille(factor: f64) -> u32 {
    (factor * 1e3).round().max(1.0) as u32
}

fn on_nodes(action: &Action, targets: &[Target]) -> Vec<Fault> {
    let everyone = targets == [Target::Rest];
    let named = if everyone { Vec::new() } else { nodes(targets) };
    if named.is_empty() && !everyone {
        return Vec::new();
    }
    let share = || ppm(action.measure(Measure::Share));
    let factor = || permille(action.measure(Measure::Factor));
    let by = || Duration::from_secs_f64(action.measure(Measure::By));
    let number = |measure| action.measure(measure).round() as u64;
    let links = || links(&named, everyone, action.setting(Setting::Direction));
    let each = |fault: &dyn Fn(NodeId) -> Fault| named.iter().map(|node| fault(*node)).collect();
    match action.kind {
        Kind::Partition => unreachable!("a partition strikes groups"),
        Kind::Clog => vec![Fault::Cut(fault::Cut { links: vec![links()], blocking: Blocking::Hold })],
        Kind::Swizzle => {
            let over = match &action.lasts {
                Some(Draw::Fixed(over)) => *over,
                other => unreachable!("a swizzle that strikes lasts a fixed time, not {other:?}"),
            };
            vec![Fault::Swizzle(fault::Swizzle { nodes: named, over })]
        }
        Kind::Loss => vec![Fault::Loss(fault::Loss { links: links(), ppm: share() })],
        Kind::Duplicate => vec![Fault::Duplicate(fault::Duplicate { links: links(), ppm: share() })],
        Kind::Corrupt => vec![Fault::Corrupt(fault::Corrupt { links: links(), ppm: share() })],
        Kind::Reorder => vec![Fault::Reorder(fault::Reorder { links: links(), ppm: share(), by: by() })],
        Kind::SlowLink => {
            vec![Fault::SlowLink(fault::SlowLink { links: links(), permille: factor(), extra: by() })]
        }
        Kind::SlowNode => each(&|node| Fault::SlowNode(fault::SlowNode { node, permille: factor() })),
        Kind::Throttle => {
            let bandwidth = Bandwidth {
                bytes_per_second: number(Measure::Bandwidth).max(1),
                queue_bytes: number(Measure::Queue),
            };
            vec![Fault::Throttle(fault::Throttle { links: links(), bandwidth })]
        }
        Kind::Crash => each(&|node| Fault::Crash(fault::Crash { node })),
        Kind::Kill => each(&|node| Fault::Kill(fault::Kill { node })),
        Kind::Wipe => each(&|node| Fault::Wipe(fault::Wipe { node })),
        Kind::Pause => {
            let clock_stops = action.setting(Setting::Clock) == Word::Stops;
            each(&|node| Fault::Pause(fault::Pause { node, clock_stops }))
        }
        Kind::SlowCpu => {
            each(&|node| Fault::SlowCpu(fault::SlowCpu { node, permille: factor(), per_message: by() }))
        }
        Kind::ClockJump => {
            let ahead = i64::try_from(by().as_nanos()).expect("a jump fits 64 bits");
            let by_ns = if action.setting(Setting::Way) == Word::Back { -ahead } else { ahead };
            each(&|node| Fault::ClockJump(fault::ClockJump { node, by_ns }))
        }
        Kind::ClockDrift => {
            let ppm = action.measure(Measure::Drift).round() as i32;
            each(&|node| Fault::ClockDrift(fault::ClockDrift { node, ppm }))
        }
        Kind::IoError => {
            let side = action.setting(Setting::Side);
            let read_ppm = if side == Word::Writes { 0 } else { share() };
            let write_ppm = if side == Word::Reads { 0 } else { share() };
            each(&|node| Fault::IoError(fault::IoError { node, read_ppm, write_ppm }))
        }
        Kind::SyncError => {
            let manner = match action.setting(Setting::Manner) {
                Word::Ext4Data => SyncFailure::Ext4Data,
                Word::Btrfs => SyncFailure::Btrfs,
                _ => SyncFailure::Ext4Ordered,
            };
            each(&|node| Fault::SyncError(fault::SyncError { node, ppm: share(), manner }))
        }
        Kind::LatentSector | Kind::BitRot => {
            let (clusters, sectors) = (number(Measure::Clusters) as u32, number(Measure::Sectors) as u32);
            each(&|node| match action.kind {
                Kind::BitRot => Fault::BitRot(fault::BitRot { node, clusters, sectors }),
                _ => Fault::LatentSector(fault::LatentSector { node, clusters, sectors }),
            })
        }
        Kind::LostWrite => each(&|node| Fault::LostWrite(fault::LostWrite { node, ppm: share() })),
        Kind::MisdirectedWrite => {
            each(&|node| Fault::MisdirectedWrite(fault::MisdirectedWrite { node, ppm: share() }))
        }
        Kind::Garbage => each(&|node| Fault::Garbage(fault::Garbage { node, ppm: share() })),
        Kind::LyingFlush => each(&|node| Fault::LyingFlush(fault::LyingFlush { node })),
        Kind::NoSpace => {
            each(&|node| Fault::NoSpace(fault::NoSpace { node, left_bytes: number(Measure::Left) }))
        }
        Kind::ShortRead => each(&|node| Fault::ShortRead(fault::ShortRead { node, ppm: share() })),
        Kind::DiskStall => each(&|node| Fault::DiskStall(fault::DiskStall { node })),
        Kind::SlowDisk => each(&|node| Fault::SlowDisk(fault::SlowDisk { node, permille: factor() })),
        Kind::Campaign | Kind::Transfer | Kind::Reconfigure | Kind::Compact => {
            unreachable!("an operator's request breaks nothing")
        }
    }
}
