//! Pages: of a run, of drift, of the fleet, opened in a real browser.

use std::path::Path;
use std::process::Command;

use super::{Fleet, alone, apply, mutate};
use crate::fleet::Faults;

/// What a page has become in a browser, or nothing where there is none. In CI there must be one.
fn opened(page: &Path, fragment: &str) -> Option<String> {
    let browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].into_iter().find(|path| Path::new(path).exists());
    let Some(browser) = browser else {
        assert!(std::env::var_os("CI").is_none(), "this machine has no chromium, which CI needs");
        #[expect(clippy::print_stderr, reason = "a test that did not run says so")]
        let () = eprintln!("the page was NOT opened: this machine has no chromium");
        return None;
    };
    let profile = tempfile::tempdir().expect("a folder");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("file://{}{fragment}", page.display()))
        .output()
        .expect("the browser runs");
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(dom.contains("data-ready=\"true\"") && !dom.contains("data-error="), "{} {}", &dom[..dom.len().min(2000)], String::from_utf8_lossy(&output.stderr));
    // What the page holds as data is not what it shows.
    let (before, rest) = dom.split_once("<script type=\"application/json\"").expect("the data");
    let (_, after) = rest.split_once("</script>").expect("its end");
    Some(format!("{before}{after}"))
}

#[test]
fn runs_drift_and_the_fleet_become_pages() {
    let fleet = Fleet::start(&["web1", "web2", "db1"], &Faults::default());
    let book = "hosts = 'all'\nname = 'the play'\n[[task]]\nname = 'motd </script><img src=x onerror=alert(1)>'\ncopy = { content = \"{{ 'hello' }}\\n\", dest = '~/motd' }\n\
        [[task]]\nname = 'breaks on db1'\ncommand = { cmd = 'test ! -e broken', probe = true }\n";
    std::fs::write(fleet.host("db1").home.join("broken"), "").expect("a file");
    let page = fleet.folder.path().join("page.html");
    let shown = page.display().to_string();
    assert_eq!(alone(&fleet, &["report", "--html", &shown]).0, 1);
    assert_eq!(apply(&fleet, book, &[]).exit, 4);
    let (exit, said) = alone(&fleet, &["report", "--html", &shown]);
    assert_eq!(exit, 0, "{said}");
    let text = std::fs::read_to_string(&page).expect("a page");
    assert!(text.contains("default-src 'none'") && !text.contains("<img src=x"));
    if let Some(dom) = opened(&page, "#host=db1") {
        assert!(dom.contains("web") && dom.contains("breaks on db1") && dom.contains("&lt;img src=x onerror=alert(1)&gt;"), "{dom}");
    }
    std::fs::write(fleet.host("web1").home.join("motd"), "mine\n").expect("a file");
    let path = fleet.write("play.toml", book).display().to_string();
    assert_eq!(mutate(&fleet, &["drift", &path, "-l", "web1,web2"]).output().expect("the program runs").status.code(), Some(2));
    let (exit, said) = alone(&fleet, &["report", "--drift", "--html", &shown]);
    assert_eq!(exit, 0, "{said}");
    if let Some(dom) = opened(&page, "") {
        assert!(dom.contains("web1") && dom.contains("/motd") && dom.contains("by hand"), "{dom}");
    }
    let (exit, said) = alone(&fleet, &["report", "--fleet", "--html", &shown]);
    assert_eq!(exit, 0, "{said}");
    if let Some(dom) = opened(&page, "") {
        assert!(["web1", "web2", "db1"].iter().all(|host| dom.contains(host)), "{dom}");
    }
    assert_eq!(alone(&fleet, &["report", "nothing", "--html", &shown]).0, 1);
}
