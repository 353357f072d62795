//! The bytes that come back from a host, taken apart. No sockets: bytes in, replies out.
//!
//! Every reply begins with the token of the conversation, 128 random bits that no task has ever seen. What stands
//! between replies is the output of the step that has begun, or noise of a profile or of a daemon left behind.
//! Payloads carry their length, so they may hold any byte, even a look-alike of a reply. The other end of this
//! protocol is `core.sh`, and `once.sh` where a single command begins with a reply and ends with the stream.

mod kept;

pub use kept::Kept;

use crate::shell::unescaped;

/// How much noise may come before the first reply, in bytes.
pub const NOISE_LIMIT: usize = 64 << 10;
/// The longest payload, and the longest line of a reply, in bytes.
const PAYLOAD_LIMIT: usize = 4 << 20;
const LINE_LIMIT: usize = 8 << 10;

/// The random words that mark replies. The public one counts only until something of the user's runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    pub public: String,
    pub secret: String,
}

/// One reply on stdout.
#[derive(Debug, PartialEq, Eq, Clone)]
pub enum Reply {
    Hello { uid: u32, home: Vec<u8> },
    /// The shell there fails the self-test, or (`stdin`) something else has read what is meant for it.
    Refused { stdin: bool },
    /// Handlers that are still pending, one line each.
    Handlers(Vec<u8>),
    Answer { seq: u32, status: i32, stdout: Vec<u8> },
    /// The group is told at once by a shell that is there for one command.
    Begun { seq: u32, group: Option<u32> },
    Group { seq: u32, group: u32 },
    Output(Vec<u8>),
    Done(Done),
    Lock { state: Lock, text: Vec<u8> },
    /// The worker has ended: nothing that has not begun will begin.
    Bye,
}

#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Done {
    pub seq: u32,
    pub end: End,
    /// Exit status of what was run.
    pub status: i32,
    /// What the probe said: after the change, or in a conflict instead of it.
    pub answer: Vec<u8>,
    /// The record from which the former state can come back.
    pub kept: Vec<u8>,
}

/// How a frame ended on the target.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum End {
    Changed,
    /// Ran, and counts as no change.
    Ran,
    Failed,
    /// It ran well, but the probe does not answer what the change expects.
    Unconverged,
    /// The answer is no longer the one that the verdict was made from.
    Conflict,
    /// The answer is still the one that the verdict was made from.
    Same,
    /// Not begun, since an earlier step of the flight has failed.
    Skipped,
    /// Not done, since the ledger or the lock does not allow it.
    Refused,
    /// Not done, since the former state could not be backed up.
    Unkept,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Lock {
    Ours,
    Held,
    Lost,
    Broken,
}

/// What a host sent that no honest shell would send.
#[derive(Debug, PartialEq, Eq, Clone, Copy, thiserror::Error)]
pub enum Damage {
    #[error("the login shell printed more than 64 KiB before the first reply")]
    Noise,
    #[error("a reply could not be understood")]
    Reply,
    #[error("other output got into the middle of a reply")]
    Mixed,
}

/// Takes the stdout of a shell apart, however it is split.
pub struct Stdout {
    tokens: Tokens,
    buffer: Vec<u8>,
    state: State,
    noise: usize,
    greeted: bool,
    in_step: bool,
}

enum State {
    Between,
    Payload { reply: Reply, first: usize, second: usize },
}

impl Stdout {
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens, buffer: Vec::new(), state: State::Between, noise: 0, greeted: false, in_step: false }
    }

    /// Takes the next bytes and adds what they complete to `replies`.
    ///
    /// # Errors
    /// Any [`Damage`]; the conversation cannot go on after it.
    pub fn feed(&mut self, bytes: &[u8], replies: &mut Vec<Reply>) -> Result<(), Damage> {
        self.buffer.extend_from_slice(bytes);
        loop {
            let progress = match &self.state {
                State::Between => self.between(replies)?,
                State::Payload { first, second, .. } => {
                    let length = first + second;
                    self.payload(length, replies)?
                }
            };
            if !progress {
                return Ok(());
            }
        }
    }

    /// What stands at the end of a stream that has ended amid a step, and is no beginning of a reply after all.
    pub fn rest(&mut self) -> Vec<u8> {
        if self.in_step { std::mem::take(&mut self.buffer) } else { Vec::new() }
    }

    fn payload(&mut self, length: usize, replies: &mut Vec<Reply>) -> Result<bool, Damage> {
        if self.buffer.len() <= length {
            return Ok(false);
        }
        if self.buffer[length] != b'\n' {
            return Err(Damage::Mixed);
        }
        let State::Payload { mut reply, first, .. } = std::mem::replace(&mut self.state, State::Between) else {
            return Ok(false);
        };
        let rest = self.buffer.split_off(length + 1);
        let mut payload = std::mem::replace(&mut self.buffer, rest);
        payload.truncate(length);
        match &mut reply {
            Reply::Answer { stdout, .. } => *stdout = payload,
            Reply::Handlers(text) | Reply::Lock { text, .. } => *text = payload,
            Reply::Done(done) => {
                done.kept = payload.split_off(first);
                done.answer = payload;
            }
            _ => {}
        }
        replies.push(reply);
        Ok(true)
    }

    fn between(&mut self, replies: &mut Vec<Reply>) -> Result<bool, Damage> {
        let Some((at, marker)) = self.next_marker() else {
            // The end may be the beginning of a marker.
            let ready = self.buffer.len() - self.tokens.begun_at_the_end_of(&self.buffer);
            let rest = self.buffer.split_off(ready);
            let text = std::mem::replace(&mut self.buffer, rest);
            self.text(text, replies)?;
            return Ok(false);
        };
        let Some(line_end) = self.buffer[at..].iter().position(|&byte| byte == b'\n').map(|end| at + end) else {
            return if self.buffer.len() - at > LINE_LIMIT { Err(Damage::Reply) } else { Ok(false) };
        };
        let rest = self.buffer.split_off(line_end + 1);
        let mut head = std::mem::replace(&mut self.buffer, rest);
        let line = head.split_off(at);
        self.text(head, replies)?;
        let line = std::str::from_utf8(&line[marker..line.len() - 1]).map_err(|_| Damage::Reply)?.to_owned();
        self.line(&line, replies)?;
        Ok(true)
    }

    /// Where the next reply begins, and the length of its marker.
    fn next_marker(&self) -> Option<(usize, usize)> {
        let find = |token: &str| find(&self.buffer, token.as_bytes()).map(|at| (at, token.len() + 1));
        let secret = find(&self.tokens.secret);
        // A step's output could hold the public token; only the secret one counts once a step has begun.
        if self.in_step { secret } else { secret.into_iter().chain(find(&self.tokens.public)).min() }
    }

    fn text(&mut self, text: Vec<u8>, replies: &mut Vec<Reply>) -> Result<(), Damage> {
        if text.is_empty() {
            return Ok(());
        }
        if self.in_step {
            replies.push(Reply::Output(text));
        } else if !self.greeted {
            self.noise += text.len();
            if self.noise > NOISE_LIMIT {
                return Err(Damage::Noise);
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str, replies: &mut Vec<Reply>) -> Result<(), Damage> {
        let mut words = line.splitn(2, ' ');
        let kind = words.next().unwrap_or_default();
        let rest = words.next().unwrap_or_default();
        if kind == "hello" {
            let (uid, home) = rest.split_once(' ').unwrap_or((rest, ""));
            self.greeted = true;
            replies.push(Reply::Hello { uid: number(uid)?, home: unescaped(home.as_bytes()) });
            return Ok(());
        }
        let fields: Vec<&str> = rest.split(' ').collect();
        let field = |at: usize| fields.get(at).copied().ok_or(Damage::Reply);
        let (reply, first, second) = match kind {
            "bye" => return Ok(replies.push(Reply::Bye)),
            "refuse" => return Ok(replies.push(Reply::Refused { stdin: rest == "stdin" })),
            "b" => {
                (self.greeted, self.in_step) = (true, true);
                let group = fields.get(1).map(|group| number(group)).transpose()?;
                return Ok(replies.push(Reply::Begun { seq: number(field(0)?)?, group }));
            }
            "p" => return Ok(replies.push(Reply::Group { seq: number(field(0)?)?, group: number(field(1)?)? })),
            "handlers" => (Reply::Handlers(Vec::new()), length(field(0)?)?, 0),
            "a" => {
                let reply = Reply::Answer { seq: number(field(0)?)?, status: status(field(1)?)?, stdout: Vec::new() };
                (reply, length(field(2)?)?, 0)
            }
            "d" => {
                self.in_step = false;
                let done = Done {
                    seq: number(field(0)?)?,
                    end: end(field(1)?)?,
                    status: status(field(2)?)?,
                    answer: Vec::new(),
                    kept: Vec::new(),
                };
                (Reply::Done(done), length(field(3)?)?, length(field(4)?)?)
            }
            "l" => {
                let state = match field(0)? {
                    "ours" => Lock::Ours,
                    "held" => Lock::Held,
                    "lost" => Lock::Lost,
                    "broken" => Lock::Broken,
                    _ => return Err(Damage::Reply),
                };
                (Reply::Lock { state, text: Vec::new() }, length(field(1)?)?, 0)
            }
            _ => return Err(Damage::Reply),
        };
        self.state = State::Payload { reply, first, second };
        Ok(())
    }
}

/// What a frame wrote on stderr, once all of it has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Remark {
    pub seq: u32,
    pub text: Kept,
}

/// Takes the stderr of a shell apart.
pub struct Stderr {
    tokens: Tokens,
    buffer: Vec<u8>,
    text: Kept,
    /// Somebody wants to hear what comes as it comes, from the first step on.
    is_live: bool,
    /// What has come since it was last taken, where somebody listens.
    fresh: Option<Vec<u8>>,
    /// What a step has said may hold the public token.
    in_step: bool,
}

impl Stderr {
    pub fn new(tokens: Tokens, is_live: bool) -> Self {
        Self { tokens, buffer: Vec::new(), text: Kept::default(), is_live, fresh: None, in_step: false }
    }

    /// From now on what comes can be taken as it comes, where somebody wants to hear it.
    pub fn listen(&mut self) {
        if self.is_live {
            self.fresh.get_or_insert_default();
        }
    }

    /// What has come since the last time.
    pub fn take_fresh(&mut self) -> Vec<u8> {
        self.fresh.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn push(&mut self, text: &[u8]) {
        self.text.push(text);
        if let Some(fresh) = &mut self.fresh {
            fresh.extend_from_slice(text);
        }
    }

    /// What has come since the last complete remark: before the first reply, why a shell did not open.
    pub fn loose(&self) -> Kept {
        let mut text = self.text.clone();
        text.push(&self.buffer);
        text
    }

    /// Nothing more will come.
    pub fn end(&mut self) {
        let rest = std::mem::take(&mut self.buffer);
        self.push(&rest);
    }

    /// Takes the next bytes; complete remarks go to `remarks`.
    ///
    /// # Errors
    /// [`Damage::Reply`] for a marker that makes no sense.
    pub fn feed(&mut self, bytes: &[u8], remarks: &mut Vec<Remark>) -> Result<(), Damage> {
        self.buffer.extend_from_slice(bytes);
        loop {
            let place = |token: &str| find(&self.buffer, token.as_bytes()).map(|at| (at, token.len() + 1));
            let public = if self.in_step { None } else { place(&self.tokens.public) };
            let Some((at, marker)) = place(&self.tokens.secret).into_iter().chain(public).min() else {
                let ready = self.buffer.len() - self.tokens.begun_at_the_end_of(&self.buffer);
                let rest = self.buffer.split_off(ready);
                let text = std::mem::replace(&mut self.buffer, rest);
                self.push(&text);
                return Ok(());
            };
            let Some(end) = self.buffer[at..].iter().position(|&byte| byte == b'\n').map(|end| at + end) else {
                return if self.buffer.len() - at > LINE_LIMIT { Err(Damage::Reply) } else { Ok(()) };
            };
            let rest = self.buffer.split_off(end + 1);
            let head = std::mem::replace(&mut self.buffer, rest);
            self.push(&head[..at]);
            let line = std::str::from_utf8(&head[at + marker..end]).map_err(|_| Damage::Reply)?;
            let text = std::mem::take(&mut self.text);
            if line.starts_with("b ") {
                self.in_step = true;
                self.listen();
            }
            if let Some(seq) = line.strip_prefix("e ") {
                remarks.push(Remark { seq: number(seq)?, text });
            }
        }
    }
}

impl Tokens {
    /// How many bytes at the end of a text may be the beginning of a marker, which is not there as a whole.
    fn begun_at_the_end_of(&self, text: &[u8]) -> usize {
        let longest = |token: &[u8]| (1..=token.len().min(text.len())).rev().find(|&length| text.ends_with(&token[..length])).unwrap_or(0);
        longest(self.secret.as_bytes()).max(longest(self.public.as_bytes()))
    }
}

fn find(text: &[u8], token: &[u8]) -> Option<usize> {
    // The token is followed by a blank in every reply.
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|&byte| byte == token[0]).map(|at| from + at) {
        if text[at..].starts_with(token) && text.get(at + token.len()) == Some(&b' ') {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn number(word: &str) -> Result<u32, Damage> {
    word.parse().map_err(|_| Damage::Reply)
}

/// ksh93 says 256 + N for a signal, where the others say 128 + N.
fn status(word: &str) -> Result<i32, Damage> {
    let status = i32::try_from(number(word)?).map_err(|_| Damage::Reply)?;
    Ok(if status > 256 { status - 128 } else { status })
}

fn length(word: &str) -> Result<usize, Damage> {
    word.parse().ok().filter(|&length| length <= PAYLOAD_LIMIT).ok_or(Damage::Reply)
}

/// How a step ended, by the word that the target has for it.
///
/// # Errors
/// It is no such word.
pub fn end(word: &str) -> Result<End, Damage> {
    Ok(match word {
        "changed" => End::Changed,
        "ran" => End::Ran,
        "failed" => End::Failed,
        "unconverged" => End::Unconverged,
        "conflict" => End::Conflict,
        "same" => End::Same,
        "skipped" => End::Skipped,
        "refused" => End::Refused,
        "unkept" => End::Unkept,
        _ => return Err(Damage::Reply),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens { public: "0123456789abcdef0123456789abcdef".into(), secret: "fedcba9876543210fedcba9876543210".into() }
    }

    /// The replies in short, whatever the size of the pieces in which the bytes come.
    fn check(text: &str) -> Result<String, Damage> {
        let text = text.replace("PUB", &tokens().public).replace("SEC", &tokens().secret);
        let whole = replies(text.as_bytes(), usize::MAX)?;
        for size in [1, 2, 7, 33] {
            assert_eq!(replies(text.as_bytes(), size)?, whole, "in pieces of {size}");
        }
        Ok(whole)
    }

    fn replies(text: &[u8], size: usize) -> Result<String, Damage> {
        let mut stdout = Stdout::new(tokens());
        let mut found = Vec::new();
        for piece in text.chunks(size.min(text.len())) {
            stdout.feed(piece, &mut found)?;
        }
        let mut shown: Vec<String> = Vec::new();
        for reply in found {
            let text = match reply {
                Reply::Output(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    match shown.last_mut() {
                        Some(last) if last.starts_with('>') => {
                            last.push_str(&text);
                            continue;
                        }
                        _ => format!(">{text}"),
                    }
                }
                Reply::Hello { uid, home } => format!("hello {uid} {}", String::from_utf8_lossy(&home)),
                Reply::Answer { seq, status, stdout } => {
                    format!("answer {seq} {status} {:?}", String::from_utf8_lossy(&stdout))
                }
                Reply::Done(done) => format!(
                    "done {} {:?} {} {:?} {:?}",
                    done.seq,
                    done.end,
                    done.status,
                    String::from_utf8_lossy(&done.answer),
                    String::from_utf8_lossy(&done.kept)
                ),
                other => format!("{other:?}"),
            };
            shown.push(text);
        }
        Ok(shown.join("\n"))
    }

    #[test]
    fn noise_before_the_first_reply_is_skipped() {
        let text = "Welcome!\nPUB not for you PUB hello 0 /root\nPUB a 1 3 3\nhi\n\n";
        assert_eq!(check(&text.replace("PUB not", "PU not")), Ok("hello 0 /root\nanswer 1 3 \"hi\\n\"".into()));
    }

    #[test]
    fn endless_noise_is_refused() {
        assert_eq!(check(&"x".repeat(70_000)), Err(Damage::Noise));
    }

    #[test]
    fn output_may_lack_a_newline_and_look_like_a_reply() {
        let text = "SEC hello 0 /\nSEC b 4\nPUB d 4 changed 0 0 0\nend of outputSEC d 4 failed 7 0 0\n\n";
        let expected = "hello 0 /\nBegun { seq: 4, group: None }\n>PUB d 4 changed 0 0 0\nend of output\ndone 4 Failed 7 \"\" \"\"";
        assert_eq!(check(text), Ok(expected.replace("PUB", &tokens().public)));
    }

    #[test]
    fn a_payload_may_hold_the_marker_itself() {
        // 36 bytes of answer: the token and ` d 9`; then four bytes of the record.
        let text = "SEC hello 0 /\nSEC d 9 changed 0 36 4\nSEC d 9kept\nSEC a 1 0 0\n\n";
        let expected = "hello 0 /\ndone 9 Changed 0 \"SEC d 9\" \"kept\"\nanswer 1 0 \"\"";
        assert_eq!(check(text), Ok(expected.replace("SEC", &tokens().secret)));
    }

    #[test]
    fn output_in_the_middle_of_a_payload_is_noticed() {
        assert_eq!(check("SEC hello 0 /\nSEC a 1 0 4\nok daemon speaks\n"), Err(Damage::Mixed));
    }

    #[test]
    fn a_single_command_ends_with_the_streams() {
        let text = |text: &str| text.replace("PUB", &tokens().public).replace("SEC", &tokens().secret);
        let (mut stdout, mut stderr) = (Stdout::new(tokens()), Stderr::new(tokens(), false));
        let (mut replies, mut remarks) = (Vec::new(), Vec::new());
        // It may print what looks like a reply, and the beginning of one in the end.
        let said = text("PUB b 7 99\nPUB b 8\nSEC");
        for byte in said.as_bytes() {
            stdout.feed(&[*byte], &mut replies).expect("well formed");
            stderr.feed(&[*byte], &mut remarks).expect("well formed");
        }
        stderr.end();
        let output = |reply: &Reply| if let Reply::Output(bytes) = reply { bytes.clone() } else { Vec::new() };
        let mut printed: Vec<u8> = replies.iter().flat_map(output).collect();
        printed.extend(stdout.rest());
        assert_eq!(replies[0], Reply::Begun { seq: 7, group: Some(99) });
        assert_eq!(String::from_utf8_lossy(&printed), text("PUB b 8\nSEC"));
        assert_eq!(String::from_utf8_lossy(&stderr.loose().bytes()), text("PUB b 8\nSEC"));
    }

    #[test]
    fn remarks_belong_to_their_frame() {
        let mut stderr = Stderr::new(tokens(), false);
        let mut remarks = Vec::new();
        let text = "profile\nPUB e 1\nwarning\nSEC e 2\nSEC b 3\nerrSEC e 3\n";
        let text = text.replace("PUB", &tokens().public).replace("SEC", &tokens().secret);
        for byte in text.as_bytes() {
            stderr.feed(&[*byte], &mut remarks).expect("well formed");
        }
        let shown: Vec<String> =
            remarks.iter().map(|one| format!("{} {}", one.seq, String::from_utf8_lossy(&one.text.bytes()))).collect();
        assert_eq!(shown, ["1 profile\n", "2 warning\n", "3 err"]);
    }
}
