//! `suffuse inspect FILE`: what is in a table or in the folder of a model.

use super::{Context, InputArgs};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use suffuse::conditions::ConditionEncoder;
use suffuse::summary::TableSummary;
use suffuse::{Error, Result};
use suffuse_data::format::detect;
use suffuse_model::systems::depmicrodiff::Model;

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

fn inspect_model(folder: &Path, context: &mut Context) -> Result<()> {
    let model = Model::load(folder)?;
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
    let features = model.feature_ids();
    let config = model.config().to_toml();
    if context.json {
        return context.talk.json(&json!({
            "kind": "model",
            "system": "depmicrodiff",
            "n_features": features.len(),
            "features": features,
            "conditions": conditions,
            "config": config,
        }));
    }
    context.talk.data(&format!(
        "system             depmicrodiff\nfeatures           {} ({}, …)\nconditions         {conditions}\n\n{config}",
        features.len(),
        features.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
    ))
}
