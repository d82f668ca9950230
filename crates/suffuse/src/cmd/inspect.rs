//! `suffuse inspect FILE`: what is in a table or in the folder of a model.

use super::{Context, InputArgs};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use suffuse::conditions::ConditionEncoder;
use suffuse::kept_table;
use suffuse::summary::TableSummary;
use suffuse::{Error, Result};
use suffuse_data::format::detect;
use suffuse_model::systems::depmicrodiff::Model;
use suffuse_model::systems::{sparse_microbiome, system_of};

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  suffuse inspect table.h5ad
  suffuse inspect table.tsv -m metadata.tsv --json
  suffuse inspect model/")]
pub(crate) struct InspectArgs {
    /// Table, or folder of a fitted model
    path: PathBuf,
    #[command(flatten)]
    table: InputArgs,
}

pub(super) fn run(arguments: &InspectArgs, context: &mut Context) -> Result<()> {
    if is_model(&arguments.path) {
        return inspect_model(&arguments.path, context);
    }
    let input = suffuse::input::read(&arguments.path, &arguments.table.options())?;
    context.notes(&input.notes);
    let summary = TableSummary::of(&input.table);
    let format = detect(&arguments.path)?.name();
    if context.json {
        let mut value = serde_json::to_value(&summary)
            .map_err(|error| Error::Table(format!("summary: {error}")))?;
        value["kind"] = "table".into();
        value["format"] = format.into();
        value["sha256"] = input.sources[0].sha256.clone().into();
        return context.talk.json(&value);
    }
    context.talk.data(&format!(
        "format             {format}\n{}",
        summary.to_text()
    ))
}

/// Says whether a folder holds a model (a 10x table is a folder, too).
fn is_model(path: &Path) -> bool {
    path.is_dir() && path.join("config.toml").exists()
}

/// What is told of a model of either system.
struct Described {
    system: &'static str,
    features: Vec<String>,
    config: String,
    /// What it guarantees to the samples it was fitted to; null without noise.
    privacy: serde_json::Value,
}

fn described(folder: &Path) -> Result<Described> {
    if system_of(folder)?.as_deref() == Some(sparse_microbiome::SYSTEM) {
        let model = sparse_microbiome::Model::load(folder)?;
        return Ok(Described {
            system: sparse_microbiome::SYSTEM,
            features: model.feature_ids().to_vec(),
            config: model.config().to_toml(),
            privacy: json!(model.privacy()),
        });
    }
    let model = Model::load(folder)?;
    Ok(Described {
        system: "depmicrodiff",
        features: model.feature_ids().to_vec(),
        config: model.config().to_toml(),
        privacy: serde_json::Value::Null,
    })
}

fn inspect_model(folder: &Path, context: &mut Context) -> Result<()> {
    let Described {
        system,
        features,
        config,
        privacy,
    } = described(folder)?;
    let conditions = match ConditionEncoder::load(folder)? {
        None => "none".to_string(),
        Some(ConditionEncoder::Columns(encoder)) => encoder.names().join(", "),
        Some(ConditionEncoder::Text {
            template, folder, ..
        }) => {
            format!(
                "sentences of {} through {}",
                template.columns().join(", "),
                folder.display()
            )
        }
    };
    if context.json {
        return context.talk.json(&json!({
            "kind": "model",
            "system": system,
            "n_features": features.len(),
            "features": features,
            "conditions": conditions,
            "privacy": privacy,
            "keeps_table": kept_table::path(folder).exists(),
            "config": config,
        }));
    }
    let kept = match kept_table::path(folder).exists() {
        true => {
            "\ntable              kept: the folder holds the samples that the model was fitted on"
        }
        false => "",
    };
    let guarantee = match privacy.is_null() {
        true => String::new(),
        false => format!(
            "\nprivacy            epsilon {:.2} at delta {:.0e}",
            privacy["epsilon"].as_f64().unwrap_or(f64::NAN),
            privacy["delta"].as_f64().unwrap_or(f64::NAN)
        ),
    };
    context.talk.data(&format!(
        "system             {system}\nfeatures           {} ({}, …)\nconditions         {conditions}{guarantee}{kept}\n\n{config}",
        features.len(),
        features.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
    ))
}
