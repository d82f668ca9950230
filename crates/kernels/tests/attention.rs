//! Fused attention against Burn's own operators, against PyTorch, and against itself.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use suffuse_kernels::{Blocked, NO_BIAS, masked_attention};

/// Sizes of a case.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    n_heads: usize,
    n_queries: usize,
    n_keys: usize,
    d_head: usize,
}

/// Inputs of a case, and what the output is weighted with to give a loss.
#[derive(Clone)]
struct Case {
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<2>>,
    blocked: Blocked,
    weight: Tensor<4>,
}

/// Output and gradients, flat.
type Results = Vec<Vec<f32>>;

/// Numbers in -1..1 from a fixed sequence (SplitMix64, Steele 2014).
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn tensor<const D: usize>(seed: u64, shape: [usize; D], amplitude: f32) -> Tensor<D> {
    let data = numbers(seed, shape.iter().product())
        .into_iter()
        .map(|x| amplitude * x)
        .collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(data, shape), &Device::flex().autodiff())
}

/// A tensor as a model gives it: joined heads, cut by `reshape` and `swap_dims`.
fn by_head(seed: u64, sizes: Sizes, n_tokens: usize) -> Tensor<4> {
    let joined = tensor(
        seed,
        [sizes.batch, n_tokens, sizes.n_heads * sizes.d_head],
        2.0,
    );
    joined
        .reshape([sizes.batch, n_tokens, sizes.n_heads, sizes.d_head])
        .swap_dims(1, 2)
}

fn masks(sizes: Sizes) -> Vec<Vec<bool>> {
    let Sizes {
        n_queries, n_keys, ..
    } = sizes;
    let random: Vec<bool> = numbers(9, n_queries * n_keys)
        .iter()
        .map(|x| *x < 0.2)
        .collect();
    let causal = |pair: usize| pair % n_keys > pair / n_keys;
    let mut rows = random.clone(); // every third query sees no key
    rows.iter_mut()
        .enumerate()
        .for_each(|(pair, x)| *x |= (pair / n_keys).is_multiple_of(3));
    let none = vec![false; n_queries * n_keys];
    vec![
        none,
        (0..n_queries * n_keys).map(causal).collect(),
        random,
        rows,
        vec![true; n_queries * n_keys],
    ]
}

fn case(sizes: Sizes, mask: Vec<bool>, with_bias: bool) -> Case {
    let Sizes {
        batch,
        n_heads,
        n_queries,
        n_keys,
        d_head,
    } = sizes;
    Case {
        query: by_head(1, sizes, n_queries).detach().require_grad(),
        key: by_head(2, sizes, n_keys).detach().require_grad(),
        value: by_head(3, sizes, n_keys).detach().require_grad(),
        bias: with_bias.then(|| tensor(4, [n_heads, n_queries * n_keys], 1.0).require_grad()),
        blocked: Blocked::new(&mask, n_queries, n_keys),
        weight: tensor(5, [batch, n_heads, n_queries, d_head], 1.0),
    }
}

fn results(case: &Case, output: Tensor<4>) -> Results {
    let gradients = (output.clone() * case.weight.clone()).sum().backward();
    let flat = |data: TensorData| data.try_to_vec::<f32>().expect("numbers of type f32");
    let mut results = vec![flat(output.into_data())];
    for input in [&case.query, &case.key, &case.value] {
        results.push(flat(
            input
                .grad(&gradients)
                .expect("a gradient was asked for")
                .into_data(),
        ));
    }
    if let Some(bias) = &case.bias {
        results.push(flat(
            bias.grad(&gradients)
                .expect("a gradient was asked for")
                .into_data(),
        ));
    }
    results
}

fn fused(case: &Case) -> Results {
    let Case {
        query,
        key,
        value,
        bias,
        blocked,
        ..
    } = case.clone();
    results(case, masked_attention(query, key, value, &blocked, bias))
}

/// The equation in Burn's operators, with zeros where a query sees no key.
fn plain(case: &Case) -> Results {
    let Case {
        query,
        key,
        value,
        bias,
        blocked,
        ..
    } = case.clone();
    let [batch, n_heads, n_queries, d_head] = query.dims();
    let [_, n_keys] = blocked.dims();
    let mask = TensorData::new(blocked.pairs().to_vec(), [1, 1, n_queries, n_keys]);
    let mask = Tensor::<4, Bool>::from_data(mask, &Device::flex())
        .expand([batch, n_heads, n_queries, n_keys]);
    let mut scores = query
        .matmul(key.swap_dims(2, 3))
        .div_scalar((d_head as f64).sqrt());
    if let Some(bias) = bias {
        scores = scores + bias.reshape([1, n_heads, n_queries, n_keys]);
    }
    let weights = softmax(scores.mask_fill(mask.clone(), -1e9), 3).mask_fill(mask, 0.0);
    results(case, weights.matmul(value))
}

fn assert_close(found: &Results, expected: &Results, tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let error = (found - expected).abs();
            assert!(
                error <= tolerance * (1.0 + expected.abs()),
                "{what}, result {i}: {found} against {expected}"
            );
        }
    }
}

const SIZES: [Sizes; 8] = [
    Sizes {
        batch: 1,
        n_heads: 1,
        n_queries: 1,
        n_keys: 1,
        d_head: 1,
    },
    Sizes {
        batch: 1,
        n_heads: 1,
        n_queries: 1,
        n_keys: 9,
        d_head: 3,
    },
    Sizes {
        batch: 2,
        n_heads: 3,
        n_queries: 5,
        n_keys: 7,
        d_head: 4,
    },
    Sizes {
        batch: 3,
        n_heads: 2,
        n_queries: 16,
        n_keys: 8,
        d_head: 16,
    },
    Sizes {
        batch: 2,
        n_heads: 1,
        n_queries: 17,
        n_keys: 33,
        d_head: 17,
    },
    Sizes {
        batch: 5,
        n_heads: 2,
        n_queries: 31,
        n_keys: 1,
        d_head: 8,
    },
    Sizes {
        batch: 9,
        n_heads: 4,
        n_queries: 40,
        n_keys: 61,
        d_head: 16,
    },
    Sizes {
        batch: 1,
        n_heads: 2,
        n_queries: 50,
        n_keys: 130,
        d_head: 40,
    },
];

/// Sizes at random: ones, odd numbers, numbers just beside whole tiles.
fn random_sizes() -> impl Iterator<Item = Sizes> {
    const EDGES: [usize; 10] = [1, 2, 3, 7, 8, 9, 15, 16, 17, 33];
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    (0..25).map(move |_| Sizes {
        batch: rng.random_range(1..6),
        n_heads: rng.random_range(1..5),
        n_queries: EDGES[rng.random_range(0..10)] * rng.random_range(1..3),
        n_keys: EDGES[rng.random_range(0..10)] * rng.random_range(1..4),
        d_head: EDGES[rng.random_range(0..10)],
    })
}

#[test]
fn values_and_gradients_agree_with_burns_own_operators() {
    for sizes in SIZES.into_iter().chain(random_sizes()) {
        for (i, mask) in masks(sizes).into_iter().enumerate() {
            for with_bias in [false, true] {
                let case = case(sizes, mask.clone(), with_bias);
                assert_close(
                    &fused(&case),
                    &plain(&case),
                    2e-5,
                    &format!("{sizes:?}, mask {i}, bias {with_bias}"),
                );
            }
        }
    }
}

#[test]
fn pairs_that_share_a_bias_add_up_its_gradient_and_others_take_none() {
    for sizes in SIZES {
        let [n_queries, n_keys] = [sizes.n_queries, sizes.n_keys];
        let mask = masks(sizes).remove(2);
        let n_biases = 5;
        let index: Vec<u32> = (0..n_queries * n_keys)
            .map(|pair| [NO_BIAS, 0, 3, 2, NO_BIAS, 4][pair * 7 % 6])
            .collect();
        let shared = tensor(4, [sizes.n_heads, n_biases], 1.0).require_grad();
        let few = Case {
            bias: Some(shared.clone()),
            blocked: Blocked::of_open(n_queries, n_keys, |query, open| {
                // Backwards: keys may come in any order.
                for key in (0..n_keys).rev() {
                    let pair = query * n_keys + key;
                    if !mask[pair] {
                        open.push((key as u32, index[pair]));
                    }
                }
            }),
            ..case(sizes, mask.clone(), false)
        };
        // The same biases written out, one for each pair.
        let table = shared.into_data().try_to_vec::<f32>().unwrap();
        let of_pair = |head: usize, pair: usize| match index[pair] {
            NO_BIAS => 0.0,
            index => table[head * n_biases + index as usize],
        };
        let all: Vec<f32> = (0..sizes.n_heads)
            .flat_map(|head| (0..index.len()).map(move |pair| (head, pair)))
            .map(|(head, pair)| of_pair(head, pair))
            .collect();
        let all = TensorData::new(all, [sizes.n_heads, index.len()]);
        let many = Case {
            bias: Some(Tensor::from_data(all, &Device::flex().autodiff()).require_grad()),
            ..case(sizes, mask, false)
        };
        let mut expected = plain(&many);
        let mut sums = vec![0.0; sizes.n_heads * n_biases];
        for (i, gradient) in expected[4].iter().enumerate() {
            let (head, pair) = (i / index.len(), i % index.len());
            if index[pair] != NO_BIAS {
                sums[head * n_biases + index[pair] as usize] += gradient;
            }
        }
        expected[4] = sums;
        assert_close(&fused(&few), &expected, 5e-5, &format!("{sizes:?}"));
        let doubles = |x: Tensor<4>| x.cast(burn::tensor::DType::F64);
        let bias = few
            .bias
            .clone()
            .map(|bias| bias.cast(burn::tensor::DType::F64));
        let composed = masked_attention(
            doubles(few.query.clone()),
            doubles(few.key.clone()),
            doubles(few.value.clone()),
            &few.blocked,
            bias,
        );
        let composed = composed.cast(burn::tensor::DType::F32).into_data();
        let composed = composed.try_to_vec::<f32>().unwrap();
        assert_close(
            &vec![composed],
            &vec![expected.swap_remove(0)],
            2e-5,
            "composed",
        );
    }
}

#[test]
fn a_table_of_no_biases_is_no_bias() {
    let blocked = Blocked::of_open(2, 3, |_, open| {
        open.extend([0, 1, 2].map(|key| (key, NO_BIAS)))
    });
    let none = Tensor::<2>::zeros([4, 0], &Device::flex());
    assert_eq!(
        blocked.biases(none).into_data(),
        TensorData::new(vec![0.0_f32; 24], [4, 2, 3])
    );
}

#[test]
#[should_panic(expected = "5 biases, 6 needed")]
fn too_few_biases_are_refused() {
    let sizes = Sizes {
        batch: 1,
        n_heads: 2,
        n_queries: 2,
        n_keys: 3,
        d_head: 1,
    };
    let case = Case {
        bias: Some(tensor(4, [2, 5], 1.0)),
        ..case(sizes, vec![false; 6], false)
    };
    fused(&case);
}

#[test]
fn doubles_take_burns_own_operators() {
    let sizes = SIZES[2];
    let case = case(sizes, masks(sizes).remove(3), true);
    let double = |x: &Tensor<4>| x.clone().cast(burn::tensor::DType::F64);
    let bias = case
        .bias
        .clone()
        .map(|bias| bias.cast(burn::tensor::DType::F64));
    let output = masked_attention(
        double(&case.query),
        double(&case.key),
        double(&case.value),
        &case.blocked,
        bias,
    );
    let output: Vec<f32> = output
        .into_data()
        .try_to_vec::<f64>()
        .unwrap()
        .iter()
        .map(|x| *x as f32)
        .collect();
    assert_close(
        &vec![output],
        &vec![fused(&case).remove(0)],
        2e-6,
        "doubles",
    );
}

#[test]
fn without_autodiff_the_values_are_the_same() {
    let sizes = SIZES[6];
    let case = case(sizes, masks(sizes).remove(2), true);
    let Case {
        query,
        key,
        value,
        bias,
        blocked,
        ..
    } = case.clone();
    let inner = masked_attention(
        query.inner(),
        key.inner(),
        value.inner(),
        &blocked,
        bias.map(Tensor::inner),
    );
    assert_eq!(
        inner.into_data().try_to_vec::<f32>().unwrap(),
        fused(&case)[0]
    );
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    let sizes = SIZES[6];
    let case = case(sizes, masks(sizes).remove(2), true);
    let with_threads = |n| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build()
            .unwrap();
        pool.install(|| fused(&case))
    };
    let one = with_threads(1);
    for n in [2, 3] {
        assert_eq!(with_threads(n), one, "{n} threads");
    }
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let sizes = SIZES[6];
    let case = case(sizes, masks(sizes).remove(2), false);
    let whole = fused(&case);
    let n = whole[0].len() / sizes.batch;
    let alone = |x: &Tensor<4>| x.clone().narrow(0, 4, 1).detach().require_grad();
    let [query, key, value] = [alone(&case.query), alone(&case.key), alone(&case.value)];
    let weight = alone(&case.weight);
    let one = fused(&Case {
        query,
        key,
        value,
        weight,
        ..case
    });
    assert_eq!(one[0], whole[0][4 * n..5 * n]);
    assert_eq!(one[1], whole[1][4 * n..5 * n]);
}

#[test]
fn what_a_blocked_key_holds_and_whether_it_is_there_changes_no_bit() {
    let sizes = Sizes {
        batch: 2,
        n_heads: 2,
        n_queries: 21,
        n_keys: 30,
        d_head: 16,
    };
    let gone = 11; // this key is blocked for all queries
    let mut mask = masks(sizes).remove(2);
    mask.iter_mut()
        .enumerate()
        .for_each(|(pair, x)| *x |= pair % sizes.n_keys == gone);
    let full = case(sizes, mask.clone(), false);
    let expected = fused(&full);

    let change = |x: &Tensor<4>| {
        let mut data = x.clone().into_data().try_to_vec::<f32>().unwrap();
        let width = sizes.d_head;
        for (token, row) in data.chunks_mut(width).enumerate() {
            if token % sizes.n_keys == gone {
                row.fill(1e6);
            }
        }
        Tensor::<4>::from_data(TensorData::new(data, x.dims()), &Device::flex().autodiff())
            .require_grad()
    };
    let changed = fused(&Case {
        key: change(&full.key),
        value: change(&full.value),
        ..full.clone()
    });
    assert_eq!(changed[0], expected[0]);
    assert_eq!(changed[1], expected[1]);

    let without = |x: &Tensor<4>| {
        let x = x.clone();
        let [batch, n_heads, n_keys, d_head] = x.dims();
        let before = x.clone().slice([0..batch, 0..n_heads, 0..gone, 0..d_head]);
        let after = x.slice([0..batch, 0..n_heads, gone + 1..n_keys, 0..d_head]);
        Tensor::cat(vec![before, after], 2).detach().require_grad()
    };
    let kept: Vec<bool> = mask
        .iter()
        .enumerate()
        .filter(|(pair, _)| pair % sizes.n_keys != gone)
        .map(|(_, x)| *x)
        .collect();
    let blocked = Blocked::new(&kept, sizes.n_queries, sizes.n_keys - 1);
    let shorter = fused(&Case {
        key: without(&full.key),
        value: without(&full.value),
        blocked,
        ..full
    });
    assert_eq!(shorter[0], expected[0]);
    assert_eq!(shorter[1], expected[1]);
}

#[test]
fn a_query_without_keys_gives_zeros_and_zero_gradients() {
    let sizes = SIZES[2];
    let n = sizes.n_queries * sizes.n_keys;
    for result in fused(&case(sizes, vec![true; n], true)) {
        assert!(result.iter().all(|x| *x == 0.0));
    }
}

#[test]
fn an_input_without_gradient_leaves_the_others_theirs() {
    let sizes = SIZES[3];
    let case = case(sizes, masks(sizes).remove(2), true);
    let Case {
        query,
        key,
        value,
        bias,
        blocked,
        weight,
    } = case.clone();
    let output = masked_attention(query.detach(), key.clone(), value.detach(), &blocked, bias);
    let gradients = (output * weight).sum().backward();
    let gradient = key
        .grad(&gradients)
        .unwrap()
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
    assert_eq!(gradient, fused(&case)[2]);
}

#[test]
fn large_scores_neither_overflow_nor_vanish() {
    // Scores of +-1e4 d: the softmax is a choice of the largest, so the output is one value row.
    let device = Device::flex();
    let query = Tensor::<4>::from_data([[[[100.0, 0.0], [-100.0, 0.0]]]], &device);
    let key = Tensor::<4>::from_data([[[[100.0, 0.0], [-100.0, 0.0]]]], &device);
    let value = Tensor::<4>::from_data([[[[1.0, 2.0], [3.0, 4.0]]]], &device);
    let output = masked_attention(query, key, value, &Blocked::none(2, 2), None);
    assert_eq!(
        output.into_data().try_to_vec::<f32>().unwrap(),
        [1.0, 2.0, 3.0, 4.0]
    );
}

#[test]
fn nan_is_passed_on() {
    let sizes = SIZES[2];
    let case = case(sizes, vec![false; sizes.n_queries * sizes.n_keys], false);
    let output = masked_attention(
        case.query.mul_scalar(f32::NAN),
        case.key,
        case.value,
        &case.blocked,
        None,
    );
    assert!(
        output
            .into_data()
            .try_to_vec::<f32>()
            .unwrap()
            .iter()
            .all(|x| x.is_nan())
    );
}

#[test]
fn values_and_gradients_agree_with_pytorch() {
    // parity/kernels/attention.py: PyTorch in double precision.
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../../parity/kernels/attention.json")).unwrap();
    for golden in golden.as_array().unwrap() {
        let size = |name: &str| golden["sizes"][name].as_u64().unwrap() as usize;
        let [batch, n_heads, n_queries] = [size("batch"), size("n_heads"), size("n_queries")];
        let [n_keys, d_head] = [size("n_keys"), size("d_head")];
        let device = Device::flex().autodiff();
        // value[k] = amplitude * sin(1 + 0.7 * index + 0.37 * k), as in the script
        let sines = |index: f64, n: usize| -> Vec<f32> {
            (0..n)
                .map(|k| (2.0 * (1.0 + 0.7 * index + 0.37 * k as f64).sin()) as f32)
                .collect()
        };
        let of_four = |index: f64, shape: [usize; 4]| {
            Tensor::<4>::from_data(
                TensorData::new(sines(index, shape.iter().product()), shape),
                &device,
            )
        };
        let bias = TensorData::new(
            sines(3.0, n_heads * n_queries * n_keys),
            [n_heads, n_queries * n_keys],
        );
        let mask: Vec<bool> = golden["blocked"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_u64() == Some(1))
            .collect();
        let case = Case {
            query: of_four(0.0, [batch, n_heads, n_queries, d_head]).require_grad(),
            key: of_four(1.0, [batch, n_heads, n_keys, d_head]).require_grad(),
            value: of_four(2.0, [batch, n_heads, n_keys, d_head]).require_grad(),
            bias: golden["has_bias"]
                .as_bool()
                .unwrap()
                .then(|| Tensor::from_data(bias, &device).require_grad()),
            blocked: Blocked::new(&mask, n_queries, n_keys),
            weight: of_four(4.0, [batch, n_heads, n_queries, d_head]),
        };
        let expected: Results = golden["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| {
                result
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|x| x.as_f64().unwrap() as f32)
                    .collect()
            })
            .collect();
        assert_close(&fused(&case), &expected, 1e-5, &golden["sizes"].to_string());
    }
}
