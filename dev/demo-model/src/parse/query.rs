//! Filters of a list request: completed or pending tasks, the first few.

use super::token::Token;
use crate::action::Query;

/// Returns whether completed (`true`) or pending (`false`) tasks are requested, or `None` for both.
pub(crate) fn state<'t>(tokens: impl IntoIterator<Item = &'t Token>) -> Option<bool> {
    let (mut done, mut open, mut not, mut all) = (false, false, false, false);
    let mut previous = "";
    for token in tokens {
        let has_to = previous == "have"
            || previous == "need"
            || previous == "left"
            || previous == "supposed"
            || previous == "got";
        done |= token.is(&["done", "completed", "finished", "complete", "closed", "finish"]);
        not |= token.is(&[
            "not", "havent", "isnt", "arent", "didnt", "without", "never", "yet", "still",
        ]);
        open |= token.is(&[
            "pending",
            "open",
            "active",
            "incomplete",
            "unfinished",
            "uncompleted",
            "undone",
            "outstanding",
            "remaining",
            "left",
            "remain",
            "next",
        ]) || (has_to && token.is(&["to"]));
        all |= token.is(&["both"]);
        previous = &token.norm;
    }
    match (all || (done && open && !not), open || (done && not), done) {
        (true, ..) | (_, false, false) => None,
        (_, true, _) => Some(false),
        (_, _, true) => Some(true),
    }
}

/// Returns a query with the limit of a phrase like "the first 5 tasks".
pub(crate) fn first_few(tokens: &[Token]) -> Query {
    let limit = tokens.windows(2).find_map(|pair| match pair {
        [first, number] if first.is(&["first", "top"]) => number.number(),
        _ => None,
    });
    Query {
        limit: limit.filter(|limit| (1..=100).contains(limit)),
        ..Query::default()
    }
}

/// Returns the tokens before `inner`.
pub(crate) fn before<'t>(tokens: &'t [Token], inner: &[Token]) -> impl Iterator<Item = &'t Token> {
    let start = inner.first().map_or(usize::MAX, |token| token.start);
    tokens.iter().filter(move |token| token.start < start)
}
