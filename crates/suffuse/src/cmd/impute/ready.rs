//! The model that fills: a fitted one from its folder, or one that is fitted on the table to fill.

use super::{Context, ImputeArgs, Job, conditions_of, plan, say_plan};
use std::path::Path;
use suffuse::auto::presence::{Parts, ZeroJudges};
use suffuse::auto::{Choice, Tested};
use suffuse::conditions::encode_for_fit;
use suffuse::method::Method;
use suffuse::provenance::Provenance;
use suffuse::settings::Setting;
use suffuse::{Error, Result};
use suffuse_data::Table;
use suffuse_data::hide::Occasions;
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{
    Cohort, Conditions, Fill, FitOptions, Model, SAVE_EVERY_S, Totals, fit,
};

/// A model that can fill, and what fills beside it.
pub(super) struct Ready {
    pub(super) model: Model,
    pub(super) conditions: Option<Conditions>,
    pub(super) times: Option<Occasions>,
    pub(super) choice: Choice,
    pub(super) judges: ZeroJudges,
    /// Parts of the samples in which zeros are judged.
    pub(super) parts: Parts,
    pub(super) tested: Tested,
}

impl Job<'_> {
    /// A model from its folder, with what it wants to know of the table; `None` after a dry run.
    pub(super) fn loaded(
        &self,
        model: Model,
        folder: &Path,
        table: &Table,
        context: &mut Context,
    ) -> Result<Option<Ready>> {
        let arguments = self.arguments;
        let conditions = conditions_of(folder, table, context)?;
        let times = arguments
            .times
            .to_fill(folder, &table.sample_metadata, context)?;
        if arguments.dry_run {
            let line = format!("model              {}", folder.display());
            say_plan(arguments, table, vec![line], context)?;
            return Ok(None);
        }
        Ok(Some(Ready {
            model,
            conditions,
            times,
            choice: Choice::model_alone(),
            judges: ZeroJudges::model_alone(),
            parts: Parts::all(Vec::new()),
            tested: Tested::default(),
        }))
    }
}

/// Fits a model on the table that is to be filled; `None` after a dry run.
pub(super) fn fit_model(
    arguments: &ImputeArgs,
    table: &Table,
    settings: &[Setting],
    device: &Device,
    provenance: &mut Provenance,
    context: &mut Context,
) -> Result<Option<Ready>> {
    let mut setting = arguments.model.resolve(table, settings, context)?;
    setting.config = arguments.filling.method.config(setting.config);
    provenance.set("pretrain_sha256", setting.pretrain_sha256);
    provenance.set("encoder_sha256", arguments.metadata.encoder_sha256()?);
    let encoded = encode_for_fit(
        &table.sample_metadata,
        &arguments.metadata.options(),
        arguments.run.seed,
    )?;
    for note in &encoded.notes {
        context.talk.detail(note);
    }
    let cohort = Cohort {
        table,
        hidden: &[],
        totals: Totals::OfWhatIsLeft,
        conditions: encoded.conditions,
        groups: setting.groups,
        times: arguments.times.to_fit(&table.sample_metadata)?,
    };
    if let Some(columns) = arguments.times.columns() {
        provenance.set("times", columns.to_string());
    }
    if arguments.dry_run {
        let mut lines = vec![format!(
            "configuration      {}",
            arguments.model.config_name()
        )];
        let mut planned = setting.config;
        let n_draws = planned.sampling.n_draws.max(arguments.sets.unwrap_or(0));
        planned.sampling.n_draws = n_draws;
        lines.extend(plan::measure(
            &planned,
            &cohort,
            arguments.run.seed,
            arguments.filling.fill(),
            device,
            context,
        )?);
        say_plan(arguments, table, lines, context)?;
        return Ok(None);
    }
    let checkpoint = arguments.folders.checkpoint.as_deref();
    if let Some(folder) = checkpoint {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(folder, "make the folder", error))?;
    }
    let model = context.watched(|watch| {
        let mut options = FitOptions {
            seed: arguments.run.seed,
            pretrain: &setting.pretrain,
            device: device.clone(),
            checkpoint,
            save_every_s: SAVE_EVERY_S,
            progress: watch.progress,
            interrupted: watch.interrupted,
        };
        Ok(fit(&setting.config, &cohort, &mut options)?)
    })?;
    if let Some(folder) = checkpoint {
        model.save(folder)?;
        if let Some(encoder) = encoded.encoder {
            encoder.save(folder)?;
        }
        if let Some(columns) = arguments.times.columns() {
            columns.save(folder)?;
        }
    }
    let method = arguments.filling.method;
    let is_weighed = !method.partners(model.config()).is_empty();
    let (choice, tested) = match is_weighed || arguments.report.is_some() {
        true => context.watched(|watch| {
            let held_out = model.held_out_entries(&cohort, device, watch.interrupted)?;
            Choice::weighed(method, &model, &cohort, &held_out)
        })?,
        false => (Choice::model_alone(), Tested::default()),
    };
    let judges = match method == Method::Auto && arguments.filling.fill() != Fill::Missing {
        true => context.watched(|watch| {
            ZeroJudges::weighed(&model, &cohort, 0.0, device, watch.interrupted)
        })?,
        false => ZeroJudges::model_alone(),
    };
    Ok(Some(Ready {
        parts: Parts::all(model.parts(&cohort)),
        model,
        conditions: cohort.conditions,
        times: cohort.times,
        choice,
        judges,
        tested,
    }))
}
