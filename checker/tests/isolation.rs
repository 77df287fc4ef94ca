//! Isolation levels: the catalogue of anomalies, databases that really run at a level, and all orders of small
//! histories.

mod database;

use database::{Database, Isolation, as_registers};
use seedbed_checker::generate::Draw;
use seedbed_checker::isolation::Order::{Data, Process, RealTime};
use seedbed_checker::isolation::lists::{self, Action};
use seedbed_checker::isolation::{AnomalyKind, Level, Malformed, Outcome, Report, Transaction, registers};

/// A line for each transaction: its process, when it ran, how it ended, and what it did, as `1 0-9 c: a1=10 r2=[3,4]`.
fn parse(text: &str) -> Vec<Transaction<Action>> {
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("`{text}` is a number"));
    let action = |text: &str| {
        let (key, value) = text[1..].split_once('=').expect("a key and a value");
        match text.as_bytes()[0] {
            b'a' => Action::Append { key: number(key), value: number(value) },
            b'r' => {
                let values = value.trim_matches(['[', ']']).split(',').filter(|value| !value.is_empty());
                Action::Read { key: number(key), values: values.map(number).collect() }
            }
            _ => panic!("`{text}` appends or reads"),
        }
    };
    let transaction = |line: &str| {
        let (head, actions) = line.split_once(':').expect("a head and actions");
        let fields: Vec<&str> = head.split_whitespace().collect();
        let [process, times, outcome] = fields[..] else { panic!("`{head}` has three fields") };
        let (invoked, returned) = times.split_once('-').expect("two times");
        let outcome = match outcome {
            "c" => Outcome::Committed,
            "a" => Outcome::Aborted,
            _ => Outcome::Unknown,
        };
        Transaction {
            process: number(process) as u32,
            invoked: number(invoked),
            returned: (returned != "?").then(|| number(returned)),
            outcome,
            actions: actions.split_whitespace().map(action).collect(),
        }
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(transaction).collect()
}

fn judge(transactions: &[Transaction<Action>]) -> Report {
    lists::judge(transactions).expect("well formed")
}

fn told(text: &str) -> Vec<String> {
    judge(&parse(text)).anomalies.iter().map(ToString::to_string).collect()
}

/// The highest levels that hold.
fn holding(text: &str) -> Vec<Level> {
    let report = judge(&parse(text));
    Level::ALL.into_iter().filter(|level| report.holds(*level)).collect()
}

/// One minimal history of each anomaly, what is said of it, and the levels that it keeps to.
#[test]
fn the_catalogue() {
    use Level::{
        ReadCommitted as RC, ReadUncommitted as RU, RepeatableRead as RR, Serializable as S,
        SnapshotIsolation as SI, StrongSessionSnapshotIsolation as Session,
        StrongSnapshotIsolation as Strong,
    };
    let none: &[Level] = &[];
    let rows: &[(&str, &str, &[&str], &[Level])] = &[
        ("nothing", "1 0-9 c: a1=1 r1=[1]\n2 10-19 c: r1=[1]", &[], &Level::ALL),
        ("garbage read", "1 0-9 c: r1=[7]", &["garbage read: T0 read 7 of 1, which nobody appended"], none),
        (
            "duplicate elements",
            "1 0-9 c: a1=1\n2 0-9 c: r1=[1,1]",
            &["duplicate elements: T1 read 1 of 1 twice in one list"],
            none,
        ),
        (
            "incompatible order",
            "1 0-9 c: a1=1\n2 0-9 c: a1=2\n3 0-9 c: r1=[1,2]\n4 0-9 c: r1=[2]",
            &["incompatible order: T2 read [1, 2] of 1, T3 read [2]"],
            none,
        ),
        (
            "dirty update",
            "1 0-9 a: a1=1\n2 0-9 c: a1=2\n3 0-9 c: r1=[1,2]",
            &[
                "dirty update: T1 appended 2 to 1 behind what T0, which aborted, had",
                "G1a: T2 read of 1 that T0, which aborted, had appended 1",
            ],
            none,
        ),
        (
            "G0",
            "1 0-9 c: a1=1 a2=1\n2 0-9 c: a1=2 a2=2\n3 0-9 c: r1=[1,2] r2=[2,1]",
            &["G0: T0 appended to 1 before T1 appended 2 to it; T1 appended to 2 before T0 appended 1 to it"],
            none,
        ),
        (
            "G1a",
            "1 0-9 a: a1=1\n2 0-9 c: r1=[1]",
            &["G1a: T1 read of 1 that T0, which aborted, had appended 1"],
            &[RU],
        ),
        (
            "G1b",
            "1 0-9 c: a1=1 a1=2\n2 0-9 c: r1=[1]",
            &["G1b: T1 read 1 when T0 had appended 1 to it, and it appended more later"],
            &[RU],
        ),
        (
            "G1c",
            "1 0-9 c: a1=1 r2=[2]\n2 0-9 c: a2=2 r1=[1]",
            &["G1c: T1 read of 1 what T0 appended: 1; T0 read of 2 what T1 appended: 2"],
            &[RU],
        ),
        ("internal", "1 0-9 c: a1=1 r1=[]", &["internal: T0 read [] of 1, having appended [1]"], &[RU, RC]),
        (
            "not repeated",
            "1 0-9 c: a1=1\n2 0-9 c: r1=[] r1=[1]",
            &["internal: T1 read [1] of 1, and [] before"],
            &[RU, RC],
        ),
        (
            "lost update",
            "1 0-9 c: r1=[] a1=1\n2 0-9 c: r1=[] a1=2\n3 0-9 c: r1=[1,2]",
            &[
                "lost update: T0 and T1 both read 0 elements of 1, and both appended to them",
                "G-single: T1 read 1 before T0 appended 1 to it; T0 appended to 1 before T1 appended 2 to it",
            ],
            &[RU, RC],
        ),
        (
            "read skew",
            "1 0-9 c: a1=1 a2=1\n2 0-9 c: r1=[] r2=[1]",
            &["G-single: T1 read 1 before T0 appended 1 to it; T1 read of 2 what T0 appended: 1"],
            &[RU, RC],
        ),
        (
            "long fork",
            "1 0-9 c: a1=1\n2 0-9 c: a2=2\n3 0-9 c: r1=[1] r2=[]\n4 0-9 c: r1=[] r2=[2]",
            &["G-nonadjacent: T2 read 2 before T1 appended 2 to it; T3 read of 2 what T1 appended: 2; \
               T3 read 1 before T0 appended 1 to it; T2 read of 1 what T0 appended: 1"],
            &[RU, RC],
        ),
        (
            "write skew",
            "1 0-9 c: r1=[] a2=1\n2 0-9 c: r2=[] a1=2\n3 10-19 c: r1=[2] r2=[1]",
            &["G2-item: T0 read 1 before T1 appended 2 to it; T1 read 2 before T0 appended 1 to it"],
            &[RU, RC, SI, Session, Strong],
        ),
        (
            "a process that reads an old snapshot",
            "1 0-1 c: a1=1\n1 2-3 c: r1=[]",
            &["G-single-process: T0 came before T1 in its process; T1 read 1 before T0 appended 1 to it"],
            &[RU, RC, SI, RR, S],
        ),
        (
            "an old snapshot",
            "1 0-1 c: a1=1\n2 2-3 c: r1=[]",
            &["G-single-realtime: T0 had returned when T1 was invoked; T1 read 1 before T0 appended 1 to it"],
            &[RU, RC, SI, Session, RR, S],
        ),
        ("an outcome that was unknown", "1 0-? u: a1=1\n2 2-3 c: r1=[1]", &[], &Level::ALL),
        ("an outcome that may be", "1 0-? u: a1=1\n2 2-3 c: r1=[]", &[], &Level::ALL),
    ];
    for (name, text, expected, levels) in rows {
        assert_eq!(&told(text)[..], *expected, "{name}");
        assert_eq!(&holding(text)[..], *levels, "{name}");
    }
    // What shows in lists shows in registers that are written in their places, but for what only lists have.
    let has_lists_only =
        |name: &&str| ["duplicate elements", "incompatible order", "dirty update", "G0"].contains(name);
    for (name, text, _, levels) in rows.iter().filter(|(name, ..)| !has_lists_only(name)) {
        let report = registers::judge(&as_registers(&parse(text))).expect("well formed");
        let holding: Vec<Level> = Level::ALL.into_iter().filter(|level| report.holds(*level)).collect();
        assert_eq!(&holding[..], *levels, "{name} in registers: {:#?}", report.anomalies);
    }
}

#[test]
fn registers_show_nothing_that_lists_do_not() {
    let levels = [
        Isolation::ReadUncommitted,
        Isolation::ReadCommitted,
        Isolation::Snapshot,
        Isolation::StaleSnapshot,
        Isolation::Serializable,
    ];
    let (mut in_lists, mut in_registers) = (0, 0);
    for seed in 0..10_000 {
        let history = run(levels[seed as usize % 5], seed, 12, 3);
        let lists = judge(&history);
        let registers = registers::judge(&as_registers(&history)).expect("well formed");
        for level in Level::ALL {
            assert!(
                registers.holds(level) || !lists.holds(level),
                "{seed}: {level}: {:#?}\n{history:#?}",
                registers.anomalies
            );
        }
        in_lists += u32::from(!lists.holds(Level::StrictSerializable));
        in_registers += u32::from(!registers.holds(Level::StrictSerializable));
    }
    assert!(in_registers * 2 > in_lists, "{in_registers} of {in_lists} are seen in registers");
}

#[test]
fn the_strongest_levels_include_all_that_hold() {
    use Level::{ReadCommitted, Serializable, StrictSerializable, StrongSessionSnapshotIsolation};
    let strongest = |text: &str| judge(&parse(text)).strongest();
    assert_eq!(strongest("1 0-9 c: a1=1"), [StrictSerializable]);
    assert_eq!(strongest("1 0-9 c: r1=[7]"), []);
    assert_eq!(strongest("1 0-9 c: a1=1 r1=[]"), [ReadCommitted]);
    assert_eq!(
        strongest("1 0-1 c: a1=1\n2 2-3 c: r1=[]"),
        [StrongSessionSnapshotIsolation, Serializable],
        "neither includes the other"
    );
    for (a, b) in Level::ALL.into_iter().flat_map(|a| Level::ALL.map(|b| (a, b))) {
        let kinds = [AnomalyKind::G0, AnomalyKind::G1c, AnomalyKind::GSingle, AnomalyKind::G2Item];
        let all = kinds.into_iter().flat_map(|kind| [Data, Process, RealTime].map(|order| (kind, order)));
        let forbids_all =
            all.into_iter().all(|(kind, order)| a.forbids(kind, order) || !b.forbids(kind, order));
        // Without predicates a repeatable read is as much as serializability; the later one counts as the stronger.
        let is_same = (a, b) == (Level::RepeatableRead, Serializable);
        assert_eq!(a.includes(b), forbids_all && !is_same, "{a} includes {b}");
    }
    assert_eq!(Level::named("strong-session-snapshot-isolation"), Some(StrongSessionSnapshotIsolation));
    assert_eq!(StrictSerializable.to_string(), "strict serializable");
}

/// A ring in which each transaction reads what the one before it appended, all at the same time.
fn ring(count: usize) -> Vec<Transaction<Action>> {
    let transaction = |number: usize| {
        let before = (number + count - 1) % count;
        let actions = vec![
            Action::Append { key: number as u64, value: 1 },
            Action::Read { key: before as u64, values: vec![1] },
        ];
        let process = number as u32;
        Transaction { process, invoked: 0, returned: Some(1), outcome: Outcome::Committed, actions }
    };
    (0..count).map(transaction).collect()
}

/// Wherever in a large circle the short one lies, it is what is told.
#[test]
fn of_many_circles_the_shortest_is_told() {
    for (count, chord) in [(60, 40), (3_000, 1_700), (20_000, 17_777)] {
        let mut history = ring(count);
        let told = |history: &[Transaction<Action>]| {
            let report = judge(history);
            let [anomaly] = &report.anomalies[..] else { panic!("{:#?}", report.anomalies) };
            (anomaly.kind, anomaly.transactions.clone())
        };
        let (kind, transactions) = told(&history);
        assert_eq!((kind, transactions.len()), (AnomalyKind::G1c, count), "there is one circle");
        let reads = |key: usize, values| Action::Read { key: key as u64, values };
        history[chord].actions.push(reads(chord + 4, vec![1]));
        let (kind, mut transactions) = told(&history);
        transactions.sort_unstable();
        let expected: Vec<u32> = (0..5).map(|number| (chord + number) as u32).collect();
        assert_eq!((kind, transactions), (AnomalyKind::G1c, expected));
    }
}

/// The same where a circle must not go through more than one read of what was replaced, behind many long ones.
#[test]
fn of_circles_with_one_such_read_the_shortest_is_told() {
    for (count, long) in [(60, 30), (3_000, 1_500)] {
        let mut history = ring(count);
        history[0].actions.pop();
        let misses = |key: usize| Action::Read { key: key as u64, values: vec![] };
        let chord = long + 16;
        for (key, reader) in (1..=20).zip(&mut history[long + 1..]) {
            reader.actions.push(misses(key));
        }
        let shortest = |history: &[Transaction<Action>]| {
            let singles = judge(history).anomalies.into_iter().filter(|a| a.kind == AnomalyKind::GSingle);
            singles.map(|anomaly| anomaly.transactions.len()).min()
        };
        assert_eq!(shortest(&history), Some(long + 1));
        history[chord + 4].actions.push(misses(chord));
        assert_eq!(shortest(&history), Some(5));
    }
}

#[test]
fn what_cannot_be_judged() {
    let told = |text: &str| lists::judge(&parse(text)).expect_err("it is malformed");
    let (key, value, first, second) = (1, 5, 0, 1);
    assert_eq!(told("1 0-9 c: a1=5\n2 0-9 c: a1=5"), Malformed::WrittenTwice { key, value, first, second });
    assert_eq!(told("1 5-3 c: a1=5"), Malformed::EndsBeforeItBegins(0));
}

/// A history of a database that runs at a level; at the end everything is read.
fn run(isolation: Isolation, seed: u64, transactions: usize, keys: u64) -> Vec<Transaction<Action>> {
    Database::new(isolation, Draw(seed)).run(transactions, keys)
}

#[test]
fn databases_keep_their_level_and_are_seen_to_break_the_next() {
    for (isolation, level, next) in [
        (Isolation::ReadUncommitted, Level::ReadUncommitted, Level::ReadCommitted),
        (Isolation::ReadCommitted, Level::ReadCommitted, Level::SnapshotIsolation),
        (Isolation::Snapshot, Level::StrongSnapshotIsolation, Level::Serializable),
        (Isolation::StaleSnapshot, Level::SnapshotIsolation, Level::StrongSnapshotIsolation),
        (Isolation::Serializable, Level::StrictSerializable, Level::StrictSerializable),
    ] {
        let mut broken = 0;
        for seed in 0..10_000 {
            let history = run(isolation, seed, 12, 3);
            let report = judge(&history);
            assert!(report.holds(level), "{isolation:?} {seed}: {:#?}\n{history:#?}", report.anomalies);
            broken += u32::from(!report.holds(next));
        }
        let expected = if level == next { 0..1 } else { 1_000..10_001 };
        assert!(expected.contains(&broken), "{isolation:?}: {broken} of 10 000 histories break {next}");
    }
}

/// Under snapshot isolation two transactions may each read what the other changes, and do; it is called by its
/// name, and it is all that goes wrong.
#[test]
fn write_skew_is_what_goes_wrong_under_snapshot_isolation() {
    let mut skews = 0;
    for seed in 0..500 {
        for anomaly in judge(&run(Isolation::Snapshot, seed, 12, 3)).anomalies {
            assert_eq!(anomaly.kind, AnomalyKind::G2Item, "{seed}: {anomaly}");
            skews += 1;
        }
    }
    assert!(skews > 50, "{skews} in 500 histories");
}

/// Calls `each` with every order of the numbers below `count` until it says yes.
fn any_order(count: usize, each: &mut impl FnMut(&[usize]) -> bool) -> bool {
    fn extend(order: &mut Vec<usize>, count: usize, each: &mut impl FnMut(&[usize]) -> bool) -> bool {
        if order.len() == count {
            return each(order);
        }
        (0..count).any(|next| {
            if order.contains(&next) {
                return false;
            }
            order.push(next);
            let is_one = extend(order, count, each);
            order.pop();
            is_one
        })
    }
    extend(&mut Vec::new(), count, each)
}

/// Whether a transaction that starts with these lists sees what it saw; it changes them.
fn fits(actions: &[Action], lists: &mut [Vec<u64>]) -> bool {
    actions.iter().all(|action| match action {
        Action::Append { key, value } => {
            lists[*key as usize].push(*value);
            true
        }
        Action::Read { key, values } => lists[*key as usize] == *values,
    })
}

fn is_serializable(history: &[Transaction<Action>], keys: usize, in_real_time: bool) -> bool {
    let committed: Vec<_> = history.iter().filter(|t| t.outcome == Outcome::Committed).collect();
    any_order(committed.len(), &mut |order| {
        let mut lists = vec![Vec::new(); keys];
        let is_in_time = |at: usize| {
            let earlier = &order[..at];
            earlier.iter().all(|earlier| {
                committed[order[at]].returned.is_none_or(|returned| committed[*earlier].invoked <= returned)
            })
        };
        (!in_real_time || (0..order.len()).all(is_in_time))
            && order.iter().all(|at| fits(&committed[*at].actions, &mut lists))
    })
}

/// Starts and commits in all orders: a transaction reads what had been committed when it started, and commits
/// if none that did so since changed what it changes.
fn is_snapshot_isolated(history: &[Transaction<Action>], keys: usize) -> bool {
    let committed: Vec<_> = history.iter().filter(|t| t.outcome == Outcome::Committed).collect();
    let count = committed.len();
    any_order(2 * count, &mut |order| {
        let mut lists = vec![Vec::<u64>::new(); keys];
        let mut snapshots: Vec<Option<Vec<Vec<u64>>>> = vec![None; count];
        order.iter().all(|step| {
            let (at, commits) = (step / 2, step % 2 == 1);
            if !commits {
                snapshots[at] = Some(lists.clone());
                return true;
            }
            let Some(snapshot) = snapshots[at].clone() else { return false };
            let mut after = snapshot.clone();
            if !fits(&committed[at].actions, &mut after) {
                return false;
            }
            for key in 0..keys {
                if after[key] != snapshot[key] {
                    if lists[key] != snapshot[key] {
                        return false;
                    }
                    lists[key].clone_from(&after[key]);
                }
            }
            true
        })
    })
}

#[test]
fn small_histories_agree_with_every_order() {
    let levels =
        [Isolation::ReadCommitted, Isolation::Snapshot, Isolation::StaleSnapshot, Isolation::Serializable];
    let (mut serializable, mut strict, mut judged) = (0, 0, 0);
    for seed in 0..4_000 {
        let history = run(levels[seed as usize % 4], seed, 5, 2);
        let report = judge(&history);
        for (in_real_time, level, count) in
            [(false, Level::Serializable, &mut serializable), (true, Level::StrictSerializable, &mut strict)]
        {
            let expected = is_serializable(&history, 2, in_real_time);
            assert_eq!(
                report.holds(level),
                expected,
                "{seed}: {level}: {:#?}\n{history:#?}",
                report.anomalies
            );
            *count += u32::from(expected);
        }
        judged += 1;
    }
    assert!((judged / 4..judged).contains(&serializable), "{serializable} of {judged} are serializable");
    assert!((judged / 5..serializable).contains(&strict), "{strict} of {judged} are strictly so");
}

#[test]
fn small_histories_agree_with_every_order_of_snapshots() {
    let levels = [Isolation::ReadCommitted, Isolation::Snapshot, Isolation::StaleSnapshot];
    let (mut isolated, mut judged) = (0, 0);
    for seed in 0..600 {
        let history = run(levels[seed as usize % 3], seed, 3, 2);
        let report = judge(&history);
        let expected = is_snapshot_isolated(&history, 2);
        let holds = report.holds(Level::SnapshotIsolation);
        assert_eq!(holds, expected, "{seed}: {:#?}\n{history:#?}", report.anomalies);
        isolated += u32::from(expected);
        judged += 1;
    }
    assert!((judged / 4..judged).contains(&isolated), "{isolated} of {judged} are of snapshots");
}
