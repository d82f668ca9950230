//! The operators that work row by row, against PyTorch, Burn's own operators, and themselves.

use burn::tensor::activation::silu;
use burn::tensor::{DType, Device, Tensor, TensorData};
use suffuse_kernels::{biased_silu, modulated_layer_norm};

/// Output and gradients, flat.
type Results = Vec<Vec<f32>>;

/// `2 sin(1 + 0.7 index + 0.37 k)`, as in parity/kernels/rows.py.
fn sines<const D: usize>(index: f64, shape: [usize; D]) -> Tensor<D> {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n)
        .map(|k| (2.0 * (1.0 + 0.7 * index + 0.37 * k as f64).sin()) as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.cast(DType::F32).into_data();
    data.try_to_vec().expect("numbers of type f32")
}

/// Results of `f` on the inputs of a layer norm.
fn norm_results(
    [batch, tokens, width]: [usize; 3],
    f: impl Fn(Tensor<3>, Tensor<3>, Tensor<3>) -> Tensor<3>,
) -> Results {
    let inputs = [
        sines(0.0, [batch, tokens, width]),
        sines(1.0, [batch, 1, width]),
        sines(2.0, [batch, 1, width]),
    ]
    .map(Tensor::require_grad);
    let [x, shift, scale] = inputs.clone();
    let output = f(x, shift, scale);
    let gradients = (output.clone() * sines(9.0, output.dims()))
        .sum()
        .backward();
    let mut results = vec![flat(output)];
    results.extend(inputs.map(|x| flat(x.grad(&gradients).expect("a gradient was asked for"))));
    results
}

/// Results of `f` on the inputs of a SiLU.
fn silu_results(
    [rows, width]: [usize; 2],
    f: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2>,
) -> Results {
    let x = sines(0.0, [rows, width]).require_grad();
    let bias = sines(1.0, [width]).require_grad();
    let output = f(x.clone(), bias.clone());
    let gradients = (output.clone() * sines(9.0, [rows, width]))
        .sum()
        .backward();
    let of_bias = bias.grad(&gradients).expect("a gradient was asked for");
    let of_x = x.grad(&gradients).expect("a gradient was asked for");
    vec![flat(output), flat(of_x), flat(of_bias)]
}

fn assert_close(found: &Results, expected: &Results, tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}, result {i}");
        for (found, expected) in found.iter().zip(expected) {
            let error = (found - expected).abs();
            assert!(
                error <= tolerance * (1.0 + expected.abs()),
                "{what}, result {i}: {found} against {expected}"
            );
        }
    }
}

fn plain_norm(x: Tensor<3>, shift: Tensor<3>, scale: Tensor<3>) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(2);
    let variance = (centred.clone() * centred.clone()).mean_dim(2);
    centred / (variance + 1e-5).sqrt() * (scale + 1.0) + shift
}

fn plain_silu(x: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    silu(x + bias.unsqueeze())
}

#[test]
fn values_and_gradients_agree_with_pytorch() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../../parity/kernels/rows.json")).unwrap();
    for case in golden.as_array().unwrap() {
        let results: Results = serde_json::from_value(case["results"].clone()).unwrap();
        let shape: Vec<usize> = serde_json::from_value(case["shape"].clone()).unwrap();
        let found = match shape[..] {
            [batch, tokens, width] => norm_results([batch, tokens, width], modulated_layer_norm),
            [rows, width] => silu_results([rows, width], biased_silu),
            _ => panic!("a shape of two or three axes"),
        };
        // Two numbers normalise to +-1 whatever they are: their gradients are differences of
        // nearly equal numbers.
        let tolerance = if shape.last() == Some(&2) { 2e-4 } else { 1e-5 };
        assert_close(&found, &results, tolerance, &format!("{shape:?}"));
    }
}

#[test]
fn values_and_gradients_agree_with_burns_own_operators() {
    for shape in [[1, 1, 3], [3, 1, 64], [2, 300, 17], [4, 9, 130]] {
        let (found, expected) = (
            norm_results(shape, modulated_layer_norm),
            norm_results(shape, plain_norm),
        );
        assert_close(&found, &expected, 5e-5, &format!("norm {shape:?}"));
    }
    for shape in [[1, 1], [1000, 1], [255, 16], [256, 33], [700, 48]] {
        let (found, expected) = (
            silu_results(shape, biased_silu),
            silu_results(shape, plain_silu),
        );
        assert_close(&found, &expected, 5e-5, &format!("silu {shape:?}"));
    }
}

#[test]
fn doubles_take_burns_own_operators_and_agree() {
    let single = norm_results([2, 5, 19], modulated_layer_norm).remove(0);
    let double = |x: Tensor<3>| x.cast(DType::F64);
    let [x, shift, scale] = [[2, 5, 19], [2, 1, 19], [2, 1, 19]];
    let output = modulated_layer_norm(
        double(sines(0.0, x)),
        double(sines(1.0, shift)),
        double(sines(2.0, scale)),
    );
    assert_eq!(output.dtype(), DType::F64);
    assert_close(&vec![flat(output)], &vec![single], 5e-6, "norm");
    let single = silu_results([7, 21], biased_silu).remove(0);
    let output = biased_silu(
        sines(0.0, [7, 21]).cast(DType::F64),
        sines(1.0, [21]).cast(DType::F64),
    );
    assert_eq!(output.dtype(), DType::F64);
    assert_close(&vec![flat(output)], &vec![single], 5e-6, "silu");
}

#[test]
fn transposed_inputs_are_read_where_they_lie() {
    let shape = [3, 6, 6];
    let turned = |x: Tensor<3>| x.swap_dims(1, 2);
    let found = norm_results(shape, |x, a, b| modulated_layer_norm(turned(x), a, b));
    let expected = norm_results(shape, |x, a, b| plain_norm(turned(x), a, b));
    assert_close(&found, &expected, 5e-5, "norm");
    let found = silu_results([6, 6], |x, b| biased_silu(x.transpose(), b));
    let expected = silu_results([6, 6], |x, b| plain_silu(x.transpose(), b));
    assert_close(&found, &expected, 5e-5, "silu");
}

#[test]
fn threads_and_autodiff_change_no_bit() {
    let all = || {
        [
            norm_results([5, 40, 33], modulated_layer_norm),
            silu_results([900, 33], biased_silu),
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
    let [x, shift, scale] = [
        sines(0.0, [5, 40, 33]),
        sines(1.0, [5, 1, 33]),
        sines(2.0, [5, 1, 33]),
    ]
    .map(Tensor::inner);
    assert_eq!(flat(modulated_layer_norm(x, shift, scale)), one[0][0]);
    let (x, bias) = (sines(0.0, [900, 33]).inner(), sines(1.0, [33]).inner());
    assert_eq!(flat(biased_silu(x, bias)), one[1][0]);
}

#[test]
fn extreme_and_missing_numbers_give_what_they_should() {
    let x = Tensor::<2>::from_data(
        [[-1e30, -100.0, 0.0, 100.0, 1e30, f32::NAN]],
        &Device::flex(),
    );
    let output = flat(biased_silu(x, Tensor::zeros([6], &Device::flex())));
    assert!(output[0].abs() < 1e-7 && output[1].abs() < 1e-35);
    assert_eq!(output[2..5], [0.0, 100.0, 1e30]);
    assert!(output[5].is_nan());
    // A constant row has variance 0: the shift remains.
    let (x, one) = (Tensor::full([1, 2, 4], 3.0, &Device::flex()), [1, 1, 4]);
    let output = modulated_layer_norm(
        x,
        Tensor::full(one, 7.0, &Device::flex()),
        Tensor::ones(one, &Device::flex()),
    );
    assert_eq!(flat(output), [7.0; 8]);
}
