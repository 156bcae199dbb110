//! Figures: samples in, what is told of them out.

use std::time::Duration;

use serde::Serialize;

/// What is told of a series of samples.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// In what.
    pub unit: &'static str,
    /// How many samples there are.
    pub samples: usize,
    pub p50: f64,
    pub p99: f64,
    pub min: f64,
    pub max: f64,
}

impl Figure {
    /// Of samples in `unit`, in any order; there must be one.
    pub fn of(what: impl Into<String>, unit: &'static str, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        // The smallest sample that is not below the share `q` of all.
        let at = |q: f64| samples[((samples.len() as f64 * q).ceil() as usize).clamp(1, samples.len()) - 1];
        Self { what: what.into(), unit, samples: samples.len(), p50: at(0.5), p99: at(0.99), min: at(0.0), max: at(1.0) }
    }

    /// One number.
    pub fn one(what: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self::of(what, unit, vec![value])
    }
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
