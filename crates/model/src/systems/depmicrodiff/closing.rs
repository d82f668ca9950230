//! From ln(1+percent) to the unit of the table, also where nothing says what 100 percent are.

use super::entries::Entries;
use super::held_out::InSight;
use super::neighbours::PassedOver;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::from_ln1p_percent;

/// What 100 percent of a sample are in the unit of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unit {
    /// The total of what is in sight.
    Total(f64),
    /// Nothing is in sight: what is filled is all of the sample. It is closed to 100 percent and scaled to
    /// this total, the median of the samples around.
    Closed(f64),
}

/// How the entries of one filled sample become numbers of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RowScale {
    scale: Scale,
}

impl Unit {
    /// The unit of a sample.
    pub(super) fn of(entries: &Entries, sample: usize) -> Unit {
        let around = || entries.around(sample, PassedOver::default());
        match around().filter(|_| entries.is_missing_in_time(sample)) {
            Some(around) => Unit::Closed(around.median_total()),
            None => Unit::Total(entries.total(sample, None)),
        }
    }

    /// How much of the sample is in sight.
    pub(super) fn in_sight(self) -> InSight {
        match self {
            Unit::Total(_) => InSight::Some,
            Unit::Closed(_) => InSight::Nothing,
        }
    }

    /// - `filled`: ln(1+percent) of the positive entries that are filled
    pub(super) fn scale(self, filled: impl Iterator<Item = f64>) -> RowScale {
        let total = match self {
            Unit::Total(total) => total,
            Unit::Closed(total) => match filled.map(f64::exp_m1).sum::<f64>() {
                percent if percent > 0.0 => 100.0 * total / percent,
                _ => total,
            },
        };
        RowScale {
            scale: Scale(total),
        }
    }
}

impl RowScale {
    /// The number of the table for ln(1+percent).
    pub(super) fn of(self, y: f64) -> f64 {
        from_ln1p_percent(y, self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_of_an_empty_sample_adds_up_to_the_total_and_keeps_its_ratios() {
        let percents: [f64; 3] = [10.0, 30.0, 80.0]; // 120 percent
        let logs = percents.map(f64::ln_1p);
        let scale = Unit::Closed(600.0).scale(logs.into_iter());
        let values = logs.map(|y| scale.of(y));
        for (value, expected) in values.iter().zip([50.0, 150.0, 400.0]) {
            assert!((value - expected).abs() < 1e-9, "{values:?}");
        }
        // Else 100 percent are the total, whatever is filled.
        let scale = Unit::Total(600.0).scale(logs.into_iter());
        assert!((scale.of(logs[1]) - 180.0).abs() < 1e-9);
        assert_eq!(Unit::Closed(600.0).scale(std::iter::empty()).of(0.0), 0.0);
    }
}
