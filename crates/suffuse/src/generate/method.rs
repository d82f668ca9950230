//! The ways to generate samples, under one name each.

use std::fmt;
use std::str::FromStr;
use suffuse_stats::generate::Generator;

/// A way to generate samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The learned generator: latent diffusion over a two-part decoder.
    SparseMicrobiome,
    /// Its autoencoder alone, for comparison.
    Vae,
    /// A simple generator.
    Simple(Generator),
}

impl Method {
    /// Says whether a network is trained.
    pub fn is_learned(self) -> bool {
        !matches!(self, Method::Simple(_))
    }
}

/// All methods, the default first.
fn all() -> impl Iterator<Item = Method> {
    let simple = Generator::ALL.into_iter().map(Method::Simple);
    [Method::SparseMicrobiome, Method::Vae]
        .into_iter()
        .chain(simple)
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::SparseMicrobiome => f.write_str("sparse-microbiome"),
            Method::Vae => f.write_str("vae"),
            Method::Simple(generator) => write!(f, "{generator}"),
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        all()
            .find(|method| method.to_string() == name)
            .ok_or_else(|| {
                let names: Vec<String> = all().map(|method| method.to_string()).collect();
                format!("found {name:?}, expected one of: {}", names.join(", "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_its_method() {
        for method in all() {
            assert_eq!(method.to_string().parse::<Method>().unwrap(), method);
        }
        assert!("gan".parse::<Method>().unwrap_err().contains("midasim"));
    }
}
