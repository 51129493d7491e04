//! The tokenizer. Tokens keep their position in the message, so that titles can be stored exactly as typed.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word or a number.
    Word,
    /// A quotation, including its quotes.
    Quoted,
    /// Punctuation, alone or after a word.
    Mark,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// The word in normalized form, or the punctuation. Empty if the token must be skipped.
    pub(crate) norm: String,
    pub(crate) kind: Kind,
    /// Byte offset in the message.
    pub(crate) start: usize,
    /// Byte offset after the token.
    pub(crate) end: usize,
    /// Whether a line break precedes the token.
    pub(crate) new_line: bool,
}

impl Token {
    /// Whether this is one of `words`.
    pub(crate) fn is(&self, words: &[&str]) -> bool {
        self.kind == Kind::Word && words.contains(&self.norm.as_str())
    }

    /// Whether this is one of `marks`.
    pub(crate) fn is_mark(&self, marks: &[&str]) -> bool {
        self.kind == Kind::Mark && marks.contains(&self.norm.as_str())
    }

    /// Its value, if it is written in digits.
    pub(crate) fn number(&self) -> Option<i64> {
        (self.kind == Kind::Word)
            .then(|| self.norm.parse().ok())
            .flatten()
            .filter(|number| *number >= 0)
    }
}

/// Punctuation that is split off the end of a word.
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

/// Splits `text` into tokens.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
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
            push_run(&mut tokens, rest.get(..len).unwrap_or_default(), at, new_line);
            at += len;
            new_line = false;
        }
    }
    merge_to_do(&mut tokens);
    tokens
}

/// Length of the quotation at the start of `rest`, including its quotes. Nested quotes must be balanced.
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

/// Pushes the tokens of a run without white space: a word and the punctuation after it.
fn push_run(tokens: &mut Vec<Token>, run: &str, start: usize, new_line: bool) {
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
        norm: normalize(text),
        kind: Kind::Word,
        start,
        end: start + text.len(),
        new_line,
    });
}

/// Normalizes a word for the rules: lower case, no apostrophes, no hyphens, `&` as "and", "#2" as "2".
fn normalize(text: &str) -> String {
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

/// Merges "to do" into "todo" before words such as "list".
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

/// The part of the message that `tokens` span, as typed. A single quotation loses its quotes.
pub(crate) fn source_text<'a>(text: &'a str, tokens: &[Token]) -> &'a str {
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
    fn splits_words_and_punctuation() {
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
    fn quotation_is_one_token() {
        for (text, inner) in [
            ("\"buy milk\"", "buy milk"),
            ("'don't panic'", "don't panic"),
            ("“Zoë’s”", "Zoë’s"),
            ("\"say \"hi\" to Bob\"", "say \"hi\" to Bob"),
            ("`ls -l`", "ls -l"),
        ] {
            let all = tokens(text);
            assert_eq!(all.len(), 1, "{text} {all:?}");
            assert_eq!(source_text(text, &all), inner);
        }
        assert!(
            tokens("don't 5\" pipe 'open")
                .iter()
                .all(|token| token.kind == Kind::Word)
        );
    }
}
