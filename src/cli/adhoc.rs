//! `run`, `do`, `script`, `push` and `fetch`: one thing on many hosts, from the command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use minijinja::Value;

use super::input::{What, input, modules_here};
use super::manual::{kind, schema_of};
use super::options::Common;
use super::reports::Told;
use super::runner::{self, Note};
use super::split::Split;
use super::{settings, stdout_is_terminal};
use crate::diag::nearest;
use crate::engine::{self, Input};
use crate::module::Registration;
#[cfg(test)]
use crate::modules;
use crate::render::{Form, OutputView};
use crate::shell::quoted;

/// Text that travels in a frame, which holds 1 MiB, quoted where need be.
const STDIN_LIMIT_BYTES: usize = 512 << 10;

/// How outputs are shown and how far a command may go.
#[derive(Args, Clone, Default)]
pub struct Gathering {
    /// Show equal outputs once, below all hosts that gave them. The usual on a terminal.
    #[arg(short = 'b', long, help_heading = "Output")]
    fold: bool,
    /// Show each line behind the name of its host, as it comes. The usual where stdout is no terminal.
    #[arg(short = 'L', long, conflicts_with_all = ["fold", "diff"], help_heading = "Output")]
    label: bool,
    /// Show the lines alone, without the names of hosts.
    #[arg(short = 'N', long, conflicts_with_all = ["fold", "diff", "label"], help_heading = "Output")]
    no_label: bool,
    /// Show the output that most hosts gave, and what the others differ in.
    #[arg(short = 'D', long, conflicts_with = "fold", help_heading = "Output")]
    diff: bool,
    /// Show lines as they come, before the report.
    #[arg(short = 's', long = "stream", help_heading = "Output")]
    live: bool,
    /// Begin on no other host once more than this many have failed: a number, or a part such as `10%`.
    #[arg(long, value_name = "LIMIT")]
    max_fail: Option<String>,
    /// Longest time on a host, in seconds.
    #[arg(short = 't', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Give each host's command what stands on this one's stdin.
    #[arg(long)]
    stdin: bool,
    /// Folder to run in, on the hosts.
    #[arg(long, value_name = "PATH")]
    chdir: Option<String>,
    /// Why this is done, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    told: Told,
    #[command(flatten)]
    split: Split,
}

#[derive(Args)]
#[command(mut_arg("become_it", |arg| arg.short(None)))]
pub struct Run {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    pattern: String,
    /// The command, after `--`; the host's `sh` reads it. Several words are joined by blanks, as `ssh` does.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Fill `{{ … }}` in the command from the variables of each host; otherwise it is taken as it stands.
    #[arg(long)]
    template: bool,
    #[command(flatten)]
    gathering: Gathering,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
#[command(mut_arg("become_it", |arg| arg.short(None)))]
pub struct Script {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    pattern: String,
    /// The script on this machine. Its `#!` line says which program of the host reads it; without one, `sh` does.
    file: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
    #[command(flatten)]
    gathering: Gathering,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub struct Do {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    pattern: String,
    /// The module; `mutate modules` lists them.
    module: String,
    /// Its parameters: `name=value`. Words without `=` are the main one.
    arguments: Vec<String>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub struct Push {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    pattern: String,
    /// Files and folders on this machine, and in the end where to: a path on the hosts, with a `/` at its end for a folder.
    #[arg(required = true, num_args = 2.., value_name = "SOURCE… DEST")]
    paths: Vec<String>,
    /// Mode of the files, such as `0644`.
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Owner of the files.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Group of the files.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub struct Fetch {
    /// Which hosts: a pattern such as `all`, `web & !canary`, `db[1-3]`.
    pattern: String,
    /// Files on the hosts, and in the end the folder on this machine: a file comes to lie at `FOLDER/HOST/its/path`.
    #[arg(required = true, num_args = 2.., value_name = "PATH… FOLDER")]
    paths: Vec<String>,
    /// Why this is done, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// How far one thing may go.
#[derive(Args, Clone, Default)]
pub struct Limits {
    /// Change nothing; say what would change.
    #[arg(short = 'C', long)]
    pub check: bool,
    /// Show what changes in files.
    #[arg(short = 'D', long)]
    pub diff: bool,
    /// Begin on no other host once more than this many have failed: a number, or a part such as `10%`.
    #[arg(long, value_name = "LIMIT")]
    pub max_fail: Option<String>,
    /// Longest time on a host, in seconds.
    #[arg(short = 't', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Why this is done, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
    #[command(flatten)]
    pub told: Told,
    #[command(flatten)]
    pub split: Split,
}

impl Run {
    pub fn run(self) -> Result<u8> {
        let command = self.command.join(" ");
        if command.trim().is_empty() {
            bail!("there is no command to run; write it after `--`, as in `mutate run web -- uptime`");
        }
        let shown = command.lines().next().unwrap_or_default().to_owned();
        let stdin = if self.gathering.stdin { Some(own_stdin()?) } else { None };
        let task = Task { name: &shown, command, fills: self.template, stdin };
        gather(task, &self.pattern, "run", self.gathering, self.common)
    }
}

impl Script {
    pub fn run(self) -> Result<u8> {
        let shown = self.file.display().to_string();
        let bytes = crate::diag::read_bytes(&self.file, STDIN_LIMIT_BYTES as u64).map_err(|reason| anyhow::anyhow!("`{shown}`: {reason}"))?;
        let text = String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("`{shown}` is no text, so it is no script; `mutate push` copies a program to hosts, and `mutate run` runs it there"))?;
        if self.gathering.stdin {
            bail!("`--stdin` has no place here: the script itself travels there");
        }
        let reader = text.strip_prefix("#!").and_then(|rest| rest.lines().next()).map(str::trim).filter(|line| !line.is_empty()).unwrap_or("sh");
        let reader: Vec<String> = reader.split_whitespace().map(quoted).collect();
        let arguments: Vec<String> = self.arguments.iter().map(|word| quoted(word)).collect();
        // The script is read from descriptor 3, so that its own stdin is empty, and no file of it stays on the host.
        let command = format!("exec {} /dev/fd/3 {} 3<&0 </dev/null", reader.join(" "), arguments.join(" "));
        let name = self.file.file_name().map_or_else(|| shown.clone(), |name| name.to_string_lossy().into_owned());
        let task = Task { name: &name, command, fills: false, stdin: Some(text) };
        gather(task, &self.pattern, "script", self.gathering, self.common)
    }
}

/// A command for many hosts.
struct Task<'a> {
    name: &'a str,
    command: String,
    /// The command is a template.
    fills: bool,
    stdin: Option<String>,
}

fn gather(task: Task<'_>, pattern: &str, command: &str, gathering: Gathering, mut common: Common) -> Result<u8> {
    implied_become(&mut common);
    let form = if gathering.diff {
        Form::Compared
    } else if gathering.label {
        Form::Labelled
    } else if gathering.no_label {
        Form::Bare
    } else if gathering.fold || stdout_is_terminal() {
        Form::Folded
    } else {
        Form::Labelled
    };
    // Labelled lines are shown as they come; a report comes at the end.
    let live = gathering.live || matches!(form, Form::Labelled | Form::Bare);
    common.show.outputs = Some(OutputView { form, live, color: false, raw: !stdout_is_terminal(), raw_stderr: !super::stderr_is_terminal(), quiet: false });
    // As with `ssh`, a pipe counts by its last part (`… | head` is no failure): `pipefail = false`.
    let line = if task.fills { text(&task.command) } else { "\"{{ adhoc_command }}\"".to_owned() };
    let mut play = head(pattern, command, gathering.max_fail.as_deref());
    play.push_str(&format!("[[task]]\nname = {}\nchanged_when = true\n[task.shell]\nprobe = true\npipefail = false\ncmd = {line}\n", text(&escaped(task.name))));
    if task.stdin.is_some() {
        play.push_str("stdin = \"{{ adhoc_stdin }}\"\n");
    }
    if let Some(folder) = &gathering.chdir {
        play.push_str(&format!("chdir = {}\n", text(folder)));
    }
    let mut problems = Vec::new();
    let mut input = input(&common, command, What::Text(play), &mut problems)?;
    let mut values = (*input.extra).clone().with("adhoc_command", Value::from(task.command));
    if let Some(stdin) = task.stdin {
        values = values.with("adhoc_stdin", Value::from(stdin));
    }
    input.extra = std::sync::Arc::new(values);
    // What is hidden can only be found in the whole.
    let live = live && !crate::secret::is_any_hidden();
    if let Some(outputs) = &mut common.show.outputs {
        outputs.live = live;
    }
    input.options.live = live;
    gathering.split.tell(&mut input);
    limit(&mut input, gathering.timeout, gathering.max_fail.is_some());
    let note = Note { reason: gathering.reason, ..Note::default() };
    gathering.told.run(input, problems, &common.show, false, Some(note), command)
}

impl Do {
    pub fn run(mut self) -> Result<u8> {
        let modules = modules_here()?;
        let Some(module) = modules.find(&self.module) else {
            let help = nearest(&self.module, modules.names()).map_or_else(|| "; `mutate modules` lists them".to_owned(), |near| format!("; did you mean `{near}`?"));
            bail!("there is no module `{}`{help}", self.module);
        };
        implied_become(&mut self.common);
        let mut play = head(&self.pattern, "do", self.limits.max_fail.as_deref());
        play.push_str(&format!("[[task]]\nname = {}\n[task.{}]\n{}", text(&escaped(&title(&self.module, &self.arguments))), module.name, parameters(module, &self.arguments)?));
        one(play, "do", self.limits, self.common)
    }
}

impl Push {
    pub fn run(mut self) -> Result<u8> {
        implied_become(&mut self.common);
        let Some(dest) = self.paths.pop() else { bail!("there is no path on the hosts") };
        if self.paths.len() > 1 && !dest.ends_with('/') {
            bail!("several files need a folder to go to: write `{dest}/`");
        }
        let mut play = head(&self.pattern, "push", self.limits.max_fail.as_deref());
        for source in &self.paths {
            let more = [("mode", &self.mode), ("owner", &self.owner), ("group", &self.group)];
            let more: String = more.into_iter().filter_map(|(name, value)| Some(format!("{name} = {}\n", text(&escaped(value.as_ref()?))))).collect();
            play.push_str(&format!("[[task]]\nname = {}\n[task.copy]\nsrc = {}\ndest = {}\n{more}", text(&escaped(&format!("{source} to {dest}"))), text(&escaped(source)), text(&escaped(&dest))));
        }
        one(play, "push", self.limits, self.common)
    }
}

impl Fetch {
    pub fn run(mut self) -> Result<u8> {
        implied_become(&mut self.common);
        self.common.show.verbose = self.common.show.verbose.max(1);
        let Some(folder) = self.paths.pop() else { bail!("there is no folder to fetch to") };
        let mut places = std::collections::HashSet::new();
        for path in &self.paths {
            let place = engine::Fetch::place("host", path).map_err(|reason| anyhow::anyhow!(reason))?;
            if !places.insert(place) {
                bail!("`{path}` would come to lie where another of the files does");
            }
        }
        let mut problems = Vec::new();
        let play = format!("{}[[task]]\nping = {{}}\n", head(&self.pattern, "fetch", None));
        let mut input = input(&self.common, "fetch", What::Text(play), &mut problems)?;
        let run = runner::new_run_id();
        let prepared = match runner::prepared(&mut input, &run, problems, &self.common.show) {
            Ok(prepared) => prepared,
            Err(exit) => return Ok(exit),
        };
        super::passphrases::ask(&input, prepared.hosts.values())?;
        let journal = runner::begin_journal(&mut input, &run, Some(Note { reason: self.reason, ..Note::default() }))?;
        let wanted = engine::Fetch { paths: self.paths, folder: folder.into() };
        let (exit, ()) = runner::watched(Some(&self.common.show), false, journal, None, |events, stop| async move {
            (engine::fetch(input, prepared.hosts, wanted, run, events, stop).await, ())
        })?;
        Ok(exit)
    }
}

/// Runs a playbook of its own with the usual report, which also tells what is in place and what commands print.
pub(super) fn one(play: String, command: &str, limits: Limits, mut common: Common) -> Result<u8> {
    common.show.verbose = common.show.verbose.max(2);
    let mut problems = Vec::new();
    let mut input = input(&common, command, What::Text(play), &mut problems)?;
    input.options.check = limits.check;
    limits.split.tell(&mut input);
    limit(&mut input, limits.timeout, limits.max_fail.is_some());
    let note = (!limits.check).then(|| Note { reason: limits.reason, ..Note::default() });
    limits.told.run(input, problems, &common.show, limits.diff, note, command)
}

fn limit(input: &mut Input, timeout: Option<u64>, has_budget: bool) {
    input.options.step_limit = timeout.map(Duration::from_secs);
    input.options.stops_amid = has_budget;
}

/// Whoever says whom to become, or how, wants to. A file with a password, and what `mutate.toml` says, may well be there always, and means
/// nothing.
pub(super) fn implied_become(common: &mut Common) {
    common.become_it |= common.become_user.is_some() && !settings::gave("become-user") || common.become_method.is_some() && !settings::gave("become-method");
}

fn head(pattern: &str, command: &str, max_fail: Option<&str>) -> String {
    let mut play = format!("name = {}\nhosts = {}\n", text(command), text(&escaped(pattern)));
    if let Some(limit) = max_fail {
        let limit = if limit.bytes().all(|byte| byte.is_ascii_digit()) && !limit.is_empty() { limit.to_owned() } else { text(limit) };
        play.push_str(&format!("max_fail = {limit}\n"));
    }
    play
}

fn own_stdin() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::io::stdin().take(STDIN_LIMIT_BYTES as u64 + 1).read_to_end(&mut bytes).context("reading stdin")?;
    // Other letters than those of English take up to five bytes each on their way.
    if bytes.len() > STDIN_LIMIT_BYTES || crate::shell::printf_argument(&bytes).len() > 2 * STDIN_LIMIT_BYTES {
        bail!("stdin is longer than {} KiB; put it into a file, copy that with `mutate push`, and read it there", STDIN_LIMIT_BYTES >> 10);
    }
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("stdin is no text in UTF-8; `mutate push` copies any bytes"))
}

/// What a task from the command line is called.
fn title(module: &str, arguments: &[String]) -> String {
    // A value may be a secret, and a name is shown.
    let names: Vec<&str> = arguments.iter().filter_map(|argument| argument.split_once('=')).filter(|(name, _)| ["name", "path", "dest"].contains(name)).map(|(_, value)| value).collect();
    format!("{module} {}", names.join(" ")).trim_end().to_owned()
}

/// Text in which nothing is filled.
pub(super) fn escaped(text: &str) -> String {
    if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
        return text.to_owned();
    }
    text.replace('{', "{{ \"{\" }}")
}

/// A text as TOML.
pub(super) fn text(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f")
}

/// `name=value` words as the lines of a TOML table, each value of the type that the parameter has.
fn parameters(module: &Registration, arguments: &[String]) -> Result<String> {
    let schema = schema_of(module);
    let mut lines = String::new();
    let mut bare = Vec::new();
    for argument in arguments {
        let named = argument.split_once('=').filter(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
        // `shell` and the like take words with a `=` in them as they come.
        let known = |name: &str| schema["properties"].get(name).is_some();
        match named {
            Some((name, value)) if module.main().is_none() || bare.is_empty() || known(name) => {
                let property = schema["properties"].get(name);
                let types = property.map(|property| kind(property, &schema)).unwrap_or_default();
                lines.push_str(&format!("{name} = {}\n", typed(value, &types)));
            }
            _ => bare.push(argument.as_str()),
        }
    }
    match (bare.is_empty(), module.main()) {
        (true, _) => {}
        (false, Some(main)) => lines.push_str(&format!("{main} = {}\n", text(&bare.join(" ")))),
        (false, None) => bail!("`{}` is no parameter of `{}`: write `name=value`; `mutate modules {}` shows its manual", bare[0], module.name, module.name),
    }
    Ok(lines)
}

/// A value in TOML, by the words of the manual for what the parameter may be.
fn typed(value: &str, types: &str) -> String {
    let may = |kind: &str| types.contains(kind);
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(value)
        && (json.is_array() || json.is_object())
        && (types.is_empty() || may("list") || may("table") || may("any"))
    {
        return toml_of(&json);
    }
    if may("true | false") || types.is_empty() {
        match value {
            "true" | "yes" => return "true".into(),
            "false" | "no" => return "false".into(),
            _ => {}
        }
    }
    let is_number = value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    if is_number && (types.is_empty() || may("number")) {
        return value.to_owned();
    }
    if may("list") && (value.contains(',') || !may("text")) {
        let words: Vec<String> = value.split(',').map(|word| text(word.trim())).collect();
        return format!("[{}]", words.join(", "));
    }
    text(value)
}

fn toml_of(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Null => "\"\"".into(),
        serde_json::Value::String(one) => text(one),
        serde_json::Value::Array(items) => format!("[{}]", items.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        serde_json::Value::Object(entries) => {
            let entries: Vec<String> = entries.iter().map(|(name, value)| format!("{} = {}", text(name), toml_of(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(module: &str, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        parameters(modules::ALL.find(module).expect("a module"), &arguments).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn values_have_the_types_of_their_parameters() {
        assert_eq!(lines("copy", &["content=5", "dest=/x", "mode=0644", "force=no"]), "content = \"5\"\ndest = \"/x\"\nmode = \"0644\"\nforce = false\n");
        assert_eq!(lines("package", &["name=nginx,curl", "state=present"]), "name = [\"nginx\", \"curl\"]\nstate = \"present\"\n");
        assert_eq!(lines("package", &["name=nginx"]), "name = \"nginx\"\n");
    }

    #[test]
    fn words_without_a_name_are_the_main_parameter() {
        assert_eq!(lines("shell", &["echo", "a=b"]), "cmd = \"echo a=b\"\n");
        assert_eq!(lines("shell", &["cmd=df -h", "always=true"]), "cmd = \"df -h\"\nalways = true\n");
    }

    #[test]
    fn nothing_is_filled_in_what_is_taken_as_it_stands() {
        assert_eq!(escaped("docker ps --format '{{.Names}}'"), "docker ps --format '{{ \"{\" }}{{ \"{\" }}.Names}}'");
        assert_eq!(escaped("awk '{print}'"), "awk '{print}'");
    }
}
