//! Products of matrices that lie inside slices, by the `gemm` crate on the calling thread.
//!
//! Callers cut their rows into pieces of a fixed size and divide those over threads: each piece then
//! stays in the cache from one product to the next, and no sum depends on the number of threads. A row's
//! last digits may depend on how many rows the piece has, beyond 512 numbers in a sum: `gemm` then cuts
//! the sum by the shape.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

/// Rows of a piece. Fixed, so that the order of summation depends on the shapes alone; 128 rows of
/// the usual widths fit into a core's own cache.
pub(crate) const PIECE: usize = 128;
/// Partial sums of the gradient of a weight, at most. Fixed like [`PIECE`].
const MOST_PARTS: usize = 4;
/// Pieces below which another partial sum is not worth its memory.
const PIECES_PER_PART: usize = 4;

/// A matrix to be read. Rows may overlap.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    n_rows: usize,
    n_columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major numbers, `[data.len() / n_columns, n_columns]`.
    pub(crate) fn of_rows(data: &'a [f32], n_columns: usize) -> Self {
        let n_rows = data.len() / n_columns.max(1);
        Matrix::with_stride(data, [n_rows, n_columns], n_columns)
    }

    /// Rows that begin `row_stride` numbers apart.
    pub(crate) fn with_stride(
        data: &'a [f32],
        [n_rows, n_columns]: [usize; 2],
        row_stride: usize,
    ) -> Self {
        Matrix::new(data, [n_rows, n_columns], [row_stride, 1])
    }

    /// The numbers of a tensor of rank 2 whose strides are not negative, see [`readable`].
    pub(crate) fn of_tensor(tensor: &'a FlexTensor) -> Self {
        let (shape, layout) = (tensor.shape(), tensor.layout());
        let stride = |axis: usize| {
            usize::try_from(layout.strides()[axis]).expect("`readable` leaves no negative stride")
        };
        let data: &[f32] = tensor.storage();
        let data = data.get(layout.start_offset()..).unwrap_or_default();
        Matrix::new(data, [shape[0], shape[1]], [stride(0), stride(1)])
    }

    fn new(data: &'a [f32], [n_rows, n_columns]: [usize; 2], strides: [usize; 2]) -> Self {
        let [row_stride, column_stride] = strides;
        if n_rows > 0 && n_columns > 0 {
            let last_row = (n_rows - 1).checked_mul(row_stride);
            let in_row = (n_columns - 1).checked_mul(column_stride);
            let last = last_row.zip(in_row).and_then(|(a, b)| a.checked_add(b));
            let is_inside = last.is_some_and(|last| last < data.len());
            assert!(is_inside, "the matrix ends inside its slice");
        }
        Matrix {
            data,
            n_rows,
            n_columns,
            row_stride,
            column_stride,
        }
    }

    /// Rows from `first` on, at most `n` of them.
    pub(crate) fn rows(self, first: usize, n: usize) -> Self {
        assert!(
            first <= self.n_rows,
            "rows from {first} on of {}",
            self.n_rows
        );
        let n_rows = n.min(self.n_rows - first);
        let data = self.data.get(first * self.row_stride..).unwrap_or_default();
        Matrix::new(
            data,
            [n_rows, self.n_columns],
            [self.row_stride, self.column_stride],
        )
    }

    /// Rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Matrix {
            data: self.data,
            n_rows: self.n_columns,
            n_columns: self.n_rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// A row-major copy.
    pub(crate) fn to_rows(self) -> Vec<f32> {
        let mut rows = vec![0.0; self.n_rows * self.n_columns];
        for (r, row) in rows.chunks_exact_mut(self.n_columns.max(1)).enumerate() {
            self.copy_row(r, row);
        }
        rows
    }

    /// Copies row `r`.
    pub(crate) fn copy_row(self, r: usize, row: &mut [f32]) {
        let start = r * self.row_stride;
        if self.column_stride == 1 {
            row.copy_from_slice(&self.data[start..start + self.n_columns]);
        } else {
            for (c, x) in row.iter_mut().enumerate() {
                *x = self.data[start + c * self.column_stride];
            }
        }
    }

    /// Adds the sum of the rows to `sum`.
    pub(crate) fn add_rows_to(self, sum: &mut [f32]) {
        for r in 0..self.n_rows {
            let start = r * self.row_stride;
            if self.column_stride == 1 {
                let row = &self.data[start..start + self.n_columns];
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            } else {
                for (c, sum) in sum.iter_mut().enumerate() {
                    *sum += self.data[start + c * self.column_stride];
                }
            }
        }
    }
}

/// The tensor itself, or a copy of it if it is read backwards somewhere.
pub(crate) fn readable(tensor: FlexTensor) -> FlexTensor {
    if tensor.layout().strides().iter().all(|stride| *stride >= 0) {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// `out = a b`, row-major.
pub(crate) fn product(a: Matrix, b: Matrix, out: &mut [f32]) {
    multiply(a, b, out, false);
}

/// `out += a b`, row-major.
pub(crate) fn add_product(a: Matrix, b: Matrix, out: &mut [f32]) {
    multiply(a, b, out, true);
}

#[expect(
    unsafe_code,
    reason = "`gemm` takes pointers; all bounds are checked here"
)]
fn multiply(a: Matrix, b: Matrix, out: &mut [f32], is_added: bool) {
    let [m, n, k] = [a.n_rows, b.n_columns, a.n_columns];
    assert_eq!(k, b.n_rows, "columns of the first and rows of the second");
    assert_eq!(out.len(), m * n, "size of the result");
    if m == 0 || n == 0 || k == 0 {
        if !is_added {
            out.fill(0.0);
        }
        return;
    }
    // SAFETY: `Matrix::new` has checked that the last element of `a` and `b` lies in their slices, and
    // so do all before it, since strides are not negative; the assertion above has checked `out`. A
    // stride beyond `isize::MAX` belongs to an axis of length one and is multiplied by zero.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            is_added,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Pieces of [`PIECE`] rows, dealt out to the partial sums of a gradient.
pub(crate) struct Parts {
    /// Number of partial sums.
    pub(crate) n: usize,
    n_rows: usize,
    n_pieces: usize,
}

impl Parts {
    /// For so many rows.
    pub(crate) fn of_rows(n_rows: usize) -> Self {
        let n_pieces = n_rows.div_ceil(PIECE);
        Parts {
            n: (n_pieces / PIECES_PER_PART).clamp(1, MOST_PARTS),
            n_rows,
            n_pieces,
        }
    }

    fn pieces_of_part(&self) -> usize {
        self.n_pieces.div_ceil(self.n)
    }

    /// First rows of the pieces of a part.
    pub(crate) fn starts(&self, part: usize) -> impl Iterator<Item = usize> + use<> {
        let first = part * self.pieces_of_part();
        let last = self.n_pieces.min(first + self.pieces_of_part());
        (first..last).map(|piece| piece * PIECE)
    }

    /// The pieces of `rows`, which may be empty, part by part.
    pub(crate) fn cut<'a>(&self, rows: &'a mut [f32]) -> Vec<Vec<&'a mut [f32]>> {
        let width = rows.len() / self.n_rows.max(1);
        let mut pieces = rows.chunks_mut((PIECE * width).max(1));
        (0..self.n)
            .map(|_| pieces.by_ref().take(self.pieces_of_part()).collect())
            .collect()
    }
}

/// Adds up partial sums of `n` numbers each, in order.
pub(crate) fn sum_of_parts(mut parts: Vec<f32>, n: usize) -> Vec<f32> {
    if n == 0 || parts.len() <= n {
        parts.truncate(n);
        return parts;
    }
    let (sum, others) = parts.split_at_mut(n);
    const SPAN: usize = 4096;
    sum.par_chunks_mut(SPAN).enumerate().for_each(|(i, sum)| {
        for part in others.chunks_exact(n) {
            let part = &part[i * SPAN..][..sum.len()];
            sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
    });
    parts.truncate(n);
    parts.shrink_to_fit();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_any_layout_agree_with_the_definition() {
        let numbers: Vec<f32> = (0..400).map(|i| (0.37 * i as f32).sin()).collect();
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (17, 9, 33), (2, 0, 3), (0, 2, 3)] {
            // Rows of `a` overlap: they begin two numbers apart.
            let a = Matrix::with_stride(&numbers, [m, k], 2);
            let b = Matrix::with_stride(&numbers[40..], [n, k], k).transposed();
            let mut out = vec![1.0; m * n];
            add_product(a, b, &mut out);
            for i in 0..m {
                for j in 0..n {
                    let exact: f64 = (0..k)
                        .map(|l| f64::from(numbers[2 * i + l]) * f64::from(numbers[40 + k * j + l]))
                        .sum();
                    assert!((f64::from(out[i * n + j]) - 1.0 - exact).abs() < 1e-5);
                }
            }
            let mut anew = vec![7.0; m * n];
            product(a, b, &mut anew);
            for (x, y) in anew.iter().zip(&out) {
                assert!((x + 1.0 - y).abs() < 1e-5);
            }
            assert_eq!(Matrix::of_rows(&a.to_rows(), k).to_rows(), a.to_rows());
        }
    }

    #[test]
    #[should_panic(expected = "ends inside its slice")]
    fn a_matrix_that_leaves_its_slice_is_refused() {
        Matrix::with_stride(&[0.0; 10], [3, 3], 4);
    }
}
