//! IDs of tool calls, unique in their run.

use std::collections::HashSet;

/// Maximum length of an ID in characters: the size of the database column.
const MAX_ID_CHARS: usize = 255;

/// The IDs used so far. Models repeat IDs, omit them, or make them far too long.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids(HashSet<String>);

impl Ids {
    /// Returns the model's ID if it is usable, otherwise a new one derived from the call's position.
    pub(crate) fn assign(&mut self, proposed: &str, step: u16, index: usize) -> String {
        let proposed = proposed.trim();
        if !proposed.is_empty()
            && proposed.chars().count() <= MAX_ID_CHARS
            && self.0.insert(proposed.to_owned())
        {
            return proposed.to_owned();
        }
        let generated = format!("call_{step}_{index}");
        if self.0.insert(generated.clone()) {
            return generated;
        }
        // The model has already used the generated ID. Count up to a free one.
        let mut suffix = 1_usize;
        loop {
            let numbered = format!("{generated}_{suffix}");
            if self.0.insert(numbered.clone()) {
                return numbered;
            }
            suffix += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_usable_ids_and_replaces_others() {
        let mut ids = Ids::default();
        let long = "x".repeat(256);
        let fits = "é".repeat(255);
        let proposed = ["a", "a", "", " ", &long, &fits, "call_0_7", "\u{20}b "];
        let got: Vec<String> = proposed
            .iter()
            .enumerate()
            .map(|(n, id)| ids.assign(id, 0, n))
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
        assert_eq!(ids.assign("", 0, 7), "call_0_7_1");
        assert_eq!(ids.assign("a", 0, 7), "call_0_7_2");
    }
}
