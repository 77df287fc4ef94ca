//! From a TOML tree with places to typed values, collecting every error on the way.
//!
//! A decoder returns `None` when it has noted a problem; its caller goes on with the other fields
//! and gives up at the end. Serde stops at the first error and cannot tell a misspelt draw from a
//! misspelt number, so it is not used here.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Problems, Span, suggest};
use super::set;

/// A value and where it stands.
pub(super) type Node<'i> = Spanned<DeValue<'i>>;

/// What can be read from a TOML value.
pub(super) trait Decode: Sized {
    /// Reads the value, or notes what is wrong with it and returns `None`.
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self>;

    /// What a missing key stands for, if it may be missing.
    fn absent() -> Option<Self> {
        None
    }
}

/// A value that remembers its place, for checks across fields.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it stands; the enclosing table if it is a default.
    pub(crate) span: Span,
}

impl<T: Decode> Decode for At<T> {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        Some(Self { value: T::decode(node, problems)?, span: node.span() })
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        T::decode(node, problems).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let Some(items) = node.get_ref().as_array() else {
            if node.get_ref().is_table() {
                let help = "several tables of one name are written with two brackets, as in [[fault]]";
                return problems.add_with_help(node.span(), "expected a list, found a table", help);
            }
            return mismatch(node, "a list", problems);
        };
        let decoded: Vec<Option<T>> = items.iter().map(|item| T::decode(item, problems)).collect();
        decoded.into_iter().collect()
    }
}

impl Decode for String {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            _ => mismatch(node, "a string", problems),
        }
    }
}

/// Notes that a value is of another type than expected.
pub(super) fn mismatch<T>(node: &Node<'_>, expected: &str, problems: &mut Problems) -> Option<T> {
    let found = match node.get_ref().type_str() {
        "integer" => "an integer",
        "array" => "a list",
        "string" => "a string",
        "float" => "a number with a fraction",
        "boolean" => "true or false",
        "datetime" => "a date",
        _ => "a table",
    };
    problems.add(node.span(), format!("expected {expected}, found {found}"))
}

/// The fields of a table whose keys are known.
pub(super) struct Fields<'a, 'i> {
    table: &'a DeTable<'i>,
    span: Span,
}

impl<'a, 'i> Fields<'a, 'i> {
    /// The table at `node`; keys that are not `known` are noted.
    pub(super) fn of(
        node: &'a Node<'i>,
        known: &'static [&'static str],
        problems: &mut Problems,
    ) -> Option<Self> {
        let Some(table) = node.get_ref().as_table() else {
            return mismatch(node, "a table", problems);
        };
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let help = suggest(name, known.iter().copied());
            problems.add_with_help::<()>(key.span(), format!("unknown key `{name}`"), help);
        }
        Some(Self { table, span: node.span() })
    }

    /// What stands behind `key`.
    pub(super) fn get(&self, key: &str) -> Option<&'a Node<'i>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, node)| node)
    }

    /// The value of `key`; if it is missing, what the `default` text says.
    pub(super) fn read<T: Decode>(
        &self,
        key: &str,
        default: Option<&'static str>,
        problems: &mut Problems,
    ) -> Option<T> {
        if let Some(node) = self.get(key) {
            return T::decode(node, problems);
        }
        if let Some(text) = default {
            let node = set::respan(set::default(text), &|_| self.span.clone());
            return T::decode(&node, problems);
        }
        T::absent().or_else(|| problems.add(self.span.clone(), format!("`{key}` is missing")))
    }
}

/// Declares a table of a scenario: its keys, their types and their defaults, in one place. From it
/// come the struct, its decoder and its part of the schema. A key with a default may be missing, and
/// so may one whose type is an `Option`.
macro_rules! section {
    ($($(#[$meta:meta])* $name:ident {
        $($(#[$field_meta:meta])* $key:literal $field:ident: $type:ty $(= $default:tt)?,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(crate) struct $name {
            $(
                $(#[$field_meta])*
                #[schemars(rename = $key)]
                $(#[schemars(extend("default" = crate::scenario::set::json($default)))])?
                pub(crate) $field: $type,
            )*
        }

        impl crate::scenario::decode::Decode for $name {
            fn decode(
                node: &crate::scenario::decode::Node<'_>,
                problems: &mut crate::scenario::diagnostic::Problems,
            ) -> Option<Self> {
                let fields = crate::scenario::decode::Fields::of(node, &[$($key),*], problems)?;
                $(let $field = fields.read($key, None$(.or(Some($default)))?, problems);)*
                Some(Self { $($field: $field?),* })
            }
        }
    )*};
}

pub(super) use section;
