//! From tensors to tasks: divides attention over the pairs of sample and head, and gives each its
//! part of the results.

use crate::blocked::{Blocked, Tiles};
use crate::pair::{Backward, Call, Forward, Pair, Rows, Scratch};
use crate::strided::Strided;
use crate::vector::{LANES, vectorised};
use burn::backend::TensorMetadata;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// Tasks of the backward pass with a bias, about; each holds a partial sum of the bias's gradient.
/// Fixed, so that the order of summation depends on the shapes alone; larger numbers let more threads
/// work and take more memory.
const BIASED_TASKS: usize = 4;

/// Tensors of a call, all `f32` on `flex`.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// `[batch, heads, queries, d_head]`
    pub(crate) query: FlexTensor,
    /// `[batch, heads, keys, d_head]`
    pub(crate) key: FlexTensor,
    /// `[batch, heads, keys, d_head]`
    pub(crate) value: FlexTensor,
    /// `[heads, biases]`
    pub(crate) bias: Option<FlexTensor>,
    pub(crate) blocked: Blocked,
}

/// Result of the forward pass, and what the backward pass needs beside the inputs.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// `[batch, heads, queries, d_head]`, in memory `[batch, queries, heads, d_head]`.
    pub(crate) output: FlexTensor,
    /// `[batch * heads, tiles, 2, LANES]`
    normalisers: Arc<[f32]>,
}

/// Gradients in the shapes of the inputs.
pub(crate) struct InputGradients {
    pub(crate) query: FlexTensor,
    pub(crate) key: FlexTensor,
    pub(crate) value: FlexTensor,
    pub(crate) bias: Option<FlexTensor>,
}

/// A result under construction, `[batch, tokens, heads, d_head]` in memory: the caller joins the
/// heads next, which then needs no copy.
struct Joined {
    data: Vec<f32>,
    shape: [usize; 4], // [batch, heads, tokens, d_head]
}

/// Pairs of one task of the backward pass: one head in a run of samples.
struct Task<'a> {
    pairs: Vec<PairGradients<'a>>,
    bias: Option<&'a mut [f32]>,
}

struct PairGradients<'a> {
    pair: Pair,
    query: Rows<'a>,
    key: Rows<'a>,
    value: Rows<'a>,
}

impl Inputs {
    /// `[batch, heads, queries, keys, d_head]`
    fn dims(&self) -> [usize; 5] {
        let (query, key) = (self.query.shape(), self.key.shape());
        [query[0], query[1], query[2], key[2], query[3]]
    }

    fn call<'a>(&'a self, additive: &'a [f32]) -> Call<'a> {
        let [_, _, n_queries, n_keys, d_head] = self.dims();
        Call {
            query: Strided::new(&self.query),
            key: Strided::new(&self.key),
            value: Strided::new(&self.value),
            n_queries,
            n_keys,
            d_head,
            tiles: self.blocked.tiles(),
            additive,
        }
    }

    /// Mask and bias, `[1 or heads, blocks, ROWS, LANES]`.
    fn additive(&self) -> Cow<'_, [f32]> {
        let [_, n_heads, ..] = self.dims();
        let tiles = self.blocked.tiles();
        match &self.bias {
            None => Cow::Borrowed(tiles.additive()),
            Some(bias) => Cow::Owned(tiles.additive_with(&Strided::new(bias), n_heads)),
        }
    }

    /// Computes the attention.
    pub(crate) fn forward(&self) -> Output {
        let [batch, n_heads, n_queries, _, d_head] = self.dims();
        let additive = self.additive();
        let call = self.call(&additive);
        let mut output = Joined::zeros([batch, n_heads, n_queries, d_head]);
        let n_per_pair = call.tiles.len() * 2 * LANES;
        let mut normalisers = vec![0.0; batch * n_heads * n_per_pair];
        output
            .pairs()
            .into_par_iter()
            .zip(normalisers.par_chunks_mut(n_per_pair.max(1)))
            .enumerate()
            .for_each_init(
                || Scratch::forward(&call),
                |scratch, (i, (mut output, normalisers))| {
                    let pair = Pair {
                        sample: i / n_heads,
                        head: i % n_heads,
                    };
                    vectorised(Forward {
                        call: &call,
                        scratch,
                        pair,
                        output: &mut output,
                        normalisers,
                    });
                },
            );
        Output {
            output: output.into_tensor(),
            normalisers: normalisers.into(),
        }
    }

    /// Gradients of the inputs, given that of the output, `[batch, heads, queries, d_head]`.
    pub(crate) fn backward(
        &self,
        forward: &Output,
        output_gradient: &FlexTensor,
    ) -> InputGradients {
        let [batch, n_heads, n_queries, n_keys, d_head] = self.dims();
        let additive = self.additive();
        let call = self.call(&additive);
        let tiles: &Tiles = self.blocked.tiles();
        let (output, output_gradient) =
            (Strided::new(&forward.output), Strided::new(output_gradient));
        let n_per_pair = tiles.len() * 2 * LANES;
        let mut query = Joined::zeros([batch, n_heads, n_queries, d_head]);
        let mut key = Joined::zeros([batch, n_heads, n_keys, d_head]);
        let mut value = Joined::zeros([batch, n_heads, n_keys, d_head]);

        // With a bias, samples are grouped into few runs, each with a partial sum of its gradient.
        let n_parts = if self.bias.is_some() {
            BIASED_TASKS.div_ceil(n_heads.max(1)).min(batch)
        } else {
            batch
        };
        let n_entries = tiles.additive().len();
        let mut parts = vec![
            0.0;
            if self.bias.is_some() {
                n_heads * n_parts * n_entries
            } else {
                0
            }
        ];
        let mut tasks: Vec<Task> = (0..n_heads * n_parts)
            .map(|_| Task {
                pairs: Vec::new(),
                bias: None,
            })
            .collect();
        for (i, ((query, key), value)) in query
            .pairs()
            .into_iter()
            .zip(key.pairs())
            .zip(value.pairs())
            .enumerate()
        {
            let pair = Pair {
                sample: i / n_heads,
                head: i % n_heads,
            };
            let task = pair.head * n_parts + pair.sample * n_parts / batch;
            tasks[task].pairs.push(PairGradients {
                pair,
                query,
                key,
                value,
            });
        }
        for (task, part) in tasks
            .iter_mut()
            .zip(parts.chunks_exact_mut(n_entries.max(1)))
        {
            task.bias = Some(part);
        }
        tasks.into_par_iter().for_each_init(
            || Scratch::backward(&call),
            |scratch, mut task| {
                for PairGradients {
                    pair,
                    mut query,
                    mut key,
                    mut value,
                } in task.pairs
                {
                    vectorised(Backward {
                        call: &call,
                        scratch,
                        pair,
                        output,
                        output_gradient,
                        normalisers: &forward.normalisers
                            [(pair.sample * n_heads + pair.head) * n_per_pair..][..n_per_pair],
                        query_gradient: &mut query,
                        key_gradient: &mut key,
                        value_gradient: &mut value,
                        bias_gradient: task.bias.as_deref_mut(),
                    });
                }
            },
        );
        let bias = self
            .bias
            .as_ref()
            .map(|bias| sum_of_parts(tiles, &parts, [n_heads, bias.shape()[1]]));
        InputGradients {
            query: query.into_tensor(),
            key: key.into_tensor(),
            value: value.into_tensor(),
            bias,
        }
    }
}

/// Adds up the partial sums of each head, `[heads, biases]`.
fn sum_of_parts(tiles: &Tiles, parts: &[f32], [n_heads, n_biases]: [usize; 2]) -> FlexTensor {
    let n_entries = tiles.additive().len();
    let mut gradient = vec![0.0_f32; n_heads * n_biases];
    if n_entries > 0 {
        let n_per_head = parts.len() / n_heads;
        gradient
            .par_chunks_mut(n_biases.max(1))
            .zip(parts.par_chunks(n_per_head.max(1)))
            .for_each(|(gradient, parts)| {
                for part in parts.chunks_exact(n_entries) {
                    tiles.add_bias_gradient(part, gradient);
                }
            });
    }
    let layout = Layout::contiguous(Shape::from([n_heads, n_biases]));
    FlexTensor::new(Bytes::from_elems(gradient), layout, DType::F32)
}

impl Joined {
    fn zeros(shape: [usize; 4]) -> Self {
        Joined {
            data: vec![0.0; shape.iter().product()],
            shape,
        }
    }

    /// The rows of each pair; pairs run over the samples and within them over the heads.
    fn pairs(&mut self) -> Vec<Rows<'_>> {
        let [batch, n_heads, n_tokens, d_head] = self.shape;
        let mut pairs: Vec<Rows> = (0..batch * n_heads)
            .map(|_| Vec::with_capacity(n_tokens))
            .collect();
        for (i, row) in self.data.chunks_exact_mut(d_head.max(1)).enumerate() {
            let sample = i / (n_tokens * n_heads);
            pairs[sample * n_heads + i % n_heads].push(row);
        }
        pairs
    }

    fn into_tensor(self) -> FlexTensor {
        let [_, n_heads, n_tokens, d_head] = self.shape.map(|n| n as isize);
        let strides = vec![n_tokens * n_heads * d_head, d_head, n_heads * d_head, 1];
        let layout = Layout::new(Shape::from(self.shape), strides, 0);
        FlexTensor::new(Bytes::from_elems(self.data), layout, DType::F32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Instructions, Kernel, on_every_set};

    fn sines(index: f32, shape: impl Into<Shape>) -> FlexTensor {
        let shape = shape.into();
        let data = (0..shape.num_elements()).map(|k| (0.7 * index + 0.37 * k as f32).sin());
        let bytes = Bytes::from_elems(data.collect::<Vec<f32>>());
        FlexTensor::new(bytes, Layout::contiguous(shape), DType::F32)
    }

    /// Forward and backward pass of the only pair, compared with those of the best set.
    struct OnePair<'a> {
        inputs: &'a Inputs,
        best: &'a Output,
        gradient: &'a FlexTensor,
        best_gradients: &'a InputGradients,
    }

    impl Kernel for OnePair<'_> {
        #[inline(always)]
        fn run<I: Instructions>(self, set: I) {
            let [_, _, n_queries, n_keys, d_head] = self.inputs.dims();
            let additive = self.inputs.additive();
            let call = self.inputs.call(&additive);
            let pair = Pair { sample: 0, head: 0 };
            let mut normalisers = vec![0.0; self.best.normalisers.len()];
            let mut output = Joined::zeros([1, 1, n_queries, d_head]);
            let mut gradients =
                [n_queries, n_keys, n_keys].map(|n| Joined::zeros([1, 1, n, d_head]));
            let mut bias = vec![0.0; additive.len()];
            Forward {
                call: &call,
                scratch: &mut Scratch::forward(&call),
                pair,
                output: &mut output.pairs()[0],
                normalisers: &mut normalisers,
            }
            .run(set);
            let [query, key, value] = &mut gradients;
            Backward {
                call: &call,
                scratch: &mut Scratch::backward(&call),
                pair,
                output: Strided::new(&self.best.output),
                output_gradient: Strided::new(self.gradient),
                normalisers: &normalisers,
                query_gradient: &mut query.pairs()[0],
                key_gradient: &mut key.pairs()[0],
                value_gradient: &mut value.pairs()[0],
                bias_gradient: Some(&mut bias),
            }
            .run(set);
            let bias = sum_of_parts(self.inputs.blocked.tiles(), &bias, [1, n_queries * n_keys]);
            let best = self.best_gradients;
            for (found, expected) in [
                (output.data.as_slice(), &self.best.output),
                (&gradients[0].data, &best.query),
                (&gradients[1].data, &best.key),
                (&gradients[2].data, &best.value),
                (
                    bias.storage(),
                    best.bias.as_ref().expect("the inputs have a bias"),
                ),
            ] {
                let expected: &[f32] = expected.storage();
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 2e-6,
                        "{found} against {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_computes_the_same() {
        // The best set is compared with Burn's operators and with PyTorch in tests/attention.rs.
        let (n_queries, n_keys, d_head) = (21, 30, 18);
        let pairs: Vec<bool> = (0..n_queries * n_keys)
            .map(|i| i % 7 == 3 || i / n_keys == 5)
            .collect();
        let inputs = Inputs {
            query: sines(0.0, [1, 1, n_queries, d_head]),
            key: sines(1.0, [1, 1, n_keys, d_head]),
            value: sines(2.0, [1, 1, n_keys, d_head]),
            bias: Some(sines(3.0, [1, n_queries * n_keys])),
            blocked: Blocked::new(&pairs, n_queries, n_keys),
        };
        let gradient = sines(4.0, [1, 1, n_queries, d_head]);
        let best = inputs.forward();
        let best_gradients = inputs.backward(&best, &gradient);
        on_every_set(|| OnePair {
            inputs: &inputs,
            best: &best,
            gradient: &gradient,
            best_gradients: &best_gradients,
        });
    }
}
