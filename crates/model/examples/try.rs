use suffuse_model::systems::depmicrodiff::*;
use std::sync::atomic::AtomicBool;
fn main() {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap();
    let seed: u64 = args.next().unwrap().parse().unwrap();
    let sets: Vec<(String,String)> = args.filter_map(|a| a.split_once('=').map(|(k,v)| (k.to_string(), v.to_string()))).collect();
    let config = Config::small().with_overrides(&sets).unwrap();
    let table = suffuse_data::format::read(path.as_ref(), &Default::default()).unwrap();
    let hidden = suffuse_data::hide::hide_nonzero(&table, 0.1, seed, None).unwrap();
    let mut cells: Vec<(u32,u32)> = hidden.entries.iter().map(|e| (e.sample as u32, e.feature as u32)).collect();
    cells.sort();
    let totals = table.totals();
    let cohort = Cohort { table: &table, hidden: &cells, totals: Totals::Given(totals.clone()), conditions: None, groups: None };
    let stop = AtomicBool::new(false);
    let mut progress = |p: &suffuse_model::train::Progress| if p.step % 100 == 0 { println!("{} {} loss {:.4} val {:?} {:.0}s", p.stage, p.step, p.loss, p.validation, p.seconds) };
    let t0 = std::time::Instant::now();
    let model = fit(&config, &cohort, &mut FitOptions { seed, pretrain: &[], checkpoint: None, progress: &mut progress, interrupted: &stop }).unwrap();
    println!("fit {:.1}s weights {:?} dep density {:.3}", t0.elapsed().as_secs_f64(), model.n_weights(), model.dependencies().n_dependents().iter().sum::<usize>() as f64 / (106.0*106.0));
    let t0 = std::time::Instant::now();
    for sampler in ["ddim:2","ddim:5"] {
    let imp = model.impute(&cohort, &mut ImputeOptions { fill: Fill::Missing, presence_threshold: 0.5, structural_zeros: &[], n_draws: config.sampling.n_draws, sampler: sampler.parse().unwrap(), seed, batch_size: 64, progress: &mut progress, interrupted: &stop }).unwrap();
    let truth: Vec<f64> = cells.iter().map(|(s,t)| (100.0*table.get(*s as usize,*t as usize)/totals[*s as usize]).ln_1p()).collect();
    let mean: Vec<f64> = imp.hidden_draws.iter().map(|d| d.iter().sum::<f64>()/d.len() as f64).collect();
    let one: Vec<f64> = imp.hidden_draws.iter().map(|d| d[0]).collect();
    println!("{sampler} {:?} one {:?} {:.1}s", suffuse_stats::scores::score(&truth, &mean), suffuse_stats::scores::score(&truth, &one), t0.elapsed().as_secs_f64());
    }
}
