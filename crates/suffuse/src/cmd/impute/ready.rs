//! The model that fills: a fitted one from its folder, or one that is fitted on the table to fill.

use super::{Context, ImputeArgs, Job, conditions_of, plan, with_settings};
use std::collections::HashSet;
use std::path::Path;
use suffuse::auto::presence::{Parts, ZeroJudges};
use suffuse::auto::{Choice, Hidden, Tested, is_model_alone};
use suffuse::conditions::{ConditionEncoder, encode_for_fit};
use suffuse::kept_table::KeptTable;
use suffuse::method::Method;
use suffuse::provenance::Provenance;
use suffuse::settings::Setting;
use suffuse::times::TimeColumns;
use suffuse::{Error, Result};
use suffuse_data::Table;
use suffuse_data::hide::Occasions;
use suffuse_data::select;
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{
    Cohort, Conditions, Fill, FitOptions, Model, SAVE_EVERY_S, Totals, fit,
};

/// Parts in which zeros of samples that the model was fitted on are judged, each by what was learned from the others.
const N_PARTS: usize = 5;

/// A model that can fill, and what fills beside it.
pub(super) struct Ready {
    pub(super) model: Model,
    pub(super) conditions: Option<Conditions>,
    pub(super) times: Option<Occasions>,
    pub(super) choice: Choice,
    pub(super) judges: ZeroJudges,
    /// Parts of the samples in which zeros are judged.
    pub(super) parts: Parts,
    /// The table that the model was fitted on, where it was kept and others learn from it.
    pub(super) learned: Option<Table>,
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
            self.say_plan(table, vec![line], context)?;
            return Ok(None);
        }
        let alone = Ready {
            model,
            conditions,
            times,
            choice: Choice::model_alone(),
            judges: ZeroJudges::model_alone(),
            parts: Parts::all(Vec::new()),
            learned: None,
            tested: Tested::default(),
        };
        match KeptTable::load(folder, &alone.model)? {
            Some(kept) => self.beside(alone, kept, table, folder, context).map(Some),
            None => Ok(Some(alone)),
        }
    }

    /// The model with those that learn from the table that it was fitted on.
    fn beside(
        &self,
        alone: Ready,
        kept: KeptTable,
        table: &Table,
        folder: &Path,
        context: &mut Context,
    ) -> Result<Ready> {
        let method = self.arguments.filling.method;
        let model = &alone.model;
        let config = with_settings(*model.config(), &self.arguments.sampling.settings())?;
        let n_samples = kept.table.n_samples() + table.n_samples();
        if method.partners(&config).is_empty()
            || config.calibration.n_copies == 0
            || is_model_alone(n_samples, kept.table.n_features())
        {
            return Ok(alone);
        }
        let conditions = match ConditionEncoder::load(folder)? {
            Some(encoder) => {
                let encoded = encoder.encode(&kept.table.sample_metadata)?;
                context.notes(&encoded.notes());
                Some(encoded.conditions)
            }
            None => None,
        };
        let times = TimeColumns::load(folder)?;
        let cohort = kept.cohort(conditions, times.as_ref())?;
        let (choice, judges, tested) =
            weighed(self.arguments, model, &cohort, self.device, context)?;
        // A sample is not judged by what was learned from itself.
        let ids: HashSet<&String> = table.sample_ids().iter().collect();
        let others: Vec<usize> = (0..kept.table.n_samples())
            .filter(|sample| !ids.contains(&kept.table.sample_ids()[*sample]))
            .collect();
        let n_shared = kept.table.n_samples() - others.len();
        if n_shared > 0 {
            context.talk.note(&format!(
                "{n_shared} samples of the table are in the one that the model was fitted on, by id: others learn from them as they are here"
            ));
        }
        let n_parts = if n_shared > 0 { N_PARTS } else { 1 };
        let parts = (0..table.n_samples()).map(|sample| sample % n_parts);
        Ok(Ready {
            parts: Parts::all(parts.collect()),
            choice,
            judges,
            tested: Tested {
                hidden: Hidden::InTheTableLearnedFrom,
                ..tested
            },
            learned: match others.is_empty() {
                true => None,
                false => Some(select::take_samples(&kept.table, &others)?),
            },
            ..alone
        })
    }
}

/// Weighs what fills and judges beside a model, on the cohort that it was fitted on.
fn weighed(
    arguments: &ImputeArgs,
    model: &Model,
    cohort: &Cohort,
    device: &Device,
    context: &mut Context,
) -> Result<(Choice, ZeroJudges, Tested)> {
    let method = arguments.filling.method;
    let is_weighed = !method.partners(model.config()).is_empty();
    let (choice, tested) = match is_weighed || arguments.report.is_some() {
        true => context.watched(|watch| {
            let held_out = model.held_out_entries(cohort, device, watch.interrupted)?;
            Choice::weighed(method, model, cohort, &held_out)
        })?,
        false => (Choice::model_alone(), Tested::default()),
    };
    let judges = match method == Method::Auto && arguments.filling.fill() != Fill::Missing {
        true => context
            .watched(|watch| ZeroJudges::weighed(model, cohort, 0.0, device, watch.interrupted))?,
        false => ZeroJudges::model_alone(),
    };
    Ok((choice, judges, tested))
}

/// Fits a model on the table that is to be filled; `None` after a dry run.
pub(super) fn fit_model(
    job: &Job,
    table: &Table,
    settings: &[Setting],
    provenance: &mut Provenance,
    context: &mut Context,
) -> Result<Option<Ready>> {
    let (arguments, device) = (job.arguments, job.device);
    let mut setting =
        arguments
            .model
            .resolve(table, settings, &arguments.input.options().matrix, context)?;
    setting.config = arguments.filling.method.config(setting.config);
    provenance.set("pretrain_sha256", setting.pretrain_sha256);
    provenance.set("encoder_sha256", arguments.metadata.encoder_sha256()?);
    let encoded = encode_for_fit(
        &table.sample_metadata,
        &arguments.metadata.options(),
        arguments.run.seed,
    )?;
    context.of_conditions(&encoded, arguments.metadata.are_named());
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
        job.say_plan(table, lines, context)?;
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
    let (choice, judges, tested) = weighed(arguments, &model, &cohort, device, context)?;
    Ok(Some(Ready {
        parts: Parts::all(model.parts(&cohort)),
        model,
        conditions: cohort.conditions,
        times: cohort.times,
        choice,
        judges,
        learned: None,
        tested,
    }))
}
