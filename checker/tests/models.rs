//! Every model on random small histories: the verdict is that of trying all orders.
//!
//! A history comes from clients that work on one atomic object, some of whom never learn how their
//! operation ended; in half of the histories one answer is replaced by another that somebody was given.

use std::fmt::Display;

use contract::{ClientId, EventKind, History, OpId, Outcome, Time};
use seedbed_checker::generate::Draw;
use seedbed_checker::models::answer::{Answer, Datum};
use seedbed_checker::models::any_of::AnyOf;
use seedbed_checker::models::consensus::{self, Consensus};
use seedbed_checker::models::counter::{self, Counter};
use seedbed_checker::models::keyed::{self, Keyed};
use seedbed_checker::models::lock::{self, Lock};
use seedbed_checker::models::log::{self, Log};
use seedbed_checker::models::queue::{self, Queue};
use seedbed_checker::models::register::{self, Register};
use seedbed_checker::models::set::{self, Set};
use seedbed_checker::models::unordered_queue::UnorderedQueue;
use seedbed_checker::{Budget, Spec, Verdict, judge};
use stateright::semantics::SequentialSpec;

const HISTORIES: u64 = 4_000;
const CLIENTS: u32 = 3;
const OPERATIONS: usize = 7;

/// Where a client is with its operation.
enum Client<O, R> {
    Idle,
    Waiting(OpId, O),
    Served(OpId, R),
}

/// What clients of an object saw.
fn history<S, O: Clone, R: Clone>(
    draw: &mut Draw,
    mut object: S,
    ask: impl Fn(&mut Draw) -> O,
    serve: impl Fn(&mut S, &O, &mut Draw) -> R,
) -> History<O, R> {
    let mut history = History::default();
    let mut clients: Vec<Client<O, R>> = (0..CLIENTS).map(|_| Client::Idle).collect();
    let is_idle = |client: &Client<O, R>| matches!(client, Client::Idle);
    while history.operations() < OPERATIONS || !clients.iter().all(is_idle) {
        let now = Time(history.events().len() as u64);
        let slot = draw.below(CLIENTS) as usize;
        let id = ClientId(slot as u16);
        clients[slot] = match std::mem::replace(&mut clients[slot], Client::Idle) {
            Client::Idle if history.operations() < OPERATIONS => {
                let op = ask(draw);
                Client::Waiting(history.invoke(now, id, op.clone()), op)
            }
            Client::Waiting(op_id, op) if draw.below(5) == 0 => {
                if draw.below(2) == 0 {
                    serve(&mut object, &op, draw);
                }
                history.complete(now, id, op_id, Outcome::Unknown);
                Client::Idle
            }
            Client::Waiting(op_id, op) => Client::Served(op_id, serve(&mut object, &op, draw)),
            Client::Served(op_id, ret) => {
                history.complete(now, id, op_id, Outcome::Ok(ret));
                Client::Idle
            }
            Client::Idle => Client::Idle,
        };
    }
    history
}

/// The history with one answer replaced by that to another operation.
fn mutated<O: Clone, R: Clone>(history: &History<O, R>, draw: &mut Draw) -> History<O, R> {
    let answers: Vec<(OpId, R)> = history.events().iter().filter_map(answer).collect();
    if answers.is_empty() {
        return history.clone();
    }
    let mut pick = || &answers[draw.below(answers.len() as u32) as usize];
    let (broken, other) = (pick().0, pick().1.clone());
    let mut copy = History::default();
    for event in history.events() {
        match &event.kind {
            EventKind::Invoke(op) => drop(copy.invoke(event.time, event.client, op.clone())),
            EventKind::Return(Outcome::Ok(_)) if event.op == broken => {
                copy.complete(event.time, event.client, event.op, Outcome::Ok(other.clone()));
            }
            EventKind::Return(outcome) => {
                copy.complete(event.time, event.client, event.op, outcome.clone());
            }
        }
    }
    copy
}

fn answer<O, R: Clone>(event: &contract::Event<O, R>) -> Option<(OpId, R)> {
    match &event.kind {
        EventKind::Return(Outcome::Ok(ret)) => Some((event.op, ret.clone())),
        _ => None,
    }
}

/// An operation, its answer, and the events between which it took effect.
type Tried<'h, O, R> = (&'h O, Option<&'h R>, usize, usize);

/// Whether some order explains all answers.
fn has_order<S: Spec>(history: &History<S::Op, S::Ret>, initial: &S) -> bool {
    let mut operations: Vec<Tried<'_, S::Op, S::Ret>> = Vec::new();
    for (at, event) in history.events().iter().enumerate() {
        match &event.kind {
            EventKind::Invoke(op) => operations.push((op, None, at, usize::MAX)),
            EventKind::Return(Outcome::Ok(ret)) => {
                let operation = &mut operations[event.op.0 as usize];
                (operation.1, operation.3) = (Some(ret), at);
            }
            EventKind::Return(_) => {}
        }
    }
    can_go_on(initial, &operations)
}

fn can_go_on<S: Spec>(state: &S, left: &[Tried<'_, S::Op, S::Ret>]) -> bool {
    if left.iter().all(|(_, ret, ..)| ret.is_none()) {
        return true;
    }
    let first_end = left.iter().map(|(.., end)| *end).min().expect("something is left");
    (0..left.len()).filter(|next| left[*next].2 < first_end).any(|next| {
        let (op, ret, ..) = left[next];
        state.step(op, ret).is_some_and(|after| {
            let rest: Vec<_> = left[..next].iter().chain(&left[next + 1..]).copied().collect();
            can_go_on(&after, &rest)
        })
    })
}

/// Judges random histories of a model in both ways.
fn agree<S>(
    initial: &S,
    ask: impl Fn(&mut Draw) -> S::Op,
    serve: impl Fn(&mut S, &S::Op, &mut Draw) -> S::Ret,
) where
    S: Spec<Op: Clone, Ret: Clone + Display>,
{
    let mut broken = 0;
    for seed in 0..HISTORIES {
        let mut draw = Draw(seed);
        let sound = history(&mut draw, initial.clone(), &ask, &serve);
        let history = if seed % 2 == 0 { sound } else { mutated(&sound, &mut draw) };
        let verdict = judge(&history, initial, Budget::default()).expect("a well-formed history");
        let shown = || history.events().iter().map(|event| format!("\n{event}")).collect::<String>();
        match (has_order(&history, initial), &verdict) {
            (true, Verdict::Ok) => {}
            (false, Verdict::Violation(_)) if seed % 2 == 1 => broken += 1,
            (expected, verdict) => panic!("seed {seed}: order {expected}, {verdict}{}", shown()),
        }
    }
    assert!(broken > HISTORIES / 20, "only {broken} histories were broken");
}

/// The object's own answer.
fn own<S: SequentialSpec>(object: &mut S, op: &S::Op, _draw: &mut Draw) -> S::Ret {
    object.invoke(op)
}

/// The object's own answer, or only that it was done.
fn own_or_done<S: SequentialSpec<Ret = Answer>>(object: &mut S, op: &S::Op, draw: &mut Draw) -> Answer {
    match object.invoke(op) {
        Answer::Flag(_) | Answer::Value(_) if draw.below(3) == 0 => Answer::Done,
        ret => ret,
    }
}

fn item(draw: &mut Draw) -> Datum {
    match draw.below(3) {
        0 => Datum::from("x"),
        number => Datum::from(i64::from(number)),
    }
}

fn register_op(draw: &mut Draw) -> register::Op {
    let mut number = || i64::from(draw.below(3));
    match number() {
        0 => register::Op::Read,
        1 => register::Op::Write(number()),
        _ => register::Op::Cas { old: number(), new: number() },
    }
}

fn queue_op(draw: &mut Draw) -> queue::Op {
    if draw.below(2) == 0 { queue::Op::Dequeue } else { queue::Op::Enqueue(item(draw)) }
}

#[test]
fn registers() {
    agree(&Register::default(), register_op, own);
}

#[test]
fn registers_by_key() {
    let ask = |draw: &mut Draw| keyed::Op { key: item(draw), op: register_op(draw) };
    agree(&Keyed::all(Register(Some(1))), ask, |objects, op, _| {
        let rets = match op.op {
            register::Op::Read => {
                (-1..3).map(|n| register::Ret::Value(Some(n).filter(|n| *n >= 0))).collect()
            }
            register::Op::Write(_) => vec![register::Ret::Done],
            register::Op::Cas { .. } => vec![register::Ret::Swapped(true), register::Ret::Swapped(false)],
        };
        let mut possible = rets.into_iter().filter_map(|ret| Some((objects.step(op, Some(&ret))?, ret)));
        let (after, ret) = possible.next().expect("a register has an answer");
        *objects = after;
        ret
    });
}

#[test]
fn consensus() {
    let ask = |draw: &mut Draw| match draw.below(3) {
        0 => consensus::Op::Read,
        1 => consensus::Op::Write(item(draw)),
        _ => consensus::Op::Propose(item(draw)),
    };
    agree(&Consensus::default(), ask, own);
}

#[test]
fn counters() {
    let ask = |draw: &mut Draw| match draw.below(3) {
        0 => counter::Op::Read,
        1 => counter::Op::Add(i64::from(draw.below(4)) - 1),
        _ => counter::Op::AddAndGet(i64::from(draw.below(4)) - 1),
    };
    agree(&Counter(3), ask, own);
}

#[test]
fn sets() {
    let ask = |draw: &mut Draw| match draw.below(4) {
        0 => set::Op::Read,
        1 => set::Op::Add(item(draw)),
        2 => set::Op::Remove(item(draw)),
        _ => set::Op::Contains(item(draw)),
    };
    let serve = |set: &mut Set, op: &set::Op, draw: &mut Draw| match op {
        set::Op::Contains(_) => set.invoke(op),
        _ => own_or_done(set, op, draw),
    };
    agree(&Set::default(), ask, serve);
}

#[test]
fn queues() {
    agree(&Queue::default(), queue_op, own);
}

#[test]
fn unordered_queues() {
    let serve = |queue: &mut AnyOf<UnorderedQueue>, op: &queue::Op, draw: &mut Draw| {
        let mut rets = vec![Answer::Done, Answer::Value(None)];
        let items = [Datum::from("x"), Datum::from(1), Datum::from(2)];
        rets.extend(items.into_iter().map(|item| Answer::Value(Some(item))));
        rets.rotate_left(draw.below(5) as usize);
        let mut possible = rets.into_iter().filter_map(|ret| Some((queue.step(op, Some(&ret))?, ret)));
        let (after, ret) = possible.next().expect("a queue has an answer");
        *queue = after;
        ret
    };
    agree(&AnyOf::certain(UnorderedQueue::default()), queue_op, serve);
}

#[test]
fn locks() {
    let ask = |draw: &mut Draw| {
        let name = if draw.below(4) == 0 { None } else { Some(item(draw)) };
        if draw.below(2) == 0 { lock::Op::Acquire(name) } else { lock::Op::Release(name) }
    };
    agree(&Lock::default(), ask, own);
}

#[test]
fn logs() {
    let ask = |draw: &mut Draw| match draw.below(3) {
        0 => log::Op::Read,
        1 => log::Op::ReadAt(draw.below(3)),
        _ => log::Op::Append(item(draw)),
    };
    let serve = |log: &mut Log, op: &log::Op, draw: &mut Draw| match op {
        log::Op::Append(_) => own_or_done(log, op, draw),
        _ => log.invoke(op),
    };
    agree(&Log::default(), ask, serve);
}
