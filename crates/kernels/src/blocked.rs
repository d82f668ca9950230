//! Which pairs of query and key are blocked, cut into the tiles that the kernel works on.

use crate::strided::Strided;
use crate::vector::{LANES, ROWS};
use std::ops::Range;
use std::sync::Arc;

/// Numbers of a block of [`ROWS`] keys and [`LANES`] queries.
pub(crate) const BLOCK: usize = ROWS * LANES;

/// Pairs of query and key that must not see each other, the same for all samples and heads.
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
}

impl Blocked {
    /// The mask `pairs`, row by row: `[n_queries, n_keys]`, true where the query must not see the key.
    ///
    /// # Panics
    /// When the number of pairs is not `n_queries * n_keys`.
    pub fn new(pairs: impl Into<Arc<[bool]>>, n_queries: usize, n_keys: usize) -> Self {
        let pairs = pairs.into();
        assert_eq!(
            pairs.len(),
            n_queries * n_keys,
            "a mask holds one entry per pair of {n_queries} queries and {n_keys} keys"
        );
        let tiles = Arc::new(Tiles::new(&pairs, n_queries, n_keys));
        Blocked {
            n_queries,
            n_keys,
            pairs,
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

    pub(crate) fn tiles(&self) -> &Arc<Tiles> {
        &self.tiles
    }
}

impl Tiles {
    fn new(pairs: &[bool], n_queries: usize, n_keys: usize) -> Self {
        let mut tiles = Tiles {
            ranges: Vec::new(),
            blocks: Vec::new(),
            additive: Vec::new(),
        };
        for first_query in (0..n_queries).step_by(LANES) {
            let start = tiles.blocks.len();
            for first_key in (0..n_keys).step_by(ROWS) {
                let block: [f32; BLOCK] = std::array::from_fn(|i| {
                    let (key, query) = (first_key + i / LANES, first_query + i % LANES);
                    let is_open = key < n_keys && query < n_queries && !pairs[query * n_keys + key];
                    if is_open { 0.0 } else { f32::NEG_INFINITY }
                });
                if block.contains(&0.0) {
                    tiles.blocks.push(first_key / ROWS);
                    tiles.additive.extend(block);
                }
            }
            tiles.ranges.push(start..tiles.blocks.len());
        }
        tiles
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

    /// Mask and bias of all heads, `[heads, blocks, ROWS, LANES]`; `bias` is `[heads, queries, keys]`.
    pub(crate) fn additive_with(&self, bias: &Strided<3>, n_heads: usize) -> Vec<f32> {
        let mut additive = Vec::with_capacity(n_heads * self.additive.len());
        for head in 0..n_heads {
            self.for_each_entry(|i, [query, key]| {
                let mask = self.additive[i];
                additive.push(if mask == 0.0 {
                    bias.at([head, query, key])
                } else {
                    mask
                });
            });
        }
        additive
    }

    /// Calls `visit` for each entry of the blocks in order, with its position and its query and key;
    /// the latter may lie past the end where the entry is blocked.
    pub(crate) fn for_each_entry(&self, mut visit: impl FnMut(usize, [usize; 2])) {
        for (tile, range) in self.ranges.iter().enumerate() {
            for block in range.clone() {
                for i in 0..BLOCK {
                    visit(
                        block * BLOCK + i,
                        [
                            tile * LANES + i % LANES,
                            self.blocks[block] * ROWS + i / LANES,
                        ],
                    );
                }
            }
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
