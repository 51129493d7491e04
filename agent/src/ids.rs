//! The ids of tool calls: each names one call of its run.

use std::collections::HashSet;

/// The longest id of a call, in characters: what the journal can keep.
const MAX_ID_CHARS: usize = 255;

/// The ids given out so far. Models repeat them, leave them empty, or make them absurdly long.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids(HashSet<String>);

impl Ids {
    /// Takes the id if it will do, else makes one of the call's place.
    pub(crate) fn claim(&mut self, wished: &str, step: u16, index: usize) -> String {
        let wished = wished.trim();
        if !wished.is_empty() && wished.chars().count() <= MAX_ID_CHARS && self.0.insert(wished.to_owned()) {
            return wished.to_owned();
        }
        let made = format!("call_{step}_{index}");
        if self.0.insert(made.clone()) {
            return made;
        }
        // A model that guessed it: count up until one is free, which ends because the set is finite.
        let mut more = 1_usize;
        loop {
            let again = format!("{made}_{more}");
            if self.0.insert(again.clone()) {
                return again;
            }
            more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_where_they_will_do_and_made_where_not() {
        let mut ids = Ids::default();
        let long = "x".repeat(256);
        let fits = "é".repeat(255);
        let wished = ["a", "a", "", " ", &long, &fits, "call_0_7", "\u{20}b "];
        let got: Vec<String> = wished
            .iter()
            .enumerate()
            .map(|(n, id)| ids.claim(id, 0, n))
            .collect();
        assert_eq!(
            got,
            [
                "a",
                "call_0_1",
                "call_0_2",
                "call_0_3",
                "call_0_4",
                fits.as_str(),
                "call_0_7",
                "b"
            ]
        );
        assert_eq!(ids.claim("", 0, 7), "call_0_7_1");
        assert_eq!(ids.claim("a", 0, 7), "call_0_7_2");
    }
}
