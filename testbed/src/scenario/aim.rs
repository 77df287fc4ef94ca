//! Whom a fault strikes and what it waits for, as scenarios write it; and what a sweep must reach.

use std::borrow::Cow;

use contract::NodeId;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::decode::{At, Decode, Fields, Node, mismatch};
use super::diagnostic::{Problems, suggest};
use super::names::{Name, Situations};
use super::scalar::Share;
use crate::measure::{Claim, MEASURES};
use crate::plan::{Event, NoPredicate, Predicate, Shape, Target};

impl Decode for Target {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::String(text) = node.get_ref() else {
            return mismatch(node, "a node such as \"n1\" or \"@leader\"", problems);
        };
        let role = Self::ROLES.into_iter().find(|(name, _)| name == text).map(|(_, role)| role);
        let number = || text.strip_prefix('n')?.parse().ok().filter(|number| *number > 0);
        role.or_else(|| number().map(|number| Self::Node(NodeId(number)))).or_else(|| {
            let help = suggest(text, ["n1"].into_iter().chain(Self::ROLES.map(|(name, _)| name)));
            problems.add_with_help(node.span(), format!("`{text}` names no node"), help)
        })
    }
}

impl JsonSchema for Target {
    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A node, or a role that is resolved when the fault strikes.",
            "anyOf": [
                {"type": "string", "enum": Self::ROLES.map(|(name, _)| name)},
                {"type": "string", "pattern": "^n[1-9][0-9]*$"},
            ],
        })
    }
}

/// One or several of them.
#[derive(Clone, Debug)]
pub(crate) struct Targets(pub(crate) Vec<At<Target>>);

impl Decode for Targets {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::Array(_) => Vec::decode(node, problems).map(Self),
            _ => At::decode(node, problems).map(|one| Self(vec![one])),
        }
    }
}

impl JsonSchema for Targets {
    fn schema_name() -> Cow<'static, str> {
        "Targets".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let target = generator.subschema_for::<Target>();
        json_schema!({"anyOf": [target, {"type": "array", "minItems": 1, "items": target}]})
    }
}

impl Decode for Predicate {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::String(text) = node.get_ref() else {
            return mismatch(node, "a condition such as \"leader-elected\"", problems);
        };
        let noted = |error: NoPredicate| {
            let help = match &error.word {
                Some(word) => {
                    let words = Event::ALL.map(|(_, name, _)| name).into_iter();
                    suggest(word, words.chain(["term", "commit", "last", "leader", "node", "role"]))
                }
                None => "for example `leader-elected`, or `term >= 3 && leader == n1`".to_owned(),
            };
            problems.add_with_help::<()>(node.span(), error.what, help);
        };
        text.parse().map_err(noted).ok()
    }
}

impl JsonSchema for Predicate {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A state of a node: events and comparisons, joined by && and ||.",
            "type": "string",
            "examples": Event::ALL.map(|(_, name, _)| name),
        })
    }
}

impl Decode for Claim {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::String(text) = node.get_ref() else {
            return mismatch(node, "a claim such as \"answered == 0\"", problems);
        };
        let noted = |error: NoPredicate| {
            let help = match &error.word {
                Some(word) => suggest(word, MEASURES.iter().map(|measure| measure.name)),
                None => "for example `answered == 0`, or `peer-messages / answered <= 12`".to_owned(),
            };
            problems.add_with_help::<()>(node.span(), error.what, help);
        };
        text.parse().map_err(noted).ok()
    }
}

impl JsonSchema for Claim {
    fn schema_name() -> Cow<'static, str> {
        "Claim".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A measure, or the quotient of two, compared with a number.",
            "type": "string",
            "examples": ["answered == 0", "peer-messages / answered <= 12"],
        })
    }
}

/// What a sweep must reach: a situation in some seed, or in a share of them.
#[derive(Clone, Debug)]
pub(crate) struct Sometimes {
    pub(crate) situation: &'static str,
    pub(crate) share: Share,
}

impl Decode for Sometimes {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        if !node.get_ref().is_table() {
            let name = Name::<Situations>::decode(node, problems)?;
            return Some(Self { situation: name.text, share: Share(0.0) });
        }
        let fields = Fields::of(node, &["situation", "share"], problems)?;
        let situation: Option<Name<Situations>> = fields.read("situation", None, problems);
        let share = fields.read("share", Some("0"), problems);
        Some(Self { situation: situation?.text, share: share? })
    }
}

impl JsonSchema for Sometimes {
    fn schema_name() -> Cow<'static, str> {
        "Sometimes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let name = generator.subschema_for::<Name<Situations>>();
        json_schema!({
            "anyOf": [
                name,
                {
                    "type": "object",
                    "properties": {
                        "situation": name,
                        "share": {"type": "number", "minimum": 0, "maximum": 1},
                    },
                    "required": ["situation"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

/// Who is cut off from whom.
#[derive(Clone, Debug)]
pub(crate) enum Groups {
    RandomHalves,
    IsolateOne,
    Shape(Shape),
    Listed(Vec<At<Vec<At<Target>>>>),
}

/// The names of the shapes of a partition.
fn shapes() -> Vec<&'static str> {
    ["random-halves", "isolate-one"].into_iter().chain(Shape::ALL.map(|(name, _)| name)).collect()
}

impl Decode for Groups {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::String(shape) = node.get_ref() else {
            return Vec::decode(node, problems).map(Self::Listed);
        };
        match shape.as_ref() {
            "random-halves" => Some(Self::RandomHalves),
            "isolate-one" => Some(Self::IsolateOne),
            name => {
                let known = Shape::ALL.into_iter().find(|(known, _)| *known == name);
                known.map(|(_, shape)| Self::Shape(shape)).or_else(|| {
                    let message = format!("unknown shape of a partition `{shape}`");
                    problems.add_with_help(node.span(), message, suggest(shape, shapes()))
                })
            }
        }
    }
}

impl JsonSchema for Groups {
    fn schema_name() -> Cow<'static, str> {
        "Groups".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let target = generator.subschema_for::<Target>();
        json_schema!({
            "description": "Who is cut off from whom.",
            "anyOf": [
                {"type": "string", "enum": shapes()},
                {
                    "type": "array",
                    "minItems": 2,
                    "items": {"type": "array", "minItems": 1, "items": target},
                },
            ],
        })
    }
}
