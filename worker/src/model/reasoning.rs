//! Separates reasoning that stands in the text, such as `<think>…</think>`, from the answer.
//!
//! Decisions:
//! - Only blocks at the start of the text are reasoning. A tag further on is part of the answer, which may be about such tags.
//! - A block that is never closed is reasoning to its end: reasoning is never shown as the answer.
//! - Some chat templates open the block in the prompt, so that the text has only the closing tag. A line that starts with
//!   `</think>` ends such a block, unless the text before it mentions `<think>`.
//! - White space after a block belongs to the block.

/// Opening and closing tags.
const TAGS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
];

/// The tags of a block that the prompt may have opened.
const PROMPT_TAGS: (&str, &str) = TAGS[0];

#[derive(Debug, Default)]
enum State {
    /// At the start of the text or after a block: what follows may be another block.
    #[default]
    Start,
    /// In a block with this closing tag.
    Block(&'static str),
    /// In the answer.
    Answer,
}

/// The text of an answer as it arrives, divided into reasoning and answer.
#[derive(Debug, Default)]
pub(super) struct AnswerText {
    state: State,
    reasoning: String,
    answer: String,
    /// Text of the current state that is not yet known to be reasoning or answer.
    pending: String,
    is_restarted: bool,
}

impl AnswerText {
    pub(super) fn push(&mut self, text: &str) {
        if matches!(self.state, State::Answer) {
            self.answer.push_str(text);
            if text.contains('>') {
                self.end_prompted_block(text.len());
            }
            return;
        }
        let mut searched = self.pending.len();
        self.pending.push_str(text);
        loop {
            let has_left = match self.state {
                State::Start => self.leave_start(),
                State::Block(closing) => self.leave_block(closing, searched),
                State::Answer => return,
            };
            if !has_left {
                return;
            }
            searched = 0;
        }
    }

    /// The answer so far, without reasoning.
    pub(super) fn answer(&self) -> &str {
        &self.answer
    }

    /// Whether text that was returned as part of the answer has turned out to be reasoning. Reading it resets it.
    pub(super) fn take_restarted(&mut self) -> bool {
        std::mem::take(&mut self.is_restarted)
    }

    /// Ends the text: a tag or block that is still open will not be closed.
    pub(super) fn end(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        match self.state {
            State::Start if self.reasoning.is_empty() => self.answer = pending,
            State::Start | State::Block(_) => self.reasoning.push_str(&pending),
            State::Answer => {}
        }
    }

    /// The reasoning and the answer.
    pub(super) fn into_parts(self) -> (String, String) {
        (self.reasoning, self.answer)
    }

    /// Leaves the state [`State::Start`] if it is known what follows.
    fn leave_start(&mut self) -> bool {
        let start = self.pending.trim_start();
        if let Some((_, closing)) = TAGS.iter().find(|(opening, _)| start.starts_with(opening)) {
            self.state = State::Block(closing);
            return true;
        }
        if TAGS.iter().any(|(opening, _)| opening.starts_with(start)) {
            return false;
        }
        self.state = State::Answer;
        let text = std::mem::take(&mut self.pending);
        let white_space = if self.reasoning.is_empty() {
            0
        } else {
            text.len() - text.trim_start().len()
        };
        let (white_space, answer) = text.split_at(white_space);
        self.reasoning.push_str(white_space);
        self.answer.push_str(answer);
        self.end_prompted_block(answer.len());
        true
    }

    /// Leaves the state [`State::Block`] if the block is closed. The first `searched` bytes do not contain the closing tag.
    fn leave_block(&mut self, closing: &str, searched: usize) -> bool {
        let from = self
            .pending
            .floor_char_boundary(searched.saturating_sub(closing.len()));
        let found = self.pending.get(from..).and_then(|text| text.find(closing));
        let Some(found) = found else { return false };
        let rest = self.pending.split_off(from + found + closing.len());
        self.reasoning.push_str(&self.pending);
        self.pending = rest;
        self.state = State::Start;
        true
    }

    /// Moves a block that the prompt opened from the answer to the reasoning, if the last `added` bytes close it.
    fn end_prompted_block(&mut self, added: usize) {
        let (opening, closing) = PROMPT_TAGS;
        if !self.reasoning.is_empty() {
            return;
        }
        let from = self.answer.len().saturating_sub(added + closing.len());
        let from = self.answer.floor_char_boundary(from);
        let Some(found) = self.answer.get(from..).and_then(|text| text.find(closing)) else {
            return;
        };
        let (before, _) = self.answer.split_at(from + found);
        if !(before.is_empty() || before.ends_with('\n')) || before.contains(opening) {
            return;
        }
        let rest = self.answer.split_off(from + found + closing.len());
        self.reasoning = std::mem::take(&mut self.answer);
        self.is_restarted = true;
        self.state = State::Start;
        self.push(&rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts the reasoning and the answer in a text, for every way to cut it into two pieces and into single characters.
    fn assert_parts(text: &str, reasoning: &str, answer: &str) {
        let expected = (reasoning.to_owned(), answer.to_owned());
        let cuts = text
            .char_indices()
            .map(|(at, _)| vec![text.split_at(at).0, text.split_at(at).1]);
        let characters = text
            .char_indices()
            .filter_map(|(at, character)| text.get(at..at + character.len_utf8()));
        for pieces in cuts.chain([characters.collect()]) {
            let mut parts = AnswerText::default();
            let mut shown = String::new();
            for piece in &pieces {
                parts.push(piece);
                if parts.take_restarted() {
                    shown.clear();
                }
                assert!(parts.answer().starts_with(&shown), "{pieces:?}");
                parts.answer().clone_into(&mut shown);
            }
            parts.end();
            assert_eq!(parts.into_parts(), expected, "{pieces:?}");
        }
    }

    #[test]
    fn text_without_blocks_is_the_answer() {
        for text in [
            "",
            " ",
            "Hello.",
            " Hello <think>world</think>",
            "<b>Hello</b>",
            "<",
            "<thin",
            "a > b",
            "</thinking>",
        ] {
            assert_parts(text, "", text);
        }
    }

    #[test]
    fn blocks_at_the_start_are_reasoning() {
        assert_parts(
            "<think>\nHm.\n</think>\n\nHello.",
            "<think>\nHm.\n</think>\n\n",
            "Hello.",
        );
        assert_parts(" <reasoning>é</reasoning>é", " <reasoning>é</reasoning>", "é");
        assert_parts(
            "<think></think>\n<thought>b</thought> <think> c",
            "<think></think>\n<thought>b</thought> <think> c",
            "",
        );
        assert_parts(
            "<thinking>a</think></thinking>b<think>c</think>",
            "<thinking>a</think></thinking>",
            "b<think>c</think>",
        );
    }

    #[test]
    fn block_that_is_not_closed_is_reasoning() {
        assert_parts("<think>Hm", "<think>Hm", "");
        assert_parts("<think>Hm</think>\n<th", "<think>Hm</think>\n<th", "");
    }

    #[test]
    fn block_opened_by_the_prompt_ends_with_a_closing_tag_on_its_own_line() {
        assert_parts("Hm.\n</think>\n\nHello.", "Hm.\n</think>\n\n", "Hello.");
        assert_parts("</think>Hello.", "</think>", "Hello.");
        assert_parts(
            "Hm.\n</think>\n<think>b</think>c",
            "Hm.\n</think>\n<think>b</think>",
            "c",
        );
        for text in [
            "Write </think> at the end.",
            "Like this:\n<think>\n</think>\nSee?",
        ] {
            assert_parts(text, "", text);
        }
    }
}
