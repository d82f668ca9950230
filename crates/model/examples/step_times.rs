//! Does training steps of a stage of `depmicrodiff` on request, for `scripts/bench_peers.py`.
//!
//! ```text
//! step_times N_SAMPLES N_TAXA STAGE     STAGE: vae or denoiser
//! ```
//!
//! Each line read from the standard input asks for one step of the stage with the settings of the
//! preset `small`, on a simulated table. The answer is one line: seconds and loss. The first answer
//! comes unasked, when the first step is done. The time holds all that a step of a fit does.

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use suffuse_data::simulate::{SimulateOptions, simulate};
use suffuse_model::device::Device;
use suffuse_model::systems::depmicrodiff::{Cohort, Config, FitOptions, Totals, fit};
use suffuse_model::train::Progress;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments[at].parse().expect("a whole number");
    let (n_samples, n_taxa, stage) = (number(1), number(2), arguments[3].as_str());
    let options = SimulateOptions {
        n_samples,
        n_taxa,
        ..Default::default()
    };
    let table = simulate(&options).expect("the sizes are in range").table;
    let cohort = Cohort {
        table: &table,
        hidden: &[],
        totals: Totals::OfWhatIsLeft,
        conditions: None,
        groups: None,
    };
    let mut config = Config::small();
    config.dependencies.n_permutations = 0;
    config.dat.validation_fraction = 0.02;
    let training = match stage {
        "vae" => &mut config.vae.training,
        _ => &mut config.dat.training,
    };
    (training.n_steps, training.validate_every) = (1_000_000, 1_000_000);
    if stage != "vae" {
        config.vae.training.n_steps = 5;
    }
    let interrupted = AtomicBool::new(false);
    let mut began = Instant::now();
    let mut lines = std::io::stdin().lock().lines();
    let mut progress = |done: &Progress| {
        if done.stage != stage {
            return;
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} {}", began.elapsed().as_secs_f64(), done.loss)
            .and_then(|()| out.flush())
            .expect("someone reads the answers");
        if lines.next().is_none() {
            interrupted.store(true, Ordering::Relaxed);
        }
        began = Instant::now();
    };
    let mut options = FitOptions {
        seed: 0,
        pretrain: &[],
        device: Device::flex(),
        checkpoint: None,
        save_every_s: f64::INFINITY,
        progress: &mut progress,
        interrupted: &interrupted,
    };
    // Ends with an interruption when the input ends.
    let _ = fit(&config, &cohort, &mut options);
}
