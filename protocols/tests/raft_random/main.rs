//! Raft under random schedules: messages are delivered in any order, repeated and lost; writes and
//! the service's work take any time; replicas crash and lose what was not durable; operators change
//! who takes part and who leads. Meanwhile the paper's laws (Fig. 3) are checked from outside. Then
//! everything heals, and the cluster must work.

mod climate;
#[expect(dead_code, reason = "scripts use the rest of it")]
#[path = "../host/mod.rs"]
mod host;
mod judge;
mod world;

use contract::{Bug, Payload};
use judge::Violation;
use seedbed_protocols::Raft;
use world::{Weather, World};

type Host = host::Host<Raft>;
type Fx = host::Fx<Raft>;

/// One run; what it saw happen.
fn run(seed: u64, weather: Weather) -> Result<World, Violation> {
    let nodes = match seed % 4 {
        0 | 2 => 3,
        1 => 5,
        _ if weather.operated => 4,
        _ => 5,
    };
    let mut world = World::new(seed, nodes, weather);
    for _ in 0..weather.steps {
        world.random_step()?;
    }
    world.heal().inspect_err(|_| world.show())?;
    Ok(world)
}

const FAIR: Weather = Weather { bug: None, lying_disk: false, judged: true, operated: false, steps: 20_000 };
const OPERATED: Weather = Weather { operated: true, ..FAIR };

#[test]
fn the_laws_hold_and_a_healed_cluster_works() {
    let (mut terms, mut committed, mut snapshots) = (0, 0, 0);
    for seed in 0..500 {
        let world = run(seed, FAIR).unwrap_or_else(|violation| panic!("seed {seed}: {violation:?}"));
        terms += world.judge.leaders.len();
        committed += world.judge.committed.len();
        snapshots += world.seen.snapshots;
    }
    // The runs went where it hurts.
    println!("{terms} leaders, {committed} entries committed, {snapshots} snapshots installed");
    assert!(terms > 3000 && committed > 10_000 && snapshots > 300, "{terms} {committed} {snapshots}");
}

#[test]
fn the_laws_hold_while_members_come_and_go() {
    let mut all = world::Seen::default();
    let (mut committed, mut memberships) = (0, 0);
    for seed in 0..1000 {
        let World { seen, judge, .. } =
            run(seed, OPERATED).unwrap_or_else(|violation| panic!("seed {seed}: {violation:?}"));
        committed += judge.committed.len();
        let regroups = |entry: &contract::Entry| matches!(entry.payload, Payload::Membership(_));
        memberships += judge.committed.iter().filter(|(entry, _)| regroups(entry)).count();
        all.snapshots += seen.snapshots;
        all.controlled += seen.controlled;
        all.rejected += seen.rejected;
        all.read_at_once += seen.read_at_once;
        all.stateless_leader_steps += seen.stateless_leader_steps;
    }
    println!("{committed} entries committed, {memberships} with a membership, {all:?}");
    let gets_on = committed > 10_000 && memberships > 1000 && all.snapshots > 300;
    assert!(gets_on && all.read_at_once > 1000 && all.stateless_leader_steps > 1000, "{committed} {all:?}");
}

/// Whether one of these seeds shows what is wrong, by a broken law or by an assertion of the replica's own.
fn is_found(weather: Weather, seeds: u64) -> bool {
    (0..seeds).any(|seed| match std::panic::catch_unwind(|| run(seed, weather)) {
        Ok(outcome) => outcome.is_err(),
        Err(_) => true,
    })
}

#[test]
fn planted_bugs_are_found() {
    let in_any_group = [
        Bug::VoteNotDurable,
        Bug::ReadWithoutQuorum,
        Bug::StaleAppendTruncates,
        Bug::MatchedGoesBack,
        Bug::SnapshotBoundaryMissed,
        Bug::SnapshotLowersTerm,
        Bug::AckBeyondAppend,
        Bug::ReadBeforeOwnCommit,
        Bug::ReadQuorumTooSmall,
        Bug::QuorumOfUnsorted,
        Bug::PurgedLogNoSnapshot,
        Bug::AckBeforeDurable,
    ];
    for bug in in_any_group {
        assert!(is_found(Weather { bug: Some(bug), ..FAIR }, 300), "{bug}");
    }
    assert!(is_found(Weather { bug: Some(Bug::AutoLeaveLost), ..OPERATED }, 300));
}

#[test]
fn a_disk_that_lies_is_found() {
    assert!(is_found(Weather { lying_disk: true, ..FAIR }, 300));
}

/// A replica asserts what it owes to itself alone: what others, or a lying disk, do to it is no panic.
#[test]
fn no_replica_panics_over_the_faults_of_others() {
    let planted = [
        Bug::VoteNotDurable,
        Bug::StaleAppendTruncates,
        Bug::ReadWithoutQuorum,
        Bug::AckBeyondAppend,
        Bug::AckBeforeDurable,
        Bug::QuorumOfUnsorted,
    ];
    let planted = planted.map(|bug| Weather { bug: Some(bug), judged: false, ..FAIR });
    let lying = Weather { lying_disk: true, judged: false, ..FAIR };
    let mut noticed = 0;
    for weather in planted.into_iter().chain([lying]) {
        for seed in 0..60 {
            let mut world = World::new(seed, 3, weather);
            for _ in 0..weather.steps {
                world.random_step().expect("nothing is judged");
            }
            noticed +=
                world.hosts.iter().flatten().filter(|host| host.replica.broken_law().is_some()).count();
        }
    }
    println!("{noticed} replicas noticed");
    assert!(noticed > 20, "{noticed}");
}
