//! Equal contents that several operations left behind, told apart.
//!
//! A *version* of a content lasts from the operation that left it behind to the next that changes the
//! claims. If a write `w` had returned before an answered operation was invoked that writes too, or that
//! shows another content, and this had returned before a read was invoked, then `w`'s version was over when
//! the read began. So often only one of several equal contents is left that a read can have observed: the
//! deletes of a key that are not all at once, a value that is written again after a while. Each version gets
//! a number of its own then.
//!
//! Where several are left, one is guessed: if there is an order then, it is one. If there is none, the guesses
//! are *left aside*: such a read claims nothing, and a swap claims no more than a write. What has no order
//! without these claims has none with them.

use crate::nearly;
use crate::origins::{Claims, INITIAL, Numbered};
use crate::parts::{Interval, NEVER};

/// What became of equal contents.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// Per number from the first new one on, what number its content had.
    content: Vec<u32>,
    first: u32,
    /// Per guess, the place of the operation, and what it claims if it is left aside.
    guesses: Vec<(u32, Numbered)>,
}

/// How many versions are looked at for a guess.
const GUESSES: usize = 8;

/// Who can have left a content behind.
#[derive(Clone, Copy)]
struct Maker {
    call: u32,
    end: u32,
    number: u32,
    /// The first call of this one and those that follow in the order of returns.
    next_call: u32,
}

/// From which call on something is certain, by how many operations have returned.
struct Evidence {
    /// The last call of a returned operation that changed the claims.
    changed: Vec<u32>,
    /// The last call of a returned operation that showed a content, and which; and the last that showed
    /// another one.
    shown: Vec<[(u32, u32); 2]>,
}

impl Twins {
    /// Gives numbers to versions where a content has several, unless something is appended. `None` if so
    /// much must be left aside that what remains says little.
    pub(crate) fn told_apart(
        intervals: &[Interval],
        answered: usize,
        claims: &mut Claims<'_, '_>,
    ) -> Option<Self> {
        let mut twins = Self { first: claims.usage.len() as u32, ..Self::default() };
        if claims.has_appends {
            return Some(twins);
        }
        if claims.usage.iter().all(|usage| usage.makers <= 1 || !usage.is_observed) {
            return Some(twins);
        }
        let counts: Vec<u32> = claims.usage.iter().map(|usage| usage.makers).collect();
        let has_twins = |content: u32| counts[content as usize] > 1;
        let evidence = Evidence::new(&intervals[..answered], &claims.operations);
        let (versions, made) = twins.versions(intervals, &claims.operations, has_twins);
        let mut asked = 0;
        for (at, made) in made.into_iter().enumerate() {
            let (old, new) = match claims.operations[at] {
                Numbered::Read(content) => (content, None),
                Numbered::Swap { old, .. } => (old, Some(made)),
                Numbered::Write(_) => {
                    claims.operations.to_mut()[at] = Numbered::Write(made);
                    continue;
                }
                Numbered::Refused(_) | Numbered::Append(_) => continue,
            };
            let mut seen = old;
            if has_twins(old) {
                asked += 1;
                let (call, end) = (intervals[at].call, moment(intervals[at].end));
                let returned = nearly::low(intervals, at.min(answered), |o| o.end < call);
                let since = evidence.against(returned, old);
                let versions = &versions[old as usize];
                let from = versions.partition_point(|maker| maker.end < since);
                let mut possible = versions[from..]
                    .iter()
                    .take_while(|maker| maker.next_call < end)
                    .filter(|maker| maker.call < end && maker.number != made);
                let first = possible.next();
                // Nobody can have left behind what has a number that nobody made.
                seen = first.map_or_else(|| twins.another(old), |maker| maker.number);
                if let (Some(first), Some(second)) = (first, possible.next()) {
                    // The last that had returned is as likely as any; else one that was open.
                    let others = [*second].into_iter().chain(possible.copied().take(GUESSES));
                    let closed = others.filter(|maker| maker.end <= call).max_by_key(|maker| maker.call);
                    seen = closed.unwrap_or(*first).number;
                    twins.guesses.push((at as u32, new.map_or(Numbered::Refused(old), Numbered::Write)));
                }
            }
            claims.operations.to_mut()[at] =
                new.map_or(Numbered::Read(seen), |new| Numbered::Swap { old: seen, new });
        }
        if 2 * twins.guesses.len() > asked {
            return None;
        }
        claims.recount(twins.first as usize + twins.content.len());
        Some(twins)
    }

    /// Per content that has several its versions, in the order of returns; and per operation the number of
    /// what it leaves behind.
    fn versions(
        &mut self,
        intervals: &[Interval],
        operations: &[Numbered],
        has_twins: impl Fn(u32) -> bool,
    ) -> (Vec<Vec<Maker>>, Vec<u32>) {
        let mut versions: Vec<Vec<Maker>> = vec![Vec::new(); self.first as usize];
        // What was there at the start keeps its number.
        versions[INITIAL as usize].push(Maker { call: 0, end: 0, number: INITIAL, next_call: 0 });
        let mut made = vec![u32::MAX; operations.len()];
        for (at, operation) in operations.iter().enumerate() {
            let (Numbered::Write(content) | Numbered::Swap { new: content, .. }) = *operation else {
                continue;
            };
            made[at] = content;
            if has_twins(content) {
                made[at] = self.another(content);
                let (call, end) = (intervals[at].call + 1, moment(intervals[at].end));
                versions[content as usize].push(Maker { call, end, number: made[at], next_call: call });
            }
        }
        for versions in &mut versions {
            for at in (1..versions.len()).rev() {
                versions[at - 1].next_call = versions[at - 1].call.min(versions[at].next_call);
            }
        }
        (versions, made)
    }

    /// Whether something was guessed.
    pub(crate) fn has_guesses(&self) -> bool {
        !self.guesses.is_empty()
    }

    /// Leaves aside what was guessed.
    pub(crate) fn leave_guesses(&mut self, claims: &mut Claims<'_, '_>) {
        for (at, aside) in self.guesses.drain(..) {
            claims.operations.to_mut()[at as usize] = aside;
        }
        claims.recount(self.first as usize + self.content.len());
    }

    /// Whether two numbers are of equal contents.
    pub(crate) fn is_one(&self, a: u32, b: u32) -> bool {
        self.content(a) == self.content(b)
    }

    fn content(&self, number: u32) -> u32 {
        let new = number.checked_sub(self.first).and_then(|at| self.content.get(at as usize));
        new.copied().unwrap_or(number)
    }

    /// A new number for a content.
    fn another(&mut self, content: u32) -> u32 {
        self.content.push(content);
        self.first + self.content.len() as u32 - 1
    }
}

/// Events are counted from 1, so that there is a moment before all.
fn moment(event: u32) -> u32 {
    if event == NEVER { NEVER } else { event + 1 }
}

impl Evidence {
    fn new(answered: &[Interval], operations: &[Numbered]) -> Self {
        let nothing = (0, u32::MAX);
        let mut this = Self { changed: vec![0], shown: vec![[nothing; 2]] };
        let (mut changed, mut shown) = (0, [nothing; 2]);
        for (interval, numbered) in answered.iter().zip(operations) {
            let call = interval.call + 1;
            let content = match *numbered {
                Numbered::Read(content) => Some(content),
                Numbered::Write(_) | Numbered::Swap { .. } => {
                    changed = changed.max(call);
                    None
                }
                Numbered::Refused(_) | Numbered::Append(_) => None,
            };
            if let Some(content) = content {
                shown = match shown {
                    [(first, known), second] if known == content => [(first.max(call), known), second],
                    [first, (second, known)] if known == content && call <= first.0 => {
                        [first, (second.max(call), known)]
                    }
                    [first, _] if call > first.0 => [(call, content), first],
                    [first, second] => [first, if call > second.0 { (call, content) } else { second }],
                };
            }
            this.changed.push(changed);
            this.shown.push(shown);
        }
        this
    }

    /// Versions of a content that were over before this moment cannot have been seen after so many returns.
    fn against(&self, returned: usize, content: u32) -> u32 {
        let [(first, known), (second, _)] = self.shown[returned];
        let shown = if known == content { second } else { first };
        self.changed[returned].max(shown)
    }
}
