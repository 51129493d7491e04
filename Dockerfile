# syntax=docker/dockerfile:1

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
# The build needs no database: the checked queries are in .sqlx.
ENV SQLX_OFFLINE=true CARGO_PROFILE_RELEASE_STRIP=debuginfo
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package errand-api --package errand-worker --package errand-model \
    && mkdir /out \
    && cp target/release/errand-api target/release/errand-worker target/release/errand-model /out/

FROM debian:bookworm-slim
# The certificates are for model providers with https.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin errand
COPY --from=build /out/ /usr/local/bin/
# For health checks: the image has bash but no HTTP client.
COPY --chmod=755 <<'EOT' /usr/local/bin/healthy
#!/bin/bash
# healthy PORT PATH: succeeds if a local GET returns 200.
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
read -r -t 4 _ status _ <&3 && [ "$status" = 200 ]
EOT
USER errand
EXPOSE 8080
CMD ["errand-api"]
