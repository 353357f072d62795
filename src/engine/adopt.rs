//! From what somebody has made of a file on a host to what the playbook's own files would have to say.
//!
//! Nothing is guessed: what cannot be told from what is there is left over, and said.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::load;
use super::managed::{Managed, There};
use crate::diag::{Node, Sources, Span};
use crate::module::Mode;
use crate::playbook::{Splice, spliced};
use crate::template::{Filled, Left, carried, is_template};

/// A file here, as it is and as it would have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub path: PathBuf,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
}

/// What could not be made part of the patch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rest {
    /// In a sentence: what, and what to do instead.
    pub message: String,
    /// Where here, if that is known.
    pub file: Option<String>,
    pub line: Option<usize>,
    /// What the host has there.
    pub has: Option<String>,
    /// Which variable would have to have which value, and where it is set.
    pub variable: Option<String>,
    pub value: Option<String>,
    pub set_at: Option<String>,
}

impl Rest {
    fn sentence(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Adopted {
    pub edits: Vec<Edit>,
    pub rest: Vec<Rest>,
    /// What is good to know of the edits.
    pub notes: Vec<String>,
}

struct Draft<'a> {
    sources: &'a Sources,
    managed: &'a Managed,
    splices: Vec<(Span, String)>,
    adopted: Adopted,
}

/// The edits after which a step finds this path as it is now. `content` is what the host has, where that is not what is wanted.
pub fn adopted(sources: &Sources, managed: &Managed, path: &str, there: &There, content: Option<&[u8]>) -> Adopted {
    let mut draft = Draft { sources, managed, splices: Vec::new(), adopted: Adopted::default() };
    if let Some(content) = content {
        draft.content(path, content);
    }
    draft.properties(there);
    draft.finished()
}

/// Why a step of this module cannot be turned into a patch, and what to do instead.
pub fn no_patch(module: &str) -> &'static str {
    match module {
        "lineinfile" => "`lineinfile` looks after one line, and which line it is to be now nothing tells; write in `line` what the host has, or let a `template` make the whole file",
        "blockinfile" => "`blockinfile` looks after what stands between its marks; copy that from the host into `block`, or let a `template` make the whole file",
        "replace" => "`replace` turns some text into another wherever it stands, so the file itself is nowhere in the playbook; mend `regexp` or `replace`, or let a `template` make the whole file",
        "ini_file" | "data_file" | "sysctl" | "pam_limits" | "mount" | "known_hosts" | "authorized_key" | "cron" => "this module looks after single entries of the file; write in the task what the host has for them, or let a `template` make the whole file",
        "assemble" => "`assemble` puts the file together from parts; mend the part that it is in",
        "get_url" | "unarchive" | "git" | "synchronize" => "what is there comes from elsewhere and is not in the playbook; change it where it comes from, or let a `copy` manage this file",
        "systemd_unit" => "the unit and its file are one thing to `systemd_unit`; copy the text into `content` or the file of `src`",
        "file" => "`file` says what is there, and not what it holds; say so in the task, or take the task out",
        _ => "what this module makes is not written down as a file; change its arguments, or let a `template` make the file",
    }
}

impl Draft<'_> {
    fn content(&mut self, path: &str, content: &[u8]) {
        if let Some((_, local, _)) = self.managed.tree.iter().find(|(there, ..)| there == path) {
            let local = local.clone();
            return self.whole_file(&local, content);
        }
        let literal = self.managed.authored.get("content").filter(|_| self.managed.module == "copy").cloned();
        match (self.managed.module, literal, self.managed.local.clone()) {
            ("copy", Some(node), _) => self.text_in_playbook(&node, content),
            ("copy", None, Some(local)) => self.whole_file(&local, content),
            ("template", _, Some(local)) => self.template(&local, content),
            (module, ..) => self.rest(Rest::sentence(no_patch(module))),
        }
    }

    fn rest(&mut self, rest: Rest) {
        self.adopted.rest.push(rest);
    }

    fn whole_file(&mut self, local: &Path, content: &[u8]) {
        match load::as_it_is(local) {
            Ok(before) => self.adopted.edits.push(Edit { path: local.to_owned(), before, after: content.to_vec() }),
            Err(message) => self.rest(Rest::sentence(message)),
        }
    }

    fn template(&mut self, local: &Path, content: &[u8]) {
        let shown = local.display().to_string();
        let Some(wanted) = text_of(content) else {
            return self.rest(Rest { file: Some(shown), ..Rest::sentence("what the host has is no text in UTF-8, which no template makes; let `copy` put the file there") });
        };
        let before = match load::as_it_is(local).map(String::from_utf8) {
            Ok(Ok(before)) => before,
            Ok(Err(_)) => return self.rest(Rest::sentence(format!("`{shown}` is no text in UTF-8"))),
            Err(message) => return self.rest(Rest::sentence(message)),
        };
        let scope = &self.managed.scope;
        let render = |text: &str| match scope.render(text) {
            Ok(Filled::Now(text)) => Some(text),
            _ => None,
        };
        let after = self.carry(&before, wanted, &render, &|line| (shown.clone(), line));
        if let Some(after) = after {
            self.adopted.edits.push(Edit { path: local.to_owned(), before: before.into_bytes(), after: after.into_bytes() });
        }
    }

    fn text_in_playbook(&mut self, node: &Node, content: &[u8]) {
        let (file, line) = (self.sources.get(node.span.source).name.clone(), self.sources.line(&node.span));
        let Some(wanted) = text_of(content) else {
            return self.rest(Rest { file: Some(file), line: Some(line), ..Rest::sentence("what the host has is no text, which TOML cannot hold; put it into a file, and name that in `src`") });
        };
        let Some(before) = node.text().map(str::to_owned) else {
            return self.rest(Rest { file: Some(file), line: Some(line), ..Rest::sentence("`content` is no text") });
        };
        let token = self.sources.get(node.span.source).text.get(node.span.bytes.clone()).unwrap_or_default();
        let is_tall = token.starts_with("\"\"\"") || token.starts_with("'''");
        let first = line + usize::from(is_tall && token[3..].trim_start_matches('\r').starts_with('\n'));
        let scope = &self.managed.scope;
        let render = |text: &str| match scope.fill(text) {
            Ok(Filled::Now(value)) => Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            _ => None,
        };
        let after = self.carry(&before, wanted, &render, &|line| (file.clone(), if is_tall { first + line - 1 } else { first }));
        if let Some(after) = after {
            self.splices.push((node.span.clone(), after));
        }
    }

    /// The template with what could be carried over, if anything could. What could not is left over.
    fn carry(&mut self, template: &str, wanted: &str, render: &dyn Fn(&str) -> Option<String>, place: &dyn Fn(usize) -> (String, usize)) -> Option<String> {
        let Some(carried) = carried(template, wanted, render) else {
            self.rest(Rest::sentence("the template cannot be rendered any more"));
            return None;
        };
        for left in &carried.left {
            let rest = self.left(left, place(left.line));
            self.rest(rest);
        }
        if carried.left.is_empty() && !carried.is_whole {
            let (file, _) = place(1);
            self.rest(Rest { file: Some(file), ..Rest::sentence("with these edits it would make something else than the host has; mend it by hand") });
        }
        for (line, why) in &carried.doubts {
            let (file, line) = place(*line);
            self.adopted.notes.push(format!("{file}:{line}: what is new there {why}"));
        }
        (carried.text != template).then_some(carried.text)
    }

    fn left(&self, left: &Left, (file, line): (String, usize)) -> Rest {
        let quoted = |text: &str| match text.trim_end_matches('\n') {
            "" if text.is_empty() => "nothing".to_owned(),
            one if one.contains('\n') => format!("{} lines", one.matches('\n').count() + 1),
            one => format!("`{}`", one.trim()),
        };
        let makes = if is_template(&left.template) { format!("`{}` makes {}", left.template.trim(), quoted(&left.made)) } else { format!("here is {}", quoted(&left.made)) };
        let mut rest = Rest { file: Some(file), line: Some(line), has: Some(left.wanted.clone()), ..Rest::default() };
        rest.message = match &left.value {
            Some((name, value)) => {
                let span = self.managed.scope.authored_at(name);
                rest.set_at = span.map(|span| self.place(&span));
                let set_at = rest.set_at.as_ref().map(|place| format!(" (it is set in {place})")).unwrap_or_default();
                (rest.variable, rest.value) = (Some(name.clone()), Some(value.clone()));
                format!("{makes}, and the host has {}: `{name}` would have to be `{value}`{set_at}", quoted(&left.wanted))
            }
            None => format!("{makes}, and the host has {}; which change of the template makes that cannot be told", quoted(&left.wanted)),
        };
        rest
    }

    fn place(&self, span: &Span) -> String {
        match self.sources.get(span.source).name.as_str() {
            "command line" => "`-e`".to_owned(),
            name => format!("{name}:{}", self.sources.line(span)),
        }
    }

    /// Mode, owner and group, where the task asks for them.
    fn properties(&mut self, there: &There) {
        if !["copy", "template", "file"].contains(&self.managed.module) || ["absent", "link"].contains(&there.kind.as_str()) || !self.managed.tree.is_empty() {
            return;
        }
        let is = |key: &str, said: &str| match key {
            "mode" => Mode::parse(said).is_ok_and(|mode| mode.applied_to(there.mode, there.kind == "dir") == there.mode),
            "owner" => said == there.owner || said == there.uid,
            _ => said == there.group || said == there.gid,
        };
        for (key, value) in [("mode", Mode::text(there.mode)), ("owner", there.owner.clone()), ("group", there.group.clone())] {
            let Some(said) = self.managed.filled.get(key).and_then(Node::text).filter(|said| !is(key, said)) else { continue };
            let said = said.to_owned();
            let Some(authored) = self.managed.authored.get(key).cloned() else { continue };
            if authored.text().is_some_and(|text| text == said && !is_template(text)) {
                self.splices.push((authored.span, value));
                continue;
            }
            let (file, line) = (self.sources.get(authored.span.source).name.clone(), self.sources.line(&authored.span));
            let message = format!("the host has {value}, and the task asks for {said}: it would need `{key} = \"{value}\"`");
            self.rest(Rest { message, file: Some(file), line: Some(line), has: Some(value), ..Rest::default() });
        }
    }

    /// Puts the texts into their files.
    fn finished(mut self) -> Adopted {
        let mut splices = std::mem::take(&mut self.splices);
        while let Some((span, _)) = splices.first() {
            let source = span.source;
            let (here, others): (Vec<_>, Vec<_>) = splices.into_iter().partition(|(span, _)| span.source == source);
            splices = others;
            let (name, text) = (self.sources.get(source).name.clone(), self.sources.get(source).text.to_string());
            let refused = |why: String| Rest { file: Some(name.clone()), ..Rest::sentence(why) };
            // What was read may be another text than what is in the file, such as one that was decrypted.
            let is_file = load::as_it_is(Path::new(&name)).is_ok_and(|bytes| bytes == text.as_bytes());
            if !is_file {
                self.rest(refused(format!("`{name}` is no plain file with what was read, so it is not edited; write the new text there by hand")));
                continue;
            }
            let wanted: Vec<Splice> = here.into_iter().map(|(span, text)| Splice { place: span.bytes, text }).collect();
            match spliced(&text, &wanted) {
                Ok(after) => self.adopted.edits.push(Edit { path: PathBuf::from(&name), before: text.into_bytes(), after: after.into_bytes() }),
                Err(why) => self.rest(refused(format!("the text in the playbook is not replaced: {why}; write it there by hand"))),
            }
        }
        self.adopted.edits.retain(|edit| edit.before != edit.after);
        self.adopted
    }
}

fn text_of(content: &[u8]) -> Option<&str> {
    std::str::from_utf8(content).ok().filter(|text| !text.contains('\0'))
}
