//! A run's ledger on a host, read: `begin SEQ LABEL`, `kept SEQ RECORD`, `done SEQ OUTCOME STATUS`.

use std::collections::BTreeMap;

use crate::event::Seen;
use crate::remote::wire::{self, End};
use crate::shell::{Pattern, Script};

/// What a ledger says of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    NeverBegun,
    /// It was begun, and there is no word of its end.
    Open,
    /// How it ended, with the exit status of what was run.
    Ended(End, i32),
}

/// How a change ended whose shell was killed in it, by what the host answered before and answers now. `None`: the user's own
/// command has not come to what its task tests, and may have done something all the same.
pub fn by_answer(before: &Seen, expect: Option<&Pattern>, now: &Seen, by_user: bool) -> Option<End> {
    match expect {
        _ if before == now => (!by_user).then_some(End::Skipped),
        _ if by_user => Some(End::Changed),
        Some(expect) if now.status == 0 && expect.fits(&now.stdout.0) => Some(End::Changed),
        _ => Some(End::Unconverged),
    }
}

/// Adds to a run's ledger how a change ended whose shell could not say it any more.
pub fn note(run: &str, seq: u32, end: End) -> Script {
    let word = match end {
        End::Changed => "changed",
        End::Skipped => "skipped",
        _ => "unconverged",
    };
    // A run is named by letters and digits.
    crate::sh!("printf 'done %s %s 0\\n' {} {} >>\"$st/runs/\"{}/ledger", seq, word, run)
}

pub struct Ledger<'a> {
    lines: Vec<(&'a [u8], u32, &'a [u8])>,
}

impl<'a> Ledger<'a> {
    pub fn read(bytes: &'a [u8]) -> Self {
        let word = |line: &'a [u8]| {
            let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
            (&line[..end], line.get(end + 1..).unwrap_or_default())
        };
        let line = |line: &'a [u8]| {
            let (kind, rest) = word(line);
            let (seq, rest) = word(rest);
            Some((kind, text(seq).parse().ok()?, rest))
        };
        Self { lines: bytes.split(|&byte| byte == b'\n').filter_map(line).collect() }
    }

    /// The record of the backup that was made for a step.
    pub fn kept(&self, seq: u32) -> &'a [u8] {
        self.lines.iter().rev().find(|line| line.0 == b"kept" && line.1 == seq).map(|line| line.2).unwrap_or_default()
    }

    /// Changes that the host has taken back by itself, with the status of that; see `watch.sh`. The last word counts.
    pub fn undone(&self) -> BTreeMap<u32, i32> {
        self.lines.iter().filter(|line| line.0 == b"undone").map(|line| (line.1, text(line.2).parse().unwrap_or(5))).collect()
    }

    pub fn fate(&self, seq: u32) -> Fate {
        // What was judged anew was begun again, and then the end of the first time says nothing.
        let Some(begun) = self.lines.iter().rposition(|line| line.0 == b"begin" && line.1 == seq) else { return Fate::NeverBegun };
        let Some(done) = self.lines[begun..].iter().find(|line| line.0 == b"done" && line.1 == seq) else { return Fate::Open };
        let (word, status) = text(done.2).split_once(' ').unwrap_or((text(done.2), ""));
        wire::end(word).map_or(Fate::Open, |end| Fate::Ended(end, status.parse().unwrap_or(0)))
    }
}

/// Words and numbers are ASCII.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_tells_how_steps_ended() {
        let ledger = Ledger::read(
            b"run X ann\nfor web1\nkept 9 link 0 0 caf\xe9\nbegin 2 file a.toml:1 x\nkept 2 file 0644 abc\ndone 2 changed 0\nbegin 3 x\ndone 3 conflict\nbegin 4 y\nbegin 3 x\ndone 3 failed 1\nbegin 6 z\ndone 6 conflict\nbegin 6 z\n",
        );
        let fates = [2, 3, 4, 5, 6].map(|seq| ledger.fate(seq));
        assert_eq!(fates, [Fate::Ended(End::Changed, 0), Fate::Ended(End::Failed, 1), Fate::Open, Fate::NeverBegun, Fate::Open]);
        assert_eq!(ledger.kept(2), b"file 0644 abc");
    }
}
