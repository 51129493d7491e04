//! Alternatives in a schema: `anyOf` and `oneOf`.

use serde_json::{Map, Value, json};

use super::part::Part;

/// Maximum length of the note on the alternatives of an object, in bytes.
const MAX_NOTE_BYTES: usize = 500;

/// Adds alternatives to a schema. They are merged into it if they describe parts of one object, or if they list values of one string.
pub(super) fn add(part: &mut Part, mut branches: Vec<Part>, is_top: bool) {
    let all = branches.len();
    branches.retain(|branch| !is_null(branch));
    part.is_nullable |= branches.len() < all;
    // Alternatives of an array restrict what its items already describe.
    if part.members.contains_key("items") {
        return;
    }
    let describes_object = part.members.contains_key("properties");
    if is_top || describes_object {
        branches.retain(|branch| branch.members.get("type").is_some_and(|kind| kind == "object"));
        merge_objects(part, branches);
        return;
    }
    if branches.len() == 1
        && let Some(branch) = branches.pop()
    {
        part.absorb(branch);
        return;
    }
    let mut schemas: Vec<Value> = Vec::new();
    for branch in branches {
        let schema = branch.into_schema();
        match schema.get("anyOf").and_then(Value::as_array) {
            // A union in a union.
            Some(nested) => nested
                .iter()
                .for_each(|schema| push_new(&mut schemas, schema.clone())),
            None => push_new(&mut schemas, schema),
        }
    }
    if schemas.len() < 2 {
        let members = schemas.pop().and_then(|schema| schema.as_object().cloned());
        part.absorb(Part {
            members: members.unwrap_or_default(),
            ..Part::default()
        });
        return;
    }
    // Gemini accepts nothing else beside `anyOf`.
    part.members
        .retain(|keyword, _| matches!(keyword.as_str(), "description" | "default"));
    match union_of_values(&schemas) {
        Some(values) => {
            part.members.insert("type".to_owned(), json!("string"));
            part.members.insert("enum".to_owned(), json!(values));
        }
        None => {
            part.members.insert("anyOf".to_owned(), Value::Array(schemas));
        }
    }
}

fn is_null(branch: &Part) -> bool {
    let is_untyped = !branch.members.contains_key("type") && !branch.members.contains_key("anyOf");
    is_untyped && branch.is_nullable
}

fn push_new(schemas: &mut Vec<Value>, schema: Value) {
    if !schemas.contains(&schema) {
        schemas.push(schema);
    }
}

/// The values of schemas that are all lists of strings.
fn union_of_values(schemas: &[Value]) -> Option<Vec<&Value>> {
    let mut union = Vec::new();
    for schema in schemas {
        let is_plain = schema.get("description").is_none();
        let values = schema.get("enum").filter(|_| is_plain)?.as_array()?;
        union.extend(
            values
                .iter()
                .filter(|value| !union.contains(value))
                .collect::<Vec<_>>(),
        );
    }
    Some(union)
}

/// Merges objects of which one must match: all their properties, and as required the properties that all of them require.
fn merge_objects(part: &mut Part, branches: Vec<Part>) {
    let Some(first) = branches.first() else {
        return;
    };
    let mut common = names(first).to_vec();
    for branch in &branches {
        common.retain(|name| names(branch).contains(name));
    }
    part.notes.extend(note(&branches, &common));
    let mut merged: Map<String, Value> = Map::new();
    for branch in branches {
        part.notes.extend(branch.notes);
        let Some(Value::Object(properties)) = branch.members.get("properties") else {
            continue;
        };
        for (name, property) in properties {
            let property = match merged.remove(name) {
                Some(other) => either(other, property),
                None => property.clone(),
            };
            merged.insert(name.clone(), property);
        }
    }
    if !merged.is_empty() {
        // It would not allow the properties of the others.
        part.members.remove("additionalProperties");
    }
    part.absorb(Part {
        members: Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), Value::Object(merged)),
            ("required".to_owned(), Value::Array(common)),
        ]),
        ..Part::default()
    });
}

/// A property that two alternatives define.
fn either(one: Value, other: &Value) -> Value {
    if one == *other {
        return one;
    }
    let branches = [one, other.clone()].map(|schema| Part {
        members: schema.as_object().cloned().unwrap_or_default(),
        ..Part::default()
    });
    let mut part = Part::default();
    add(&mut part, branches.into(), false);
    part.into_schema()
}

/// The names of the required properties.
fn names(branch: &Part) -> &[Value] {
    branch
        .members
        .get("required")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A sentence that lists the alternatives by their required properties.
fn note(branches: &[Part], common: &[Value]) -> Option<String> {
    let mut forms: Vec<String> = Vec::new();
    for branch in branches {
        let required = names(branch).iter().filter_map(|name| {
            let text = name.as_str()?;
            let property = branch.members.get("properties").and_then(|all| all.get(text));
            match property
                .and_then(|property| property.get("enum")?.as_array())
                .map(Vec::as_slice)
            {
                Some([value]) => Some(format!("{text} = {value}")),
                _ => (!common.contains(name)).then(|| text.to_owned()),
            }
        });
        let form = required.collect::<Vec<_>>().join(", ");
        if form.is_empty() {
            return None;
        }
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    let note = format!("Required arguments, one of: {}.", forms.join(" | "));
    (forms.len() > 1 && note.len() <= MAX_NOTE_BYTES).then_some(note)
}
