//! What is hidden, as text: the language of masks.
//!
//! ```text
//! mask  = part { "+" part }
//! part  = "nonzero:" SHARE              a share of the non-zero entries
//!       | "thin:" SHARE                 counts thinned binomially to this share of their depth
//!       | "below:q" SHARE               non-zeros under the sample's own quantile
//!       | "taxon:" WHICH                whole taxa
//!       | "sample:" WHICH               whole samples
//!       | "time:" COUNT | "time:" SHARE whole time points of a subject
//! WHICH = COUNT | SHARE | NAME
//! COUNT = digits, as in 5
//! SHARE = a number above 0 and at most 1; as WHICH with a point or an exponent, as in 0.1 or 1.0
//! NAME  = text, in double quotes if it reads like a number or holds a + or a quote (written "")
//! ```

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is hidden: parts that are applied from left to right. Parsed from and shown as text.
///
/// ```
/// use suffuse_data::hide::Mask;
/// let mask: Mask = "taxon:5+nonzero:0.1".parse()?;
/// assert_eq!(mask.parts().len(), 2);
/// assert_eq!(mask.to_string(), "taxon:5+nonzero:0.1");
/// # Ok::<(), suffuse_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mask {
    parts: Vec<Part>,
}

/// One rule of a mask.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Non-zero measured entries, uniformly over the samples: `nonzero:FRACTION`.
    Nonzero {
        /// Fraction of the entries, above 0 and at most 1.
        fraction: f64,
    },
    /// Counts thinned binomially: `thin:SHARE`.
    Thin {
        /// Expected share of the counts that is left, above 0 and at most 1.
        share: f64,
    },
    /// Non-zeros under a quantile of the sample's own non-zeros: `below:qQUANTILE`.
    Below {
        /// Above 0 and at most 1.
        quantile: f64,
    },
    /// Whole taxa: `taxon:WHICH`.
    Taxon(Which),
    /// Whole samples: `sample:WHICH`.
    Sample(Which),
    /// All samples of a subject at one time: `time:HOW_MANY`.
    Time(HowMany),
}

/// Taxa or samples, drawn or named.
#[derive(Debug, Clone, PartialEq)]
pub enum Which {
    /// So many, drawn at random.
    Drawn(HowMany),
    /// The one of this id.
    Named(String),
}

/// A share or a number of things to draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HowMany {
    /// Share, above 0 and at most 1; one thing at least is drawn.
    Share(f64),
    /// Number, 1 or more.
    Count(usize),
}

/// The words of the language, each with an example.
const WORDS: [(&str, &str); 6] = [
    ("nonzero", "nonzero:0.1"),
    ("thin", "thin:0.2"),
    ("below", "below:q0.2"),
    ("taxon", "taxon:5 or taxon:NAME"),
    ("sample", "sample:0.1, sample:3 or sample:NAME"),
    ("time", "time:0.2"),
];

impl Mask {
    /// A mask of these parts.
    ///
    /// # Errors
    /// No part, or a number out of its range.
    pub fn new(parts: Vec<Part>) -> Result<Mask> {
        if parts.is_empty() {
            return Err(Error::Invalid(format!(
                "a mask without a part hides nothing; {}",
                expected()
            )));
        }
        for part in &parts {
            part.check()
                .map_err(|problem| Error::Invalid(format!("mask part {part}: {problem}")))?;
        }
        Ok(Mask { parts })
    }

    /// The parts, in the order in which they are applied.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl Part {
    fn check(&self) -> std::result::Result<(), String> {
        match self {
            Part::Nonzero { fraction: number }
            | Part::Thin { share: number }
            | Part::Below { quantile: number }
            | Part::Taxon(Which::Drawn(HowMany::Share(number)))
            | Part::Sample(Which::Drawn(HowMany::Share(number)))
            | Part::Time(HowMany::Share(number)) => {
                if *number > 0.0 && *number <= 1.0 {
                    Ok(())
                } else {
                    Err(format!("found {number}, expected above 0 and at most 1"))
                }
            }
            Part::Taxon(Which::Drawn(HowMany::Count(0)))
            | Part::Sample(Which::Drawn(HowMany::Count(0)))
            | Part::Time(HowMany::Count(0)) => Err("found 0, expected 1 or more".to_string()),
            Part::Taxon(Which::Named(name)) | Part::Sample(Which::Named(name))
                if name.is_empty() =>
            {
                Err("found an empty name".to_string())
            }
            Part::Taxon(_) | Part::Sample(_) | Part::Time(_) => Ok(()),
        }
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.parts.iter().enumerate() {
            if position > 0 {
                f.write_str("+")?;
            }
            part.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Nonzero { fraction } => write!(f, "nonzero:{fraction}"),
            Part::Thin { share } => write!(f, "thin:{share}"),
            Part::Below { quantile } => write!(f, "below:q{quantile}"),
            Part::Taxon(which) => write!(f, "taxon:{which}"),
            Part::Sample(which) => write!(f, "sample:{which}"),
            Part::Time(how_many) => write!(f, "time:{how_many}"),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Drawn(how_many) => how_many.fmt(f),
            Which::Named(name) if is_plain(name) => f.write_str(name),
            Which::Named(name) => write!(f, "\"{}\"", name.replace('"', "\"\"")),
        }
    }
}

impl fmt::Display for HowMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Debug writes 1.0 where Display writes 1, which would be a count.
            HowMany::Share(share) => write!(f, "{share:?}"),
            HowMany::Count(count) => write!(f, "{count}"),
        }
    }
}

impl FromStr for Mask {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mask> {
        let in_mask = |problem| Error::Invalid(format!("mask {text:?}: {problem}"));
        let parts = split_parts(text)
            .into_iter()
            .map(parse_part)
            .collect::<std::result::Result<Vec<_>, String>>()
            .map_err(in_mask)?;
        Ok(Mask { parts })
    }
}

/// Texts between the `+` that stand outside of quotes; one at least.
fn split_parts(text: &str) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(|c: char| {
        is_quoted ^= c == '"';
        c == '+' && !is_quoted
    })
    .collect()
}

fn parse_part(text: &str) -> std::result::Result<Part, String> {
    let (word, argument) = text.split_once(':').unwrap_or((text, ""));
    let (word, argument) = (word.trim(), argument.trim());
    let Some((_, example)) = WORDS.iter().find(|(known, _)| *known == word) else {
        return Err(format!("unknown word {word:?}; {}", expected()));
    };
    let number = |text: &str| {
        text.parse::<f64>().map_err(|_| {
            format!("found {argument:?} after {word}, expected a number, as in {example}")
        })
    };
    let part = match word {
        "nonzero" => Part::Nonzero {
            fraction: number(argument)?,
        },
        "thin" => Part::Thin {
            share: number(argument)?,
        },
        "below" => {
            let quantile = argument.strip_prefix('q').ok_or_else(|| {
                format!(
                    "found {argument:?} after below, expected q and a quantile, as in {example}"
                )
            })?;
            Part::Below {
                quantile: number(quantile)?,
            }
        }
        "time" => match parse_which(argument)? {
            Which::Drawn(how_many) => Part::Time(how_many),
            Which::Named(name) => {
                return Err(format!(
                    "found {name:?} after time, expected a share or a number, as in {example}"
                ));
            }
        },
        _ => {
            let which = parse_which(argument)?;
            match word {
                "taxon" => Part::Taxon(which),
                _ => Part::Sample(which),
            }
        }
    };
    part.check()
        .map_err(|problem| format!("{word}: {problem}, as in {example}{}", quoting(&part)))?;
    Ok(part)
}

fn parse_which(text: &str) -> std::result::Result<Which, String> {
    if let Some(rest) = text.strip_prefix('"') {
        let inside = rest
            .strip_suffix('"')
            .filter(|inside| !inside.replace("\"\"", "").contains('"'))
            .ok_or_else(|| {
                format!("found {text}, expected a name between two quotes (a quote in it is \"\")")
            })?;
        return Ok(Which::Named(inside.replace("\"\"", "\"")));
    }
    if !reads_as_number(text) {
        return match text.contains('"') {
            true => Err(format!("found {text}, expected the whole name in quotes")),
            false => Ok(Which::Named(text.to_string())),
        };
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let count = text
            .parse()
            .map_err(|_| format!("found {text}, which is too large a number"))?;
        return Ok(Which::Drawn(HowMany::Count(count)));
    }
    let share = text
        .parse()
        .map_err(|_| format!("found {text:?}, expected a number"))?;
    Ok(Which::Drawn(HowMany::Share(share)))
}

/// Says how to name something whose id was taken for a number.
fn quoting(part: &Part) -> &'static str {
    match part {
        Part::Taxon(Which::Drawn(_)) | Part::Sample(Which::Drawn(_)) => {
            "; an id that reads like a number stands in quotes"
        }
        _ => "",
    }
}

fn reads_as_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
        && text.parse::<f64>().is_ok()
}

/// Says whether a name stands for itself without quotes.
fn is_plain(name: &str) -> bool {
    !name.contains(['+', '"']) && name.trim() == name && !name.is_empty() && !reads_as_number(name)
}

fn expected() -> String {
    let examples: Vec<&str> = WORDS.iter().map(|(_, example)| *example).collect();
    format!(
        "expected {}, or several of them joined by +",
        examples.join(", ")
    )
}

impl TryFrom<String> for Mask {
    type Error = Error;

    fn try_from(text: String) -> Result<Mask> {
        text.parse()
    }
}

impl From<Mask> for String {
    fn from(mask: Mask) -> String {
        mask.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> Vec<Part> {
        text.parse::<Mask>().unwrap().parts().to_vec()
    }

    #[test]
    fn every_word_is_read_and_shown_as_it_was_written() {
        let named = |name: &str| Which::Named(name.to_string());
        let share = |share| Which::Drawn(HowMany::Share(share));
        let count = |count| Which::Drawn(HowMany::Count(count));
        for (text, part) in [
            ("nonzero:0.1", Part::Nonzero { fraction: 0.1 }),
            ("nonzero:1", Part::Nonzero { fraction: 1.0 }),
            ("thin:0.2", Part::Thin { share: 0.2 }),
            ("below:q0.2", Part::Below { quantile: 0.2 }),
            ("taxon:5", Part::Taxon(count(5))),
            ("taxon:0.5", Part::Taxon(share(0.5))),
            ("taxon:g__A; s__b", Part::Taxon(named("g__A; s__b"))),
            ("taxon:\"203\"", Part::Taxon(named("203"))),
            ("taxon:\"a+\"\"b\"\"\"", Part::Taxon(named("a+\"b\""))),
            ("sample:0.1", Part::Sample(share(0.1))),
            ("sample:1.0", Part::Sample(share(1.0))),
            ("sample:3", Part::Sample(count(3))),
            ("sample:s:3", Part::Sample(named("s:3"))),
            ("time:0.2", Part::Time(HowMany::Share(0.2))),
            ("time:2", Part::Time(HowMany::Count(2))),
        ] {
            assert_eq!(parts(text), [part], "{text}");
            assert_eq!(text.parse::<Mask>().unwrap().to_string(), text);
        }
        let text = "taxon:\"a+b\"+nonzero:0.1+time:1";
        assert_eq!(parts(text).len(), 3);
        assert_eq!(text.parse::<Mask>().unwrap().to_string(), text);
        assert_eq!(
            parts(" taxon: 5 + nonzero: 0.1 "),
            parts("taxon:5+nonzero:0.1")
        );
    }

    #[test]
    fn errors_name_what_was_found_and_show_an_example() {
        for (text, facts) in [
            ("", ["unknown word \"\"", "nonzero:0.1"]),
            ("rows:0.1", ["unknown word \"rows\"", "taxon:5"]),
            ("nonzero:0.1+", ["unknown word \"\"", "joined by +"]),
            ("nonzero", ["found \"\"", "nonzero:0.1"]),
            ("nonzero:0", ["found 0", "above 0"]),
            ("nonzero:1.1", ["found 1.1", "at most 1"]),
            ("nonzero:nan", ["found NaN", "above 0"]),
            ("thin:-0.5", ["found -0.5", "above 0"]),
            ("below:0.2", ["found \"0.2\"", "below:q0.2"]),
            ("below:q", ["found \"q\"", "below:q0.2"]),
            ("taxon:", ["empty name", "taxon:5"]),
            ("taxon:0", ["found 0", "1 or more"]),
            ("taxon:\"a", ["two quotes", "\"a"]),
            ("taxon:a\"b", ["in quotes", "a\"b"]),
            ("sample:7.5", ["found 7.5", "in quotes"]),
            ("sample:99999999999999999999", ["too large", "9999"]),
            ("time:monday", ["found \"monday\"", "time:0.2"]),
        ] {
            let message = text.parse::<Mask>().unwrap_err().to_string();
            let is_told = facts.iter().all(|fact| message.contains(fact));
            assert!(is_told, "{text:?}: {message}");
        }
        assert!(Mask::new(Vec::new()).is_err());
        assert!(Mask::new(vec![Part::Thin { share: 2.0 }]).is_err());
    }

    fn share() -> impl Strategy<Value = f64> {
        prop_oneof![Just(1.0), Just(f64::MIN_POSITIVE), 1e-12..1.0]
    }

    fn how_many() -> impl Strategy<Value = HowMany> {
        prop_oneof![
            share().prop_map(HowMany::Share),
            (1..usize::MAX).prop_map(HowMany::Count)
        ]
    }

    fn which() -> impl Strategy<Value = Which> {
        let name = prop_oneof!["\\PC{1,12}", "[0-9.e\"+: -]{1,6}", Just("inf".to_string())];
        prop_oneof![
            how_many().prop_map(Which::Drawn),
            name.prop_map(Which::Named)
        ]
    }

    fn part() -> impl Strategy<Value = Part> {
        prop_oneof![
            share().prop_map(|fraction| Part::Nonzero { fraction }),
            share().prop_map(|share| Part::Thin { share }),
            share().prop_map(|quantile| Part::Below { quantile }),
            which().prop_map(Part::Taxon),
            which().prop_map(Part::Sample),
            how_many().prop_map(Part::Time),
        ]
    }

    proptest! {
        #[test]
        fn a_mask_survives_its_text(parts in proptest::collection::vec(part(), 1..4)) {
            let mask = Mask::new(parts).unwrap();
            prop_assert_eq!(&mask.to_string().parse::<Mask>().unwrap(), &mask);
            let json = serde_json::to_string(&mask).unwrap();
            prop_assert_eq!(serde_json::from_str::<Mask>(&json).unwrap(), mask);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}", tail in "[a-z:0-9.\"+q]{0,16}") {
            for text in [text, tail] {
                if let Ok(mask) = text.parse::<Mask>() {
                    prop_assert_eq!(mask.to_string().parse::<Mask>().unwrap(), mask);
                }
            }
        }
    }
}
