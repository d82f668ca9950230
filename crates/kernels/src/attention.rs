//! Softmax attention with a mask and an additive bias.

use crate::autodiff::{Kept, tracked};
use crate::blocked::Blocked;
use crate::fused::{Inputs, Output};
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Tensor, TensorData};

/// Attends from queries to keys: `softmax(q k^T / sqrt(d) + bias, blocked pairs left out) v`
/// (Vaswani 2017, eq. 1).
///
/// A query that may see no key gives zeros, and no gradient flows through it. What a blocked key
/// holds does not change a bit of the result, as long as it is finite.
///
/// - `query`: `[batch, heads, n_queries, d_head]`
/// - `key`, `value`: `[batch, heads, n_keys, d_head]`
/// - `blocked`: `[n_queries, n_keys]`, the same for all samples and heads
/// - `bias`: `[heads, n_biases]`, added to the scores of the pairs that `blocked` says; its gradient is
///   summed over the batch
/// - returns `[batch, heads, n_queries, d_head]`; on `flex` it lies in memory such that
///   `swap_dims(1, 2)` and a `reshape` that joins the heads copy nothing
///
/// On Burn's `flex` backend with `f32` numbers, with and without autodiff, this is one fused
/// operator whose results do not depend on the number of threads. All else takes the same equation
/// in Burn's own operators, whose gradients agree up to rounding.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use suffuse_kernels::{Blocked, masked_attention};
///
/// let device = Device::flex();
/// let query = Tensor::<4>::from_data([[[[1.0], [2.0]]]], &device); // one sample, one head, d_head 1
/// let value = Tensor::<4>::from_data([[[[10.0], [20.0]]]], &device);
/// let blocked = Blocked::new(&[false, true, true, true], 2, 2); // query 0 sees key 0 alone
/// let mixed = masked_attention(query.clone(), query, value, &blocked, None);
/// assert_eq!(mixed.into_data().try_to_vec::<f32>().unwrap(), [10.0, 0.0]);
/// ```
///
/// # Panics
/// When the shapes do not fit each other.
pub fn masked_attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    blocked: &Blocked,
    bias: Option<Tensor<2>>,
) -> Tensor<4> {
    let [batch, n_heads, n_queries, d_head] = query.dims();
    let [n_queries_blocked, n_keys] = blocked.dims();
    assert_eq!(
        n_queries, n_queries_blocked,
        "queries of the tensor and of the mask"
    );
    assert_eq!(
        key.dims(),
        [batch, n_heads, n_keys, d_head],
        "shape of the keys: [batch, heads, keys, d_head]"
    );
    assert_eq!(
        value.dims(),
        key.dims(),
        "shape of the values: that of the keys"
    );
    if let Some(bias) = &bias {
        let [n_heads_biased, n_biases] = bias.dims();
        assert_eq!(n_heads_biased, n_heads, "heads of the bias");
        let n_needed = blocked.tiles().n_biases();
        assert!(n_biases >= n_needed, "{n_biases} biases, {n_needed} needed");
    }
    let is_fused = crate::is_fused(&[&query, &key, &value])
        && bias.as_ref().is_none_or(|b| crate::is_fused(&[b]));
    if !is_fused {
        return composed(query, key, value, blocked, bias);
    }
    let (query, key, value) = (
        query.into_dispatch(),
        key.into_dispatch(),
        value.into_dispatch(),
    );
    let blocked = blocked.clone();
    Tensor::from_dispatch(match bias {
        None => <Dispatch as MaskedAttention>::unbiased(query, key, value, blocked),
        Some(bias) => {
            <Dispatch as MaskedAttention>::biased(query, key, value, bias.into_dispatch(), blocked)
        }
    })
}

/// The same in Burn's operators.
fn composed(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    blocked: &Blocked,
    bias: Option<Tensor<2>>,
) -> Tensor<4> {
    let [batch, n_heads, n_queries, d_head] = query.dims();
    let [_, n_keys] = blocked.dims();
    let shape = [batch, n_heads, n_queries, n_keys];
    let mask = TensorData::new(blocked.pairs().to_vec(), [1, 1, n_queries, n_keys]);
    let mask = Tensor::<4, Bool>::from_data(mask, &query.device().inner()).expand(shape);
    let mut scores = query
        .mul_scalar(1.0 / (d_head as f64).sqrt())
        .matmul(key.swap_dims(2, 3));
    if let Some(bias) = bias {
        scores = scores + blocked.biases(bias).unsqueeze::<4>();
    }
    // A finite number keeps rows without an open key free of NaN; the second fill empties them.
    let weights = softmax(scores.mask_fill(mask.clone(), -1e9), 3).mask_fill(mask, 0.0);
    weights.matmul(value)
}

/// The fused operator of each backend that has one. Two functions, since an extension takes no
/// optional tensor.
#[backend_extension(Flex, Autodiff)]
trait MaskedAttention: Backend {
    fn unbiased(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        blocked: Blocked,
    ) -> FloatTensor<Self>;

    fn biased(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        blocked: Blocked,
    ) -> FloatTensor<Self>;
}

impl MaskedAttention for Flex {
    fn unbiased(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        blocked: Blocked,
    ) -> FlexTensor {
        Inputs {
            query,
            key,
            value,
            bias: None,
            blocked,
        }
        .forward()
        .output
    }

    fn biased(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        bias: FlexTensor,
        blocked: Blocked,
    ) -> FlexTensor {
        Inputs {
            query,
            key,
            value,
            bias: Some(bias),
            blocked,
        }
        .forward()
        .output
    }
}

impl<C: CheckpointStrategy> MaskedAttention for Autodiff<Flex, C> {
    fn unbiased(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        blocked: Blocked,
    ) -> FloatTensor<Self> {
        let (query, query_node) = query.into_parts();
        let (key, key_node) = key.into_parts();
        let (value, value_node) = value.into_parts();
        let inputs = Inputs {
            query,
            key,
            value,
            bias: None,
            blocked,
        };
        tracked::<C, 3, _>([query_node, key_node, value_node], forward(inputs))
    }

    fn biased(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        blocked: Blocked,
    ) -> FloatTensor<Self> {
        let (query, query_node) = query.into_parts();
        let (key, key_node) = key.into_parts();
        let (value, value_node) = value.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let inputs = Inputs {
            query,
            key,
            value,
            bias: Some(bias),
            blocked,
        };
        tracked::<C, 4, _>(
            [query_node, key_node, value_node, bias_node],
            forward(inputs),
        )
    }
}

/// Inputs and result of the forward pass.
type State = (Inputs, Output);

fn forward(inputs: Inputs) -> (FlexTensor, State) {
    let output = inputs.forward();
    (output.output.clone(), (inputs, output))
}

impl Kept<3> for State {
    fn gradients(&self, output: FlexTensor, _wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (inputs, forward) = self;
        let gradients = inputs.backward(forward, &output);
        [gradients.query, gradients.key, gradients.value].map(Some)
    }
}

impl Kept<4> for State {
    fn gradients(&self, output: FlexTensor, _wanted: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let (inputs, forward) = self;
        let gradients = inputs.backward(forward, &output);
        let [query, key, value] = [gradients.query, gradients.key, gradients.value].map(Some);
        [query, key, value, gradients.bias]
    }
}
