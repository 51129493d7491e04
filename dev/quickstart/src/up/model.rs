//! Chooses the model: the one that the environment or `.env` configures, else the demo model.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

use errand_devstack::{Error, Result};

/// The model that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Model {
    /// The demo model, which is started with the workers.
    Demo,
    /// An OpenAI-compatible server, by its base URL.
    Configured(String),
}

impl Model {
    /// Reads the environment and then the repository's `.env`, as the programs do. Empty values are ignored.
    pub(super) fn choose(repository: &Path) -> Result<Self> {
        let file = read_env_file(&repository.join(".env"))?;
        let set = |name: &str| match std::env::var_os(name) {
            Some(value) => value.into_string().ok(),
            None => file.get(name).cloned(),
        };
        Ok(Self::from_settings(set))
    }

    fn from_settings(set: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| set(name).filter(|value| !value.trim().is_empty());
        match (value("OPENAI_API_KEY"), value("OPENAI_BASE_URL")) {
            (None, None) => Self::Demo,
            (_, base) => Self::Configured(base.unwrap_or_else(|| "https://api.openai.com/v1".to_owned())),
        }
    }
}

fn read_env_file(path: &Path) -> Result<HashMap<String, String>> {
    // The errors of dotenvy contain the line, which may be a key.
    let unreadable = || Error::Unusable(format!("{}: not lines of the form NAME=value", path.display()));
    match dotenvy::from_path_iter(path) {
        Ok(lines) => lines.collect::<Result<_, _>>().map_err(|_hidden| unreadable()),
        Err(dotenvy::Error::Io(fault)) if fault.kind() == ErrorKind::NotFound => Ok(HashMap::new()),
        Err(_hidden) => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use errand_devstack::files::temp_dir::TempDir;

    use super::*;

    fn choose(settings: &[(&str, &str)]) -> Model {
        Model::from_settings(|name| {
            settings
                .iter()
                .find(|(set, _)| *set == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_demo_model_answers_unless_another_is_configured() {
        assert_eq!(choose(&[]), Model::Demo);
        assert_eq!(choose(&[("OPENAI_API_KEY", " ")]), Model::Demo);
        assert_eq!(
            choose(&[("OPENAI_API_KEY", "k")]),
            Model::Configured("https://api.openai.com/v1".to_owned())
        );
        assert_eq!(
            choose(&[("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")]),
            Model::Configured("http://127.0.0.1:1/v1".to_owned())
        );
    }

    #[test]
    fn a_malformed_env_file_is_reported_without_its_contents() {
        let dir = TempDir::for_services().unwrap();
        let path = dir.path().join(".env");
        assert!(read_env_file(&path).unwrap().is_empty());
        std::fs::write(&path, "OPENAI_API_KEY=k\n").unwrap();
        assert_eq!(read_env_file(&path).unwrap()["OPENAI_API_KEY"], "k");
        std::fs::write(&path, "sk-hidden hidden\n").unwrap();
        let message = read_env_file(&path).unwrap_err().to_string();
        assert!(
            message.contains(".env") && !message.contains("hidden"),
            "{message}"
        );
    }
}
