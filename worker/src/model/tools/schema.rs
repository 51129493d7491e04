//! Adapts a JSON Schema of arguments to the subset that all providers accept. A provider that rejects one tool's schema rejects the whole
//! request, so that every run of the agent would fail.
//!
//! Only what the model sees is adapted: the original schema validates the arguments. A restriction that can't be expressed becomes a note
//! in the description. The rules and their reasons:
//!
//! - An object has `properties`, an array has `items`, and every schema has a type: `OpenAI` ("object schema missing properties", "array
//!   schema missing items"), Gemini ("didn't specify the schema type field") and Fireworks ("could not understand the instance").
//! - No `anyOf`, `oneOf`, `allOf`, `enum` and `not` at the top level: `OpenAI`.
//! - No `$ref` and `$defs`: Gemini, and Moonshot ("$defs not found for reference"). References are replaced by their targets.
//! - One type instead of a list, string values in `enum`, no `const` and no numbers as `exclusiveMinimum`: Gemini ("Proto field is not
//!   repeating", "Unknown name"). No booleans there either: Mistral ("Invalid tool schema").
//! - `required` names only known properties: Gemini ("property is not defined").
//! - No lookaround in patterns: `OpenAI` ("regex lookaround is not supported"), llama.cpp ("failed to parse grammar").
//! - Formats except `date-time` become notes: Gemini ("only 'enum' and 'date-time' are supported for STRING type").
//! - All other keywords are left out: Gemini's `Schema` is a Protocol Buffers message, and unknown names are errors.

use serde_json::{Map, Value, json};

use super::{alternatives, kind::Kinds, part::Part};

/// Maximum growth of a schema by its references, in bytes. References in references could otherwise multiply it.
const MAX_GROWTH: usize = 64 * 1024;
/// Approximate size of a schema without long texts, in bytes.
const SCHEMA_BYTES: usize = 64;
/// Keywords with values of any size.
const LONG: [&str; 7] = [
    "const",
    "default",
    "description",
    "enum",
    "pattern",
    "required",
    "title",
];
/// Maximum nesting, including that of references.
const MAX_LEVELS: usize = 24;
/// Keywords that all providers accept as they are.
const KEPT: [&str; 6] = [
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
];
/// Longest pattern and list of values in a note, in bytes.
const MAX_NOTE_BYTES: usize = 200;

/// Returns the adapted schema and notes for the tool's description.
pub(super) fn adapt(schema: &Value) -> (Value, Vec<String>) {
    let mut adapter = Adapter {
        root: schema,
        references: Vec::new(),
        room: MAX_GROWTH + schema.to_string().len(),
        level: 0,
    };
    let mut part = adapter.part(schema, true);
    part.members.insert("type".to_owned(), json!("object"));
    for keyword in ["anyOf", "enum"] {
        part.members.remove(keyword);
    }
    let notes = std::mem::take(&mut part.notes);
    (part.into_schema(), notes)
}

struct Adapter<'a> {
    root: &'a Value,
    /// The references that lead to the current schema.
    references: Vec<&'a str>,
    /// How much the adapted schema may still grow, in bytes.
    room: usize,
    level: usize,
}

impl<'a> Adapter<'a> {
    fn schema(&mut self, source: &'a Value) -> Value {
        self.part(source, false).into_schema()
    }

    /// Adapts a schema. At the top level, alternatives are always merged.
    fn part(&mut self, source: &'a Value, is_top: bool) -> Part {
        let Value::Object(source) = source else {
            return Part::default();
        };
        let bytes = bytes(source);
        if bytes > self.room || self.level > MAX_LEVELS {
            return Part::shell(source);
        }
        self.room -= bytes;
        self.level += 1;
        let mut part = self.keywords(source);
        if let Some(reference) = source.get("$ref").and_then(Value::as_str) {
            let target = self.referenced(reference, is_top);
            part.absorb(target);
        }
        for branch in list(source, "allOf") {
            let branch = self.part(branch, is_top);
            part.absorb(branch);
        }
        for keyword in ["anyOf", "oneOf"] {
            let branches: Vec<_> = list(source, keyword)
                .iter()
                .map(|branch| self.part(branch, is_top))
                .collect();
            if !branches.is_empty() {
                alternatives::add(&mut part, branches, is_top);
            }
        }
        self.level -= 1;
        part
    }

    /// The target of a local reference. Nothing if there is no target, and only the type of a schema that contains itself.
    fn referenced(&mut self, reference: &'a str, is_top: bool) -> Part {
        let target = reference
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer));
        let Some(target) = target else {
            return Part::default();
        };
        if self.references.contains(&reference) {
            return target.as_object().map(Part::shell).unwrap_or_default();
        }
        self.references.push(reference);
        let part = self.part(target, is_top);
        self.references.pop();
        part
    }

    /// Adapts the keywords of one schema, without those that combine schemas.
    fn keywords(&mut self, source: &'a Map<String, Value>) -> Part {
        let mut part = Part::default();
        let text = source.get("description").or_else(|| source.get("title"));
        if let Some(text) = text.filter(|text| text.is_string()) {
            part.members.insert("description".to_owned(), text.clone());
        }
        if let Some(default) = source.get("default") {
            part.is_optional = true;
            if !default.is_null() {
                part.members.insert("default".to_owned(), default.clone());
            }
        }
        let kinds = Kinds::of(source);
        part.is_nullable = kinds.is_nullable;
        match kinds.others.as_slice() {
            [] => {}
            [kind] => self.keywords_of(kind, source, &mut part),
            several => {
                let branches = several.iter().map(|kind| {
                    let mut branch = Part::default();
                    self.keywords_of(kind, source, &mut branch);
                    branch
                });
                let branches = branches.collect();
                alternatives::add(&mut part, branches, false);
            }
        }
        part
    }

    /// Adapts the keywords that apply to values of one type.
    fn keywords_of(&mut self, kind: &str, source: &'a Map<String, Value>, part: &mut Part) {
        part.members.insert("type".to_owned(), json!(kind));
        for keyword in KEPT {
            if let Some(value) = source.get(keyword) {
                part.members.insert(keyword.to_owned(), value.clone());
            }
        }
        values(kind, source, part);
        match kind {
            "object" => self.object(source, part),
            "array" => self.array(source, part),
            "string" => string(source, part),
            "integer" | "number" => number(source, part),
            _ => {}
        }
    }

    fn object(&mut self, source: &'a Map<String, Value>, part: &mut Part) {
        let mut adapted = Map::new();
        for (name, property) in source
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if *property != Value::Bool(false) {
                adapted.insert(name.clone(), self.schema(property));
            }
        }
        part.members
            .insert("properties".to_owned(), Value::Object(adapted));
        if !list(source, "required").is_empty() {
            part.members
                .insert("required".to_owned(), json!(list(source, "required")));
        }
        let others = match source.get("additionalProperties") {
            // Names that match a pattern are allowed.
            Some(Value::Bool(false)) if source.contains_key("patternProperties") => None,
            Some(Value::Bool(allowed)) => Some(Value::Bool(*allowed)),
            Some(others @ Value::Object(_)) => Some(self.schema(others)),
            _ => None,
        };
        if let Some(others) = others {
            part.members.insert("additionalProperties".to_owned(), others);
        }
    }

    fn array(&mut self, source: &'a Map<String, Value>, part: &mut Part) {
        let prefix = list(source, "prefixItems");
        let items = match source.get("items") {
            Some(items @ Value::Object(_)) => Some(items),
            _ => None,
        };
        let mut items: Vec<_> = prefix
            .iter()
            .chain(items)
            .map(|item| self.part(item, false))
            .collect();
        let items = if items.len() > 1 {
            let mut any = Part::default();
            alternatives::add(&mut any, items, false);
            any
        } else {
            items.pop().unwrap_or_default()
        };
        part.members.insert("items".to_owned(), items.into_schema());
    }
}

/// `enum` and `const`. Gemini takes only strings that are not empty.
fn values(kind: &str, source: &Map<String, Value>, part: &mut Part) {
    let single = source.get("const").map(std::slice::from_ref);
    let values = single.unwrap_or_else(|| list(source, "enum"));
    let mut values: Vec<_> = values.iter().filter(|value| !value.is_null()).collect();
    if values.is_empty() {
        return;
    }
    if kind == "string" && values.iter().all(|value| value.is_string()) {
        let all = values.len();
        values.retain(|value| **value != "");
        if values.len() < all {
            part.notes.push("May be empty.".to_owned());
        }
        if !values.is_empty() {
            part.members.insert("enum".to_owned(), json!(values));
        }
    } else if let Ok(text) = serde_json::to_string(&values)
        && text.len() <= MAX_NOTE_BYTES
    {
        part.notes.push(format!("One of {text}."));
    }
}

fn string(source: &Map<String, Value>, part: &mut Part) {
    match source.get("format").and_then(Value::as_str) {
        Some("date-time") => {
            part.members.insert("format".to_owned(), json!("date-time"));
        }
        Some(format) if !format.is_empty() => part.notes.push(format!("Format: {format}.")),
        _ => {}
    }
    match source.get("pattern").and_then(Value::as_str) {
        Some(pattern) if is_simple(pattern) => {
            part.members.insert("pattern".to_owned(), json!(pattern));
        }
        Some(pattern) if pattern.len() <= MAX_NOTE_BYTES => {
            part.notes.push(format!("Pattern: {pattern}"));
        }
        _ => {}
    }
}

/// Whether every engine knows the pattern: it has no groups with `?` except `(?:`, no backreferences and no Unicode escapes.
fn is_simple(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    let mut is_in_class = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                if let Some('1'..='9' | 'k' | 'p' | 'P' | 'u' | 'x') = chars.next() {
                    return false;
                }
            }
            '[' => is_in_class = true,
            ']' => is_in_class = false,
            '(' if !is_in_class => {
                let rest = chars.as_str();
                if rest.starts_with('?') && !rest.starts_with("?:") {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

fn number(source: &Map<String, Value>, part: &mut Part) {
    for (keyword, words) in [
        ("exclusiveMinimum", "Greater than"),
        ("exclusiveMaximum", "Less than"),
        ("multipleOf", "A multiple of"),
    ] {
        if let Some(limit @ Value::Number(_)) = source.get(keyword) {
            part.notes.push(format!("{words} {limit}."));
        }
    }
}

/// The approximate size of a schema without its subschemas.
fn bytes(source: &Map<String, Value>) -> usize {
    let long = LONG.iter().filter_map(|keyword| source.get(*keyword));
    let names = source.get("properties").and_then(Value::as_object);
    let names = names.into_iter().flatten().map(|(name, _)| name.len());
    SCHEMA_BYTES + long.map(|value| value.to_string().len()).sum::<usize>() + names.sum::<usize>()
}

/// The list in a keyword, or an empty one.
fn list<'a>(source: &'a Map<String, Value>, keyword: &str) -> &'a [Value] {
    source
        .get(keyword)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
