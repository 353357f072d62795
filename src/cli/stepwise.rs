//! `apply --step`: each change is shown, and made when somebody says so.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::pin::Pin;

use tokio::sync::Mutex;

use super::options::Color;
use crate::engine::{Consent, Wish, Word};
use crate::render::{colored_diff, safe};

const CHOICE: &str = "  change it? [y]es, [n]o, [t]ask: yes on all hosts, [a]ll that follows, [q]uit: ";
const MEANING: &str = "    y  make this change
    n  leave it as it is; what depends on it may differ or fail then
    t  make it, and what this task changes on other hosts, too
    a  make it, and everything that follows, and ask no more
    q  make no more changes, and end the run";

/// Asks on stderr, and reads the answers from stdin.
pub struct Stepwise {
    said: Mutex<Said>,
    color: bool,
}

/// What holds for later questions.
#[derive(Default)]
struct Said {
    all: bool,
    quit: bool,
    /// Places of tasks.
    tasks: BTreeSet<String>,
}

impl Stepwise {
    pub fn new(color: Color) -> Self {
        Self { said: Mutex::default(), color: super::wants_color(color, super::stderr_is_terminal()) }
    }

    fn show(&self, wish: &Wish) {
        let on = wish.delegated_to.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
        let item = wish.item.as_ref().map(|item| format!(" ({})", item.as_str().map_or_else(|| item.to_string(), str::to_owned))).unwrap_or_default();
        let mut text = format!("{}{on}: {}{item}  {} at {}", wish.host, wish.task, wish.module, wish.place).replace('\n', " ");
        if !wish.message.is_empty() {
            text.push_str(&format!("\n    {}", wish.message.trim_end().replace('\n', "\n    ")));
        }
        let mut text = safe(text.as_bytes());
        if !wish.diff.is_empty() {
            text.push('\n');
            text.push_str(&colored_diff(&wish.diff, self.color));
        }
        super::complain(&text);
    }
}

impl Consent for Stepwise {
    fn ask<'a>(&'a self, wish: &'a Wish) -> Pin<Box<dyn Future<Output = Word> + Send + 'a>> {
        Box::pin(async move {
            let mut said = self.said.lock().await;
            if said.quit {
                return Word::Quit;
            }
            if said.all || said.tasks.contains(&wish.place) {
                return Word::Yes;
            }
            self.show(wish);
            loop {
                let line = tokio::task::spawn_blocking(read_line).await.unwrap_or_default();
                match line.as_deref().map(|line| line.trim().to_lowercase()).as_deref() {
                    Some("y" | "yes") => return Word::Yes,
                    Some("n" | "no") => return Word::No,
                    Some("t" | "task") => {
                        said.tasks.insert(wish.place.clone());
                        return Word::Yes;
                    }
                    Some("a" | "all" | "c" | "continue") => {
                        said.all = true;
                        return Word::Yes;
                    }
                    Some("q" | "quit") => break,
                    Some(_) => super::complain(MEANING),
                    None => {
                        super::complain("\nnobody answers on stdin, so nothing more is changed");
                        break;
                    }
                }
            }
            said.quit = true;
            // The same as Ctrl-C: what has been agreed to is finished, nothing more is started.
            let _stops = nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT);
            Word::Quit
        })
    }
}

/// The next line, or `None` where there is none any more.
fn read_line() -> Option<String> {
    let mut terminal = std::io::stderr();
    let _asked = terminal.write_all(CHOICE.as_bytes()).and_then(|()| terminal.flush());
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line),
    }
}
