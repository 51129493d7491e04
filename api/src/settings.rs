//! The API's settings.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use errand_shared::service::traces::TraceSettings;
use errand_shared::{
    domain::agents::AgentSettings,
    service::{
        config::{EventSettings, RedisSettings, Secret, StoreSettings, milliseconds, seconds},
        runtime::RuntimeSettings,
        telemetry::LogSettings,
    },
};

/// Settings of the server.
#[derive(Args, Clone, Debug)]
pub struct ApiSettings {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub store: StoreSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub redis: RedisSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub auth: AuthSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub chat: ChatSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub agents: AgentSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub events: EventSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub live: LiveSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub mcp: McpSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub http: HttpSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub log: LogSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub runtime: RuntimeSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub traces: TraceSettings,
}

/// Who may come in.
#[derive(Args, Clone, Debug)]
pub struct AuthSettings {
    /// Secret that signs tokens (HS256), at least 32 bytes; `@FILE` reads it from a file. Required unless a public key
    /// is given.
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,
    /// The secret before this one, whose tokens still count.
    #[arg(long, env = "JWT_SECRET_PREVIOUS", hide_env_values = true)]
    pub jwt_secret_previous: Option<Secret>,
    /// Public key (PEM) of an outside identity provider, in place of the secret.
    #[arg(long, env = "JWT_PUBLIC_KEY_FILE")]
    pub jwt_public_key_file: Option<PathBuf>,
    /// Public keys (JWKS) of an outside identity provider, in place of the secret.
    #[arg(long, env = "JWT_JWKS_FILE")]
    pub jwt_jwks_file: Option<PathBuf>,
    /// The issuer that tokens must name.
    #[arg(long, env = "JWT_ISSUER", default_value = "errand")]
    pub jwt_issuer: String,
    /// The audience that tokens must name.
    #[arg(long, env = "JWT_AUDIENCE", default_value = "errand")]
    pub jwt_audience: String,
    /// How long an access token counts, in seconds.
    #[arg(long, env = "JWT_TTL_SECONDS", default_value = "3600", value_parser = seconds)]
    pub jwt_ttl_seconds: Duration,
    /// How long a refresh token counts, in seconds.
    #[arg(long, env = "REFRESH_TTL_SECONDS", default_value = "2592000", value_parser = seconds)]
    pub refresh_ttl_seconds: Duration,
    /// Attempts to log in or register a minute from one address; 0 is no bound. One account may have a sixth of it.
    #[arg(long, env = "RATE_LIMIT_AUTH_PER_MINUTE", default_value_t = 60)]
    pub rate_limit_auth_per_minute: u32,
    /// Passwords hashed at once, at most: each takes 19 MiB and a core.
    #[arg(long, env = "PASSWORD_HASHES_AT_ONCE", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub password_hashes_at_once: u16,
}

/// The bounds of a chat.
#[derive(Args, Clone, Debug)]
pub struct ChatSettings {
    /// How long a chat waits for its answer if it does not say, in seconds.
    #[arg(long, env = "CHAT_WAIT_DEFAULT", default_value_t = 50)]
    pub chat_wait_default: u64,
    /// How long a chat may wait, in seconds.
    #[arg(long, env = "CHAT_WAIT_MAX", default_value_t = 300)]
    pub chat_wait_max: u64,
    /// Open runs of a user, at most; 0 is no bound.
    #[arg(long, env = "MAX_OPEN_RUNS_PER_USER", default_value_t = 100)]
    pub max_open_runs_per_user: u32,
    /// Queued runs of all users, at most; 0 is no bound.
    #[arg(long, env = "MAX_QUEUED_RUNS", default_value_t = 100_000)]
    pub max_queued_runs: u32,
    /// Chats of a user a minute; 0 is no bound.
    #[arg(long, env = "RATE_LIMIT_CHAT_PER_MINUTE", default_value_t = 600)]
    pub rate_limit_chat_per_minute: u32,
    /// Distance of the looks in Postgres for waited-for runs, in milliseconds; five times that while Redis tells.
    #[arg(long, env = "WAIT_SWEEP_MS", default_value = "1000", value_parser = milliseconds)]
    pub wait_sweep_ms: Duration,
}

/// The bounds of those who read events as they happen.
#[derive(Args, Clone, Debug)]
pub struct LiveSettings {
    /// Events that a reader may fall behind before it is sent away to come back, at most.
    #[arg(long, env = "LIVE_BUFFER_EVENTS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub live_buffer_events: u32,
    /// Distance of the comments that keep a quiet stream of server-sent events open, in seconds.
    #[arg(long, env = "SSE_KEEPALIVE_SECONDS", default_value = "15", value_parser = seconds)]
    pub sse_keepalive_seconds: Duration,
    /// WebSockets of a user at once, at most; 0 is no bound.
    #[arg(long, env = "WS_CONNECTIONS_PER_USER", default_value_t = 20)]
    pub ws_connections_per_user: u32,
    /// Bytes of a frame that a client sends, at most.
    #[arg(long, env = "WS_MESSAGE_MAX_BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1024..))]
    pub ws_message_max_bytes: u32,
    /// Distance of the pings on a WebSocket, in seconds.
    #[arg(long, env = "WS_PING_SECONDS", default_value = "30", value_parser = seconds)]
    pub ws_ping_seconds: Duration,
    /// How long a client may leave a ping unanswered, or take to read a frame, in seconds.
    #[arg(long, env = "WS_PONG_TIMEOUT_SECONDS", default_value = "20", value_parser = seconds)]
    pub ws_pong_timeout_seconds: Duration,
}

/// The tools as an MCP server.
#[derive(Args, Clone, Debug)]
pub struct McpSettings {
    /// Names (comma-separated, with or without a port) by which MCP clients may call this server; `*` is any.
    #[arg(
        long,
        env = "MCP_ALLOWED_HOSTS",
        default_value = "localhost,127.0.0.1,::1",
        value_delimiter = ','
    )]
    pub mcp_allowed_hosts: Vec<String>,
    /// MCP requests of a user a minute; 0 is no bound.
    #[arg(long, env = "RATE_LIMIT_MCP_PER_MINUTE", default_value_t = 600)]
    pub rate_limit_mcp_per_minute: u32,
}

/// The edges of HTTP.
#[derive(Args, Clone, Debug)]
pub struct HttpSettings {
    /// Where the API is served.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8080")]
    pub listen_addr: SocketAddr,
    /// Where /metrics, /healthz and /readyz are served for operators.
    #[arg(long, env = "ADMIN_LISTEN_ADDR", default_value = "127.0.0.1:9090")]
    pub admin_listen_addr: SocketAddr,
    /// Proxies (addresses, comma-separated) whose X-Forwarded-For counts.
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Origins (comma-separated) that pages may call from; the same origin always may.
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", value_delimiter = ',')]
    pub cors_allowed_origins: Vec<String>,
    /// Connections at once, at most.
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// How long a request's head may take to arrive, in milliseconds; also how long an idle connection is kept.
    #[arg(long, env = "HTTP_HEADER_TIMEOUT_MS", default_value = "15000", value_parser = milliseconds)]
    pub http_header_timeout_ms: Duration,
    /// How long a request's body may take to arrive, in milliseconds.
    #[arg(long, env = "HTTP_BODY_TIMEOUT_MS", default_value = "10000", value_parser = milliseconds)]
    pub http_body_timeout_ms: Duration,
    /// How long a connection may leave unread what it is sent before it is closed, in milliseconds.
    #[arg(long, env = "HTTP_UNREAD_TIMEOUT_MS", default_value = "60000", value_parser = milliseconds)]
    pub http_unread_timeout_ms: Duration,
    /// Bytes of a request's body, at most.
    #[arg(long, env = "HTTP_BODY_MAX_BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1024..))]
    pub http_body_max_bytes: u32,
    /// How long a request waits for Postgres in all before it is answered 503, in milliseconds.
    #[arg(long, env = "DATABASE_REQUEST_TIMEOUT_MS", default_value = "4500", value_parser = milliseconds)]
    pub database_request_timeout_ms: Duration,
    /// How long what is under way may take after SIGTERM, in seconds.
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value = "25", value_parser = seconds)]
    pub shutdown_grace_seconds: Duration,
}
