//! A run from prepared input to exit code: signals, events, and what is shown.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, watch};

use super::options::{OutputForm, Showing};
use super::{BAD_INPUT, NO_HOST, complain};
use crate::diag::{Diagnostic, Level, any_error, draw};
use crate::engine::{self, Input};
use crate::event::{Event, RunEnd, Totals};
use crate::journal::{self, Journal};
use crate::remote::Stop;
use crate::render::{Human, Json, JsonLines, OutputView, Outputs, Progress, Show, View, Why};

/// Something that has been done is not known, or not to the journal.
const UNKNOWN: u8 = 7;
/// Between a second Ctrl-C and the end, whatever is under way.
const LAST_GRACE: Duration = Duration::from_millis(1500);

/// Prepares and runs. Problems with the input are shown, and then no host is contacted.
///
/// # Errors
/// When this machine fails us.
pub fn run(input: Input, problems: Vec<Diagnostic>, showing: &Showing, diff: bool, note: Option<Note>) -> Result<u8> {
    run_heard(input, problems, showing, diff, note, None)
}

/// As [`run`], and somebody else hears every event, too.
///
/// # Errors
/// When this machine fails us.
pub fn run_heard(mut input: Input, mut problems: Vec<Diagnostic>, showing: &Showing, diff: bool, note: Option<Note>, listener: Option<Listener>) -> Result<u8> {
    let run = run_id(&input);
    let prepared = if any_error(&problems) { None } else { Some(engine::prepare(&mut input, &run, &mut problems)) };
    if let Some(exit) = refused(&input, &mut problems, showing) {
        return Ok(exit);
    }
    let Some(prepared) = prepared else { return Ok(BAD_INPUT) };
    if prepared.of_hosts == 0 {
        complain("error: no host matched; nothing was done\n  = help: `mutate inventory list` shows the hosts; look at `hosts` in the playbook and at `-l`");
        return Ok(NO_HOST);
    }
    tell_part(&input, &run, prepared.hosts.len(), prepared.of_hosts, showing);
    super::passphrases::ask(&input, prepared.hosts.values())?;
    let journal = begin_journal(&mut input, &run, note)?;
    let (exit, ()) = watched(Some(showing), diff, journal, listener, |events, stop| async move {
        let (_, exit) = engine::execute(input, prepared, run, events, stop).await;
        (exit, ())
    })?;
    Ok(exit)
}

/// Prepares what is done without a playbook: the hosts, or the exit code with which it ends here.
pub fn prepared(input: &mut Input, run: &str, mut problems: Vec<Diagnostic>, showing: &Showing) -> std::result::Result<engine::Prepared, u8> {
    let prepared = engine::prepare(input, run, &mut problems);
    if let Some(exit) = refused(input, &mut problems, showing) {
        return Err(exit);
    }
    if prepared.of_hosts == 0 {
        complain("error: no host matched; nothing was done");
        return Err(NO_HOST);
    }
    Ok(prepared)
}

/// Says which part of the hosts this is, and that it may be none.
pub fn tell_part(input: &Input, run: &str, hosts: usize, of_hosts: usize, showing: &Showing) {
    let Some(shard) = input.options.shard else { return };
    if showing.quiet || showing.output != OutputForm::Human {
        return;
    }
    let nothing = if hosts == 0 { "; there is nothing to do here" } else { "" };
    complain(&format!("shard {shard} of the run {run}: {hosts} of {of_hosts} hosts{nothing}"));
}

/// The name that the run was given, or a new one.
pub fn run_id(input: &Input) -> String {
    input.options.run_id.clone().unwrap_or_else(new_run_id)
}

/// Shows problems that keep a run from beginning; the exit code, if there are any.
pub fn refused(input: &Input, problems: &mut Vec<Diagnostic>, showing: &Showing) -> Option<u8> {
    if !any_error(problems) {
        return None;
    }
    problems.retain(|one| one.level == Level::Error);
    let color = super::wants_color(showing.color, super::stderr_is_terminal());
    complain(&draw(problems, &input.sources, color));
    // A limit that fits no host is a question of which hosts, not of bad text.
    let only_hosts = problems.iter().all(|one| one.code == "no-host");
    Some(if only_hosts { NO_HOST } else { BAD_INPUT })
}

/// What is remembered of a run besides what happens in it. A run without it changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Note {
    pub reason: String,
    /// The run that this one undoes.
    pub undoes: Option<String>,
    /// The words that it stands for, where they are not those of this command line.
    pub arguments: Option<Vec<String>>,
}

/// Somebody who hears every event.
pub type Listener = Box<dyn FnMut(&Event) + Send>;

/// Opens the journal for a run that may change something; from then on nothing is changed that it does not know of.
///
/// # Errors
/// Why it cannot be used.
pub fn begin_journal(input: &mut Input, run: &str, note: Option<Note>) -> Result<Option<Arc<Journal>>> {
    let Some(note) = note else { return Ok(None) };
    let mut opening = opening(input, run, &note.reason);
    opening.run.undoes = note.undoes;
    if let Some(arguments) = note.arguments {
        opening.run.arguments = arguments;
    }
    let journal = Arc::new(Journal::begin(&super::journal::place()?, opening)?);
    input.memory = Some(journal.clone());
    Ok(Some(journal))
}

/// What is known of a run when it begins.
pub fn opening(input: &Input, run: &str, reason: &str) -> journal::Opening {
    let run = journal::Run {
        id: run.to_owned(),
        command: input.options.command.clone(),
        started: jiff::Timestamp::now().to_string(),
        ended: None,
        who: input.who.split(" key ").next().unwrap_or_default().to_owned(),
        reason: reason.to_owned(),
        arguments: super::settings::words().iter().map(|word| journal::without_password(word)).collect(),
        files: files_of(input),
        undoes: None,
        exit: None,
        seconds: 0.0,
        totals: serde_json::Map::new(),
        shards: Vec::new(),
        of_shards: 0,
    };
    // Without a name that they share, each part is a run of its own.
    let shard = if input.options.run_id.is_some() { input.options.part() } else { crate::inventory::Shard::WHOLE };
    let shared_files = run.files.iter().filter(|(name, _)| !is_program(name)).cloned().collect();
    journal::Opening { run, shard, who: input.who.clone(), shared_files }
}

/// What a program prints may be another text every time.
fn is_program(name: &str) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(name).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

/// The files that a run is made from, with their SHA-256.
pub fn files_of(input: &Input) -> Vec<(String, String)> {
    input.sources.all().iter().filter(|source| source.name != "command line").map(|source| (source.name.clone(), hex(source.text.as_bytes()))).collect()
}

/// Where this user's journal is, unless another one is named; and what else this machine remembers is beside it.
pub fn journal_path() -> PathBuf {
    let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
    journal::path(std::env::var_os("XDG_STATE_HOME").map(PathBuf::from), &home)
}

/// SHA-256 in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    crate::module::Content::new(bytes.to_vec()).sha256().to_owned()
}

/// Drives a run while signals are heeded and events are shown and remembered. Without a `showing` nothing is shown.
///
/// # Errors
/// When this machine fails us.
pub fn watched<T: Default, R: Future<Output = (u8, T)>>(
    showing: Option<&Showing>,
    diff: bool,
    journal: Option<Arc<Journal>>,
    listener: Option<Listener>,
    start: impl FnOnce(mpsc::UnboundedSender<Event>, watch::Receiver<Stop>) -> R,
) -> Result<(u8, T)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    let (exit, came, shown) = runtime.block_on(async {
        let (events, incoming) = mpsc::unbounded_channel();
        let (stop_sender, stop) = watch::channel(Stop::No);
        let signals = tokio::spawn(listen(stop_sender));
        let shown = tokio::task::spawn_blocking({
            let (showing, journal) = (showing.cloned(), journal.clone());
            move || match showing {
                Some(showing) => show_all(incoming, &showing, diff, journal.as_deref(), listener),
                None => {
                    drain(incoming);
                    Shown::default()
                }
            }
        });
        let mut last = stop.clone();
        let over = async move {
            if last.wait_for(|wanted| *wanted == Stop::Now).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LAST_GRACE).await;
        };
        let (exit, came) = tokio::select! {
            ended = start(events, stop) => ended,
            () = over => (130, T::default()),
        };
        signals.abort();
        // What is still under way must not hold the end up.
        let shown = if exit == 130 { tokio::time::timeout(Duration::from_millis(300), shown).await.ok().and_then(Result::ok) } else { shown.await.ok() };
        (exit, came, shown.unwrap_or_default())
    });
    // A lookup of a name, or a reader that takes nothing more, must not hold the end up.
    runtime.shutdown_background();
    let mut is_lame = shown.is_lame;
    let trouble = shown.trouble.is_some();
    if let Some(error) = shown.trouble {
        complain(&format!("error: the results could not be written to stdout: {error}; the run itself has ended with {exit}"));
    }
    if let Some(journal) = journal {
        is_lame |= !is_closed(&journal);
    }
    let exit = match exit {
        130 => 130,
        // What the journal has not taken down is as unknown to whoever looks there as what nobody heard of.
        _ if is_lame => UNKNOWN,
        0 if trouble => BAD_INPUT,
        exit => exit,
    };
    Ok((exit, came))
}

/// The first signal stops gently, the second at once.
async fn listen(stop: watch::Sender<Stop>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        let next = if *stop.borrow() == Stop::No { Stop::Gently } else { Stop::Now };
        if next == Stop::Gently {
            complain("\nstopping: what has begun is finished, nothing more is started; once more to stop at once");
        }
        // The run may be over already.
        let _heard = stop.send(next);
    }
}

/// Lets events go by until nobody sends any more.
fn drain(mut events: mpsc::UnboundedReceiver<Event>) {
    while events.blocking_recv().is_some() {}
}

/// The way to show a run that was asked for.
pub fn shower(showing: &Showing, diff: bool, out: Box<dyn Write + Send>) -> Box<dyn Show> {
    let view = View {
        verbosity: showing.verbose,
        diff,
        color: super::wants_color(showing.color, super::stdout_is_terminal()),
        quiet: showing.quiet,
    };
    match showing.output {
        OutputForm::Human if let Some(outputs) = showing.outputs => {
            let color = super::wants_color(showing.color, super::stdout_is_terminal());
            Box::new(Outputs::new(out, Box::new(std::io::stderr()), OutputView { color, quiet: showing.quiet, ..outputs }))
        }
        OutputForm::Human if showing.tells_why => Box::new(Why::new(out, view.color)),
        OutputForm::Human => Box::new(Human::new(out, view)),
        OutputForm::Json => Box::new(Json::new(out)),
        OutputForm::Jsonl => Box::new(JsonLines::new(out)),
    }
}

/// Shows events until the run is over. What comes back is what went wrong with that.
fn show_all(mut events: mpsc::UnboundedReceiver<Event>, showing: &Showing, diff: bool, journal: Option<&Journal>, mut listener: Option<Listener>) -> Shown {
    let trouble: Trouble = Arc::default();
    let out: Box<dyn Write + Send> = Box::new(BufWriter::new(Heeded { out: std::io::stdout(), trouble: trouble.clone() }));
    let mut main = shower(showing, diff, out);
    let mut progress = Progress::new(super::stderr_is_terminal() && !showing.quiet && !showing.is_asked && showing.output == OutputForm::Human);
    let begun = std::time::Instant::now();
    let mut totals = Totals::new();
    let (mut ended, mut is_lame) = (false, false);
    while let Some(mut event) = events.blocking_recv() {
        if let Event::Step(step) = &event {
            *totals.entry(step.outcome).or_default() += 1;
        }
        ended = matches!(event, Event::RunEnd(_));
        if let Some(journal) = journal {
            journal.take(&event);
            // Everything is on the disk before anybody is told how the run ended.
            if let Event::RunEnd(end) = &mut event
                && !is_closed(journal)
                && end.exit != 130
            {
                end.exit = UNKNOWN;
                is_lame = true;
            }
        }
        if let Some(listener) = &mut listener {
            listener(&event);
        }
        progress.take(&event);
        progress.aside(|| main.take(&event));
        if ended {
            break;
        }
    }
    if !ended {
        // The run was left in the middle, and what is known of it is shown all the same.
        let end = Event::RunEnd(RunEnd { totals, exit: 130, time: begun.elapsed() });
        progress.take(&end);
        main.take(&end);
    }
    drop(main);
    Shown { trouble: trouble.lock().expect("nothing panics while it holds this lock").take(), is_lame }
}

/// What became of the showing of a run.
#[derive(Default)]
struct Shown {
    /// Why the results could not be written.
    trouble: Option<std::io::Error>,
    /// The journal does not know everything.
    is_lame: bool,
}

fn is_closed(journal: &Journal) -> bool {
    let closed = journal.close();
    if let Err(error) = &closed {
        complain(&format!("error: the journal does not know how this run ended: {error:#}; `mutate journal check` looks at it"));
    }
    closed.is_ok()
}

type Trouble = Arc<Mutex<Option<std::io::Error>>>;

/// stdout, where the first failure to write is remembered: a full disk must not look like success. A reader that has
/// gone away is no failure.
struct Heeded<W> {
    out: W,
    trouble: Trouble,
}

impl<W: Write> Heeded<W> {
    fn heed<T>(&self, result: std::io::Result<T>) -> std::io::Result<T> {
        result.inspect_err(|error| {
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                let copy = std::io::Error::new(error.kind(), error.to_string());
                self.trouble.lock().expect("nothing panics while it holds this lock").get_or_insert(copy);
            }
        })
    }
}

impl<W: Write> Write for Heeded<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes);
        self.heed(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.out.flush();
        self.heed(flushed)
    }
}

/// When a run began, by its name; empty for what is no name of a run.
pub fn time_of(run: &str) -> String {
    let digit = |letter: u8| LETTERS.iter().position(|&one| one == letter);
    let millis = run.bytes().take(10).try_fold(0_i64, |number, letter| Some(number << 5 | i64::try_from(digit(letter)?).ok()?));
    millis.filter(|_| run.len() == 26).and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()).map(|time| time.to_string()).unwrap_or_default()
}

const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A name for a run: 26 letters and digits that sort by time (ULID).
pub fn new_run_id() -> String {
    let millis = u128::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
    let mut random = [0_u8; 10];
    getrandom::fill(&mut random).expect("the system has a source of randomness");
    let random = random.iter().fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
    let number = millis << 80 | random;
    (0..26).rev().map(|at| LETTERS[usize::try_from(number >> (at * 5) & 31).unwrap_or(0)] as char).collect()
}
