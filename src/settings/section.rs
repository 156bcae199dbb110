//! Reading one section of the raw settings, key by key, into meant values.
//!
//! A [`Section`] looks a key up in what was given, then in the defaults, resolves `$env` and `$file`, and notes every problem
//! instead of stopping at the first. What it was never asked for is unknown, and is refused when the section is closed: the
//! code that reads a key is the one list of keys.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Reference;
use super::environment;
use super::scalars::{Read, Wrong, text};
use super::tree::{Directive, Entry, Layer, Node, Place, Value, join};
use crate::model::problem::{Problem, nearest};
use crate::model::secret::SecretText;

/// A problem was noted; there is no value to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noted;

/// What reading a key gives.
pub(super) type Meant<T> = Result<T, Noted>;

/// What all sections of one load share.
pub(super) struct Reading<'a> {
    /// The environment that `$env` may name.
    pub(super) env: &'a BTreeMap<String, String>,
    /// Reads a file that `$file` names.
    pub(super) read_file: &'a dyn Fn(&Path) -> io::Result<String>,
    /// What was found wrong so far.
    pub(super) problems: Vec<Problem>,
}

/// One mapping of the settings, while it is read.
pub(super) struct Section<'r, 'a> {
    reading: &'r mut Reading<'a>,
    path: String,
    given: Option<&'a Node>,
    default: Option<&'a Node>,
    asked: Vec<&'static str>,
}

impl<'a> Reading<'a> {
    /// Reads all of `given` over `defaults`.
    pub(super) fn top<T>(
        &mut self,
        given: &'a Node,
        defaults: &'a Node,
        read: impl FnOnce(&mut Section<'_, 'a>) -> Meant<T>,
    ) -> Meant<T> {
        self.section(String::new(), Some(given), Some(defaults), read)
    }

    fn section<T>(
        &mut self,
        path: String,
        given: Option<&'a Node>,
        default: Option<&'a Node>,
        read: impl FnOnce(&mut Section<'_, 'a>) -> Meant<T>,
    ) -> Meant<T> {
        let given = given.filter(|node| !node.is_null());
        if let Some(node) = given.filter(|node| !matches!(node.value, Value::Map(_))) {
            self.note(&node.place, &path, Wrong::kind("a mapping", node));
            return Err(Noted);
        }
        let mut section = Section { reading: self, path, given, default, asked: Vec::new() };
        let meant = read(&mut section);
        section.close();
        meant
    }

    fn note(&mut self, place: &Place, path: &str, wrong: Wrong) {
        let problem = place.problem(path, wrong.message);
        self.problems.push(match wrong.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    /// The text behind a directive, as bare text; anything else as it is.
    fn resolve(&self, node: &Node) -> Read<Node> {
        let text = match node.directive() {
            None => return Ok(node.clone()),
            Some(Directive::Env(name)) => {
                self.env.get(name).cloned().ok_or_else(|| Wrong::new(format!("environment variable {name} is not set")))?
            }
            Some(Directive::File(path)) => {
                (self.read_file)(path).map_err(|why| Wrong::new(format!("failed to read {}: {why}", path.display())))?
            }
        };
        Ok(Node { value: Value::Bare(text.trim_end_matches(['\n', '\r']).to_owned()), place: node.place.clone() })
    }
}

impl<'a> Section<'_, 'a> {
    /// The value of `key`, which has a default or must be given.
    pub(super) fn value<T: PartialEq>(&mut self, key: &'static str, read: impl Fn(&Node) -> Read<T>) -> Meant<T> {
        let Some(node) = self.find(key) else {
            self.refuse(key, Wrong::new("missing"));
            return Err(Noted);
        };
        self.take(key, node, &read)
    }

    /// The value of `key`, or `default` where it is missing.
    pub(super) fn value_or<T: PartialEq>(&mut self, key: &'static str, read: impl Fn(&Node) -> Read<T>, default: T) -> Meant<T> {
        match self.find(key) {
            Some(_) => self.value(key, read),
            None => Ok(default),
        }
    }

    /// The value of `key`, which may be null or missing.
    pub(super) fn optional<T>(&mut self, key: &'static str, read: impl Fn(&Node) -> Read<T>) -> Meant<Option<T>> {
        let Some(node) = self.find(key).filter(|node| !node.is_null()) else { return Ok(None) };
        self.take(key, node, &read).map(Some)
    }

    /// The secret at `key`, or where to find it.
    pub(super) fn secret(&mut self, key: &'static str) -> Meant<Reference> {
        let Some(node) = self.find(key) else {
            self.refuse(key, Wrong::new("missing"));
            return Err(Noted);
        };
        match node.directive() {
            Some(Directive::Env(name)) => Ok(Reference::Env(name.to_owned())),
            Some(Directive::File(path)) => Ok(Reference::File(PathBuf::from(path))),
            None => self.take(key, node, &|node: &Node| text(node).map(SecretText::new)).map(Reference::Plain),
        }
    }

    /// A list of single values.
    pub(super) fn list<T>(&mut self, key: &'static str, read: impl Fn(&Node) -> Read<T>) -> Meant<Vec<T>> {
        let (_, items) = self.items(key)?;
        let read = items.iter().enumerate().map(|(at, item)| self.take(&format!("{key}.{at}"), item, &read));
        all(read.collect())
    }

    /// A list of single values, which may be null or missing.
    pub(super) fn optional_list<T>(&mut self, key: &'static str, read: impl Fn(&Node) -> Read<T>) -> Meant<Option<Vec<T>>> {
        match self.find(key).filter(|node| !node.is_null()) {
            Some(_) => self.list(key, read).map(Some),
            None => Ok(None),
        }
    }

    /// A list of mappings.
    pub(super) fn sections<T>(&mut self, key: &'static str, read: impl Fn(&mut Section<'_, 'a>) -> Meant<T>) -> Meant<Vec<T>> {
        let (_, items) = self.items(key)?;
        let path = join(&self.path, key);
        let read = items.iter().enumerate().map(|(at, item)| {
            let path = format!("{path}.{at}");
            if item.is_null() {
                self.reading.note(&item.place, &path, Wrong::kind("a mapping", item));
                return Err(Noted);
            }
            self.reading.section(path, Some(item), None, &read)
        });
        all(read.collect())
    }

    /// A mapping of texts under keys of any name.
    pub(super) fn texts(&mut self, key: &'static str) -> Meant<BTreeMap<String, String>> {
        let node = self.find(key).filter(|node| !node.is_null());
        if let Some(node) = node.filter(|node| !matches!(node.value, Value::Map(_))) {
            self.refuse(key, Wrong::kind("a mapping", node));
            return Err(Noted);
        }
        let read =
            node.map(Node::entries).unwrap_or_default().iter().map(|Entry { name, node, .. }| {
                self.take(&format!("{key}.{name}"), node, &text).map(|text| (name.clone(), text))
            });
        all(read.collect()).map(|texts| texts.into_iter().collect())
    }

    /// A section, which always exists: its keys have defaults.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_, 'a>) -> Meant<T>) -> Meant<T> {
        self.asked.push(key);
        let (given, default) = (self.given.and_then(|node| node.get(key)), self.default_of(key));
        self.reading.section(join(&self.path, key), given, default, read)
    }

    /// A section that may be null or missing.
    pub(super) fn optional_section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> Meant<T>,
    ) -> Meant<Option<T>> {
        let Some(node) = self.find(key).filter(|node| !node.is_null()) else { return Ok(None) };
        self.reading.section(join(&self.path, key), Some(node), None, read).map(Some)
    }

    /// The node at `key`, given or default.
    pub(super) fn find(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        self.given_at(key).or_else(|| self.default_of(key))
    }

    /// What was given at `key`, a dotted path within this section.
    pub(super) fn given_at(&self, key: &str) -> Option<&'a Node> {
        key.split('.').try_fold(self.given?, |node, name| node.get(name))
    }

    /// Notes a problem with `key`, a dotted path within this section.
    pub(super) fn refuse(&mut self, key: &str, wrong: Wrong) {
        let place = match self.given_at(key).or(self.given) {
            Some(node) => node.place.clone(),
            None => Place::within(Layer::Defaults),
        };
        self.reading.note(&place, &join(&self.path, key), wrong);
    }

    /// Notes each law that is broken.
    pub(super) fn obey(&mut self, broken: Vec<(&'static str, Wrong)>) {
        for (key, wrong) in broken {
            self.refuse(key, wrong);
        }
    }

    fn default_of(&self, key: &str) -> Option<&'a Node> {
        self.default.and_then(|node| node.get(key))
    }

    fn items(&mut self, key: &'static str) -> Meant<(&'a Node, &'a [Node])> {
        let wrong = match self.find(key) {
            Some(node @ Node { value: Value::List(items), .. }) => return Ok((node, items)),
            Some(node) => Wrong::kind("a list", node).hint("write it like [first, second]"),
            None => Wrong::new("missing"),
        };
        self.refuse(key, wrong);
        Err(Noted)
    }

    fn take<T>(&mut self, key: &str, node: &Node, read: &impl Fn(&Node) -> Read<T>) -> Meant<T> {
        match self.reading.resolve(node).and_then(|node| read(&node)) {
            Ok(value) => Ok(value),
            Err(wrong) => {
                self.reading.note(&node.place, &join(&self.path, key), wrong);
                Err(Noted)
            }
        }
    }

    fn close(self) {
        let entries = [self.given, self.default].into_iter().flatten().flat_map(Node::entries);
        for entry in entries.filter(|entry| !self.asked.contains(&entry.name.as_str())) {
            let path = join(&self.path, &entry.name);
            let near = nearest(&entry.name, self.asked.iter().copied()).map(|near| join(&self.path, near));
            let hint = match (&entry.place.layer, near) {
                (Layer::Variable(_), Some(near)) => format!("did you mean {}?", environment::variable(&near)),
                (_, Some(near)) => format!("did you mean `{near}`?"),
                (_, None) => format!("known here: {}", self.asked.join(", ")),
            };
            self.reading.note(&entry.place, &path, Wrong::new("unknown key").hint(hint));
        }
    }
}

/// All values, or none where one is missing; the others were read all the same.
fn all<T>(read: Vec<Meant<T>>) -> Meant<Vec<T>> {
    read.into_iter().collect()
}
