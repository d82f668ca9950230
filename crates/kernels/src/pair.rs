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
use crate::vector::{
    Instructions, Kernel, LANES, Lanes, ROWS, add_outer, lanes, lanes_mut, product,
};

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

/// Memory of one task, used again by each of its pairs. Rows are padded with zeros.
pub(crate) struct Scratch {
    /// Length of a padded row.
    width: usize,
    key: Vec<f32>,
    value: Vec<f32>,
    key_gradient: Vec<f32>,
    value_gradient: Vec<f32>,
    /// Scores, then weights, then gradients of the scores of one tile, `[keys, LANES]`.
    scores: Vec<f32>,
    query: Tile,
    output_gradient: Tile,
    output: Tile,
}

/// Up to [`LANES`] rows, also transposed.
struct Tile {
    /// `[LANES, width]`
    rows: Vec<f32>,
    /// `[width, LANES]`
    columns: Vec<f32>,
}

/// Maximum and reciprocal sum of the exponentials of each query; zeros where all keys are blocked.
#[derive(Clone, Copy)]
struct Normaliser {
    max: Lanes,
    reciprocal: Lanes,
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
    pub(crate) fn forward(call: &Call) -> Self {
        let width = call.d_head.next_multiple_of(LANES);
        let n_padded = call.n_keys.next_multiple_of(ROWS) * width;
        Scratch {
            width,
            key: vec![0.0; n_padded],
            value: vec![0.0; n_padded],
            key_gradient: Vec::new(),
            value_gradient: Vec::new(),
            scores: vec![0.0; call.tiles.most_blocks() * BLOCK],
            query: Tile::new(width),
            output_gradient: Tile::new(width),
            output: Tile::new(width),
        }
    }

    pub(crate) fn backward(call: &Call) -> Self {
        let scratch = Scratch::forward(call);
        let zeros = vec![0.0; scratch.key.len()];
        Scratch {
            key_gradient: zeros.clone(),
            value_gradient: zeros,
            ..scratch
        }
    }

    #[inline(always)]
    fn load(&mut self, call: &Call, pair: Pair) {
        let Pair { sample, head } = pair;
        for token in 0..call.n_keys {
            let row = token * self.width..token * self.width + call.d_head;
            call.key
                .copy_row([sample, head, token, 0], &mut self.key[row.clone()]);
            call.value
                .copy_row([sample, head, token, 0], &mut self.value[row]);
        }
    }

    /// Rows `block` of the keys or values, and all after them.
    #[inline(always)]
    fn block<'a>(&self, rows: &'a [f32], block: usize) -> &'a [f32] {
        &rows[block * ROWS * self.width..]
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
        queries: std::ops::Range<usize>,
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
        scratch.load(call, pair);
        let additive = call.additive(pair.head);
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
            let mut max = [f32::NEG_INFINITY; LANES];
            for (i, block) in blocks.clone().enumerate() {
                let keys = scratch.block(&scratch.key, call.tiles.blocks()[block]);
                let mut scores = product(
                    set,
                    keys,
                    scratch.width,
                    &scratch.query.columns,
                    call.d_head,
                );
                for (m, scores) in scores.iter_mut().enumerate() {
                    add_mask(scores, lanes(additive, block * ROWS + m));
                    for l in 0..LANES {
                        max[l] = if scores[l] > max[l] {
                            scores[l]
                        } else {
                            max[l]
                        };
                    }
                    *lanes_mut(&mut scratch.scores, i * ROWS + m) = *scores;
                }
            }
            for max in &mut max {
                *max = if *max == f32::NEG_INFINITY { 0.0 } else { *max };
            }
            let mut sum = [0.0; LANES];
            for row in scratch.scores[..blocks.len() * BLOCK]
                .as_chunks_mut::<LANES>()
                .0
            {
                *row = exp::<I>(&std::array::from_fn(|l| row[l] - max[l]));
                for l in 0..LANES {
                    sum[l] += row[l];
                }
            }
            let reciprocal = sum.map(|sum| if sum == 0.0 { 0.0 } else { 1.0 / sum });
            *lanes_mut(normalisers, 2 * tile) = max;
            *lanes_mut(normalisers, 2 * tile + 1) = reciprocal;
            mix(
                set,
                call,
                blocks,
                &scratch.value,
                scratch.width,
                &scratch.scores,
                &reciprocal,
                &mut output[queries],
            );
        }
    }
}

impl Kernel for Backward<'_, '_> {
    #[inline(always)]
    fn run<I: Instructions>(mut self, set: I) {
        let call = self.call;
        let d_head = call.d_head;
        self.scratch.load(call, self.pair);
        self.scratch.key_gradient.fill(0.0);
        self.scratch.value_gradient.fill(0.0);
        let scale = call.scale();
        for tile in 0..call.tiles.len() {
            let queries = tile * LANES..call.n_queries.min((tile + 1) * LANES);
            let blocks = call.tiles.range(tile);
            self.scratch
                .query
                .load(&call.query, self.pair, queries.clone(), scale, d_head);
            self.scratch.output_gradient.load(
                &self.output_gradient,
                self.pair,
                queries.clone(),
                1.0,
                d_head,
            );
            self.scratch
                .output
                .load(&self.output, self.pair, queries.clone(), 1.0, d_head);
            let mut agreement = [0.0; LANES]; // rowsum(dO * O)
            for c in 0..d_head {
                let gradient = lanes(&self.scratch.output_gradient.columns, c);
                let output = lanes(&self.scratch.output.columns, c);
                for l in 0..LANES {
                    agreement[l] = I::mul_add(gradient[l], output[l], agreement[l]);
                }
            }
            let normaliser = Normaliser {
                max: *lanes(self.normalisers, 2 * tile),
                reciprocal: *lanes(self.normalisers, 2 * tile + 1),
            };
            for (i, block) in blocks.clone().enumerate() {
                self.block(set, [i, block], &normaliser, &agreement);
            }
            let scratch = &*self.scratch;
            let gradient = &mut self.query_gradient[queries];
            mix(
                set,
                call,
                blocks,
                &scratch.key,
                scratch.width,
                &scratch.scores,
                &[scale; LANES],
                gradient,
            );
        }
        for token in 0..call.n_keys {
            let row = token * self.scratch.width..token * self.scratch.width + d_head;
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
        normaliser: &Normaliser,
        agreement: &Lanes,
    ) {
        let (call, scratch) = (self.call, &mut *self.scratch);
        let additive = call.additive(self.pair.head);
        let (width, block_of_keys) = (scratch.width, call.tiles.blocks()[block]);
        let keys = scratch.block(&scratch.key, block_of_keys);
        let mut weights = product(set, keys, width, &scratch.query.columns, call.d_head);
        for (m, weights) in weights.iter_mut().enumerate() {
            add_mask(weights, lanes(additive, block * ROWS + m));
            *weights = exp::<I>(&std::array::from_fn(|l| weights[l] - normaliser.max[l]));
            for l in 0..LANES {
                weights[l] *= normaliser.reciprocal[l];
            }
        }
        let values = scratch.block(&scratch.value, block_of_keys);
        let mut gradients = product(
            set,
            values,
            width,
            &scratch.output_gradient.columns,
            call.d_head,
        );
        for m in 0..ROWS {
            for l in 0..LANES {
                gradients[m][l] = weights[m][l] * (gradients[m][l] - agreement[l]);
            }
            *lanes_mut(&mut scratch.scores, i * ROWS + m) = gradients[m];
        }
        if let Some(bias_gradient) = &mut self.bias_gradient {
            for (m, gradients) in gradients.iter().enumerate() {
                let sum = lanes_mut(bias_gradient, block * ROWS + m);
                for l in 0..LANES {
                    sum[l] += gradients[l];
                }
            }
        }
        let first = block_of_keys * ROWS * width;
        add_product(
            set,
            &mut scratch.value_gradient[first..],
            &weights,
            &scratch.output_gradient.rows,
            width,
        );
        add_product(
            set,
            &mut scratch.key_gradient[first..],
            &gradients,
            &scratch.query.rows,
            width,
        );
    }
}

/// Adds mask and bias; a blocked score is minus infinity even where it was NaN.
#[inline(always)]
fn add_mask(scores: &mut Lanes, additive: &Lanes) {
    for l in 0..LANES {
        let sum = scores[l] + additive[l];
        scores[l] = if additive[l] == f32::NEG_INFINITY {
            additive[l]
        } else {
            sum
        };
    }
}

/// `rows += weights x tile`: `[ROWS, width] += [ROWS, LANES] x [LANES, width]`.
#[inline(always)]
fn add_product<I: Instructions>(
    set: I,
    rows: &mut [f32],
    weights: &[Lanes; ROWS],
    tile: &[f32],
    width: usize,
) {
    let n = width / LANES; // vectors in a row
    for c in 0..n {
        let mut sum: [I::Vector; ROWS] = std::array::from_fn(|m| set.load(lanes(rows, m * n + c)));
        for lane in 0..LANES {
            add_outer(
                set,
                &mut sum,
                std::array::from_fn(|m| weights[m][lane]),
                lanes(tile, lane * n + c),
            );
        }
        for (m, sum) in sum.iter().enumerate() {
            *lanes_mut(rows, m * n + c) = set.store(*sum);
        }
    }
}

/// `output = factor * rows' x weights`, written query by query.
///
/// - `rows`: `[keys, width]`; `weights`: `[keys of the blocks, LANES]`; `output`: `[queries][d_head]`
#[inline(always)]
fn mix<I: Instructions>(
    set: I,
    call: &Call,
    blocks: std::ops::Range<usize>,
    rows: &[f32],
    width: usize,
    weights: &[f32],
    factor: &Lanes,
    output: &mut [&mut [f32]],
) {
    for first in (0..call.d_head).step_by(ROWS) {
        let mut sum = [set.load(&[0.0; LANES]); ROWS];
        for (block, weights) in call.tiles.blocks()[blocks.clone()]
            .iter()
            .zip(weights.as_chunks::<BLOCK>().0)
        {
            for (r, weights) in weights.as_chunks::<LANES>().0.iter().enumerate() {
                let row = &rows[(block * ROWS + r) * width + first..];
                let row: &[f32; ROWS] =
                    row.first_chunk().expect("rows are padded to whole vectors");
                add_outer(set, &mut sum, *row, weights);
            }
        }
        let sum = sum.map(|sum| set.store(sum));
        let n = ROWS.min(call.d_head - first);
        for (lane, row) in output.iter_mut().enumerate() {
            for (m, x) in row[first..first + n].iter_mut().enumerate() {
                *x = sum[m][lane] * factor[lane];
            }
        }
    }
}
