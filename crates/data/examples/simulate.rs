//! Writes a simulated table: `simulate N_SAMPLES N_TAXA OUT.h5ad`.

use std::path::PathBuf;
use suffuse_data::format::{WriteOptions, write};
use suffuse_data::simulate::{SimulateOptions, simulate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [n_samples, n_taxa, out] = &arguments[..] else {
        return Err("usage: simulate N_SAMPLES N_TAXA OUT.h5ad".into());
    };
    let options = SimulateOptions {
        n_samples: n_samples.parse()?,
        n_taxa: n_taxa.parse()?,
        ..SimulateOptions::default()
    };
    let table = simulate(&options)?.table;
    write(&table, &PathBuf::from(out), &WriteOptions::default())?;
    Ok(())
}
