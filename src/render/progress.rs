//! How far a run is, on a terminal's stderr.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Show, safe};
use crate::event::Event;

/// A line at the bottom of the terminal; it is not there when stderr is no terminal.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// `is_shown` says whether stderr is a terminal that people look at.
    pub fn new(is_shown: bool) -> Self {
        let target = if is_shown { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{spinner} {pos}/{len} hosts  {elapsed}  {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(0), target);
        bar.set_style(style);
        Self { bar }
    }

    /// Runs `print` while the line is out of the way.
    pub fn aside(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Show for Progress {
    fn take(&mut self, event: &Event) {
        match event {
            Event::RunStart(start) => self.bar.set_length(start.hosts.len() as u64),
            Event::Batch { .. } | Event::Output(_) => {}
            Event::HostStart { host } => self.bar.set_message(format!("{} …", safe(host.as_bytes()))),
            Event::Step(step) => {
                let text = format!("{}: {} ({})", step.host, step.task, step.outcome.name());
                self.bar.set_message(safe(text.replace('\n', " ").as_bytes()));
                self.bar.tick();
            }
            Event::HostEnd(_) => self.bar.inc(1),
            Event::RunEnd(_) => self.bar.finish_and_clear(),
        }
    }
}
