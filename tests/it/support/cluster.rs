//! A PostgreSQL server of a test's own, to be restarted, crashed and cut off.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A server that is stopped and removed with this.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// Connections are ended, everything is written.
    Fast,
    /// As a crash: the log is replayed at the next start.
    Immediate,
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn run(command: &mut Command) -> Output {
    let output = command
        .current_dir("/")
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", told(&output));
    output
}

/// The folder of the server's programs, which Debian keeps off the path.
fn bin() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    debian.sort();
    debian.reverse();
    on_path
        .chain(debian)
        .find(|folder| folder.join("initdb").is_file())
        .unwrap_or_else(|| panic!("no PostgreSQL server: apt-get install postgresql"))
}

/// The server refuses to run as root.
fn as_server(program: &Path) -> Command {
    let id = run(Command::new("id").arg("-u"));
    if told(&id).trim() != "0" {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", user(), "--"]).arg(program);
    command
}

fn user() -> &'static str {
    let known = Command::new("id").arg("postgres").output();
    if known.is_ok_and(|output| output.status.success()) {
        "postgres"
    } else {
        "nobody"
    }
}

impl Cluster {
    /// Starts a server on a free port. What it acknowledges is on disk.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Self {
            bin: bin(),
            port: free_port(),
            folder,
        };
        std::fs::write(cluster.path("password"), "secret\n").unwrap();
        cluster.give_away();
        run(as_server(&cluster.bin.join("initdb"))
            .args([
                "-U",
                "roasd",
                "-E",
                "UTF8",
                "--locale=C",
                "--auth-host=scram-sha-256",
            ])
            .arg(format!("--pwfile={}", cluster.path("password").display()))
            .arg("-D")
            .arg(cluster.path("data")));
        cluster.again();
        cluster
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives the folder to the user that the server runs as.
    fn give_away(&self) {
        let id = run(Command::new("id").arg("-u"));
        if told(&id).trim() == "0" {
            run(Command::new("chown")
                .args(["-R", user()])
                .arg(self.folder.path()));
        }
    }

    /// Starts the server after a stop, and waits until it answers.
    pub(crate) fn again(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -k {}",
            self.port,
            self.folder.path().display()
        );
        run(as_server(&self.bin.join("pg_ctl"))
            .args(["-w", "-s", "-t", "60", "-o", &options, "-D"])
            .arg(self.path("data"))
            .arg("-l")
            .arg(self.path("log"))
            .arg("start"));
    }

    /// Stops the server.
    pub(crate) fn stop(&self, how: Stop) {
        let mode = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        run(as_server(&self.bin.join("pg_ctl"))
            .args(["-w", "-s", "-m", mode, "-D"])
            .arg(self.path("data"))
            .arg("stop"));
    }

    /// Gives the server a certificate, which is in force after a restart; returns the file of the
    /// authority that signed it.
    pub(crate) fn certify(&self) -> PathBuf {
        let (authority, data) = (self.path("ca.crt"), self.path("data"));
        run(Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=a test"])
            .arg("-keyout")
            .arg(self.path("ca.key"))
            .arg("-out")
            .arg(&authority));
        run(Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=127.0.0.1"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-CA")
            .arg(&authority)
            .arg("-CAkey")
            .arg(self.path("ca.key"))
            .arg("-keyout")
            .arg(data.join("server.key"))
            .arg("-out")
            .arg(data.join("server.crt")));
        run(Command::new("chmod")
            .arg("600")
            .arg(data.join("server.key")));
        let conf = data.join("postgresql.conf");
        let text = std::fs::read_to_string(&conf).unwrap();
        std::fs::write(&conf, format!("{text}\nssl = on\n")).unwrap();
        self.give_away();
        authority
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://roasd:secret@127.0.0.1:{}/postgres", self.port)
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may be stopped already.
        let _ = as_server(&self.bin.join("pg_ctl"))
            .args(["-w", "-s", "-m", "immediate", "-D"])
            .arg(self.path("data"))
            .arg("stop")
            .current_dir("/")
            .output();
    }
}
