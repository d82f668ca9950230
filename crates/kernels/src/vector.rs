//! Sixteen numbers at a time: instruction sets and small matrix products.
//!
//! The loops are plain arrays of length [`LANES`]; the compiler turns them into vector
//! instructions of the set that [`vectorised`] chose when the program runs.


/// Numbers in a vector: one AVX-512 register, two AVX registers, four NEON registers.
pub(crate) const LANES: usize = 16;
/// Rows of a product that are computed together, so that their additions overlap in time.
pub(crate) const ROWS: usize = 8;

/// One vector.
pub(crate) type Lanes = [f32; LANES];

/// A set of vector instructions. Its value proves that the processor has them.
pub(crate) trait Instructions: Copy {
    /// [`LANES`] numbers in registers.
    type Vector: Copy;

    /// Reads a vector.
    fn load(self, x: &Lanes) -> Self::Vector;

    /// Writes a vector.
    fn store(self, x: Self::Vector) -> Lanes;

    /// `factor * x + sum` in each lane.
    fn add_scaled(self, factor: f32, x: Self::Vector, sum: Self::Vector) -> Self::Vector;

    /// `a * b + c`, rounded once or twice.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// What every processor has.
#[derive(Clone, Copy)]
pub(crate) struct Baseline;

impl Instructions for Baseline {
    type Vector = Lanes;

    #[inline(always)]
    fn load(self, x: &Lanes) -> Lanes {
        *x
    }

    #[inline(always)]
    fn store(self, x: Lanes) -> Lanes {
        x
    }

    #[inline(always)]
    fn add_scaled(self, factor: f32, x: Lanes, mut sum: Lanes) -> Lanes {
        for l in 0..LANES {
            sum[l] = Self::mul_add(factor, x[l], sum[l]);
        }
        sum
    }

    /// Fused where the baseline has an instruction for it; elsewhere that is a slow library call.
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        if cfg!(target_arch = "aarch64") {
            a.mul_add(b, c)
        } else {
            a * b + c
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Instructions for pulp::x86::V4 {
    type Vector = std::arch::x86_64::__m512;

    #[inline(always)]
    fn load(self, x: &Lanes) -> Self::Vector {
        pulp::cast(*x)
    }

    #[inline(always)]
    fn store(self, x: Self::Vector) -> Lanes {
        pulp::cast(x)
    }

    #[inline(always)]
    fn add_scaled(self, factor: f32, x: Self::Vector, sum: Self::Vector) -> Self::Vector {
        self.avx512f
            ._mm512_fmadd_ps(self.avx512f._mm512_set1_ps(factor), x, sum)
    }

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

#[cfg(target_arch = "x86_64")]
impl Instructions for pulp::x86::V3 {
    type Vector = [std::arch::x86_64::__m256; 2];

    #[inline(always)]
    fn load(self, x: &Lanes) -> Self::Vector {
        pulp::cast(*x)
    }

    #[inline(always)]
    fn store(self, x: Self::Vector) -> Lanes {
        pulp::cast(x)
    }

    #[inline(always)]
    fn add_scaled(self, factor: f32, x: Self::Vector, sum: Self::Vector) -> Self::Vector {
        let factor = self.avx._mm256_set1_ps(factor);
        std::array::from_fn(|i| self.fma._mm256_fmadd_ps(factor, x[i], sum[i]))
    }

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// Work that is compiled once per instruction set. `run` and all that it calls must be
/// `#[inline(always)]`: a function that is not inlined falls back to the baseline set.
pub(crate) trait Kernel {
    /// Does the work.
    fn run<I: Instructions>(self, set: I);
}

/// Runs `kernel` with the best instruction set of this processor.
pub(crate) fn vectorised<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::Arch::V4(set) => set.vectorize(With { kernel, set }),
        pulp::Arch::V3(set) => set.vectorize(With { kernel, set }),
        _ => kernel.run(Baseline),
    }
    #[cfg(not(target_arch = "x86_64"))]
    kernel.run(Baseline);
}

#[cfg(target_arch = "x86_64")]
struct With<K, I> {
    kernel: K,
    set: I,
}

#[cfg(target_arch = "x86_64")]
impl<K: Kernel, I: Instructions> pulp::NullaryFnOnce for With<K, I> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.kernel.run(self.set);
    }
}

/// The vector at `index * LANES`.
#[inline(always)]
pub(crate) fn lanes(data: &[f32], index: usize) -> &Lanes {
    data[index * LANES..]
        .first_chunk()
        .expect("buffers are padded to whole vectors")
}

/// The vector at `index * LANES`, to be written.
#[inline(always)]
pub(crate) fn lanes_mut(data: &mut [f32], index: usize) -> &mut Lanes {
    data[index * LANES..]
        .first_chunk_mut()
        .expect("buffers are padded to whole vectors")
}

/// `sum[m] += factors[m] * vector`, the step that every product consists of.
#[inline(always)]
pub(crate) fn add_outer<I: Instructions>(
    set: I,
    sum: &mut [I::Vector; ROWS],
    factors: [f32; ROWS],
    vector: &Lanes,
) {
    let vector = set.load(vector);
    for (sum, factor) in sum.iter_mut().zip(factors) {
        *sum = set.add_scaled(factor, vector, *sum);
    }
}

/// `[ROWS, depth] x [depth, LANES]`: rows of `stride` numbers times `depth` vectors.
#[inline(always)]
pub(crate) fn product<I: Instructions>(
    set: I,
    rows: &[f32],
    stride: usize,
    vectors: &[f32],
    depth: usize,
) -> [Lanes; ROWS] {
    let rows: [&[f32]; ROWS] = std::array::from_fn(|m| &rows[m * stride..][..depth]);
    let vectors = &vectors.as_chunks::<LANES>().0[..depth];
    let mut sum = [set.load(&[0.0; LANES]); ROWS];
    for r in 0..depth {
        add_outer(
            set,
            &mut sum,
            std::array::from_fn(|m| rows[m][r]),
            &vectors[r],
        );
    }
    sum.map(|sum| set.store(sum))
}
