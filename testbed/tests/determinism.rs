//! The same plan gives the same digest, whatever ran before and on whatever thread.

use std::path::Path;

use seedbed_testbed::scenario::Scenario;
use seedbed_testbed::sweep::Tally;
use seedbed_testbed::{Report, RunOptions, Seed, run};

fn report(seed: u64) -> Report {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/quickstart.toml");
    let text = std::fs::read_to_string(path).expect("the scenario is there");
    let overrides = ["budget.time=20s".to_owned(), "check.liveness.operations=1".to_owned()];
    let scenario =
        Scenario::parse("quickstart.toml", &text, &overrides).expect("the scenario is well formed");
    run(&scenario.plan(Seed(seed), None).expect("it can be planned"), RunOptions::default()).report
}

fn whole(report: &Report) -> String {
    serde_json::to_string(report).expect("a report is plain data")
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let first = report(1);
    let other = report(2);
    let again = report(1);
    assert_eq!(whole(&first), whole(&again), "the same seed after another one");
    assert_ne!(first.digest, other.digest, "another seed is another run");
}

#[test]
fn a_sweep_is_a_sum_in_any_order() {
    let reports: Vec<_> = (1..=3).map(report).collect();
    let tally = |order: [usize; 3]| {
        let (mut first, mut second) = (Tally::default(), Tally::default());
        first.add(&reports[order[0]]);
        second.add(&reports[order[1]]);
        second.add(&reports[order[2]]);
        first.merge(second);
        first
    };
    assert_eq!(tally([0, 1, 2]), tally([2, 0, 1]));
    assert_ne!(tally([0, 1, 2]).digest, tally([0, 1, 1]).digest, "another run is another sum");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test is about threads")]
fn threads_do_not_matter() {
    let alone = whole(&report(3));
    let beside: Vec<_> = (0..2).map(|_| std::thread::spawn(|| whole(&report(3)))).collect();
    for thread in beside {
        assert_eq!(thread.join().expect("the run ends"), alone);
    }
}
