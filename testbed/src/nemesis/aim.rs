//! Whom a fault means, at the moment at which it strikes.

use contract::NodeId;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Ground;
use crate::plan::{Aim, Target};

/// What roles stand for now.
pub(super) struct Cast<'a, G> {
    pub(super) ground: &'a G,
    pub(super) nodes: u16,
    pub(super) zones: &'a [Vec<NodeId>],
    /// The node whose state a fault waited for.
    pub(super) subject: Option<NodeId>,
}

impl<G: Ground> Cast<'_, G> {
    /// The same aim with nodes in the place of roles. A role that nobody has stands for nobody.
    pub(super) fn resolve(&self, aim: &Aim, draws: &mut ChaCha8Rng) -> Aim {
        let nodes = |nodes: Vec<NodeId>| nodes.into_iter().map(Target::Node).collect();
        match aim {
            Aim::Nodes(targets) => {
                let mut groups = self.groups(std::slice::from_ref(targets), draws);
                Aim::Nodes(nodes(groups.remove(0)))
            }
            Aim::Groups(groups) => {
                let mut groups = self.groups(groups, draws);
                groups.iter_mut().for_each(|group| group.sort_unstable());
                Aim::Groups(groups.into_iter().map(nodes).collect())
            }
            // The order counts: the first is in the middle, the others as they were drawn.
            Aim::Shape(shape, targets) if targets.contains(&Target::Rest) => {
                let groups = self.groups(&[vec![targets[0]], vec![Target::Rest]], draws);
                let mut rest = groups[1].clone();
                rest.shuffle(draws);
                let order =
                    if groups[0].is_empty() { Vec::new() } else { [groups[0].clone(), rest].concat() };
                Aim::Shape(*shape, nodes(order))
            }
            Aim::Shape(shape, targets) => {
                let mut groups = self.groups(std::slice::from_ref(targets), draws);
                Aim::Shape(*shape, nodes(groups.remove(0)))
            }
        }
    }

    fn groups(&self, groups: &[Vec<Target>], draws: &mut ChaCha8Rng) -> Vec<Vec<NodeId>> {
        let mut sides: Vec<Vec<NodeId>> = vec![Vec::new(); groups.len()];
        let mut taken: Vec<NodeId> = Vec::new();
        // Named nodes first: what is drawn, and the rest, is what they leave.
        for pass in 0..3 {
            for (side, group) in sides.iter_mut().zip(groups) {
                for target in group.iter().filter(|target| turn(**target) == pass) {
                    for node in self.stands_for(*target, &taken, draws) {
                        if !taken.contains(&node) {
                            taken.push(node);
                            side.push(node);
                        }
                    }
                }
            }
        }
        sides
    }

    fn stands_for(&self, target: Target, taken: &[NodeId], draws: &mut ChaCha8Rng) -> Vec<NodeId> {
        let leader = self.ground.leader();
        let all = || (1..=self.nodes).map(NodeId);
        let mut free: Vec<NodeId> = all().filter(|node| !taken.contains(node)).collect();
        let number = usize::from(target.least(self.nodes));
        match target {
            Target::Node(node) => vec![node],
            Target::Leader => leader.into_iter().collect(),
            Target::Subject => self.subject.into_iter().collect(),
            Target::Rest => free,
            Target::Follower => {
                free.retain(|node| self.ground.is_up(*node) && Some(*node) != leader);
                some_of(free, 1, draws)
            }
            Target::Random | Target::Minority | Target::Majority => some_of(free, number, draws),
            Target::MinorityWithLeader | Target::MajorityWithLeader => {
                let Some(leader) = leader else { return Vec::new() };
                free.retain(|node| *node != leader);
                let mut with = some_of(free, number.saturating_sub(1), draws);
                with.push(leader);
                with
            }
            Target::Zone => {
                let mut zones = self.zones.to_vec();
                zones.shuffle(draws);
                zones.into_iter().next().unwrap_or_default()
            }
        }
    }
}

/// Named nodes and roles, then what is drawn, then the rest.
fn turn(target: Target) -> u8 {
    match target {
        Target::Node(_) | Target::Leader | Target::Subject => 0,
        Target::Rest => 2,
        _ => 1,
    }
}

fn some_of(mut of: Vec<NodeId>, number: usize, draws: &mut ChaCha8Rng) -> Vec<NodeId> {
    of.shuffle(draws);
    of.truncate(number);
    of
}
