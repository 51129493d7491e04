//! Values that must not be shown.

use std::{fmt, str::FromStr};

/// A setting that never reaches a log or an error: its `Debug` hides it. `@/path/to/file` reads it from that file.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret from its plain text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The plain text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = match text.strip_prefix('@') {
            None => text.to_owned(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("the file it names can't be read: {}", error.kind()))?
                .trim_end_matches(['\r', '\n'])
                .to_owned(),
        };
        if plain.is_empty() {
            Err("must not be empty".to_owned())
        } else {
            Ok(Self(plain))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let path = std::env::temp_dir().join(format!("errand-secret-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, "hunter2\n").unwrap();
        assert_eq!(
            format!("@{}", path.display()).parse::<Secret>().unwrap().reveal(),
            "hunter2"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(format!("@{}", path.display()).parse::<Secret>().is_err());
    }
}
