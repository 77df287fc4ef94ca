//! Each monitor sees the law broken that it watches, and stays silent while it holds.

use contract::{
    Command, Effect, Entry, Epoch, Index, Mark, Membership, NodeId, Payload, Role, Time, Token, View,
};
use protocols::raft::{Raft, Record, Start};
use protocols::{MultiPaxos, multi_paxos};
use seedbed_testbed::monitor::{Monitor, by_name};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);

fn monitor(name: &str) -> Box<dyn Monitor<Raft>> {
    by_name(name, 3).expect("a registered monitor")
}

fn view(role: Role, epoch: u64, commit: u64) -> View {
    View { role, epoch: Epoch(epoch), leader: None, last: Mark::ZERO, commit: Index(commit), broken: None }
}

fn entry(epoch: u64, index: u64, data: &str) -> Entry {
    let command = Command { proposed_at: Time::ZERO, data: data.into() };
    Entry { mark: Mark { epoch: Epoch(epoch), index: Index(index) }, payload: Payload::Command(command) }
}

fn wrote(entries: &[Entry]) -> [Effect<Raft>; 1] {
    [Effect::Persist { token: Token(1), records: entries.iter().cloned().map(Record::Entry).collect() }]
}

#[test]
fn two_leaders_in_a_term() {
    let mut monitor = monitor("one-leader-per-term");
    let (candidate, leader) = (view(Role::Candidate, 3, 0), view(Role::Leader, 3, 0));
    assert_eq!(monitor.stepped(N1, &candidate, &leader, &[]), Ok(()));
    assert_eq!(monitor.stepped(N1, &leader, &leader, &[]), Ok(()));
    assert_eq!(monitor.stepped(N2, &candidate, &view(Role::Leader, 4, 0), &[]), Ok(()));
    let broken = monitor.stepped(N2, &candidate, &leader, &[]);
    assert_eq!(broken, Err("n2 became leader of e3, which n1 already led".to_owned()));
}

#[test]
fn a_commit_index_that_goes_back() {
    let mut monitor = monitor("commit-monotonic");
    let (at_5, at_4) = (view(Role::Follower, 1, 5), view(Role::Follower, 1, 4));
    assert_eq!(monitor.stepped(N1, &at_4, &at_5, &[]), Ok(()));
    assert_eq!(
        monitor.stepped(N1, &at_5, &at_4, &[]),
        Err("the commit index of n1 went back from 5 to 4".to_owned())
    );
}

#[test]
fn a_replica_that_saw_a_law_broken() {
    let mut monitor = monitor("protocol-laws");
    let fine = view(Role::Follower, 1, 0);
    assert_eq!(monitor.stepped(N1, &fine, &fine, &[]), Ok(()));
    let saw = View { broken: Some("leader completeness"), ..fine };
    assert_eq!(
        monitor.stepped(N1, &fine, &saw, &[]),
        Err("n1 was told what breaks leader completeness".to_owned())
    );
}

#[test]
fn different_entries_applied_at_one_index() {
    let mut monitor = monitor("state-machine-safety");
    assert_eq!(monitor.applied(N1, &entry(1, 1, "a")), Ok(()));
    assert_eq!(monitor.applied(N2, &entry(1, 1, "a")), Ok(()));
    assert!(monitor.applied(N2, &entry(1, 1, "b")).is_err(), "another command");
    assert!(monitor.applied(N2, &entry(2, 1, "a")).is_err(), "another term");
    assert!(monitor.installed(N2, Mark { epoch: Epoch(2), index: Index(1) }).is_err(), "another snapshot");
}

#[test]
fn logs_that_do_not_match() {
    let mut monitor = monitor("log-matching");
    let still = view(Role::Follower, 1, 0);
    let mut step = |node, entries: &[Entry]| monitor.stepped(node, &still, &still, &wrote(entries));
    assert_eq!(step(N1, &[entry(1, 1, "a"), entry(2, 2, "b")]), Ok(()));
    assert_eq!(step(N2, &[entry(1, 1, "a"), entry(1, 2, "c")]), Ok(()), "logs may differ in other terms");
    assert_eq!(step(N2, &[entry(2, 2, "b")]), Ok(()), "a conflict is overwritten");
    assert!(step(N2, &[entry(2, 2, "x")]).is_err(), "one index and term, two commands");
    assert!(step(NodeId(3), &[entry(3, 1, "z"), entry(2, 2, "b")]).is_err(), "one entry, two prefixes");
    assert!(step(NodeId(3), &[entry(3, 9, "z")]).is_err(), "a hole in a log");
}

#[test]
fn a_log_is_known_again_after_a_restart() {
    let mut monitor = monitor("log-matching");
    let still = view(Role::Follower, 1, 0);
    let first = [entry(1, 1, "a"), entry(1, 2, "b")];
    assert_eq!(monitor.stepped(N1, &still, &still, &wrote(&first)), Ok(()));
    // The second entry was not durable: the log goes on behind the first, or further on if older
    // segments are gone.
    let kept = [Record::Entry(first[0].clone())];
    assert_eq!(monitor.started(N1, &still, &kept), Ok(()));
    assert_eq!(monitor.stepped(N1, &still, &still, &wrote(&[entry(2, 2, "c")])), Ok(()));
    assert!(monitor.stepped(N1, &still, &still, &wrote(&[entry(2, 4, "d")])).is_err());
    let later = [Record::Entry(entry(2, 2, "c"))];
    assert_eq!(monitor.started(N2, &still, &later), Ok(()));
    assert_eq!(monitor.stepped(N2, &still, &still, &wrote(&[entry(2, 3, "d")])), Ok(()));
    // A compaction may tell later what the entry before the first one was.
    let told = [
        Record::Entry(entry(4, 7, "x")),
        Record::Compacted(Start {
            mark: Mark { epoch: Epoch(1), index: Index(6) },
            membership: Membership::of([1, 2, 3].map(NodeId)),
            served: true,
        }),
        Record::Entry(entry(4, 8, "y")),
    ];
    assert_eq!(monitor.started(NodeId(3), &still, &told), Ok(()));
    // What is left may begin with entries that were soon replaced from further down.
    let replaced = [Record::Entry(entry(1, 9, "x")), Record::Entry(entry(2, 7, "y"))];
    assert_eq!(monitor.started(N1, &still, &replaced), Ok(()));
    assert_eq!(monitor.stepped(N1, &still, &still, &wrote(&[entry(2, 8, "z")])), Ok(()));
    assert!(monitor.stepped(N1, &still, &still, &wrote(&[entry(2, 10, "w")])).is_err());
}

#[test]
fn an_acceptor_that_breaks_its_promise() {
    use multi_paxos::Record;
    let mut monitor = by_name::<MultiPaxos>("promises-kept", 3).expect("a registered monitor");
    let still = view(Role::Follower, 1, 0);
    let promise = |ballot| Record::Promise { ballot: Epoch(ballot) };
    let accepted = |ballot, slot, data| Record::Accepted(entry(ballot, slot, data));
    let mut wrote = |node, records: &[Record]| {
        let effect = Effect::Persist { token: Token(1), records: records.to_vec() };
        monitor.stepped(node, &still, &still, &[effect])
    };
    assert_eq!(wrote(N1, &[promise(5), accepted(5, 1, "a"), accepted(7, 2, "b")]), Ok(()));
    let broken = wrote(N1, &[accepted(6, 3, "c")]);
    assert_eq!(
        broken,
        Err("n1 accepted 3@e6, below its promise of e7".to_owned()),
        "to accept is to promise"
    );
    let broken = wrote(N1, &[promise(6)]);
    assert_eq!(broken, Err("n1 took its promise of e7 back for e6".to_owned()));

    assert_eq!(wrote(N2, &[accepted(5, 1, "a"), accepted(6, 1, "x")]), Ok(()), "ballots may differ");
    let broken = wrote(NodeId(3), &[accepted(5, 1, "z")]);
    assert_eq!(broken, Err("n3 and n1 accepted different values at 1@e5".to_owned()));
}

#[test]
fn a_promise_binds_after_a_restart_as_far_as_it_is_durable() {
    use multi_paxos::Record;
    let mut monitor = by_name::<MultiPaxos>("promises-kept", 3).expect("a registered monitor");
    let still = view(Role::Follower, 1, 0);
    let accepts = |ballot| {
        let records = vec![Record::Accepted(entry(ballot, 9, "v"))];
        [Effect::Persist { token: Token(1), records }]
    };
    let durable = [Record::Promise { ballot: Epoch(5) }];
    assert_eq!(monitor.stepped(N1, &still, &still, &accepts(8)), Ok(()));
    assert_eq!(monitor.started(N1, &still, &durable), Ok(()), "what was not durable was told to nobody");
    assert_eq!(monitor.stepped(N1, &still, &still, &accepts(6)), Ok(()));
    assert_eq!(monitor.started(N1, &still, &durable), Ok(()));
    assert!(monitor.stepped(N1, &still, &still, &accepts(4)).is_err());
}

#[test]
fn laws_of_other_logs_are_not_watched() {
    assert!(by_name::<Raft>("promises-kept", 3).is_none());
    assert!(by_name::<MultiPaxos>("log-matching", 3).is_none());
}

#[test]
fn a_leader_that_lacks_what_is_committed() {
    let mut monitor = monitor("primary-integrity");
    let still = view(Role::Follower, 1, 0);
    let first = [entry(1, 1, "a"), entry(1, 2, "b")];
    for node in [N1, N2] {
        assert_eq!(monitor.stepped(node, &still, &still, &wrote(&first[..1])), Ok(()));
    }
    assert_eq!(monitor.stepped(N1, &still, &still, &wrote(&first[1..])), Ok(()));
    assert_eq!(monitor.stepped(N1, &still, &still, &[Effect::Commit(first.to_vec())]), Ok(()));
    let leads = |epoch| view(Role::Leader, epoch, 0);
    assert_eq!(monitor.stepped(N1, &still, &leads(2), &wrote(&[entry(2, 3, "c")])), Ok(()), "it holds both");
    let broken = monitor.stepped(N2, &still, &leads(3), &wrote(&[entry(3, 2, "d")]));
    assert_eq!(broken, Err("n2 leads e3 and lacks the entry 2@e1, which is committed".to_owned()));
    // Node 3 began to lead before it was known that the entry is committed.
    let mut monitor = self::monitor("primary-integrity");
    assert_eq!(monitor.stepped(NodeId(3), &still, &leads(3), &wrote(&[entry(3, 1, "x")])), Ok(()));
    let later = view(Role::Follower, 4, 0);
    assert_eq!(
        monitor.stepped(N2, &still, &later, &[Effect::Commit(first.to_vec())]),
        Ok(()),
        "a later leader commits what one that it has replaced may lack"
    );
    assert!(monitor.stepped(N1, &still, &still, &[Effect::Commit(first.to_vec())]).is_err());
}
