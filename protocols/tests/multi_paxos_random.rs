//! Multi-Paxos under random schedules; its laws are checked from outside.

#[expect(dead_code, reason = "scripts use the rest of it")]
mod host;
mod random;

use std::collections::BTreeMap;

use contract::{Bug, Effect, Epoch, JournalRecord, Mark, Payload};
use random::{FAIR, Fx, Host, Judge, Random, Subject, Weather, World, run};
use seedbed_protocols::MultiPaxos;
use seedbed_protocols::multi_paxos::{Options, Timer};

impl Subject for MultiPaxos {
    fn options(random: &mut Random) -> Options {
        let snapshot_entries = 4 + random.below(16) as u64;
        Options {
            window: 1 + random.below(6) as u64,
            max_batch: 1 + random.below(4),
            max_uncommitted: 20,
            snapshot_entries,
            keep_entries: random.below(snapshot_entries as usize) as u64,
            ..Options::default()
        }
    }

    const ELECTIONS: &'static [Timer] = &[Timer::Election, Timer::Trust];
    const OTHERS: &'static [Timer] = &[Timer::Heartbeat, Timer::Ask];
}

/// Acceptors keep their promises, and a ballot proposes one value in a slot.
#[derive(Default)]
struct Acceptors {
    values: BTreeMap<Mark, Payload>,
}

impl Judge<MultiPaxos> for Acceptors {
    fn check(&mut self, host: &Host<MultiPaxos>, effects: &Fx<MultiPaxos>) -> Result<(), &'static str> {
        let durable = host.segments.iter().flatten().filter_map(promise_of).max().unwrap_or_default();
        for effect in effects {
            let Effect::Persist { records, .. } = effect else { continue };
            for record in records {
                if record.accepted().is_some_and(|mark| mark.epoch < durable) {
                    return Err("an acceptor accepted below its promise");
                }
                if let (Some(mark), Some(entry)) = (record.accepted(), record.entry())
                    && *self.values.entry(mark).or_insert_with(|| entry.payload.clone()) != entry.payload
                {
                    return Err("a ballot proposed two values in a slot");
                }
            }
        }
        Ok(())
    }
}

fn promise_of(record: &impl JournalRecord) -> Option<Epoch> {
    record.promised().max(record.accepted().map(|mark| mark.epoch))
}

fn one(seed: u64, weather: Weather) -> Result<World<MultiPaxos, Acceptors>, &'static str> {
    run(seed, weather)
}

#[test]
fn the_laws_hold_and_a_healed_group_works() {
    let (mut ballots, mut committed, mut snapshots, mut changes, mut served) = (0, 0, 0, 0, 0);
    for seed in 0..500 {
        let world = one(seed, FAIR).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        ballots += world.seen.leaders.len();
        committed += world.seen.committed.len();
        snapshots += world.seen.snapshots;
        changes += world.seen.changes;
        served += world.seen.served;
    }
    // The runs went where it hurts.
    println!(
        "{ballots} leaders, {committed} committed, {snapshots} snapshots, {changes} changes, {served} reads"
    );
}

/// The first seed that shows a planted bug, and how.
fn first_violation(bug: Bug, seeds: u64) -> Option<(u64, &'static str)> {
    let weather = Weather { bug: Some(bug), ..FAIR };
    let found = (0..seeds).find_map(|seed| one(seed, weather).err().map(|violation| (seed, violation)));
    println!("{bug}: {found:?}");
    found
}

#[test]
fn planted_bugs_are_found() {
    // Those that a schedule without a plan comes to soon; a forgotten promise takes a thousand of them.
    let bugs = [
        Bug::PhaseQuorumsDisjoint,
        Bug::AnyAcceptedAdopted,
        Bug::HoleSkipped,
        Bug::PhaseOneUnfinished,
        Bug::AcceptBelowPromise,
        Bug::ReadWithoutQuorum,
    ];
    let found = bugs.map(|bug| (bug, first_violation(bug, 3000)));
    for (bug, found) in found {
        assert!(found.is_some_and(|(_, violation)| violation != "no progress"), "{bug}: {found:?}");
    }
}

/// A replica asserts what it owes to itself alone: what others, or a lying disk, do to it is no panic.
#[test]
fn no_replica_panics_over_the_faults_of_others() {
    let bugs = [Bug::PromiseForgotten, Bug::AnyAcceptedAdopted, Bug::HoleSkipped, Bug::PhaseQuorumsDisjoint];
    let planted = bugs.map(|bug| Weather { bug: Some(bug), judged: false, ..FAIR });
    let lying = Weather { lying_disk: true, judged: false, ..FAIR };
    let mut noticed = 0;
    for weather in planted.into_iter().chain([lying]) {
        for seed in 0..60 {
            let mut world = World::<MultiPaxos, Acceptors>::new(seed, weather);
            for _ in 0..weather.steps {
                world.random_step().expect("nothing is judged");
            }
            let broken = |host: &&Host<MultiPaxos>| host.replica.broken_law().is_some();
            noticed += world.hosts.iter().flatten().filter(broken).count();
        }
    }
    println!("{noticed} replicas noticed");
    assert!(noticed > 0, "somebody was told what breaks a law");
}

#[test]
fn a_disk_that_lies_is_found() {
    let weather = Weather { lying_disk: true, ..FAIR };
    let found = (0..300).find_map(|seed| one(seed, weather).err().map(|violation| (seed, violation)));
    println!("{found:?}");
    assert!(found.is_some_and(|(_, violation)| violation != "no progress"), "{found:?}");
}
