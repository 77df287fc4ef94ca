//! What a scenario expects of a run's numbers, and the rows that differ in it.

use seedbed_testbed::scenario::Scenario;
use seedbed_testbed::{RunOptions, Seed, Verdict, run};

const TEXT: &str = r#"
name = "cut"
[cluster]
nodes = 3
[[fault]]
name = "alone"
kind = "partition"
at = "2s"
for = "2s"
groups = [["n1"], ["n2"], ["n3"]]
[budget]
time = "5s"
[[row]]
name = "quiet"
set = { "fault.alone.enabled" = false }
expect = [{ name = "never-silent", that = "answered >= 100", from = "2s", until = "4s" }]
[[row]]
name = "cut-off"
expect = [{ name = "nothing-without-a-majority", that = "answered == 0", from = "2100ms", until = "4s" }]
"#;

fn verdict(row: &str, set: &[&str]) -> Verdict {
    let set: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
    let scenario = Scenario::parse_row("cut.toml", TEXT, &set, Some(row)).unwrap_or_else(|e| panic!("{e}"));
    run(&scenario.plan(Seed(3), None).expect("a plan"), RunOptions::default()).report.verdict
}

#[test]
fn an_expectation_holds_or_is_a_finding_of_its_own() {
    assert_eq!(verdict("quiet", &[]), Verdict::Ok);
    assert_eq!(verdict("cut-off", &[]), Verdict::Ok);
    let Verdict::Violation(finding) = verdict("cut-off", &["fault.alone.enabled=false"]) else {
        panic!("without the partition much is answered")
    };
    assert_eq!(finding.signature, "expect/nothing-without-a-majority");
    assert!(finding.message.contains("expected answered == 0 from 2.1"), "{}", finding.message);
    let Verdict::Violation(finding) = verdict("quiet", &["fault.alone.enabled=true"]) else {
        panic!("cut off, they answer nothing")
    };
    assert_eq!(finding.signature, "expect/never-silent");
}

/// What a leader had that was cut off goes, whether an entry takes its place or a record says where the log ends.
#[test]
fn a_log_that_is_cut_is_counted() {
    for protocol in ["raft", "zab"] {
        let text = format!(
            r#"
name = "overthrown"
[cluster]
nodes = 3
protocol = "{protocol}"
[[workload]]
rate = 500.0
mix = {{ put = 1.0 }}
[[fault]]
kind = "partition"
at = "2s"
for = "2s"
groups = [["@leader"], ["*"]]
[[expect]]
name = "cut"
that = "logs-truncated == 1"
[budget]
time = "6s"
"#
        );
        let scenario = Scenario::parse("overthrown.toml", &text, &[]).unwrap_or_else(|e| panic!("{e}"));
        let plan = scenario.plan(Seed(2), None).expect("a plan");
        assert_eq!(run(&plan, RunOptions::default()).report.verdict, Verdict::Ok, "{protocol}");
    }
}

#[test]
fn rows_are_scenarios_of_their_own() {
    let rows = Scenario::parse_all("cut.toml", TEXT, &[]).expect("two rows");
    let names: Vec<String> = rows.iter().map(Scenario::name).collect();
    assert_eq!(names, ["cut/quiet", "cut/cut-off"]);
    let again = rows[0].source().parse().expect("it was one");
    assert_eq!(again.plan(Seed(1), None).expect("a plan"), rows[0].plan(Seed(1), None).expect("a plan"));
}

#[test]
fn errors_of_rows_and_expectations_name_the_place() {
    let told = |text: &str, row: Option<&str>| {
        Scenario::parse_row("x.toml", text, &[], row).expect_err("an error").to_string()
    };
    assert!(told(TEXT, None).contains("the scenario has 2 rows, and none is named"));
    assert!(told(TEXT, Some("quite")).contains("did you mean `quiet`?"));
    let twice = format!("{TEXT}[[row]]\nname = \"quiet\"\n");
    assert!(told(&twice, Some("quiet")).contains("another row is named `quiet` too"));
    let claim = "name = \"x\"\n[[expect]]\nname = \"y\"\nthat = \"anwsered == 0\"\n";
    let error = told(claim, None);
    assert!(error.contains("x.toml:4") && error.contains("did you mean `answered`?"), "{error}");
    let path = "name = \"x\"\n[[row]]\nname = \"y\"\nset = { \"net.los\" = 0.1 }\n";
    let error = told(path, Some("y"));
    assert!(error.contains("x.toml:4") && error.contains("did you mean `loss`?"), "{error}");
}
