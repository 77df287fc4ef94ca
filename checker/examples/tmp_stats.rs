use contract::kv::{Op, Ret};
use seedbed_checker::generate::{self, Flaw, Mix, Values, Workload};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::spec::Whole;
use seedbed_checker::{Keys, Spec};
#[derive(Clone, PartialEq, Hash)]
struct Undivided(Kv);
impl Spec for Undivided {
    type Op = Op; type Ret = Ret; type Key = Whole;
    fn step(&self, op: &Op, ret: Option<&Ret>) -> Option<Self> { self.0.step(op, ret).map(Self) }
    fn keys(_op: &Op) -> Keys<&Whole> { Keys::One(&Whole) }
    fn is_read(op: &Op, ret: Option<&Ret>) -> bool { Kv::is_read(op, ret) }
}
fn main() {
    let w = Workload { clients: 10, operations: 10_000, keys: 10, mix: Mix { get: 50, put: 50, append: 0, delete: 0, cas: 0, scan: 0 },
        values: Values::Unique { bytes_min: 1 }, unknown_per_mille: 0, flaw: Flaw::StaleRead { from: 9_800 } };
    for seed in 1..=3 {
        let h = generate::kv(&w, seed);
        let init = Undivided(Kv::default());
        let parts = seedbed_checker::division::split(&h, &init).unwrap();
        let mut s = seedbed_checker::linearizability::Search::new(&parts[0], &init);
        let t = std::time::Instant::now();
        let st = s.run(u64::MAX);
        println!("{st:?} steps {} states {} bytes {} front {} {:?} {}", s.steps(), s.states(), s.state_bytes(), s.front(), t.elapsed(), s.stats());
    }
}
