//! Which operation gave a register the contents that were observed, where the history leaves no choice.
//!
//! A content that only one operation can have left behind has an *origin*. An append leaves behind what
//! was there before it with its bytes added: so an observed content ends with what an origin added, and
//! the rest is a content that was there too, though perhaps nobody observed it.

use crate::parts::Part;
use crate::spec::{Content, RegisterOp, Spec};
use crate::values::Values;

/// The number of the content at the start.
pub(crate) const INITIAL: u32 = 0;
const NONE: u32 = u32::MAX;

/// What an operation does, with numbers for contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbered {
    Read(u32),
    Write(u32),
    Swap { old: u32, new: u32 },
    Refused(u32),
    Append(u32),
}

impl Numbered {
    pub(crate) fn of<'a>(op: RegisterOp<'a>, values: &mut Values<'a>) -> Self {
        match op {
            RegisterOp::Read(content) => Self::Read(values.number(content)),
            RegisterOp::Write(content) => Self::Write(values.number(content)),
            RegisterOp::Swap { old, new } => Self::Swap { old: values.number(old), new: values.number(new) },
            RegisterOp::Refused { old } => Self::Refused(values.number(old)),
            RegisterOp::Append(bytes) => Self::Append(values.number(Content::Bytes(bytes))),
        }
    }
}

/// The operations of a part on one register.
pub(crate) struct Register<'a> {
    pub(crate) operations: Vec<Numbered>,
    pub(crate) values: Values<'a>,
    pub(crate) has_appends: bool,
    /// Below which number contents were given numbers of their own ([`twins`](crate::twins)).
    pub(crate) fresh: u32,
}

impl<'a> Register<'a> {
    /// `None` if the part is about something else than one register.
    pub(crate) fn new<S: Spec>(part: &'a Part<'_, S>, initial: &'a S) -> Option<Self> {
        let [key] = &part.keys[..] else { return None };
        let mut values = Values::with_capacity(part.operations.len() / 2 + 1);
        values.number(initial.register(key)?);
        let mut operations = Vec::with_capacity(part.operations.len());
        let mut has_appends = false;
        for operation in &part.operations {
            let op = S::register_op(operation.op, operation.ret)?;
            has_appends |= matches!(op, RegisterOp::Append(_));
            operations.push(match (op, operation.content_hash) {
                (RegisterOp::Read(content), Some(hash)) => {
                    Numbered::Read(values.number_hashed(content, hash))
                }
                (RegisterOp::Write(content), Some(hash)) => {
                    Numbered::Write(values.number_hashed(content, hash))
                }
                (op, _) => Numbered::of(op, &mut values),
            });
        }
        Some(Self { operations, values, has_appends, fresh: 0 })
    }

    /// Below which number all contents have theirs.
    pub(crate) fn numbers(&self) -> usize {
        self.values.len().max(self.fresh as usize)
    }
}

/// Where a content comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The operation that left it behind; `None` if no operation can have.
    pub(crate) operation: Option<u32>,
    /// The content that must have been there before, if that matters.
    pub(crate) before: Option<u32>,
}

/// Per number of a content its origin, if somebody observed it or something that was made from it.
/// `None` if one of these contents can have come about in several ways.
pub(crate) fn origins(register: &mut Register<'_>) -> Option<Vec<Option<Origin>>> {
    let mut makers = Makers::new(register)?;
    let mut origins: Vec<Option<Origin>> = vec![None; register.numbers()];
    for at in 0..register.operations.len() {
        let mut observed = match register.operations[at] {
            Numbered::Read(value) | Numbered::Swap { old: value, .. } => value,
            _ => continue,
        };
        while origins.get(observed as usize).is_none_or(Option::is_none) {
            let origin = makers.origin(observed, register)?;
            origins.resize(register.numbers(), None);
            origins[observed as usize] = Some(origin);
            match origin.before {
                Some(before) => observed = before,
                None => break,
            }
        }
    }
    origins.resize(register.numbers(), None);
    Some(origins)
}

/// Where a content that was observed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It was there at the start.
    Start,
    /// One operation left it behind, which must have found `before`, if that matters.
    Operation { operation: u32, before: Option<u32> },
    /// No operation can have.
    Nowhere,
    /// Several can have.
    Several,
}

/// Like [`origins`], but where a content has several only that content has no origin.
pub(crate) fn sources(register: &mut Register<'_>) -> Vec<Option<Source>> {
    let mut makers = Makers::new(register);
    let mut sources: Vec<Option<Source>> = vec![None; register.values.len()];
    for at in 0..register.operations.len() {
        let mut observed = match register.operations[at] {
            Numbered::Read(value) | Numbered::Swap { old: value, .. } => value,
            _ => continue,
        };
        while sources.get(observed as usize).is_none_or(Option::is_none) {
            let source = match makers.as_mut().and_then(|makers| makers.origin(observed, register)) {
                Some(Origin { operation: Some(operation), before }) => {
                    Source::Operation { operation, before }
                }
                Some(_) if observed == INITIAL => Source::Start,
                Some(_) => Source::Nowhere,
                None => Source::Several,
            };
            sources.resize(register.values.len(), None);
            sources[observed as usize] = Some(source);
            match source {
                Source::Operation { before: Some(before), .. } => observed = before,
                _ => break,
            }
        }
    }
    sources.resize(register.values.len(), None);
    sources
}

/// Who can have left a content behind.
struct Makers {
    /// Per content the write or swap that leaves it behind, and how many there are. The start counts.
    direct: Vec<(u32, u32)>,
    /// Per content the append that adds it, and how many there are.
    appends: Vec<(u32, u32)>,
    /// The lengths of what is appended, in order.
    lengths: Vec<usize>,
    /// Per content in how many ways it can have come about (two stand for more), once that was asked.
    ways: Vec<Option<Ways>>,
}

#[derive(Clone, Copy)]
struct Ways {
    count: u32,
    origin: Origin,
}

const NO_WAY: Ways = Ways { count: 0, origin: Origin { operation: None, before: None } };

impl Makers {
    /// `None` if something empty is appended: that may leave behind what was there before.
    fn new(register: &Register<'_>) -> Option<Self> {
        let values = register.numbers();
        let mut makers = Self {
            direct: vec![(NONE, 0); values],
            appends: if register.has_appends { vec![(NONE, 0); values] } else { Vec::new() },
            lengths: Vec::new(),
            ways: if register.has_appends { vec![None; values] } else { Vec::new() },
        };
        makers.direct[INITIAL as usize].1 = 1;
        for (at, operation) in register.operations.iter().enumerate() {
            let (maker, made) = match operation {
                Numbered::Write(value) | Numbered::Swap { new: value, .. } => (&mut makers.direct, value),
                Numbered::Append(value) => (&mut makers.appends, value),
                Numbered::Read(_) | Numbered::Refused(_) => continue,
            };
            let maker = &mut maker[*made as usize];
            *maker = (at as u32, maker.1 + 1);
            if let Numbered::Append(_) = operation
                && let Content::Bytes(added) = register.values.get(*made)
                && let Err(place) = makers.lengths.binary_search(&added.len())
            {
                makers.lengths.insert(place, added.len());
            }
        }
        (makers.lengths.first() != Some(&0)).then_some(makers)
    }

    /// `None` if there are several possibilities.
    fn origin(&mut self, value: u32, register: &mut Register<'_>) -> Option<Origin> {
        let ways =
            if register.has_appends { self.ways(value, register) } else { self.direct(value, register) };
        (ways.count <= 1).then_some(ways.origin)
    }

    fn direct(&self, value: u32, register: &Register<'_>) -> Ways {
        let Some(&(operation, count)) = self.direct.get(value as usize) else { return NO_WAY };
        let operation = (operation != NONE).then_some(operation);
        let before = operation.and_then(|operation| match register.operations[operation as usize] {
            Numbered::Swap { old, .. } => Some(old),
            _ => None,
        });
        Ways { count, origin: Origin { operation, before } }
    }

    /// Follows all ways back, from the end of the content to its beginning, each once.
    fn ways(&mut self, value: u32, register: &mut Register<'_>) -> Ways {
        let mut open = vec![value];
        while let Some(&value) = open.last() {
            self.ways.resize(register.values.len(), None);
            if self.ways[value as usize].is_some() {
                open.pop();
                continue;
            }
            let candidates = self.candidates(value, register);
            self.ways.resize(register.values.len(), None);
            let unknown = candidates.iter().map(|(_, before)| *before);
            let unknown: Vec<u32> = unknown.filter(|before| self.ways[*before as usize].is_none()).collect();
            if !unknown.is_empty() {
                open.extend(unknown);
                continue;
            }
            let mut ways = self.direct(value, register);
            for (append, before) in candidates {
                if self.ways[before as usize].is_some_and(|ways| ways.count > 0) {
                    let (operation, count) = self.appends[append as usize];
                    let origin = Origin { operation: Some(operation), before: Some(before) };
                    ways = Ways { count: ways.count + count, origin };
                }
            }
            self.ways[value as usize] = Some(ways);
            open.pop();
        }
        self.ways[value as usize].expect("it was the last to be closed")
    }

    /// What can have been appended last, and the content before that.
    fn candidates(&self, value: u32, register: &mut Register<'_>) -> Vec<(u32, u32)> {
        let Content::Bytes(bytes) = register.values.get(value) else { return Vec::new() };
        let mut candidates = Vec::new();
        for length in self.lengths.iter().take_while(|length| **length <= bytes.len()) {
            let (rest, added) = bytes.split_at(bytes.len() - length);
            let Some(append) = register.values.find(Content::Bytes(added)) else { continue };
            if self.appends.get(append as usize).is_none_or(|(_, count)| *count == 0) {
                continue;
            }
            candidates.push((append, register.values.number(Content::Bytes(rest))));
            if rest.is_empty() {
                candidates.push((append, register.values.number(Content::Nothing)));
            }
        }
        candidates
    }
}
