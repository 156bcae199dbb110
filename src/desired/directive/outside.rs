//! What leads outside: variables, files, Python's objects and Python itself, each only as far as the agent's settings allow.
//!
//! In: what a directive was given. Out: the directive, or what is wrong with it and which setting would allow it. Who writes
//! znodes reaches nothing of this host beyond these lists (law 9). Names are checked here and never followed.

use super::super::item::Item;
use super::super::lens::is_canonical;
use super::super::notes::Field;
use super::{Place, Reader};
use crate::model::value::{Directive, DottedName, is_identifier};

impl Reader<'_, '_> {
    pub(super) fn env(&mut self, line: u64, item: Item, field: &Field<'_>) -> Option<Directive> {
        let name = self.text(line, item, field, "the name of an environment variable")?;
        if !is_identifier(&name) {
            self.notes.error(line, field, "expected the name of an environment variable: letters, digits and underscores");
        } else if !self.allowed.has_env(&name) {
            self.refuse(line, field, "variable", ["render.allow_env", "secrets.env"]);
        } else {
            return Some(Directive::Env(name));
        }
        None
    }

    pub(super) fn file(&mut self, line: u64, item: Item, field: &Field<'_>) -> Option<Directive> {
        let path = self.text(line, item, field, "the path of a file")?;
        if !is_canonical(&path) {
            self.notes.error(line, field, "expected the absolute path of a file, without `.`, `..` and doubled slashes");
        } else if !self.allowed.has_file(&path) {
            self.refuse(line, field, "file", ["render.allow_files", "secrets.files"]);
        } else {
            return Some(Directive::File(path));
        }
        None
    }

    pub(super) fn dotted(&mut self, line: u64, item: Item, field: &Field<'_>) -> Option<DottedName> {
        let text = self.text(line, item, field, "a dotted Python name")?;
        match DottedName::parse(&text) {
            None => return self.none(line, field, "expected a dotted Python name like cachelib.redis.RedisCache"),
            Some(name) if self.allowed.has_object(name.as_str()) => return Some(name),
            Some(_) => {}
        }
        self.refuse(line, field, "object", ["render.allow_objects"; 2]);
        None
    }

    pub(super) fn python(&mut self, line: u64, item: Item, field: &Field<'_>) -> Option<Directive> {
        let text = self.text(line, item, field, "a Python expression")?;
        if !self.allowed.python {
            let hint = "`render.allow_python: true` in the agent's settings allows it; most values have a directive of their own";
            self.notes.hinted(line, field, "`$python` is not allowed here", hint.to_owned());
        } else if text.trim().is_empty() || text.contains('\0') {
            self.notes.error(line, field, "expected a Python expression");
        } else {
            return Some(Directive::Python(text));
        }
        None
    }

    fn refuse(&mut self, line: u64, field: &Field<'_>, what: &str, settings: [&str; 2]) {
        let setting = settings[usize::from(self.place == Place::Datasource)];
        let hint = format!("`{setting}` in the agent's settings says which may be named");
        self.notes.hinted(line, field, format!("this {what} may not be named here"), hint);
    }
}
