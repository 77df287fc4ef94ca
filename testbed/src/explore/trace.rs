//! A counterexample as it is saved: the actions as people read them, by which they are found again.

use std::fmt;
use std::path::Path;

use contract::{NodeId, Replica};
use serde::{Deserialize, Serialize};
use stateright::Model;

use super::bounds::Exploration;
use super::model::System;
use super::search::Found;
use super::state::{Action, State};
use crate::replay::{FORMAT, Kind, ReplayError, save};

/// How a law comes to be broken, in a form that can be carried out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trace {
    /// The format of the file, which is that of replays.
    pub format: u32,
    kind: Kind,
    /// The version of Seedbed that wrote it.
    pub seedbed: String,
    /// What was explored.
    pub exploration: Exploration,
    /// The law that the last action breaks.
    pub law: String,
    /// How.
    pub message: String,
    /// What happens, one action after the other.
    pub actions: Vec<String>,
}

impl Trace {
    /// A trace of this version's format.
    pub fn new(exploration: Exploration, found: &Found) -> Self {
        let Found { law, message, steps } = found.clone();
        let actions = steps.into_iter().map(|step| step.action).collect();
        let seedbed = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, kind: Kind::Exploration, seedbed, exploration, law, message, actions }
    }

    /// Writes a file that [`crate::replay::Saved::load`] reads.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn save(&self, path: &Path) -> Result<(), ReplayError> {
        save(path, &(serde_json::to_string_pretty(self).expect("a trace is plain data") + "\n"))
    }
}

/// An action that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The action.
    pub action: String,
    /// What its node looks like afterwards, if it is one node's.
    pub view: Option<String>,
}

/// What became of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The last action that was carried out broke a law.
    Broken {
        /// Which.
        law: String,
        /// How.
        message: String,
    },
    /// All actions were carried out, and all laws hold.
    Holds,
    /// The next action is not possible there.
    Impossible {
        /// What would be.
        possible: Vec<String>,
    },
}

/// A trace that was followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// As far as it went.
    pub steps: Vec<Step>,
    /// And no further.
    pub ending: Ending,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.view {
            Some(view) => write!(f, "{:<64} {view}", self.action),
            None => f.write_str(&self.action),
        }
    }
}

/// The actions of a state, each with a text that no other has: what reads alike is numbered.
fn named<R: Replica>(system: &System<R>, state: &State<R>) -> Vec<(String, Action<R>)> {
    let mut actions = Vec::new();
    system.actions(state, &mut actions);
    let mut named: Vec<(String, Action<R>)> = Vec::new();
    for action in actions {
        let text = action.to_string();
        let alike = named.iter().filter(|(other, _)| other.split(" #").next() == Some(&text)).count();
        let text = if alike > 0 { format!("{text} #{}", alike + 1) } else { text };
        named.push((text, action));
    }
    named
}

fn start<R: Replica>(system: &System<R>) -> State<R> {
    system.init_states().swap_remove(0)
}

/// A state in which anything may happen next, wherever: a search leaves out ways that a person may go.
fn noticed<R: Replica>(state: State<R>) -> State<R> {
    State { quiet: None, ..state }
}

fn step<R: Replica>(action: String, node: Option<NodeId>, after: &State<R>) -> Step {
    Step { action, view: node.map(|node| after.sites[node.slot()].view.to_string()) }
}

/// The texts of the actions of a path from the start.
pub(super) fn texts<R: Replica>(system: &System<R>, actions: &[Action<R>]) -> Vec<String> {
    let mut state = start(system);
    let text = |action: &Action<R>| {
        let found = named(system, &state).into_iter().find(|(_, other)| other == action);
        let (text, action) = found.expect("a path leads along actions of its states");
        state = noticed(system.next_state(&state, action).expect("a path leads from state to state"));
        text
    };
    actions.iter().map(text).collect()
}

/// The same violation on fewer actions, if leaving some out still leads to it: what a search comes upon that
/// does not go by depth. What is no longer possible without them is left out too.
pub(super) fn shortened<R: Replica>(system: &System<R>, actions: Vec<String>) -> Vec<String> {
    let law = |followed: &Followed| match &followed.ending {
        Ending::Broken { law, .. } => Some(law.clone()),
        Ending::Holds | Ending::Impossible { .. } => None,
    };
    let broken = law(&follow(system, &actions));
    let mut best = actions;
    let mut size = best.len() / 2;
    while size > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < best.len() {
            let rest = best.iter().take(from).chain(best.iter().skip(from + size)).cloned();
            let followed = follow_possible(system, rest);
            if law(&followed) == broken && followed.steps.len() < best.len() {
                best = followed.steps.into_iter().map(|step| step.action).collect();
                shorter = true;
            } else {
                from += size;
            }
        }
        // What had to stay may go once other things have.
        size = if shorter { size.min(best.len() / 2).max(1) } else { size / 2 };
    }
    best
}

/// Carries out those of the actions that are possible.
fn follow_possible<R: Replica>(system: &System<R>, actions: impl Iterator<Item = String>) -> Followed {
    let mut taken = Vec::new();
    let mut state = start(system);
    for text in actions {
        if state.broken.is_some() {
            break;
        }
        let found = named(system, &state).into_iter().find(|(other, _)| *other == text);
        if let Some(next) = found.and_then(|(_, action)| system.next_state(&state, action))
            && system.within_boundary(&next)
        {
            state = noticed(next);
            taken.push(text);
        }
    }
    follow(system, &taken)
}

/// Carries out actions by their texts.
pub(super) fn follow<R: Replica>(system: &System<R>, actions: &[String]) -> Followed {
    let mut state = start(system);
    let mut steps = Vec::new();
    let mut actions = actions.iter();
    loop {
        if let Some(broken) = &state.broken {
            let (law, message) = (broken.law.name().to_owned(), broken.message.to_string());
            return Followed { steps, ending: Ending::Broken { law, message } };
        }
        let Some(text) = actions.next() else { return Followed { steps, ending: Ending::Holds } };
        let mut possible = named(system, &state);
        let found = possible.iter().position(|(other, _)| other == text);
        let next = found.and_then(|place| {
            let (_, action) = possible.swap_remove(place);
            let node = action.node();
            Some((node, system.next_state(&state, action)?))
        });
        let Some((node, next)) = next else {
            let possible = possible.into_iter().map(|(text, _)| text).collect();
            return Followed { steps, ending: Ending::Impossible { possible } };
        };
        steps.push(step(text.clone(), node, &next));
        state = noticed(next);
    }
}
