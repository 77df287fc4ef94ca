//! A judge that is told one event after the other must say what the judge of the whole history says.

use contract::kv::{Op, Ret};
use contract::{ClientId, Event, EventKind, History, OpId, Outcome, Time};
use seedbed_checker::generate::{self, Draw, Flaw, Mix, Values, Workload};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::{Budget, Malformed, Stream, Verdict, judge_kv};

/// Whether the history is linearizable, if that is found out, and how many operations were remembered
/// at once.
fn streamed(history: &History<Op, Ret>, mut stream: Stream<Kv>) -> (Option<bool>, usize) {
    let mut most = 0;
    for event in history.events() {
        if stream.event(event).expect("well formed").is_some() {
            return (Some(false), most);
        }
        most = most.max(stream.remembered());
    }
    match stream.finish() {
        Verdict::Ok => (Some(true), most),
        Verdict::Violation(_) => (Some(false), most),
        Verdict::Unknown(_) => (None, most),
    }
}

fn workload(draw: &mut Draw) -> Workload {
    let mut weight = |max: u32| draw.below(max + 1);
    Workload {
        clients: 1 + weight(4) as u16,
        operations: 4 + weight(30),
        keys: 1 + weight(2),
        mix: Mix {
            get: 1 + weight(4),
            put: weight(3),
            append: weight(1),
            delete: weight(1),
            cas: weight(3),
            scan: 0,
            decide: weight(1),
        },
        values: match weight(1) {
            0 => Values::Few(&["a", "b", "ab", ""]),
            _ => Values::Unique { bytes_min: 1 },
        },
        unknown_per_mille: weight(2) * weight(150),
        flaw: match weight(2) {
            0 => Flaw::None,
            1 => Flaw::LostWrite { from: weight(20) },
            _ => Flaw::StaleRead { from: 5 + weight(12) },
        },
    }
}

/// How many histories; `STREAM_HISTORIES` sets another number.
fn histories() -> u64 {
    std::env::var("STREAM_HISTORIES").map_or(30_000, |text| text.parse().expect("a number"))
}

#[test]
fn streams_agree_with_whole_histories() {
    let (mut judged, mut broken) = (0, 0);
    let all = histories();
    for seed in 0..all {
        let mut draw = Draw(seed ^ 0x57_4ea3);
        let mut workload = workload(&mut draw);
        let is_whole = draw.below(4) == 0;
        workload.mix.scan = u32::from(is_whole);
        let history = generate::kv(&workload, seed);
        let expected = match judge_kv(&history, Budget::default()).expect("well formed") {
            Verdict::Ok => true,
            Verdict::Violation(_) => false,
            Verdict::Unknown(exhausted) => panic!("{exhausted}"),
        };
        // Without a future every unknown outcome may matter, so that a few are too hard.
        let budget = Budget { steps: 20_000 };
        let stretch = 1 + draw.below(10) as usize;
        let stream = match is_whole {
            true => Stream::whole(Kv::default(), budget),
            false => Stream::by_key(Kv::default(), budget),
        };
        let stream = match draw.below(3) {
            0 => stream.with_configurations(1 + draw.below(3) as usize),
            _ => stream,
        };
        let (verdict, _) = streamed(&history, stream.with_stretch(stretch));
        let Some(verdict) = verdict else { continue };
        assert_eq!(verdict, expected, "seed {seed}: {:#?}", history.events());
        judged += 1;
        broken += u64::from(!expected);
    }
    println!("{all} histories, {judged} judged by the stream, {broken} of them broken");
    assert!(judged > all / 30 * 28, "{judged} of {all} histories are judged");
    assert!((all / 10..all / 6 * 5).contains(&broken), "{broken} of {all} histories are broken");
}

/// As those of a whole history are; but operations may be left out.
#[test]
fn malformed_events_are_refused() {
    let mut stream = Stream::by_key(Kv::default(), Budget::default());
    let mut event = |time: u64, client: u16, op: u32, outcome: Option<Outcome<Ret>>| {
        let get = || EventKind::Invoke(Op::Get { key: "k".into() });
        let kind = outcome.map_or_else(get, EventKind::Return);
        let told = stream.event(&Event { time: Time(time), client: ClientId(client), op: OpId(op), kind });
        told.map(|violation| assert_eq!(violation, None))
    };
    let nothing = || Some(Outcome::Ok(Ret::Value(None)));
    assert_eq!(event(5, 1, 3, None), Ok(()));
    assert_eq!(event(5, 2, 4, None), Ok(()), "at the same time");
    let (op, open) = (OpId(5), OpId(3));
    assert_eq!(event(5, 1, 5, None), Err(Malformed::Busy { event: 2, client: ClientId(1), op, open }));
    assert_eq!(event(4, 3, 6, None), Err(Malformed::Backwards { event: 3 }));
    assert_eq!(event(6, 3, 4, None), Err(Malformed::InvokedTwice { event: 4, op: OpId(4) }));
    let not_awaited = Malformed::NotAwaited { event: 5, client: ClientId(1), op: OpId(4) };
    assert_eq!(event(6, 1, 4, nothing()), Err(not_awaited));
    assert_eq!(event(6, 1, 3, nothing()), Ok(()));
}

#[test]
fn what_is_judged_is_forgotten() {
    let workload = Workload {
        clients: 10,
        operations: 20_000,
        keys: 5,
        mix: Mix { get: 50, put: 40, append: 0, delete: 5, cas: 5, scan: 0, decide: 0 },
        values: Values::Unique { bytes_min: 1 },
        unknown_per_mille: 0,
        flaw: Flaw::None,
    };
    let history = generate::kv(&workload, 1);
    let (verdict, most) = streamed(&history, Stream::by_key(Kv::default(), Budget::default()));
    assert_eq!(verdict, Some(true));
    assert!((10..1_000).contains(&most), "{most} operations were remembered at once");
}

/// Twelve rounds, in each of which two writes get no answer and a refused compare-and-set shows that one of those
/// so far took effect; then a read.
fn unseen(last: &str) -> History<Op, Ret> {
    let mut history = History::default();
    let mut now = Time::ZERO;
    let mut done = |client: u16, op: Op, outcome: Outcome<Ret>| {
        now.0 += 2;
        let id = history.invoke(Time(now.0 - 1), ClientId(client), op);
        history.complete(now, ClientId(client), id, outcome);
    };
    let put = |value: String| Op::Put { key: "k".into(), value: value.as_str().into() };
    for round in 0..12 {
        let value = format!("v{round}");
        done(1, put(value.clone()), Outcome::Ok(Ret::Done));
        done(2, put(format!("a{round}")), Outcome::Unknown);
        done(3, put(format!("b{round}")), Outcome::Unknown);
        let swap = Op::Cas { key: "k".into(), expected: Some(value.as_str().into()), value: "w".into() };
        done(1, swap, Outcome::Ok(Ret::Swapped(false)));
    }
    done(1, put("v".to_owned()), Outcome::Ok(Ret::Done));
    done(1, Op::Get { key: "k".into() }, Outcome::Ok(Ret::Value(Some(last.into()))));
    history
}

/// Which of the writes took effect stays open in ever more ways: some of them are enough for an order, and all are
/// needed for none.
#[test]
fn what_took_effect_unseen_does_not_add_up() {
    let judged = |last: &str, configurations: usize| {
        let stream = Stream::by_key(Kv::default(), Budget { steps: 100_000 }).with_stretch(4);
        let (verdict, most) = streamed(&unseen(last), stream.with_configurations(configurations));
        assert!((20..40).contains(&most), "{most} operations were remembered at once");
        verdict
    };
    assert_eq!(judged("v", usize::MAX), None, "all ways are too many");
    assert_eq!(judged("v", 4), Some(true));
    assert_eq!(judged("b11", 4), Some(true), "what is new was not used up");
    assert_eq!(judged("a0", 4), None, "what is old was, in all ways that are left as they were");
    assert_eq!(judged("x", 4), Some(false), "no way leads to what nobody wrote");
}
