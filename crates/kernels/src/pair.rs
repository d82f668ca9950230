//! Attention of one head in one sample, forward and backward.
//!
//! A tile holds 16 queries, one per lane; keys run along the rows. Scores, weights and their
//! gradients of a tile lie in the cache as `[keys, 16]`, so that maxima and sums over keys add up
//! vector by vector in the order of the keys. A key without weight adds an exact zero: blocking it
//! and leaving it out give the same bits.
//!
//! ```text
//! forward    S = K Q'   P = exp(S - max)   O' = V' P / sum
//! backward   P and dP = V dO' anew, dS = P (dP - rowsum(dO O)),
//!            dV += P dO   dK += dS Q   dQ' = K' dS
//! ```

use crate::blocked::{BLOCK, Tiles};
use crate::exp::exp;
use crate::strided::Strided;
use crate::vector::{Instructions, Kernel, LANES, Lanes, ROWS, add_outer, product, read, write};
use std::array::from_fn;
use std::ops::Range;

/// What all pairs of a call share.
pub(crate) struct Call<'a> {
    pub(crate) query: Strided<'a, 4>,
    pub(crate) key: Strided<'a, 4>,
    pub(crate) value: Strided<'a, 4>,
    pub(crate) n_queries: usize,
    pub(crate) n_keys: usize,
    pub(crate) d_head: usize,
    pub(crate) tiles: &'a Tiles,
    /// Mask and bias, `[1 or heads, blocks, ROWS, LANES]`.
    pub(crate) additive: &'a [f32],
}

/// Which sample and which head.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) sample: usize,
    pub(crate) head: usize,
}

/// Rows of one pair inside a tensor, `[tokens][d_head]`.
pub(crate) type Rows<'a> = Vec<&'a mut [f32]>;

/// Memory of one task, used again by each of its pairs. What lies past the tokens stays zero.
pub(crate) struct Scratch {
    /// Length of a padded row.
    width: usize,
    key: Tokens,
    value: Tokens,
    /// `[keys, width]`
    key_gradient: Vec<f32>,
    /// `[keys, width]`
    value_gradient: Vec<f32>,
    /// Scores, then weights, then gradients of the scores of one tile, `[keys, LANES]`.
    scores: Vec<f32>,
    query: Tile,
    output_gradient: Tile,
    output: Tile,
}

/// Keys or values of a pair.
struct Tokens {
    /// `[keys, width]`
    rows: Vec<f32>,
    /// The same in blocks of [`ROWS`] keys, `[blocks, width, ROWS]`.
    columns: Vec<f32>,
}

/// Up to [`LANES`] rows, also transposed.
struct Tile {
    /// `[LANES, width]`
    rows: Vec<f32>,
    /// `[width, LANES]`
    columns: Vec<f32>,
}

/// What the backward pass knows of the queries of a tile.
struct OfTile<V> {
    /// Largest score, zero where all keys are blocked.
    max: V,
    /// Reciprocal sum of the exponentials, zero where all keys are blocked.
    reciprocal: V,
    /// `rowsum(dO * O)`
    agreement: V,
}

/// Forward pass of a pair.
pub(crate) struct Forward<'a, 'b> {
    pub(crate) call: &'a Call<'a>,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) pair: Pair,
    pub(crate) output: &'a mut Rows<'b>,
    /// `[tiles, 2, LANES]`: what the backward pass needs to compute the weights again.
    pub(crate) normalisers: &'a mut [f32],
}

/// Backward pass of a pair.
pub(crate) struct Backward<'a, 'b> {
    pub(crate) call: &'a Call<'a>,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) pair: Pair,
    pub(crate) output: Strided<'a, 4>,
    pub(crate) output_gradient: Strided<'a, 4>,
    pub(crate) normalisers: &'a [f32],
    pub(crate) query_gradient: &'a mut Rows<'b>,
    pub(crate) key_gradient: &'a mut Rows<'b>,
    pub(crate) value_gradient: &'a mut Rows<'b>,
    /// Gradients of the scores are added here, `[blocks, ROWS, LANES]`.
    pub(crate) bias_gradient: Option<&'a mut [f32]>,
}

impl Call<'_> {
    /// The scale of the scores.
    fn scale(&self) -> f32 {
        (1.0 / (self.d_head as f64).sqrt()) as f32
    }

    /// Mask and bias of a head, `[blocks, ROWS, LANES]`.
    fn additive(&self, head: usize) -> &[f32] {
        let n = self.tiles.additive().len();
        let head = if self.additive.len() == n { 0 } else { head };
        &self.additive[head * n..][..n]
    }
}

impl Scratch {
    /// For the forward pass.
    pub(crate) fn forward(call: &Call) -> Self {
        let width = call.d_head.next_multiple_of(LANES);
        let n_padded = call.n_keys.next_multiple_of(ROWS) * width;
        Scratch {
            width,
            key: Tokens::new(n_padded),
            value: Tokens::new(n_padded),
            key_gradient: Vec::new(),
            value_gradient: Vec::new(),
            scores: vec![0.0; call.tiles.most_blocks() * BLOCK],
            query: Tile::new(width),
            output_gradient: Tile::new(width),
            output: Tile::new(width),
        }
    }

    /// For the backward pass.
    pub(crate) fn backward(call: &Call) -> Self {
        let scratch = Scratch::forward(call);
        let zeros = vec![0.0; scratch.key.rows.len()];
        Scratch {
            key_gradient: zeros.clone(),
            value_gradient: zeros,
            ..scratch
        }
    }
}

impl Tokens {
    fn new(n_padded: usize) -> Self {
        Tokens {
            rows: vec![0.0; n_padded],
            columns: vec![0.0; n_padded],
        }
    }

    #[inline(always)]
    fn load(&mut self, from: &Strided<4>, pair: Pair, call: &Call, width: usize) {
        for token in 0..call.n_keys {
            let row = &mut self.rows[token * width..][..call.d_head];
            from.copy_row([pair.sample, pair.head, token, 0], row);
        }
    }

    /// Fills the columns from the rows.
    #[inline(always)]
    fn transpose(&mut self, width: usize) {
        let blocks = self.columns.chunks_exact_mut(ROWS * width);
        for (columns, rows) in blocks.zip(self.rows.chunks_exact(ROWS * width)) {
            let rows: [&[f32]; ROWS] = from_fn(|m| &rows[m * width..][..width]);
            for (c, column) in columns.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
                *column = from_fn(|m| rows[m][c]);
            }
        }
    }
}

impl Tile {
    fn new(width: usize) -> Self {
        Tile {
            rows: vec![0.0; LANES * width],
            columns: vec![0.0; LANES * width],
        }
    }

    /// Loads the queries of `tile` times `scale`; lanes past the last query keep earlier, finite
    /// numbers, which meet weights of zero only.
    #[inline(always)]
    fn load(
        &mut self,
        from: &Strided<4>,
        pair: Pair,
        queries: Range<usize>,
        scale: f32,
        d_head: usize,
    ) {
        let width = self.rows.len() / LANES;
        for (lane, query) in queries.enumerate() {
            let row = &mut self.rows[lane * width..][..d_head];
            from.copy_row([pair.sample, pair.head, query, 0], row);
            for (c, x) in row.iter_mut().enumerate() {
                *x *= scale;
                self.columns[c * LANES + lane] = *x;
            }
        }
    }
}

impl Kernel for Forward<'_, '_> {
    #[inline(always)]
    fn run<I: Instructions>(self, set: I) {
        let Forward {
            call,
            scratch,
            pair,
            output,
            normalisers,
        } = self;
        let (additive, width) = (call.additive(pair.head), scratch.width);
        scratch.key.load(&call.key, pair, call, width);
        scratch.key.transpose(width);
        scratch.value.load(&call.value, pair, call, width);
        for tile in 0..call.tiles.len() {
            let queries = tile * LANES..call.n_queries.min((tile + 1) * LANES);
            let blocks = call.tiles.range(tile);
            scratch.query.load(
                &call.query,
                pair,
                queries.clone(),
                call.scale(),
                call.d_head,
            );
            let mut max = set.splat(f32::NEG_INFINITY);
            for (i, block) in blocks.clone().enumerate() {
                let keys = &scratch.key.columns[call.tiles.blocks()[block] * ROWS * width..];
                let scores = product(set, keys, &scratch.query.columns, call.d_head);
                for (m, score) in scores.into_iter().enumerate() {
                    let score = add_mask(set, score, read(set, additive, block * ROWS + m));
                    max = set.max(score, max);
                    write(set, &mut scratch.scores, i * ROWS + m, score);
                }
            }
            // Zero in place of minus infinity, so that queries without a key give no NaN.
            max = set.where_less([max, set.splat(f32::MIN)], set.splat(0.0), max);
            let mut sum = set.splat(0.0);
            for i in 0..blocks.len() * ROWS {
                let weight = exp(set, set.sub(read(set, &scratch.scores, i), max));
                sum = set.add(sum, weight);
                write(set, &mut scratch.scores, i, weight);
            }
            let reciprocal = set
                .store(sum)
                .map(|sum| if sum == 0.0 { 0.0 } else { 1.0 / sum });
            write(set, normalisers, 2 * tile, max);
            write(set, normalisers, 2 * tile + 1, set.load(&reciprocal));
            let mixed = Mixed {
                rows: &scratch.value.rows,
                width,
                weights: &scratch.scores,
                factor: &reciprocal,
            };
            mixed.write(set, call, blocks, &mut output[queries]);
        }
    }
}

impl Kernel for Backward<'_, '_> {
    #[inline(always)]
    fn run<I: Instructions>(mut self, set: I) {
        let (call, pair, d_head) = (self.call, self.pair, self.call.d_head);
        let width = self.scratch.width;
        self.scratch.key.load(&call.key, pair, call, width);
        self.scratch.key.transpose(width);
        self.scratch.value.load(&call.value, pair, call, width);
        self.scratch.value.transpose(width);
        self.scratch.key_gradient.fill(0.0);
        self.scratch.value_gradient.fill(0.0);
        let scale = call.scale();
        for tile in 0..call.tiles.len() {
            let queries = tile * LANES..call.n_queries.min((tile + 1) * LANES);
            let blocks = call.tiles.range(tile);
            let scratch = &mut *self.scratch;
            scratch
                .query
                .load(&call.query, pair, queries.clone(), scale, d_head);
            scratch
                .output_gradient
                .load(&self.output_gradient, pair, queries.clone(), 1.0, d_head);
            scratch
                .output
                .load(&self.output, pair, queries.clone(), 1.0, d_head);
            let mut agreement = set.splat(0.0);
            for c in 0..d_head {
                let gradient = read(set, &scratch.output_gradient.columns, c);
                agreement = set.mul_add(gradient, read(set, &scratch.output.columns, c), agreement);
            }
            let of_tile = OfTile {
                max: read(set, self.normalisers, 2 * tile),
                reciprocal: read(set, self.normalisers, 2 * tile + 1),
                agreement,
            };
            for (i, block) in blocks.clone().enumerate() {
                self.block(set, [i, block], &of_tile);
            }
            let scratch = &*self.scratch;
            let mixed = Mixed {
                rows: &scratch.key.rows,
                width,
                weights: &scratch.scores,
                factor: &[scale; LANES],
            };
            mixed.write(set, call, blocks, &mut self.query_gradient[queries]);
        }
        for token in 0..call.n_keys {
            let row = token * width..token * width + d_head;
            self.key_gradient[token].copy_from_slice(&self.scratch.key_gradient[row.clone()]);
            self.value_gradient[token].copy_from_slice(&self.scratch.value_gradient[row]);
        }
    }
}

impl Backward<'_, '_> {
    /// Block `i` of the tile, which is block `block` of the call: leaves the gradient of its scores
    /// in the scratch and adds to those of its keys, its values and the bias.
    #[inline(always)]
    fn block<I: Instructions>(
        &mut self,
        set: I,
        [i, block]: [usize; 2],
        of_tile: &OfTile<I::Vector>,
    ) {
        let (call, scratch) = (self.call, &mut *self.scratch);
        let additive = call.additive(self.pair.head);
        let width = scratch.width;
        let first = call.tiles.blocks()[block] * ROWS * width;
        let mut weights = product(
            set,
            &scratch.key.columns[first..],
            &scratch.query.columns,
            call.d_head,
        );
        for (m, weight) in weights.iter_mut().enumerate() {
            let score = add_mask(set, *weight, read(set, additive, block * ROWS + m));
            *weight = set.mul(exp(set, set.sub(score, of_tile.max)), of_tile.reciprocal);
        }
        let gradients = &scratch.output_gradient;
        let mut of_scores = product(
            set,
            &scratch.value.columns[first..],
            &gradients.columns,
            call.d_head,
        );
        for (m, gradient) in of_scores.iter_mut().enumerate() {
            *gradient = set.mul(weights[m], set.sub(*gradient, of_tile.agreement));
            write(set, &mut scratch.scores, i * ROWS + m, *gradient);
            if let Some(bias_gradient) = &mut self.bias_gradient {
                let sum = read(set, bias_gradient, block * ROWS + m);
                write(
                    set,
                    bias_gradient,
                    block * ROWS + m,
                    set.add(sum, *gradient),
                );
            }
        }
        let weights = weights.map(|weights| set.store(weights));
        let of_scores = of_scores.map(|gradients| set.store(gradients));
        add_product(
            set,
            &mut scratch.value_gradient[first..],
            &weights,
            &gradients.rows,
            width,
        );
        add_product(
            set,
            &mut scratch.key_gradient[first..],
            &of_scores,
            &scratch.query.rows,
            width,
        );
    }
}

/// Adds mask and bias; a blocked score is minus infinity even where it was NaN.
#[inline(always)]
fn add_mask<I: Instructions>(set: I, score: I::Vector, additive: I::Vector) -> I::Vector {
    set.where_less(
        [additive, set.splat(f32::MIN)],
        additive,
        set.add(score, additive),
    )
}

/// `rows += weights x tile`: `[ROWS, width] += [ROWS, LANES] x [LANES, width]`.
#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "a lane is a column of the weights"
)]
fn add_product<I: Instructions>(
    set: I,
    rows: &mut [f32],
    weights: &[Lanes; ROWS],
    tile: &[f32],
    width: usize,
) {
    let n = width / LANES; // vectors in a row
    for c in 0..n {
        let mut sum: [I::Vector; ROWS] = from_fn(|m| read(set, rows, m * n + c));
        for lane in 0..LANES {
            let factors = from_fn(|m| weights[m][lane]);
            add_outer(set, &mut sum, factors, read(set, tile, lane * n + c));
        }
        for (m, sum) in sum.into_iter().enumerate() {
            write(set, rows, m * n + c, sum);
        }
    }
}

/// Rows mixed by weights: `factor * rows' x weights`.
struct Mixed<'a> {
    /// `[keys, width]`
    rows: &'a [f32],
    width: usize,
    /// `[keys of the blocks, LANES]`
    weights: &'a [f32],
    factor: &'a Lanes,
}

impl Mixed<'_> {
    /// Writes the result query by query, `[queries][d_head]`.
    #[inline(always)]
    fn write<I: Instructions>(
        &self,
        set: I,
        call: &Call,
        blocks: Range<usize>,
        output: &mut [&mut [f32]],
    ) {
        for first in (0..call.d_head).step_by(ROWS) {
            let mut sum = [set.splat(0.0); ROWS];
            for (i, block) in call.tiles.blocks()[blocks.clone()].iter().enumerate() {
                for r in 0..ROWS {
                    let row = &self.rows[(block * ROWS + r) * self.width + first..];
                    let row = row.first_chunk().expect("rows are padded to whole vectors");
                    add_outer(set, &mut sum, *row, read(set, self.weights, i * ROWS + r));
                }
            }
            let sum = sum.map(|sum| set.store(sum));
            let n = ROWS.min(call.d_head - first);
            for (lane, row) in output.iter_mut().enumerate() {
                for (m, x) in row[first..first + n].iter_mut().enumerate() {
                    *x = sum[m][lane] * self.factor[lane];
                }
            }
        }
    }
}
