//! The operators other than attention, against PyTorch, Burn's own operators, and themselves.

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use suffuse_kernels::{
    Activation, conv3x3, doubled, gated_residual, group_norm_silu, halved, linear, mlp,
    modulated_layer_norm,
};

/// Output and gradients, flat.
type Results = Vec<Vec<f64>>;

/// Every operator here and how many sizes it takes.
const OPERATORS: [(&str, usize); 10] = [
    ("norm", 3),
    ("linear", 3),
    ("silu", 4),
    ("gelu", 4),
    ("gelu_tanh", 4),
    ("gate", 3),
    ("group_norm", 4),
    ("conv", 6),
    ("halved", 4),
    ("doubled", 4),
];

/// How inputs are made: their type, and whether they lie in memory in another order.
#[derive(Clone, Copy)]
struct Kind {
    dtype: DType,
    is_turned: bool,
}

const SINGLE: Kind = Kind {
    dtype: DType::F32,
    is_turned: false,
};
/// Takes the composition of Burn's operators, in double precision.
const DOUBLE: Kind = Kind {
    dtype: DType::F64,
    is_turned: false,
};

/// `2 sin(1 + 0.7 index + 0.37 k)`, as in parity/kernels/layers.py.
fn sines<const D: usize>(kind: Kind, index: f64, shape: [usize; D]) -> Tensor<D> {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n)
        .map(|k| (2.0 * (1.0 + 0.7 * index + 0.37 * k as f64).sin()) as f32)
        .collect();
    let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
        .cast(kind.dtype);
    if kind.is_turned {
        // The same numbers with the last axis slowest in memory.
        let mut there: [usize; D] = std::array::from_fn(|i| i);
        there.rotate_right(1);
        let mut back: [usize; D] = std::array::from_fn(|i| i);
        back.rotate_left(1);
        let shape = there.map(|axis| tensor.dims()[axis]);
        let copy = tensor.permute(there.map(|axis| axis as isize)).into_data();
        let copy = Tensor::<D>::from_data(copy, &Device::flex().autodiff());
        assert_eq!(copy.dims(), shape);
        return copy.permute(back.map(|axis| axis as isize));
    }
    tensor
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data = tensor.cast(DType::F64).into_data();
    data.try_to_vec().expect("numbers of type f64")
}

/// A tensor of any rank whose gradient is asked for.
trait Leaf {
    fn gradient(&self, gradients: &Gradients) -> Vec<f64>;
}

impl<const D: usize> Leaf for Tensor<D> {
    fn gradient(&self, gradients: &Gradients) -> Vec<f64> {
        flat(self.grad(gradients).expect("a gradient was asked for"))
    }
}

fn results<const D: usize>(kind: Kind, output: Tensor<D>, leaves: &[&dyn Leaf]) -> Results {
    assert_eq!(output.dtype(), kind.dtype);
    let loss = (output.clone() * sines(kind, 9.0, output.dims())).sum();
    let gradients = loss.backward();
    let mut results = vec![flat(output)];
    results.extend(leaves.iter().map(|leaf| leaf.gradient(&gradients)));
    results
}

/// Output and gradients of an operator on inputs of these sizes.
fn run(operator: &str, sizes: &[usize], kind: Kind) -> Results {
    fn leaf<const D: usize>(kind: Kind, index: usize, shape: [usize; D]) -> Tensor<D> {
        sines(kind, index as f64, shape).require_grad()
    }
    match (operator, sizes) {
        ("norm" | "gate", &[batch, tokens, width]) => {
            let x = leaf(kind, 0, [batch, tokens, width]);
            let of_sample = [batch, 1, width];
            let last = leaf(kind, 2, of_sample);
            if operator == "norm" {
                let shift = leaf(kind, 1, of_sample);
                let output = modulated_layer_norm(x.clone(), shift.clone(), last.clone());
                results(kind, output, &[&x, &shift, &last])
            } else {
                let y = leaf(kind, 1, [batch, tokens, width]);
                let output = gated_residual(x.clone(), y.clone(), last.clone());
                results(kind, output, &[&x, &y, &last])
            }
        }
        ("linear", &[rows, n_inputs, n_outputs]) => {
            let (x, weight) = (leaf(kind, 0, [rows, n_inputs]), [n_inputs, n_outputs]);
            let (weight, bias) = (leaf(kind, 1, weight), leaf(kind, 2, [n_outputs]));
            let output = linear(x.clone(), weight.clone(), bias.clone());
            results(kind, output, &[&x, &weight, &bias])
        }
        ("silu" | "gelu" | "gelu_tanh", &[rows, n_inputs, n_hidden, n_outputs]) => {
            let activation = match operator {
                "silu" => Activation::Silu,
                "gelu" => Activation::Gelu,
                _ => Activation::GeluTanh,
            };
            let x = leaf(kind, 0, [rows, n_inputs]);
            let (v, a) = (
                leaf(kind, 1, [n_inputs, n_hidden]),
                leaf(kind, 2, [n_hidden]),
            );
            let (w, b) = (
                leaf(kind, 3, [n_hidden, n_outputs]),
                leaf(kind, 4, [n_outputs]),
            );
            let (inner, outer) = ((v.clone(), a.clone()), (w.clone(), b.clone()));
            let output = mlp(x.clone(), inner, outer, activation);
            results(kind, output, &[&x, &v, &a, &w, &b])
        }
        ("group_norm", &[batch, tokens, channels, groups]) => {
            let x = leaf(kind, 0, [batch, tokens, channels]);
            let (gain, shift) = (leaf(kind, 1, [channels]), leaf(kind, 2, [channels]));
            let output = group_norm_silu(x.clone(), gain.clone(), shift.clone(), groups);
            results(kind, output, &[&x, &gain, &shift])
        }
        ("conv", &[batch, height, width, n_inputs, n_outputs, n_biases]) => {
            let x = leaf(kind, 0, [batch, height, width, n_inputs]);
            let weight = leaf(kind, 1, [9 * n_inputs, n_outputs]);
            let bias = leaf(kind, 2, [n_biases, n_outputs]);
            let output = conv3x3(x.clone(), weight.clone(), bias.clone());
            results(kind, output, &[&x, &weight, &bias])
        }
        ("halved" | "doubled", &[batch, height, width, channels]) => {
            let x = leaf(kind, 0, [batch, height, width, channels]);
            let resample = if operator == "halved" {
                halved
            } else {
                doubled
            };
            results(kind, resample(x.clone()), &[&x])
        }
        _ => panic!("{operator} of sizes {sizes:?}"),
    }
}

/// Sizes at random: ones, odd numbers, numbers just beside whole vectors and pieces.
fn random_sizes(operator: &str, n: usize, rng: &mut impl RngExt) -> Vec<usize> {
    const SIZES: [usize; 12] = [1, 1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 48];
    let mut sizes: Vec<usize> = (0..n)
        .map(|_| SIZES[rng.random_range(0..SIZES.len())])
        .collect();
    match operator {
        // Rows beyond one piece, and beyond one partial sum.
        "linear" | "silu" | "gelu" | "gelu_tanh" => {
            sizes[0] = [1, 2, 127, 128, 129, 700, 1100][rng.random_range(0..7)];
        }
        "norm" => sizes[2] += 2, // one number has no direction, two have two
        "group_norm" => {
            let n_groups = [1, 2, 5][rng.random_range(0..3)];
            (sizes[1], sizes[2], sizes[3]) = (sizes[1] + 2, sizes[2] * n_groups, n_groups);
        }
        "conv" => {
            sizes[0] = rng.random_range(1..7);
            sizes[5] = [1, sizes[0]][rng.random_range(0..2)];
        }
        "halved" => (sizes[1], sizes[2]) = (2 * sizes[1], 2 * sizes[2]),
        _ => {}
    }
    sizes
}

/// Compares each number with the size of its whole array: sums of many numbers may cancel.
fn assert_close(found: &Results, expected: &Results, tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}, result {i}");
        let largest = expected.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let error = (found - expected).abs();
            assert!(
                error <= tolerance * largest,
                "{what}, result {i}: {found} against {expected}"
            );
        }
    }
}

#[test]
fn values_and_gradients_agree_with_pytorch() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../../parity/kernels/layers.json")).unwrap();
    for case in golden.as_array().unwrap() {
        let operator = case["operator"].as_str().unwrap();
        let sizes: Vec<usize> = serde_json::from_value(case["sizes"].clone()).unwrap();
        let expected: Results = serde_json::from_value(case["results"].clone()).unwrap();
        let what = format!("{operator} {sizes:?}");
        // Two numbers normalise to +-1 whatever they are: their gradients are differences of
        // nearly equal numbers.
        let is_pair = sizes == [1, 1, 2] || sizes == [1, 2, 1, 1];
        let tolerance = if is_pair { 2e-4 } else { 5e-5 };
        assert_close(&run(operator, &sizes, SINGLE), &expected, tolerance, &what);
        // The composition of Burn's operators in double precision, which the next test relies on. Its
        // approximation of the error function is coarser than that.
        let tolerance = if operator == "gelu" { 1e-6 } else { 1e-8 };
        assert_close(&run(operator, &sizes, DOUBLE), &expected, tolerance, &what);
    }
}

#[test]
fn values_and_gradients_agree_with_burns_own_operators_at_random_sizes() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    for (operator, n) in OPERATORS {
        for _ in 0..25 {
            let sizes = random_sizes(operator, n, &mut rng);
            let what = format!("{operator} {sizes:?}");
            let expected = run(operator, &sizes, DOUBLE);
            assert_close(&run(operator, &sizes, SINGLE), &expected, 5e-5, &what);
        }
    }
}

#[test]
fn inputs_in_any_order_in_memory_give_the_same() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    for (operator, n) in OPERATORS {
        for _ in 0..5 {
            let sizes = random_sizes(operator, n, &mut rng);
            let what = format!("{operator} {sizes:?}");
            let turned = Kind {
                is_turned: true,
                ..SINGLE
            };
            let expected = run(operator, &sizes, SINGLE);
            assert_close(&run(operator, &sizes, turned), &expected, 1e-5, &what);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let all = || {
        [
            run("norm", &[5, 40, 33], SINGLE),
            run("linear", &[1300, 19, 33], SINGLE),
            run("gelu", &[1300, 7, 33, 5], SINGLE),
            run("gate", &[5, 40, 33], SINGLE),
            run("group_norm", &[5, 40, 34, 2], SINGLE),
            run("conv", &[5, 30, 17, 9, 18, 5], SINGLE),
            run("conv", &[9, 8, 8, 9, 18, 1], SINGLE),
            run("halved", &[3, 8, 6, 5], SINGLE),
            run("doubled", &[3, 8, 6, 5], SINGLE),
        ]
    };
    let with_threads = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build();
        pool.unwrap().install(all)
    };
    let one = with_threads(1);
    for n in [2, 3] {
        assert_eq!(with_threads(n), one, "{n} threads");
    }
}

#[test]
fn autodiff_changes_no_bit() {
    let [x, weight] = [sines(SINGLE, 0.0, [300, 20]), sines(SINGLE, 1.0, [20, 20])];
    let bias = sines(SINGLE, 2.0, [20]);
    let outputs = |x: Tensor<2>, w: Tensor<2>, b: Tensor<1>| {
        let image = x.clone().reshape([2, 15, 10, 20]);
        let tokens = x.clone().reshape([2, 150, 20]);
        let affine = (w.clone(), b.clone());
        let turned = w.clone().slice([0..2, 0..20]).reshape([2, 1, 20]);
        let kernel = Tensor::cat(vec![w.clone(); 9], 0);
        [
            flat(linear(x.clone(), w.clone(), b.clone())),
            flat(mlp(x, affine.clone(), affine, Activation::GeluTanh)),
            flat(conv3x3(image.clone(), kernel, b.clone().unsqueeze())),
            flat(group_norm_silu(tokens.clone(), b.clone(), b, 4)),
            flat(gated_residual(
                tokens.clone(),
                tokens.clone(),
                turned.clone(),
            )),
            flat(modulated_layer_norm(tokens, turned.clone(), turned)),
            flat(doubled(image)),
        ]
    };
    let with = outputs(x.clone(), weight.clone(), bias.clone());
    assert_eq!(outputs(x.inner(), weight.inner(), bias.inner()), with);
}

#[test]
fn no_rows_and_a_constant_row_give_what_they_should() {
    let device = Device::flex();
    let empty = Tensor::<2>::zeros([0, 3], &device);
    let (weight, bias) = (
        Tensor::<2>::ones([3, 2], &device),
        Tensor::<1>::ones([2], &device),
    );
    assert_eq!(linear(empty, weight, bias).dims(), [0, 2]);
    // A constant row has variance 0: the shift remains.
    let x = Tensor::full([1, 2, 4], 3.0, &device);
    let one = [1, 1, 4];
    let output = modulated_layer_norm(
        x.clone(),
        Tensor::full(one, 7.0, &device),
        Tensor::ones(one, &device),
    );
    assert_eq!(flat(output), [7.0; 8]);
    let (gain, shift) = (Tensor::ones([4], &device), Tensor::full([4], 7.0, &device));
    let expected = 7.0 / (1.0 + (-7.0_f64).exp());
    for y in flat(group_norm_silu(x, gain, shift, 2)) {
        assert!((y - expected).abs() < 1e-6);
    }
}
