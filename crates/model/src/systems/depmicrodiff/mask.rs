//! Algorithm 2: which token may attend to which, as a pure function of the split and `Dep`.

use super::ar_steps::ArSteps;
use serde::{Deserialize, Serialize};
use suffuse_kernels::{NO_BIAS, OpenKey};

/// How the dependency matrix enters the attention mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyMask {
    /// Within its step, and among earlier clean tokens, a token attends to what it depends on and
    /// to itself: the text of the paper.
    Restrict,
    /// All pairs that the autoregressive rules allow; dependent pairs get a learned additive bias.
    Bias,
    /// Algorithm 2 as printed: `sTs OR Dep` with 1 meaning blocked, so the dependent pairs of a
    /// step are the ones that cannot see each other. A token always sees itself.
    Printed,
    /// The autoregressive rules alone.
    None,
}

/// A mask over `[condition tokens | clean tokens of earlier steps | noisy tokens]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// `c`: condition tokens.
    pub n_condition: usize,
    /// `v`: clean tokens, those of all steps but the last.
    pub n_visible: usize,
    /// `s`: noisy tokens.
    pub n_tokens: usize,
    /// Per row, the columns that it sees, rising, each with the number of the dependent pair of features
    /// ([`Dependent::number`]), or [`NO_BIAS`] where there is none.
    pub open: Vec<Vec<OpenKey>>,
}

/// Which features depend on which: `get(i, j)` says that `i` depends on `j`; and groups of features,
/// beyond which no token sees another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    n: usize,
    pairs: Vec<bool>,
    numbers: Vec<u32>,
    groups: Vec<u32>,
}

impl Dependent {
    /// A matrix of `n` features in row-major order.
    ///
    /// # Panics
    /// `pairs` does not have `n * n` entries.
    pub fn new(n: usize, pairs: Vec<bool>) -> Self {
        assert_eq!(pairs.len(), n * n, "a dependency matrix is square");
        let groups = vec![0; n];
        Dependent {
            n,
            numbers: numbers(&pairs, &groups),
            pairs,
            groups,
        }
    }

    /// The same with features in groups of at most `size`, as many as it takes and of equal size as
    /// nearly as possible. A group begins with the feature that has most links to those that are left,
    /// and takes again and again the one with most links to the group, the first of equals: features
    /// that depend on each other stay together, and no attention is wasted on the others.
    pub fn in_groups_of(self, size: usize) -> Dependent {
        let n_groups = self.n.div_ceil(size.max(1)).max(1);
        let linked = |i: usize, j: usize| usize::from(self.get(i, j)) + usize::from(self.get(j, i));
        let mut groups = vec![0; self.n];
        let mut left: Vec<usize> = (0..self.n).collect();
        let most = |links: &[usize], left: &[usize]| {
            let best = left.iter().map(|i| links[*i]).max();
            left.iter().position(|i| Some(links[*i]) == best)
        };
        for group in 0..n_groups {
            let n_members = left.len() / (n_groups - group);
            let mut links = vec![0; self.n];
            for i in &left {
                links[*i] = left.iter().map(|j| linked(*i, *j)).sum();
            }
            for member in 0..n_members {
                let Some(position) = most(&links, &left) else {
                    break;
                };
                let chosen = left.remove(position);
                groups[chosen] = group as u32;
                if member == 0 {
                    links.fill(0);
                }
                for i in &left {
                    links[*i] += linked(*i, chosen);
                }
            }
        }
        Dependent {
            numbers: numbers(&self.pairs, &groups),
            groups,
            ..self
        }
    }

    /// The group of a feature.
    pub fn group(&self, i: usize) -> u32 {
        self.groups[i]
    }

    /// Brings the tokens of each autoregressive step into the order of their groups, in which the
    /// mask falls into few dense blocks. Within a step and a group the order stays.
    pub fn sort_by_group(&self, order: &mut [usize], steps: &ArSteps) {
        for step in 0..steps.n_steps() {
            order[steps.range(step)].sort_by_key(|feature| self.groups[*feature]);
        }
    }

    /// Number of features.
    pub fn n_features(&self) -> usize {
        self.n
    }

    /// Says whether feature `i` depends on feature `j`.
    pub fn get(&self, i: usize, j: usize) -> bool {
        self.pairs[i * self.n + j]
    }

    /// Number of the pair "`i` depends on `j`, another feature of its group", counted row by row in the
    /// original order of the features; [`NO_BIAS`] where there is no such pair.
    pub fn number(&self, i: usize, j: usize) -> u32 {
        self.numbers[i * self.n + j]
    }

    /// How many pairs of different features of one group are dependent.
    pub fn n_pairs(&self) -> usize {
        self.numbers.iter().filter(|n| **n != NO_BIAS).count()
    }

    /// How many other features depend on each feature.
    pub fn n_dependents(&self) -> Vec<usize> {
        (0..self.n)
            .map(|j| (0..self.n).filter(|i| *i != j && self.get(*i, j)).count())
            .collect()
    }
}

/// Numbers of the dependent pairs of different features of one group, row by row.
fn numbers(pairs: &[bool], groups: &[u32]) -> Vec<u32> {
    let n = groups.len();
    let mut next = 0;
    (0..n * n)
        .map(|at| {
            let (i, j) = (at / n, at % n);
            if !pairs[at] || i == j || groups[i] != groups[j] {
                return NO_BIAS;
            }
            next += 1;
            next - 1
        })
        .collect()
}

impl Mask {
    /// Length of the whole sequence, `c + v + s`.
    pub fn len(&self) -> usize {
        self.n_condition + self.n_visible + self.n_tokens
    }

    /// Says whether the sequence is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All pairs row after row, true where the row must not see the column.
    pub fn blocked(&self) -> Vec<bool> {
        let mut blocked = vec![true; self.len() * self.len()];
        for (row, open) in self.open.iter().enumerate() {
            for (column, _) in open {
                blocked[row * self.len() + *column as usize] = false;
            }
        }
        blocked
    }
}

/// Builds the mask (DepMicroDiff paper, Algorithm 2).
///
/// Condition tokens see condition tokens. A clean token sees condition tokens and the clean tokens
/// of its own and earlier steps. A noisy token sees condition tokens, the clean tokens of EARLIER
/// steps and the noisy tokens of its own step: Eq. 9 with `kappa_{1:s-1}`. Tokens see only those of
/// their own group.
///
/// - `order`: feature of each token
pub fn attention_mask(
    steps: &ArSteps,
    n_condition: usize,
    dependent: &Dependent,
    order: &[usize],
    mode: DependencyMask,
) -> Mask {
    let (s, v) = (steps.n_tokens(), steps.n_visible());
    let context = n_condition + v;
    let step_of = steps.step_of_token();
    let group = |token: usize| dependent.groups[order[token]] as usize;
    let n_groups = (0..s).map(|token| group(token) + 1).max().unwrap_or(0);
    let mut members = vec![Vec::new(); n_groups];
    (0..s).for_each(|token| members[group(token)].push(token));
    let is_allowed = |i: usize, j: usize, is_noisy_row: bool, is_noisy_column: bool| {
        let autoregressive = match (is_noisy_row, is_noisy_column) {
            (false, false) => j < v && step_of[j] <= step_of[i],
            (true, false) => j < v && step_of[j] < step_of[i],
            (true, true) => step_of[j] == step_of[i],
            (false, true) => false,
        };
        autoregressive
            && match mode {
                DependencyMask::Restrict => i == j || dependent.get(order[i], order[j]),
                DependencyMask::Printed => {
                    let is_dependent = dependent.get(order[i], order[j]);
                    !(is_noisy_row && is_noisy_column && i != j && is_dependent)
                }
                DependencyMask::Bias | DependencyMask::None => true,
            }
    };
    let row = |row: usize| {
        let mut open: Vec<OpenKey> = (0..n_condition as u32).map(|c| (c, NO_BIAS)).collect();
        if row < n_condition {
            return open;
        }
        let is_noisy_row = row >= context;
        let i = row - if is_noisy_row { context } else { n_condition };
        for (is_noisy_column, first) in [(false, n_condition), (true, context)] {
            for &j in &members[group(i)] {
                if is_allowed(i, j, is_noisy_row, is_noisy_column) {
                    open.push(((first + j) as u32, dependent.number(order[i], order[j])));
                }
            }
        }
        open
    };
    Mask {
        n_condition,
        n_visible: v,
        n_tokens: s,
        open: (0..context + s).map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn independent(n: usize) -> Dependent {
        Dependent::new(n, vec![false; n * n])
    }

    fn picture(mask: &Mask) -> Vec<String> {
        mask.blocked()
            .chunks(mask.len())
            .map(|row| {
                row.iter()
                    .map(|blocked| if *blocked { '#' } else { '.' })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn the_papers_example_gives_its_13_by_13_mask() {
        // c = 2, sz = [2, 2, 3], cs = [0, 2, 4, 7]: Algorithm 2 by hand, lines 5, 11, 12, 15.
        let mask = attention_mask(
            &ArSteps::of_sizes(&[2, 2, 3]),
            2,
            &independent(7),
            &[0, 1, 2, 3, 4, 5, 6],
            DependencyMask::None,
        );
        let expected = [
            "..###########",
            "..###########",
            "....#########",
            "....#########",
            "......#######",
            "......#######",
            "..####..#####",
            "..####..#####",
            "....####..###",
            "....####..###",
            "......####...",
            "......####...",
            "......####...",
        ];
        assert_eq!(picture(&mask), expected);
    }

    #[test]
    fn restrict_keeps_dependents_and_self_and_printed_blocks_the_dependents() {
        // Token 1 depends on token 0, token 3 on token 0; steps {0, 1}, {2, 3}.
        let mut pairs = vec![false; 16];
        pairs[4] = true;
        pairs[3 * 4] = true;
        let dependent = Dependent::new(4, pairs);
        let steps = ArSteps::of_sizes(&[2, 2]);
        let of = |mode| attention_mask(&steps, 1, &dependent, &[0, 1, 2, 3], mode);
        let restrict = of(DependencyMask::Restrict);
        let expected = [
            ".######", // condition
            "..#####", // clean 0: itself
            "...####", // clean 1: itself and 0
            ".##.###", // noisy 0
            ".##..##", // noisy 1: 0 of its own step
            ".####.#", // noisy 2: nothing but itself
            "..####.", // noisy 3: clean 0
        ];
        assert_eq!(picture(&restrict), expected);
        let printed = of(DependencyMask::Printed);
        assert_eq!(picture(&printed)[4], ".###.##"); // noisy 1 cannot see noisy 0
        let bias = of(DependencyMask::Bias);
        let none = of(DependencyMask::None);
        assert_eq!(bias.blocked(), none.blocked());
        let n_biased = bias.open.iter().flatten().filter(|(_, n)| *n != NO_BIAS);
        assert_eq!(n_biased.count(), 3);
    }

    #[test]
    fn groups_hold_what_is_linked_and_block_the_rest() {
        // Features 0, 2, 4 depend on each other in a chain, so do 1, 3.
        let mut pairs = vec![false; 25];
        for (i, j) in [(0, 2), (2, 4), (3, 1), (0, 1)] {
            pairs[i * 5 + j] = true;
        }
        let whole = Dependent::new(5, pairs).in_groups_of(5);
        assert!((0..5).all(|i| whole.group(i) == 0));
        let dependent = whole.clone().in_groups_of(3);
        let groups: Vec<u32> = (0..5).map(|i| dependent.group(i)).collect();
        // Sizes 2 and 3; feature 0 has most links (2 and 1), then the first of its partners.
        assert_eq!(groups, [0, 0, 1, 1, 1]);
        assert_eq!((whole.n_pairs(), dependent.n_pairs()), (4, 2));
        let mut order = vec![3, 1, 2, 0, 4];
        let steps = ArSteps::of_sizes(&[3, 2]);
        dependent.sort_by_group(&mut order, &steps);
        assert_eq!(order, [1, 3, 2, 0, 4]);
        let mask = attention_mask(&steps, 1, &dependent, &order, DependencyMask::Bias);
        let expected = [
            ".########", // condition
            "..#######", // clean 1: itself
            ".#..#####", // clean 3: itself and 2
            ".#..#####", // clean 2
            ".###.####", // noisy 1
            ".####..##", // noisy 3: noisy 2 of its step
            ".####..##", // noisy 2
            "..#####.#", // noisy 0: clean 1
            ".#..####.", // noisy 4: clean 3 and 2
        ];
        assert_eq!(picture(&mask), expected);
    }

    #[test]
    fn dependencies_move_with_their_tokens() {
        let mut pairs = vec![false; 9];
        pairs[2] = true; // feature 0 depends on feature 2
        let dependent = Dependent::new(3, pairs);
        assert_eq!(dependent.n_dependents(), [0, 0, 1]);
        assert_eq!(
            (dependent.number(0, 2), dependent.number(2, 0)),
            (0, NO_BIAS)
        );
        assert_eq!(dependent.n_pairs(), 1);
        let steps = ArSteps::of_sizes(&[3]);
        let mask = attention_mask(&steps, 0, &dependent, &[2, 1, 0], DependencyMask::Restrict);
        assert_eq!(picture(&mask), [".##", "#.#", ".#."]); // token 2, feature 0, sees token 0
    }
}
