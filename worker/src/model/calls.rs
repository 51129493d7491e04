//! Assembles tool calls from their pieces.
//!
//! The specification says that pieces of a call have the same `index`, and that only the first has an `id` and a name. Providers
//! omit the index, use 0 for all calls, count it per piece, repeat ids and names in every piece, change ids from piece to piece or
//! omit them. A piece belongs to a call according to these rules, the first that applies:
//!
//! 1. A piece that repeats the id and the arguments of a complete call is a repetition and is dropped.
//! 2. A piece with the id of a call continues it, unless that call is complete or the piece has another index and starts with a
//!    name. (Several calls may have the same id.)
//! 3. A piece with a new id and a name starts a call.
//! 4. A piece with the index of a call continues it, unless that call is complete and the piece has a new id or a name with
//!    arguments, or the piece has another name after arguments have arrived.
//! 5. A piece with a name and without index continues the last call if that has no name yet, or the same name and incomplete
//!    arguments. Any other piece with a name starts a call.
//! 6. Any other piece continues the last call.
//!
//! A call is complete when its arguments are valid JSON. Two elements with a name in the same list never belong to one call. A
//! name that is repeated, alone or together with its continuation, is not appended to itself.

use serde::de::IgnoredAny;

use errand_agent::ToolCall;
use serde_json::Value;

use super::{ModelError, chunk::CallDelta, provider_data};

/// At most this many tool calls in one answer.
const MAX_CALLS: usize = 128;

#[derive(Debug)]
struct PartialCall {
    call: ToolCall,
    index: Option<i64>,
    /// The list of pieces in which a name arrived last.
    named_in: usize,
    /// What the provider may require back with the call.
    data: Option<Value>,
}

impl PartialCall {
    fn is_complete(&self) -> bool {
        serde_json::from_str::<IgnoredAny>(&self.call.arguments).is_ok()
    }
}

/// The tool calls of an answer.
#[derive(Debug, Default)]
pub(super) struct ToolCalls {
    calls: Vec<PartialCall>,
    lists: usize,
}

/// A piece of a call: empty members count as missing.
struct Piece<'a> {
    index: Option<i64>,
    id: Option<&'a str>,
    name: Option<&'a str>,
    arguments: &'a str,
}

/// The bytes that a piece added, and the call to which it belongs. No call if it was a repetition.
#[derive(Default)]
struct Added<'a> {
    bytes: usize,
    call: Option<&'a mut PartialCall>,
}

impl ToolCalls {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Adds the pieces of one list `tool_calls` and returns the bytes that they added.
    ///
    /// # Errors
    /// [`ModelError::TooLarge`] if there are too many calls.
    pub(super) fn add_list(&mut self, list: &[CallDelta<'_>]) -> Result<usize, ModelError> {
        self.lists += 1;
        let mut bytes = 0;
        for delta in list {
            let function = delta.function.0.as_ref();
            let name = function.and_then(|function| function.name.non_empty());
            let arguments = function.and_then(|function| function.arguments.0.as_deref());
            let piece = Piece {
                index: delta.index.0,
                id: delta.id.non_empty(),
                name: name.or(delta.name.non_empty()),
                arguments: arguments.or(delta.arguments.0.as_deref()).unwrap_or_default(),
            };
            let added = self.add(&piece)?;
            bytes += added.bytes;
            if let Some(partial) = added.call {
                provider_data::add_call_data(&mut partial.data, delta);
            }
        }
        Ok(bytes)
    }

    /// Adds a piece of the only call of the old form `function_call`.
    pub(super) fn add_function_call(
        &mut self,
        name: Option<&str>,
        arguments: &str,
    ) -> Result<usize, ModelError> {
        self.lists += 1;
        self.add(&Piece {
            index: Some(0),
            id: None,
            name,
            arguments,
        })
        .map(|added| added.bytes)
    }

    /// The calls in the order in which they started, and the provider's data of each. Calls without name and arguments request
    /// nothing and are left out.
    pub(super) fn finish(self) -> (Vec<ToolCall>, Vec<Option<Value>>) {
        self.calls
            .into_iter()
            .map(|PartialCall { call, mut data, .. }| {
                provider_data::keep_long_id(&mut data, &call);
                (call, data)
            })
            .filter(|(call, _)| !call.name.is_empty() || !call.arguments.is_empty())
            .unzip()
    }

    fn add(&mut self, piece: &Piece<'_>) -> Result<Added<'_>, ModelError> {
        if self.repeats(piece) {
            return Ok(Added::default());
        }
        let position = self.position(piece);
        let position = match position {
            Some(position) => position,
            None if self.calls.len() >= MAX_CALLS => return Err(ModelError::TooLarge),
            None => {
                self.calls.push(PartialCall {
                    call: ToolCall {
                        id: String::new(),
                        name: String::new(),
                        arguments: String::new(),
                    },
                    index: piece.index,
                    named_in: 0,
                    data: None,
                });
                self.calls.len() - 1
            }
        };
        let Some(partial) = self.calls.get_mut(position) else {
            return Ok(Added::default());
        };
        let ToolCall { id, name, arguments } = &mut partial.call;
        let before = id.len() + name.len() + arguments.len();
        if id.is_empty() {
            id.push_str(piece.id.unwrap_or_default());
        }
        if let Some(more) = piece.name {
            extend_name(name, more);
            partial.named_in = self.lists;
        }
        arguments.push_str(piece.arguments);
        Ok(Added {
            bytes: id.len() + name.len() + arguments.len() - before,
            call: Some(partial),
        })
    }

    fn repeats(&self, piece: &Piece<'_>) -> bool {
        piece.id.is_some()
            && !piece.arguments.is_empty()
            && self.calls.iter().any(|partial| {
                Some(partial.call.id.as_str()) == piece.id
                    && partial.call.arguments == piece.arguments
                    && (partial.index == piece.index || piece.index.is_none())
                    && piece.name.is_none_or(|name| name == partial.call.name)
                    && partial.named_in < self.lists
                    && partial.is_complete()
            })
    }

    /// The call to which a piece belongs. `None` if it starts a new one.
    fn position(&self, piece: &Piece<'_>) -> Option<usize> {
        let is_named_here = |partial: &PartialCall| piece.name.is_some() && partial.named_in == self.lists;
        let find = |matches: &dyn Fn(&PartialCall) -> bool| self.calls.iter().rposition(matches);
        let by_id = piece.id.and_then(|id| find(&|partial| partial.call.id == id));
        if let Some((position, partial)) = self.at(by_id) {
            let is_other_index = piece.index.is_some() && piece.index != partial.index;
            let starts_new = piece.name.is_some()
                && (is_named_here(partial)
                    || is_other_index && partial.call.arguments.is_empty()
                    || !piece.arguments.is_empty() && partial.is_complete()
                    || is_other_index && partial.is_complete());
            return (!starts_new).then_some(position);
        }
        if piece.id.is_some() && piece.name.is_some() && !self.lacks_id_and_name(piece) {
            return None;
        }
        let by_index = piece
            .index
            .and_then(|index| find(&|partial| partial.index == Some(index)));
        if let Some((position, partial)) = self.at(by_index) {
            let has_new_id = piece.id.is_some() && !partial.call.id.is_empty();
            let is_other_name = piece.name.is_some_and(|name| name != partial.call.name);
            let is_start = piece.name.is_some() && (is_other_name || !piece.arguments.is_empty());
            let starts_new = is_named_here(partial)
                || (is_start || has_new_id) && partial.is_complete()
                || is_other_name && !partial.call.name.is_empty() && !partial.call.arguments.is_empty();
            return (!starts_new).then_some(position);
        }
        let (position, last) = self.at(self.calls.len().checked_sub(1))?;
        let has_new_id = piece.id.is_some() && !last.call.id.is_empty();
        let starts_new = match piece.name {
            Some(name) => {
                let is_unnamed = last.call.name.is_empty() && piece.index.is_none();
                let repeats_name = name == last.call.name && piece.index.is_none();
                !(is_unnamed || repeats_name)
                    || is_named_here(last)
                    || !piece.arguments.is_empty() && last.is_complete()
            }
            None => has_new_id && last.is_complete(),
        };
        (!starts_new).then_some(position)
    }

    /// Whether the call that a piece would continue has neither an id nor a name yet: then they arrive with this piece.
    fn lacks_id_and_name(&self, piece: &Piece<'_>) -> bool {
        self.calls.last().is_some_and(|last| {
            last.call.id.is_empty()
                && last.call.name.is_empty()
                && (piece.index.is_none() || last.index == piece.index)
        })
    }

    fn at(&self, position: Option<usize>) -> Option<(usize, &PartialCall)> {
        Some((position?, self.calls.get(position?)?))
    }
}

/// Adds a piece to a name: the whole name again, the name so far with its continuation, or the continuation alone.
fn extend_name(name: &mut String, piece: &str) {
    if piece.starts_with(name.as_str()) {
        piece.clone_into(name);
    } else {
        name.push_str(piece);
    }
}

#[cfg(test)]
mod tests;
