//! The program: its settings and its end.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_errand-model"))
        .args(arguments)
        .env_remove("MODEL_LISTEN_ADDR")
        .output()
        .unwrap()
}

#[test]
fn a_bad_setting_is_named_in_one_line_with_exit_code_2() {
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
fn help_and_version_are_told() {
    for (flag, words) in [("--help", "--latency"), ("--version", "errand-model")] {
        let output = run(&[flag]);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(words));
    }
}

#[test]
fn an_address_in_use_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = run(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(output.status.code(), Some(1));
}
