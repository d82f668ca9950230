//! Weights and training state on disk: safetensors, written whole or not at all, read strictly.

use crate::error::{Error, Result};
use crate::parameters::{Parameter, Parameters};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;
use suffuse_data::format::Overwrite;

/// Writes `bytes` to a temporary file beside `path`, then renames it.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let fill = |out: &mut dyn Write| out.write_all(bytes);
    Ok(suffuse_data::format::write_atomically(
        path,
        Overwrite::Replace,
        fill,
    )?)
}

/// Writes named groups of parameters and a map of texts into one safetensors file.
///
/// A parameter `p` of group `g` is stored as `g/p`.
///
/// # Errors
/// The file cannot be written.
pub fn save(
    path: &Path,
    groups: &[(&str, &Parameters)],
    texts: &BTreeMap<String, String>,
) -> Result<()> {
    let mut bytes: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (group, parameters) in groups {
        for (name, parameter) in &parameters.by_path {
            let values = parameter
                .values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            bytes.push((format!("{group}/{name}"), parameter.shape.clone(), values));
        }
    }
    let views = bytes
        .iter()
        .map(|(name, shape, values)| {
            Ok((
                name.clone(),
                TensorView::new(Dtype::F32, shape.clone(), values)?,
            ))
        })
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>();
    let texts: HashMap<String, String> = texts.clone().into_iter().collect();
    let file = views
        .and_then(|views| safetensors::serialize(views, Some(texts)))
        .map_err(|error| Error::Checkpoint {
            path: path.into(),
            problem: format!("cannot be written: {error}"),
        })?;
    write_atomically(path, &file)
}

/// Reads what [`save`] wrote: parameters by group, and the texts.
///
/// Sizes are checked against the length of the file before anything is allocated.
///
/// # Errors
/// A file that is missing, truncated, not safetensors, or holds anything but f32.
pub fn load(path: &Path) -> Result<(BTreeMap<String, Parameters>, BTreeMap<String, String>)> {
    let bytes = fs::read(path).map_err(|source| Error::io(path, "read", source))?;
    let broken = |problem: String| Error::Checkpoint {
        path: path.into(),
        problem,
    };
    let not_safetensors = |error| {
        broken(format!(
            "is no complete safetensors file ({error}); copy the checkpoint again or fit anew"
        ))
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(not_safetensors)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(not_safetensors)?;
    let mut groups: BTreeMap<String, Parameters> = BTreeMap::new();
    for (name, view) in tensors.iter() {
        let Some((group, path_in_group)) = name.split_once('/') else {
            return Err(broken(format!(
                "tensor {name:?} has no group; this file was not written by suffuse"
            )));
        };
        if view.dtype() != Dtype::F32 {
            return Err(broken(format!(
                "tensor {name:?} is {:?}, expected F32",
                view.dtype()
            )));
        }
        let values = view
            .data()
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().expect("chunks of four bytes")))
            .collect();
        groups.entry(group.to_string()).or_default().by_path.insert(
            path_in_group.to_string(),
            Parameter {
                shape: view.shape().to_vec(),
                values,
            },
        );
    }
    let texts = header
        .metadata()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    Ok((groups, texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Parameters {
        let parameter = Parameter {
            shape: vec![2, 2],
            values: vec![1.0, -0.0, f32::MIN_POSITIVE, 3.5],
        };
        Parameters {
            by_path: [("a.weight".to_string(), parameter)].into(),
        }
    }

    #[test]
    fn what_is_saved_is_loaded_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let texts: BTreeMap<String, String> = [("step".to_string(), "7".to_string())].into();
        save(
            &path,
            &[("ema", &example()), ("weights", &example())],
            &texts,
        )
        .unwrap();
        let (groups, texts_back) = load(&path).unwrap();
        assert_eq!(texts_back, texts);
        assert_eq!(groups.len(), 2);
        let bits = |p: &Parameters| {
            p.by_path["a.weight"]
                .values
                .iter()
                .map(|v| v.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&groups["ema"]), bits(&example()));
    }

    #[test]
    fn truncated_and_oversized_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        save(&path, &[("ema", &example())], &BTreeMap::new()).unwrap();
        let bytes = fs::read(&path).unwrap();
        for n in 0..bytes.len() {
            fs::write(&path, &bytes[..n]).unwrap();
            assert!(
                matches!(load(&path), Err(Error::Checkpoint { .. })),
                "first {n} bytes"
            );
        }
        let header =
            r#"{"ema/w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}"#;
        let mut huge = (header.len() as u64).to_le_bytes().to_vec();
        huge.extend(header.as_bytes());
        huge.extend([0; 16]);
        fs::write(&path, &huge).unwrap();
        assert!(matches!(load(&path), Err(Error::Checkpoint { .. })));
    }
}
