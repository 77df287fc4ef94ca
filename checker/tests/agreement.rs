//! The search leaves out much of what is possible. Here it must agree, on tens of thousands of small
//! histories, with an oracle that tries every order, and with stateright's tester; and on longer ones
//! with itself when it leaves out nothing. Judges that are broken on purpose must be found out.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::LazyLock;

use contract::kv::{Op, Ret};
use contract::{Bytes, ClientId, EventKind, History, OpId, Outcome};
use seedbed_checker::generate::{self, Draw, Flaw, Mix, Values, Workload};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::models::register::{self, Register};
use seedbed_checker::parts::Part;
use seedbed_checker::spec::{self, Helpers};
use seedbed_checker::{
    Budget, Content, FromSequential, Keys, RegisterOp, Spec, Stream, Verdict, judge, witness,
};
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
            decide: weight(1),
        },
        values: Values::Few(&VALUES[..2 + weight(2) as usize]),
        unknown_per_mille: weight(500),
        flaw: Flaw::None,
    };
    let history = generate::kv(&workload, seed);
    if seed.is_multiple_of(2) { history } else { with_a_wrong_answer(&history, &mut draw) }
}

/// The `seed`th small history of one register in which most values have one writer.
fn small_register(seed: u64) -> History<Op, Ret> {
    let mut draw = Draw(seed ^ 0x0ce1);
    let mut weight = |max: u32| draw.below(max + 1);
    let appends = weight(2);
    let workload = Workload {
        clients: 2 + weight(2) as u16,
        operations: 4 + weight(4),
        keys: 1,
        mix: Mix {
            get: 1 + weight(4),
            put: weight(3),
            append: if appends == 0 { weight(3) } else { 0 },
            delete: u32::from(weight(7) == 0),
            cas: weight(3),
            scan: 0,
            decide: u32::from(weight(7) == 0),
        },
        values: Values::Unique { bytes_min: 1 },
        unknown_per_mille: weight(500),
        flaw: Flaw::None,
    };
    let history = generate::kv(&workload, seed);
    if seed.is_multiple_of(2) { history } else { with_another_value(&history, &mut draw) }
}

/// Replaces one observed answer by something else that was read or written.
fn with_another_value(history: &History<Op, Ret>, draw: &mut Draw) -> History<Op, Ret> {
    let mut known: Vec<Option<Bytes>> = vec![None];
    for event in history.events() {
        match &event.kind {
            EventKind::Invoke(Op::Put { value, .. } | Op::Append { value, .. } | Op::Cas { value, .. }) => {
                known.push(Some(value.clone()));
            }
            EventKind::Return(Outcome::Ok(Ret::Value(value))) => known.push(value.clone()),
            _ => {}
        }
    }
    let one = |draw: &mut Draw| known[draw.below(known.len() as u32) as usize].clone();
    let mut wrong = one(draw);
    if draw.below(4) == 0 {
        let both: Vec<Bytes> = [wrong, one(draw)].into_iter().flatten().collect();
        wrong = Some(both.iter().flat_map(|value| value.to_vec()).collect::<Vec<u8>>().into());
    }
    with_answers(history, draw, |ret, _| match ret {
        Ret::Swapped(swapped) => *swapped = !*swapped,
        _ => *ret = Ret::Value(wrong.clone()),
    })
}

/// Replaces one observed answer by another one.
fn with_a_wrong_answer(history: &History<Op, Ret>, draw: &mut Draw) -> History<Op, Ret> {
    let value = |draw: &mut Draw| -> Option<Bytes> {
        let values = ["a", "b", "ab", "", "aba", "bb"];
        values.get(draw.below(values.len() as u32 + 1) as usize).map(|text| (*text).into())
    };
    with_answers(history, draw, |ret, draw| match ret {
        Ret::Swapped(swapped) => *swapped = !*swapped,
        Ret::Pairs(pairs) => {
            let keys = ["k0", "k1"].into_iter();
            *pairs = keys.filter_map(|key| Some((key.into(), value(draw)?))).collect();
        }
        _ => *ret = Ret::Value(value(draw)),
    })
}

/// Changes one observed answer.
fn with_answers(
    history: &History<Op, Ret>,
    draw: &mut Draw,
    mut change: impl FnMut(&mut Ret, &mut Draw),
) -> History<Op, Ret> {
    let is_observed = |kind: &EventKind<Op, Ret>| {
        matches!(kind, EventKind::Return(Outcome::Ok(Ret::Value(_) | Ret::Swapped(_) | Ret::Pairs(_))))
    };
    let observed = history.events().iter().filter(|event| is_observed(&event.kind)).count();
    let wrong = draw.below(observed.max(1) as u32) as usize;
    let mut seen = 0;
    let mut changed = History::default();
    for event in history.events() {
        let mut kind = event.kind.clone();
        if let EventKind::Return(Outcome::Ok(ret)) = &mut kind
            && is_observed(&event.kind)
        {
            if seen == wrong {
                change(ret, draw);
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
fn small_registers_agree_with_every_order() {
    let mut broken = 0;
    for seed in 0..60_000 {
        let history = small_register(seed);
        let expected = oracle(&history, &Kv::default());
        assert_eq!(verdict(&history, &Kv::default()), expected, "seed {seed}: {:#?}", history.events());
        broken += u32::from(!expected);
    }
    assert!((10_000..50_000).contains(&broken), "{broken} of 60 000 histories are broken");
}

/// However a violation was found, what it calls failing is the first return that no order reaches, and the order
/// that it shows reaches it.
#[test]
fn the_failing_operation_is_the_first_that_no_order_reaches() {
    for seed in 0..20_000 {
        let history = small_register(seed);
        let Ok(Verdict::Violation(violation)) = judge(&history, &Kv::default(), Budget::default()) else {
            continue;
        };
        // What was refused had no effect, though before its return nobody knew: so another may fail earlier.
        let lost = |id, decided: &Option<Bytes>| {
            let is_it = |event: &&contract::Event<Op, Ret>| event.op == id;
            let event = history.events().iter().find(is_it).expect("what returned was invoked");
            let EventKind::Invoke(Op::Decide { value, .. }) = &event.kind else { return false };
            decided.as_ref() != Some(value)
        };
        let is_refused = |event: &contract::Event<Op, Ret>| match &event.kind {
            EventKind::Return(Outcome::Ok(Ret::Swapped(swapped))) => !swapped,
            EventKind::Return(Outcome::Ok(Ret::Value(decided))) => lost(event.op, decided),
            _ => false,
        };
        if violation.reason.kind != "no-order" || history.events().iter().any(is_refused) {
            continue;
        }
        let is_end = |event: &&contract::Event<Op, Ret>| {
            event.op == violation.failing && matches!(event.kind, EventKind::Return(_))
        };
        let mut prefix = History::default();
        for event in history.events() {
            if is_end(&event) {
                assert!(oracle(&prefix, &Kv::default()), "seed {seed}: {:#?}", history.events());
                // What it shows as placed is such an order.
                let is_order = witness(&prefix, &Kv::default(), &violation.placed).expect("well formed");
                assert!(is_order, "seed {seed}: {:?} of {:#?}", violation.placed, history.events());
            }
            match &event.kind {
                EventKind::Invoke(op) => drop(prefix.invoke(event.time, event.client, op.clone())),
                EventKind::Return(outcome) => {
                    prefix.complete(event.time, event.client, event.op, outcome.clone());
                }
            }
            if is_end(&event) {
                assert!(!oracle(&prefix, &Kv::default()), "seed {seed}: {:#?}", history.events());
            }
        }
    }
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
/// All hints of the store but that its keys are registers: what is left is the search.
const NO_REGISTERS: u8 = 5;
const UNKNOWN_SWAPS_HAPPEN: u8 = 6;
const REFUSALS_SAY_NOTHING: u8 = 7;
const APPENDS_OVERWRITE: u8 = 8;

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

    fn keys(op: &Op) -> Keys<&Bytes> {
        static ONE: LazyLock<Bytes> = LazyLock::new(|| "k0".into());
        match op {
            _ if HINTS == NO_HINTS => Keys::One(&ONE),
            Op::Scan { .. } if HINTS == SCANS_TOUCH_ONE_KEY => Keys::One(&ONE),
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

    fn register_op<'a>(op: &'a Op, ret: Option<&'a Ret>) -> Option<RegisterOp<'a>> {
        let right = Kv::register_op(op, ret)?;
        match (HINTS, right) {
            (UNKNOWN_SWAPS_HAPPEN, RegisterOp::Swap { new, .. }) if ret.is_none() => {
                Some(RegisterOp::Write(new))
            }
            (REFUSALS_SAY_NOTHING, RegisterOp::Refused { .. }) => {
                Some(RegisterOp::Refused { old: Content::Number(7) })
            }
            (APPENDS_OVERWRITE, RegisterOp::Append(bytes)) => Some(RegisterOp::Write(Content::Bytes(bytes))),
            (UNKNOWN_SWAPS_HAPPEN | REFUSALS_SAY_NOTHING | APPENDS_OVERWRITE, right) => Some(right),
            _ => None,
        }
    }

    fn register(&self, key: &Bytes) -> Option<Content<'_>> {
        self.0.register(key)
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
                decide: weight(1),
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
    (0..4_000)
        .filter(|seed| {
            let history = if *seed < 2_000 { small(*seed) } else { small_register(*seed) };
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
    assert_eq!(disagreements::<NO_REGISTERS>(), 0);
    assert!(disagreements::<UNKNOWN_SWAPS_HAPPEN>() > 5);
    assert!(disagreements::<REFUSALS_SAY_NOTHING>() > 10);
    assert!(disagreements::<APPENDS_OVERWRITE>() > 10);
}

/// What every algorithm says of one history; all must say the same.
fn all_verdicts(seed: u64) -> Vec<(&'static str, bool)> {
    let history = if seed.is_multiple_of(2) { small(seed / 2) } else { small_register(seed / 2) };
    let mut stream = Stream::whole(Kv::default(), Budget::default()).with_stretch(1 + seed as usize % 3);
    let is_refuted = history.events().iter().any(|event| stream.event(event).expect("well formed").is_some());
    vec![
        ("every order", oracle(&history, &Kv::default())),
        ("stateright", tester(&history, &Kv::default())),
        ("the judge", verdict(&history, &Kv::default())),
        ("the search", verdict(&history, &Variant::<NO_REGISTERS>(Kv::default()))),
        ("the search without hints", verdict(&history, &Variant::<NO_HINTS>(Kv::default()))),
        ("the stream", !is_refuted && stream.finish() == Verdict::Ok),
    ]
}

fn assert_agreement(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let verdicts = all_verdicts(seed);
        assert!(verdicts.iter().all(|(_, verdict)| *verdict == verdicts[0].1), "seed {seed}: {verdicts:?}");
    }
}

#[test]
fn all_algorithms_agree() {
    assert_agreement(0..20_000);
}

/// `AGREEMENT_SEEDS=FROM..TO cargo test --release -p seedbed-checker --test agreement -- --ignored`; a
/// million without the variable.
#[test]
#[ignore = "takes minutes"]
fn all_algorithms_agree_on_a_million_histories() {
    let range = std::env::var("AGREEMENT_SEEDS").unwrap_or_else(|_| "0..1000000".to_owned());
    let (from, to) = range.split_once("..").expect("FROM..TO");
    assert_agreement(from.parse().expect("a number")..to.parse().expect("a number"));
}
