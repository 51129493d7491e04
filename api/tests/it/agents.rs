//! The agents file at startup.

use errand_shared::Uuid;

use crate::programs::{SECRET, program, run, text};

#[tokio::test]
async fn an_invalid_agents_file_ends_the_program_with_one_line() {
    let path = std::env::temp_dir().join(format!("errand-agents-{}.toml", Uuid::now_v7()));
    std::fs::write(&path, "[agents.a]\n\nmodle = \"x\"\n").unwrap();
    let start = async || {
        let mut command = program();
        command
            .env("DATABASE_URL", "postgres://127.0.0.1:1/none")
            .env("REDIS_URL", "redis://127.0.0.1:1")
            .env("JWT_SECRET", SECRET)
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("ADMIN_LISTEN_ADDR", "127.0.0.1:0")
            .env("AGENTS_FILE", &path);
        let output = run(&mut command).await;
        (output.status.code(), text(&output.stderr))
    };
    let (code, stderr) = start().await;
    assert_eq!(code, Some(2), "{stderr}");
    let expected = format!(
        "error: AGENTS_FILE: {}: line 3: unknown field `modle`",
        path.display()
    );
    assert!(stderr.starts_with(&expected), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");

    std::fs::remove_file(&path).unwrap();
    let (code, stderr) = start().await;
    assert_eq!(code, Some(2), "{stderr}");
    let expected = format!("error: AGENTS_FILE: {}: entity not found\n", path.display());
    assert_eq!(stderr, expected);
}
