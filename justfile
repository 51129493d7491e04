# Every chore of the repository. `just` lists them; each line is plain cargo, so just itself is not needed.

# List the chores.
default:
    @just --list --unsorted

# All that CI runs.
check:
    bash .ci/run

# Bring up everything and chat; arguments go to the quick start (see --help).
quickstart *arguments:
    cargo quickstart {{ arguments }}

# All tests, with Postgres and Redis of their own; arguments go to nextest (or cargo test): just test -p errand-api
test *arguments:
    cargo alltests {{ arguments }}

# Break everything that can break, and check the promises: just chaos --round long
chaos *arguments:
    cargo chaos {{ arguments }}

# Load on everything, started for it: just load steady, or RATE=100 just load steady (dev/loadtest/README.md).
load script *arguments:
    dev/loadtest/run --up {{ script }} {{ arguments }}

# Format the code.
fmt:
    cargo fmt --all

# All lints, as errors.
clippy:
    SQLX_OFFLINE=true cargo clippy --workspace --all-targets --locked -- -D warnings

# The documentation of the code.
doc *arguments:
    RUSTDOCFLAGS='-D warnings' SQLX_OFFLINE=true cargo doc --workspace --no-deps {{ arguments }}

# Which crate may not know which.
edges:
    .ci/edges

# Whether the README's settings are those of the code.
settings:
    .ci/settings

# Whether migrations lead there and back.
migrations:
    .ci/migrations

# Whether docker-compose.yml is sound.
compose:
    .ci/compose

# Whether the manifests, alerts and panels in deploy/ are sound.
deploy:
    .ci/deploy

# Whether a backup comes back whole.
backup:
    .ci/backup

# Licences, bans and sources of all dependencies (needs cargo-deny).
deny:
    cargo deny check licenses bans sources

# Check the queries against a fresh database and write .sqlx anew (needs sqlx-cli 0.9).
sqlx:
    cargo run --quiet --package errand-quickstart -- services -- env SQLX_OFFLINE=false sh -c 'cargo sqlx migrate run --source migrations && cargo sqlx prepare --workspace -- --all-targets'

# Postgres and Redis alone, until Ctrl-C; prints their URLs.
services *arguments:
    cargo run --quiet --package errand-quickstart -- services {{ arguments }}

# The container images.
images:
    docker compose build
