//! The ways to fill a table: the model and the classical baselines, under one name each.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use suffuse_model::systems::depmicrodiff::Config;
use suffuse_stats::impute::{LongitudinalMethod, Method as Baseline};

/// A way to fill a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Method {
    /// The diffusion model and a classical imputer, weighed on the table itself.
    Auto,
    /// The diffusion model, and a ridge regression where it has a guide.
    DepMicroDiff,
    /// The diffusion model that knows nothing of subjects and times: what they are worth.
    WithoutTimes,
    /// The same diffusion without what makes it dependency-aware, see [`Config::as_mbvdit`].
    MbVdit,
    /// A classical imputer.
    Baseline(Baseline),
    /// A simple filling of visits from the others of their subject.
    InTime(LongitudinalMethod),
}

const AUTO_NAME: &str = "auto";
const MODEL_NAME: &str = "depmicrodiff";
const PEER_NAME: &str = "mbvdit";
const WITHOUT_TIMES_NAME: &str = "depmicrodiff-without-times";

/// All methods for any table that are compared unless others are asked for, the default first.
pub fn all() -> Vec<Method> {
    let mut methods = vec![Method::Auto, Method::DepMicroDiff];
    methods.extend(Baseline::ALL.map(Method::Baseline));
    methods
}

/// Every method that has a name.
fn named() -> impl Iterator<Item = Method> {
    all().into_iter().chain([Method::MbVdit]).chain(in_time())
}

/// The methods for visits beside those: they need subjects and times, or show what these are worth.
pub fn in_time() -> Vec<Method> {
    let mut methods = vec![Method::WithoutTimes];
    methods.extend(LongitudinalMethod::ALL.map(Method::InTime));
    methods
}

impl Method {
    /// Says whether it is one of [`in_time`].
    pub fn is_in_time(self) -> bool {
        matches!(self, Method::WithoutTimes | Method::InTime(_))
    }

    /// Classical methods that may have a share in what it says, beside the diffusion model of this configuration.
    pub fn partners(self, config: &Config) -> &'static [Baseline] {
        match self {
            Method::Auto => &[Baseline::ExtraTrees, Baseline::Ridge, Baseline::SoftImpute],
            // The paper's model has neither guide nor regression.
            Method::DepMicroDiff if config.guide.n_members > 0 => &[Baseline::Ridge],
            _ => &[],
        }
    }

    /// The configuration that it asks for, from that of the model.
    pub fn config(self, of_model: Config) -> Config {
        match self {
            Method::MbVdit => of_model.as_mbvdit(),
            _ => of_model,
        }
    }

    /// Says whether the model is compared with it.
    pub fn is_baseline(self) -> bool {
        matches!(self, Method::Baseline(_) | Method::InTime(_))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Auto => f.write_str(AUTO_NAME),
            Method::DepMicroDiff => f.write_str(MODEL_NAME),
            Method::MbVdit => f.write_str(PEER_NAME),
            Method::WithoutTimes => f.write_str(WITHOUT_TIMES_NAME),
            Method::Baseline(baseline) => write!(f, "{baseline}"),
            Method::InTime(method) => write!(f, "{method}"),
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        named()
            .find(|method| method.to_string() == name)
            .ok_or_else(|| {
                let names = named().filter(|method| !method.is_in_time());
                let names: Vec<String> = names.map(|method| method.to_string()).collect();
                format!("found {name:?}, expected one of: {}", names.join(", "))
            })
    }
}

impl From<Method> for String {
    fn from(method: Method) -> String {
        method.to_string()
    }
}

impl TryFrom<String> for Method {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_method_has_trees_and_the_papers_model_has_nothing_beside_it() {
        let (small, paper) = (Config::small(), Config::paper());
        assert!(
            Method::Auto
                .partners(&paper)
                .contains(&Baseline::ExtraTrees)
        );
        assert_eq!(Method::DepMicroDiff.partners(&small), [Baseline::Ridge]);
        for alone in [
            Method::DepMicroDiff.partners(&paper),
            Method::MbVdit.partners(&small),
        ] {
            assert_eq!(alone, []);
        }
    }

    #[test]
    fn every_name_reads_back_as_its_method() {
        for method in named() {
            assert_eq!(method.to_string().parse::<Method>().unwrap(), method);
        }
        assert!(
            "median"
                .parse::<Method>()
                .unwrap_err()
                .contains("taxon-mean")
        );
    }
}
