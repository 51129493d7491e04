//! Settings whose values must not appear in logs or errors.

use std::{fmt, str::FromStr};

/// A secret setting. Its `Debug` output hides the value. `@/path/to/file` reads the value from that file.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that was not read from a setting.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value.
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
                .map_err(|error| format!("the file cannot be read: {}", error.kind()))?
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
    fn debug_output_hides_the_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn a_secret_can_be_read_from_a_file() {
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
