//! Which pairs of query and key are blocked or biased, cut into the tiles that the kernel works on.

use crate::strided::Strided;
use crate::vector::{LANES, ROWS};
use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;
use std::array::from_fn;
use std::ops::Range;
use std::sync::Arc;

/// Numbers of a block of [`ROWS`] keys and [`LANES`] queries.
pub(crate) const BLOCK: usize = ROWS * LANES;

/// In the place of an index: the pair takes no bias.
pub const NO_BIAS: u32 = u32::MAX;

/// Pairs of query and key that must not see each other, and which bias the others take; the same for
/// all samples and heads.
///
/// Cheap to clone. Build it once per mask, not once per call: construction sorts the pairs into
/// tiles and finds those that need no work.
///
/// ```
/// use suffuse_kernels::Blocked;
/// // Causal: a query sees the keys up to its own position.
/// let causal: Vec<bool> = (0..9).map(|pair| pair % 3 > pair / 3).collect();
/// let causal = Blocked::new(causal, 3, 3);
/// assert_eq!(causal.dims(), [3, 3]);
/// ```
#[derive(Debug, Clone)]
pub struct Blocked {
    n_queries: usize,
    n_keys: usize,
    pairs: Arc<[bool]>,
    bias_of_pair: Arc<[u32]>,
    tiles: Arc<Tiles>,
}

/// The mask in the order of the kernel: tiles of [`LANES`] queries, in them blocks of [`ROWS`] keys.
/// Blocks without a pair that is open are left out.
#[derive(Debug)]
pub(crate) struct Tiles {
    /// Blocks of each tile, as a range of `blocks`.
    ranges: Vec<Range<usize>>,
    /// Index of each block among the keys: it starts at key `ROWS * index`.
    blocks: Vec<usize>,
    /// Added to the scores, `[blocks, ROWS, LANES]`: zero, or minus infinity where blocked.
    additive: Vec<f32>,
    /// Positions in `additive` of the open pairs that take a bias, and which: few of all pairs.
    biased: Vec<(u32, u32)>,
    /// One more than the largest index of a bias.
    n_biases: usize,
}

impl Blocked {
    /// The mask `pairs`, row by row: `[n_queries, n_keys]`, true where the query must not see the
    /// key. Pair `i` takes bias `i`, if there are biases.
    ///
    /// # Panics
    /// When the number of pairs is not `n_queries * n_keys`.
    pub fn new(pairs: impl Into<Arc<[bool]>>, n_queries: usize, n_keys: usize) -> Self {
        let own = (0..n_queries * n_keys).map(|pair| pair as u32).collect();
        Blocked::with_biases(pairs.into(), own, [n_queries, n_keys])
    }

    /// The mask `pairs`, where pair `i` takes the bias that `bias_of_pair[i]` is the index of, or
    /// none where that is [`NO_BIAS`]. Pairs may share a bias.
    ///
    /// - `pairs`, `bias_of_pair`: `[n_queries, n_keys]`
    ///
    /// # Panics
    /// When the number of pairs or of indices is not `n_queries * n_keys`.
    pub fn with_biases(
        pairs: Arc<[bool]>,
        bias_of_pair: Arc<[u32]>,
        [n_queries, n_keys]: [usize; 2],
    ) -> Self {
        assert!(
            n_queries.next_multiple_of(LANES) * n_keys.next_multiple_of(ROWS) <= u32::MAX as usize,
            "{n_queries} queries and {n_keys} keys are more than a mask can hold"
        );
        assert_eq!(
            [pairs.len(), bias_of_pair.len()],
            [n_queries * n_keys; 2],
            "a mask holds one entry per pair of {n_queries} queries and {n_keys} keys"
        );
        let tiles = Arc::new(Tiles::new(&pairs, &bias_of_pair, n_queries, n_keys));
        Blocked {
            n_queries,
            n_keys,
            pairs,
            bias_of_pair,
            tiles,
        }
    }

    /// No pair is blocked.
    pub fn none(n_queries: usize, n_keys: usize) -> Self {
        Blocked::new(vec![false; n_queries * n_keys], n_queries, n_keys)
    }

    /// Numbers of queries and keys.
    pub fn dims(&self) -> [usize; 2] {
        [self.n_queries, self.n_keys]
    }

    /// The mask row by row, `[n_queries, n_keys]`.
    pub fn pairs(&self) -> &[bool] {
        &self.pairs
    }

    /// The bias of each pair, zero where it takes none: `[heads, n_biases]` to
    /// `[heads, n_queries, n_keys]`.
    pub fn biases(&self, bias: Tensor<2>) -> Tensor<3> {
        let [n_heads, n_biases] = bias.dims();
        // The number past the last is zero, for pairs without a bias.
        let zero: Tensor<2> = Tensor::zeros([n_heads, 1], &bias.device());
        let zero = zero.cast(bias.dtype());
        let bias = Tensor::cat(vec![bias, zero], 1);
        let indices = self.bias_of_pair.iter();
        let indices: Vec<i64> = indices
            .map(|index| i64::from(*index).min(n_biases as i64))
            .collect();
        let indices = TensorData::new(indices, [self.pairs.len()]);
        let indices = Tensor::<1, Int>::from_data(indices, &bias.device().inner());
        bias.select(1, indices)
            .reshape([n_heads, self.n_queries, self.n_keys])
    }

    pub(crate) fn tiles(&self) -> &Arc<Tiles> {
        &self.tiles
    }
}

impl Tiles {
    fn new(pairs: &[bool], bias_of_pair: &[u32], n_queries: usize, n_keys: usize) -> Self {
        let mut tiles = Tiles {
            ranges: Vec::new(),
            blocks: Vec::new(),
            additive: Vec::new(),
            biased: Vec::new(),
            n_biases: 0,
        };
        for first_query in (0..n_queries).step_by(LANES) {
            let start = tiles.blocks.len();
            for first_key in (0..n_keys).step_by(ROWS) {
                let open: [Option<usize>; BLOCK] = from_fn(|i| {
                    let (key, query) = (first_key + i / LANES, first_query + i % LANES);
                    let pair = query * n_keys + key;
                    (key < n_keys && query < n_queries && !pairs[pair]).then_some(pair)
                });
                if open.iter().any(Option::is_some) {
                    tiles.blocks.push(first_key / ROWS);
                    let first = tiles.additive.len();
                    let of = |pair: Option<usize>| pair.map_or(f32::NEG_INFINITY, |_| 0.0);
                    tiles.additive.extend(open.map(of));
                    for (i, pair) in open.into_iter().enumerate() {
                        let bias = pair.map_or(NO_BIAS, |pair| bias_of_pair[pair]);
                        if bias != NO_BIAS {
                            tiles.biased.push(((first + i) as u32, bias));
                            tiles.n_biases = tiles.n_biases.max(bias as usize + 1);
                        }
                    }
                }
            }
            tiles.ranges.push(start..tiles.blocks.len());
        }
        tiles
    }

    /// One more than the largest index of a bias.
    pub(crate) fn n_biases(&self) -> usize {
        self.n_biases
    }

    /// Number of tiles.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Blocks of a tile: positions in the order of [`Tiles::additive`].
    #[inline(always)]
    pub(crate) fn range(&self, tile: usize) -> Range<usize> {
        self.ranges[tile].clone()
    }

    /// Index of each block among the keys.
    #[inline(always)]
    pub(crate) fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    /// Blocks in the fullest tile.
    pub(crate) fn most_blocks(&self) -> usize {
        self.ranges.iter().map(Range::len).max().unwrap_or(0)
    }

    /// The mask alone, `[blocks, ROWS, LANES]`.
    pub(crate) fn additive(&self) -> &[f32] {
        &self.additive
    }

    /// Mask and bias of all heads, `[heads, blocks, ROWS, LANES]`; `bias` is `[heads, n_biases]`.
    pub(crate) fn additive_with(&self, bias: &Strided<2>, n_heads: usize) -> Vec<f32> {
        let n = self.additive.len();
        let mut additive = self.additive.repeat(n_heads);
        additive
            .par_chunks_mut(n.max(1))
            .enumerate()
            .for_each(|(head, additive)| {
                for (position, index) in &self.biased {
                    additive[*position as usize] = bias.at([head, *index as usize]);
                }
            });
        additive
    }

    /// Adds gradients of the scores, `[blocks, ROWS, LANES]`, to those of a head's biases.
    pub(crate) fn add_bias_gradient(&self, of_scores: &[f32], of_biases: &mut [f32]) {
        for (position, index) in &self.biased {
            of_biases[*index as usize] += of_scores[*position as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_causal_mask_leaves_out_the_blocks_above_the_diagonal() {
        // 20 x 20: queries 0..16 see keys 0..16 (2 blocks of 8), queries 16..20 see all (3 blocks).
        let causal: Vec<bool> = (0..400).map(|pair| pair % 20 > pair / 20).collect();
        let blocked = Blocked::new(causal, 20, 20);
        let tiles = blocked.tiles();
        assert_eq!(tiles.len(), 2);
        assert_eq!(tiles.blocks(), [0, 1, 0, 1, 2]);
        assert_eq!(tiles.most_blocks(), 3);
        let n_open = tiles.additive().iter().filter(|x| **x == 0.0).count();
        assert_eq!(n_open, 20 * 21 / 2);
    }

    #[test]
    #[should_panic(expected = "one entry per pair of 2 queries and 3 keys")]
    fn a_mask_of_the_wrong_length_is_refused() {
        Blocked::new(vec![false; 5], 2, 3);
    }
}
