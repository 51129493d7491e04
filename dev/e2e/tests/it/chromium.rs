//! Chromium under a chromedriver of the test's own; both end with it.

use std::{path::PathBuf, process::Stdio};

use errand_testkit::variable;
use thirtyfour::{
    ChromeCapabilities, ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// What keeps Chromium to itself and off the network.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,860",
];

/// What chromedriver says once it listens, before the port.
const STARTED: &str = "started successfully on port ";

/// How often it is started, at most. It has ended before it listened, once, for a reason that is not known; a port that it chose
/// and that was taken meanwhile is likely. What it said is told if it never starts.
const STARTS: usize = 5;

/// A chromedriver, and the browsers it has started.
#[derive(Debug)]
pub(crate) struct Chromium {
    driver: Child,
    port: u16,
    browsers: Vec<(WebDriver, PathBuf)>,
}

impl Chromium {
    /// Starts a chromedriver on a free port.
    pub(crate) async fn start() -> Self {
        let mut said = String::new();
        for _ in 0..STARTS {
            match Self::try_start().await {
                Ok((driver, port)) => {
                    return Self {
                        driver,
                        port,
                        browsers: Vec::new(),
                    };
                }
                Err(why) => said = why,
            }
        }
        panic!("chromedriver does not start: {said}");
    }

    /// What it said if it did not start.
    async fn try_start() -> Result<(Child, u16), String> {
        let program = variable("ERRAND_TEST_CHROMEDRIVER").unwrap_or_else(|| "chromedriver".to_owned());
        let mut driver = Command::new(program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver: run the tests with `cargo alltests`");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let mut said = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, port)) = line.split_once(STARTED) {
                return Ok((driver, port.trim_end_matches('.').parse().unwrap()));
            }
            said.push_str(&line);
            said.push('\n');
        }
        Err(said)
    }

    /// Starts a browser that has never been anywhere.
    pub(crate) async fn browser(&mut self) -> WebDriver {
        let profile = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "chromium-{}-{}",
            std::process::id(),
            self.browsers.len()
        ));
        let mut wanted: ChromeCapabilities = DesiredCapabilities::chrome();
        for argument in ARGUMENTS {
            wanted.add_arg(argument).unwrap();
        }
        wanted
            .add_arg(&format!("--user-data-dir={}", profile.display()))
            .unwrap();
        wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        if let Some(program) = variable("ERRAND_TEST_CHROMIUM") {
            wanted.set_binary(&program).unwrap();
        }
        let browser = WebDriver::new(format!("http://127.0.0.1:{}", self.port), wanted)
            .await
            .unwrap();
        self.browsers.push((browser.clone(), profile));
        browser
    }

    /// Ends it all.
    pub(crate) async fn quit(mut self) {
        for (browser, profile) in self.browsers {
            browser.quit().await.unwrap();
            std::fs::remove_dir_all(profile).unwrap();
        }
        self.driver.kill().await.unwrap();
    }
}
