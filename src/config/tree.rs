//! The settings as they are written: a tree in which every value knows its place and its key, made
//! from TOML files and from the environment, and laid over one another.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::fault::{Fault, FaultKind, Place};

/// The source of values that nobody wrote.
const DEFAULT: &str = "default";

/// A value, its place and its full key as written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
    pub(crate) key: String,
}

/// A value as TOML has it. Tables keep the order of the file.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Datetime(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table and what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Where the key stands, which is where a misspelling is.
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// Environment variables: the process's own, or a test's.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process; those that are not Unicode are left out.
    #[must_use]
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }

    /// No variable at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn overrides(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for Environment {
    fn from(pairs: [(K, V); N]) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        )
    }
}

/// What begins the name of a variable that overrides a setting; its parts are joined by the same
/// double underscore, since single ones are part of keys.
const PREFIX: &str = "ROASD__";

impl Node {
    /// An empty table.
    pub(crate) fn empty(place: Place, key: &str) -> Self {
        Self {
            value: Value::Table(Vec::new()),
            place,
            key: key.to_owned(),
        }
    }

    /// The value of a default, which is TOML as it would stand after the equals sign.
    pub(crate) fn of_default(toml: &str, key: &str) -> Self {
        let place = Place::whole(DEFAULT);
        let value = inline(toml).unwrap_or_else(|| Value::Text(toml.to_owned()));
        let mut node = Self {
            value,
            place: place.clone(),
            key: key.to_owned(),
        };
        node.put_place(&place, key);
        node
    }

    /// Whether nobody wrote it.
    pub(crate) fn is_default(&self) -> bool {
        &*self.place.source == DEFAULT
    }

    /// Whether it came from the environment, where all values are text.
    pub(crate) fn is_from_environment(&self) -> bool {
        self.place.source.starts_with("environment ")
    }

    /// The entry of this name, of a table.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| &entry.node)
    }

    /// The entries of a table; none of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// What it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number with decimals",
            Value::Bool(_) => "true or false",
            Value::Datetime(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// Whether two values are the same, wherever they stand.
    #[cfg(test)]
    pub(crate) fn same_value(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Text(a), Value::Text(b)) | (Value::Datetime(a), Value::Datetime(b)) => a == b,
            (Value::Integer(a), Value::Integer(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_value(b))
            }
            (Value::Table(a), Value::Table(b)) => {
                a.len() == b.len()
                    && a.iter().all(|entry| {
                        other
                            .get(&entry.name)
                            .is_some_and(|o| entry.node.same_value(o))
                    })
            }
            _ => false,
        }
    }

    fn put_place(&mut self, place: &Place, key: &str) {
        self.place = place.clone();
        key.clone_into(&mut self.key);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.put_place(place, key)),
            Value::Table(entries) => {
                for entry in entries {
                    entry.place = place.clone();
                    entry.node.put_place(place, &join(key, &entry.name));
                }
            }
            _ => {}
        }
    }

    /// Text from the environment that is a table or list in TOML's inline form, as such.
    pub(crate) fn unfolded(&self) -> Option<Self> {
        let Value::Text(text) = &self.value else {
            return None;
        };
        let opens = text.trim_start().starts_with(['{', '[']);
        if !opens || !self.is_from_environment() {
            return None;
        }
        let mut node = self.clone();
        node.value = inline(text)?;
        node.put_place(&self.place, &self.key);
        Some(node)
    }
}

/// A key below another.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn inline(toml: &str) -> Option<Value> {
    let text = format!("x = {toml}");
    let (tree, faults) = parse("", &text);
    match tree.value {
        Value::Table(entries) if faults.is_empty() && entries.len() == 1 => {
            entries.into_iter().next().map(|entry| entry.node.value)
        }
        _ => None,
    }
}

/// Reads TOML, going on after mistakes: the tree of what could be read, and every mistake.
pub(crate) fn parse(source: &str, text: &str) -> (Node, Vec<Fault>) {
    let lines = Lines::new(source, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let faults = errors
        .iter()
        .map(|error| Fault {
            place: lines.place(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            kind: FaultKind::Syntax,
            problem: format!("this is not TOML: {}", error.message()),
            remedy: String::new(),
        })
        .collect();
    let root = Node {
        value: lines.table(table.get_ref(), ""),
        place: Place::whole(source),
        key: String::new(),
    };
    (root, faults)
}

/// Turns offsets in a text into lines and columns.
struct Lines<'t> {
    source: Arc<str>,
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(source: &str, text: &'t str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            source: Arc::from(source),
            text,
            starts,
        }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|i| self.starts.get(i))
            .copied()
            .unwrap_or(0);
        let column = self
            .text
            .get(start..offset)
            .map_or(0, |before| before.chars().count() + 1);
        Place {
            source: Arc::clone(&self.source),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    fn table(&self, table: &DeTable<'_>, path: &str) -> Value {
        let mut entries: Vec<(usize, Entry)> = table
            .iter()
            .map(|(name, value)| {
                let key = join(path, name.get_ref());
                // The place of a setting is that of its key: a value may go over many lines.
                let place = self.place(name.span().start);
                let entry = Entry {
                    name: name.get_ref().to_string(),
                    place: place.clone(),
                    node: Node {
                        value: self.value(value.get_ref(), &key),
                        place,
                        key,
                    },
                };
                (name.span().start, entry)
            })
            .collect();
        entries.sort_by_key(|(at, _)| *at);
        Value::Table(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    fn value(&self, value: &DeValue<'_>, key: &str) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
                .map_or_else(|_| Value::Text(i.to_string()), Value::Integer),
            DeValue::Float(f) => f
                .as_str()
                .parse()
                .map_or_else(|_| Value::Text(f.to_string()), Value::Float),
            DeValue::Boolean(b) => Value::Bool(*b),
            DeValue::Datetime(at) => Value::Datetime(at.to_string()),
            DeValue::Array(items) => Value::List(
                items
                    .iter()
                    .map(|item| Node {
                        value: self.value(item.get_ref(), key),
                        place: self.place(item.span().start),
                        key: key.to_owned(),
                    })
                    .collect(),
            ),
            DeValue::Table(table) => self.table(table, key),
        }
    }
}

/// Lays `over` on top of `under`: tables are joined key by key, anything else is replaced. What
/// only means something as a whole (a reference to a secret, a list of stages) is replaced too.
pub(crate) fn overlay(under: &Node, over: &Node) -> Node {
    let (Value::Table(below), Value::Table(above)) = (&under.value, &over.value) else {
        return over.clone();
    };
    if is_whole(under) || is_whole(over) {
        return over.clone();
    }
    let mut entries = above.clone();
    for entry in &mut entries {
        if let Some(lower) = under.get(&entry.name) {
            entry.node = overlay(lower, &entry.node);
        }
    }
    let missing = below.iter().filter(|entry| over.get(&entry.name).is_none());
    entries.extend(missing.cloned());
    Node {
        value: Value::Table(entries),
        ..over.clone()
    }
}

fn is_whole(node: &Node) -> bool {
    let secret = ["env", "file", "credential"];
    node.key.ends_with(".stages") || secret.iter().any(|name| node.get(name).is_some())
}

/// Puts the overrides of the environment into the tree. A name is matched with a key that is there
/// without regard to case, and with `_` for `-`, which variables cannot have.
pub(crate) fn put_environment(root: &mut Node, environment: &Environment) {
    for (variable, text) in environment.overrides() {
        let path = variable.get(PREFIX.len()..).unwrap_or("");
        let place = Place::whole(&format!("environment variable {variable}"));
        let names: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        put(root, &names, &place, text);
    }
}

fn put(node: &mut Node, names: &[String], place: &Place, text: &str) {
    let Some((name, rest)) = names.split_first() else {
        node.value = Value::Text(text.to_owned());
        node.place = place.clone();
        return;
    };
    if !matches!(node.value, Value::Table(_)) {
        node.value = Value::Table(Vec::new());
        node.place = place.clone();
    }
    let key = node.key.clone();
    let Value::Table(entries) = &mut node.value else {
        return;
    };
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let at = entries
        .iter()
        .position(|entry| entry.name == *name)
        .or_else(|| entries.iter().position(|entry| plain(&entry.name) == *name));
    let at = at.unwrap_or_else(|| {
        entries.push(Entry {
            name: name.clone(),
            place: place.clone(),
            node: Node::empty(place.clone(), &join(&key, name)),
        });
        entries.len() - 1
    });
    if let Some(entry) = entries.get_mut(at) {
        put(&mut entry.node, rest, place, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, key: &[&str]) -> (u32, u32) {
        let (root, faults) = parse("f", text);
        assert!(faults.is_empty(), "{faults:?}");
        let node = key.iter().fold(&root, |node, name| node.get(name).unwrap());
        (node.place.line, node.place.column)
    }

    #[test]
    fn every_key_knows_its_line() {
        let text = "a = 1\n\n[b.c]\n  d = { e = 2,\n   f = 3 }\n";
        assert_eq!(place(text, &["a"]), (1, 1));
        assert_eq!(place(text, &["b", "c"]), (3, 4));
        assert_eq!(place(text, &["b", "c", "d", "f"]), (5, 4));
    }

    #[test]
    fn every_mistake_is_found_not_only_the_first() {
        let (_, faults) = parse("f", "a = \nb = 1\nb = 2\nc == 3\n");
        let lines: Vec<u32> = faults.iter().map(|fault| fault.place.line).collect();
        assert!(lines.len() >= 3, "{faults:#?}");
        assert!(
            lines.contains(&1) && lines.contains(&3) && lines.contains(&4),
            "{faults:#?}"
        );
    }

    #[test]
    fn an_overlay_joins_tables_and_replaces_secrets() {
        let (under, _) = parse("u", "t = { a = 1, b = 2 }\ns = { env = 'X' }");
        let (over, _) = parse("o", "t = { b = 3 }\ns = { file = 'y' }");
        let both = overlay(&under, &over);
        let (expected, _) = parse("e", "t = { a = 1, b = 3 }\ns = { file = 'y' }");
        assert!(both.same_value(&expected));
    }

    #[test]
    fn a_variable_finds_a_key_that_it_cannot_spell() {
        let (mut root, _) = parse("f", "[tenants.my-shop]\ncurrency = 'EUR'\n");
        let environment = Environment::from([("ROASD__TENANTS__MY_SHOP__CURRENCY", "USD")]);
        put_environment(&mut root, &environment);
        let node = root.get("tenants").unwrap().get("my-shop").unwrap();
        assert!(matches!(&node.get("currency").unwrap().value, Value::Text(t) if t == "USD"));
    }
}
