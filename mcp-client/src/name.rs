//! The names under which models know other people's tools: `server__tool`.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// What stands between a server's name and a tool's. No server's name and no tool of ours has it.
const SEPARATOR: &str = "__";
/// What models' servers allow.
const MOST_CHARS: usize = 64;
/// Letters of the digest that tells long and odd names apart.
const DIGEST_CHARS: usize = 8;

/// The name of a server's tool. One that models' servers would not take, for its length or its letters, is made fit and
/// told apart by a digest of what it was; the same name always comes to the same.
pub fn public(server: &str, tool: &str) -> String {
    let room = MOST_CHARS - server.len().min(MOST_CHARS) - SEPARATOR.len();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    if !tool.is_empty() && tool.len() <= room && tool.chars().all(is_plain) {
        return format!("{server}{SEPARATOR}{tool}");
    }
    let mut name = format!("{server}{SEPARATOR}");
    let fit = tool.chars().map(|char| if is_plain(char) { char } else { '_' });
    name.extend(fit.take(room - DIGEST_CHARS - 1));
    name.push('_');
    for byte in Sha256::digest(tool).iter().take(DIGEST_CHARS / 2) {
        // Writing to a string can't fail.
        write!(name, "{byte:02x}").unwrap_or_default();
    }
    name
}

/// The server that a tool of this name would be of; none if it is a name of ours.
pub fn server_of(name: &str) -> Option<&str> {
    name.split_once(SEPARATOR).map(|(server, _)| server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_only_prefixed() {
        assert_eq!(public("files", "read_file"), "files__read_file");
        assert_eq!(public("files", "a__b"), "files__a__b");
        assert_eq!(server_of("files__a__b"), Some("files"));
        assert_eq!(server_of("add_task"), None);
    }

    #[test]
    fn every_name_fits_models_servers_and_no_two_are_the_same() {
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
