//! Sixteen numbers at a time: instruction sets and small matrix products.
//!
//! Explicit vectors, because the compiler's own vectorisation of these loops is ten times slower:
//! it keeps the sums of a product in memory. `pulp` makes the instructions safe to call.

use std::array::from_fn;

/// Numbers in a vector: one AVX-512 register, two AVX registers, four NEON registers.
pub(crate) const LANES: usize = 16;
/// Rows of a product that are computed together, so that their additions overlap in time.
pub(crate) const ROWS: usize = 8;

/// A vector in memory.
pub(crate) type Lanes = [f32; LANES];

/// A set of vector instructions. Its value proves that the processor has them.
pub(crate) trait Instructions: Copy {
    /// A vector in registers.
    type Vector: Copy;

    /// Reads a vector.
    fn load(self, x: &Lanes) -> Self::Vector;

    /// Writes a vector.
    fn store(self, x: Self::Vector) -> Lanes;

    /// `x` in each lane.
    fn splat(self, x: f32) -> Self::Vector;

    /// `a + b`
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a - b`
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a * b`
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a / b`
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a * b + c`, rounded once or twice.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `a` where `a > b`, else `b`; so `b` where `a` is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `less` where the first of `pair` is below the second, else `otherwise`; so `otherwise` where
    /// one is NaN.
    fn where_less(
        self,
        pair: [Self::Vector; 2],
        less: Self::Vector,
        otherwise: Self::Vector,
    ) -> Self::Vector;

    /// `2^n`, where `n` in -126..=127 stands in the low bits of the numbers `x`.
    fn power_of_two(self, x: Self::Vector) -> Self::Vector;
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
    fn splat(self, x: f32) -> Lanes {
        [x; LANES]
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|l| a[l] + b[l])
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|l| a[l] - b[l])
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|l| a[l] * b[l])
    }

    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|l| a[l] / b[l])
    }

    /// Fused where the baseline has an instruction for it; elsewhere that is a slow library call.
    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        if cfg!(target_arch = "aarch64") {
            from_fn(|l| a[l].mul_add(b[l], c[l]))
        } else {
            from_fn(|l| a[l] * b[l] + c[l])
        }
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|l| if a[l] > b[l] { a[l] } else { b[l] })
    }

    #[inline(always)]
    fn where_less(self, [a, b]: [Lanes; 2], less: Lanes, otherwise: Lanes) -> Lanes {
        from_fn(|l| if a[l] < b[l] { less[l] } else { otherwise[l] })
    }

    #[inline(always)]
    fn power_of_two(self, x: Lanes) -> Lanes {
        x.map(|x| f32::from_bits((x.to_bits() << 23).wrapping_add(1.0_f32.to_bits())))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! AVX-512, and AVX2 with fused multiply-add.

    use super::{Instructions, Lanes, from_fn};
    use pulp::x86::{V3, V4};
    use std::arch::x86_64::{__m256, __m512, _CMP_LT_OQ};

    impl Instructions for V4 {
        type Vector = __m512;

        #[inline(always)]
        fn load(self, x: &Lanes) -> __m512 {
            pulp::cast(*x)
        }

        #[inline(always)]
        fn store(self, x: __m512) -> Lanes {
            pulp::cast(x)
        }

        #[inline(always)]
        fn splat(self, x: f32) -> __m512 {
            self.avx512f._mm512_set1_ps(x)
        }

        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_add_ps(a, b)
        }

        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_sub_ps(a, b)
        }

        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_mul_ps(a, b)
        }

        #[inline(always)]
        fn div(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_div_ps(a, b)
        }

        #[inline(always)]
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            self.avx512f._mm512_fmadd_ps(a, b, c)
        }

        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            self.avx512f._mm512_max_ps(a, b)
        }

        #[inline(always)]
        fn where_less(self, [a, b]: [__m512; 2], less: __m512, otherwise: __m512) -> __m512 {
            let is_less = self.avx512f._mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
            self.avx512f._mm512_mask_blend_ps(is_less, otherwise, less)
        }

        #[inline(always)]
        fn power_of_two(self, x: __m512) -> __m512 {
            let set = self.avx512f;
            let bits = set._mm512_slli_epi32::<23>(set._mm512_castps_si512(x));
            let one = set._mm512_castps_si512(self.splat(1.0));
            set._mm512_castsi512_ps(set._mm512_add_epi32(bits, one))
        }
    }

    impl Instructions for V3 {
        type Vector = [__m256; 2];

        #[inline(always)]
        fn load(self, x: &Lanes) -> [__m256; 2] {
            pulp::cast(*x)
        }

        #[inline(always)]
        fn store(self, x: [__m256; 2]) -> Lanes {
            pulp::cast(x)
        }

        #[inline(always)]
        fn splat(self, x: f32) -> [__m256; 2] {
            [self.avx._mm256_set1_ps(x); 2]
        }

        #[inline(always)]
        fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            from_fn(|i| self.avx._mm256_add_ps(a[i], b[i]))
        }

        #[inline(always)]
        fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            from_fn(|i| self.avx._mm256_sub_ps(a[i], b[i]))
        }

        #[inline(always)]
        fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            from_fn(|i| self.avx._mm256_mul_ps(a[i], b[i]))
        }

        #[inline(always)]
        fn div(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            from_fn(|i| self.avx._mm256_div_ps(a[i], b[i]))
        }

        #[inline(always)]
        fn mul_add(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
            from_fn(|i| self.fma._mm256_fmadd_ps(a[i], b[i], c[i]))
        }

        #[inline(always)]
        fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            from_fn(|i| self.avx._mm256_max_ps(a[i], b[i]))
        }

        #[inline(always)]
        fn where_less(
            self,
            [a, b]: [[__m256; 2]; 2],
            less: [__m256; 2],
            otherwise: [__m256; 2],
        ) -> [__m256; 2] {
            from_fn(|i| {
                let is_less = self.avx._mm256_cmp_ps::<_CMP_LT_OQ>(a[i], b[i]);
                self.avx._mm256_blendv_ps(otherwise[i], less[i], is_less)
            })
        }

        #[inline(always)]
        fn power_of_two(self, x: [__m256; 2]) -> [__m256; 2] {
            let one = self.avx._mm256_castps_si256(self.avx._mm256_set1_ps(1.0));
            x.map(|x| {
                let bits = self
                    .avx2
                    ._mm256_slli_epi32::<23>(self.avx._mm256_castps_si256(x));
                self.avx
                    ._mm256_castsi256_ps(self.avx2._mm256_add_epi32(bits, one))
            })
        }
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
        pulp::Arch::V4(set) => pulp::Simd::vectorize(set, With { kernel, set }),
        pulp::Arch::V3(set) => pulp::Simd::vectorize(set, With { kernel, set }),
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

/// Runs `kernel` with each instruction set that this processor has.
#[cfg(test)]
pub(crate) fn on_every_set<K: Kernel>(mut kernel: impl FnMut() -> K) {
    kernel().run(Baseline);
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(set) = pulp::x86::V3::try_new() {
            let kernel = kernel();
            pulp::Simd::vectorize(set, With { kernel, set });
        }
        if let Some(set) = pulp::x86::V4::try_new() {
            let kernel = kernel();
            pulp::Simd::vectorize(set, With { kernel, set });
        }
    }
}

/// Why a vector cannot be cut short.
const NOT_PADDED: &str = "buffers are padded to whole vectors";

/// Reads vector `index` of a buffer.
#[inline(always)]
pub(crate) fn read<I: Instructions>(set: I, data: &[f32], index: usize) -> I::Vector {
    set.load(data[index * LANES..].first_chunk().expect(NOT_PADDED))
}

/// Writes vector `index` of a buffer.
#[inline(always)]
pub(crate) fn write<I: Instructions>(set: I, data: &mut [f32], index: usize, x: I::Vector) {
    *data[index * LANES..].first_chunk_mut().expect(NOT_PADDED) = set.store(x);
}

/// `sum[m] += factors[m] * vector`, the step that every product consists of.
#[inline(always)]
pub(crate) fn add_outer<I: Instructions>(
    set: I,
    sum: &mut [I::Vector; ROWS],
    factors: [f32; ROWS],
    vector: I::Vector,
) {
    for (sum, factor) in sum.iter_mut().zip(factors) {
        *sum = set.mul_add(set.splat(factor), vector, *sum);
    }
}

/// `[depth, ROWS]' x [depth, LANES]`: columns of [`ROWS`] numbers times vectors.
#[inline(always)]
pub(crate) fn product<I: Instructions>(
    set: I,
    columns: &[f32],
    vectors: &[f32],
    depth: usize,
) -> [I::Vector; ROWS] {
    let columns = columns.as_chunks::<ROWS>().0;
    let vectors = vectors.as_chunks::<LANES>().0;
    let mut sum = [set.splat(0.0); ROWS];
    for (factors, vector) in columns.iter().zip(vectors).take(depth) {
        add_outer(set, &mut sum, *factors, set.load(vector));
    }
    sum
}
