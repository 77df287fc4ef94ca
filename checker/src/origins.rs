//! Which operation gave a register the contents that were observed, where the history leaves no choice.
//!
//! A content that only one operation can have left behind has an *origin*. An append leaves behind what
//! was there before it with its bytes added: so an observed content ends with what an origin added, and
//! the rest is a content that was there too, though perhaps nobody observed it.

use std::borrow::Cow;
use std::cell::{RefCell, RefMut};

use crate::parts::Part;
use crate::spec::{Content, RegisterOp, Spec};
use crate::values::Values;

/// The number of the content at the start.
pub(crate) const INITIAL: u32 = 0;
const NONE: u32 = u32::MAX;

/// What an operation does, with numbers for contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Numbered {
    Read(u32),
    Write(u32),
    Swap { old: u32, new: u32 },
    Refused(u32),
    Append(u32),
}

/// What operations do to one register, in numbers.
pub(crate) struct Register<'a> {
    pub(crate) operations: Vec<Numbered>,
    values: RefCell<Values<'a>>,
    usage: Vec<Usage>,
    has_swaps: bool,
    has_appends: bool,
}

/// What operations have to do with a content.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// The write or swap that leaves it behind, the last if there are several.
    maker: u32,
    /// How many there are. The start counts.
    pub(crate) makers: u32,
    /// Whether it is read or swapped.
    pub(crate) is_observed: bool,
}

const UNUSED: Usage = Usage { maker: NONE, makers: 0, is_observed: false };
const START: Usage = Usage { maker: NONE, makers: 1, is_observed: false };

impl<'a> Register<'a> {
    /// One that holds a content at the start.
    pub(crate) fn new(initial: Content<'a>) -> Self {
        let mut values = Values::new();
        assert_eq!(values.number(initial), INITIAL, "the start has the first number");
        let values = RefCell::new(values);
        Self { operations: Vec::new(), values, usage: vec![START], has_swaps: false, has_appends: false }
    }

    /// What the operations of a part do; `None` if it is about something else than one register.
    pub(crate) fn of<S: Spec>(part: &'a Part<'_, S>, initial: &'a S) -> Option<Self> {
        let [key] = &part.keys[..] else { return None };
        let mut register = Self::new(initial.register(key)?);
        for operation in &part.operations {
            register.add(S::register_op(operation.op, operation.ret)?);
        }
        Some(register)
    }

    pub(crate) fn add(&mut self, op: RegisterOp<'a>) {
        let values = self.values.get_mut();
        let numbered = match op {
            RegisterOp::Read(content) => Numbered::Read(values.number(content)),
            RegisterOp::Write(content) => Numbered::Write(values.number(content)),
            RegisterOp::Swap { old, new } => {
                self.has_swaps = true;
                Numbered::Swap { old: values.number(old), new: values.number(new) }
            }
            RegisterOp::Refused { old } => Numbered::Refused(values.number(old)),
            RegisterOp::Append(bytes) => {
                self.has_appends = true;
                Numbered::Append(values.number(Content::Bytes(bytes)))
            }
        };
        self.usage.resize(values.len(), UNUSED);
        numbered.is_used(self.operations.len(), &mut self.usage);
        self.operations.push(numbered);
    }

    /// Whether nothing is appended, so that every content there can be has a number.
    pub(crate) fn is_closed(&self) -> bool {
        !self.has_appends
    }

    /// How many contents have numbers.
    pub(crate) fn contents(&self) -> usize {
        self.usage.len()
    }

    /// The writes and swaps that leave a content behind, at most so many: the first, as `key` has it.
    pub(crate) fn makers(&self, content: u32, count: usize, key: impl Fn(usize) -> u32) -> Vec<u32> {
        let Usage { maker, makers, .. } = self.usage[content as usize];
        if makers <= 1 {
            return if maker == NONE { Vec::new() } else { vec![maker] };
        }
        let is_one = |place: &u32| self.operations[*place as usize].made() == Some(content);
        let mut all: Vec<u32> = (0..self.operations.len() as u32).filter(is_one).collect();
        if all.len() > count {
            all.select_nth_unstable_by_key(count, |place| key(*place as usize));
            all.truncate(count);
        }
        all
    }

    /// What the operations claim.
    pub(crate) fn claims(&self) -> Claims<'_, 'a> {
        Claims {
            operations: Cow::Borrowed(&self.operations),
            usage: Cow::Borrowed(&self.usage),
            values: self.values.borrow_mut(),
            has_swaps: self.has_swaps,
            has_appends: self.has_appends,
        }
    }
}

impl Numbered {
    /// The content that was there before it.
    pub(crate) fn observed(self) -> Option<u32> {
        match self {
            Self::Read(content) | Self::Swap { old: content, .. } => Some(content),
            Self::Write(_) | Self::Refused(_) | Self::Append(_) => None,
        }
    }

    /// The content that it leaves behind, if it is known and new.
    fn made(self) -> Option<u32> {
        match self {
            Self::Write(content) | Self::Swap { new: content, .. } => Some(content),
            Self::Read(_) | Self::Refused(_) | Self::Append(_) => None,
        }
    }

    fn is_used(self, at: usize, usage: &mut [Usage]) {
        if let Some(content) = self.observed() {
            usage[content as usize].is_observed = true;
        }
        if let Some(content) = self.made() {
            let usage = &mut usage[content as usize];
            (usage.maker, usage.makers) = (at as u32, usage.makers + 1);
        }
    }
}

/// What operations claim to have done to a register: what was told, or less.
pub(crate) struct Claims<'r, 'a> {
    pub(crate) operations: Cow<'r, [Numbered]>,
    /// Per content.
    pub(crate) usage: Cow<'r, [Usage]>,
    /// More contents come about by taking observed ones apart.
    values: RefMut<'r, Values<'a>>,
    pub(crate) has_swaps: bool,
    pub(crate) has_appends: bool,
}

impl Claims<'_, '_> {
    /// Sees how contents are used after the operations were changed. Numbers are below `numbers`.
    pub(crate) fn recount(&mut self, numbers: usize) {
        let mut usage = vec![UNUSED; numbers];
        usage[INITIAL as usize] = START;
        for (at, operation) in self.operations.iter().enumerate() {
            operation.is_used(at, &mut usage);
        }
        self.usage = Cow::Owned(usage);
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
pub(crate) fn origins(claims: &mut Claims<'_, '_>) -> Option<Vec<Option<Origin>>> {
    if !claims.has_appends {
        let origin = |usage: &Usage| match usage {
            Usage { is_observed: false, .. } => Some(None),
            Usage { makers: 0 | 1, maker, .. } => Some(Some(claims.made_by(*maker))),
            _ => None,
        };
        return claims.usage.iter().map(origin).collect();
    }
    let mut makers = Makers::new(claims)?;
    let mut origins: Vec<Option<Origin>> = vec![None; claims.values.len()];
    for at in 0..claims.operations.len() {
        let mut observed = match claims.operations[at] {
            Numbered::Read(value) | Numbered::Swap { old: value, .. } => value,
            _ => continue,
        };
        while origins.get(observed as usize).is_none_or(Option::is_none) {
            let origin = makers.origin(observed, claims)?;
            origins.resize(claims.values.len(), None);
            origins[observed as usize] = Some(origin);
            match origin.before {
                Some(before) => observed = before,
                None => break,
            }
        }
    }
    origins.resize(claims.values.len(), None);
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
pub(crate) fn sources(claims: &mut Claims<'_, '_>) -> Vec<Option<Source>> {
    let mut makers = Makers::new(claims);
    let mut sources: Vec<Option<Source>> = vec![None; claims.values.len()];
    for at in 0..claims.operations.len() {
        let mut observed = match claims.operations[at] {
            Numbered::Read(value) | Numbered::Swap { old: value, .. } => value,
            _ => continue,
        };
        while sources.get(observed as usize).is_none_or(Option::is_none) {
            let source = match makers.as_mut().and_then(|makers| makers.origin(observed, claims)) {
                Some(Origin { operation: Some(operation), before }) => {
                    Source::Operation { operation, before }
                }
                Some(_) if observed == INITIAL => Source::Start,
                Some(_) => Source::Nowhere,
                None => Source::Several,
            };
            sources.resize(claims.values.len(), None);
            sources[observed as usize] = Some(source);
            match source {
                Source::Operation { before: Some(before), .. } => observed = before,
                _ => break,
            }
        }
    }
    sources.resize(claims.values.len(), None);
    sources
}

/// Who can have left a content behind.
struct Makers {
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

impl Claims<'_, '_> {
    /// The origin of a content that this write or swap left behind, or the start.
    fn made_by(&self, maker: u32) -> Origin {
        let before = match self.operations.get(maker as usize) {
            Some(Numbered::Swap { old, .. }) => Some(*old),
            _ => None,
        };
        Origin { operation: (maker != NONE).then_some(maker), before }
    }

    /// In how many ways a content can have been written.
    fn direct(&self, value: u32) -> Ways {
        let Usage { maker, makers, .. } = self.usage.get(value as usize).copied().unwrap_or(UNUSED);
        Ways { count: makers, origin: self.made_by(maker) }
    }
}

impl Makers {
    /// `None` if something empty is appended: that may leave behind what was there before.
    fn new(claims: &Claims<'_, '_>) -> Option<Self> {
        let values = claims.values.len();
        let mut makers =
            Self { appends: vec![(NONE, 0); values], lengths: Vec::new(), ways: vec![None; values] };
        for (at, operation) in claims.operations.iter().enumerate() {
            let Numbered::Append(value) = operation else { continue };
            let maker = &mut makers.appends[*value as usize];
            *maker = (at as u32, maker.1 + 1);
            if let Content::Bytes(added) = claims.values.get(*value)
                && let Err(place) = makers.lengths.binary_search(&added.len())
            {
                makers.lengths.insert(place, added.len());
            }
        }
        (makers.lengths.first() != Some(&0)).then_some(makers)
    }

    /// `None` if there are several possibilities.
    fn origin(&mut self, value: u32, claims: &mut Claims<'_, '_>) -> Option<Origin> {
        let ways = self.ways(value, claims);
        (ways.count <= 1).then_some(ways.origin)
    }

    /// Follows all ways back, from the end of the content to its beginning, each once.
    fn ways(&mut self, value: u32, claims: &mut Claims<'_, '_>) -> Ways {
        let mut open = vec![value];
        while let Some(&value) = open.last() {
            self.ways.resize(claims.values.len(), None);
            if self.ways[value as usize].is_some() {
                open.pop();
                continue;
            }
            let candidates = self.candidates(value, claims);
            self.ways.resize(claims.values.len(), None);
            let unknown = candidates.iter().map(|(_, before)| *before);
            let unknown: Vec<u32> = unknown.filter(|before| self.ways[*before as usize].is_none()).collect();
            if !unknown.is_empty() {
                open.extend(unknown);
                continue;
            }
            let mut ways = claims.direct(value);
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
    fn candidates(&self, value: u32, claims: &mut Claims<'_, '_>) -> Vec<(u32, u32)> {
        let Content::Bytes(bytes) = claims.values.get(value) else { return Vec::new() };
        let mut candidates = Vec::new();
        for length in self.lengths.iter().take_while(|length| **length <= bytes.len()) {
            let (rest, added) = bytes.split_at(bytes.len() - length);
            let Some(append) = claims.values.find(Content::Bytes(added)) else { continue };
            if self.appends.get(append as usize).is_none_or(|(_, count)| *count == 0) {
                continue;
            }
            candidates.push((append, claims.values.number(Content::Bytes(rest))));
            if rest.is_empty() {
                candidates.push((append, claims.values.number(Content::Nothing)));
            }
        }
        candidates
    }
}
