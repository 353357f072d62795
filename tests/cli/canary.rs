//! Secrets in every parameter of every module that takes a text: whatever comes of it, they are shown and kept nowhere.
//!
//! The modules come from the registry, so that a new one is tried as soon as it is listed. Most of them fail on a practice host, which
//! is one of the outcomes that must be silent. No host works as root here, and none may gain privileges.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use mutate::diag::{Entry, Key, Kind, Node, SourceId, Span};
use mutate::module::Registration;
use serde_json::{Map, Value, json};

use super::{Faults, Fleet, mutate};

/// What needs quoting everywhere, several lines, and a plain word for names.
const SPECIAL: &str = "kAnA'r1 \"e\"n$v&o<g>e/l\\x%Z9`u`;#7Q";
const MULTI: &str = "-----BEGIN CANARY KEY-----\nq8Zr4Wv1Tn6Yb3Xc9Ld2Mf7Hg5Jk0PsRtUwEaQ+/zxcvBNMpoiuyTREWqlkjhGF=\n Gn5Bq\ts2Vd8Kx'Lp4\"Ty1\n-----END CANARY KEY-----\n";
const WORD: &str = "Kw7vTz2RqLm9XcB4";

/// Parameters with which a module can do something here, and what must be one of several.
const BASES: &[(&str, &str)] = &[
    ("acl", "path = '~/there'\nentity = '{{ word }}'\netype = 'user'\npermissions = 'r'"),
    ("alternatives", "name = '{{ word }}'\npath = '/usr/bin/true'"),
    ("apt_key", "keyring = '/etc/apt/keyrings/none.gpg'\ndata = '{{ special }}'"),
    ("apt_repository", "repo = 'deb http://127.0.0.1:1/{{ word }} stable main'"),
    ("assemble", "src = '~/parts'\ndest = '~/c/assembled'"),
    ("authorized_key", "user = 'practice'\npath = '~/c/keys'\nkey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGHSqgbEwmHn0m9Gk1dNcy2Ugp1vcKIXvWqkNkWRCBNb {{ special }}'"),
    ("backup", "name = 'nightly'\ncommand = 'echo {{ word }}'\ndest = '~/c/backups'"),
    ("blockinfile", "path = '~/there'\nblock = '{{ special }}'"),
    ("command", "argv = ['printf', '%s', '{{ special }}']\nalways = true"),
    ("copy", "dest = '~/c/copied'\ncontent = '{{ special }}'"),
    ("cron", "name = 'tidy'\njob = '/bin/tidy {{ word }}'\ncron_file = '/none/{{ facts.user }}'\nuser = 'www'"),
    ("data_file", "path = '~/c/data.json'\nkey = 'a'\nvalue = '{{ special }}'"),
    ("debconf", "name = 'none'\nquestion = 'none/none'\nvtype = 'password'\npassword = '{{ special }}'"),
    ("debug", "msg = '{{ special }}'"),
    ("docker_container", "name = 'none'\nimage = 'none'\nenv = { K = '{{ special }}' }"),
    ("file", "path = '~/c/touched'\nstate = 'touch'"),
    ("filesystem", "dev = '~/there'\nfstype = 'ext4'\nopts = ['-L', '{{ word }}']"),
    ("find", "paths = '~/parts'\npatterns = '{{ special }}'"),
    ("firewalld", "service = '{{ word }}'\nstate = 'enabled'"),
    ("get_url", "url = 'http://127.0.0.1:1/{{ word }}'\ndest = '~/c/got'"),
    ("git", "repo = '/none/{{ word }}'\ndest = '~/c/git'"),
    ("group", "name = '{{ word | lower }}'"),
    ("htpasswd", "path = '~/c/htpasswd'\nname = 'ann'\npassword = '{{ special }}'"),
    ("ini_file", "path = '~/c/x.ini'\nsection = 'a'\noption = 'b'\nvalue = '{{ special }}'"),
    ("iptables", "chain = 'INPUT'\ncomment = '{{ special }}'"),
    ("known_hosts", "path = '~/c/known'\nname = 'x.example'\nkey = 'x.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGHSqgbEwmHn0m9Gk1dNcy2Ugp1vcKIXvWqkNkWRCBNb {{ word }}'"),
    ("lineinfile", "path = '~/there'\nline = '{{ special }}'"),
    ("logrotate", "name = 'none'\npath = '/var/log/none/*.log'\npostrotate = 'true {{ word }}'"),
    ("lvg", "vg = '{{ word }}'\npvs = ['/dev/none']"),
    ("mount", "path = '/none'\nsrc = '//host/share'\nfstype = 'cifs'\nstate = 'mounted'\nopts = 'password={{ word }}'"),
    ("openssh_keypair", "path = '~/c/id'\npassphrase = '{{ special }}'"),
    ("openssl_csr", "path = '~/c/csr.pem'\nprivatekey_path = '~/key.pem'\ncommon_name = '{{ word }}'"),
    ("openssl_privatekey", "path = '~/c/key.pem'\ntype = 'Ed25519'\npassphrase = '{{ special }}'\ncipher = 'auto'"),
    ("package", "name = '{{ word | lower }}'"),
    ("package_file", "url = 'http://127.0.0.1:1/{{ word }}.deb'"),
    ("pam_limits", "domain = '{{ word }}'\nlimit_type = 'hard'\nlimit_item = 'nofile'\nvalue = 10"),
    ("pause", "seconds = 1"),
    ("pip", "name = '{{ word }}'\nvirtualenv = '~/c/venv'"),
    ("raw", "cmd = 'printf %s {{ special | quote }}'\nalways = true"),
    ("replace", "path = '~/there'\nregexp = 'plain'\nreplace = '{{ special }}'"),
    ("script", "cmd = 'source.txt'\nalways = true"),
    ("service", "name = '{{ word }}'\nstate = 'started'"),
    ("shell", "cmd = 'printf %s {{ special | quote }} >&2; printf %s {{ multi | quote }} | base64; exit 3'\nalways = true"),
    ("sudoers", "name = 'none'\nuser = '{{ word }}'\ncommands = ['/bin/true']"),
    ("synchronize", "src = 'tree'\ndest = '~/c/tree'"),
    ("systemd_unit", "name = 'none.service'\ncontent = '{{ multi }}'"),
    ("template", "src = 'source.txt'\ndest = '~/c/rendered'"),
    ("timezone", "name = 'Europe/{{ word }}'"),
    ("ufw", "rule = 'allow'\nport = '22'\ncomment = '{{ word }}'"),
    ("unarchive", "src = 'source.txt'\ndest = '~/c/unpacked'"),
    ("uri", "url = 'http://127.0.0.1:1/{{ word }}'\nmethod = 'POST'\nbody = '{{ special }}'"),
    ("user", "name = 'practice-none'\npassword = '$6$salt${{ word }}'"),
    ("wait_for", "path = '~/{{ word }}'\ntimeout = 1"),
    ("x509_certificate", "path = '~/c/cert.pem'\nprivatekey_path = '~/key.pem'\nprivatekey_passphrase = '{{ special }}'\ncsr_path = '~/csr.pem'"),
    ("xattr", "path = '~/there'\nname = 'user.mark'\nvalue = '{{ special }}'"),
    ("yum_repository", "name = 'none'\ndescription = '{{ special }}'\nbaseurl = 'http://127.0.0.1:1/{{ word }}'"),
];

/// What would reach beyond the home folder of the practice host, where somebody let it, or the network: it is only checked.
const ONLY_CHECKED: &[&str] = &[
    "docker_compose",
    "docker_container",
    "docker_image",
    "docker_network",
    "docker_volume",
    "gem",
    "get_url",
    "hostname",
    "npm",
    "package",
    "package_file",
    "package_hold",
    "package_upgrade",
    "pip",
    "openssl_dhparam",
    "reboot",
    "service",
    "sudoers",
    "systemd_unit",
    "timezone",
];

/// Modules without any parameter that takes a text.
const WITHOUT_TEXT: &[&str] = &["dpkg_selections", "parted", "pause", "slurp", "stat"];

/// What a parameter may be given, best first: what stands in the playbook, and what it becomes.
fn candidates(module: &Registration, parameter: &str, number: usize, multi: bool) -> Vec<Choice> {
    let same = |value: Value| (value.clone(), value);
    if module.expressions.contains(&parameter) {
        return vec![same(json!(if multi { "multi == 'x'" } else { "special == 'x'" }))];
    }
    let mut all = Vec::new();
    if multi {
        all.push((json!("{{ multi }}"), json!(MULTI)));
        all.push((json!(["{{ multi }}"]), json!([MULTI])));
        all.push((json!({ "K": "{{ multi }}" }), json!({ "K": MULTI })));
    }
    for (hole, value) in [("{{ special }}", SPECIAL), ("{{ word }}", WORD)] {
        all.push((json!(hole), json!(value)));
        all.push((json!([hole]), json!([value])));
        all.push((json!({ "K": hole }), json!({ "K": value })));
    }
    all.push((json!("http://127.0.0.1:1/{{ word }}"), json!(format!("http://127.0.0.1:1/{WORD}"))));
    all.push((json!("$6$salt${{ word }}"), json!(format!("$6$salt${WORD}"))));
    all.push(same(json!(format!("~/c/{parameter}-{number}"))));
    all.push(same(json!([format!("~/c/{parameter}-{number}")])));
    all
}

fn holds_canary(value: &Value) -> bool {
    let text = value.to_string();
    ["{{ special ", "{{ multi ", "{{ word ", "special ==", "multi =="].iter().any(|hole| text.contains(hole))
}

/// The tasks of one module: each a table of parameters as it stands in the playbook.
fn tasks_of(module: &'static Registration, problems: &mut Vec<String>) -> Vec<Map<String, Value>> {
    let mut schema = module.schema().to_value();
    if let Some(shared) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')).and_then(|path| schema.pointer(path)).cloned() {
        schema["properties"] = shared["properties"].clone();
        schema["required"] = shared["required"].clone();
    }
    let properties: Vec<String> = schema["properties"].as_object().map(|properties| properties.keys().cloned().collect()).unwrap_or_default();
    let required: BTreeSet<String> = schema["required"].as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let mut number = 0;
    let mut filled: BTreeMap<String, Value> = BTreeMap::new();
    let mut written = Map::new();
    if let Some((_, base)) = BASES.iter().find(|(name, _)| *name == module.name) {
        let table: toml::Table = toml::from_str(base).unwrap_or_else(|error| panic!("{}: {error}", module.name));
        for (name, value) in serde_json::to_value(table).expect("JSON").as_object().expect("a table") {
            written.insert(name.clone(), value.clone());
            filled.insert(name.clone(), as_filled(value));
        }
    }
    let mut open: Vec<String> = required.iter().filter(|name| !filled.contains_key(*name)).cloned().collect();
    // What is required may depend on what else is given.
    for _ in 0..6 {
        let choices: Vec<_> = open.iter().map(|name| (name.clone(), choices_of(module, name, &schema, &mut number))).collect();
        match fitting(module, &choices, &mut filled.clone(), &mut 2000) {
            Ok(chosen) => {
                for (name, (text, value)) in open.iter().zip(chosen) {
                    written.insert(name.clone(), text);
                    filled.insert(name.clone(), value);
                }
                break;
            }
            Err(why) => match why.split('`').nth(1).filter(|name| why.contains("is missing") && properties.iter().any(|one| one == name) && !open.iter().any(|one| one == name)) {
                Some(name) => open.push(name.to_owned()),
                None => break,
            },
        }
    }
    let is_good = |tried: &BTreeMap<String, Value>| {
        let (wrong, why) = wrong_places(module, tried);
        if wrong.is_empty() && why.is_empty() { Ok(()) } else { Err(why) }
    };
    if let Err(why) = is_good(&filled) {
        problems.push(format!("`{}` takes no {}: {why}; give it what it needs in BASES", module.name, serde_json::to_string(&filled).unwrap_or_default()));
        return Vec::new();
    }
    let mut tasks = vec![written.clone()];
    for name in &properties {
        // What has several lines first; in the others stands what needs quoting.
        for multi in [true, false] {
            number += 1;
            let fits = |(text, value): &Choice| {
                let mut tried = filled.clone();
                tried.insert(name.clone(), value.clone());
                holds_canary(text) && text.to_string().contains("multi") == multi && is_good(&tried).is_ok()
            };
            if let Some((text, _)) = candidates(module, name, number, multi).into_iter().find(fits) {
                let mut task = written.clone();
                task.insert(name.clone(), text);
                tasks.push(task);
                break;
            }
        }
    }
    if module.free_form {
        tasks.push(Map::from_iter([("known".to_owned(), json!("{{ special }}")), ("known_too".to_owned(), json!("{{ multi }}"))]));
    }
    let mut tasks: Vec<_> = tasks.into_iter().filter(|task| task.values().any(holds_canary)).collect();
    tasks.dedup();
    if tasks.is_empty() != WITHOUT_TEXT.contains(&module.name) {
        problems.push(format!("`{}`: {} tasks hold a secret; WITHOUT_TEXT must say so", module.name, tasks.len()));
    }
    tasks
}

type Choice = (Value, Value);

/// What a parameter that must be there may be given.
fn choices_of(module: &Registration, name: &str, schema: &Value, number: &mut usize) -> Vec<Choice> {
    *number += 1;
    let words = words_of(&schema["properties"][name], schema);
    let mut choices = candidates(module, name, *number, false);
    choices.extend(words.into_iter().chain([json!(1), json!(true), json!("0600"), json!("1m"), json!("present"), json!("a.service")]).map(|value| (value.clone(), value)));
    choices
}

/// A choice for each of these parameters with which the module has everything that it needs.
fn fitting(module: &Registration, open: &[(String, Vec<Choice>)], filled: &mut BTreeMap<String, Value>, patience: &mut usize) -> Result<Vec<Choice>, String> {
    let Some(((name, choices), rest)) = open.split_first() else {
        let (wrong, why) = wrong_places(module, filled);
        return if wrong.is_empty() && why.is_empty() { Ok(Vec::new()) } else { Err(why) };
    };
    let mut last = String::new();
    for choice in choices {
        *patience = patience.saturating_sub(1);
        filled.insert(name.clone(), choice.1.clone());
        // One that does not fit by itself fits nothing.
        if *patience > 0 && !wrong_places(module, filled).0.contains(name) {
            match fitting(module, rest, filled, patience) {
                Ok(chosen) => return Ok(std::iter::once(choice.clone()).chain(chosen).collect()),
                Err(why) if why.contains("is missing") || last.is_empty() => last = why,
                Err(_) => {}
            }
        }
        if last.contains("is missing") && rest.is_empty() {
            break;
        }
    }
    filled.remove(name);
    Err(last)
}

/// The words of an enumeration.
fn words_of(property: &Value, schema: &Value) -> Vec<Value> {
    if let Some(target) = property["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        return schema.pointer(target).map(|target| words_of(target, schema)).unwrap_or_default();
    }
    let mut words: Vec<Value> = property["enum"].as_array().cloned().unwrap_or_default();
    if let Some(word) = property.get("const") {
        words.push(word.clone());
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        words.extend(property[key].as_array().into_iter().flatten().flat_map(|one| words_of(one, schema)));
    }
    words
}

/// What a value of a task becomes when its holes are filled.
fn as_filled(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(
            text.replace("{{ special | quote }}", "'x'")
                .replace("{{ multi | quote }}", "'x'")
                .replace("{{ word | lower }}", &WORD.to_lowercase())
                .replace("{{ facts.user }}", "x")
                .replace("{{ special }}", SPECIAL)
                .replace("{{ multi }}", MULTI)
                .replace("{{ word }}", WORD)
        ),
        Value::Array(items) => items.iter().map(as_filled).collect(),
        Value::Object(entries) => entries.iter().map(|(name, value)| (name.clone(), as_filled(value))).collect::<Map<_, _>>().into(),
        other => other.clone(),
    }
}

/// The parameters that a module refuses, and what else is wrong.
fn wrong_places(module: &Registration, arguments: &BTreeMap<String, Value>) -> (BTreeSet<String>, String) {
    let span = |at: usize| Span { source: SourceId::default(), bytes: at..at + 1 };
    let entries: Vec<Entry> = arguments
        .iter()
        .enumerate()
        .map(|(at, (name, value))| {
            (at, name, if module.expressions.contains(&name.as_str()) && value.is_string() { json!({ "text": value, "value": false }) } else { value.clone() })
        })
        .map(|(at, name, value)| Entry { key: Key { name: name.clone(), span: span(1000 + at) }, value: rendered(Node::of_json(&value, &span(at))) })
        .collect();
    let names: Vec<&String> = arguments.keys().collect();
    let node = Node::new(&Span { source: SourceId::default(), bytes: 0..9999 }, Kind::Table(entries));
    let mut problems = Vec::new();
    let act = module.read(&node, &mut problems);
    let mut wrong = BTreeSet::new();
    let mut why = Vec::new();
    for problem in problems {
        why.push(problem.message.clone());
        if let Some(name) = problem.span.as_ref().and_then(|span| names.get(span.bytes.start % 1000)).filter(|_| problem.span.as_ref().is_some_and(|span| span.bytes.end != 9999)) {
            wrong.insert((*name).clone());
        }
    }
    // A file of the controller must be there.
    for wanted in act.iter().flat_map(|act| act.wants()) {
        if !["source.txt", "tree"].contains(&wanted.path.as_str()) {
            why.push(format!("it wants the file {}", wanted.path));
        }
    }
    (wrong, why.join("; "))
}

fn rendered(mut node: Node) -> Node {
    node.rendered = true;
    match &mut node.kind {
        Kind::List(items) => *items = std::mem::take(items).into_iter().map(rendered).collect(),
        Kind::Table(entries) => entries.iter_mut().for_each(|entry| entry.value = rendered(entry.value.clone())),
        _ => {}
    }
    node
}

fn toml_of(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => format!("{{ {} }}", entries.iter().map(|(name, value)| format!("{} = {}", json!(name), toml_of(value))).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Every form of the canaries, none of which may stand anywhere.
struct Needles {
    /// What is looked for in the bytes as they are.
    plain: regex::bytes::Regex,
    /// What is looked for with white space left out.
    codes: regex::bytes::Regex,
    /// How much has been looked at, in bytes.
    searched: Cell<usize>,
}

impl Needles {
    fn new() -> Self {
        let (mut plain, mut codes): (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) = Default::default();
        let lines = MULTI.lines().filter(|line| !line.starts_with('-')).map(str::trim);
        for secret in [SPECIAL, WORD].into_iter().chain(lines) {
            // Any eight bytes of it in a row, wherever it was cut.
            plain.extend(secret.as_bytes().windows(8).map(<[u8]>::to_vec));
            let escaped = serde_json::to_string(secret).expect("JSON");
            plain.insert(escaped.trim_matches('"').as_bytes().to_vec());
            plain.insert(secret.replace('\'', "'\\''").into_bytes());
            let entities = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
            plain.insert(entities.replace('\'', "&#39;").into_bytes());
            plain.insert(entities.into_bytes());
            let percent: String = secret.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect();
            plain.insert(
                secret.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02x}") }).collect::<String>().into_bytes(),
            );
            plain.insert(percent.into_bytes());
            // As GNU's tools quote, and as one quoting stands in another.
            plain.insert(secret.replace('\\', "\\\\").replace('\'', "\\'").into_bytes());
            let in_json = serde_json::to_string(&secret.replace('\'', "'\\''")).expect("JSON");
            plain.insert(in_json.trim_matches('"').as_bytes().to_vec());
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            codes.insert(hex.to_uppercase().into_bytes());
            codes.insert(hex.into_bytes());
        }
        for secret in [SPECIAL, MULTI, WORD] {
            for before in 0..3 {
                let code = base64::engine::general_purpose::STANDARD.encode([vec![0; before], secret.as_bytes().to_vec()].concat());
                let inner = &code.trim_end_matches('=').as_bytes()[4..];
                let inner = &inner[..inner.len() - 2];
                // A long one may be cut, as by the end of a line of a diff.
                codes.extend(inner.windows(inner.len().min(24)).map(<[u8]>::to_vec));
            }
        }
        let of = |needles: BTreeSet<Vec<u8>>| {
            let bytes = |needle: &Vec<u8>| needle.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
            let pattern = needles.iter().map(bytes).collect::<Vec<_>>().join("|");
            regex::bytes::RegexBuilder::new(&pattern).unicode(false).size_limit(1 << 28).build().expect("a pattern")
        };
        Self { plain: of(plain), codes: of(codes), searched: Cell::new(0) }
    }

    /// The first places where some form stands, with what is beside them.
    fn found(&self, bytes: &[u8]) -> Option<String> {
        self.searched.set(self.searched.get() + bytes.len());
        let squeezed: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let mut hits = Vec::new();
        for (pattern, bytes) in [(&self.plain, bytes), (&self.codes, squeezed.as_slice())] {
            let mut last = 0;
            for hit in pattern.find_iter(bytes) {
                if hit.start() >= last && hits.len() < 8 {
                    hits.push(format!("…{}…", String::from_utf8_lossy(&bytes[hit.start().saturating_sub(300)..(hit.end() + 60).min(bytes.len())])));
                    last = hit.end() + 400;
                }
            }
        }
        (!hits.is_empty()).then(|| hits.join("\n    and "))
    }
}

/// Everything below a folder, names included, but what lies in `store`.
fn leaks_below(folder: &Path, needles: &Needles, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if let Some(hit) = needles.found(name.as_encoded_bytes()) {
            found.push(format!("the name {}: {hit}", path.display()));
        }
        if path.is_dir() {
            leaks_below(&path, needles, found);
        } else if !path.components().any(|part| part.as_os_str() == "store")
            && let Some(hit) = std::fs::read(&path).ok().and_then(|bytes| needles.found(&bytes))
        {
            found.push(format!("{}: {hit}", path.display()));
        }
    }
}

/// A login shell that cannot gain privileges, and has none; `before` stands before the shell.
fn tame_shell(folder: &Path, before: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let drop = if nix::unistd::geteuid().is_root() { "--reuid 65534 --regid 65534 --clear-groups" } else { "" };
    let path = folder.join("tame");
    std::fs::write(&path, format!("#!/bin/sh\nexec setpriv --no-new-privs {drop} {before} /bin/sh \"$@\"\n")).expect("a shell");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

/// Gives everything below a folder to whom the tame shell becomes.
fn own(folder: &Path) {
    if nix::unistd::geteuid().is_root() {
        let status = std::process::Command::new("chown").arg("-R").arg("65534:65534").arg(folder).status().expect("chown runs");
        assert!(status.success());
    }
}

fn tame_fleet(folder: &Path, before: &str) -> Fleet {
    use std::os::unix::fs::PermissionsExt as _;
    let fleet = Fleet::start(&["alpha"], &Faults { shell: Some(tame_shell(folder, before).display().to_string()), ..Faults::default() });
    std::fs::set_permissions(fleet.folder.path(), std::fs::Permissions::from_mode(0o711)).expect("a mode");
    prepare(&fleet);
    let home = &fleet.host("alpha").home;
    std::fs::create_dir_all(home.join("parts")).expect("a folder");
    std::fs::create_dir_all(home.join("c")).expect("a folder");
    for (name, text) in [("there", "plain\n"), ("parts/a", "a\n")] {
        std::fs::write(home.join(name), text).expect("a file");
    }
    own(home);
    fleet
}

/// The secrets, and what names them.
fn prepare(fleet: &Fleet) {
    for (name, text) in [("special", SPECIAL), ("multi", MULTI), ("word", WORD), ("source.txt", "said {{ special }}\n{{ multi }}"), ("tree/file", "x\n"), ("vars.toml", VARS)] {
        // The newline at the end is the file's.
        let end = if ["special", "multi", "word"].contains(&name) { "\n" } else { "" };
        fleet.write(name, &format!("{text}{end}"));
    }
}

const VARS: &str = "special = { secret_from_file = 'special' }\nmulti = { secret_from_file = 'multi' }\nword = { secret_from_file = 'word' }\n";

#[test]
fn no_module_tells_a_secret() {
    tell_nothing(0);
}

#[test]
fn no_other_module_tells_a_secret() {
    tell_nothing(1);
}

/// Plans, applies, looks for drift and undoes, with every second module of the registry.
fn tell_nothing(part: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = tame_fleet(folder.path(), "");
    let needles = Needles::new();
    let mut problems = Vec::new();
    let mut book = String::new();
    let mut names = Vec::new();
    let mut modules = 0;
    for module in mutate::modules::ALL.modules.iter().skip(part).step_by(2) {
        modules += usize::from(!WITHOUT_TEXT.contains(&module.name));
        for task in tasks_of(module, &mut problems) {
            // What stands ahead is looked at again and again, so short plays are quicker.
            if names.len() % 40 == 0 {
                book.push_str("[[play]]\nhosts = 'alpha'\nvars_files = ['vars.toml']\n");
            }
            let number = names.len() + 1;
            let only = if ONLY_CHECKED.contains(&module.name) { "check_mode = true\n" } else { "" };
            let arguments = toml_of(&Value::Object(task)).replace("~/c/", &format!("~/c/{number}-"));
            book.push_str(&format!("[[play.task]]\nname = '{0} {number}'\n{0} = {arguments}\nignore_errors = true\ntimeout = 20\n{only}", module.name));
            names.push((module.name, format!("{} {number}", module.name)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(names.len() > 100, "{} tasks", names.len());
    // Every module that takes a text is there, and each of its tasks comes to something.
    assert_eq!(names.iter().map(|(module, _)| module).collect::<BTreeSet<_>>().len(), modules);
    let mut tale = Tale::new(&fleet, &needles);
    let path = fleet.write("play.toml", &book).display().to_string();
    let at = |name: &str| fleet.folder.path().join("controller").join(name).display().to_string();
    let (exit, said) = tale.run(&["plan", &path, "-o", &at("saved.plan"), "--diff", "-vv"]);
    assert!(exit == Some(0) && said.contains("not in the plan"), "{said}");
    let (exit, said) = tale.run(&["apply", &path, "--diff", "-vvv", "--junit", &at("junit.xml"), "--prom", &at("run.prom"), "--notify", &format!("cat >{}", at("notified"))]);
    assert_eq!(exit, Some(0), "{said}");
    let run = tale.last_run();
    // What is in place now, and what is not; each task comes to something.
    let (exit, said) = tale.run(&["drift", &path, "--output", "jsonl", "-v"]);
    assert!(exit.is_some_and(|exit| [0, 2, 4].contains(&exit)), "{exit:?} {said}");
    let silent: Vec<_> = names.iter().filter(|(_, name)| !said.contains(&format!("\"{name}\""))).collect();
    assert!(silent.is_empty(), "nothing came of {silent:?}");
    for outcome in ["\"ok\"", "\"changed\"", "\"failed\""] {
        assert!(said.contains(outcome), "{outcome}");
    }
    // What goes back here only has to be silent.
    tale.run(&["rollback", &run, "-v", "--diff", "--force"]);
    for words in [&[][..], &["-v"], &["-vv", "--diff"], &["-vvv", "--diff"], &["-vvv", "--output", "json"]] {
        let (exit, said) = tale.run_alone(&[&["show", &run], words].concat());
        assert!(exit == Some(0) && !said.trim().is_empty(), "{words:?} {said}");
    }
    let (exit, said) = tale.run_alone(&["report", "--html", &at("report.html")]);
    assert!(exit == Some(0) && Path::new(&at("report.html")).exists(), "{said}");
    tale.ends_well(100_000);
}

#[test]
fn no_outcome_tells_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = tame_fleet(folder.path(), "");
    let needles = Needles::new();
    let mut tale = Tale::new(&fleet, &needles);
    let head = "hosts = 'alpha'\nvars_files = ['vars.toml']\n";
    let failing = "shell = { cmd = 'echo {{ special | quote }}; printf %s {{ multi | quote }} >&2; exit 3', always = true }";
    let wanted = "copy = { content = 'x {{ special }} {{ multi }}', dest = '~/wanted' }";
    let books = [
        // Rescued, skipped, of a loop, and seen by others.
        format!(
            "{head}[[task]]\nname = 'block {{{{ word }}}}'\nblock = [{{ name = 'fails', {failing} }}]\nrescue = [{{ name = 'rescue', debug = '{{{{ special }}}}' }}]\nalways = [{{ name = 'always', {wanted} }}]\n\
            [[task]]\nname = 'skipped {{{{ special }}}}'\n{failing}\nwhen = \"special == 'x'\"\n\
            [[task]]\nname = 'loop'\ndebug = '{{{{ item }}}}'\nloop = ['{{{{ special }}}}', '{{{{ multi }}}}', '{{{{ word }}}}']\n\
            [[task]]\nname = 'seen'\ncommand = {{ argv = ['cat', 'wanted'], probe = true }}\nregister = 'seen'\n\
            [[task]]\nname = 'told'\nassert = {{ that = \"special in seen.stdout\", success_msg = 'it is {{{{ seen.stdout | b64encode }}}} {{{{ special | urlencode }}}}' }}\n\
            [[task]]\nname = 'judged'\nshell = {{ cmd = 'echo x', always = true }}\nfailed_when = \"result.stdout != special\"\nignore_errors = true\n"
        ),
        format!(
            "{head}[[task]]\nname = 'one'\n{wanted}\n[[task]]\nname = 'fails'\n{failing}\n"
        ),
        format!("{head}on_failure = 'rollback'\n[[task]]\nname = 'one'\ncopy = {{ content = 'y {{{{ multi }}}}', dest = '~/wanted' }}\n[[task]]\nname = 'fails'\n{failing}\n"),
        format!("{head}[[task]]\nname = 'argument'\nfile = {{ path = '~/x', state = 'touch', mode = '{{{{ special }}}}' }}\n"),
        format!(
            "{head}[[task]]\nname = 'name'\ncopy = {{ content = 'x', dest = 'none/{{{{ special }}}}' }}\n[[task]]\nname = 'source'\ncopy = {{ src = '{{{{ multi }}}}', dest = '~/x' }}\n"
        ),
    ];
    for ((book, exit), number) in books.iter().zip([0, 4, 6, 1, 1]).zip(1..) {
        let path = fleet.write(&format!("book{number}.toml"), book).display().to_string();
        for words in [&["--check", "--diff", "-vvv"][..], &["--diff", "-vvv"], &["--output", "json"], &["--output", "jsonl", "-v"], &[], &["-vv"]] {
            let (ended, said) = tale.run(&[&["apply", &path], words].concat());
            let is_for_real = !words.contains(&"--check");
            assert!(!is_for_real || ended == Some(exit), "{number}: {ended:?} {said}");
        }
    }
    // In place, and changed by somebody.
    let path = fleet.write("drift.toml", &format!("{head}[[task]]\nname = 'one'\n{wanted}\n")).display().to_string();
    for (words, exit) in [(&["apply", "-v"][..], 0), (&["drift"], 0), (&["drift", "-vvv", "--diff"], 2), (&["drift", "--json"], 2), (&["apply", "--output", "json", "--check"], 0)]
    {
        if exit == 2 {
            std::fs::write(fleet.host("alpha").home.join("wanted"), "mine\n").expect("a file");
        }
        let (first, rest) = words.split_first().expect("a command");
        let (ended, said) = tale.run(&[&[*first, &path], rest].concat());
        assert_eq!(ended, Some(exit), "{words:?} {said}");
    }
    tale.ends_well(20_000);
}

/// Whatever form a secret has, the search sees it, wherever it stands; and it sees nothing where nothing is.
#[test]
fn the_search_finds_every_form() {
    let needles = Needles::new();
    let codes = |bytes: &[u8]| -> String {
        base64::engine::general_purpose::STANDARD.encode(bytes).as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect()
    };
    for secret in [SPECIAL, MULTI, WORD] {
        let forms = [
            secret.to_owned(),
            codes(secret.as_bytes()),
            codes(format!("ann:{secret}").as_bytes()),
            codes(format!("x{secret}y").as_bytes()),
            secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
            secret.bytes().map(|byte| format!("{byte:02X}")).collect(),
            secret.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect(),
            serde_json::to_string(secret).expect("JSON"),
            secret.replace('\'', "'\\''"),
            secret.chars().skip(secret.len() / 2).collect(),
        ];
        for form in forms {
            assert!(needles.found(format!("before {form} after").as_bytes()).is_some(), "{form}");
        }
    }
    assert!(needles.found(b"*** and nothing else ***\n-----BEGIN CANARY KEY-----\n").is_none());
    assert!(needles.searched.get() > 1000);
}

/// What the program says and keeps, all of which must hold nothing.
struct Tale<'a> {
    fleet: &'a Fleet,
    needles: &'a Needles,
    leaks: Vec<String>,
}

impl<'a> Tale<'a> {
    fn new(fleet: &'a Fleet, needles: &'a Needles) -> Self {
        Self { fleet, needles, leaks: Vec::new() }
    }

    fn run(&mut self, words: &[&str]) -> (Option<i32>, String) {
        self.said(words, mutate(self.fleet, words))
    }

    /// The same for a command that takes no inventory.
    fn run_alone(&mut self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = std::process::Command::new(super::program());
        command.args(words).env_clear().env("HOME", self.fleet.folder.path().join("controller"));
        self.said(words, command)
    }

    fn said(&mut self, words: &[&str], mut command: std::process::Command) -> (Option<i32>, String) {
        let output = command.output().expect("the program runs");
        let said = [output.stdout.as_slice(), b"\n", &output.stderr].concat();
        if let Some(hit) = self.needles.found(&said) {
            self.leaks.push(format!("{words:?}: {hit}"));
        }
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    fn last_run(&mut self) -> String {
        let (_, history) = super::alone(self.fleet, &["history"]);
        history.lines().find(|line| line.contains("apply")).and_then(|line| line.split_whitespace().next()).expect("a run").to_owned()
    }

    /// Looks at everything that the controller and the host keep. At least so many bytes must have been said, and kept.
    fn ends_well(mut self, least_bytes: usize) {
        let said = self.needles.searched.get();
        assert!(said > least_bytes, "the program said {said} bytes");
        let controller = self.fleet.folder.path().join("controller");
        assert!(controller.join(".local/state/mutate/journal.db").exists(), "the journal is looked at");
        leaks_below(&controller, self.needles, &mut self.leaks);
        let kept = self.needles.searched.get() - said;
        assert!(kept > least_bytes, "the controller keeps {kept} bytes");
        let state = self.fleet.host("alpha").home.join(".local/state/mutate");
        assert!(state.join("runs").exists(), "the ledger is looked at");
        leaks_below(&state, self.needles, &mut self.leaks);
        assert!(self.needles.searched.get() > said + kept + 1000, "the host keeps next to nothing");
        assert!(self.leaks.is_empty(), "{} leaks\n{}", self.leaks.len(), self.leaks.join("\n\n"));
    }
}

/// Parameters that hold secrets, or whole texts: modules hand them on by stdin, by files or in the environment, which only the user and root can read.
fn is_silent(parameter: &str) -> bool {
    ["password", "passphrase", "secret", "token"].iter().any(|part| parameter.contains(part)) || ["content", "block", "line", "stdin", "body", "headers", "data", "replace", "value"].contains(&parameter)
}

/// A value without secrets.
fn without_canary(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let hole = regex::Regex::new(r"\{\{ (special|multi|word)( \| \w+)? \}\}").expect("a pattern");
            json!(hole.replace_all(text, "plain").replace("special ==", "'plain' ==").replace("multi ==", "'plain' =="))
        }
        Value::Array(items) => items.iter().map(without_canary).collect(),
        Value::Object(entries) => entries.iter().map(|(name, value)| (name.clone(), without_canary(value))).collect::<Map<_, _>>().into(),
        other => other.clone(),
    }
}

/// Secrets for the parameters that hold them are among nobody's words, whichever module takes them; and nothing of ours comes into the system's log.
#[test]
fn no_list_of_processes_and_no_log_shows_a_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let is_there = |program: &&str| std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()));
    if !["strace", "htpasswd", "openssl", "curl", "ssh-keygen", "logger"].iter().all(is_there) {
        assert!(std::env::var_os("CI").is_none(), "this must run in CI, but a tool is missing");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let traced = folder.path().join("traced");
    std::fs::write(&traced, "").expect("a file");
    std::fs::set_permissions(&traced, std::fs::Permissions::from_mode(0o666)).expect("a mode");
    // Everything that is executed, with its words, and every socket of this machine that something speaks to.
    let fleet = tame_fleet(folder.path(), &format!("strace -f --seccomp-bpf -qq -s 100000 -e trace=execve,connect -e signal=none -A -o {}", traced.display()));
    let mut book = String::from(
        "hosts = 'alpha'\nvars_files = ['vars.toml']\n\
        [[task]]\nshell = { cmd = 'logger -t canary nothing', always = true }\nignore_errors = true\n\
        [[task]]\nhtpasswd = { path = '~/htpasswd', name = 'ann', password = '{{ special }}' }\n\
        [[task]]\nopenssl_privatekey = { path = '~/key.pem', type = 'Ed25519', passphrase = '{{ special }}', cipher = 'auto' }\n\
        [[task]]\nopenssl_csr = { path = '~/csr.pem', privatekey_path = '~/key.pem', privatekey_passphrase = '{{ special }}', common_name = 'x' }\n\
        [[task]]\nopenssh_keypair = { path = '~/id', passphrase = '{{ special }}' }\n\
        [[task]]\nuri = { url = 'http://127.0.0.1:1/x', method = 'POST', body = '{{ special }}', headers = { X-Key = '{{ word }}' }, user = 'ann', password = '{{ special }}' }\nignore_errors = true\n\
        [[task]]\nget_url = { url = 'http://127.0.0.1:1/x', dest = '~/got', password = '{{ special }}', username = 'ann' }\nignore_errors = true\n\
        [[task]]\ntemplate = { src = 'source.txt', dest = '~/rendered' }\n",
    );
    let (mut problems, mut modules, mut count) = (Vec::new(), BTreeSet::new(), 0);
    for module in mutate::modules::ALL.modules {
        let mut tasks: Vec<Map<String, Value>> = tasks_of(module, &mut problems);
        for task in &mut tasks {
            // What `setfattr` sets is always among its words.
            task.iter_mut().filter(|(name, _)| !is_silent(name) || module.name == "xattr").for_each(|(_, value)| *value = without_canary(value));
        }
        tasks.retain(|task| task.values().any(holds_canary));
        // Each task that is traced takes its time, so one task takes as many as go together.
        let mut together: Vec<Map<String, Value>> = Vec::new();
        for task in tasks {
            let with_more = |one: &Map<String, Value>| task.clone().into_iter().chain(one.clone()).collect::<Map<_, _>>();
            let is_good = |one: &Map<String, Value>| wrong_places(module, &one.iter().map(|(name, value)| (name.clone(), as_filled(value))).collect()).1.is_empty();
            match together.iter_mut().find(|one| is_good(&with_more(one))) {
                Some(one) => *one = with_more(one),
                None => together.push(task),
            }
        }
        for task in together {
            count += 1;
            modules.insert(module.name);
            let only = if ONLY_CHECKED.contains(&module.name) { "check_mode = true\n" } else { "" };
            let arguments = toml_of(&Value::Object(task)).replace("~/c/", &format!("~/c/{count}-"));
            book.push_str(&format!("[[task]]\n{} = {arguments}\nignore_errors = true\ntimeout = 20\n{only}", module.name));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count >= modules.len() && modules.len() > 20, "{count} tasks of {modules:?}");
    let path = fleet.write("play.toml", &book).display().to_string();
    let output = mutate(&fleet, &["apply", &path, "-v"]).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(Needles::new().found(said.as_bytes()).is_none(), "{said}");
    assert!(std::fs::read_to_string(fleet.host("alpha").home.join("htpasswd")).is_ok_and(|text| text.starts_with("ann:")));
    let text = String::from_utf8_lossy(&std::fs::read(&traced).expect("what was executed")).into_owned();
    for program in ["htpasswd", "openssl", "curl", "ssh-keygen"] {
        assert!(text.contains(&format!("/{program}\", [")), "`{program}` was not seen");
    }
    // As strace quotes.
    let told = Needles::new().found(text.replace("\\\"", "\"").replace("\\\\", "\\").as_bytes());
    assert!(told.is_none(), "{}", told.unwrap_or_default());
    // Only the task that means it speaks to the log.
    let (logging, speaking): (Vec<&str>, Vec<&str>) = (text.lines().filter(|line| line.contains("/logger\", [")).collect(), text.lines().filter(|line| line.contains("/dev/log\"") || line.contains("/journal/")).collect());
    assert!(!logging.is_empty() && logging.iter().all(|line| line.contains("[\"logger\", \"-t\", \"canary\", \"nothing\"]")), "{logging:?}");
    let who = |line: &&str| line.split_whitespace().next().map(str::to_owned);
    let loggers: BTreeSet<_> = logging.iter().filter_map(who).collect();
    assert!(!speaking.is_empty() && speaking.iter().filter_map(who).all(|process| loggers.contains(&process)), "{speaking:?}");
}
