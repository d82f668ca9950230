//! Reads of the samples to generate.

use crate::input::read_text;
use crate::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use suffuse_stats::generate::Depths;

/// Reads of the samples to generate, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depth {
    /// As in the table, in the generator's own way.
    AsFitted,
    /// This many in every sample.
    Each(u64),
    /// One number per line of a file, for the samples in their order.
    Listed(PathBuf),
}

const AS_FITTED: &str = "as-fitted";

impl FromStr for Depth {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match (text, text.parse::<f64>()) {
            (AS_FITTED, _) => Ok(Depth::AsFitted),
            (_, Ok(_)) => match text.parse() {
                Ok(n) if n > 0 => Ok(Depth::Each(n)),
                _ => Err(format!(
                    "found {text}, expected a whole number of reads, at least 1"
                )),
            },
            _ => Ok(Depth::Listed(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Depth::AsFitted => f.write_str(AS_FITTED),
            Depth::Each(n) => write!(f, "{n}"),
            Depth::Listed(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Depth {
    /// The depths of `n` samples; without `n`, of as many samples as a file lists or else `default`. Returns
    /// the number of samples, too.
    ///
    /// # Errors
    /// A file that cannot be read, holds something other than numbers of reads, or another number of them.
    pub fn resolve(&self, n: Option<usize>, default: usize) -> Result<(usize, Depths)> {
        let n_samples = n.unwrap_or(default);
        Ok(match self {
            Depth::AsFitted => (n_samples, Depths::AsFitted),
            Depth::Each(reads) => (n_samples, Depths::Given(vec![*reads; n_samples])),
            Depth::Listed(path) => {
                let depths = read(path)?;
                if let Some(n) = n
                    && n != depths.len()
                {
                    return Err(Error::Usage(format!(
                        "--depth {}: found {} depths, expected {n}, one for each sample of --n",
                        path.display(),
                        depths.len()
                    )));
                }
                (depths.len(), Depths::Given(depths))
            }
        })
    }
}

fn read(path: &Path) -> Result<Vec<u64>> {
    let text = read_text(path)?;
    let mut depths = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.parse() {
            Ok(reads) if reads > 0 => depths.push(reads),
            _ => {
                let place = format!("line {}", number + 1);
                let expected = "a whole number of reads, at least 1, alone on its line";
                return Err(suffuse_data::Error::format(
                    path,
                    place,
                    format!("{line:?}"),
                    expected,
                )
                .into());
            }
        }
    }
    match depths.is_empty() {
        true => {
            let expected = "a number of reads on each line";
            Err(suffuse_data::Error::format(path, "file", "no depth", expected).into())
        }
        false => Ok(depths),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_depth_and_a_word_is_a_file() {
        let of = |text: &str| text.parse::<Depth>();
        assert_eq!(of("as-fitted"), Ok(Depth::AsFitted));
        assert_eq!(of("5000"), Ok(Depth::Each(5000)));
        assert_eq!(of("depths.txt"), Ok(Depth::Listed("depths.txt".into())));
        for bad in ["0", "-3", "2.5", "1e4"] {
            assert!(of(bad).unwrap_err().contains(bad), "{bad}");
        }
        assert_eq!(
            Depth::Each(7).resolve(None, 2).unwrap(),
            (2, Depths::Given(vec![7, 7]))
        );
    }
}
