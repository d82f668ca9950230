//! Known associations and changes of taxa, as a user names them.

use crate::input::read_text;
use crate::output::cell;
use crate::{Error, Result};
use rand::Rng;
use std::collections::HashMap;
use std::path::Path;
use suffuse_data::metadata_tsv::is_missing;
use suffuse_data::seeded::seeded;
use suffuse_data::{Column, ColumnValues, Metadata};
use suffuse_stats::generate::spike_in::{Changes, Covariate, Effect, On, Realised};

/// What is altered in generated samples.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Alterations {
    /// By position.
    pub changes: Changes,
    /// The effects of `changes`, by name.
    pub associations: Vec<Association>,
    /// Covariates that were made for them: columns of the synthetic samples.
    pub made: Vec<Column>,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
}

/// A line of a spike-in file.
#[derive(Debug, Clone, PartialEq)]
pub struct Association {
    /// Id of the taxon.
    pub taxon: String,
    /// Name of the covariate.
    pub covariate: String,
    /// What one unit of it adds to the logarithm of the share, or to the log-odds of presence.
    pub effect: f64,
    /// What it moves.
    pub on: On,
    /// How the covariate is made; `None` takes a column of the synthetic samples.
    pub kind: Option<Covariate>,
    line: usize,
}

/// An association, and the effect that it has among the samples.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Known {
    /// Id of the taxon.
    pub taxon: String,
    /// Name of the covariate.
    pub covariate: String,
    /// As asked for.
    pub effect: f64,
    /// `abundance` or `prevalence`.
    pub on: &'static str,
    /// Slope after less slope before; `NaN` where it cannot be told.
    pub realised_effect: f64,
}

/// What [`Changed`] calls a prevalence.
pub const PREVALENCE: &str = "prevalence";

/// A prevalence that was set or a mean that was scaled, and what it came to.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Changed {
    /// Id of the taxon.
    pub taxon: String,
    /// [`PREVALENCE`], a share of all samples, or `mean`, a factor of the mean relative abundance.
    pub what: &'static str,
    /// As asked for.
    pub asked: f64,
    /// Among the samples that are written.
    pub realised: f64,
}

/// Header of the list of known associations.
const TRUTH_HEADER: &str = "taxon\tcovariate\teffect\ton\trealised_effect\n";

/// The known associations as tab-separated text; a number that cannot be told is left empty.
pub(super) fn truth_tsv(known: &[Known]) -> String {
    let mut text = TRUTH_HEADER.to_string();
    for Known {
        taxon,
        covariate,
        effect,
        on,
        realised_effect,
    } in known
    {
        let realised = match realised_effect.is_nan() {
            true => String::new(),
            false => realised_effect.to_string(),
        };
        let (taxon, covariate) = (cell(taxon), cell(covariate));
        text.push_str(&format!(
            "{taxon}\t{covariate}\t{effect}\t{on}\t{realised}\n"
        ));
    }
    text
}

impl Alterations {
    /// Adds the associations of a file: tab-separated, with the columns taxon, covariate, effect, on
    /// (`abundance` or `prevalence`), and kind (`binary` or `normal`; empty for a column of the synthetic
    /// samples).
    ///
    /// - `metadata`: of the synthetic samples
    ///
    /// # Errors
    /// A file that cannot be read or says what cannot be, with its line.
    pub fn read_spike_in(
        &mut self,
        path: &Path,
        feature_ids: &[String],
        metadata: &Metadata,
        seed: u64,
    ) -> Result<()> {
        let text = read_text(path)?;
        let positions = positions(feature_ids);
        for association in parse(&text, path)? {
            let at_line =
                |found: String, expected: &str| problem(path, association.line, found, expected);
            let Some(taxon) = positions.get(association.taxon.as_str()) else {
                let found = format!("taxon {:?}", association.taxon);
                return Err(at_line(found, "a feature id of the table"));
            };
            let before = (self.associations.iter()).find(|a| a.covariate == association.covariate);
            if let Some(before) = before
                && before.kind != association.kind
            {
                let found = format!("covariate {:?} of another kind", association.covariate);
                let expected = format!("the kind that line {} gives it", before.line);
                return Err(at_line(found, &expected));
            }
            let is_twice = self.associations.iter().any(|a| {
                (&a.taxon, &a.covariate, a.on)
                    == (&association.taxon, &association.covariate, association.on)
            });
            if is_twice {
                let found = format!(
                    "taxon {:?} with {:?} again",
                    association.taxon, association.covariate
                );
                return Err(at_line(found, "one effect per taxon, covariate and `on`"));
            }
            let covariate = match before {
                Some(before) => {
                    let same = (self.associations.iter())
                        .position(|a| a.covariate == before.covariate)
                        .expect("it was found");
                    self.changes.effects[same].covariate
                }
                None => {
                    let values = self
                        .covariate(&association, metadata, seed)
                        .map_err(|(found, expected)| at_line(found, &expected))?;
                    self.changes.covariates.push(values);
                    self.changes.covariates.len() - 1
                }
            };
            self.changes.effects.push(Effect {
                taxon: *taxon,
                covariate,
                effect: association.effect,
                on: association.on,
            });
            self.associations.push(association);
        }
        Ok(())
    }

    /// The values of a covariate; else what was found and what was expected.
    fn covariate(
        &mut self,
        association: &Association,
        metadata: &Metadata,
        seed: u64,
    ) -> std::result::Result<Vec<f64>, (String, String)> {
        let name = &association.covariate;
        let column = metadata.column(name);
        let Some(kind) = association.kind else {
            let Some(column) = column else {
                let known: Vec<&str> = metadata.columns().iter().map(|c| c.name.as_str()).collect();
                let known = match known.is_empty() {
                    true => String::new(),
                    false => format!(
                        ", or one of the columns of the synthetic samples: {}",
                        known.join(", ")
                    ),
                };
                let found = format!("covariate {name:?} without a kind");
                return Err((found, format!("kind `binary` or `normal`{known}")));
            };
            let (values, note) = numbers(column, metadata.ids())?;
            self.notes.extend(note);
            return Ok(values);
        };
        if column.is_some() {
            let found = format!("covariate {name:?}, which is a column of the synthetic samples");
            return Err((found, "another name, or no kind".to_string()));
        }
        let stream = seeded(seed, &format!("generate/covariate/{name}")).next_u64();
        let values = kind.draw(metadata.ids().len(), stream);
        self.made.push(Column {
            name: name.clone(),
            values: ColumnValues::Numeric(values.clone()),
        });
        Ok(values)
    }

    /// Adds prevalences and factors of means by the ids of their taxa.
    ///
    /// # Errors
    /// An id that the table lacks or that is named twice, a share or factor that cannot be.
    pub fn add_changes(
        &mut self,
        prevalences: &[(String, f64)],
        mean_factors: &[(String, f64)],
        feature_ids: &[String],
    ) -> Result<()> {
        let positions = positions(feature_ids);
        let resolve = |option: &str, named: &[(String, f64)]| {
            let mut found: Vec<(usize, f64)> = Vec::with_capacity(named.len());
            for (id, value) in named {
                let Some(taxon) = positions.get(id.as_str()) else {
                    return Err(Error::Usage(format!(
                        "{option} {id}={value}: the table has no feature {id:?}; `suffuse inspect TABLE --json` lists what it has"
                    )));
                };
                if found.iter().any(|(known, _)| known == taxon) {
                    return Err(Error::Usage(format!("{option}: {id:?} is named twice")));
                }
                found.push((*taxon, *value));
            }
            Ok(found)
        };
        self.changes.prevalences = resolve("--set-prevalence", prevalences)?;
        self.changes.mean_factors = resolve("--scale-mean", mean_factors)?;
        let is_no_share = |(_, share): &&(String, f64)| !(0.0..=1.0).contains(share);
        if let Some((id, share)) = prevalences.iter().find(is_no_share) {
            return Err(Error::Usage(format!(
                "--set-prevalence {id}={share}: expected a share of the samples, from 0 to 1"
            )));
        }
        match mean_factors.iter().find(|(_, factor)| *factor <= 0.0) {
            Some((id, factor)) => Err(Error::Usage(format!(
                "--scale-mean {id}={factor}: expected a factor above 0; --set-prevalence {id}=0 takes a taxon out"
            ))),
            None => Ok(()),
        }
    }

    /// Prevalences and means with what they came to.
    pub(super) fn changed(&self, realised: &Realised, feature_ids: &[String]) -> Vec<Changed> {
        let of = |what: &'static str, asked: &[(usize, f64)], realised: &[f64]| {
            let changed = |((taxon, asked), realised): (&(usize, f64), &f64)| Changed {
                taxon: feature_ids[*taxon].clone(),
                what,
                asked: *asked,
                realised: *realised,
            };
            asked.iter().zip(realised).map(changed).collect::<Vec<_>>()
        };
        let changes = &self.changes;
        let mut all = of(PREVALENCE, &changes.prevalences, &realised.prevalences);
        all.extend(of("mean", &changes.mean_factors, &realised.mean_factors));
        all
    }

    /// The associations with the effects that they have.
    pub(super) fn known(&self, realised: &[f64]) -> Vec<Known> {
        let known = |(association, realised): (&Association, &f64)| Known {
            taxon: association.taxon.clone(),
            covariate: association.covariate.clone(),
            effect: association.effect,
            on: association.on.name(),
            realised_effect: *realised,
        };
        self.associations.iter().zip(realised).map(known).collect()
    }
}

/// The error with the id of the taxon that it is about.
pub(super) fn named(error: suffuse_stats::Error, feature_ids: &[String]) -> Error {
    match error {
        suffuse_stats::Error::Unchangeable { taxon, problem } => Error::Usage(format!(
            "taxon {:?} cannot be changed as asked: {problem}",
            feature_ids[taxon]
        )),
        other => other.into(),
    }
}

fn positions(ids: &[String]) -> HashMap<&str, usize> {
    ids.iter()
        .enumerate()
        .map(|(at, id)| (id.as_str(), at))
        .collect()
}

fn problem(path: &Path, line: usize, found: String, expected: &str) -> Error {
    suffuse_data::Error::format(path, format!("line {line}"), found, expected).into()
}

/// A column as numbers: as they are, or 0 and 1 for two values.
fn numbers(
    column: &Column,
    ids: &[String],
) -> std::result::Result<(Vec<f64>, Option<String>), (String, String)> {
    let is_unknown = |row: &usize| {
        column
            .values
            .text(*row)
            .is_none_or(|text| is_missing(&text))
    };
    if let Some(row) = (0..column.values.len()).find(is_unknown) {
        return Err((
            format!(
                "covariate {:?}, which is missing for sample {:?}",
                column.name, ids[row]
            ),
            "a column without missing values: fill them, or leave these samples out".to_string(),
        ));
    }
    let texts: Vec<String> = (0..column.values.len())
        .map(|row| column.values.text(row).unwrap_or_default())
        .collect();
    let parsed: Option<Vec<f64>> = texts.iter().map(|text| text.parse().ok()).collect();
    if let Some(values) = parsed.filter(|values| values.iter().all(|x| x.is_finite())) {
        return Ok((values, None));
    }
    let levels: std::collections::BTreeSet<&String> = texts.iter().collect();
    let levels: Vec<&String> = levels.into_iter().collect();
    match levels[..] {
        [zero, one] => {
            let value = |text: &String| f64::from(u8::from(text == one));
            let note = format!("covariate {:?}: 0 is {zero:?}, 1 is {one:?}", column.name);
            Ok((texts.iter().map(value).collect(), Some(note)))
        }
        _ => Err((
            format!("covariate {:?} with {} values", column.name, levels.len()),
            "a column of numbers or of two values".to_string(),
        )),
    }
}

const COLUMNS: [&str; 4] = ["taxon", "covariate", "effect", "on"];

fn parse(text: &str, path: &Path) -> Result<Vec<Association>> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim_end_matches('\r')))
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let (number, header) = lines.next().unwrap_or((1, ""));
    let header: Vec<&str> = header.split('\t').map(str::trim).collect();
    let place = |name: &str| header.iter().position(|known| *known == name);
    let expected = "a tab-separated header with taxon, covariate, effect, on, and kind where covariates are made";
    for name in COLUMNS {
        if place(name).is_none() {
            let found = format!("{} without {name:?}", header.join(", "));
            return Err(problem(path, number, found, expected));
        }
    }
    let known = |name: &&&str| COLUMNS.contains(*name) || **name == "kind";
    if let Some(strange) = header.iter().find(|name| !known(name)) {
        return Err(problem(
            path,
            number,
            format!("column {strange:?}"),
            expected,
        ));
    }
    let mut associations = Vec::new();
    for (line, text) in lines {
        let fields: Vec<&str> = text.split('\t').map(str::trim).collect();
        let field = |name: &str| {
            place(name)
                .and_then(|at| fields.get(at))
                .copied()
                .unwrap_or("")
        };
        let wrong = |name: &str, expected: &str| {
            let found = format!("{name} {:?}", field(name));
            Err(problem(path, line, found, expected))
        };
        let effect = match field("effect").parse::<f64>() {
            Ok(effect) if effect.is_finite() => effect,
            _ => return wrong("effect", "a number"),
        };
        let on = match field("on") {
            "abundance" => On::Abundance,
            "prevalence" => On::Prevalence,
            _ => return wrong("on", "`abundance` or `prevalence`"),
        };
        let kind = match field("kind") {
            "binary" => Some(Covariate::Binary),
            "normal" => Some(Covariate::Normal),
            "" => None,
            _ => {
                return wrong(
                    "kind",
                    "`binary`, `normal`, or nothing for a column of the synthetic samples",
                );
            }
        };
        if field("covariate").is_empty() {
            return wrong("covariate", "a name");
        }
        associations.push(Association {
            taxon: field("taxon").to_string(),
            covariate: field("covariate").to_string(),
            effect,
            on,
            kind,
            line,
        });
    }
    match associations.is_empty() {
        true => Err(problem(
            path,
            number,
            "no line below the header".to_string(),
            "an association on each line",
        )),
        false => Ok(associations),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Alterations> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spikes.tsv");
        std::fs::write(&path, text).unwrap();
        let ids = |prefix: &str, n: usize| -> Vec<String> {
            (0..n).map(|at| format!("{prefix}{at}")).collect()
        };
        let site = ["gut", "gut", "skin", "skin"].map(|site| Some(site.to_string()));
        let columns = vec![Column {
            name: "site".to_string(),
            values: ColumnValues::Text(site.to_vec()),
        }];
        let metadata = Metadata::new(ids("s", 4), columns).unwrap();
        let mut alterations = Alterations::default();
        alterations.read_spike_in(&path, &ids("t", 3), &metadata, 1)?;
        Ok(alterations)
    }

    #[test]
    fn a_missing_covariate_is_no_value_of_it() {
        let ids = ["s0", "s1", "s2"].map(String::from);
        let texts = |texts: [Option<&str>; 3]| Column {
            name: "case".to_string(),
            values: ColumnValues::Text(texts.map(|text| text.map(String::from)).to_vec()),
        };
        for missing in [None, Some("NA"), Some("")] {
            let (found, _) =
                numbers(&texts([Some("yes"), missing, Some("yes")]), &ids).unwrap_err();
            assert_eq!(
                found,
                "covariate \"case\", which is missing for sample \"s1\""
            );
        }
        assert!(numbers(&texts([Some("yes"), Some("no"), Some("no")]), &ids).is_ok());
    }

    #[test]
    fn covariates_are_made_once_or_taken_from_the_samples() {
        let found = read(
            "taxon\ton\tcovariate\teffect\tkind\n# a comment\nt2\tabundance\tdose\t0.5\tnormal\n\
             t0\tprevalence\tdose\t-1\tnormal\nt1\tabundance\tsite\t2\t\n",
        )
        .unwrap();
        assert_eq!(found.changes.covariates.len(), 2);
        assert_eq!(found.changes.covariates[1], [0.0, 0.0, 1.0, 1.0]);
        let effects = &found.changes.effects;
        assert_eq!((effects[0].covariate, effects[1].covariate), (0, 0));
        assert_eq!((effects[0].taxon, effects[2].taxon), (2, 1));
        assert_eq!(found.made.len(), 1);
        assert!(
            found.notes[0].contains("1 is \"skin\""),
            "{:?}",
            found.notes
        );
    }

    #[test]
    fn what_a_line_gets_wrong_is_told_with_its_number() {
        let header = "taxon\tcovariate\teffect\ton\tkind\n";
        for (lines, facts) in [
            ("t9\tdose\t1\tabundance\tnormal", ["line 2", "\"t9\""]),
            ("t1\tdose\tbig\tabundance\tnormal", ["line 2", "\"big\""]),
            ("t1\tdose\t1\tmean\tnormal", ["line 2", "\"mean\""]),
            ("t1\tdose\t1\tabundance\tgamma", ["line 2", "\"gamma\""]),
            (
                "t1\tdose\t1\tabundance\t",
                ["line 2", "columns of the synthetic samples: site"],
            ),
            ("t1\tsite\t1\tabundance\tbinary", ["line 2", "another name"]),
            (
                "t1\ta\t1\tabundance\tbinary\nt2\ta\t1\tabundance\tnormal",
                ["line 3", "line 2"],
            ),
            (
                "t1\ta\t1\tabundance\tbinary\nt1\ta\t2\tabundance\tbinary",
                ["line 3", "again"],
            ),
            ("", ["no line", "association"]),
        ] {
            let message = read(&format!("{header}{lines}\n")).unwrap_err().to_string();
            assert!(facts.iter().all(|fact| message.contains(fact)), "{message}");
        }
        let message = read("taxon\tcovariate\teffect\nt1\ta\t1\n")
            .unwrap_err()
            .to_string();
        assert!(message.contains("without \"on\""), "{message}");
        let message = read("taxon\tcovariate\teffect\ton\tkindd\n")
            .unwrap_err()
            .to_string();
        assert!(message.contains("\"kindd\""), "{message}");
    }
}
