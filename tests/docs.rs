//! Every example in the documentation is one that works: each section's blocks are laid out in a folder and checked.

use std::path::{Path, PathBuf};
use std::process::Command;

const INVENTORY: &str = "[hosts]\nweb1 = {}\nweb2 = {}\ndb1 = {}\n[groups.web]\nhosts=[\"web1\",\"web2\"]\n";

struct Section {
    title: String,
    blocks: Vec<(String, String)>,
}

/// The `##` sections of a page with their fenced blocks: what stands after the backticks, and the text.
fn sections(page: &str) -> Vec<Section> {
    let mut found = vec![Section { title: String::new(), blocks: Vec::new() }];
    let mut block: Option<(String, String)> = None;
    for line in page.lines() {
        match &mut block {
            Some((_, text)) if line.trim_end() != "```" => {
                text.push_str(line);
                text.push('\n');
            }
            Some(_) => {
                let done = block.take().expect("a block is open");
                found.last_mut().expect("a section").blocks.push(done);
            }
            None => {
                if let Some(title) = line.strip_prefix("## ") {
                    found.push(Section { title: title.to_owned(), blocks: Vec::new() });
                } else if let Some(info) = line.strip_prefix("```") {
                    block = Some((info.trim().to_owned(), String::new()));
                }
            }
        }
    }
    found
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("making a folder");
    std::fs::write(path, text).expect("writing a file");
}

#[test]
fn every_example_of_the_language_is_good() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/language.md");
    let text = std::fs::read_to_string(&page).expect("docs/language.md");
    let mut checked = 0;
    let mut wrong = Vec::new();
    for section in sections(&text) {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "inventory.toml", INVENTORY);
        let mut playbooks = Vec::new();
        for (info, text) in &section.blocks {
            match info.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["toml", "playbook"] => {
                    let name = format!("playbook-{}.toml", playbooks.len());
                    write(folder.path(), &name, text);
                    playbooks.push(name);
                }
                ["toml", "inventory"] => write(folder.path(), "inventory.toml", text),
                ["toml" | "jinja" | "text", name] => write(folder.path(), name, text),
                _ => {}
            }
        }
        let has_inventory = section.blocks.iter().any(|(info, _)| info == "toml inventory");
        if playbooks.is_empty() && !has_inventory {
            continue;
        }
        if playbooks.is_empty() {
            playbooks.push(String::new());
        }
        for playbook in playbooks {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mutate"));
            command.arg("check").args(["-i", "inventory.toml"]).args((!playbook.is_empty()).then_some(&playbook));
            let output = command.current_dir(folder.path()).env("HOME", folder.path()).output().expect("the program runs");
            checked += 1;
            if !output.status.success() {
                wrong.push(format!("section `{}`: {}", section.title, String::from_utf8_lossy(&output.stderr)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked >= 15, "only {checked} examples were found");
}

#[test]
fn the_shipped_playbooks_and_inventory_are_good() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_mutate"))
        .args(["check", "playbooks/hello.toml", "playbooks/web.toml", "-i", "inventory.toml"])
        .current_dir(root)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
