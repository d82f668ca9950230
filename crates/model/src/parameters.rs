//! The numbers that training changes, keyed by path, and how a network is bound to them.
//!
//! A network is a plain struct of tensors made by a [`Builder`]: the same constructor draws initial
//! weights, loads stored ones and registers the tensors whose gradients the optimiser wants.

use crate::error::{Error, Result};
use crate::rng::{Stage, generator};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rand_distr::{Distribution, Uniform};
use std::collections::BTreeMap;

/// One array of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Shape, as in `[n_inputs, n_outputs]`.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub values: Vec<f32>,
}

/// All weights of a network, ordered by path.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parameters {
    /// Path to weights, as in `"dat.block0.query.weight"`.
    pub by_path: BTreeMap<String, Parameter>,
}

/// Where initial weights come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// All zero: a residual branch that starts closed.
    Zero,
    /// All equal to this.
    Constant(f32),
    /// Uniform in `+-1/sqrt(n_inputs)`, as PyTorch's linear layer.
    FanIn(usize),
    /// Uniform with this standard deviation: embeddings.
    Spread(f64),
}

/// What to do about a parameter that is not stored yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Draw it from this seed.
    Draw(u64),
    /// Report it as an error.
    Refuse,
}

/// Binds a network to its parameters.
pub struct Builder<'a> {
    stored: &'a Parameters,
    drawn: Parameters,
    absent: Absent,
    device: Device,
    prefix: String,
    bound: Bound,
    problem: Option<Error>,
}

/// The tensors of a network whose gradients can be read back.
#[derive(Default)]
pub struct Bound {
    tensors: Vec<(String, AnyRank)>,
}

enum AnyRank {
    One(Tensor<1>),
    Two(Tensor<2>),
}

impl Parameters {
    /// Number of weights.
    pub fn n_weights(&self) -> usize {
        self.by_path
            .values()
            .map(|parameter| parameter.values.len())
            .sum()
    }

    /// The weights of a network before training: those of `start` where it has them, drawn from
    /// `seed` elsewhere.
    ///
    /// # Errors
    /// A weight of `start` that has another shape or that the network does not ask for.
    pub fn initial<T>(
        start: &Parameters,
        seed: u64,
        make: impl FnOnce(&mut Builder) -> T,
    ) -> Result<Parameters> {
        let mut builder = Builder::new(start, Absent::Draw(seed), &Device::flex());
        make(&mut builder);
        let drawn = std::mem::take(&mut builder.drawn);
        builder.finish()?;
        let mut all = start.clone();
        all.by_path.extend(drawn.by_path);
        Ok(all)
    }

    /// The same paths and shapes, all zero.
    pub fn zeros_like(&self) -> Parameters {
        let zeros = |p: &Parameter| Parameter {
            shape: p.shape.clone(),
            values: vec![0.0; p.values.len()],
        };
        Parameters {
            by_path: self
                .by_path
                .iter()
                .map(|(path, p)| (path.clone(), zeros(p)))
                .collect(),
        }
    }
}

impl<'a> Builder<'a> {
    /// Starts to bind a network on `device`; gradients are recorded if the device has autodiff.
    pub fn new(stored: &'a Parameters, absent: Absent, device: &Device) -> Self {
        Builder {
            stored,
            drawn: Parameters::default(),
            absent,
            device: device.clone(),
            prefix: String::new(),
            bound: Bound::default(),
            problem: None,
        }
    }

    /// Where the network is bound.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Runs `make` with `name` added to the path.
    pub fn within<T>(&mut self, name: &str, make: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.prefix.len();
        self.prefix.push_str(name);
        self.prefix.push('.');
        let made = make(self);
        self.prefix.truncate(length);
        made
    }

    /// A vector of weights.
    pub fn vector(&mut self, name: &str, n: usize, initial: Initial) -> Tensor<1> {
        let (path, values) = self.take(name, &[n], initial);
        let tensor = match values {
            Some(values) => Tensor::<1>::from_data(TensorData::new(values, [n]), &self.device),
            None => Tensor::zeros([1], &self.device), // `finish` reports the problem
        };
        let tensor = if self.device.is_autodiff() {
            tensor.require_grad()
        } else {
            tensor
        };
        self.bound
            .tensors
            .push((path, AnyRank::One(tensor.clone())));
        tensor
    }

    /// A matrix of weights.
    pub fn matrix(&mut self, name: &str, shape: [usize; 2], initial: Initial) -> Tensor<2> {
        let (path, values) = self.take(name, &shape, initial);
        let tensor = match values {
            Some(values) => Tensor::<2>::from_data(TensorData::new(values, shape), &self.device),
            None => Tensor::zeros([1, 1], &self.device), // `finish` reports the problem
        };
        let tensor = if self.device.is_autodiff() {
            tensor.require_grad()
        } else {
            tensor
        };
        self.bound
            .tensors
            .push((path, AnyRank::Two(tensor.clone())));
        tensor
    }

    /// Ends the binding of a part of a network; what the part has no use for is not bound.
    ///
    /// # Errors
    /// A parameter that is missing or of another shape.
    pub fn finish_part(self) -> Result<Bound> {
        match self.problem {
            Some(problem) => Err(problem),
            None => Ok(self.bound),
        }
    }

    /// Ends the binding.
    ///
    /// # Errors
    /// A parameter that is missing or of another shape, or one that no layer asked for.
    pub fn finish(self) -> Result<Bound> {
        let stored = self.stored;
        let bound = self.finish_part()?;
        let is_bound = |path: &String| bound.tensors.iter().any(|(bound, _)| bound == path);
        if bound.tensors.len() != stored.by_path.len() {
            let unused: Vec<&String> = stored.by_path.keys().filter(|p| !is_bound(p)).collect();
            if let Some(first) = unused.first() {
                return Err(Error::UnusedParameters {
                    count: unused.len(),
                    first: (*first).clone(),
                });
            }
        }
        Ok(bound)
    }

    /// The values at a path, or `None` after noting the problem: a size that does not fit the stored
    /// weights is never allocated.
    fn take(
        &mut self,
        name: &str,
        shape: &[usize],
        initial: Initial,
    ) -> (String, Option<Vec<f32>>) {
        let path = format!("{}{name}", self.prefix);
        let Some(stored) = self.stored.by_path.get(&path) else {
            let Absent::Draw(seed) = self.absent else {
                self.problem
                    .get_or_insert(Error::MissingParameter { path: path.clone() });
                return (path, None);
            };
            let values = draw(seed, &path, shape.iter().product(), initial);
            let parameter = Parameter {
                shape: shape.to_vec(),
                values: values.clone(),
            };
            self.drawn.by_path.insert(path.clone(), parameter);
            return (path, Some(values));
        };
        if stored.shape != shape {
            self.problem.get_or_insert(Error::ParameterShape {
                path: path.clone(),
                found: stored.shape.clone(),
                expected: shape.to_vec(),
            });
            return (path, None);
        }
        (path, Some(stored.values.clone()))
    }
}

impl Bound {
    /// Gradients by path; a parameter that the loss does not reach has gradient zero.
    pub fn gradients(&self, gradients: &Gradients) -> BTreeMap<String, Vec<f32>> {
        self.tensors
            .iter()
            .map(|(path, tensor)| {
                let values = match tensor {
                    AnyRank::One(tensor) => read(tensor.grad(gradients), tensor),
                    AnyRank::Two(tensor) => read(tensor.grad(gradients), tensor),
                };
                (path.clone(), values)
            })
            .collect()
    }
}

fn read<const D: usize>(gradient: Option<Tensor<D>>, weight: &Tensor<D>) -> Vec<f32> {
    match gradient {
        Some(gradient) => values(gradient),
        None => vec![0.0; weight.shape().num_elements()],
    }
}

/// A tensor from values in row-major order.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The values of a tensor in row-major order.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_to_vec::<f32>()
        .expect("networks compute in f32")
}

fn draw(seed: u64, path: &str, n: usize, initial: Initial) -> Vec<f32> {
    let bound = match initial {
        Initial::Zero => return vec![0.0; n],
        Initial::Constant(value) => return vec![value; n],
        Initial::FanIn(n_inputs) => 1.0 / (n_inputs.max(1) as f64).sqrt(),
        Initial::Spread(sd) => sd * 3f64.sqrt(),
    };
    let mut rng = generator(seed, Stage::InitialWeights, path, 0);
    let uniform = Uniform::new_inclusive(-bound, bound).expect("the bound is finite and positive");
    (0..n).map(|_| uniform.sample(&mut rng) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_depend_on_seed_and_path_only_and_strict_binding_names_what_is_wrong() {
        let none = Parameters::default();
        let first = Parameters::initial(&none, 1, |b| {
            b.within("a", |b| b.matrix("w", [3, 2], Initial::FanIn(3)));
            b.within("b", |b| b.vector("w", 2, Initial::Spread(0.02)));
        })
        .unwrap();
        let second = Parameters::initial(&none, 1, |b| {
            b.within("b", |b| b.vector("w", 2, Initial::Spread(0.02)));
            b.within("a", |b| b.matrix("w", [3, 2], Initial::FanIn(3)));
        })
        .unwrap();
        assert_eq!(first, second);
        assert_eq!(first.n_weights(), 8);

        let bind = |make: &dyn Fn(&mut Builder)| {
            let mut builder = Builder::new(&first, Absent::Refuse, &Device::flex());
            make(&mut builder);
            builder.finish().err()
        };
        let a = |b: &mut Builder| b.within("a", |b| b.matrix("w", [3, 2], Initial::FanIn(3)));
        let wrong = bind(&|b| {
            b.within("a", |b| b.matrix("w", [2, 3], Initial::FanIn(3)));
        });
        assert!(matches!(wrong, Some(Error::ParameterShape { .. })));
        let unused = bind(&|b| {
            a(b);
        });
        assert!(matches!(
            unused,
            Some(Error::UnusedParameters { count: 1, .. })
        ));
        let missing = bind(&|b| {
            b.within("c", |b| b.vector("w", 2, Initial::Zero));
        });
        assert!(matches!(missing, Some(Error::MissingParameter { .. })));
    }
}
