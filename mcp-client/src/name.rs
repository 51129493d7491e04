//! The names of MCP tools for models: `server__tool`.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Separates the names of the server and the tool. Neither server names nor built-in tools contain it.
const SEPARATOR: &str = "__";
/// Maximum length of a tool name in the APIs of model providers.
const MAX_CHARS: usize = 64;
/// Length of the digest that distinguishes names that were changed.
const DIGEST_CHARS: usize = 8;

/// Returns the name of a server's tool for models. A name that is too long or has characters that providers don't allow is
/// changed and extended with a digest of the original. The result is deterministic.
pub fn public(server: &str, tool: &str) -> String {
    let room = MAX_CHARS - server.len().min(MAX_CHARS) - SEPARATOR.len();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    if !tool.is_empty() && tool.len() <= room && tool.chars().all(is_plain) {
        return format!("{server}{SEPARATOR}{tool}");
    }
    let mut name = format!("{server}{SEPARATOR}");
    let replaced = tool.chars().map(|char| if is_plain(char) { char } else { '_' });
    name.extend(replaced.take(room - DIGEST_CHARS - 1));
    name.push('_');
    for byte in Sha256::digest(tool).iter().take(DIGEST_CHARS / 2) {
        // Writing to a string can't fail.
        write!(name, "{byte:02x}").unwrap_or_default();
    }
    name
}

/// Returns the server part of a tool name. `None` for built-in tools.
pub fn server_of(name: &str) -> Option<&str> {
    name.split_once(SEPARATOR).map(|(server, _)| server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_plain_names() {
        assert_eq!(public("files", "read_file"), "files__read_file");
        assert_eq!(public("files", "a__b"), "files__a__b");
        assert_eq!(server_of("files__a__b"), Some("files"));
        assert_eq!(server_of("add_task"), None);
    }

    #[test]
    fn names_are_valid_and_unique() {
        let long = "x".repeat(200);
        let longer = "x".repeat(201);
        let tools = ["a.b", "a/b", "a b", "a_b", "", "ä", "文書", &long, &longer];
        let mut names: Vec<_> = tools
            .iter()
            .map(|tool| public("a-name-of-24-characters-", tool))
            .collect();
        for name in &names {
            assert!(name.len() <= 64, "{name}");
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)),
                "{name}"
            );
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), tools.len());
        assert_eq!(public("a", "b.c"), public("a", "b.c"));
    }
}
