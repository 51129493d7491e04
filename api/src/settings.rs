//! The API's settings.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use errand_shared::service::traces::TraceSettings;
use errand_shared::{
    domain::agents::AgentSettings,
    service::{
        config::{RedisSettings, Secret, StoreSettings, milliseconds, seconds},
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

/// Tokens, passwords and limits on logins.
#[derive(Args, Clone, Debug)]
pub struct AuthSettings {
    /// Secret that signs tokens (HS256), at least 32 bytes; `@FILE` reads it from a file. Required unless a public key
    /// is given.
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,
    /// Previous secret, which still verifies tokens.
    #[arg(long, env = "JWT_SECRET_PREVIOUS", hide_env_values = true)]
    pub jwt_secret_previous: Option<Secret>,
    /// Public key (PEM) of an external identity provider, instead of the secret.
    #[arg(long, env = "JWT_PUBLIC_KEY_FILE")]
    pub jwt_public_key_file: Option<PathBuf>,
    /// Public keys (JWKS) of an external identity provider, instead of the secret.
    #[arg(long, env = "JWT_JWKS_FILE")]
    pub jwt_jwks_file: Option<PathBuf>,
    /// Required issuer (`iss`) of tokens.
    #[arg(long, env = "JWT_ISSUER", default_value = "errand")]
    pub jwt_issuer: String,
    /// Required audience (`aud`) of tokens.
    #[arg(long, env = "JWT_AUDIENCE", default_value = "errand")]
    pub jwt_audience: String,
    /// Lifetime of an access token, in seconds.
    #[arg(long, env = "JWT_TTL_SECONDS", default_value = "3600", value_parser = seconds)]
    pub jwt_ttl_seconds: Duration,
    /// Lifetime of a refresh token, in seconds.
    #[arg(long, env = "REFRESH_TTL_SECONDS", default_value = "2592000", value_parser = seconds)]
    pub refresh_ttl_seconds: Duration,
    /// Logins and registrations per minute from one address, and a sixth of it for one account; 0 disables the limit.
    #[arg(long, env = "RATE_LIMIT_AUTH_PER_MINUTE", default_value_t = 60)]
    pub rate_limit_auth_per_minute: u32,
    /// Maximum number of passwords hashed concurrently; each takes 19 MiB and a core.
    #[arg(long, hide = true, env = "PASSWORD_HASHES_AT_ONCE", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub password_hashes_at_once: u16,
}

/// Waits and limits of chats.
#[derive(Args, Clone, Debug)]
pub struct ChatSettings {
    /// How long a chat request waits for its answer unless it says otherwise, in seconds.
    #[arg(long, env = "CHAT_WAIT_DEFAULT", default_value_t = 50)]
    pub chat_wait_default: u64,
    /// Longest wait that a request may ask for, in seconds.
    #[arg(long, env = "CHAT_WAIT_MAX", default_value_t = 300)]
    pub chat_wait_max: u64,
    /// Maximum number of open runs per user; 0 disables the limit.
    #[arg(long, env = "MAX_OPEN_RUNS_PER_USER", default_value_t = 100)]
    pub max_open_runs_per_user: u32,
    /// Maximum number of queued runs of all users; 0 disables the limit.
    #[arg(long, env = "MAX_QUEUED_RUNS", default_value_t = 100_000)]
    pub max_queued_runs: u32,
    /// Messages per user and minute; 0 disables the limit.
    #[arg(long, env = "RATE_LIMIT_CHAT_PER_MINUTE", default_value_t = 600)]
    pub rate_limit_chat_per_minute: u32,
    /// Interval at which Postgres is queried for awaited runs, in milliseconds; five times that while Redis is connected.
    #[arg(long, hide = true, env = "WAIT_SWEEP_MS", default_value = "1000", value_parser = milliseconds)]
    pub wait_sweep_ms: Duration,
}

/// Limits of event streams and WebSockets.
#[derive(Args, Clone, Debug)]
pub struct LiveSettings {
    /// Maximum number of events that a subscriber may fall behind before it is disconnected.
    #[arg(long, hide = true, env = "LIVE_BUFFER_EVENTS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub live_buffer_events: u32,
    /// Interval of the comments that keep a quiet event stream open, in seconds.
    #[arg(long, hide = true, env = "SSE_KEEPALIVE_SECONDS", default_value = "15", value_parser = seconds)]
    pub sse_keepalive_seconds: Duration,
    /// Maximum number of WebSockets per user at this process; 0 disables the limit.
    #[arg(long, hide = true, env = "WS_CONNECTIONS_PER_USER", default_value_t = 20)]
    pub ws_connections_per_user: u32,
    /// Maximum size of a client's WebSocket frame, in bytes.
    #[arg(long, hide = true, env = "WS_MESSAGE_MAX_BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1024..))]
    pub ws_message_max_bytes: u32,
    /// Interval of pings on a WebSocket, in seconds.
    #[arg(long, hide = true, env = "WS_PING_SECONDS", default_value = "30", value_parser = seconds)]
    pub ws_ping_seconds: Duration,
    /// How long a client may take to answer a ping or to read a frame, in seconds.
    #[arg(long, hide = true, env = "WS_PONG_TIMEOUT_SECONDS", default_value = "20", value_parser = seconds)]
    pub ws_pong_timeout_seconds: Duration,
}

/// The to-do tools as an MCP server.
#[derive(Args, Clone, Debug)]
pub struct McpSettings {
    /// Host names (comma-separated, with or without a port) by which MCP clients may call this server; `*` allows any.
    #[arg(
        long,
        env = "MCP_ALLOWED_HOSTS",
        default_value = "localhost,127.0.0.1,::1",
        value_delimiter = ','
    )]
    pub mcp_allowed_hosts: Vec<String>,
    /// MCP requests per user and minute; 0 disables the limit.
    #[arg(long, hide = true, env = "RATE_LIMIT_MCP_PER_MINUTE", default_value_t = 600)]
    pub rate_limit_mcp_per_minute: u32,
}

/// Addresses, limits and timeouts of HTTP.
#[derive(Args, Clone, Debug)]
pub struct HttpSettings {
    /// Address of the API.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8080")]
    pub listen_addr: SocketAddr,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, env = "ADMIN_LISTEN_ADDR", default_value = "127.0.0.1:9090")]
    pub admin_listen_addr: SocketAddr,
    /// Proxy addresses (comma-separated) whose X-Forwarded-For is trusted.
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Origins (comma-separated) whose pages may use this server; the same origin always may.
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", value_delimiter = ',')]
    pub cors_allowed_origins: Vec<String>,
    /// Maximum number of open connections.
    #[arg(long, hide = true, env = "MAX_CONNECTIONS", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// How long a request's head may take to arrive, in milliseconds; idle connections are closed after the same time.
    #[arg(long, hide = true, env = "HTTP_HEADER_TIMEOUT_MS", default_value = "15000", value_parser = milliseconds)]
    pub http_header_timeout_ms: Duration,
    /// How long a request's body may take to arrive, in milliseconds.
    #[arg(long, hide = true, env = "HTTP_BODY_TIMEOUT_MS", default_value = "10000", value_parser = milliseconds)]
    pub http_body_timeout_ms: Duration,
    /// How long a client may leave sent data unread before its connection is closed, in milliseconds.
    #[arg(long, hide = true, env = "HTTP_UNREAD_TIMEOUT_MS", default_value = "60000", value_parser = milliseconds)]
    pub http_unread_timeout_ms: Duration,
    /// Maximum size of a request's body, in bytes.
    #[arg(long, hide = true, env = "HTTP_BODY_MAX_BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1024..))]
    pub http_body_max_bytes: u32,
    /// How long a request waits for Postgres in total before it is answered with 503, in milliseconds.
    #[arg(long, hide = true, env = "DATABASE_REQUEST_TIMEOUT_MS", default_value = "4500", value_parser = milliseconds)]
    pub database_request_timeout_ms: Duration,
    /// How long requests in flight may take after SIGTERM, in seconds.
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value = "25", value_parser = seconds)]
    pub shutdown_grace_seconds: Duration,
}
