//! Registration, login, refresh, logout, and invalid tokens.

use errand_shared::domain::clock::Clock;
use errand_testkit::{Database, Reply, TestApp, User};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};

use super::programs::Server;

async fn post(app: &TestApp, path: &str, body: Value) -> Reply {
    Reply::read(app.http().post(format!("{}{path}", app.url())).json(&body)).await
}

async fn me(app: &TestApp, token: &str) -> Reply {
    me_at(app, &app.url(), token).await
}

async fn me_at(app: &TestApp, url: &str, token: &str) -> Reply {
    Reply::read(app.http().get(format!("{url}/auth/me")).bearer_auth(token)).await
}

async fn log_in(app: &TestApp, email: &str, password: &str) -> Reply {
    post(app, "/auth/login", json!({"email": email, "password": password})).await
}

async fn refresh(app: &TestApp, token: &str) -> Reply {
    post(app, "/auth/refresh", json!({"refresh_token": token})).await
}

/// Asserts the response of a login, a registration or a refresh.
fn is_session(reply: &Reply, email: &str, name: &str) {
    let user = &reply.body["user"];
    assert_eq!(user["email"], email, "{}", reply.body);
    assert_eq!(user["name"], name);
    assert!(
        user["id"]
            .as_str()
            .unwrap()
            .parse::<errand_shared::Uuid>()
            .is_ok()
    );
    assert!(
        user["created_at"].as_str().unwrap().ends_with('Z'),
        "{}",
        reply.body
    );
    assert_eq!(user.as_object().unwrap().len(), 4, "{}", reply.body);
    assert_eq!(reply.text("access_token").split('.').count(), 3);
    assert_eq!(reply.text("token_type"), "bearer");
    assert_eq!(reply.body["expires_in"], 3600);
    assert!(!reply.text("refresh_token").is_empty());
    assert_eq!(reply.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn registering_logs_in_and_emails_are_unique_ignoring_case() {
    let app = TestApp::builder().workers(0).start().await;
    let body = json!({"email": "Ann@Example.com", "password": "12345678", "name": "Ann 李"});
    let registered = post(&app, "/auth/register", body).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    is_session(&registered, "Ann@Example.com", "Ann 李");
    let mine = me(&app, registered.text("access_token")).await;
    assert_eq!(mine.status, 200);
    assert_eq!(mine.body, registered.body["user"]);

    for email in ["Ann@Example.com", "ann@example.com", " ANN@EXAMPLE.COM "] {
        let body = json!({"email": email, "password": "another password", "name": "Eve"});
        let taken = post(&app, "/auth/register", body).await;
        assert_eq!(taken.status, 409, "{email}: {}", taken.body);
        assert_eq!(taken.headers["content-type"], "application/problem+json");
    }
    assert_eq!(app.database.count("SELECT count(*) FROM users").await, 1);
}

#[tokio::test]
async fn registration_reports_every_invalid_field() {
    let app = TestApp::builder().workers(0).start().await;
    for (body, fields) in [
        (json!({}), vec!["email", "name", "password"]),
        (
            json!({"email": "ann", "password": "1234567", "name": " \t"}),
            vec!["email", "name", "password"],
        ),
        (
            json!({"email": "a@b", "password": "x".repeat(129), "name": "n".repeat(101)}),
            vec!["name", "password"],
        ),
        (
            json!({"email": format!("{}@b", "a".repeat(253)), "password": "12345678", "name": "A"}),
            vec!["email"],
        ),
        (
            json!({"email": "a@b", "password": "1234567\u{0}", "name": "A\u{0}"}),
            vec!["name", "password"],
        ),
    ] {
        let reply = post(&app, "/auth/register", body.clone()).await;
        assert_eq!(reply.status, 422, "{body}: {}", reply.body);
        let errors = reply.body["errors"].as_array().unwrap();
        let mut reported: Vec<_> = errors
            .iter()
            .map(|error| error["field"].as_str().unwrap())
            .collect();
        reported.sort_unstable();
        assert_eq!(reported, fields, "{body}");
        for error in errors {
            assert!(!error["message"].as_str().unwrap().is_empty());
        }
    }
    assert_eq!(app.database.count("SELECT count(*) FROM users").await, 0);
}

#[tokio::test]
async fn unknown_email_and_wrong_password_get_the_same_response() {
    let app = TestApp::builder().workers(0).start().await;
    let ada = app.user("Ada").await;
    let right = log_in(&app, &ada.email.to_uppercase(), User::PASSWORD).await;
    assert_eq!(right.status, 200, "{}", right.body);
    is_session(&right, &ada.email, "Ada");
    assert_eq!(me(&app, right.text("access_token")).await.status, 200);

    let wrong_password = log_in(&app, &ada.email, "not the password").await;
    let wrong_email = log_in(&app, "nobody@example.com", User::PASSWORD).await;
    let no_email = log_in(&app, "nobody", User::PASSWORD).await;
    assert_eq!(wrong_password.status, 401);
    assert_eq!(wrong_password.headers["content-type"], "application/problem+json");
    for wrong in [wrong_email, no_email] {
        assert_eq!(wrong.status, 401);
        assert_eq!(wrong.body, wrong_password.body);
    }
    for body in [
        json!({}),
        json!({"email": ada.email}),
        json!({"password": User::PASSWORD}),
    ] {
        assert_eq!(
            post(&app, "/auth/login", body.clone()).await.status,
            422,
            "{body}"
        );
    }
}

#[tokio::test]
async fn reusing_a_refresh_token_revokes_the_login() {
    let app = TestApp::builder().workers(0).start().await;
    let ada = app.user("Ada").await;
    let first = log_in(&app, &ada.email, User::PASSWORD).await;
    let other_login = log_in(&app, &ada.email, User::PASSWORD).await;

    let second = refresh(&app, first.text("refresh_token")).await;
    assert_eq!(second.status, 200, "{}", second.body);
    is_session(&second, &ada.email, "Ada");
    assert_ne!(second.text("refresh_token"), first.text("refresh_token"));
    assert_eq!(me(&app, second.text("access_token")).await.status, 200);
    let third = refresh(&app, second.text("refresh_token")).await;
    assert_eq!(third.status, 200, "{}", third.body);

    for token in [&first, &third, &second] {
        let refused = refresh(&app, token.text("refresh_token")).await;
        assert_eq!(refused.status, 401, "{}", refused.body);
        assert_eq!(refused.headers["content-type"], "application/problem+json");
    }
    for body in [
        json!({}),
        json!({"refresh_token": ""}),
        json!({"refresh_token": "made up"}),
    ] {
        assert_eq!(
            post(&app, "/auth/refresh", body.clone()).await.status,
            401,
            "{body}"
        );
    }
    let other = refresh(&app, other_login.text("refresh_token")).await;
    assert_eq!(other.status, 200, "another login of the same user remains valid");
}

#[tokio::test]
async fn only_one_of_many_concurrent_refreshes_succeeds() {
    let app = TestApp::builder().workers(0).start().await;
    let ada = app.user("Ada").await;
    let login = log_in(&app, &ada.email, User::PASSWORD).await;
    let token = login.text("refresh_token");
    let (a, b, c, d) = tokio::join!(
        refresh(&app, token),
        refresh(&app, token),
        refresh(&app, token),
        refresh(&app, token)
    );
    let through: Vec<_> = [a, b, c, d]
        .into_iter()
        .filter(|reply| reply.status == 200)
        .collect();
    assert_eq!(through.len(), 1);
    let next = refresh(&app, through[0].text("refresh_token")).await;
    assert_eq!(next.status, 401, "the family is revoked");
}

#[tokio::test]
async fn the_refresh_cookie_is_hidden_from_scripts() {
    let app = TestApp::builder().workers(0).start().await;
    let ada = app.user("Ada").await;
    let login = log_in(&app, &ada.email, User::PASSWORD).await;
    let cookie = |reply: &Reply| {
        let text = reply.headers["set-cookie"].to_str().unwrap().to_owned();
        for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/auth", "; Max-Age="] {
            assert!(text.contains(attribute), "{text}");
        }
        text.split(';').next().unwrap().to_owned()
    };
    let with_cookie = |path: &str, cookie: &str| {
        app.http()
            .post(format!("{}{path}", app.url()))
            .header("cookie", format!("theme=dark; {cookie}"))
    };
    let first = cookie(&login);
    assert_eq!(first, format!("errand_refresh={}", login.text("refresh_token")));

    let elsewhere = with_cookie("/auth/refresh", &first).header("origin", "https://evil.example");
    assert_eq!(Reply::read(elsewhere).await.status, 403);
    let bare = with_cookie("/auth/refresh", &first);
    assert_eq!(Reply::read(bare).await.status, 403);

    let own_page = with_cookie("/auth/refresh", &first).header("origin", app.url());
    let refreshed = Reply::read(own_page).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    let second = cookie(&refreshed);
    assert_ne!(first, second);
    let as_json = with_cookie("/auth/refresh", &second).json(&json!({}));
    let refreshed = Reply::read(as_json).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    let third = cookie(&refreshed);

    let reused = with_cookie("/auth/refresh", &first).json(&json!({}));
    assert_eq!(Reply::read(reused).await.status, 401);
    let last = with_cookie("/auth/refresh", &third).json(&json!({}));
    assert_eq!(Reply::read(last).await.status, 401, "its family is revoked");
}

#[tokio::test]
async fn logging_out_is_idempotent() {
    let app = TestApp::builder().workers(0).start().await;
    let ada = app.user("Ada").await;
    let first = log_in(&app, &ada.email, User::PASSWORD).await;
    let second = refresh(&app, first.text("refresh_token")).await;
    let token = json!({"refresh_token": second.text("refresh_token")});
    for body in [
        token.clone(),
        token,
        json!({}),
        json!({"refresh_token": "made up"}),
    ] {
        let out = post(&app, "/auth/logout", body.clone()).await;
        assert_eq!(out.status, 204, "{body}: {}", out.body);
        let cleared = out.headers["set-cookie"].to_str().unwrap();
        assert!(
            cleared.starts_with("errand_refresh=;") && cleared.contains("Max-Age=0"),
            "{cleared}"
        );
    }
    assert_eq!(refresh(&app, second.text("refresh_token")).await.status, 401);

    let by_cookie = log_in(&app, &ada.email, User::PASSWORD).await;
    let request = app
        .http()
        .post(format!("{}/auth/logout", app.url()))
        .header("origin", app.url())
        .header(
            "cookie",
            format!("errand_refresh={}", by_cookie.text("refresh_token")),
        );
    assert_eq!(Reply::read(request).await.status, 204);
    assert_eq!(refresh(&app, by_cookie.text("refresh_token")).await.status, 401);
    let bare = app.http().post(format!("{}/auth/logout", app.url()));
    assert_eq!(Reply::read(bare).await.status, 204);
}

#[tokio::test]
async fn only_valid_tokens_are_accepted() {
    const SECRET: &str = "a secret of this test's own, 32 bytes or more";
    let app = TestApp::builder()
        .workers(0)
        .api(format!("--jwt-secret={SECRET}"))
        .start()
        .await;
    let ada = app.user("Ada").await;
    let now = Clock::system().now().timestamp();
    let good = json!({
        "iss": "errand", "aud": "errand", "sub": ada.id, "role": "user", "iat": now, "exp": now + 600,
    });
    let signed = |secret: &str, algorithm: Algorithm, changes: Value| {
        let mut claims = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(algorithm), &claims, &key).unwrap()
    };
    let token = signed(SECRET, Algorithm::HS256, json!({}));
    assert_eq!(me(&app, &token).await.status, 200);

    let other_secret = "another secret that this server does not know";
    let mut bad = vec![
        signed(other_secret, Algorithm::HS256, json!({})),
        signed(SECRET, Algorithm::HS512, json!({})),
        // {"alg":"none","typ":"JWT"} with the claims of a valid token.
        format!(
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.",
            token.split('.').nth(1).unwrap()
        ),
        token.rsplit_once('.').unwrap().0.to_owned(),
        String::new(),
    ];
    for changes in [
        json!({"iss": "someone"}),
        json!({"iss": null}),
        json!({"aud": "others"}),
        json!({"aud": null}),
        json!({"exp": now - 60}),
        json!({"exp": null}),
        json!({"nbf": now + 600}),
        json!({"sub": "not an id"}),
        json!({"sub": errand_shared::Uuid::now_v7()}),
        json!({"role": "emperor"}),
    ] {
        bad.push(signed(SECRET, Algorithm::HS256, changes));
    }
    for token in bad {
        let reply = me(&app, &token).await;
        assert_eq!(reply.status, 401, "{token}: {}", reply.body);
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        let mut caller = ada.clone();
        caller.token = token;
        assert_eq!(caller.get("/conversations").await.status, 401);
    }
    let none = app.http().get(format!("{}/auth/me", app.url()));
    assert_eq!(Reply::read(none).await.status, 401);
}

#[tokio::test]
async fn a_deleted_user_has_no_access() {
    let mut app = TestApp::builder().workers(0).start().await;
    let ada = app.user("Ada").await;
    let login = log_in(&app, &ada.email, User::PASSWORD).await;
    assert_eq!(ada.get("/tasks").await.status, 200);
    app.database.execute("DELETE FROM users").await.unwrap();

    assert_eq!(refresh(&app, login.text("refresh_token")).await.status, 401);
    assert_eq!(log_in(&app, &ada.email, User::PASSWORD).await.status, 401);
    // The first API caches the user for a few seconds; another API has never seen the user.
    let other = app.add_api().await;
    let at_other = ada.at(app.url_of(other));
    assert_eq!(at_other.get("/tasks").await.status, 401);
    assert_eq!(at_other.chat("hi").await.status, 401);
    assert_eq!(me_at(&app, &app.url_of(other), &ada.token).await.status, 401);
}

#[tokio::test]
async fn too_many_attempts_are_429_with_retry_after() {
    let app = TestApp::builder()
        .workers(0)
        .api("--rate-limit-auth-per-minute=6")
        .start()
        .await;
    let limited = |reply: Reply| {
        assert_eq!(reply.status, 429, "{}", reply.body);
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        let wait = reply.headers["retry-after"].to_str().unwrap();
        assert!((1..=61).contains(&wait.parse::<u64>().unwrap()), "{wait}");
        let policy = reply.headers["ratelimit-policy"].to_str().unwrap();
        assert!(policy.starts_with("\"auth-address\";q=6;w=60"), "{policy}");
        let limit = reply.headers["ratelimit"].to_str().unwrap();
        assert!(limit.contains(";r=0;t="), "{limit}");
    };
    let ada = app.user("Ada").await;
    // The limit of an account is a sixth of the limit of an address.
    limited(log_in(&app, &ada.email.to_uppercase(), User::PASSWORD).await);
    for number in 2..6 {
        let reply = log_in(&app, &format!("{number}@example.com"), User::PASSWORD).await;
        assert_eq!(reply.status, 401, "{number}: {}", reply.body);
    }
    limited(log_in(&app, "seventh@example.com", User::PASSWORD).await);
    let body = json!({"email": "eighth@example.com", "password": User::PASSWORD, "name": "Eve"});
    limited(post(&app, "/auth/register", body).await);
    assert_eq!(
        me(&app, &ada.token).await.status,
        200,
        "a logged-in user is not limited"
    );
}

/// Secrets that may only appear in the database.
async fn hashes(database: &Database) -> Vec<String> {
    let mut texts = database.texts("SELECT password_hash FROM users").await;
    // Also without its parameters, the hash is secret.
    let bare: Vec<_> = texts
        .iter()
        .map(|hash| hash.rsplit('$').next().unwrap().to_owned())
        .collect();
    texts.extend(bare);
    texts.extend(["$argon2".to_owned(), User::PASSWORD.to_owned()]);
    texts
}

#[tokio::test]
async fn passwords_and_hashes_never_appear_in_responses_or_logs() {
    let app = TestApp::builder().workers(0).start().await;
    let server = Server::start(&app, "trace").await;
    let ada = User::register(app.http(), server.url(), "Ada").await;
    let request = |method: Method, path: &str| app.http().request(method, format!("{}{path}", server.url()));
    let credentials = json!({"email": ada.email, "password": User::PASSWORD, "name": "Ada"});
    let mut replies = Vec::new();
    for path in [
        "/auth/login",
        "/auth/register",
        "/auth/refresh",
        "/auth/logout",
        "/nothing",
    ] {
        let bodies = [credentials.clone(), json!([credentials]), json!({"email": 1})];
        for body in bodies {
            replies.push(Reply::read(request(Method::POST, path).json(&body)).await);
        }
    }
    let login = replies[0].clone();
    assert_eq!(login.status, 200);
    let token = json!({"refresh_token": login.text("refresh_token")});
    replies.push(Reply::read(request(Method::POST, "/auth/refresh").json(&token)).await);
    replies.push(Reply::read(request(Method::GET, "/auth/me").bearer_auth(&ada.token)).await);
    replies.push(ada.get("/conversations").await);
    let secrets = hashes(&app.database).await;
    assert_eq!(secrets.len(), 4);
    let log = server.stop().await;
    for part in ["API stopped", "\"DEBUG\""] {
        assert!(log.contains(part), "{log}");
    }
    for token in ["access_token", "refresh_token"] {
        assert!(!log.contains(login.text(token)), "the log contains the {token}");
    }
    for secret in secrets {
        for reply in &replies {
            assert!(!reply.body.to_string().contains(&secret), "{}", reply.body);
            assert!(
                !format!("{:?}", reply.headers).contains(&secret),
                "{:?}",
                reply.headers
            );
        }
        for line in log.lines() {
            assert!(!line.contains(&secret), "{line}");
        }
    }
}
