//! The configuration of a run: a preset or a file, with single keys set from the command line.

use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use suffuse_model::systems::depmicrodiff::Config;
use suffuse_model::systems::sparse_microbiome::Config as GeneratorConfig;

/// Names of the configurations that come with the program, of the imputer and of the generator.
const PRESETS: [&str; 4] = ["small", "paper", "tiny", "mbvdit"];
const GENERATOR_PRESETS: [&str; 4] = ["small", "private", "paper", "tiny"];

/// One `key=value` from the command line; the key is dotted for nested tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Path of the key, as in `dat.ar_decay`.
    pub key: String,
    /// Value in TOML notation; a word without quotes is text.
    pub value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(Setting {
                key: key.trim().to_string(),
                value: value.trim().to_string(),
            }),
            _ => Err(format!("found {text:?}, expected key=value")),
        }
    }
}

/// The file that the name of a configuration stands for; none for a preset.
pub fn file(name: &str) -> Option<PathBuf> {
    let is_preset = PRESETS.contains(&name) || GENERATOR_PRESETS.contains(&name);
    (!is_preset).then(|| PathBuf::from(name))
}

/// The configuration named `small`, `paper`, `tiny` or `mbvdit`, or read from a `.toml` file, with `settings`
/// applied in their order.
///
/// # Errors
/// A name that is neither, an unknown key, a value of the wrong type or out of range.
pub fn config(name: &str, settings: &[Setting]) -> Result<Config> {
    let config = match source(name, &PRESETS)? {
        Source::Preset => Config::preset(name)?,
        Source::File => Config::from_file(Path::new(name))?,
    };
    match settings {
        [] => Ok(config),
        _ => Ok(config.with_overrides(&overrides(settings))?),
    }
}

/// The configuration of the generator named `small`, `private`, `paper` or `tiny`, or read from a `.toml` file, with
/// `settings` applied in their order.
///
/// # Errors
/// As [`config`].
pub fn generator_config(name: &str, settings: &[Setting]) -> Result<GeneratorConfig> {
    let config = match source(name, &GENERATOR_PRESETS)? {
        Source::Preset => GeneratorConfig::preset(name)?,
        Source::File => GeneratorConfig::from_file(Path::new(name))?,
    };
    match settings {
        [] => Ok(config),
        _ => Ok(config.with_overrides(&overrides(settings))?),
    }
}

/// Where a configuration stands.
enum Source {
    Preset,
    File,
}

fn source(name: &str, presets: &[&str]) -> Result<Source> {
    if presets.contains(&name) {
        return Ok(Source::Preset);
    }
    if name.ends_with(".toml") || Path::new(name).is_file() {
        return Ok(Source::File);
    }
    Err(Error::Usage(format!(
        "--config {name}: found neither a preset nor a .toml file of this name; presets: {}",
        presets.join(", ")
    )))
}

fn overrides(settings: &[Setting]) -> Vec<(String, String)> {
    settings
        .iter()
        .map(|setting| (setting.key.clone(), setting.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_split_at_its_first_equals_sign() {
        let setting: Setting = "a.b = x=y".parse().unwrap();
        assert_eq!(
            setting,
            Setting {
                key: "a.b".into(),
                value: "x=y".into()
            }
        );
        assert!("=3".parse::<Setting>().is_err());
        assert!("alone".parse::<Setting>().is_err());
    }

    #[test]
    fn an_unknown_preset_or_key_is_bad_usage() {
        assert_eq!(config("huge", &[]).unwrap_err().exit_code(), 2);
        let unknown: Setting = "no_such_key=1".parse().unwrap();
        let problem = config("tiny", &[unknown]).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        assert!(problem.to_string().contains("no_such_key"), "{problem}");
    }

    #[test]
    fn a_setting_changes_the_configuration() {
        let draws: Setting = "sampling.n_draws=3".parse().unwrap();
        assert_eq!(config("tiny", &[draws]).unwrap().sampling.n_draws, 3);
    }
}
