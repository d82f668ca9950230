//! Reads `f32` tensors of the `flex` backend where they lie, whatever their strides.

use burn::backend::flex::FlexTensor;

/// A view of a tensor of rank `D`.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a, const D: usize> {
    data: &'a [f32],
    start: isize,
    strides: [isize; D],
}

impl<'a, const D: usize> Strided<'a, D> {
    /// A view of `tensor`, which is of type `f32` and rank `D`.
    pub(crate) fn new(tensor: &'a FlexTensor) -> Self {
        let layout = tensor.layout();
        let strides = layout
            .strides()
            .try_into()
            .expect("the rank is part of the tensor's type");
        Strided {
            data: tensor.storage(),
            start: layout.start_offset() as isize,
            strides,
        }
    }

    /// The number at `index`.
    #[inline(always)]
    pub(crate) fn at(&self, index: [usize; D]) -> f32 {
        self.data[self.position(index)]
    }

    /// Copies the numbers from `index` on along the last axis.
    #[inline(always)]
    pub(crate) fn copy_row(&self, index: [usize; D], row: &mut [f32]) {
        let start = self.position(index);
        if self.strides[D - 1] == 1 {
            row.copy_from_slice(&self.data[start..start + row.len()]);
        } else {
            for (c, x) in row.iter_mut().enumerate() {
                *x = self.data[(start as isize + c as isize * self.strides[D - 1]) as usize];
            }
        }
    }

    /// The numbers from `index` on along the last axis, where they lie or, if they are apart, copied to
    /// `buffer`, whose length says how many.
    #[inline(always)]
    pub(crate) fn borrow_row<'b>(&'b self, index: [usize; D], buffer: &'b mut [f32]) -> &'b [f32] {
        let start = self.position(index);
        if self.strides[D - 1] == 1 {
            return &self.data[start..start + buffer.len()];
        }
        self.copy_row(index, buffer);
        buffer
    }

    /// A copy of `n` numbers from `index` on along the last axis.
    pub(crate) fn row(&self, index: [usize; D], n: usize) -> Vec<f32> {
        let mut row = vec![0.0; n];
        self.copy_row(index, &mut row);
        row
    }

    #[inline(always)]
    fn position(&self, index: [usize; D]) -> usize {
        let mut position = self.start;
        for (i, stride) in index.iter().zip(&self.strides) {
            position += *i as isize * stride;
        }
        position as usize
    }
}
