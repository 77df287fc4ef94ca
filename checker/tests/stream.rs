//! A judge that is told one event after the other must say what the judge of the whole history says.

use contract::History;
use contract::kv::{Op, Ret};
use seedbed_checker::generate::{self, Draw, Flaw, Mix, Values, Workload};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::{Budget, Stream, Verdict, judge_kv};

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
