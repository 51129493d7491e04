//! Which tasks a question about the list is after: completed or pending ones, the first few.

use super::{action::Query, token::Token};

/// Whether completed or pending tasks are asked for.
pub(super) fn state<'t>(tokens: impl IntoIterator<Item = &'t Token>) -> Option<bool> {
    let (mut done, mut open, mut not, mut all) = (false, false, false, false);
    let mut before = "";
    for token in tokens {
        let has_to = before == "have"
            || before == "need"
            || before == "left"
            || before == "supposed"
            || before == "got";
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
        before = &token.norm;
    }
    match (all || (done && open && !not), open || (done && not), done) {
        (true, ..) | (_, false, false) => None,
        (_, true, _) => Some(false),
        (_, _, true) => Some(true),
    }
}

/// "The first 5 tasks": a query with that limit.
pub(super) fn first_few(tokens: &[Token]) -> Query {
    let limit = tokens.windows(2).find_map(|pair| match pair {
        [first, number] if first.is(&["first", "top"]) => number.number(),
        _ => None,
    });
    Query {
        limit: limit.filter(|limit| (1..=100).contains(limit)),
        ..Query::default()
    }
}

/// The tokens before `inner`.
pub(super) fn outside<'t>(tokens: &'t [Token], inner: &[Token]) -> impl Iterator<Item = &'t Token> {
    let start = inner.first().map_or(usize::MAX, |token| token.start);
    tokens.iter().filter(move |token| token.start < start)
}
