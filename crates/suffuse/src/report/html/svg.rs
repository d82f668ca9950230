//! Small charts as inline SVG that take their colours from the page, so that they follow light and dark.
//!
//! The other pictures of this crate are drawn by kuva, which writes fixed colours on a white ground.

use std::fmt::Write;

/// A plot area with two axes.
#[derive(Debug)]
pub(super) struct Chart {
    body: String,
    x: Axis,
    y: Axis,
    size: (f64, f64),
}

/// One axis.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// What stands beside it.
    pub(super) name: String,
    /// Values at its two ends.
    pub(super) range: (f64, f64),
    /// Values that are marked, with their text.
    pub(super) ticks: Vec<(f64, String)>,
}

/// Room for ticks and names around the plot area, in pixels: left, top, right, bottom.
const MARGIN: [f64; 4] = [62.0, 12.0, 22.0, 42.0];

impl Axis {
    /// An axis over these values with a little room around them and round ticks; `values` may be empty.
    pub(super) fn over(name: &str, values: impl Iterator<Item = f64>) -> Axis {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        match low < high {
            true => {
                let room = ROOM * (high - low);
                Axis::between(name, low - room, high + room)
            }
            false if low.is_finite() => Axis::between(name, low - 0.5, low + 0.5),
            false => Axis::between(name, 0.0, 1.0),
        }
    }

    /// An axis from 0 to a little over `high`.
    pub(super) fn from_zero(name: &str, high: f64) -> Axis {
        match high > 0.0 && high.is_finite() {
            true => Axis::between(name, 0.0, high * (1.0 + ROOM)),
            false => Axis::between(name, 0.0, 1.0),
        }
    }

    fn between(name: &str, low: f64, high: f64) -> Axis {
        let step = round_step((high - low) / N_STEPS);
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let first = (low / step).ceil();
        let n = ((high / step).floor() - first).clamp(0.0, 50.0) as usize;
        let ticks = (0..=n).map(|k| {
            let value = (first + k as f64) * step;
            let value = if value == 0.0 { 0.0 } else { value };
            (value, format!("{value:.decimals$}").replace('-', "−"))
        });
        Axis {
            name: name.to_string(),
            range: (low, high),
            ticks: ticks.collect(),
        }
    }

    /// Where a value lies between the two ends, 0 to 1.
    fn at(&self, value: f64) -> f64 {
        (value - self.range.0) / (self.range.1 - self.range.0)
    }
}

/// Room beyond the outermost values, as a share of their span.
const ROOM: f64 = 0.05;
/// Steps between ticks, at least.
const N_STEPS: f64 = 7.0;

/// The next of 1, 2, 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10.0_f64.powf(step.log10().floor());
    let digits = [1.0, 2.0, 5.0, 10.0];
    let fits = digits.iter().find(|digit| *digit * power >= step * 0.999);
    fits.unwrap_or(&10.0) * power
}

/// Text that may stand in XML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML knows no other control characters, and a browser would show nothing.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

impl Chart {
    /// An empty plot area with its axes and grid; `size` is that of the picture, in pixels.
    pub(super) fn new(x: Axis, y: Axis, size: (f64, f64)) -> Chart {
        let mut chart = Chart {
            body: String::new(),
            x,
            y,
            size,
        };
        chart.draw_axes();
        chart
    }

    fn px(&self, x: f64, y: f64) -> (f64, f64) {
        let [left, top, right, bottom] = MARGIN;
        let (width, height) = (self.size.0 - left - right, self.size.1 - top - bottom);
        (
            left + self.x.at(x) * width,
            top + (1.0 - self.y.at(y)) * height,
        )
    }

    fn draw_axes(&mut self) {
        let (x, y) = (self.x.clone(), self.y.clone());
        let (left, bottom) = self.px(x.range.0, y.range.0);
        let (right, top) = self.px(x.range.1, y.range.1);
        for (value, text) in &x.ticks {
            let (at, _) = self.px(*value, y.range.0);
            self.push(format!(
                r#"<path class="grid" d="M{at:.1} {bottom:.1}V{top:.1}"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 16.0,
                escaped(text)
            ));
        }
        for (value, text) in &y.ticks {
            let (_, at) = self.px(x.range.0, *value);
            self.push(format!(
                r#"<path class="grid" d="M{left:.1} {at:.1}H{right:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                left - 6.0,
                at + 4.0,
                escaped(text)
            ));
        }
        let (middle_x, middle_y) = ((left + right) / 2.0, (top + bottom) / 2.0);
        self.push(format!(
            r#"<path class="axis" d="M{left:.1} {top:.1}V{bottom:.1}H{right:.1}"/><text class="name" x="{middle_x:.1}" y="{:.1}" text-anchor="middle">{}</text><text class="name" transform="translate(13 {middle_y:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            bottom + 35.0,
            escaped(&x.name),
            escaped(&y.name)
        ));
    }

    fn push(&mut self, markup: String) {
        self.body.push_str(&markup);
        self.body.push('\n');
    }

    /// A line through points, in this class of the page's style sheet.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (k, (x, y)) in points.iter().enumerate() {
            let (x, y) = self.px(*x, *y);
            let command = if k == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        self.push(format!(r#"<path class="{class}" d="{path}"/>"#));
    }

    /// A circle; `name`, where it is not empty, shows when the pointer rests on it.
    pub(super) fn circle(&mut self, class: &str, at: (f64, f64), radius: f64, name: &str) {
        let (x, y) = self.px(at.0, at.1);
        let open = format!(r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}""#);
        self.push(named(&open, "circle", name));
    }

    /// A square, for what must be told from circles without colour.
    pub(super) fn square(&mut self, class: &str, at: (f64, f64), half: f64, name: &str) {
        let (x, y) = self.px(at.0, at.1);
        let open = format!(
            r#"<rect class="{class}" x="{:.1}" y="{:.1}" width="{side}" height="{side}""#,
            x - half,
            y - half,
            side = 2.0 * half
        );
        self.push(named(&open, "rect", name));
    }

    /// A bar that stands on the lower end of the y axis.
    pub(super) fn bar(&mut self, class: &str, x: (f64, f64), height: f64, name: &str) {
        let (left, top) = self.px(x.0, height);
        let (right, bottom) = self.px(x.1, self.y.range.0);
        let open = format!(
            r#"<rect class="{class}" x="{:.1}" y="{top:.1}" width="{:.1}" height="{:.1}""#,
            left + 1.0,
            (right - left - 2.0).max(0.5),
            (bottom - top).max(0.0)
        );
        self.push(named(&open, "rect", name));
    }

    /// Text inside the plot area, to the right of a point.
    pub(super) fn text(&mut self, at: (f64, f64), text: &str) {
        let (x, y) = self.px(at.0, at.1);
        let (x, y) = (x + 8.0, y + 4.0);
        self.push(format!(
            r#"<text class="note" x="{x:.1}" y="{y:.1}">{}</text>"#,
            escaped(text)
        ));
    }

    /// The picture; `id` is unique in the page, `title` and `description` are read aloud.
    pub(super) fn finish(self, id: &str, title: &str, description: &str) -> String {
        let (width, height) = self.size;
        format!(
            r#"<svg class="chart" viewBox="0 0 {width:.0} {height:.0}" role="img" aria-labelledby="{id}-title {id}-desc" xmlns="http://www.w3.org/2000/svg"><title id="{id}-title">{}</title><desc id="{id}-desc">{}</desc>
{}</svg>"#,
            escaped(title),
            escaped(description),
            self.body
        )
    }
}

fn named(open: &str, element: &str, name: &str) -> String {
    match name.is_empty() {
        true => format!("{open}/>"),
        false => format!("{open}><title>{}</title></{element}>", escaped(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        let axis = Axis::over("x", [-0.13, 0.87].into_iter());
        assert!(axis.range.0 < -0.13 && axis.range.1 > 0.87);
        let texts: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(Axis::from_zero("x", 0.9).range.0, 0.0);
        assert_eq!(Axis::over("x", std::iter::empty()).range, (0.0, 1.0));
        let single = Axis::over("x", [3.0].into_iter());
        assert!(single.range.0 < 3.0 && single.range.1 > 3.0);
    }

    #[test]
    fn names_cannot_leave_their_place() {
        assert_eq!(
            escaped("<script>\"&\u{1}"),
            "&lt;script&gt;&quot;&amp;\u{fffd}"
        );
        let mut chart = Chart::new(
            Axis::over("<x>", [0.0, 1.0].into_iter()),
            Axis::over("y", [0.0, 1.0].into_iter()),
            (300.0, 200.0),
        );
        chart.circle("dot", (0.5, 0.5), 2.0, "</svg><script>");
        let svg = chart.finish("c", "t", "d");
        assert!(!svg.contains("<script>") && !svg.contains("<x>"));
        assert_eq!(svg.matches("</svg>").count(), 1);
    }
}
