//! The shipped unit as systemd itself judges it. Without `systemd-analyze` these tests fail: a
//! unit that nobody checked is not one we ship.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The worst exposure we ship with; systemd counts from 0 (safe) to 10.
const EXPOSURE_MAX: f64 = 2.0;

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/roasd.service")
}

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .env("LC_ALL", "C.UTF-8")
        .env("SYSTEMD_COLORS", "0")
        .env("SYSTEMD_PAGER", "")
        .output()
        .unwrap_or_else(|error| {
            panic!("systemd-analyze does not run ({error}); install it: apt-get install systemd")
        })
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The number in "Overall exposure level for roasd.service: 1.2 OK".
fn exposure(report: &str) -> Option<f64> {
    let line = report
        .lines()
        .find(|line| line.contains("Overall exposure level"))?;
    line.rsplit_once(": ")?
        .1
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[test]
fn the_unit_is_hardened() {
    let output = analyze(&["security", "--offline=true", "--no-pager"], &unit());
    let report = said(&output);
    assert!(output.status.success(), "{report}");
    let exposure = exposure(&report).unwrap_or_else(|| panic!("no score in:\n{report}"));
    assert!(
        exposure <= EXPOSURE_MAX,
        "exposure {exposure} is above {EXPOSURE_MAX}:\n{report}"
    );
}

#[test]
fn the_unit_verifies_with_the_built_binary() {
    const SHIPPED: &str = "ExecStart=/usr/local/bin/roasd run ";
    let shipped = fs::read_to_string(unit()).unwrap();
    assert!(shipped.contains(SHIPPED), "{shipped}");
    let built = shipped.replace(
        SHIPPED,
        &format!("ExecStart={} run ", env!("CARGO_BIN_EXE_roasd")),
    );
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("roasd.service");
    fs::write(&copy, built).unwrap();
    let output = analyze(&["verify"], &copy);
    assert!(output.status.success(), "{}", said(&output));
    // An unknown key or section is only a warning to systemd, and a line without effect to us.
    let warnings: Vec<_> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("roasd.service:"))
        .map(str::to_owned)
        .collect();
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn a_unit_without_its_binary_does_not_verify() {
    // Shows that the check above can fail.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("roasd.service");
    let broken = fs::read_to_string(unit())
        .unwrap()
        .replace("/usr/local/bin/roasd", "/nowhere/roasd");
    fs::write(&copy, broken).unwrap();
    let output = analyze(&["verify"], &copy);
    assert!(!output.status.success(), "{}", said(&output));
}

#[test]
fn the_unit_suits_debian_12() {
    let unit = fs::read_to_string(unit()).unwrap();
    // systemd 252 refuses the first, and the second keeps secrets out of the unit itself.
    for (line, wanted) in [
        ("Type=notify-reload", false),
        ("SetCredential=", false),
        ("Type=notify", true),
        ("NotifyAccess=main", true),
        ("WatchdogSec=60s", true),
        ("Restart=on-failure", true),
        ("DynamicUser=yes", true),
        ("StateDirectory=roasd", true),
        ("ExecReload=/bin/kill -HUP $MAINPID", true),
    ] {
        assert_eq!(
            unit.lines().any(|found| found == line),
            wanted,
            "{line} (wanted: {wanted})"
        );
    }
}
