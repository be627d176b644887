//! A headless Chromium that tests drive through chromedriver, by the W3C WebDriver protocol.
//!
//! Where there is none a test fails and says what to install: the script of landing pages is tested
//! in a browser or not at all.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// What the browser calls itself: by its own word it is headless, and so a robot.
const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                          Chrome/126.0.0.0 Safari/537.36";
/// How often a condition is looked at, and for how long: a loaded machine is slow, not wrong.
const LOOKS: u32 = 600;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// A browser with one window, which ends with the test.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    client: reqwest::Client,
}

impl Browser {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let mut driver = Command::new(program("ROASD_TEST_CHROMEDRIVER", &["chromedriver"]))
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let port = port.expect("chromedriver says on which port it listens");
        let client = roasd::vendors::http_client(Duration::from_secs(60)).unwrap();
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            client,
        };
        let options = json!({
            "binary": program("ROASD_TEST_CHROMIUM", &["chromium", "chromium-browser", "google-chrome"]),
            // Root may not use the sandbox, and a container has a small /dev/shm.
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-first-run", "--disable-extensions", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--mute-audio",
                format!("--user-agent={USER_AGENT}")],
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options}}});
        let session = browser.ask("/session", &wanted).await;
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    async fn ask(&self, path: &str, body: &Value) -> Value {
        let request = self
            .client
            .post(format!("http://127.0.0.1:{}{path}", self.port))
            .body(body.to_string());
        let answer = request.send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{path}: {value}");
        value
    }

    /// Opens a page and waits until it is there with all it loads.
    pub(crate) async fn open(&self, url: &str) {
        let path = format!("/session/{}/url", self.session);
        self.ask(&path, &json!({ "url": url })).await;
    }

    /// What an expression comes to on the page.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let path = format!("/session/{}/execute/sync", self.session);
        let script = format!("return {expression}");
        self.ask(&path, &json!({"script": script, "args": []}))
            .await
    }

    /// Waits until an expression is true on the page.
    pub(crate) async fn until(&self, expression: &str) {
        let is_so = async || self.value(expression).await == json!(true);
        until(expression, is_so).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ending the session ends Chromium; the driver alone would leave it behind.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
            let _ = write!(
                stream,
                "DELETE /session/{} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
                self.session
            );
            let _ = stream.read(&mut [0; 64]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Waits until a condition holds.
#[expect(
    clippy::disallowed_methods,
    reason = "what is waited for lives in another process"
)]
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..LOOKS {
        if is_so().await {
            return;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    panic!("in vain: {what}");
}

/// The path of a program: what the variable says, else the first of these names on the path.
fn program(variable: &str, names: &[&str]) -> String {
    if let Ok(stated) = std::env::var(variable) {
        return stated;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = names.iter().find_map(|name| {
        let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
        places.find(|file| file.is_file())
    });
    let Some(found) = found else {
        panic!(
            "there is no {} on the path: this test drives a real browser; \
             `apt-get install chromium chromium-driver`, or name one in {variable}",
            names[0]
        );
    };
    found.display().to_string()
}
