//! Who was sampled when.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// Subject and time of each sample of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Occasions {
    /// Number of the subject of each sample, as [`crate::split::groups`] gives it.
    pub subject: Vec<usize>,
    /// Time of each sample, in any unit; `NaN` is not known, and such a sample is never hidden.
    pub time: Vec<f64>,
}

impl Occasions {
    /// Samples of each subject at each time, by subject and rising time; samples of unknown time
    /// are left out.
    ///
    /// # Errors
    /// Another number of subjects or times than of samples.
    pub fn time_points(&self, n_samples: usize) -> Result<Vec<Vec<usize>>> {
        for (what, found) in [("subjects", self.subject.len()), ("times", self.time.len())] {
            if found != n_samples {
                return Err(Error::Shape {
                    what: format!("{what} of samples"),
                    found,
                    expected: n_samples,
                });
            }
        }
        let mut points: BTreeMap<(usize, Time), Vec<usize>> = BTreeMap::new();
        for sample in (0..n_samples).filter(|sample| !self.time[*sample].is_nan()) {
            // Adding 0 turns -0 into 0.
            let key = (self.subject[sample], Time(self.time[sample] + 0.0));
            points.entry(key).or_default().push(sample);
        }
        Ok(points.into_values().collect())
    }
}

/// A time that can be a key.
#[derive(Debug, Clone, Copy)]
struct Time(f64);

impl Ord for Time {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Time {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_subject_at_one_time_belong_together() {
        let occasions = Occasions {
            subject: vec![1, 0, 1, 1, 0, 1],
            time: vec![3.0, 0.0, 1.0, 3.0, -0.0, f64::NAN],
        };
        let points = occasions.time_points(6).unwrap();
        assert_eq!(points, [vec![1, 4], vec![2], vec![0, 3]]);
        assert!(occasions.time_points(5).is_err());
    }
}
