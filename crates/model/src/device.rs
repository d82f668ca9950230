//! Where networks compute: the CPU, or an adapter of a GPU backend that this build was made with.
//!
//! The features `cuda`, `metal`, `vulkan` and `wgpu` of this crate each add a backend of Burn's.
//! Without them there is only the CPU, and nothing of a GPU is compiled in.

use crate::error::{Error, Result};
use burn::backend::DispatchDevice;
pub use burn::tensor::Device;
use burn::tensor::DeviceType;
use rayon::prelude::*;
use std::fmt;
use std::str::FromStr;

/// The device that a user asks for: `auto`, `cpu` or `gpu:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first adapter that is a GPU and not a software renderer; the CPU where there is none.
    #[default]
    Auto,
    /// Burn's `flex` backend with the fused operators.
    Cpu,
    /// An adapter by its number.
    Gpu(usize),
}

/// What a GPU backend of this build can compute on.
struct Adapter {
    backend: &'static str,
    /// A program that runs on the CPU and poses as a GPU.
    is_software: bool,
    device: Device,
}

/// GPU backends of this build, in the order in which their adapters are numbered.
const BACKENDS: &[(&str, DeviceType)] = &[
    #[cfg(feature = "cuda")]
    ("CUDA", DeviceType::Cuda),
    #[cfg(feature = "metal")]
    ("Metal", DeviceType::Metal),
    #[cfg(feature = "vulkan")]
    ("Vulkan", DeviceType::Vulkan),
    #[cfg(feature = "wgpu")]
    ("wgpu", DeviceType::Wgpu),
];

/// Says whether kernels reach Vulkan as SPIR-V. That of cubecl-spirv 0.11.3 is invalid where the
/// driver lacks `VK_KHR_workgroup_memory_explicit_layout`: a variable in shared memory gets a pointer
/// to a pointer for its type (`lower_shared_implicit`). Mesa's llvmpipe lacks it and crashes on it.
const SPIR_V: bool = cfg!(feature = "vulkan");

/// The adapters of this machine that this build can use; GPUs of a backend stand before its
/// software renderers. None is opened.
fn adapters() -> Vec<Adapter> {
    let of_backend = |(backend, kind): &(&'static str, DeviceType)| {
        let mut found: Vec<Adapter> = Device::enumerate(kind.clone())
            .into_iter()
            .map(|device| Adapter {
                backend,
                is_software: is_software(&device),
                device,
            })
            .collect();
        found.sort_by_key(|adapter| adapter.is_software);
        found
    };
    BACKENDS.iter().flat_map(of_backend).collect()
}

impl DeviceChoice {
    /// The device, which is opened when it is first used.
    ///
    /// # Errors
    /// A GPU in a build without a GPU backend, or one that this machine does not have.
    pub fn find(self) -> Result<Device> {
        let refused = |problem: String| Error::Device {
            choice: self.to_string(),
            problem,
        };
        match self {
            DeviceChoice::Cpu => Ok(Device::flex()),
            DeviceChoice::Auto => Ok(adapters()
                .into_iter()
                .find(|adapter| !adapter.is_software)
                .map_or_else(Device::flex, |adapter| adapter.device)),
            DeviceChoice::Gpu(_) if BACKENDS.is_empty() => Err(refused(
                "this build has no GPU backend; use cpu, or build with one of the cargo features vulkan, wgpu, metal, cuda".to_string(),
            )),
            DeviceChoice::Gpu(number) => {
                let found = adapters();
                match found.get(number) {
                    Some(adapter) if adapter.is_software && SPIR_V => Err(refused(
                        "a software renderer, whose driver can crash on the code of a build with the feature vulkan; build with wgpu alone".to_string(),
                    )),
                    Some(adapter) => Ok(adapter.device.clone()),
                    None if found.is_empty() => Err(refused(format!(
                        "no adapter was found ({}); use cpu",
                        names_of_backends()
                    ))),
                    None => Err(refused(format!(
                        "no such adapter; there are {}",
                        list(&found)
                    ))),
                }
            }
        }
    }
}

fn names_of_backends() -> String {
    let names: Vec<&str> = BACKENDS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// As in "gpu:0 (Vulkan), gpu:1 (Vulkan, software)".
fn list(adapters: &[Adapter]) -> String {
    let texts: Vec<String> = adapters
        .iter()
        .enumerate()
        .map(|(number, adapter)| {
            let software = if adapter.is_software {
                ", software"
            } else {
                ""
            };
            format!("gpu:{number} ({}{software})", adapter.backend)
        })
        .collect();
    texts.join(", ")
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = match text {
            "auto" => return Ok(DeviceChoice::Auto),
            "cpu" => return Ok(DeviceChoice::Cpu),
            "gpu" => Some(0),
            other => other.strip_prefix("gpu:").and_then(|n| n.parse().ok()),
        };
        number
            .map(DeviceChoice::Gpu)
            .ok_or_else(|| "expected auto, cpu or gpu:N".to_string())
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Gpu(number) => write!(f, "gpu:{number}"),
        }
    }
}

/// Name of a GPU as its driver gives it, for the record; `None` for the CPU. Opens the device.
pub fn gpu_name(device: &Device) -> Option<String> {
    if is_cpu(device) {
        return None;
    }
    #[cfg(any(
        feature = "cuda",
        feature = "metal",
        feature = "vulkan",
        feature = "wgpu"
    ))]
    if let Some(identity) = device.identity() {
        return Some(identity.name);
    }
    Some(format!("{device:?}"))
}

fn is_cpu(device: &Device) -> bool {
    matches!(
        device.clone().inner().as_dispatch(),
        DispatchDevice::Flex(_)
    )
}

#[cfg(any(feature = "metal", feature = "vulkan", feature = "wgpu"))]
fn is_software(device: &Device) -> bool {
    use burn::backend::{CubeDevice, WgpuDeviceKind};
    match device.as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Wgpu(device)) => device.kind == WgpuDeviceKind::Cpu,
        _ => false,
    }
}

#[cfg(not(any(feature = "metal", feature = "vulkan", feature = "wgpu")))]
fn is_software(_: &Device) -> bool {
    false
}

/// Does `work` for each number below `n`: on all threads where `device` is the CPU, one after the
/// other on a GPU, which has one queue. The results stand in order.
///
/// # Errors
/// That of a piece of work.
pub fn each<T: Send>(
    device: &Device,
    n: usize,
    work: impl Fn(usize) -> Result<T> + Send + Sync,
) -> Result<Vec<T>> {
    if is_cpu(device) {
        (0..n).into_par_iter().map(work).collect()
    } else {
        (0..n).map(work).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_reads_back_as_it_is_written_and_others_are_refused() {
        for text in ["auto", "cpu", "gpu:0", "gpu:12"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("gpu".parse(), Ok(DeviceChoice::Gpu(0)));
        for text in ["tpu", "gpu:", "gpu:x", "gpu:-1", ""] {
            assert!(text.parse::<DeviceChoice>().unwrap_err().contains("gpu:N"));
        }
    }

    #[test]
    fn the_cpu_is_flex_and_a_gpu_that_is_not_there_is_an_error_that_says_the_way_out() {
        assert_eq!(DeviceChoice::Cpu.find().unwrap(), Device::flex());
        assert_eq!(gpu_name(&Device::flex().autodiff()), None);
        let problem = DeviceChoice::Gpu(99).find().unwrap_err().to_string();
        assert!(problem.starts_with("device gpu:99: "), "{problem}");
        assert_eq!(BACKENDS.is_empty(), problem.contains("no GPU backend"));
        assert_eq!(BACKENDS.is_empty(), problem.contains("cargo features"));
    }

    #[test]
    fn results_stand_in_order_and_an_error_comes_through() {
        let squares = each(&Device::flex(), 100, |i| Ok(i * i)).unwrap();
        assert!(
            squares
                .iter()
                .enumerate()
                .all(|(i, square)| i * i == *square)
        );
        let failed = each(&Device::flex(), 9, |i| match i {
            5 => Err(Error::Interrupted),
            i => Ok(i),
        });
        assert!(failed.is_err());
    }
}
