//! Reading a tree into structs. A table of settings is declared once, by [`section!`]: the fields,
//! their defaults as they would stand in the file, and the words that explain them. The reader, the
//! list of known keys and the shipped `config.toml` all come from that declaration, so they cannot
//! disagree.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::fault::{Fault, FaultKind, Place};
use super::tree::{Environment, Node, Value, join};
use crate::domain::money::Currency;

/// One declared key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name within its table.
    pub name: &'static str,
    /// What it does and why, as its struct field says it.
    pub doc: &'static str,
    /// What holds when it is not stated.
    pub default: Default,
    /// The least and greatest number allowed (durations in seconds, money in main units,
    /// percentages as fractions).
    pub range: Option<(f64, f64)>,
    /// Whether it says who a tenant is, so that it makes no sense in `[defaults]`.
    pub is_own: bool,
    /// The keys below it, of a table.
    pub keys: fn() -> &'static [Key],
    /// What it is for, of a table.
    pub about: fn() -> &'static str,
}

/// What holds when a key is not stated.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// This value, as it would stand after the equals sign.
    Text(&'static str),
    /// Nothing: it must be stated, for example like this.
    Required(&'static str),
    /// The feature is not used, or the value follows from others; an example.
    Optional(&'static str),
    /// A table, whose keys have their own.
    Table,
}

/// A `Default` with the range and the owner that belong to it, as declarations write it.
#[derive(Clone, Copy)]
pub(crate) struct Declared {
    pub(crate) default: Default,
    pub(crate) range: Option<(f64, f64)>,
    pub(crate) is_own: bool,
}

impl Declared {
    pub(crate) const fn within(self, least: f64, greatest: f64) -> Self {
        Self {
            range: Some((least, greatest)),
            ..self
        }
    }

    /// Says that the key belongs to one tenant and never to `[defaults]`.
    pub(crate) const fn own(self) -> Self {
        Self {
            is_own: true,
            ..self
        }
    }
}

const fn declared(default: Default) -> Declared {
    Declared {
        default,
        range: None,
        is_own: false,
    }
}

pub(crate) const fn default(toml: &'static str) -> Declared {
    declared(Default::Text(toml))
}

pub(crate) const fn required(example: &'static str) -> Declared {
    declared(Default::Required(example))
}

pub(crate) const fn optional(example: &'static str) -> Declared {
    declared(Default::Optional(example))
}

pub(crate) const fn table() -> Declared {
    declared(Default::Table)
}

/// A type that a setting can have.
pub(crate) trait FromNode: Sized {
    /// The keys below, when it is a table of declared keys.
    fn keys() -> &'static [Key] {
        &[]
    }

    /// What it is for, when it is such a table.
    fn about() -> &'static str {
        ""
    }

    /// Reads it; `None` after having reported why not.
    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self>;

    /// The value when the key is optional and not stated.
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: FromNode> FromNode for Option<T> {
    fn keys() -> &'static [Key] {
        T::keys()
    }

    fn about() -> &'static str {
        T::about()
    }

    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self> {
        T::read(node, path, cx).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// A table of declared keys, as [`section!`] makes it.
pub(crate) trait Section: FromNode {
    /// What the table is for.
    const ABOUT: &'static str;
    /// Its keys, in the order of the shipped file.
    const KEYS: &'static [Key];

    /// The names of the keys whose values differ.
    fn differing(&self, other: &Self) -> Vec<&'static str>;
}

/// What reading needs besides the tree, and what it gathers.
pub(crate) struct Context<'e> {
    pub(crate) environment: &'e Environment,
    /// What relative paths in the file are relative to.
    pub(crate) base: PathBuf,
    /// The currency of the tenant being read.
    pub(crate) currency: Option<Currency>,
    /// The range of the key being read.
    pub(crate) range: Option<(f64, f64)>,
    /// Where the tenant being read begins: the place of what it should have stated.
    pub(crate) owner: Option<Place>,
    /// Where each key that was read stands.
    pub(crate) places: BTreeMap<String, Place>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) warnings: Vec<Fault>,
}

impl<'e> Context<'e> {
    pub(crate) fn new(environment: &'e Environment, base: PathBuf) -> Self {
        Self {
            environment,
            base,
            currency: None,
            range: None,
            owner: None,
            places: BTreeMap::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Reports a fault of a value.
    pub(crate) fn fault(
        &mut self,
        kind: FaultKind,
        node: &Node,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        // A value that nobody wrote is at fault only because something else is not stated.
        let place = match (&self.owner, node.is_default()) {
            (Some(owner), true) => owner.clone(),
            _ => node.place.clone(),
        };
        self.faults.push(Fault {
            place,
            key: node.key.clone(),
            kind,
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// Reports a value of the wrong type.
    pub(crate) fn wrong_type(&mut self, node: &Node, wanted: &str, example: &str) {
        let problem = format!("expected {wanted}, found {}", node.kind());
        self.fault(
            FaultKind::WrongType,
            node,
            problem,
            format!("write {example}"),
        );
    }

    /// Checks a number against the range of its key.
    pub(crate) fn in_range(&mut self, node: &Node, number: f64, shown: &str) -> bool {
        let Some((least, greatest)) = self.range else {
            return true;
        };
        if (least..=greatest).contains(&number) {
            return true;
        }
        let problem = if number < least {
            format!("{shown} is too small")
        } else {
            format!("{shown} is too large")
        };
        let unit = match node.value {
            Value::Text(_) if shown.ends_with('%') => {
                let (least, greatest) = (least * 100.0, greatest * 100.0);
                format!("from \"{least}%\" to \"{greatest}%\"")
            }
            Value::Text(_) if shown.ends_with(|c: char| c.is_ascii_lowercase()) => {
                format!("from {least} to {greatest} seconds")
            }
            _ => format!("from {least} to {greatest}"),
        };
        self.fault(
            FaultKind::BadValue,
            node,
            problem,
            format!("it may be {unit}"),
        );
        false
    }

    /// The text of a node; reports anything else.
    pub(crate) fn text<'n>(
        &mut self,
        node: &'n Node,
        wanted: &str,
        example: &str,
    ) -> Option<&'n str> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        self.wrong_type(node, wanted, example);
        None
    }
}

/// A table being read.
pub(crate) struct TableReader<'a, 'e> {
    node: &'a Node,
    path: &'a str,
    keys: &'static [Key],
    pub(crate) cx: &'a mut Context<'e>,
}

impl TableReader<'_, '_> {
    /// Reads the value of a declared key, or its default.
    pub(crate) fn read<T: FromNode>(&mut self, name: &'static str) -> Option<T> {
        let key = self.keys.iter().find(|key| key.name == name)?;
        let path = join(self.path, name);
        self.cx.range = key.range;
        if let Some(node) = self.node.get(name) {
            self.cx.places.insert(path.clone(), node.place.clone());
            return T::read(node, &path, self.cx);
        }
        match key.default {
            Default::Text(toml) => T::read(&Node::of_default(toml, &path), &path, self.cx),
            Default::Optional(_) => T::absent(),
            Default::Table => T::read(&Node::empty(self.node.place.clone(), &path), &path, self.cx),
            Default::Required(example) => {
                // A table taken from `[defaults]` is not where the tenant should state it.
                let place = match &self.cx.owner {
                    Some(owner) if self.node.key != self.path => owner.clone(),
                    _ => self.node.place.clone(),
                };
                self.cx.faults.push(Fault {
                    place,
                    key: path,
                    kind: FaultKind::Missing,
                    problem: "it must be stated and is not".to_owned(),
                    remedy: format!("add for example {name} = {example}"),
                });
                None
            }
        }
    }
}

/// Reads a table of declared keys, reporting every key that is not among them.
pub(crate) fn read_table<T>(
    node: &Node,
    path: &str,
    cx: &mut Context<'_>,
    keys: &'static [Key],
    read: impl FnOnce(&mut TableReader<'_, '_>) -> Option<T>,
) -> Option<T> {
    let unfolded = node.unfolded();
    let node = unfolded.as_ref().unwrap_or(node);
    let Value::Table(entries) = &node.value else {
        cx.wrong_type(node, "a table", "it as [table] or { key = value }");
        return None;
    };
    for entry in entries {
        if !keys.iter().any(|key| key.name == entry.name) {
            cx.faults.push(Fault {
                place: entry.place.clone(),
                key: entry.node.key.clone(),
                kind: FaultKind::UnknownKey,
                problem: format!("there is no setting {:?} here", entry.name),
                remedy: suggestion(&entry.name, keys),
            });
        }
    }
    read(&mut TableReader {
        node,
        path,
        keys,
        cx,
    })
}

/// What a misspelt or misplaced key was meant to be.
pub(crate) fn suggestion(name: &str, keys: &'static [Key]) -> String {
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    if let Some(near) = nearest(name, &names) {
        return format!("did you mean {near:?}?");
    }
    let below = keys
        .iter()
        .find(|key| (key.keys)().iter().any(|k| k.name == name));
    if let Some(below) = below {
        return format!("{name:?} belongs to the table {:?}", below.name);
    }
    let elsewhere = super::reference::all_keys()
        .into_iter()
        .find(|(path, _)| path.rsplit('.').next() == Some(name));
    if let Some((path, _)) = elsewhere {
        return format!("the setting of that name is {path}");
    }
    format!("known here: {}", names.join(", "))
}

/// The name nearest to `name`, if any is near enough to be meant.
pub(crate) fn nearest<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let name = name.to_lowercase();
    names
        .iter()
        .map(|known| (distance(&name, known), *known))
        .filter(|(distance, known)| *distance <= (known.chars().count() / 3).clamp(1, 3))
        .min()
        .map(|(_, known)| known)
}

/// Edits (insert, remove, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    let at = |rows: &[Vec<usize>], i: usize, j: usize| {
        rows.get(i)
            .and_then(|row| row.get(j))
            .copied()
            .unwrap_or(usize::MAX / 2)
    };
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = a.get(i - 1) == b.get(j - 1);
            let left = row.last().copied().unwrap_or(i);
            let mut best = (at(&rows, i - 1, j) + 1)
                .min(left + 1)
                .min(at(&rows, i - 1, j - 1) + usize::from(!same));
            let swapped =
                i > 1 && j > 1 && a.get(i - 1) == b.get(j - 2) && a.get(i - 2) == b.get(j - 1);
            if swapped {
                best = best.min(at(&rows, i - 2, j - 2) + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    at(&rows, a.len(), b.len())
}

/// Declares a table of settings: see the module's page.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $Name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident : $ty:ty = $declared:expr, )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Name {
            $( $(#[doc = $doc])+ pub $field: $ty, )+
        }

        impl $crate::config::read::Section for $Name {
            const ABOUT: &'static str = concat!($($about, "\n"),+);

            const KEYS: &'static [$crate::config::read::Key] = &[
                $( {
                    let declared: $crate::config::read::Declared = $declared;
                    $crate::config::read::Key {
                        name: stringify!($field),
                        doc: concat!($($doc, "\n"),+),
                        default: declared.default,
                        range: declared.range,
                        is_own: declared.is_own,
                        keys: <$ty as $crate::config::read::FromNode>::keys,
                        about: <$ty as $crate::config::read::FromNode>::about,
                    }
                } ),+
            ];

            fn differing(&self, other: &Self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $( if self.$field != other.$field { names.push(stringify!($field)); } )+
                names
            }
        }

        impl $crate::config::read::FromNode for $Name {
            fn keys() -> &'static [$crate::config::read::Key] {
                <Self as $crate::config::read::Section>::KEYS
            }

            fn about() -> &'static str {
                <Self as $crate::config::read::Section>::ABOUT
            }

            fn read(
                node: &$crate::config::tree::Node,
                path: &str,
                cx: &mut $crate::config::read::Context<'_>,
            ) -> Option<Self> {
                $crate::config::read::read_table(node, path, cx, Self::keys(), |table| {
                    // All are read before any is missed: every fault is to be reported.
                    $( let $field = table.read::<$ty>(stringify!($field)); )+
                    Some(Self { $( $field: $field?, )+ })
                })
            }
        }
    };
}
pub(crate) use section;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_meant() {
        let known = ["listen", "daily_cap", "max_change", "min_change", "epoch"];
        for (typed, meant) in [
            ("lsiten", Some("listen")),
            ("Listen", Some("listen")),
            ("dailycap", Some("daily_cap")),
            ("max_chnage", Some("max_change")),
            ("speed", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
    }
}
