//! The search leaves out much of what is possible. Here it must agree, on tens of thousands of small
//! histories, with an oracle that tries every order, and with stateright's tester; and on longer ones
//! with itself when it leaves out nothing. Judges that are broken on purpose must be found out.

use std::collections::BTreeMap;
use std::hash::Hash;

use contract::kv::{Op, Ret};
use contract::{Bytes, ClientId, EventKind, History, OpId, Outcome};
use seedbed_checker::generate::{self, Draw, Flaw, Mix, Values, Workload};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::models::register::{self, Register};
use seedbed_checker::parts::Part;
use seedbed_checker::spec::{self, Helpers};
use seedbed_checker::{Budget, FromSequential, Keys, Spec, Verdict, judge};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

/// Values that begin with, end in and contain each other.
const VALUES: &[&str] = &["a", "b", "ab", ""];

/// The `seed`th small history; every second one is given a wrong answer, which may still fit.
fn small(seed: u64) -> History<Op, Ret> {
    let mut draw = Draw(seed ^ 0x5eed);
    let mut weight = |max: u32| draw.below(max + 1);
    let workload = Workload {
        clients: 3,
        operations: 4 + weight(4),
        keys: 1 + weight(1),
        mix: Mix {
            get: 1 + weight(3),
            put: weight(3),
            append: weight(3),
            delete: weight(1),
            cas: weight(3),
            scan: weight(1),
        },
        values: Values::Few(&VALUES[..2 + weight(2) as usize]),
        unknown_per_mille: weight(500),
        flaw: Flaw::None,
    };
    let history = generate::kv(&workload, seed);
    if seed.is_multiple_of(2) { history } else { with_a_wrong_answer(&history, &mut draw) }
}

/// Replaces one observed answer by another one.
fn with_a_wrong_answer(history: &History<Op, Ret>, draw: &mut Draw) -> History<Op, Ret> {
    let is_observed = |kind: &EventKind<Op, Ret>| {
        matches!(kind, EventKind::Return(Outcome::Ok(Ret::Value(_) | Ret::Swapped(_) | Ret::Pairs(_))))
    };
    let observed = history.events().iter().filter(|event| is_observed(&event.kind)).count();
    let wrong = draw.below(observed.max(1) as u32) as usize;
    let mut seen = 0;
    let mut value = || -> Option<Bytes> {
        let values = ["a", "b", "ab", "", "aba", "bb"];
        values.get(draw.below(values.len() as u32 + 1) as usize).map(|text| (*text).into())
    };
    let mut changed = History::default();
    for event in history.events() {
        let mut kind = event.kind.clone();
        if let EventKind::Return(Outcome::Ok(ret)) = &mut kind
            && is_observed(&event.kind)
        {
            if seen == wrong {
                match ret {
                    Ret::Swapped(swapped) => *swapped = !*swapped,
                    Ret::Pairs(pairs) => {
                        let keys = ["k0", "k1"].into_iter();
                        *pairs = keys.filter_map(|key| Some((key.into(), value()?))).collect();
                    }
                    _ => *ret = Ret::Value(value()),
                }
            }
            seen += 1;
        }
        match kind {
            EventKind::Invoke(op) => assert_eq!(changed.invoke(event.time, event.client, op), event.op),
            EventKind::Return(outcome) => changed.complete(event.time, event.client, event.op, outcome),
        }
    }
    changed
}

/// An operation as the oracle sees it: with the places of its two events.
struct Seen<'h, O, R> {
    op: &'h O,
    ret: Option<&'h R>,
    call: usize,
    end: usize,
}

fn seen<O, R>(history: &History<O, R>) -> Vec<Seen<'_, O, R>> {
    let mut all: BTreeMap<OpId, Seen<'_, O, R>> = BTreeMap::new();
    for (at, event) in history.events().iter().enumerate() {
        match &event.kind {
            EventKind::Invoke(op) => {
                all.insert(event.op, Seen { op, ret: None, call: at, end: usize::MAX });
            }
            EventKind::Return(Outcome::Ok(ret)) => {
                let seen = all.get_mut(&event.op).expect("what returns was invoked");
                (seen.ret, seen.end) = (Some(ret), at);
            }
            EventKind::Return(Outcome::Fail) => drop(all.remove(&event.op)),
            EventKind::Return(Outcome::Unknown) => {}
        }
    }
    all.into_values().collect()
}

/// Tries every order, by the definition and with no thought of speed.
fn has_an_order<S: SequentialSpec + Clone>(object: &S, left: &[&Seen<'_, S::Op, S::Ret>]) -> bool {
    left.iter().all(|operation| operation.ret.is_none())
        || left.iter().enumerate().any(|(at, next)| {
            let is_possible = left.iter().all(|other| other.end >= next.call);
            let mut after = object.clone();
            let answer = after.invoke(next.op);
            let mut rest = left.to_vec();
            rest.remove(at);
            is_possible && next.ret.is_none_or(|ret| *ret == answer) && has_an_order(&after, &rest)
        })
}

fn oracle<S: SequentialSpec + Clone>(history: &History<S::Op, S::Ret>, initial: &S) -> bool {
    let all = seen(history);
    has_an_order(initial, &all.iter().collect::<Vec<_>>())
}

/// Stateright's tester. It has no unknown outcomes, but threads that stop: a client goes on as a new
/// thread after each.
fn tester<S>(history: &History<S::Op, S::Ret>, initial: &S) -> bool
where
    S: SequentialSpec + Clone,
    S::Op: Clone + std::fmt::Debug,
    S::Ret: Clone + std::fmt::Debug,
{
    let mut tester = LinearizabilityTester::new(initial.clone());
    let mut lives: BTreeMap<ClientId, u32> = BTreeMap::new();
    for event in history.events() {
        let life = lives.entry(event.client).or_default();
        match &event.kind {
            EventKind::Invoke(op) => drop(tester.on_invoke((event.client.0, *life), op.clone())),
            EventKind::Return(Outcome::Ok(ret)) => {
                drop(tester.on_return((event.client.0, *life), ret.clone()));
            }
            EventKind::Return(Outcome::Unknown) => *life += 1,
            EventKind::Return(Outcome::Fail) => unreachable!("the generator makes none"),
        }
    }
    tester.is_consistent()
}

fn verdict<S: Spec>(history: &History<S::Op, S::Ret>, initial: &S) -> bool {
    match judge(history, initial, Budget::default()).expect("generated histories are well formed") {
        Verdict::Ok => true,
        Verdict::Violation(_) => false,
        Verdict::Unknown(exhausted) => panic!("{exhausted}"),
    }
}

#[test]
fn small_histories_agree_with_every_order() {
    let mut broken = 0;
    for seed in 0..40_000 {
        let history = small(seed);
        let expected = oracle(&history, &Kv::default());
        assert_eq!(verdict(&history, &Kv::default()), expected, "seed {seed}: {:#?}", history.events());
        broken += u32::from(!expected);
    }
    assert!((5_000..30_000).contains(&broken), "{broken} of 40 000 histories are broken");
}

#[test]
fn small_histories_agree_with_stateright() {
    for seed in 0..20_000 {
        let history = small(seed);
        let expected = tester(&history, &Kv::default());
        assert_eq!(verdict(&history, &Kv::default()), expected, "seed {seed}: {:#?}", history.events());
    }
}

/// A history of a register from one of a key-value store with one key.
fn as_register(history: &History<Op, Ret>) -> History<register::Op, register::Ret> {
    let number =
        |value: &Bytes| VALUES.iter().position(|v| v.as_bytes() == &**value).map_or(9, |at| at as i64);
    let mut changed = History::default();
    for event in history.events() {
        match &event.kind {
            EventKind::Invoke(op) => {
                let op = match op {
                    Op::Put { value, .. } => register::Op::Write(number(value)),
                    Op::Cas { expected: Some(old), value, .. } => {
                        register::Op::Cas { old: number(old), new: number(value) }
                    }
                    _ => register::Op::Read,
                };
                changed.invoke(event.time, event.client, op);
            }
            EventKind::Return(outcome) => {
                let outcome = match outcome {
                    Outcome::Ok(Ret::Done) => Outcome::Ok(register::Ret::Done),
                    Outcome::Ok(Ret::Value(value)) => {
                        Outcome::Ok(register::Ret::Value(value.as_ref().map(number)))
                    }
                    Outcome::Ok(Ret::Swapped(swapped)) => Outcome::Ok(register::Ret::Swapped(*swapped)),
                    Outcome::Ok(Ret::Pairs(_)) | Outcome::Unknown => Outcome::Unknown,
                    Outcome::Fail => Outcome::Fail,
                };
                changed.complete(event.time, event.client, event.op, outcome);
            }
        }
    }
    changed
}

#[test]
fn objects_without_hints_agree_with_every_order() {
    for seed in 0..20_000 {
        let history = as_register(&small(seed));
        let expected = oracle(&history, &Register::default());
        let judged = verdict(&history, &FromSequential(Register::default()));
        assert_eq!(judged, expected, "seed {seed}: {:#?}", history.events());
    }
}

/// The key-value store as a [`Spec`], with all, some or wrong hints.
#[derive(Clone, PartialEq, Hash)]
struct Variant<const HINTS: u8>(Kv);

const NO_HINTS: u8 = 0;
const NO_HELPERS: u8 = 1;
const PUTS_ARE_READS: u8 = 2;
const FAILED_CAS_FITS: u8 = 3;
const SCANS_TOUCH_ONE_KEY: u8 = 4;

impl<const HINTS: u8> Spec for Variant<HINTS> {
    type Op = Op;
    type Ret = Ret;
    type Key = Bytes;

    fn step(&self, op: &Op, ret: Option<&Ret>) -> Option<Self> {
        match ret {
            Some(Ret::Swapped(false)) if HINTS == FAILED_CAS_FITS => Some(self.clone()),
            _ => spec::step(&self.0, op, ret).map(Self),
        }
    }

    fn keys(op: &Op) -> Keys<Bytes> {
        match op {
            _ if HINTS == NO_HINTS => Keys::One(Bytes::empty()),
            Op::Scan { .. } if HINTS == SCANS_TOUCH_ONE_KEY => Keys::One("k0".into()),
            _ => Kv::keys(op),
        }
    }

    fn is_read(op: &Op, ret: Option<&Ret>) -> bool {
        match HINTS {
            NO_HINTS => false,
            PUTS_ARE_READS => matches!(op, Op::Put { .. }) || Kv::is_read(op, ret),
            _ => Kv::is_read(op, ret),
        }
    }

    fn helpers(part: &Part<'_, Self>, _target: usize) -> Helpers {
        let unknown = if HINTS == NO_HELPERS { 0..0 } else { part.answered..part.operations.len() };
        Helpers { each: unknown.collect(), alike: Vec::new() }
    }
}

#[test]
fn longer_histories_agree_with_the_search_without_hints() {
    let (mut judged, mut broken) = (0, 0);
    for seed in 0..6_000 {
        let mut draw = Draw(seed ^ 0x10_96e5);
        let mut weight = |max: u32| draw.below(max + 1);
        let workload = Workload {
            clients: 2 + weight(3) as u16,
            operations: 15 + weight(20),
            keys: 1 + weight(2),
            mix: Mix {
                get: 1 + weight(4),
                put: weight(3),
                append: weight(2),
                delete: weight(1),
                cas: weight(3),
                scan: weight(1),
            },
            values: if weight(1) == 0 { Values::Few(VALUES) } else { Values::Unique { bytes_min: 1 } },
            unknown_per_mille: weight(150),
            flaw: match weight(2) {
                0 => Flaw::None,
                1 => Flaw::LostWrite { from: weight(20) },
                _ => Flaw::StaleRead { from: 8 + weight(12) },
            },
        };
        let mut history = generate::kv(&workload, seed);
        if seed.is_multiple_of(3) {
            history = with_a_wrong_answer(&history, &mut draw);
        }
        let plain = Variant::<NO_HINTS>(Kv::default());
        let expected = match judge(&history, &plain, Budget { steps: 400_000 }).expect("well formed") {
            Verdict::Ok => true,
            Verdict::Violation(_) => false,
            Verdict::Unknown(_) => continue,
        };
        judged += 1;
        broken += u32::from(!expected);
        assert_eq!(verdict(&history, &Kv::default()), expected, "seed {seed}: {:#?}", history.events());
    }
    assert!(judged > 5_000, "{judged} of 6 000 histories are easy enough without hints");
    assert!((500..5_000).contains(&broken), "{broken} of 6 000 histories are broken");
}

fn disagreements<const HINTS: u8>() -> usize {
    (0..2_000)
        .filter(|seed| {
            let history = small(*seed);
            verdict(&history, &Variant::<HINTS>(Kv::default())) != oracle(&history, &Kv::default())
        })
        .count()
}

#[test]
fn broken_judges_disagree() {
    assert_eq!(disagreements::<NO_HINTS>(), 0);
    assert!(disagreements::<NO_HELPERS>() > 10);
    assert!(disagreements::<PUTS_ARE_READS>() > 10);
    assert!(disagreements::<FAILED_CAS_FITS>() > 10);
    assert!(disagreements::<SCANS_TOUCH_ONE_KEY>() > 10);
}
