//! Starts Chromium by a chromedriver of the test's own, and stops both.

use std::{path::PathBuf, process::Stdio};

use errand_testkit::variable;
use thirtyfour::{
    ChromeCapabilities, ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Run without a display and without connections of Chromium's own.
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

/// What chromedriver prints before its port once it listens.
const STARTED: &str = "started successfully on port ";

/// How often chromedriver is started. It chooses a free port and exits if another process takes the port first.
const START_ATTEMPTS: usize = 5;

/// A running chromedriver, and the browsers it has started.
#[derive(Debug)]
pub(crate) struct Chromium {
    driver: Child,
    port: u16,
    /// Each browser with its profile folder.
    browsers: Vec<(WebDriver, PathBuf)>,
}

impl Chromium {
    /// Starts chromedriver on a free port.
    pub(crate) async fn start() -> Self {
        let mut output = String::new();
        for _ in 0..START_ATTEMPTS {
            match Self::try_start().await {
                Ok((driver, port)) => {
                    return Self {
                        driver,
                        port,
                        browsers: Vec::new(),
                    };
                }
                Err(printed) => output = printed,
            }
        }
        panic!("chromedriver did not start in {START_ATTEMPTS} attempts: {output}");
    }

    /// Returns what chromedriver printed if it did not start.
    async fn try_start() -> Result<(Child, u16), String> {
        let program = variable("ERRAND_TEST_CHROMEDRIVER").unwrap_or_else(|| "chromedriver".to_owned());
        let mut driver = Command::new(program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver not found: run the tests with `cargo alltests`");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let mut output = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, port)) = line.split_once(STARTED) {
                return Ok((driver, port.trim_end_matches('.').parse().unwrap()));
            }
            output.push_str(&line);
            output.push('\n');
        }
        Err(output)
    }

    /// Starts a browser with a new profile.
    pub(crate) async fn new_browser(&mut self) -> WebDriver {
        let profile = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "chromium-{}-{}",
            std::process::id(),
            self.browsers.len()
        ));
        let mut capabilities: ChromeCapabilities = DesiredCapabilities::chrome();
        for argument in ARGUMENTS {
            capabilities.add_arg(argument).unwrap();
        }
        capabilities
            .add_arg(&format!("--user-data-dir={}", profile.display()))
            .unwrap();
        capabilities
            .set_browser_log_level(LoggingPrefsLogLevel::All)
            .unwrap();
        if let Some(program) = variable("ERRAND_TEST_CHROMIUM") {
            capabilities.set_binary(&program).unwrap();
        }
        let browser = WebDriver::new(format!("http://127.0.0.1:{}", self.port), capabilities)
            .await
            .unwrap();
        self.browsers.push((browser.clone(), profile));
        browser
    }

    /// Stops the browsers and chromedriver, and deletes the profiles.
    pub(crate) async fn quit(mut self) {
        for (browser, profile) in self.browsers {
            browser.quit().await.unwrap();
            std::fs::remove_dir_all(profile).unwrap();
        }
        self.driver.kill().await.unwrap();
    }
}
