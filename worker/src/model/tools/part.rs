//! An adapted schema while it is assembled.

use serde_json::{Map, Value, json};

use super::kind::Kinds;

/// An adapted schema that may still be merged with others.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) members: Map<String, Value>,
    /// Sentences for the description.
    pub(super) notes: Vec<String>,
    /// The value can be null.
    pub(super) is_nullable: bool,
    /// There is a default, so that the value can be left out.
    pub(super) is_optional: bool,
}

impl Part {
    /// Only the type of a schema.
    pub(super) fn shell(source: &Map<String, Value>) -> Self {
        let mut shell = Self::default();
        if let [kind] = Kinds::of(source).others.as_slice() {
            shell.members.insert("type".to_owned(), json!(kind));
        }
        shell
    }

    /// Adds the members of a schema that applies to the same value. Existing members have precedence.
    pub(super) fn absorb(&mut self, other: Self) {
        self.notes.extend(other.notes);
        self.is_nullable |= other.is_nullable;
        self.is_optional |= other.is_optional;
        for (keyword, value) in other.members {
            match (self.members.get_mut(&keyword), value) {
                (Some(Value::Object(properties)), Value::Object(others)) if keyword == "properties" => {
                    for (name, property) in others {
                        properties.entry(name).or_insert(property);
                    }
                }
                (Some(Value::Array(required)), Value::Array(others)) if keyword == "required" => {
                    for name in others {
                        if !required.contains(&name) {
                            required.push(name);
                        }
                    }
                }
                (Some(_), _) => {}
                (None, value) => {
                    self.members.insert(keyword, value);
                }
            }
        }
    }

    /// Adds what every provider requires, and the notes.
    pub(super) fn into_schema(mut self) -> Value {
        let kind = self
            .members
            .get("type")
            .and_then(Value::as_str)
            .map(str::to_owned);
        match kind.as_deref() {
            Some("object") => self.finish_object(),
            Some("array") => {
                self.members
                    .entry("items")
                    .or_insert_with(|| Self::default().into_schema());
            }
            None if !self.members.contains_key("anyOf") => {
                let types = ["string", "number", "boolean"].map(|kind| json!({"type": kind}));
                let mut any = types.to_vec();
                any.push(json!({"type": "object", "properties": {}}));
                self.members.insert("anyOf".to_owned(), json!(any));
            }
            _ => {}
        }
        if self.is_nullable && !self.is_optional {
            self.notes.push("May be null.".to_owned());
        }
        if !self.notes.is_empty() {
            let text = self.members.get("description").and_then(Value::as_str);
            let notes = self.notes.join(" ");
            let text = text.map_or_else(|| notes.clone(), |text| format!("{text} {notes}"));
            self.members.insert("description".to_owned(), json!(text));
        }
        Value::Object(self.members)
    }

    fn finish_object(&mut self) {
        let properties = self
            .members
            .entry("properties")
            .or_insert_with(|| json!({}))
            .clone();
        if let Some(Value::Array(required)) = self.members.get_mut("required") {
            required.retain(|name| name.as_str().is_some_and(|name| properties.get(name).is_some()));
            if required.is_empty() {
                self.members.remove("required");
            }
        }
    }
}
