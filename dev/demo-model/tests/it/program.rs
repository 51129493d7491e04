//! The program: settings and exit codes.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_errand-model"))
        .args(arguments)
        .env_remove("MODEL_LISTEN_ADDR")
        .output()
        .unwrap()
}

#[test]
fn invalid_setting_exits_with_code_2_and_one_line() {
    let table: [&[&str]; 7] = [
        &["--listen", "nowhere"],
        &["--latency", "fast"],
        &["--latency-ms", "soon"],
        &["--seed", "x"],
        &["--script", "/does/not/exist.json"],
        &["--log-format", "xml"],
        &["--nonsense", ""],
    ];
    for arguments in table {
        let output = run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(arguments[0]), "{text}");
    }
}

#[test]
fn prints_help_and_version() {
    for (flag, expected) in [("--help", "--latency"), ("--version", "errand-model")] {
        let output = run(&[flag]);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected));
    }
}

#[test]
fn address_in_use_exits_with_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = run(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(output.status.code(), Some(1));
}
