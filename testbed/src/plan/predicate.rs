//! States of a node that a fault can wait for: `leader-elected`, or `term >= 3 && leader == n1`.
//!
//! An *event* holds in the one step in which it happens; everything else is a question about the view
//! that a node shows. A predicate is *reached* in the step that makes it true: it holds of the view
//! after the step, with the step's events, and not of the view before it, without.
//!
//! ```text
//! either = both { "||" both }        both = one { "&&" one }
//! one    = "!" one | "(" either ")" | event
//!        | ("term" | "commit" | "last") compare number
//!        | ("leader" | "node") ("==" | "!=") (node | "none")
//!        | "role" ("==" | "!=") ("leader" | "candidate" | "follower")
//! ```

use std::fmt;
use std::str::FromStr;

use contract::{NodeId, Role, View};
use serde::{Deserialize, Serialize};

/// A state of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Predicate {
    /// This happens.
    Event(Event),
    /// A number is so large.
    Number(Field, Compare, u64),
    /// The node's leader is this one, or nobody; or it is not.
    Leader(bool, Option<NodeId>),
    /// It is this node, or it is not.
    Node(bool, NodeId),
    /// It has this role, or it has not.
    Role(bool, Role),
    /// It is not so.
    Not(Box<Self>),
    /// Both.
    And(Box<Self>, Box<Self>),
    /// Either, or both.
    Or(Box<Self>, Box<Self>),
}

/// What happens in a step of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// It has just become leader.
    LeaderElected,
    /// It has a vote or a term on its way to the disk.
    HardStateWritePending,
    /// It leads, and has just found that more is committed; nobody else knows.
    LeaderAboutToCommit,
    /// It has begun to replace its state by a snapshot.
    SnapshotInstalling,
    /// It has stopped by itself.
    NodeStopped,
}

impl Event {
    /// Every event with its name and one line about it.
    pub const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::LeaderElected, "leader-elected", "a node has just become leader"),
        (
            Self::HardStateWritePending,
            "hard-state-write-pending",
            "a node has a vote or a term on its way to the disk",
        ),
        (
            Self::LeaderAboutToCommit,
            "leader-about-to-commit",
            "a leader has just found more committed, and told nobody",
        ),
        (Self::SnapshotInstalling, "snapshot-installing", "a node has begun to install a snapshot"),
        (Self::NodeStopped, "node-stopped", "a node has stopped by itself, for its disk failed it"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(event, ..)| *event == self).expect("every event is in the table").1
    }
}

/// A number that a node shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Its term, ballot or epoch.
    Term,
    /// The last index that it knows to be committed.
    Commit,
    /// The last index of its log.
    Last,
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Compare {
    Equal,
    Unequal,
    AtLeast,
    AtMost,
    Above,
    Below,
}

impl Compare {
    /// Whether it is so of two numbers.
    pub fn holds<T: PartialOrd>(self, one: &T, other: &T) -> bool {
        match self {
            Self::Equal => one == other,
            Self::Unequal => one != other,
            Self::AtLeast => one >= other,
            Self::AtMost => one <= other,
            Self::Above => one > other,
            Self::Below => one < other,
        }
    }

    /// The comparison of a sign.
    pub fn named(sign: &str) -> Option<Self> {
        COMPARES.into_iter().find(|(known, _)| *known == sign).map(|(_, compare)| compare)
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&COMPARES, self))
    }
}

const FIELDS: [(&str, Field); 3] = [("term", Field::Term), ("commit", Field::Commit), ("last", Field::Last)];
const COMPARES: [(&str, Compare); 6] = [
    ("==", Compare::Equal),
    ("!=", Compare::Unequal),
    (">=", Compare::AtLeast),
    ("<=", Compare::AtMost),
    (">", Compare::Above),
    ("<", Compare::Below),
];
const ROLES: [(&str, Role); 3] =
    [("leader", Role::Leader), ("candidate", Role::Candidate), ("follower", Role::Follower)];

fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> &'static str {
    table.iter().find(|(_, known)| known == value).expect("every value is in its table").0
}

impl Predicate {
    /// Whether a step has made it true.
    pub fn is_reached(&self, node: NodeId, before: &View, after: &View, events: &[Event]) -> bool {
        self.holds(node, after, events) && !self.holds(node, before, &[])
    }

    fn holds(&self, node: NodeId, view: &View, events: &[Event]) -> bool {
        match self {
            Self::Event(event) => events.contains(event),
            Self::Number(field, compare, number) => {
                let value = match field {
                    Field::Term => view.epoch.0,
                    Field::Commit => view.commit.0,
                    Field::Last => view.last.index.0,
                };
                compare.holds(&value, number)
            }
            Self::Leader(equal, leader) => (view.leader == *leader) == *equal,
            Self::Node(equal, named) => (node == *named) == *equal,
            Self::Role(equal, role) => (view.role == *role) == *equal,
            Self::Not(inner) => !inner.holds(node, view, events),
            Self::And(one, other) => one.holds(node, view, events) && other.holds(node, view, events),
            Self::Or(one, other) => one.holds(node, view, events) || other.holds(node, view, events),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, apart: bool) -> fmt::Result {
        if apart { write!(f, "({self})") } else { write!(f, "{self}") }
    }

    /// The nodes that it names.
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Self::Leader(_, Some(node)) | Self::Node(_, node) => vec![*node],
            Self::Not(inner) => inner.nodes(),
            Self::And(one, other) | Self::Or(one, other) => [one.nodes(), other.nodes()].concat(),
            Self::Event(_) | Self::Number(..) | Self::Leader(_, None) | Self::Role(..) => Vec::new(),
        }
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |equal: &bool| if *equal { "==" } else { "!=" };
        match self {
            Self::Event(event) => f.write_str(event.name()),
            Self::Number(field, compare, number) => {
                write!(f, "{} {compare} {number}", name_of(&FIELDS, field))
            }
            Self::Leader(equal, Some(node)) => write!(f, "leader {} {node}", sign(equal)),
            Self::Leader(equal, None) => write!(f, "leader {} none", sign(equal)),
            Self::Node(equal, node) => write!(f, "node {} {node}", sign(equal)),
            Self::Role(equal, role) => write!(f, "role {} {}", sign(equal), name_of(&ROLES, role)),
            Self::Not(inner) => write!(f, "!({inner})"),
            Self::And(one, other) => {
                one.write(f, matches!(**one, Self::Or(..)))?;
                f.write_str(" && ")?;
                other.write(f, matches!(**other, Self::And(..) | Self::Or(..)))
            }
            Self::Or(one, other) => {
                write!(f, "{one} || ")?;
                other.write(f, matches!(**other, Self::Or(..)))
            }
        }
    }
}

/// A text that is no predicate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct NoPredicate {
    /// What is wrong.
    pub what: String,
    /// The word that is misplaced or unknown, if it is one.
    pub word: Option<String>,
}

impl From<Predicate> for String {
    fn from(predicate: Predicate) -> Self {
        predicate.to_string()
    }
}

impl TryFrom<String> for Predicate {
    type Error = NoPredicate;

    fn try_from(text: String) -> Result<Self, NoPredicate> {
        text.parse()
    }
}

impl FromStr for Predicate {
    type Err = NoPredicate;

    fn from_str(text: &str) -> Result<Self, NoPredicate> {
        let mut words = Words { words: words(text)?, next: 0 };
        let predicate = words.either()?;
        match words.take() {
            None => Ok(predicate),
            Some(word) => Err(unexpected(&word, "`&&`, `||` or the end")),
        }
    }
}

fn refuse(what: String, word: Option<&str>) -> NoPredicate {
    NoPredicate { what, word: word.map(str::to_owned) }
}

fn unexpected(word: &str, wanted: &str) -> NoPredicate {
    refuse(format!("`{word}` stands where {wanted} was expected"), None)
}

/// A condition or a claim as its words and signs.
pub(crate) fn words(text: &str) -> Result<Vec<String>, NoPredicate> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == '.';
        let signs = ["&&", "||", "==", "!=", ">=", "<=", ">", "<", "!", "(", ")", "/"];
        let len = match signs.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => sign.len(),
            None if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            None => return Err(refuse(format!("`{first}` is no part of a condition"), None)),
        };
        words.push(rest[..len].to_owned());
        rest = rest[len..].trim_start();
    }
    Ok(words)
}

struct Words {
    words: Vec<String>,
    next: usize,
}

impl Words {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.next).map(String::as_str)
    }

    fn take(&mut self) -> Option<String> {
        let word = self.words.get(self.next).cloned();
        self.next += 1;
        word
    }

    fn wanted(&mut self, what: &str) -> Result<String, NoPredicate> {
        self.take().ok_or_else(|| refuse(format!("the condition ends where {what} was expected"), None))
    }

    fn either(&mut self) -> Result<Predicate, NoPredicate> {
        let mut left = self.both()?;
        while self.peek() == Some("||") {
            self.next += 1;
            left = Predicate::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Predicate, NoPredicate> {
        let mut left = self.one()?;
        while self.peek() == Some("&&") {
            self.next += 1;
            left = Predicate::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Predicate, NoPredicate> {
        let word = self.wanted("a state")?;
        if let Some((event, ..)) = Event::ALL.into_iter().find(|(_, name, _)| *name == word) {
            return Ok(Predicate::Event(event));
        }
        if let Some((_, field)) = FIELDS.into_iter().find(|(name, _)| *name == word) {
            let sign = self.wanted("a comparison")?;
            let compare = Compare::named(&sign).ok_or_else(|| unexpected(&sign, "a comparison"))?;
            let number = self.wanted("a number")?;
            let value = number.parse().map_err(|_| unexpected(&number, "a number"))?;
            return Ok(Predicate::Number(field, compare, value));
        }
        match word.as_str() {
            "!" => Ok(Predicate::Not(Box::new(self.one()?))),
            "(" => {
                let inner = self.either()?;
                let end = self.wanted("`)`")?;
                if end == ")" { Ok(inner) } else { Err(unexpected(&end, "`)`")) }
            }
            "leader" => {
                let equal = self.sign()?;
                let named = self.wanted("a node or `none`")?;
                let leader = if named == "none" { None } else { Some(node(&named)?) };
                Ok(Predicate::Leader(equal, leader))
            }
            "node" => {
                let equal = self.sign()?;
                let named = self.wanted("a node")?;
                Ok(Predicate::Node(equal, node(&named)?))
            }
            "role" => {
                let equal = self.sign()?;
                let named = self.wanted("a role")?;
                let role = ROLES.into_iter().find(|(name, _)| *name == named);
                let (_, role) = role.ok_or_else(|| unexpected(&named, "leader, candidate or follower"))?;
                Ok(Predicate::Role(equal, role))
            }
            _ => Err(refuse(format!("unknown condition `{word}`"), Some(&word))),
        }
    }

    fn sign(&mut self) -> Result<bool, NoPredicate> {
        match self.wanted("`==` or `!=`")?.as_str() {
            "==" => Ok(true),
            "!=" => Ok(false),
            other => Err(unexpected(other, "`==` or `!=`")),
        }
    }
}

fn node(word: &str) -> Result<NodeId, NoPredicate> {
    let number = word.strip_prefix('n').and_then(|digits| digits.parse().ok()).filter(|number| *number > 0);
    number.map(NodeId).ok_or_else(|| unexpected(word, "a node such as n1"))
}

#[cfg(test)]
mod tests {
    use contract::{Epoch, Index, Mark};

    use super::*;

    fn view(term: u64, role: Role, leader: Option<u16>) -> View {
        let last = Mark { epoch: Epoch(term), index: Index(7) };
        View { role, epoch: Epoch(term), leader: leader.map(NodeId), last, commit: Index(5), broken: None }
    }

    #[test]
    fn predicates_are_read_and_written() {
        for text in [
            "leader-elected",
            "term >= 3 && leader == n1",
            "term == 2 || term == 4 && role != leader",
            "(term == 2 || last < 9) && !(leader == none)",
            "term == 2 && (last < 9 && commit > 1)",
        ] {
            let predicate: Predicate = text.parse().expect(text);
            assert_eq!(predicate.to_string(), text);
            assert_eq!(predicate.to_string().parse(), Ok(predicate));
        }
        let told = |text: &str| text.parse::<Predicate>().expect_err(text).to_string();
        assert_eq!(told("leader-elcted"), "unknown condition `leader-elcted`");
        assert_eq!(told("term >="), "the condition ends where a number was expected");
        assert_eq!(told("term = 3"), "`=` is no part of a condition");
        assert_eq!(told("leader == 1"), "`1` stands where a node such as n1 was expected");
        assert_eq!(told("(term > 1"), "the condition ends where `)` was expected");
        assert_eq!(
            told("term > 1 leader-elected"),
            "`leader-elected` stands where `&&`, `||` or the end was expected"
        );
    }

    #[test]
    fn a_state_is_reached_once_and_an_event_each_time() {
        let reached = |text: &str, before: &View, after: &View, events: &[Event]| {
            text.parse::<Predicate>().expect(text).is_reached(NodeId(2), before, after, events)
        };
        let (old, new) = (view(2, Role::Follower, None), view(3, Role::Leader, Some(2)));
        assert!(reached("term >= 3 && leader == n2", &old, &new, &[]));
        assert!(!reached("term >= 3 && leader == n2", &new, &new, &[]), "it was so before");
        assert!(!reached("term >= 3 && leader == n1", &old, &new, &[]));
        let elected = [Event::LeaderElected];
        assert!(reached("leader-elected", &new, &new, &elected), "it happens again");
        assert!(!reached("leader-elected && node == n1", &old, &new, &elected));
        assert!(reached("leader-elected && !(term < 3)", &old, &new, &elected));
    }
}
