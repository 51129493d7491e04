//! Cuts a message into tokens that remember where they stood, so that a title is kept exactly as typed.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word or a number.
    Word,
    /// Something in quotes, the quotes included.
    Quoted,
    /// Punctuation on its own, or at the end of a word.
    Mark,
}

/// A piece of the message.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// Lower case, without apostrophes and inner hyphens; for a mark the mark itself. Empty for what is to be skipped.
    pub(super) norm: String,
    pub(super) kind: Kind,
    /// Byte offsets in the message.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether a line break stands before it.
    pub(super) new_line: bool,
}

impl Token {
    /// Whether it is one of these words.
    pub(super) fn is(&self, words: &[&str]) -> bool {
        self.kind == Kind::Word && words.contains(&self.norm.as_str())
    }

    /// Whether it is this mark.
    pub(super) fn is_mark(&self, marks: &[&str]) -> bool {
        self.kind == Kind::Mark && marks.contains(&self.norm.as_str())
    }

    /// Its value, if it is a number in digits.
    pub(super) fn number(&self) -> Option<i64> {
        (self.kind == Kind::Word)
            .then(|| self.norm.parse().ok())
            .flatten()
            .filter(|number| *number >= 0)
    }
}

/// Marks that are cut off the end of a word.
const MARKS: &str = ",.;:!?，。：；！？、)";

/// The closing quote for each opening one.
fn closing(open: char) -> Option<char> {
    Some(match open {
        '"' => '"',
        '\'' => '\'',
        '`' => '`',
        '“' | '„' => '”',
        '‘' => '’',
        '«' => '»',
        '「' => '」',
        _ => return None,
    })
}

/// Cuts `text` into tokens.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut new_line = true;
    while let Some(rest) = text.get(at..) {
        let Some(first) = rest.chars().next() else { break };
        if first.is_whitespace() {
            new_line |= first == '\n';
            at += first.len_utf8();
        } else if let Some(end) = quoted(rest) {
            tokens.push(Token {
                norm: "\"".into(),
                kind: Kind::Quoted,
                start: at,
                end: at + end,
                new_line,
            });
            at += end;
            new_line = false;
        } else if first == '(' || MARKS.contains(first) {
            let run = rest
                .find(|c| c != '(' && !MARKS.contains(c))
                .unwrap_or(rest.len());
            push_mark(&mut tokens, rest.get(..run).unwrap_or_default(), at, new_line);
            at += run;
            new_line = false;
        } else {
            let len = rest.find(char::is_whitespace).unwrap_or(rest.len());
            word(&mut tokens, rest.get(..len).unwrap_or_default(), at, new_line);
            at += len;
            new_line = false;
        }
    }
    merge_to_do(&mut tokens);
    tokens
}

/// The length of the quoted text that `rest` begins with, quotes included. Quotes inside are counted in pairs.
fn quoted(rest: &str) -> Option<usize> {
    let open = rest.chars().next()?;
    let close = closing(open)?;
    let mut depth = 0_u32;
    let mut before = ' ';
    let mut chars = rest.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let after = chars.peek().map_or(' ', |(_, next)| *next);
        let ends = char == close && !before.is_whitespace() && !after.is_alphanumeric() && at > 0;
        let starts = char == open && !before.is_alphanumeric() && !after.is_whitespace();
        if ends {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return (at > open.len_utf8()).then(|| at + close.len_utf8());
            }
        } else if starts {
            depth += 1;
        }
        before = char;
    }
    None
}

fn push_mark(tokens: &mut Vec<Token>, mark: &str, start: usize, new_line: bool) {
    let norm = match mark {
        "，" | "、" => ",",
        "。" => ".",
        "：" => ":",
        "；" => ";",
        "！" => "!",
        "？" => "?",
        other => other,
    };
    tokens.push(Token {
        norm: norm.to_owned(),
        kind: Kind::Mark,
        start,
        end: start + mark.len(),
        new_line,
    });
}

/// A run without white space: a word and the marks at its end.
fn word(tokens: &mut Vec<Token>, run: &str, start: usize, new_line: bool) {
    if matches!(run, "-" | "–" | "—" | "*" | "•" | "=" | "->" | "=>" | "--") {
        let norm = if matches!(run, "–" | "—" | "--") {
            "-"
        } else {
            run
        };
        tokens.push(Token {
            norm: norm.into(),
            kind: Kind::Mark,
            start,
            end: start + run.len(),
            new_line,
        });
        return;
    }
    let body = run.trim_end_matches(|c| MARKS.contains(c));
    let digits = body.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b';');
    if digits && body.contains([',', ';']) {
        let mut at = start;
        for part in body.split_inclusive([',', ';']) {
            let number = part.trim_end_matches([',', ';']);
            if !number.is_empty() {
                push_word(tokens, number, at, new_line && at == start);
            }
            if number.len() < part.len() {
                push_mark(tokens, ",", at + number.len(), false);
            }
            at += part.len();
        }
    } else if !body.is_empty() {
        push_word(tokens, body, start, new_line);
    }
    let marks = run.get(body.len()..).unwrap_or_default();
    if !marks.is_empty() {
        push_mark(tokens, marks, start + body.len(), new_line && body.is_empty());
    }
}

fn push_word(tokens: &mut Vec<Token>, text: &str, start: usize, new_line: bool) {
    tokens.push(Token {
        norm: normal(text),
        kind: Kind::Word,
        start,
        end: start + text.len(),
        new_line,
    });
}

/// A word as the rules know it.
fn normal(text: &str) -> String {
    if matches!(text, "&" | "+") {
        return "and".to_owned();
    }
    let number = text.trim_start_matches('#');
    let number = number
        .strip_suffix("'s")
        .or_else(|| number.strip_suffix("’s"))
        .unwrap_or(number);
    if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
        return number.to_owned();
    }
    let letters = text
        .chars()
        .all(|c| c.is_alphabetic() || matches!(c, '-' | '\'' | '’'));
    let drop = |c: &char| matches!(c, '\'' | '’') || (letters && *c == '-');
    text.chars()
        .filter(|c| !drop(c))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Reads "to do" as "todo" where a list or an item of it is meant.
fn merge_to_do(tokens: &mut [Token]) {
    for at in 0..tokens.len().saturating_sub(2) {
        if let Some([to, do_, noun]) = tokens.get_mut(at..at + 3)
            && to.is(&["to"])
            && do_.is(&["do"])
            && noun.is(&["list", "lists", "item", "items", "task", "tasks", "entry"])
        {
            "todo".clone_into(&mut to.norm);
            do_.norm.clear();
        }
    }
}

/// The message from the first to the last of `tokens`, as typed; a lone quotation without its quotes.
pub(super) fn exact<'a>(text: &'a str, tokens: &[Token]) -> &'a str {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return "";
    };
    let slice = text.get(first.start..last.end).unwrap_or_default();
    if tokens.len() == 1 && first.kind == Kind::Quoted {
        unquoted(slice)
    } else {
        slice
    }
}

/// A quotation without its quotes.
fn unquoted(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.next_back();
    chars.as_str().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norms(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| token.norm).collect()
    }

    #[test]
    fn words_and_marks_come_apart() {
        assert_eq!(
            norms("What's on my to-do list?"),
            ["whats", "on", "my", "todo", "list", "?"]
        );
        assert_eq!(norms("my to do list"), ["my", "todo", "", "list"]);
        assert_eq!(norms("1,3 and #5."), ["1", ",", "3", "and", "5", "."]);
        assert_eq!(norms("task 2's title"), ["task", "2", "title"]);
        assert_eq!(norms("call at 3:00 - now"), ["call", "at", "3:00", "-", "now"]);
    }

    #[test]
    fn quotations_are_one_token() {
        for (text, inner) in [
            ("\"buy milk\"", "buy milk"),
            ("'don't panic'", "don't panic"),
            ("“Zoë’s”", "Zoë’s"),
            ("\"say \"hi\" to Bob\"", "say \"hi\" to Bob"),
            ("`ls -l`", "ls -l"),
        ] {
            let all = tokens(text);
            assert_eq!(all.len(), 1, "{text} {all:?}");
            assert_eq!(exact(text, &all), inner);
        }
        assert!(
            tokens("don't 5\" pipe 'open")
                .iter()
                .all(|token| token.kind == Kind::Word)
        );
    }
}
