//! Diagnostics as text with file, line and caret.

use annotate_snippets::{AnnotationKind, Group, Level as Mark, Renderer, Snippet};

use super::{Diagnostic, Level, Sources};

/// Draws all messages, one paragraph each, errors and warnings in the order of their places.
pub fn draw(all: &[Diagnostic], sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() }.term_width(200);
    let mut ordered: Vec<&Diagnostic> = all.iter().collect();
    ordered.sort_by_key(|one| one.span.as_ref().map(|span| (span.source, span.bytes.start, span.bytes.end)));
    ordered.dedup();
    let mut text = String::new();
    for one in ordered {
        text.push_str(&renderer.render(&[group(one, sources)]));
        text.push_str("\n\n");
    }
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn group<'a>(one: &'a Diagnostic, sources: &'a Sources) -> Group<'a> {
    let mark = match one.level {
        Level::Error => Mark::ERROR,
        Level::Warning => Mark::WARNING,
    };
    let title = mark.primary_title(one.message.as_str()).id(one.code);
    let mut group = Group::with_title(title);
    if let Some(span) = &one.span {
        let source = sources.get(span.source);
        let annotation = AnnotationKind::Primary.span(shown(&source.text, span)).label(one.label.as_str());
        group = group.element(Snippet::source(&*source.text).path(&*source.name).annotation(annotation));
    }
    if let Some(help) = &one.help {
        group = group.element(Mark::HELP.message(help.as_str()));
    }
    group
}

/// The bytes to underline: inside the text, at character boundaries, and no more than the first line of the span.
fn shown(text: &str, span: &super::Span) -> std::ops::Range<usize> {
    let mut start = span.bytes.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let mut end = span.bytes.end.clamp(start, line_end);
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::super::{Sources, Span};
    use super::*;

    #[test]
    fn a_message_shows_file_line_caret_and_help() {
        let mut sources = Sources::default();
        let text = "format = 1\n\ngroup = { name = \"www\", gid = \"eighty\" }\n";
        let source = sources.add("playbooks/web.toml", text);
        let span = Span { source, bytes: 42..50 };
        let one = Diagnostic::error("arg-type", &span, "`gid` must be a number")
            .label("this is text")
            .help("write `gid = 80`");
        let expected = "error[arg-type]: `gid` must be a number
 --> playbooks/web.toml:3:31
  |
3 | group = { name = \"www\", gid = \"eighty\" }
  |                               ^^^^^^^^ this is text
  |
  = help: write `gid = 80`
";
        assert_eq!(draw(&[one], &sources, false), expected);
    }
}
