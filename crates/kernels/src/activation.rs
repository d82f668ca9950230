//! Activations between two layers: value and slope of a vector, and their passes over a slice.

use crate::exp::exp;
use crate::vector::{Instructions, Kernel, LANES, vectorised};
use burn::tensor::{Tensor, activation};
use std::f32::consts::{FRAC_1_SQRT_2, PI};

/// A nonlinear function applied number by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `z / (1 + exp(-z))` (Elfwing 2018).
    Silu,
    /// `z P(Z < z)` for a standard normal `Z` (Hendrycks & Gimpel 2016).
    Gelu,
    /// The same with `tanh(sqrt(2 / pi) (z + 0.044715 z^3))` in place of the normal distribution.
    GeluTanh,
}

/// Largest exponent: beyond it the sigmoid is zero in single precision.
const MAX_EXPONENT: f32 = 87.0;
/// `sqrt(2 / pi)`
const TANH_SCALE: f32 = 0.797_884_6;
const TANH_CUBE: f32 = 0.044_715;
/// Approximation 7.1.26 of the error function, absolute error below 1.5e-7 (Abramowitz & Stegun 1964).
const ERF_P: f32 = 0.327_591_1;
/// Its polynomial, the highest power first.
const ERF: [f32; 5] = [
    1.061_405_4,
    -1.453_152,
    1.421_413_7,
    -0.284_496_74,
    0.254_829_6,
];

impl Activation {
    /// The same in Burn's operators.
    pub(crate) fn composed<const D: usize>(self, z: Tensor<D>) -> Tensor<D> {
        match self {
            Activation::Silu => activation::silu(z),
            Activation::Gelu => activation::gelu(z),
            Activation::GeluTanh => activation::gelu_approximate(z),
        }
    }

    /// Replaces each `z` by its activation.
    pub(crate) fn apply(self, z: &mut [f32]) {
        vectorised(Apply {
            activation: self,
            z,
        });
    }

    /// Multiplies `gradient` by the slopes at `z` and writes the activations of `z` to `value`.
    pub(crate) fn differentiate(self, z: &[f32], value: &mut [f32], gradient: &mut [f32]) {
        vectorised(Differentiate {
            activation: self,
            z,
            value,
            gradient,
        });
    }

    #[inline(always)]
    fn value<I: Instructions>(self, set: I, z: I::Vector) -> I::Vector {
        set.mul(z, self.share(set, z)[0])
    }

    /// Value and slope.
    #[inline(always)]
    fn value_and_slope<I: Instructions>(self, set: I, z: I::Vector) -> [I::Vector; 2] {
        let [share, slope_of_share] = self.share(set, z);
        [set.mul(z, share), set.mul_add(z, slope_of_share, share)]
    }

    /// The factor of `z`, between 0 and 1, and its slope.
    #[inline(always)]
    fn share<I: Instructions>(self, set: I, z: I::Vector) -> [I::Vector; 2] {
        let one = set.splat(1.0);
        match self {
            Activation::Silu => {
                let s = sigmoid(set, z);
                [s, set.mul(s, set.sub(one, s))]
            }
            Activation::GeluTanh => {
                // (1 + tanh(u)) / 2 is the sigmoid of 2 u.
                let square = set.mul(z, z);
                let slope = set.mul_add(set.splat(3.0 * TANH_CUBE), square, one);
                let u = set.mul(z, set.mul_add(set.splat(TANH_CUBE), square, one));
                let twice = set.splat(2.0 * TANH_SCALE);
                let s = sigmoid(set, set.mul(twice, u));
                let slope = set.mul(set.mul(s, set.sub(one, s)), set.mul(twice, slope));
                // Where the cube overflows, the sigmoid is flat; a product with infinity would be NaN.
                let limit = set.splat(1e4);
                let size = set.max(z, set.sub(set.splat(0.0), z));
                [s, set.where_less([limit, size], set.splat(0.0), slope)]
            }
            Activation::Gelu => {
                let zero = set.splat(0.0);
                let minus = set.sub(zero, z);
                let x = set.mul(
                    set.where_less([z, zero], minus, z),
                    set.splat(FRAC_1_SQRT_2),
                );
                let t = set.div(one, set.mul_add(set.splat(ERF_P), x, one));
                let mut p = set.splat(ERF[0]);
                for coefficient in &ERF[1..] {
                    p = set.mul_add(p, t, set.splat(*coefficient));
                }
                let bell = exp(set, set.sub(zero, set.mul(x, x)));
                let tail = set.mul(set.mul(set.mul(p, t), bell), set.splat(0.5));
                let above = set.where_less([z, zero], tail, set.sub(one, tail));
                [above, set.mul(bell, set.splat(1.0 / (2.0 * PI).sqrt()))]
            }
        }
    }
}

/// `1 / (1 + exp(-z))`
#[inline(always)]
pub(crate) fn sigmoid<I: Instructions>(set: I, z: I::Vector) -> I::Vector {
    let minus = set.sub(set.splat(0.0), z);
    let most = set.splat(MAX_EXPONENT);
    // Written so that NaN is kept: it fails the comparison.
    let exponent = set.where_less([most, minus], most, minus);
    let one = set.splat(1.0);
    set.div(one, set.add(one, exp(set, exponent)))
}

struct Apply<'a> {
    activation: Activation,
    z: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    #[inline(always)]
    fn run<I: Instructions>(self, set: I) {
        let (vectors, rest) = self.z.as_chunks_mut::<LANES>();
        for z in vectors {
            *z = set.store(self.activation.value(set, set.load(z)));
        }
        let mut last = [0.0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let last = set.store(self.activation.value(set, set.load(&last)));
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

struct Differentiate<'a> {
    activation: Activation,
    z: &'a [f32],
    value: &'a mut [f32],
    gradient: &'a mut [f32],
}

impl Kernel for Differentiate<'_> {
    #[inline(always)]
    fn run<I: Instructions>(self, set: I) {
        let (zs, z_rest) = self.z.as_chunks::<LANES>();
        let (values, value_rest) = self.value.as_chunks_mut::<LANES>();
        let (gradients, gradient_rest) = self.gradient.as_chunks_mut::<LANES>();
        for ((z, value), gradient) in zs.iter().zip(values).zip(gradients) {
            let [y, slope] = self.activation.value_and_slope(set, set.load(z));
            *value = set.store(y);
            *gradient = set.store(set.mul(set.load(gradient), slope));
        }
        let n = z_rest.len();
        let [mut z, mut gradient] = [[0.0; LANES]; 2];
        z[..n].copy_from_slice(z_rest);
        gradient[..n].copy_from_slice(gradient_rest);
        let [y, slope] = self.activation.value_and_slope(set, set.load(&z));
        value_rest.copy_from_slice(&set.store(y)[..n]);
        let gradient = set.store(set.mul(set.load(&gradient), slope));
        gradient_rest.copy_from_slice(&gradient[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::on_every_set;

    const ALL: [Activation; 3] = [Activation::Silu, Activation::Gelu, Activation::GeluTanh];

    #[test]
    fn every_instruction_set_computes_the_same() {
        // The best set is compared with PyTorch in tests/layers.rs.
        let z: Vec<f32> = (0..203).map(|i| (i as f32 - 100.0) / 9.0).collect();
        for activation in ALL {
            let (mut value, mut slope) = (vec![0.0; z.len()], vec![1.0; z.len()]);
            activation.differentiate(&z, &mut value, &mut slope);
            let mut applied = z.clone();
            activation.apply(&mut applied);
            assert_eq!(applied, value);
            struct Same<'a>(Activation, &'a [f32], &'a [f32], &'a [f32]);
            impl Kernel for Same<'_> {
                #[inline(always)]
                fn run<I: Instructions>(self, set: I) {
                    let Same(activation, z, value, slope) = self;
                    let (mut found, mut slopes) = (vec![0.0; z.len()], vec![1.0; z.len()]);
                    Differentiate {
                        activation,
                        z,
                        value: &mut found,
                        gradient: &mut slopes,
                    }
                    .run(set);
                    for (found, expected) in
                        found.iter().chain(&slopes).zip(value.iter().chain(slope))
                    {
                        assert!((found - expected).abs() < 2e-6 * (1.0 + expected.abs()));
                    }
                }
            }
            on_every_set(|| Same(activation, &z, &value, &slope));
        }
    }

    #[test]
    fn extreme_and_missing_numbers_give_what_they_should() {
        for activation in ALL {
            let z = [-1e30, -100.0, 0.0, 100.0, 1e30, f32::NAN];
            let (mut value, mut slope) = ([0.0; 6], [1.0; 6]);
            activation.differentiate(&z, &mut value, &mut slope);
            assert!(value[0].abs() < 1e-7 && value[1].abs() < 1e-35);
            assert_eq!(value[2..5], [0.0, 100.0, 1e30]);
            assert!(slope[0].abs() < 1e-7 && slope[1].abs() < 1e-30);
            assert!((slope[2] - 0.5).abs() < 1e-6 && slope[3..5] == [1.0, 1.0]);
            assert!(value[5].is_nan() && slope[5].is_nan());
        }
    }
}
