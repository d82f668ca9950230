//! Which pairs of query and key are blocked or biased, cut into the tiles that the kernel works on.

use crate::strided::Strided;
use crate::vector::{LANES, ROWS};
use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;
use std::array::from_fn;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Numbers of a block of [`ROWS`] keys and [`LANES`] queries.
pub(crate) const BLOCK: usize = ROWS * LANES;

/// In the place of a position: there is none.
const NONE: usize = usize::MAX;

/// In the place of an index: the pair takes no bias.
pub const NO_BIAS: u32 = u32::MAX;

/// Pairs of query and key that must not see each other, and which bias the others take; the same for
/// all samples and heads.
///
/// Cheap to clone. Build it once per mask, not once per call: construction sorts the open pairs into
/// tiles and leaves out those that need no work.
///
/// ```
/// use suffuse_kernels::Blocked;
/// // Causal: a query sees the keys up to its own position.
/// let causal: Vec<bool> = (0..9).map(|pair| pair % 3 > pair / 3).collect();
/// let causal = Blocked::new(&causal, 3, 3);
/// assert_eq!(causal.dims(), [3, 3]);
/// ```
#[derive(Debug, Clone)]
pub struct Blocked {
    n_queries: usize,
    n_keys: usize,
    tiles: Arc<Tiles>,
}

/// A key that a query sees: its position, and the index of the pair's bias or [`NO_BIAS`].
pub type OpenKey = (u32, u32);

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
    /// All pairs, for backends that have no kernel.
    pairs: OnceLock<Vec<bool>>,
}

impl Blocked {
    /// The mask `pairs`, row by row: `[n_queries, n_keys]`, true where the query must not see the
    /// key. Pair `i` takes bias `i`, if there are biases.
    ///
    /// # Panics
    /// When the number of pairs is not `n_queries * n_keys`.
    pub fn new(pairs: &[bool], n_queries: usize, n_keys: usize) -> Self {
        assert_eq!(
            pairs.len(),
            n_queries * n_keys,
            "a mask holds one entry per pair of {n_queries} queries and {n_keys} keys"
        );
        Blocked::of_open(n_queries, n_keys, |query, open| {
            let first = query * n_keys;
            let keys = (0..n_keys).filter(|key| !pairs[first + key]);
            open.extend(keys.map(|key| (key as u32, (first + key) as u32)));
        })
    }

    /// The mask in which each query sees the keys that `open_keys` adds to the empty list, in any order,
    /// none twice. Time and memory grow with the blocks of 8 keys and 16 queries that hold an open pair;
    /// one number per block is looked at besides.
    ///
    /// # Panics
    /// On a key beyond `n_keys`, or more keys and queries than 2^32 pairs.
    pub fn of_open(
        n_queries: usize,
        n_keys: usize,
        open_keys: impl FnMut(usize, &mut Vec<OpenKey>),
    ) -> Self {
        assert!(
            n_queries.next_multiple_of(LANES) * n_keys.next_multiple_of(ROWS) <= u32::MAX as usize,
            "{n_queries} queries and {n_keys} keys are more than a mask can hold"
        );
        Blocked {
            n_queries,
            n_keys,
            tiles: Arc::new(Tiles::new(n_queries, n_keys, open_keys)),
        }
    }

    /// No pair is blocked.
    pub fn none(n_queries: usize, n_keys: usize) -> Self {
        Blocked::new(&vec![false; n_queries * n_keys], n_queries, n_keys)
    }

    /// Numbers of queries and keys.
    pub fn dims(&self) -> [usize; 2] {
        [self.n_queries, self.n_keys]
    }

    /// The mask row by row, `[n_queries, n_keys]`; made when first asked for.
    pub fn pairs(&self) -> &[bool] {
        self.tiles.pairs.get_or_init(|| {
            let mut pairs = vec![true; self.n_queries * self.n_keys];
            for (position, additive) in self.tiles.additive.iter().enumerate() {
                if *additive == 0.0 {
                    pairs[self.pair_at(position)] = false;
                }
            }
            pairs
        })
    }

    /// The bias of each pair, zero where it takes none: `[heads, n_biases]` to
    /// `[heads, n_queries, n_keys]`.
    pub fn biases(&self, bias: Tensor<2>) -> Tensor<3> {
        let [n_heads, n_biases] = bias.dims();
        // The number past the last is zero, for pairs without a bias.
        let zero: Tensor<2> = Tensor::zeros([n_heads, 1], &bias.device());
        let zero = zero.cast(bias.dtype());
        let bias = Tensor::cat(vec![bias, zero], 1);
        let n_pairs = self.n_queries * self.n_keys;
        let mut indices = vec![n_biases as i64; n_pairs];
        for (position, index) in &self.tiles.biased {
            indices[self.pair_at(*position as usize)] = i64::from(*index).min(n_biases as i64);
        }
        let indices = TensorData::new(indices, [n_pairs]);
        let indices = Tensor::<1, Int>::from_data(indices, &bias.device().inner());
        bias.select(1, indices)
            .reshape([n_heads, self.n_queries, self.n_keys])
    }

    /// The pair, row by row, whose entry stands at a position of [`Tiles::additive`].
    fn pair_at(&self, position: usize) -> usize {
        let block = position / BLOCK;
        let tile = self
            .tiles
            .ranges
            .partition_point(|range| range.end <= block);
        let query = tile * LANES + position % LANES;
        let key = self.tiles.blocks[block] * ROWS + position % BLOCK / LANES;
        query * self.n_keys + key
    }

    pub(crate) fn tiles(&self) -> &Arc<Tiles> {
        &self.tiles
    }
}

impl Tiles {
    fn new(
        n_queries: usize,
        n_keys: usize,
        mut open_keys: impl FnMut(usize, &mut Vec<OpenKey>),
    ) -> Self {
        let mut tiles = Tiles {
            ranges: Vec::new(),
            blocks: Vec::new(),
            additive: Vec::new(),
            biased: Vec::new(),
            n_biases: 0,
            pairs: OnceLock::new(),
        };
        let mut open: [Vec<OpenKey>; LANES] = from_fn(|_| Vec::new());
        let mut place = vec![NONE; n_keys.div_ceil(ROWS)]; // of a block of keys, in the tile
        for first_query in (0..n_queries).step_by(LANES) {
            let start = tiles.blocks.len();
            for (lane, open) in open.iter_mut().enumerate() {
                open.clear();
                if first_query + lane < n_queries {
                    open_keys(first_query + lane, open);
                }
                for (key, _) in open.iter() {
                    place[*key as usize / ROWS] = 0;
                }
            }
            for (block, place) in place.iter_mut().enumerate() {
                if *place != NONE {
                    *place = tiles.blocks.len();
                    tiles.blocks.push(block);
                }
            }
            tiles
                .additive
                .resize(tiles.blocks.len() * BLOCK, f32::NEG_INFINITY);
            for (lane, open) in open.iter().enumerate() {
                for (key, bias) in open {
                    let (block, row) = (*key as usize / ROWS, *key as usize % ROWS);
                    let position = place[block] * BLOCK + row * LANES + lane;
                    assert!((*key as usize) < n_keys, "key {key} of {n_keys}");
                    debug_assert!(tiles.additive[position] != 0.0, "key {key} twice");
                    tiles.additive[position] = 0.0;
                    if *bias != NO_BIAS {
                        tiles.biased.push((position as u32, *bias));
                        tiles.n_biases = tiles.n_biases.max(*bias as usize + 1);
                    }
                }
            }
            place.fill(NONE);
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
        let blocked = Blocked::new(&causal, 20, 20);
        let tiles = blocked.tiles();
        assert_eq!(tiles.len(), 2);
        assert_eq!(tiles.blocks(), [0, 1, 0, 1, 2]);
        assert_eq!(tiles.most_blocks(), 3);
        let n_open = tiles.additive().iter().filter(|x| **x == 0.0).count();
        assert_eq!(n_open, 20 * 21 / 2);
    }

    #[test]
    fn pairs_come_back_as_they_were_given() {
        for (n_queries, n_keys) in [(1, 1), (5, 20), (33, 7), (40, 40)] {
            let pairs: Vec<bool> = (0..n_queries * n_keys).map(|i| i * i % 7 < 3).collect();
            assert_eq!(Blocked::new(&pairs, n_queries, n_keys).pairs(), pairs);
        }
    }

    #[test]
    #[should_panic(expected = "one entry per pair of 2 queries and 3 keys")]
    fn a_mask_of_the_wrong_length_is_refused() {
        Blocked::new(&[false; 5], 2, 3);
    }
}
