//! The tools over MCP: a client with a user's token can list and call them, for that user only.

use errand_testkit::{Reply, TestApp, User, eventually};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// The revision without a handshake: every request names its revision.
const MODERN: &str = "2026-07-28";
/// The last revision with a handshake.
const LEGACY: &str = "2025-11-25";

/// A request to `/mcp` with all headers and no message.
fn request(app: &TestApp, user: &User, version: &str) -> RequestBuilder {
    bare(app, version).bearer_auth(&user.token)
}

fn bare(app: &TestApp, version: &str) -> RequestBuilder {
    app.http()
        .post(format!("{}/mcp", app.url()))
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", version)
}

/// Calls a method as a client of this revision does.
async fn ask(app: &TestApp, user: &User, version: &str, method: &str, params: Value) -> Reply {
    let mut params = params;
    let mut request = request(app, user, version);
    if version == MODERN {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        request = request.header("mcp-method", method);
        if let Some(name) = params["name"].as_str() {
            request = request.header("mcp-name", name);
        }
    }
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    Reply::read(request.json(&message)).await
}

/// Calls a tool and returns its result, which must be a 200.
async fn call(app: &TestApp, user: &User, version: &str, name: &str, arguments: Value) -> Value {
    let reply = ask(
        app,
        user,
        version,
        "tools/call",
        json!({"name": name, "arguments": arguments}),
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.body["id"], 7);
    let result = reply.body["result"].clone();
    let text = result["content"][0]["text"].as_str().unwrap();
    let parsed: Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        parsed, result["structuredContent"],
        "text and structured content are equal"
    );
    assert_eq!(
        result["isError"],
        json!(result["structuredContent"]["success"] == false),
        "{result}"
    );
    result
}

fn code(reply: &Reply) -> &Value {
    &reply.body["error"]["code"]
}

#[tokio::test]
async fn a_client_initializes_lists_and_calls_all_five_tools() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let hello = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
    let initialized = ask(&app, &user, LEGACY, "initialize", hello).await;
    assert_eq!(initialized.status, 200, "{}", initialized.body);
    let result = &initialized.body["result"];
    assert_eq!(result["protocolVersion"], LEGACY);
    assert_eq!(result["serverInfo"]["name"], "errand");
    assert!(result["capabilities"]["tools"].is_object(), "{result}");
    assert!(
        !initialized.headers.contains_key("mcp-session-id"),
        "there are no sessions"
    );
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let ready = Reply::read(request(&app, &user, LEGACY).json(&ready)).await;
    assert_eq!(ready.status, 202);
    assert_eq!(
        ask(&app, &user, LEGACY, "ping", json!({})).await.body["result"],
        json!({})
    );

    for version in [LEGACY, MODERN] {
        let listed = ask(&app, &user, version, "tools/list", json!({})).await;
        assert_eq!(listed.status, 200, "{}", listed.body);
        let tools = listed.body["result"]["tools"].as_array().unwrap();
        let hints: Vec<_> = tools
            .iter()
            .map(|tool| {
                let about = &tool["annotations"];
                let hint = |name: &str| about[name].as_bool().unwrap();
                assert!(
                    tool["inputSchema"]["properties"].get("user_id").is_none(),
                    "{tool}"
                );
                assert_eq!(tool["outputSchema"]["type"], "object");
                (
                    tool["name"].as_str().unwrap(),
                    hint("readOnlyHint"),
                    hint("destructiveHint"),
                    hint("idempotentHint"),
                )
            })
            .collect();
        let expected = [
            ("add_task", false, false, false),
            ("list_tasks", true, false, true),
            ("complete_task", false, false, true),
            ("update_task", false, true, true),
            ("delete_task", false, true, true),
        ];
        assert_eq!(hints, expected);
    }

    for (version, number) in [(LEGACY, 1), (MODERN, 2)] {
        let call = async |name: &str, arguments: Value| {
            call(&app, &user, version, name, arguments).await["structuredContent"].clone()
        };
        let added = call("add_task", json!({"title": "buy milk 🥛"})).await;
        assert_eq!(added["task"]["id"], number, "{added}");
        assert_eq!(user.get(&format!("/tasks/{number}")).await.body, added["task"]);
        let listed = call("list_tasks", json!({"search": "MILK"})).await;
        assert_eq!(listed["tasks"].as_array().unwrap().last(), Some(&added["task"]));
        let done = call("complete_task", json!({"task_id": number})).await;
        assert_eq!(done["task"]["completed"], true);
        let renamed = call("update_task", json!({"task_id": number, "title": "buy oat milk"})).await;
        assert_eq!(renamed["task"]["title"], "buy oat milk");
        if version == MODERN {
            let deleted = call("delete_task", json!({"task_id": number})).await;
            assert_eq!(
                deleted["deleted_task"],
                json!({"id": number, "title": "buy oat milk"})
            );
            assert_eq!(user.get(&format!("/tasks/{number}")).await.status, 404);
        }
    }
}

#[tokio::test]
async fn revisions_are_discovered_and_an_unknown_one_is_rejected() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let found = ask(&app, &user, MODERN, "server/discover", json!({})).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let versions = &found.body["result"]["supportedVersions"];
    assert_eq!(*versions, json!(["2025-06-18", LEGACY, MODERN]));

    // A handshake with another revision is answered with a supported one.
    for (requested, supported) in [
        ("2025-06-18", "2025-06-18"),
        ("2024-11-05", LEGACY),
        ("1999-01-01", LEGACY),
    ] {
        let hello = json!({"protocolVersion": requested, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
        let initialized = ask(&app, &user, requested, "initialize", hello).await;
        assert_eq!(
            initialized.body["result"]["protocolVersion"], supported,
            "{}",
            initialized.body
        );
    }
    let unknown = ask(&app, &user, "1999-01-01", "tools/list", json!({})).await;
    assert_eq!(unknown.status, 400, "{}", unknown.body);
}

#[tokio::test]
async fn only_the_token_selects_the_user() {
    let app = TestApp::builder().workers(0).start().await;
    let ada = app.user("Ada").await;
    let eve = app.user("Eve").await;
    call(&app, &ada, LEGACY, "add_task", json!({"title": "secret"})).await;
    for version in [LEGACY, MODERN] {
        let arguments = json!({"user_id": ada.id, "task_id": 1});
        for tool in ["complete_task", "delete_task"] {
            let result = call(&app, &eve, version, tool, arguments.clone()).await;
            let error = result["structuredContent"]["error"].as_str().unwrap();
            assert!(error.starts_with("TASK_NOT_FOUND"), "{error}");
        }
        let listed = call(&app, &eve, version, "list_tasks", json!({"user_id": ada.id})).await;
        assert_eq!(listed["structuredContent"]["total"], 0, "{listed}");
    }
    let added = call(
        &app,
        &eve,
        MODERN,
        "add_task",
        json!({"title": "mine", "user_id": ada.id}),
    )
    .await;
    assert_eq!(added["structuredContent"]["task"]["id"], 1);
    assert_eq!(ada.get("/tasks").await.body["total"], 1);
    assert_eq!(eve.get("/tasks").await.body["items"][0]["title"], "mine");
}

#[tokio::test]
async fn a_failed_tool_is_a_result_and_an_invalid_message_an_error() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    for (tool, arguments, expected) in [
        ("complete_task", json!({"task_id": 3}), "TASK_NOT_FOUND"),
        ("complete_task", json!({}), "VALIDATION_ERROR"),
        ("add_task", json!({"title": "x".repeat(256)}), "VALIDATION_ERROR"),
        ("add_task", json!({"title": 7}), "VALIDATION_ERROR"),
        ("list_tasks", json!({"limit": 0}), "VALIDATION_ERROR"),
    ] {
        for version in [LEGACY, MODERN] {
            let result = call(&app, &user, version, tool, arguments.clone()).await;
            assert_eq!(result["isError"], true);
            let error = result["structuredContent"]["error"].as_str().unwrap();
            assert!(error.starts_with(expected), "{tool} {arguments}: {error}");
        }
    }
    for (method, params, expected) in [
        (
            "tools/call",
            json!({"name": "drop_tables", "arguments": {}}),
            -32602,
        ),
        (
            "tools/call",
            json!({"name": "add_task", "arguments": [1]}),
            -32602,
        ),
        ("tools/call", json!({"arguments": {}}), -32602),
        ("tools/list", json!({"cursor": "x"}), -32602),
        ("prompts/list", json!({}), -32601),
        ("what/ever", json!({}), -32601),
    ] {
        for version in [LEGACY, MODERN] {
            let reply = ask(&app, &user, version, method, params.clone()).await;
            assert_eq!(
                *code(&reply),
                expected,
                "{method} {params}: {} {}",
                reply.status,
                reply.body
            );
            assert_eq!(reply.body["id"], 7);
        }
    }
    for (body, expected) in [
        ("{", -32700),
        ("[]", -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
    ] {
        let sent = request(&app, &user, LEGACY).header("content-type", "application/json");
        let reply = Reply::read(sent.body(body)).await;
        assert_eq!(
            (reply.status.as_u16(), code(&reply)),
            (400, &json!(expected)),
            "{body}: {}",
            reply.body
        );
    }
    assert_eq!(user.get("/tasks").await.body["total"], 0);
}

#[tokio::test]
async fn an_invalid_http_request_is_a_problem() {
    let app = TestApp::builder()
        .workers(0)
        .api("--http-body-max-bytes=4096")
        .start()
        .await;
    let user = app.user("Ada").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "x".repeat(4096)}});
    let url = format!("{}/mcp", app.url());
    let http = app.http();
    let with_token = |request: RequestBuilder| request.bearer_auth(&user.token);
    let cases = [
        (bare(&app, LEGACY).json(&ping), 401),
        (bare(&app, LEGACY).bearer_auth("made up").json(&ping), 401),
        (with_token(http.get(&url)), 405),
        (with_token(http.delete(&url)), 405),
        (request(&app, &user, LEGACY).json(&large), 413),
        (request(&app, &user, LEGACY).body("x"), 415),
        (with_token(http.post(&url)).json(&ping), 406),
    ];
    for (request, status) in cases {
        let reply = Reply::read(request).await;
        assert_eq!(reply.status, status, "{}", reply.body);
        assert_eq!(
            reply.headers["content-type"], "application/problem+json",
            "{status}"
        );
        assert_eq!(reply.headers.contains_key("www-authenticate"), status == 401);
        assert!(reply.headers.contains_key("x-request-id"));
        assert_eq!(reply.body["status"], status);
    }
}

#[tokio::test]
async fn dns_rebinding_is_rejected() {
    let app = TestApp::builder()
        .workers(0)
        .api("--cors-allowed-origins=https://app.example")
        .api("--mcp-allowed-hosts=127.0.0.1,errand.example:8443")
        .start()
        .await;
    let user = app.user("Ada").await;
    let own = app.url();
    let own_host = own.trim_start_matches("http://").to_owned();
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let cases = [
        (own_host.as_str(), None, 200),
        (&own_host, Some(own.as_str()), 200),
        (&own_host, Some("https://app.example"), 200),
        (&own_host, Some("https://evil.example"), 403),
        (&own_host, Some("null"), 403),
        ("errand.example:8443", None, 200),
        ("errand.example", None, 403),
        // DNS rebinding: a page whose host name resolves to this server.
        ("evil.example", Some("http://evil.example"), 403),
        ("evil.example", None, 403),
    ];
    for (host, origin, status) in cases {
        let mut request = request(&app, &user, LEGACY).header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let reply = Reply::read(request.json(&ping)).await;
        assert_eq!(reply.status, status, "{host} {origin:?}: {}", reply.body);
        if status != 200 {
            assert_eq!(reply.headers["content-type"], "application/problem+json");
        }
    }
    let preflight = app
        .http()
        .request(Method::OPTIONS, format!("{own}/mcp"))
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,mcp-protocol-version,mcp-method",
        );
    let preflight = Reply::read(preflight).await;
    assert_eq!(
        preflight.headers["access-control-allow-origin"],
        "https://app.example"
    );
    let headers = preflight.headers["access-control-allow-headers"]
        .to_str()
        .unwrap();
    assert!(headers.contains("mcp-protocol-version"), "{headers}");
}

#[tokio::test]
async fn requests_are_rate_limited_by_user() {
    let app = TestApp::builder()
        .workers(0)
        .api("--rate-limit-mcp-per-minute=2")
        .start()
        .await;
    let ada = app.user("Ada").await;
    let eve = app.user("Eve").await;
    for _ in 0..2 {
        assert_eq!(ask(&app, &ada, LEGACY, "ping", json!({})).await.status, 200);
    }
    let refused = ask(&app, &ada, LEGACY, "ping", json!({})).await;
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(ask(&app, &eve, LEGACY, "ping", json!({})).await.status, 200);
}

#[tokio::test]
async fn any_instance_answers_and_concurrent_calls_all_take_effect() {
    let mut app = TestApp::builder().workers(0).apis(2).start().await;
    let user = app.user("Ada").await;
    let second = app.url_of(1);
    let adding = |url: String, number: usize| {
        let message = json!({"jsonrpc": "2.0", "id": number, "method": "tools/call",
            "params": {"name": "add_task", "arguments": {"title": format!("thing {number}")}}});
        let request = app
            .http()
            .post(format!("{url}/mcp"))
            .bearer_auth(&user.token)
            .header("accept", "application/json, text/event-stream")
            .json(&message);
        async move {
            let reply = Reply::read(request).await;
            assert_eq!(reply.body["id"], number, "{}", reply.body);
            reply.body["result"]["structuredContent"]["task"]["id"]
                .as_i64()
                .unwrap()
        }
    };
    let urls = [app.url(), second];
    let calls = (0..20).map(|number| adding(urls[number % 2].clone(), number));
    let mut numbers = futures::future::join_all(calls).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    app.stop_api(1).await;
}

#[tokio::test]
async fn a_stalled_database_fails_the_call_without_effect() {
    let app = TestApp::builder()
        .workers(0)
        .api("--database-request-timeout-ms=300")
        .start()
        .await;
    let user = app.user("Ada").await;
    call(&app, &user, LEGACY, "add_task", json!({"title": "before"})).await;
    let mut stall = app.database.pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *stall)
        .await
        .unwrap();
    let result = call(&app, &user, LEGACY, "add_task", json!({"title": "stalled"})).await;
    let error = result["structuredContent"]["error"].as_str().unwrap();
    assert!(error.starts_with("INTERNAL_ERROR"), "{error}");
    assert!(error.contains("changed nothing"), "{error}");
    stall.rollback().await.unwrap();
    // The abandoned statement is rolled back in Postgres.
    eventually("a call succeeds again", || async {
        call(&app, &user, LEGACY, "list_tasks", json!({})).await["isError"] == false
    })
    .await;
    let titles = user.get("/tasks").await.body["items"].clone();
    assert_eq!(titles[0]["title"], "before");
    assert_eq!(titles.as_array().unwrap().len(), 1, "{titles}");
}

#[tokio::test]
async fn an_interrupted_commit_has_an_unknown_outcome() {
    let app = TestApp::builder()
        .workers(0)
        .api("--database-request-timeout-ms=300")
        .start()
        .await;
    let user = app.user("Ada").await;
    // A commit waits for a lock that the test holds until the call has its result.
    let slow = "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER lingering AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION linger()";
    sqlx::raw_sql(slow).execute(&app.database.pool).await.unwrap();
    let mut lock = app.database.pool.begin().await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(1)")
        .execute(&mut *lock)
        .await
        .unwrap();
    let result = call(&app, &user, MODERN, "add_task", json!({"title": "perhaps"})).await;
    let error = result["structuredContent"]["error"].as_str().unwrap();
    assert!(error.starts_with("INTERNAL_ERROR"), "{error}");
    assert!(error.contains("unknown"), "{error}");
    lock.rollback().await.unwrap();
    eventually("the commit with the unknown outcome has succeeded", || async {
        user.get("/tasks").await.body["total"] == 1
    })
    .await;
}
