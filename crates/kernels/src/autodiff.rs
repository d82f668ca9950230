//! How a fused operator enters Burn's autodiff.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Bytes, DType, Shape};
use std::fmt::Debug;
use std::marker::PhantomData;

/// What an operator with `N` inputs keeps for its backward pass.
pub(crate) trait Kept<const N: usize>: Debug + Clone + Send + 'static {
    /// Gradients of the inputs that are `wanted`, given that of the output.
    fn gradients(&self, output: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];
}

/// Registers the backward step of an operator where a gradient is wanted.
pub(crate) fn tracked<C: CheckpointStrategy, const N: usize, K: Kept<N>>(
    nodes: [NodeGuard; N],
    (output, kept): (FlexTensor, K),
) -> FloatTensor<Autodiff<Flex, C>> {
    let step = Step(PhantomData::<K>);
    match step.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(kept, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

#[derive(Debug, Clone)]
struct Step<K>(PhantomData<K>);

impl<const N: usize, K: Kept<N>> Backward<Flex, N> for Step<K> {
    type State = K;

    fn backward(self, ops: Ops<K, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let output = grads.consume::<Flex>(&ops.node);
        let nodes: [Option<NodeId>; N] = ops.parents.map(|parent| parent.map(|node| node.id));
        let gradients = ops
            .state
            .gradients(output, nodes.map(|node| node.is_some()));
        for (node, gradient) in nodes.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node, gradient);
            }
        }
    }
}

/// A tensor of row-major numbers.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    let layout = Layout::contiguous(shape.into());
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}
