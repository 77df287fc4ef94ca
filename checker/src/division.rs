//! A history divided into parts that are judged alone.
//!
//! Linearizability is local (Herlihy & Wing, theorem 1): a history is linearizable if and only if
//! its restriction to each object is. Keys are such objects as long as no operation touches several
//! of them; those that one operation touches together (a scan) are joined into one part.
//!
//! A long history does not fit into the caches of a processor. So it is walked through once: what each
//! operation does to a register is written down in numbers while its events are near. That is all that
//! `zones` needs; a part's operations are gathered only if somebody asks for them.

use std::cell::OnceCell;
use std::hash::{Hash, Hasher};

use contract::{Event, History, OpId};

use crate::cache::{Table, Words};
use crate::origins::Register;
use crate::parts::{Interval, Malformed, NEVER, Operation, Part, walk};
use crate::spec::{Keys, Spec};

/// A part in outline.
pub(crate) struct Outline<'h, S: Spec> {
    events: &'h [Event<S::Op, S::Ret>],
    /// The keys that it touches, in order.
    keys: Vec<S::Key>,
    /// Per operation, in the order of [`Part::operations`].
    pub(crate) intervals: Vec<Interval>,
    /// What the operations do, if they are about one register.
    pub(crate) register: Option<Register<'h>>,
    part: OnceCell<Part<'h, S>>,
}

impl<'h, S: Spec> Outline<'h, S> {
    /// How many operations were answered: they come first.
    pub(crate) fn answered(&self) -> usize {
        self.intervals.partition_point(|interval| interval.end != NEVER)
    }

    /// The part itself.
    pub(crate) fn part(&self) -> &Part<'h, S> {
        self.part.get_or_init(|| {
            let operations = self.intervals.iter().map(|interval| Operation::between(self.events, *interval));
            Part::new(self.keys.clone(), operations.collect(), self.answered())
        })
    }

    /// Some of its operations, by their places, in order.
    pub(crate) fn some(&self, places: &[u32]) -> Part<'h, S> {
        let operations: Vec<_> = places.iter().map(|place| self.operation(*place)).collect();
        let answered = operations.partition_point(Operation::is_answered);
        Part::new(self.keys.clone(), operations, answered)
    }

    /// The operation at a place. Once the part is gathered it alone says what an operation is: its interval
    /// may have been changed, and then it is no longer where its events are.
    fn operation(&self, place: u32) -> Operation<'h, S::Op, S::Ret> {
        match self.part.get() {
            Some(part) => part.operations[place as usize],
            None => Operation::between(self.events, self.intervals[place as usize]),
        }
    }

    /// The number of the operation at a place.
    pub(crate) fn id(&self, place: u32) -> OpId {
        self.operation(place).id
    }

    fn into_part(self) -> Part<'h, S> {
        self.part();
        self.part.into_inner().expect("it was just asked for")
    }

    /// Gives each operation another interval; their order must stay the same.
    pub(crate) fn with_intervals(
        mut self,
        other: impl Fn(&Operation<'h, S::Op, S::Ret>) -> Interval,
    ) -> Self {
        self.part();
        let part = self.part.get_mut().expect("it was just asked for");
        for (operation, interval) in part.operations.iter_mut().zip(&mut self.intervals) {
            *interval = other(operation);
            (operation.call, operation.end) = (interval.call, interval.end);
        }
        self
    }
}

/// Validates a history and divides it, smallest part first. `initial` is the object at the start.
///
/// # Errors
/// [`Malformed`] if no clients can have produced the history.
pub fn split<'h, S: Spec>(
    history: &'h History<S::Op, S::Ret>,
    initial: &'h S,
) -> Result<Vec<Part<'h, S>>, Malformed> {
    Ok(outlines(history, initial)?.into_iter().map(Outline::into_part).collect())
}

/// [`split`], with all parts in outline.
pub(crate) fn outlines<'h, S: Spec>(
    history: &'h History<S::Op, S::Ret>,
    initial: &'h S,
) -> Result<Vec<Outline<'h, S>>, Malformed> {
    let mut columns = Columns::new(initial);
    walk(history, |interval| {
        let operation = Operation::between(history.events(), interval);
        // An operation without an answer that changes nothing says nothing, but would join keys.
        if operation.is_answered() || !S::is_read(operation.op, None) {
            columns.add(&operation);
        }
    })?;
    let mut outlines = joined(columns.all, &columns.several, history.events());
    outlines.sort_by_key(|outline| outline.intervals.len());
    Ok(outlines)
}

/// What touches one key and no other.
struct Column<'h, S: Spec> {
    key: &'h S::Key,
    hash: u64,
    intervals: Vec<Interval>,
    register: Option<Register<'h>>,
}

struct Columns<'h, S: Spec> {
    table: Table,
    all: Vec<Column<'h, S>>,
    /// What touches several keys.
    several: Vec<(Keys<&'h S::Key>, Interval)>,
    initial: &'h S,
}

impl<'h, S: Spec> Columns<'h, S> {
    fn new(initial: &'h S) -> Self {
        Self { table: Table::new(), all: Vec::new(), several: Vec::new(), initial }
    }

    fn add(&mut self, operation: &Operation<'h, S::Op, S::Ret>) {
        let key = match S::keys(operation.op) {
            Keys::One(key) => key,
            keys => {
                self.several.push((keys, operation.interval()));
                return;
            }
        };
        let column = self.of(key);
        column.intervals.push(operation.interval());
        if let Some(register) = &mut column.register {
            match S::register_op(operation.op, operation.ret) {
                Some(op) => register.add(op),
                None => column.register = None,
            }
        }
    }

    fn of(&mut self, key: &'h S::Key) -> &mut Column<'h, S> {
        let mut hasher = Words::default();
        key.hash(&mut hasher);
        let hash = hasher.finish();
        let is_it = |column: &Column<'h, S>| column.hash == hash && column.key == key;
        let known = self.table.find(hash, |number| is_it(&self.all[number as usize]));
        let number = known.unwrap_or_else(|| {
            let number = u32::try_from(self.all.len()).expect("keys fit into memory");
            self.table.add(hash, number, |number| self.all[number as usize].hash);
            let register = self.initial.register(key).map(Register::new);
            self.all.push(Column { key, hash, intervals: Vec::new(), register });
            number
        });
        &mut self.all[number as usize]
    }
}

/// Joins the columns that operations on several keys touch together.
fn joined<'h, S: Spec>(
    mut columns: Vec<Column<'h, S>>,
    several: &[(Keys<&'h S::Key>, Interval)],
    events: &'h [Event<S::Op, S::Ret>],
) -> Vec<Outline<'h, S>> {
    columns.sort_unstable_by_key(|column| column.key);
    let keys: Vec<&S::Key> = columns.iter().map(|column| column.key).collect();
    let mut groups = Groups::new(columns.len());
    let mut touched = Vec::with_capacity(several.len());
    for (keys_of_one, _) in several {
        let range = keys_of_one.places(&keys);
        touched.push(range.clone().next());
        range.clone().skip(1).for_each(|column| groups.join(range.start, column));
    }

    let outline =
        |keys, intervals, register| Outline { events, keys, intervals, register, part: OnceCell::new() };
    let mut outlines: Vec<Outline<'h, S>> = Vec::new();
    let mut outline_of: Vec<Option<usize>> = vec![None; columns.len()];
    for (at, Column { key, intervals, register, .. }) in columns.into_iter().enumerate() {
        match outline_of[groups.root(at)] {
            Some(first) => {
                let first: &mut Outline<'h, S> = &mut outlines[first];
                first.keys.push(key.clone());
                first.intervals.extend(intervals);
                first.register = None;
            }
            None => {
                outline_of[groups.root(at)] = Some(outlines.len());
                outlines.push(outline(vec![key.clone()], intervals, register));
            }
        }
    }
    for ((_, interval), column) in several.iter().zip(touched) {
        match column {
            Some(column) => {
                let at = outline_of[groups.root(column)].expect("every key has a part");
                outlines[at].intervals.push(*interval);
                outlines[at].register = None;
            }
            None => outlines.push(outline(Vec::new(), vec![*interval], None)),
        }
    }
    for outline in outlines.iter_mut().filter(|outline| outline.register.is_none()) {
        outline.intervals.sort_by_key(|interval| (interval.end, interval.call));
    }
    outlines
}

/// Disjoint sets of numbers (union-find with path halving). The least member represents its set.
struct Groups(Vec<usize>);

impl Groups {
    fn new(members: usize) -> Self {
        Self((0..members).collect())
    }

    fn root(&mut self, mut member: usize) -> usize {
        while self.0[member] != member {
            self.0[member] = self.0[self.0[member]];
            member = self.0[member];
        }
        member
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
