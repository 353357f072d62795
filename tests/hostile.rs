//! Servers that lie, stall and flood. Each ends within its time, with one clear message; the others are unharmed, and the
//! memory stays small.

#![allow(clippy::print_stdout, reason = "a test that did not run says so")]

#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/liar.rs"]
mod liar;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet::{Faults, Fleet};
use liar::{Liar, PROPOSAL, kexinit, serve, string};
use russh::keys::{Algorithm, PrivateKey, key::safe_rng};
use serde_json::Value;

type Script = Box<dyn Fn(&mut Liar) -> std::io::Result<()> + Send + Sync>;

/// A lie, and words that the message about it must hold.
struct Case {
    name: &'static str,
    says: &'static str,
    script: Script,
}

fn case(name: &'static str, says: &'static str, script: impl Fn(&mut Liar) -> std::io::Result<()> + Send + Sync + 'static) -> Case {
    Case { name, says, script: Box::new(script) }
}

/// Runs a command on nine honest hosts and all of these at once.
fn run(cases: Vec<Case>, pins: bool) -> Value {
    let names: Vec<String> = (1..=9).map(|number| format!("good{number}")).collect();
    let fleet = Fleet::start(&names.iter().map(String::as_str).collect::<Vec<_>>(), &Faults::default());
    let mut inventory = std::fs::read_to_string(&fleet.inventory).expect("the inventory");
    let told: Vec<(&str, &str)> = cases.iter().map(|case| (case.name, case.says)).collect();
    let known = fleet.folder.path().join("known_hosts");
    let mut keys = String::new();
    for one in cases {
        let (port, key) = serve(one.script);
        let pin = if pins { format!(", host_key = '{key}'") } else { String::new() };
        inventory.push_str(&format!("{} = {{ address = '127.0.0.1', port = {port}{pin} }}\n", one.name));
        keys.push_str(&format!("[127.0.0.1]:{port} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X\n"));
    }
    std::fs::write(&known, keys).expect("a file");
    std::fs::write(&fleet.inventory, inventory).expect("the inventory");
    let password = fleet.write("password", "hunter2\n");
    let config = fleet.write("config", &format!("UserKnownHostsFile {}\n", known.display()));
    let begun = Instant::now();
    // Asking a server again that has no room is the longest of all; what is not over then is named.
    let output = Command::new("timeout")
        .args(["-s", "KILL", "100", env!("CARGO_BIN_EXE_mutate")])
        .args(["run", "all", "-f", "200", "--timeout", "5", "--output", "jsonl", "-i"])
        .arg(&fleet.inventory)
        .arg("-F")
        .arg(config)
        .arg("--password-file")
        .arg(password)
        .args(["--", "echo fine"])
        .env_clear()
        .env("HOME", fleet.folder.path())
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let mut hosts: serde_json::Map<String, Value> = serde_json::Map::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let event: Value = serde_json::from_slice(line).expect("JSON");
        let Some(name) = event["host"].as_str() else { continue };
        let host = hosts.entry(name).or_insert_with(|| serde_json::json!({ "steps": [] }));
        match event["event"].as_str() {
            Some("step") => host["steps"].as_array_mut().expect("steps").push(event.clone()),
            Some("host_end") => (host["outcome"], host["message"]) = (event["outcome"].clone(), event["message"].clone()),
            _ => {}
        }
    }
    let document = serde_json::json!({ "hosts": hosts });
    assert!(hosts.len() > names.len(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("it took {:?}", begun.elapsed());
    let mut wrong = Vec::new();
    for name in &names {
        if document["hosts"][name]["steps"][0]["stdout"] != "fine\n" {
            wrong.push(format!("{name} was harmed: {}", document["hosts"][name]));
        }
    }
    for (name, says) in told {
        let host = &document["hosts"][name];
        let message = host["message"].as_str().filter(|text| !text.is_empty()).or(host["steps"][0]["message"].as_str()).unwrap_or_default();
        let is_bad = ["unreachable", "failed", "unknown"].contains(&host["outcome"].as_str().unwrap_or_default());
        if !is_bad || !message.contains(says) || message.len() > 1500 || message.contains(char::is_control) {
            wrong.push(format!("{name}: {} with {:?}, which should hold {says:?}", host["outcome"], message.chars().take(400).collect::<String>()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{}", String::from_utf8_lossy(&output.stderr));
    let memory = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).expect("the system counts").max_rss() >> 10;
    assert!(memory < 128, "{memory} MiB");
    document
}

fn another_key() -> PrivateKey {
    PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).expect("a key")
}

/// Writes the same bytes until the client has had enough.
fn flood(liar: &mut Liar, bytes: &[u8]) -> std::io::Result<()> {
    loop {
        liar.raw(bytes)?;
    }
}

#[test]
fn before_anybody_has_logged_in() {
    let names = |count: usize| (0..count).map(|number| format!("a{number}")).collect::<Vec<_>>().join(",");
    let cases = vec![
        case("silent", "does not finish the handshake", Liar::hang),
        case("trickle", "handshake", |liar| {
            for byte in b"SSH-2.0-slow\r\n" {
                liar.raw(&[*byte])?;
                std::thread::sleep(Duration::from_secs(10));
            }
            Ok(())
        }),
        case("endless_lines", "speak SSH", |liar| flood(liar, b"hello there\r\n")),
        case("long_line", "speak SSH", |liar| flood(liar, &[b'x'; 4096])),
        case("ssh1", "SSH", |liar| liar.raw(b"SSH-1.5-old\r\n").and_then(|()| liar.hang())),
        case("escapes", "handshake", |liar| liar.raw(b"SSH-2.0-\x1b[2J\x1b]0;x\x07\r\n")),
        case("http", "HTTP/1.1 400", |liar| liar.raw(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n")),
        case("no_room", "MaxStartups", |liar| liar.raw(b"Exceeded MaxStartups\r\n")),
        case("close_after_version", "handshake", |liar| liar.versions()),
        case("close_after_kexinit", "handshake", |liar| liar.versions().and_then(|()| liar.packet(&kexinit(&PROPOSAL)))),
        case("many_names", "speak SSH", move |liar| {
            let list = names(100_000);
            let mut proposal = PROPOSAL;
            proposal[0] = &list;
            liar.versions()?;
            liar.packet(&kexinit(&proposal))?;
            liar.hang()
        }),
        case("unknown_names", "no algorithm in common", |liar| {
            let mut proposal = PROPOSAL;
            proposal[0] = "rot13-md5,\u{1b}[31m";
            liar.versions()?;
            liar.packet(&kexinit(&proposal))?;
            liar.hang()
        }),
        case("no_cipher", "no algorithm in common", |liar| {
            let mut proposal = PROPOSAL;
            (proposal[2], proposal[3]) = ("des-cbc", "des-cbc");
            liar.versions()?;
            liar.packet(&kexinit(&proposal))?;
            liar.hang()
        }),
        case("zlib_only", "no algorithm in common", |liar| {
            let mut proposal = PROPOSAL;
            (proposal[6], proposal[7]) = ("zlib", "zlib");
            liar.versions()?;
            liar.packet(&kexinit(&proposal))?;
            liar.hang()
        }),
        case("length_zero", "handshake", |liar| liar.versions().and_then(|()| liar.raw(&[0; 64])).and_then(|()| liar.hang())),
        case("length_huge", "", |liar| liar.versions().and_then(|()| liar.raw(&[255; 64])).and_then(|()| liar.hang())),
        case("length_large", "", |liar| liar.versions().and_then(|()| liar.raw(&[0, 4, 0, 1, 4, 20, 0, 0])).and_then(|()| flood(liar, &[0; 4096]))),
        case("bad_padding", "", |liar| liar.versions().and_then(|()| liar.raw(&[0, 0, 0, 12, 255, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])).and_then(|()| liar.hang())),
        case("garbage", "", |liar| liar.versions().and_then(|()| flood(liar, &[0xa5; 4096]))),
        case("truncated_kexinit", "", |liar| liar.versions().and_then(|()| liar.packet(&kexinit(&PROPOSAL)[..40])).and_then(|()| liar.hang())),
        case("newkeys_first", "", |liar| liar.versions().and_then(|()| liar.packet(&[21])).and_then(|()| liar.hang())),
        case("ignore_flood", "handshake", |liar| {
            liar.versions()?;
            let noise = [&[2][..], &string([b'x'; 1000])].concat();
            loop {
                liar.packet(&noise)?;
            }
        }),
    ];
    run(cases, false);
}

/// A key exchange in which something is not as it should be.
fn spoilt(liar: &mut Liar, spoil: impl Fn(&mut [Vec<u8>; 3])) -> std::io::Result<()> {
    liar.versions()?;
    let ours = kexinit(&PROPOSAL);
    liar.packet(&ours)?;
    let key = another_key();
    liar.exchange(&ours, &key, spoil)?;
    liar.hang()
}

#[test]
fn with_host_keys_that_are_none() {
    let cases = vec![
        case("changed", "HAS CHANGED", |liar| spoilt(liar, |_| {})),
        case("bad_signature", "", |liar| spoilt(liar, |parts| parts[2].iter_mut().rev().take(5).for_each(|byte| *byte ^= 1))),
        case("no_signature", "", |liar| spoilt(liar, |parts| parts[2].clear())),
        case("zero_point", "", |liar| spoilt(liar, |parts| parts[1] = vec![0; 32])),
        case("short_point", "", |liar| spoilt(liar, |parts| parts[1].truncate(7))),
        case("long_point", "", |liar| spoilt(liar, |parts| parts[1] = vec![9; 100_000])),
        case("no_key", "", |liar| spoilt(liar, |parts| parts[0].clear())),
        case("broken_key", "", |liar| spoilt(liar, |parts| parts[0].truncate(20))),
        case("bad_curve", "", |liar| spoilt(liar, |parts| parts[0] = [string("ecdsa-sha2-nistp256"), string("nistp256"), string([4; 65])].concat())),
        case("small_rsa", "", |liar| spoilt(liar, |parts| parts[0] = [string("ssh-rsa"), string([1, 0, 1]), string([0x7f; 128])].concat())),
    ];
    run(cases, false);
}

#[test]
fn while_logging_in() {
    let pubkey = |text: &str| string(text);
    let cases = vec![
        case("long_banner", "greets without end", |liar| {
            liar.up_to_login()?;
            for _ in 0..1000 {
                liar.packet(&[&[53][..], &string([b'\x1b'; 10_000]), &string("")].concat())?;
            }
            liar.hang()
        }),
        case("endless_banners", "greets without end", |liar| {
            liar.up_to_login()?;
            loop {
                liar.packet(&[&[53][..], &string("hello\r\n"), &string("")].concat())?;
            }
        }),
        case("endless_failures", "was refused", |liar| {
            liar.up_to_login()?;
            loop {
                liar.failure("publickey,password,keyboard-interactive", false)?;
                liar.wait_for(&[50])?;
            }
        }),
        case("partial_for_ever", "was refused", |liar| {
            liar.up_to_login()?;
            loop {
                liar.failure("publickey", true)?;
                liar.wait_for(&[50])?;
            }
        }),
        case("no_methods", "", |liar| liar.up_to_login().and_then(|_| liar.failure("", false)).and_then(|()| liar.hang())),
        case("hanging_login", "did not end", |liar| liar.up_to_login().and_then(|_| liar.hang())),
        case("other_key_is_fine", "", move |liar| {
            liar.up_to_login()?;
            liar.packet(&[&[60][..], &pubkey("ssh-ed25519"), &string("another key")].concat())?;
            liar.wait_for(&[50])?;
            liar.failure("none-of-yours", false)?;
            liar.hang()
        }),
        case("endless_welcomes", "", move |liar| {
            liar.up_to_login()?;
            loop {
                liar.packet(&[&[60][..], &pubkey("ssh-ed25519"), &string("a key")].concat())?;
            }
        }),
        case("endless_services", "", |liar| {
            liar.up_to_login()?;
            loop {
                liar.packet(&[&[6][..], &string("ssh-userauth")].concat())?;
            }
        }),
        case("billion_prompts", "", |liar| {
            liar.up_to_login()?;
            liar.failure("keyboard-interactive", false)?;
            liar.wait_for(&[50])?;
            liar.packet(&[&[60][..], &string(""), &string(""), &string(""), &1_000_000_000_u32.to_be_bytes(), &string("Password: "), &[0]].concat())?;
            liar.hang()
        }),
        case("endless_prompts", "again", |liar| {
            liar.up_to_login()?;
            liar.failure("keyboard-interactive", false)?;
            liar.wait_for(&[50])?;
            loop {
                liar.packet(&[&[60][..], &string(""), &string(""), &string(""), &1_u32.to_be_bytes(), &string("Password: "), &[0]].concat())?;
                liar.wait_for(&[61])?;
            }
        }),
        case("empty_prompts", "without end", |liar| {
            liar.up_to_login()?;
            liar.failure("keyboard-interactive", false)?;
            liar.wait_for(&[50])?;
            loop {
                liar.packet(&[&[60][..], &string(""), &string(""), &string(""), &0_u32.to_be_bytes()].concat())?;
                liar.wait_for(&[61])?;
            }
        }),
        case("strange_prompt", "does not understand", |liar| {
            liar.up_to_login()?;
            liar.failure("keyboard-interactive", false)?;
            liar.wait_for(&[50])?;
            liar.packet(&[&[60][..], &string(""), &string(""), &string(""), &1_u32.to_be_bytes(), &string("Your \x1b[31mcard number: "), &[0]].concat())?;
            liar.hang()
        }),
        case("change_password", "", |liar| {
            liar.up_to_login()?;
            liar.failure("password", false)?;
            liar.wait_for(&[50])?;
            liar.packet(&[&[60][..], &string("Password expired. New password: "), &string("")].concat())?;
            liar.hang()
        }),
        case("success_and_gone", "", |liar| liar.up_to_login().and_then(|_| liar.packet(&[52]))),
        case("gone_without_an_answer", "ended the connection", |liar| liar.up_to_login().and_then(|_| liar.wait_for(&[94])).map(|_| ())),
        case("service_refused", "", |liar| {
            liar.begin()?;
            liar.wait_for(&[5])?;
            liar.packet(&[&[1][..], &7_u32.to_be_bytes(), &string("no \x1b[31mservice"), &string("")].concat())
        }),
        case("long_goodbye", "", |liar| {
            liar.up_to_login()?;
            liar.packet(&[&[1][..], &2_u32.to_be_bytes(), &string([b'z'; 200_000]), &string("")].concat())
        }),
    ];
    let document = run(cases, true);
    let outcome = |name: &str| document["hosts"][name]["outcome"].as_str().expect("an outcome").to_owned();
    // The command goes along with the login: it begins as soon as that is good, whoever hears of it.
    assert_eq!((outcome("success_and_gone"), outcome("hanging_login")), ("unknown".into(), "unknown".into()));
    assert_eq!((outcome("gone_without_an_answer"), outcome("endless_failures"), outcome("no_methods")), ("unreachable".into(), "unreachable".into(), "unreachable".into()));
}

#[test]
fn with_channels() {
    let cases = vec![
        case("refused", "refuses a session", |liar| {
            let channel = liar.up_to_channel()?;
            liar.packet(&[&[92][..], &channel.to_be_bytes(), &1_u32.to_be_bytes(), &string("no \x1b[31mway"), &string("")].concat())?;
            liar.hang()
        }),
        case("another_number", "", |liar| {
            let channel = liar.up_to_channel()?;
            liar.packet(&[&[91][..], &channel.to_be_bytes(), &9_u32.to_be_bytes(), &(1_u32 << 20).to_be_bytes(), &32768_u32.to_be_bytes()].concat())?;
            liar.hang()
        }),
        case("huge_window", "", |liar| liar.up_to_command(1 << 31).and_then(|channel| liar.about(97, channel)).and_then(|()| liar.hang())),
        case("no_window", "did not start", |liar| liar.up_to_command(0).and_then(|_| liar.hang())),
        case("window_overflow", "", |liar| {
            let channel = liar.up_to_command(u32::MAX)?;
            for _ in 0..1000 {
                liar.packet(&[&[93][..], &channel.to_be_bytes(), &u32::MAX.to_be_bytes()].concat())?;
            }
            liar.hang()
        }),
        case("beyond_the_window", "", |liar| {
            let channel = liar.up_to_command(1 << 20)?;
            loop {
                liar.data(channel, &[b'x'; 30_000])?;
            }
        }),
        case("after_the_end", "", |liar| {
            let channel = liar.up_to_command(1 << 20)?;
            liar.about(96, channel)?;
            liar.data(channel, b"more")?;
            liar.about(97, channel)?;
            liar.data(channel, b"and more")?;
            liar.hang()
        }),
        case("closed_at_once", "", |liar| liar.up_to_command(1 << 20).and_then(|channel| liar.about(97, channel)).and_then(|()| liar.hang())),
        case("opens_channels", "", |liar| {
            let channel = liar.up_to_command(1 << 20)?;
            for number in 0..10_000_u32 {
                let kind = ["auth-agent@openssh.com", "x11", "forwarded-tcpip", "session", "direct-tcpip", "tun@openssh.com", "nonsense"][number as usize % 7];
                let more = [string("a"), 1_u32.to_be_bytes().to_vec(), string("b"), 2_u32.to_be_bytes().to_vec()].concat();
                liar.packet(&[&[90][..], &string(kind), &number.to_be_bytes(), &(1_u32 << 20).to_be_bytes(), &32768_u32.to_be_bytes(), &more].concat())?;
            }
            liar.about(97, channel)?;
            liar.hang()
        }),
        case("killed_by_signal", "", |liar| {
            let channel = liar.up_to_command(1 << 20)?;
            liar.packet(&[&[98][..], &channel.to_be_bytes(), &string("exit-signal"), &[0], &string("KILL"), &[0], &string("x"), &string("")].concat())?;
            liar.about(97, channel)?;
            liar.hang()
        }),
        case("two_statuses", "", |liar| {
            let channel = liar.up_to_command(1 << 20)?;
            liar.exit_status(channel, 0)?;
            liar.exit_status(channel, 7)?;
            liar.about(97, channel)?;
            liar.hang()
        }),
        case("status_and_silence", "", |liar| liar.up_to_command(1 << 20).and_then(|channel| liar.exit_status(channel, 0)).and_then(|()| liar.hang())),
        case("third_stream", "did not start", |liar| {
            let channel = liar.up_to_command(1 << 20)?;
            liar.packet(&[&[95][..], &channel.to_be_bytes(), &99_u32.to_be_bytes(), &string("x")].concat())?;
            liar.hang()
        }),
        case("other_channel", "", |liar| liar.up_to_command(1 << 20).and_then(|channel| liar.data(channel + 77, b"x")).and_then(|()| liar.hang())),
        case("another_host_key", "", |liar| {
            liar.up_to_command(1 << 20)?;
            liar.exchange_again(&another_key())?;
            liar.hang()
        }),
        case("rekey_begun_and_left", "", |liar| liar.up_to_command(1 << 20).and_then(|_| liar.packet(&kexinit(&PROPOSAL))).and_then(|()| liar.hang())),
        case("half_closed", "", |liar| {
            liar.up_to_command(1 << 20)?;
            liar.stream.shutdown(std::net::Shutdown::Write)?;
            liar.hang()
        }),
        case("bad_mac", "", |liar| liar.up_to_command(1 << 20).and_then(|_| liar.raw(&[0x5a; 4096])).and_then(|()| liar.hang())),
        case("debug_flood", "", |liar| {
            liar.up_to_command(1 << 20)?;
            loop {
                liar.packet(&[&[4][..], &[1], &string([b'x'; 1000]), &string("")].concat())?;
            }
        }),
        case("requests_flood", "", |liar| {
            liar.up_to_command(1 << 20)?;
            for _ in 0..20_000 {
                liar.packet(&[&[80][..], &string("keepalive@openssh.com"), &[1]].concat())?;
            }
            liar.hang()
        }),
    ];
    run(cases, true);
}

/// Texts that a shell might say in place of ours.
#[test]
fn in_the_words_of_a_shell() {
    let noise = "x".repeat(70_000);
    let says = |text: &'static str| {
        move |liar: &mut Liar| {
            let channel = liar.up_to_command(1 << 20)?;
            liar.data(channel, text.as_bytes())?;
            liar.hang()
        }
    };
    let cases = vec![
        case("wrong_word", "did not start", says("0123456789abcdef0123456789abcdef hello 0 /root\n")),
        case("nuls", "did not start", says("\0\0\0\0\0\0\0\0")),
        case("noise", "", move |liar| {
            let channel = liar.up_to_command(1 << 20)?;
            liar.data(channel, noise.as_bytes())?;
            liar.hang()
        }),
        case("echo", "", |liar| {
            // It gives back whatever it is told, secrets and all.
            let channel = liar.up_to_command(1 << 20)?;
            loop {
                let packet = liar.wait_for(&[94])?;
                liar.data(channel, &packet[9..])?;
            }
        }),
        case("ends_first", "", |liar| {
            let channel = liar.up_to_command(1 << 20)?;
            liar.exit_status(channel, 255)?;
            liar.about(97, channel)?;
            liar.hang()
        }),
    ];
    run(cases, true);
}
