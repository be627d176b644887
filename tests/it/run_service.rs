//! `roasd run` as the service manager meets it: one daemon on a database, ready, stopped, killed.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A configuration with a free port and no tenants, in `dir`.
fn config(dir: &Path, name: &str) -> PathBuf {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let file = dir.join(name);
    let text = format!(
        "[daemon]\nlisten = \"127.0.0.1:{port}\"\ndata_dir = {:?}\n",
        dir.display().to_string()
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// A daemon that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts a daemon and returns when it says that it is ready.
    fn start(file: &Path) -> Self {
        let socket = file.with_extension("notify");
        let _ = std::fs::remove_file(&socket);
        let notify = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
        notify
            .set_read_timeout(Some(std::time::Duration::from_secs(30)))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_roasd"))
            .arg("--config")
            .arg(file)
            .arg("run")
            .env("NOTIFY_SOCKET", &socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let running = Self(child);
        let mut told = [0; 1024];
        let n = notify.recv(&mut told).expect("it tells that it is ready");
        let told = String::from_utf8_lossy(&told[..n]).into_owned();
        assert!(told.contains("READY=1"), "{told}");
        running
    }

    /// Sends a signal and waits for the end.
    fn end(&mut self, signal: &str) -> std::process::ExitStatus {
        let told = Command::new("kill")
            .args([signal, &self.0.id().to_string()])
            .status()
            .unwrap();
        assert!(told.success());
        self.0.wait().unwrap()
    }

    fn log(&mut self) -> String {
        let mut log = String::new();
        let mut stderr = self.0.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        log
    }
}

#[test]
fn it_is_ready_and_stops_softly() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Running::start(&config(dir.path(), "a.toml"));
    let ended = daemon.end("-TERM");
    let log = daemon.log();
    assert!(ended.success(), "{log}");
    assert!(log.contains("roasd has stopped"), "{log}");
}

#[test]
fn a_second_daemon_on_one_database_is_refused_until_the_first_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Running::start(&config(dir.path(), "a.toml"));
    let second = config(dir.path(), "b.toml");
    let refused = Command::new(env!("CARGO_BIN_EXE_roasd"))
        .arg("--config")
        .arg(&second)
        .arg("run")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(
        told.contains("another roasd works on this database") && told.contains("data_dir"),
        "{told}"
    );
    // Even a kill lets go of the lock.
    first.end("-KILL");
    let mut second = Running::start(&second);
    assert!(second.end("-TERM").success());
}
