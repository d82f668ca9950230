//! The one place that writes to the terminal: data to stdout, talk to stderr.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::error::Error as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};
use suffuse::Error;
use suffuse_model::train::Progress;

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volume {
    /// Errors only.
    Quiet,
    /// Notes and progress.
    Normal,
    /// Details as well.
    Verbose,
}

/// The program's voice.
pub(crate) struct Talk {
    volume: Volume,
    progress: ProgressLine,
}

/// Shortest time between two progress lines where stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(20);

enum ProgressLine {
    Off,
    Bar { bar: ProgressBar, stage: String },
    Lines { stage: String, last: Instant },
}

impl Talk {
    pub(crate) fn new(volume: Volume) -> Self {
        let progress = if volume == Volume::Quiet {
            ProgressLine::Off
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template(
                    "{prefix:<12} {bar:32} {pos}/{len}  {msg}  {eta} left",
                )
                .expect("the template is a constant that indicatif accepts"),
            );
            ProgressLine::Bar {
                bar,
                stage: String::new(),
            }
        } else {
            ProgressLine::Lines {
                stage: String::new(),
                last: Instant::now(),
            }
        };
        Talk { volume, progress }
    }

    /// Writes results to stdout.
    ///
    /// # Errors
    /// The stream is closed or full. A reader that has seen enough (`| head`) is no error.
    pub(crate) fn data(&self, text: &str) -> suffuse::Result<()> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| {
                if text.ends_with('\n') {
                    Ok(())
                } else {
                    stdout.write_all(b"\n")
                }
            })
            .and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::io("standard output", "write", error))
            }
            _ => Ok(()),
        }
    }

    /// Writes a JSON value to stdout.
    ///
    /// # Errors
    /// As [`Talk::data`].
    pub(crate) fn json(&self, value: &serde_json::Value) -> suffuse::Result<()> {
        self.data(&format!("{value:#}"))
    }

    /// Says something that the user should know.
    pub(crate) fn note(&mut self, text: &str) {
        if self.volume >= Volume::Normal {
            self.line(text);
        }
    }

    /// Says something that only the curious want to know.
    pub(crate) fn detail(&mut self, text: &str) {
        if self.volume >= Volume::Verbose {
            self.line(text);
        }
    }

    /// Shows a step of training or sampling.
    pub(crate) fn step(&mut self, progress: &Progress) {
        match &mut self.progress {
            ProgressLine::Off => {}
            ProgressLine::Bar { bar, stage } => {
                if *stage != progress.stage {
                    stage.clone_from(&progress.stage);
                    bar.reset();
                    bar.set_prefix(progress.stage.clone());
                }
                bar.set_length(progress.n_steps as u64);
                bar.set_position(progress.step as u64);
                bar.set_message(losses(progress));
                if progress.step >= progress.n_steps {
                    bar.finish_and_clear();
                }
            }
            ProgressLine::Lines { stage, last } => {
                let is_new = *stage != progress.stage;
                if is_new || last.elapsed() >= LINE_EVERY || progress.step == progress.n_steps {
                    stage.clone_from(&progress.stage);
                    *last = Instant::now();
                    let mut line = format!(
                        "{}: step {} of {}",
                        progress.stage, progress.step, progress.n_steps
                    );
                    for fact in [losses(progress), time_left(progress)] {
                        if !fact.is_empty() {
                            line.push_str("  ");
                            line.push_str(&fact);
                        }
                    }
                    self.line(&line);
                }
            }
        }
    }

    /// Says what stopped the program: the message, then the causes that it does not already name.
    pub(crate) fn error(&mut self, error: &Error) {
        let mut said = error.to_string();
        self.line(&format!("error: {said}"));
        let mut cause = error.source();
        while let Some(current) = cause {
            let text = current.to_string();
            if !said.contains(&text) {
                self.line(&format!("  because: {text}"));
                said.push_str(&text);
            }
            cause = current.source();
        }
    }

    fn line(&self, text: &str) {
        let write = || {
            // A closed stderr leaves nobody to tell.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        };
        match &self.progress {
            ProgressLine::Bar { bar, .. } => bar.suspend(write),
            _ => write(),
        }
    }
}

fn losses(progress: &Progress) -> String {
    let mut text = String::new();
    if progress.loss.is_finite() {
        text = format!("loss {:.4}", progress.loss);
    }
    if let Some(validation) = progress.validation {
        text.push_str(&format!("  validation {validation:.4}"));
    }
    text
}

/// Empty after the first step, which also warms up, and at the end.
fn time_left(progress: &Progress) -> String {
    if progress.step < 2 {
        return String::new();
    }
    let n_left = progress.n_steps.saturating_sub(progress.step) as f64;
    let seconds = progress.seconds / progress.step as f64 * n_left;
    if seconds >= 1.0 {
        format!("{} left", duration(seconds))
    } else {
        String::new()
    }
}

/// A time span as people say it.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_are_written_in_the_largest_two_units() {
        assert_eq!(duration(59.4), "59 s");
        assert_eq!(duration(61.0), "1 min 01 s");
        assert_eq!(duration(7_260.0), "2 h 01 min");
    }

    #[test]
    fn the_time_left_is_that_of_the_steps_still_to_come() {
        let progress = Progress {
            stage: "fit".to_string(),
            step: 10,
            n_steps: 40,
            loss: f64::NAN,
            validation: None,
            seconds: 20.0,
        };
        assert_eq!(time_left(&progress), "1 min 00 s left");
        assert_eq!(losses(&progress), "");
    }
}
