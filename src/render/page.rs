//! A report as one page of HTML: the data stands in it as JSON, and a script of its own shows it.

use serde_json::Value;

/// The page, with three holes.
const TEMPLATE: &str = include_str!("report.html");

/// The page with a title, what a reader without scripts sees, and the data.
pub fn page(title: &str, plain: &str, data: &Value) -> String {
    let entities = |text: &str| super::safe(text.as_bytes()).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // Nothing in it may end the element that it stands in.
    let json = ['<', '>', '&', '\u{2028}', '\u{2029}'].iter().fold(data.to_string(), |json, letter| json.replace(*letter, &format!("\\u{:04x}", u32::from(*letter))));
    let filled = [("/*TITLE*/", entities(title)), ("<!--PLAIN-->", entities(plain)), ("/*DATA*/", json)];
    let mut out = String::with_capacity(TEMPLATE.len() + filled[2].1.len());
    let mut rest = TEMPLATE;
    for (hole, text) in filled {
        let (before, after) = rest.split_once(hole).unwrap_or((rest, ""));
        out.push_str(before);
        out.push_str(&text);
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use sha2::Digest as _;

    use super::*;

    #[test]
    fn the_policy_names_the_style_and_the_script_of_the_page() {
        for tag in ["style", "script"] {
            let (_, rest) = TEMPLATE.split_once(&format!("<{tag}>")).expect("an element");
            let (text, _) = rest.split_once(&format!("</{tag}>")).expect("its end");
            let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text.as_bytes()));
            assert!(TEMPLATE.contains(&format!("{tag}-src 'sha256-{hash}'")), "{tag}: the policy must say sha256-{hash}");
        }
    }

    #[test]
    fn nothing_in_the_data_ends_its_element() {
        let text = page("a <b>", "x & y", &serde_json::json!({ "a": "</script><img onerror=1>\u{2028}/*DATA*/" }));
        assert!(text.contains("<title>a &lt;b&gt;</title>") && text.contains("<pre>x &amp; y</pre>"));
        assert!(text.contains("\\u003c/script\\u003e\\u003cimg onerror=1\\u003e\\u2028/*DATA*/") && !text.contains("</script><img"));
    }
}
