//! `suffuse fit TABLE -o DIR`: fits a model and keeps it.

use super::times::TimeArgs;
use super::{Context, FitSettingArgs, InputArgs, MetadataArgs, OverwriteArgs, RunArgs};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use suffuse::conditions::{ConditionEncoder, encode_for_fit};
use suffuse::kept_table::KeptTable;
use suffuse::output::{make_folder, require_outside, write_text};
use suffuse::provenance::Provenance;
use suffuse::times::TimeColumns;
use suffuse::{Result, input};
use suffuse_data::format::Overwrite;
use suffuse_model::systems::depmicrodiff::{Cohort, FitOptions, SAVE_EVERY_S, Totals, fit};
use suffuse_model::train::forget;

/// Arguments of `fit`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  suffuse fit table.h5ad -o fitted
  suffuse fit table.h5ad -o fitted --keep-table
  suffuse fit stad.h5ad -o fitted --pretrain coad.h5ad hnsc.h5ad --group patient_barcode
  suffuse impute new.h5ad -o completed.h5ad --model fitted")]
pub(crate) struct FitArgs {
    /// Table to learn from
    table: PathBuf,
    /// Folder for the model
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    out: PathBuf,
    /// Go on with an interrupted fit in the same folder
    #[arg(long, help_heading = "Output")]
    resume: bool,
    /// Seconds between two writes of the training state: what a kill can cost
    #[arg(long, value_name = "SECONDS", default_value_t = SAVE_EVERY_S, help_heading = "Output")]
    save_every: f64,
    /// Keep the table in the folder: `impute --model` then fills as `impute` in one go does, with classical methods
    /// beside the model
    #[arg(long, help_heading = "Output")]
    keep_table: bool,
    #[command(flatten)]
    overwrite: OverwriteArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    model: FitSettingArgs,
    #[command(flatten)]
    metadata: MetadataArgs,
    #[command(flatten)]
    times: TimeArgs,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) fn run(arguments: &FitArgs, context: &mut Context) -> Result<()> {
    let device = arguments.run.device.find()?;
    arguments.model.check(&[])?;
    let mut inputs = input::files(&arguments.table, &arguments.input.options());
    inputs.extend(arguments.model.files());
    require_outside(&arguments.out, &inputs)?;
    let input = input::read_to_learn(&arguments.table, &arguments.input.options())?;
    context.notes(&input.notes);
    let setting = arguments.model.resolve(
        &input.table,
        &[],
        &arguments.input.options().matrix,
        context,
    )?;
    let encoded = encode_for_fit(
        &input.table.sample_metadata,
        &arguments.metadata.options(),
        arguments.run.seed,
    )?;
    context.of_conditions(&encoded, arguments.metadata.are_named());
    let overwrite = if arguments.resume {
        Overwrite::Replace
    } else {
        arguments.overwrite.overwrite()
    };
    make_folder(&arguments.out, overwrite)?;
    if !arguments.resume {
        forget(&arguments.out)?;
    }
    let cohort = Cohort {
        table: &input.table,
        hidden: &[],
        totals: Totals::OfWhatIsLeft,
        conditions: encoded.conditions,
        groups: setting.groups,
        times: arguments.times.to_fit(&input.table.sample_metadata)?,
    };
    let mut provenance = Provenance {
        command: context.command.clone(),
        inputs: input.sources,
        ..Provenance::default()
    };
    context.say_device(&device, &mut provenance);
    let model = context
        .watched(|watch| {
            let mut options = FitOptions {
                seed: arguments.run.seed,
                pretrain: &setting.pretrain,
                device: device.clone(),
                checkpoint: Some(&arguments.out),
                save_every_s: arguments.save_every,
                progress: watch.progress,
                interrupted: watch.interrupted,
            };
            Ok(fit(&setting.config, &cohort, &mut options)?)
        })
        .map_err(|error| {
            error
                .with_advice(|| {
                    let folder = arguments.out.display();
                    format!(
                        "training is kept in {folder}; run the same command with --resume to go on"
                    )
                })
                .in_file(&arguments.table)
        })?;
    model.save(&arguments.out)?;
    ConditionEncoder::forget(&arguments.out)?;
    if let Some(encoder) = encoded.encoder {
        encoder.save(&arguments.out)?;
    }
    KeptTable::forget(&arguments.out)?;
    if arguments.keep_table {
        let group = setting.group_column.as_deref();
        KeptTable::save(&arguments.out, &input.table, group)?;
    }
    TimeColumns::forget(&arguments.out)?;
    if let Some(columns) = arguments.times.columns() {
        columns.save(&arguments.out)?;
        provenance.set("times", columns.to_string());
    }
    provenance.set("seed", arguments.run.seed);
    provenance.set("config", setting.config.to_toml());
    provenance.set("pretrain_sha256", setting.pretrain_sha256);
    provenance.set("encoder_sha256", arguments.metadata.encoder_sha256()?);
    let record = format!("{:#}\n", provenance.to_json());
    write_text(
        &arguments.out.join("provenance.json"),
        Overwrite::Replace,
        &record,
    )?;
    if context.json {
        let folder = arguments.out.display().to_string();
        return context
            .talk
            .json(&json!({"model": folder, "n_features": model.feature_ids().len()}));
    }
    context
        .talk
        .note(&format!("wrote {}", arguments.out.display()));
    Ok(())
}
