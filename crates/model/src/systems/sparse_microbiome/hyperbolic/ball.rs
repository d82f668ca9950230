//! The Poincaré ball: hyperbolic space of curvature -1 as the points of norm below 1.
//!
//! Formulas as in Nickel and Kiela (2017), Ganea, Bécigneul and Hofmann (2018) and geoopt's
//! `PoincareBall(c=1)`. `lambda_x = 2 / (1 - |x|^2)` is the conformal factor: a tangent vector `v` at `x`
//! has the length `lambda_x |v|`.

/// The largest norm of a point. There, a point is 12.2 from the origin.
pub const MAX_NORM: f64 = 1.0 - 1e-5;

/// `d(u, v) = arcosh(1 + 2 |u - v|^2 / ((1 - |u|^2) (1 - |v|^2)))`.
pub fn distance(u: &[f64], v: &[f64]) -> f64 {
    let (shrink_u, shrink_v) = (1.0 - dot(u, u), 1.0 - dot(v, v));
    arcosh_1p(2.0 * squared_gap(u, v) / (shrink_u * shrink_v)).0
}

/// A pair of points, for [`Pair::distance_and_gradients`].
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// One point.
    pub u: &'a [f64],
    /// The other.
    pub v: &'a [f64],
    /// `1 - |u|^2`.
    pub shrink_u: f64,
    /// `1 - |v|^2`.
    pub shrink_v: f64,
}

impl Pair<'_> {
    /// The distance, and what its Euclidean gradients are made of: with `delta = 2 |u - v|^2 / (a b)`,
    /// `a = 1 - |u|^2`, `b = 1 - |v|^2`,
    /// `dd/du = 4 / (a b sqrt(delta (delta + 2))) ((u - v) + |u - v|^2 / a u)`; `dd/dv` likewise. Points in one
    /// place have no gradient; theirs is 0.
    pub fn distance_and_gradients(&self) -> PairGradient {
        let gap = squared_gap(self.u, self.v);
        let product = self.shrink_u * self.shrink_v;
        let (distance, root) = arcosh_1p(2.0 * gap / product);
        PairGradient {
            distance,
            factor: if root > 0.0 {
                4.0 / (product * root)
            } else {
                0.0
            },
            own_u: gap / self.shrink_u,
            own_v: gap / self.shrink_v,
        }
    }
}

/// The gradient with regard to `u` is `factor ((u - v) + own_u u)`, that to `v` is
/// `factor ((v - u) + own_v v)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairGradient {
    /// The hyperbolic distance.
    pub distance: f64,
    /// Of both gradients.
    pub factor: f64,
    /// Weight of `u` in its own gradient.
    pub own_u: f64,
    /// Weight of `v` in its own gradient.
    pub own_v: f64,
}

/// `exp_x(v) = x (+) tanh(lambda_x |v| / 2) v / |v|` in place of `point`, `(+)` being Möbius addition; then
/// drawn back to [`MAX_NORM`] where rounding or a long step went beyond it.
pub fn exp_map(point: &mut [f64], tangent: &[f64]) {
    let length = dot(tangent, tangent).sqrt();
    if length > 0.0 {
        let half = length / (1.0 - dot(point, point));
        let step: Vec<f64> = tangent.iter().map(|t| half.tanh() / length * t).collect();
        mobius_add(point, &step);
    }
    clip(point);
}

/// `exp_0(v) = tanh(|v|) v / |v|` in place of `tangent`, drawn back to [`MAX_NORM`].
pub fn exp_map_at_origin(tangent: &mut [f64]) {
    let length = dot(tangent, tangent).sqrt();
    if length > 0.0 {
        tangent
            .iter_mut()
            .for_each(|t| *t *= length.tanh() / length);
    }
    clip(tangent);
}

/// `log_0(x) = artanh(|x|) x / |x|` in place of `point`: half its distance to the origin in its direction.
pub fn log_map_at_origin(point: &mut [f64]) {
    let norm = dot(point, point).sqrt();
    if norm > 0.0 {
        point.iter_mut().for_each(|x| *x *= norm.atanh() / norm);
    }
}

/// The Riemannian gradient, `((1 - |x|^2) / 2)^2` times the Euclidean one, in place of the latter.
pub fn to_riemannian(point: &[f64], gradient: &mut [f64]) {
    let half = (1.0 - dot(point, point)) / 2.0;
    gradient.iter_mut().for_each(|g| *g *= half * half);
}

/// The squared length of a tangent vector: `lambda_x^2 |v|^2`.
pub fn squared_length(point: &[f64], tangent: &[f64]) -> f64 {
    let lambda = 2.0 / (1.0 - dot(point, point));
    lambda * lambda * dot(tangent, tangent)
}

/// The ends of a geodesic, for [`Geodesic::transport`].
#[derive(Debug, Clone, Copy)]
pub struct Geodesic<'a> {
    /// Where it starts.
    pub from: &'a [f64],
    /// Where it ends.
    pub to: &'a [f64],
}

impl Geodesic<'_> {
    /// Parallel transport: `gyr[to, -from] v lambda_from / lambda_to`, with the gyration
    /// `gyr[u, v] w = w + 2 (A u + B v) / D`, `A = -<u,w> |v|^2 + <v,w> + 2 <u,v> <v,w>`,
    /// `B = -<v,w> |u|^2 - <u,w>`, `D = 1 + 2 <u,v> + |u|^2 |v|^2` (Ungar 2008), in place of `tangent`.
    pub fn transport(&self, tangent: &mut [f64]) {
        let (u, minus_v) = (self.to, self.from);
        let (uu, vv) = (dot(u, u), dot(minus_v, minus_v));
        let (uv, uw) = (-dot(u, minus_v), dot(u, tangent));
        let vw = -dot(minus_v, tangent);
        let a = -uw * vv + vw + 2.0 * uv * vw;
        let b = -vw * uu - uw;
        let d = 1.0 + 2.0 * uv + uu * vv;
        let scale = (1.0 - uu) / (1.0 - vv);
        for ((t, u), minus_v) in tangent.iter_mut().zip(u).zip(minus_v) {
            *t = scale * (*t + 2.0 * (a * u - b * minus_v) / d);
        }
    }
}

pub(super) fn dot(u: &[f64], v: &[f64]) -> f64 {
    u.iter().zip(v).map(|(u, v)| u * v).sum()
}

fn squared_gap(u: &[f64], v: &[f64]) -> f64 {
    u.iter().zip(v).map(|(u, v)| (u - v) * (u - v)).sum()
}

/// `arcosh(1 + delta)` and `sqrt(delta (delta + 2))`, without loss of digits for a small `delta`.
fn arcosh_1p(delta: f64) -> (f64, f64) {
    let root = (delta * (delta + 2.0)).sqrt();
    ((delta + root).ln_1p(), root)
}

/// `x (+) y = ((1 + 2 <x,y> + |y|^2) x + (1 - |x|^2) y) / (1 + 2 <x,y> + |x|^2 |y|^2)` in place of `x`.
fn mobius_add(x: &mut [f64], y: &[f64]) {
    let (xx, yy, xy) = (dot(x, x), dot(y, y), dot(x, y));
    let below = 1.0 + 2.0 * xy + xx * yy;
    let (of_x, of_y) = ((1.0 + 2.0 * xy + yy) / below, (1.0 - xx) / below);
    x.iter_mut()
        .zip(y)
        .for_each(|(x, y)| *x = of_x * *x + of_y * y);
}

fn clip(point: &mut [f64]) {
    let norm = dot(point, point).sqrt();
    if norm > MAX_NORM {
        point.iter_mut().for_each(|x| *x *= MAX_NORM / norm);
    }
}
