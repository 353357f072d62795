//! Files of this program and of `age` are the same; what is large is no trouble.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mutate::secret::Secret;
use mutate::vault::{Header, Identities, Recipients, Rekeyed, Standing, decrypt, encrypt, encrypt_binary, encrypt_value, init, rekey_file, standing, view_file};

const TEXT: &[u8] = b"password = \"hunter2\"\n";

/// Runs a program on bytes; `None` where it is not installed.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // It may end before it read all.
        drop(stdin.write_all(&input));
    });
    let output = child.wait_with_output().expect("ended");
    writer.join().expect("no panic");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

fn opened(paths: &[&Path], passphrase: Option<&'static str>) -> Identities {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    Identities::load(&paths, Box::new(move |_| passphrase.map(Secret::new))).expect("keys")
}

fn public(path: &Path) -> String {
    std::fs::read_to_string(format!("{}.pub", path.display())).expect("a public key").trim().to_owned()
}

/// A key of each kind, as `age` and `ssh-keygen` make them, and one of ours: the private file and the public text.
fn keys(folder: &Path) -> Option<Vec<(PathBuf, String)>> {
    run("age", &["--version"], b"")?;
    let at = |name: &str| folder.join(name);
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let theirs = at("theirs");
    run("age-keygen", &["-o", &text(&theirs)], b"")?;
    let theirs_public = String::from_utf8(run("age-keygen", &["-y", &text(&theirs)], b"")?).expect("UTF-8").trim().to_owned();
    let ours = at("ours");
    let ours_public = init(&ours).expect("a key").key;
    assert_eq!(String::from_utf8(run("age-keygen", &["-y", &text(&ours)], b"")?).expect("UTF-8").trim(), ours_public);
    let (ed, rsa) = (at("ed"), at("rsa"));
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &text(&ed)], b"")?;
    run("ssh-keygen", &["-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", &text(&rsa)], b"")?;
    let (ed_public, rsa_public) = (public(&ed), public(&rsa));
    Some(vec![(theirs, theirs_public), (ours, ours_public), (ed, ed_public), (rsa, rsa_public)])
}

fn named<'a>(keys: impl IntoIterator<Item = &'a str>) -> Recipients {
    Recipients::of_lines(&keys.into_iter().collect::<Vec<_>>().join("\n"), "keys").expect("recipients")
}

#[test]
fn age_reads_what_is_written_here_and_we_read_what_age_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(keys) = keys(folder.path()) else { return };
    let all = named(keys.iter().map(|(_, public)| public.as_str()));
    let alone: Vec<Recipients> = keys.iter().map(|(_, public)| named([public.as_str()])).collect();
    for (at, (path, public)) in keys.iter().enumerate() {
        let identity = path.to_str().expect("UTF-8");
        for to in [&all, &alone[at]] {
            for bytes in [encrypt(TEXT, to).into_bytes(), encrypt_binary(TEXT, to)] {
                assert_eq!(run("age", &["-d", "-i", identity], &bytes).expect("age"), TEXT);
                assert_eq!(decrypt(&bytes, &opened(&[path], None)).expect("ours").as_slice(), TEXT);
                assert_eq!(Header::of(&bytes).expect("a header").is_for(to), Standing::Current);
            }
        }
        for options in [&["-r", public.as_str()][..], &["-a", "-r", public], &["-a", "-r", &keys[0].1, "-r", &keys[2].1, "-r", public]] {
            let bytes = run("age", options, TEXT).expect("age");
            assert_eq!(decrypt(&bytes, &opened(&[path], None)).expect("ours").as_slice(), TEXT);
        }
        let bytes = run("age", &["-r", public], TEXT).expect("age");
        let header = Header::of(&bytes).expect("a header");
        let expected = if public.starts_with("ssh-") { Standing::Current } else { Standing::Unknown };
        assert_eq!(header.is_for(&alone[at]), expected);
        assert_eq!(header.is_for(&all), Standing::Stale);
        let other = &keys[(at + 1) % 4].0;
        let error = decrypt(&bytes, &opened(&[other], None)).expect_err("for others").to_string();
        assert!(error.starts_with("it is encrypted for 1 ") && error.ends_with("does not open it"), "{error}");
    }
    let value = encrypt_value("hunter2", &all);
    let bytes = run("base64", &["-d"], &value.as_bytes()["age:".len()..]).expect("base64");
    assert_eq!(run("age", &["-d", "-i", keys[2].0.to_str().expect("UTF-8")], &bytes).expect("age"), b"hunter2");
    let many: Vec<String> = (0..200).map(|at| init(&folder.path().join(format!("many{at}"))).expect("a key").key).collect();
    let bytes = encrypt(TEXT, &named(many.iter().map(String::as_str)));
    let last = folder.path().join("many199");
    assert_eq!(run("age", &["-d", "-i", last.to_str().expect("UTF-8")], bytes.as_bytes()).expect("age"), TEXT);
}

#[test]
fn a_list_of_recipients_is_one_for_age_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(keys) = keys(folder.path()) else { return };
    let list = folder.path().join(".mutate-recipients");
    let text: String = keys.iter().map(|(_, public)| format!("# somebody\n{public}\n\n")).collect();
    std::fs::write(&list, text).expect("a file");
    let bytes = run("age", &["-R", list.to_str().expect("UTF-8")], TEXT).expect("age");
    assert_eq!(Header::of(&bytes).expect("a header").kinds.len(), 4);
    let all = Recipients::choose(&folder.path().join("x.age"), &[], &[]).expect("recipients");
    assert_eq!(all.all().len(), 4);
    assert_eq!(decrypt(&bytes, &opened(&[&keys[3].0], None)).expect("a text").as_slice(), TEXT);
}

#[test]
fn passphrases_of_ssh_keys_in_every_cipher() {
    let folder = tempfile::tempdir().expect("a folder");
    for cipher in ["aes256-ctr", "aes128-ctr", "aes256-cbc", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"] {
        for kind in ["ed25519", "rsa"] {
            let path = folder.path().join(format!("{kind}-{cipher}"));
            let Some(_) = run("ssh-keygen", &["-q", "-t", kind, "-a", "1", "-Z", cipher, "-N", "right", "-f", path.to_str().expect("UTF-8")], b"") else { return };
            let bytes = encrypt(TEXT, &named([public(&path).as_str()]));
            assert_eq!(decrypt(bytes.as_bytes(), &opened(&[&path], Some("right"))).expect("a text").as_slice(), TEXT, "{kind} {cipher}");
            assert!(decrypt(bytes.as_bytes(), &opened(&[&path], Some("wrong"))).expect_err("locked").to_string().contains("wrong 3 times"));
        }
    }
}

#[test]
fn a_file_of_age_is_encrypted_anew_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(keys) = keys(folder.path()) else { return };
    let path = folder.path().join("secret.age");
    std::fs::write(&path, run("age", &["-r", &keys[0].1], TEXT).expect("age")).expect("a file");
    let (one, two) = (named([keys[0].1.as_str()]), named([keys[0].1.as_str(), &keys[2].1]));
    let with = opened(&[&keys[0].0], None);
    assert_eq!(standing(&path, &one).expect("known")[0].1, Standing::Unknown);
    assert_eq!(rekey_file(&path, &one, &with).expect("rekeyed"), Rekeyed::File);
    let first = std::fs::read(&path).expect("a file");
    assert!(first.starts_with(b"age-encryption.org/"), "binary as it was");
    assert_eq!(rekey_file(&path, &one, &opened(&[], None)).expect("no key is needed"), Rekeyed::Unchanged);
    assert_eq!(std::fs::read(&path).expect("a file"), first);
    assert_eq!(rekey_file(&path, &two, &with).expect("rekeyed"), Rekeyed::File);
    assert_eq!(view_file(&path, &opened(&[&keys[2].0], None)).expect("a text").as_slice(), TEXT);
    assert_eq!(rekey_file(&path, &one, &with).expect("rekeyed"), Rekeyed::File);
    assert!(view_file(&path, &opened(&[&keys[2].0], None)).is_err());
}

/// The most memory that this process ever used, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1024
}

#[test]
#[ignore = "takes seconds; run it alone for the numbers"]
fn a_large_file_takes_little_time_and_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    let to = Recipients::new([init(&path).expect("a key")]).expect("one");
    let with = opened(&[&path], None);
    let plain: Vec<u8> = (0_u32..16 << 20).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut report = format!("plain: peak {} MiB", peak_mib());
    let start = std::time::Instant::now();
    let armored = encrypt(&plain, &to);
    report += &format!("; encrypted {:?}, peak {} MiB", start.elapsed(), peak_mib());
    let start = std::time::Instant::now();
    let back = decrypt(armored.as_bytes(), &with).expect("a text");
    report += &format!("; decrypted {:?}, peak {} MiB", start.elapsed(), peak_mib());
    assert!(*back == plain);
    let start = std::time::Instant::now();
    Header::of(armored.as_bytes()).expect("a header");
    report += &format!("; header {:?}", start.elapsed());
    writeln!(std::io::stderr(), "{report}").expect("written");
    assert!(decrypt(&armored.as_bytes()[..armored.len() / 2], &with).is_err());
}
