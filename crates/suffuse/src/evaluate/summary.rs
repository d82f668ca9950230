//! Results gathered: mean and spread over seeds, the verdict, the file `results.tsv`.

use super::comparison::is_baseline;
use super::outcome::{Figures, Key, Outcome, Scope};
use super::{MODEL, N_FOLDS, Protocol, RESULTS_VERSION, model_version};
use crate::Result;
use crate::method::Method;
use crate::output::write_text;
use serde::Serialize;
use std::collections::BTreeMap;
use std::f64::consts::LN_10;
use std::path::Path;
use suffuse_data::format::Overwrite;
use suffuse_model::systems::depmicrodiff::Config;

/// Mean and standard deviation of a score over seeds; `NaN` where no seed defines it, and the
/// standard deviation (divisor n - 1) also with one seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub sd: f64,
}

/// The scores of a method in a scope, over seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the method.
    pub method: String,
    /// "pooled", "per taxon" or "per sample".
    pub scope: &'static str,
    /// Pearson correlation.
    pub pcc: Spread,
    /// Cosine similarity.
    pub cos: Spread,
    /// Root mean squared error in `ln(1 + percent)`.
    pub rmse_ln: Spread,
    /// Mean absolute error in `ln(1 + percent)`.
    pub mae_ln: Spread,
    /// Root mean squared error in `log10(1 + percent)`.
    pub rmse_log10: Spread,
    /// Mean absolute error in `log10(1 + percent)`.
    pub mae_log10: Spread,
    /// Seeds.
    pub n_seeds: usize,
    /// Mean of the wall-clock seconds.
    pub seconds: f64,
}

/// The outcomes of each method, methods in order of first appearance.
pub fn by_method(outcomes: &[Outcome]) -> Vec<(String, Vec<&Outcome>)> {
    let mut groups: Vec<(String, Vec<&Outcome>)> = Vec::new();
    for outcome in outcomes {
        match groups
            .iter_mut()
            .find(|(method, _)| *method == outcome.key.method)
        {
            Some((_, group)) => group.push(outcome),
            None => groups.push((outcome.key.method.clone(), vec![outcome])),
        }
    }
    groups
}

/// One row per scope and method.
pub fn rows(outcomes: &[Outcome]) -> Vec<Row> {
    let groups = by_method(outcomes);
    let mut rows = Vec::new();
    for scope in Scope::ALL {
        for (method, group) in &groups {
            let of = |score: fn(&Figures) -> f64| -> Vec<f64> {
                group
                    .iter()
                    .map(|outcome| score(&outcome.in_scope(scope)))
                    .collect()
            };
            rows.push(Row {
                method: method.clone(),
                scope: scope.name(),
                pcc: spread(&of(|f| f.pcc)),
                cos: spread(&of(|f| f.cos)),
                rmse_ln: spread(&of(|f| f.rmse)),
                mae_ln: spread(&of(|f| f.mae)),
                rmse_log10: spread(&of(|f| f.rmse / LN_10)),
                mae_log10: spread(&of(|f| f.mae / LN_10)),
                n_seeds: group.len(),
                seconds: group
                    .iter()
                    .map(|outcome| outcome.seconds.total)
                    .sum::<f64>()
                    / group.len() as f64,
            });
        }
    }
    rows
}

/// Says in words how the model compares with the best baseline, by the pooled RMSE and then by
/// every pooled score; `None` without a model or without a baseline.
pub fn verdict(rows: &[Row], model: &str) -> Option<String> {
    let pooled: Vec<&Row> = rows
        .iter()
        .filter(|row| row.scope == Scope::Pooled.name())
        .collect();
    let model = pooled.iter().find(|row| row.method == model)?;
    let best = pooled
        .iter()
        .filter(|row| is_baseline(&row.method) && !row.rmse_ln.mean.is_nan())
        .min_by(|a, b| a.rmse_ln.mean.total_cmp(&b.rmse_ln.mean))?;
    let scores = [
        ("PCC", model.pcc.mean - best.pcc.mean),
        ("COS", model.cos.mean - best.cos.mean),
        ("RMSE", best.rmse_ln.mean - model.rmse_ln.mean),
        ("MAE", best.mae_ln.mean - model.mae_ln.mean),
    ];
    let lost: Vec<&str> = scores
        .iter()
        .filter(|(_, gain)| gain.is_nan() || *gain <= 0.0)
        .map(|(name, _)| *name)
        .collect();
    let numbers = format!(
        "pooled RMSE {:.4} against {:.4}",
        model.rmse_ln.mean, best.rmse_ln.mean
    );
    Some(if lost.is_empty() {
        format!(
            "{} beats the best baseline ({}) on all four pooled scores: {numbers}",
            model.method, best.method
        )
    } else if lost.contains(&"RMSE") {
        format!(
            "{} does NOT beat the best baseline ({}): {numbers}; use {} on this table",
            model.method, best.method, best.method
        )
    } else {
        format!(
            "{} beats the best baseline ({}) on pooled RMSE but not on {}: {numbers}",
            model.method,
            best.method,
            lost.join(", ")
        )
    })
}

/// Every result in a folder, sorted by table, setting, method and seed.
///
/// # Errors
/// A file that is named like a result and is not one.
pub fn read_folder(folder: &Path) -> Result<Vec<Outcome>> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| crate::Error::io(folder, "read", error))?;
    let mut outcomes = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|error| crate::Error::io(folder, "read", error))?
            .path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".json") && name.contains("-seed") && !is_of_another_version(&path) {
            outcomes.push(Outcome::read(&path)?);
        }
    }
    outcomes.sort_by_key(|o| {
        (
            o.key.table.clone(),
            format!("{:?}", o.key.setting),
            o.key.method.clone(),
            o.key.seed,
        )
    });
    Ok(outcomes)
}

/// Says whether a file is a result of a version whose results are not comparable; such files stay where
/// they are and are not listed.
fn is_of_another_version(path: &Path) -> bool {
    let Some(value) = std::fs::read(path)
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
    else {
        return false;
    };
    let key = &value["key"];
    let version = &key["setting"]["results"];
    let is_other = version.is_string() && *version != RESULTS_VERSION;
    let method = key["method"].as_str().and_then(|name| name.parse().ok());
    let has_model = method.is_some_and(|method: Method| !method.is_baseline());
    let protocol = key["protocol"].as_str().and_then(|name| name.parse().ok());
    let version = protocol.map_or("", |protocol: Protocol| model_version(protocol));
    is_other || has_model && key["setting"][MODEL] != version
}

/// Writes `results.tsv`: one line per result and scope.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_tsv(folder: &Path, outcomes: &[Outcome]) -> Result<()> {
    let mut text = String::from(
        "table\tprotocol\tfraction\tmethod\tsetting\tseed\tscope\tn\tpcc\tcos\trmse_ln\tmae_ln\trmse_log10\tmae_log10\tcrps_ln\tcoverage_50\tcoverage_90\tauroc\taupr\tbray_curtis_thin\tbray_curtis_completed\tseconds\tseconds_filling\tfile\n",
    );
    let number = |value: f64| {
        if value.is_nan() {
            String::new()
        } else {
            format!("{value:.6}")
        }
    };
    for outcome in outcomes {
        for scope in Scope::ALL {
            let figures = outcome.in_scope(scope);
            let draws = outcome.draws.filter(|_| scope == Scope::Pooled);
            let of_draws = [
                draws.map(|d| d.crps),
                draws.map(|d| d.coverage_50),
                draws.map(|d| d.coverage_90),
            ];
            let scores = [
                figures.pcc,
                figures.cos,
                figures.rmse,
                figures.mae,
                figures.rmse / LN_10,
                figures.mae / LN_10,
            ];
            let key = &outcome.key;
            let mut fields = vec![
                table_in(key, outcomes),
                key.protocol.clone(),
                key.fraction.to_string(),
                key.method.clone(),
                describe(key),
                key.seed.to_string(),
                scope.name().to_string(),
                figures.n.to_string(),
            ];
            fields.extend(scores.map(number));
            fields.extend(of_draws.map(|value| number(value.unwrap_or(f64::NAN))));
            let presence = outcome.presence.filter(|_| scope == Scope::Pooled);
            let depth = outcome.depth.filter(|_| scope == Scope::Pooled);
            let of_zeros = [
                presence.map(|p| p.auroc),
                presence.map(|p| p.aupr),
                depth.map(|d| d.bray_curtis_thin),
                depth.map(|d| d.bray_curtis_completed),
            ];
            fields.extend(of_zeros.map(|value| number(value.unwrap_or(f64::NAN))));
            let seconds = [outcome.seconds.total, outcome.seconds.filling];
            fields.extend(seconds.map(|seconds| format!("{seconds:.2}")));
            fields.push(key.file_name());
            text.push_str(&fields.join("\t"));
            text.push('\n');
        }
    }
    write_text(&folder.join("results.tsv"), Overwrite::Replace, &text)
}

/// Name of the table of a result, with the start of its digest where another table has the same name.
fn table_in(key: &Key, outcomes: &[Outcome]) -> String {
    let digest = |key: &Key| key.inputs_sha256.first().cloned().unwrap_or_default();
    let is_namesake =
        |other: &Outcome| other.key.table == key.table && digest(&other.key) != digest(key);
    match outcomes.iter().any(is_namesake) {
        true => format!("{} ({})", key.table, digest(key).get(..8).unwrap_or("")),
        false => key.table.clone(),
    }
}

/// What sets a result apart: the keys of the configuration that differ from `small`, and how the
/// metadata, groups and other cohorts went in; `default` where nothing does.
fn describe(key: &Key) -> String {
    let text = |name: &str| key.setting.get(name).map(String::as_str);
    let mut parts = text("config").map_or_else(Vec::new, differences_from_small);
    let metadata = text("metadata").filter(|metadata| *metadata != "columns (all)");
    parts.extend(metadata.map(|metadata| format!("metadata: {metadata}")));
    let others = [
        "groups",
        "orientation",
        "layer",
        "collapse",
        "mask",
        "visits",
        "completion",
    ]
    .into_iter();
    parts.extend(others.filter_map(|name| text(name).map(|value| format!("{name}: {value}"))));
    let n_pretrain = text("pretrain").map(|digests| digests.split(' ').count());
    parts.extend(n_pretrain.map(|n| format!("pretrain: {n} tables")));
    let n_learn = text("learn only from").map(|digests| digests.split(' ').count());
    parts.extend(n_learn.map(|n| format!("zero-shot: from {n} other tables")));
    let folds = text("folds").filter(|folds| *folds != N_FOLDS.to_string());
    parts.extend(folds.map(|folds| format!("folds: {folds}")));
    if parts.is_empty() {
        parts.push("default".to_string());
    }
    parts.join("; ")
}

fn differences_from_small(config: &str) -> Vec<String> {
    let small: BTreeMap<_, _> = flat(&Config::small().to_toml()).into_iter().collect();
    flat(config)
        .into_iter()
        .filter(|(name, value)| small.get(name) != Some(value))
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// `section.key` and value of each line of a configuration that the program wrote.
fn flat(config: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut all = Vec::new();
    for line in config.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_string();
        } else if let Some((name, value)) = line.split_once(" = ") {
            all.push((format!("{section}.{name}"), value.replace('"', "")));
        }
    }
    all
}

fn spread(values: &[f64]) -> Spread {
    let defined: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    let n = defined.len() as f64;
    let mean = defined.iter().sum::<f64>() / n;
    let squares: f64 = defined.iter().map(|value| (value - mean).powi(2)).sum();
    Spread {
        mean,
        sd: if defined.len() > 1 {
            (squares / (n - 1.0)).sqrt()
        } else {
            f64::NAN
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::example;
    use super::*;

    #[test]
    fn the_spread_is_that_of_the_seeds_and_one_seed_has_none() {
        // statistics.mean and statistics.stdev of Python on [1, 2, 4]
        let three = spread(&[1.0, 2.0, 4.0]);
        assert!(
            (three.mean - 7.0 / 3.0).abs() < 1e-15
                && (three.sd - 1.527_525_231_651_946_8).abs() < 1e-15
        );
        assert!(spread(&[1.0]).sd.is_nan());
        assert_eq!(spread(&[1.0, f64::NAN]).mean, 1.0);
    }

    #[test]
    fn the_verdict_names_the_best_baseline_and_does_not_flatter() {
        let with_model_at = |rmse| {
            rows(&[
                example("depmicrodiff", 1, rmse),
                example("zero", 1, 0.9),
                example("knn", 1, 0.5),
            ])
        };
        let lost = verdict(&with_model_at(0.6), "depmicrodiff").unwrap();
        assert!(
            lost.contains("does NOT beat the best baseline (knn)"),
            "{lost}"
        );
        // `auto` is no baseline, however good.
        let mut with_auto = with_model_at(0.4);
        with_auto.extend(rows(&[example("auto", 1, 0.1)]));
        assert_eq!(
            verdict(&with_auto, "depmicrodiff"),
            verdict(&with_model_at(0.4), "depmicrodiff")
        );
        // The examples share PCC and COS, so a lower error alone does not beat them everywhere.
        let partly = verdict(&with_model_at(0.4), "depmicrodiff").unwrap();
        assert!(partly.contains("but not on PCC, COS"), "{partly}");
        assert_eq!(
            verdict(&rows(&[example("knn", 1, 0.5)]), "depmicrodiff"),
            None
        );
    }

    #[test]
    fn results_of_another_version_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auto-seed0.json");
        let passes_over_of = |protocol: &str, method: &str, setting: &[(&str, &str)]| {
            let setting: BTreeMap<&str, &str> = setting.iter().copied().collect();
            let key =
                serde_json::json!({"protocol": protocol, "method": method, "setting": setting});
            let key = serde_json::json!({"key": key});
            std::fs::write(&path, key.to_string()).unwrap();
            is_of_another_version(&path)
        };
        let passes_over =
            |method: &str, setting: &[(&str, &str)]| passes_over_of("strict", method, setting);
        let results = ("results", RESULTS_VERSION);
        let of_model = (MODEL, model_version(Protocol::Strict));
        for protocol in ["whole_taxon", "whole_sample", "time_point"] {
            let own = (MODEL, model_version(protocol.parse().unwrap()));
            assert!(!passes_over_of(protocol, "auto", &[results, own]));
            assert!(passes_over_of(protocol, "auto", &[results, of_model]));
        }
        assert!(!passes_over("auto", &[results, of_model]) && !passes_over("knn", &[results]));
        assert!(passes_over("auto", &[results]) && passes_over("depmicrodiff", &[results]));
        assert!(passes_over("knn", &[("results", "1")]));
        assert!(
            !passes_over("knn", &[]),
            "no result of ours: an error names it"
        );
    }

    #[test]
    fn a_setting_is_described_by_what_differs_from_the_default() {
        let mut key = example("depmicrodiff", 0, 0.5).key;
        key.setting = [("config".to_string(), Config::small().to_toml())].into();
        assert_eq!(describe(&key), "default");
        let overrides = [
            ("dat.ar_decay".to_string(), "0.9".to_string()),
            ("sampling.sampler".to_string(), "full".to_string()),
        ];
        let config = Config::small().with_overrides(&overrides).unwrap();
        key.setting.insert("config".into(), config.to_toml());
        key.setting.insert("metadata".into(), "none".into());
        key.setting.insert("pretrain".into(), "ab cd".into());
        let expected =
            "dat.ar_decay=0.9; sampling.sampler=full; metadata: none; pretrain: 2 tables";
        assert_eq!(describe(&key), expected);
        key.setting.insert("folds".into(), N_FOLDS.to_string());
        assert_eq!(describe(&key), expected);
        key.setting.insert("folds".into(), "3".into());
        assert_eq!(describe(&key), format!("{expected}; folds: 3"));
    }

    #[test]
    fn tables_of_one_name_are_told_apart() {
        let [mut one, mut other] = [0, 1].map(|seed| example("knn", seed, 0.5));
        assert_eq!(
            table_in(&one.key, &[one.clone(), other.clone()]),
            one.key.table
        );
        one.key.inputs_sha256 = vec!["0123456789".to_string()];
        other.key.inputs_sha256 = vec!["abcdef0123".to_string()];
        let names = [&one, &other].map(|o| table_in(&o.key, &[one.clone(), other.clone()]));
        assert!(names[0].ends_with(" (01234567)") && names[1].ends_with(" (abcdef01)"));
    }

    #[test]
    fn the_tsv_has_a_line_per_result_and_scope_with_all_its_columns() {
        let folder = tempfile::tempdir().unwrap();
        for seed in [2, 1] {
            example("knn", seed, 0.5).write(folder.path()).unwrap();
        }
        let outcomes = read_folder(folder.path()).unwrap();
        assert_eq!(outcomes[0].key.seed, 1);
        write_tsv(folder.path(), &outcomes).unwrap();
        let text = std::fs::read_to_string(folder.path().join("results.tsv")).unwrap();
        let widths: Vec<usize> = text.lines().map(|line| line.split('\t').count()).collect();
        assert_eq!(widths, [24; 7]);
    }
}
