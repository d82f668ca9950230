//! Sixteen numbers at a time: instruction sets and small matrix products.
//!
//! The loops are plain arrays of length [`LANES`]; the compiler turns them into vector
//! instructions of the set that [`vectorised`] chose when the program runs.

use pulp::{Arch, Simd, WithSimd};

/// Numbers in a vector: one AVX-512 register, two AVX registers, four NEON registers.
pub(crate) const LANES: usize = 16;
/// Rows of a product that are computed together, so that their additions overlap in time.
pub(crate) const ROWS: usize = 8;

/// One vector.
pub(crate) type Lanes = [f32; LANES];

/// `a * b + c`, rounded once or twice.
pub(crate) trait MulAdd {
    /// `a * b + c`
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// For processors with a fused multiply-add instruction.
pub(crate) struct Fused;

/// For all others, where the fused form is a slow library call.
pub(crate) struct Separate;

impl MulAdd for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl MulAdd for Separate {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Work that is compiled once per instruction set. `run` and all that it calls must be
/// `#[inline(always)]`: a function that is not inlined falls back to the baseline set.
pub(crate) trait Kernel {
    /// Does the work.
    fn run<M: MulAdd>(self);
}

struct WithFused<K>(K);

impl<K: Kernel> WithSimd for WithFused<K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.0.run::<Fused>();
    }
}

/// Runs `kernel` with the best instruction set of this processor.
pub(crate) fn vectorised<K: Kernel>(kernel: K) {
    match Arch::new() {
        Arch::Scalar => kernel.run::<Separate>(),
        arch => arch.dispatch(WithFused(kernel)),
    }
}

/// The vector at `index * LANES`.
#[inline(always)]
pub(crate) fn lanes(data: &[f32], index: usize) -> &Lanes {
    data[index * LANES..].first_chunk().expect("buffers are padded to whole vectors")
}

/// The vector at `index * LANES`, to be written.
#[inline(always)]
pub(crate) fn lanes_mut(data: &mut [f32], index: usize) -> &mut Lanes {
    data[index * LANES..].first_chunk_mut().expect("buffers are padded to whole vectors")
}

/// `sum[m] += factors[m] * vector`, the step that every product below consists of.
#[inline(always)]
pub(crate) fn add_outer<M: MulAdd>(sum: &mut [Lanes; ROWS], factors: [f32; ROWS], vector: &Lanes) {
    for m in 0..ROWS {
        for l in 0..LANES {
            sum[m][l] = M::mul_add(factors[m], vector[l], sum[m][l]);
        }
    }
}

/// `[ROWS, depth] x [depth, LANES]`: rows of `stride` numbers times `depth` vectors.
#[inline(always)]
pub(crate) fn product<M: MulAdd>(rows: &[f32], stride: usize, vectors: &[f32], depth: usize) -> [Lanes; ROWS] {
    let rows: [&[f32]; ROWS] = std::array::from_fn(|m| &rows[m * stride..][..depth]);
    let mut sum = [[0.0; LANES]; ROWS];
    for (r, vector) in vectors.as_chunks::<LANES>().0.iter().take(depth).enumerate() {
        add_outer::<M>(&mut sum, std::array::from_fn(|m| rows[m][r]), vector);
    }
    sum
}
