//! What a run costs on this side, however many hosts there are: reading, choosing, preparing, and whole runs against
//! simulated hosts. `cargo bench` prints the figures; tests never assert a time.

#[path = "../tests/support/fleet.rs"]
mod fleet;

use std::ffi::OsString;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mutate::diag::Sources;
use mutate::inventory::{Pattern, load};

fn ten_thousand_hosts(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inventory.toml");
    let mut text = String::from("user = 'deploy'\n[hosts]\n");
    for number in 0..10_000 {
        text.push_str(&format!("web{number:05} = {{ address = '10.{}.{}.{}', vars = {{ rack = {} }} }}\n", number / 65536, number / 256 % 256, number % 256, number % 40));
    }
    text.push_str("[groups.web]\nhosts = ['web[00000-09999]']\n[groups.even]\nhosts = ['web[00000-04999]']\n");
    std::fs::write(&path, text).expect("writing the inventory");
    let names = [path.display().to_string()];
    let read = || {
        let (mut sources, mut problems) = (Sources::default(), Vec::new());
        let inventory = load(&names, &mut sources, &mut problems);
        assert!(problems.is_empty());
        inventory
    };
    let mut group = criterion.benchmark_group("10,000 hosts");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("parse", |bencher| bencher.iter(|| black_box(read())));
    let inventory = read();
    let pattern = Pattern::parse("web & !even, web00017").expect("a pattern");
    let nothing = |_: &str| Err(String::new());
    group.bench_function("match", |bencher| bencher.iter(|| black_box(pattern.hosts(&inventory, &nothing).expect("hosts"))));
    group.finish();
}

fn a_hundred_simulated_hosts(criterion: &mut Criterion) {
    let names: Vec<String> = (0..100).map(|number| format!("h{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = fleet::Fleet::start(&names, &fleet::Faults::default());
    let mut playbook = String::from("hosts = 'all'\n");
    for number in 0..50 {
        playbook.push_str(&format!("[[task]]\nfile = {{ path = '~/file-{number}', state = 'touch', mode = '0644' }}\n"));
    }
    let path = fleet.write("play.toml", &playbook);
    let words = || -> Vec<OsString> {
        let mut words: Vec<OsString> = ["mutate", "apply", "-q", "-i"].iter().map(OsString::from).collect();
        words.extend([fleet.inventory.clone().into(), path.clone().into()]);
        words
    };
    // The first run makes the files; what is measured is the converged one.
    black_box(mutate::cli::run(words()));
    let mut group = criterion.benchmark_group("50 tasks on 100 simulated hosts");
    group.sample_size(10).measurement_time(Duration::from_secs(20));
    group.bench_function("converged", |bencher| bencher.iter(|| black_box(mutate::cli::run(words()))));
    group.finish();
}

criterion_group!(benches, ten_thousand_hosts, a_hundred_simulated_hosts);
criterion_main!(benches);
