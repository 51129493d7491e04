# Common commands. `just` lists them. Each is a plain cargo command or script, so just itself is optional.

# List the commands.
default:
    @just --list --unsorted

# Everything that CI runs.
check:
    bash .ci/run

# Start everything and chat; arguments go to the quick start (see --help).
quickstart *arguments:
    cargo quickstart {{ arguments }}

# All tests, with a private Postgres and Redis; arguments go to nextest (or cargo test): just test -p errand-api
test *arguments:
    cargo alltests {{ arguments }}

# Inject faults and check the guarantees: just chaos --round long
chaos *arguments:
    cargo chaos {{ arguments }}

# Load-test a private stack: just load steady, or RATE=100 just load steady (dev/loadtest/README.md).
load script *arguments:
    dev/loadtest/run --up {{ script }} {{ arguments }}

# Format the code.
fmt:
    cargo fmt --all

# All lints, as errors.
clippy:
    SQLX_OFFLINE=true cargo clippy --workspace --all-targets --locked -- -D warnings

# The API documentation of the crates.
doc *arguments:
    RUSTDOCFLAGS='-D warnings' SQLX_OFFLINE=true cargo doc --workspace --no-deps {{ arguments }}

# Check which crate depends on which.
edges:
    .ci/edges

# Check that docs/CONFIGURATION.md lists the settings in the code.
settings:
    .ci/settings

# Check the links and file names in the documents.
links:
    .ci/links

# Check that every migration can be reverted and repeated.
migrations:
    .ci/migrations

# Check docker-compose.yml.
compose:
    .ci/compose

# Check the manifests, alerts and dashboard in deploy/.
deploy:
    .ci/deploy

# Check that a backup can be restored.
backup:
    .ci/backup

# Check licences, bans and sources of all dependencies (needs cargo-deny).
deny:
    cargo deny check licenses bans sources

# Check the queries against a fresh database and rewrite .sqlx (needs sqlx-cli 0.9).
sqlx:
    cargo run --quiet --package errand-quickstart -- services -- env SQLX_OFFLINE=false sh -c 'cargo sqlx migrate run --source migrations && cargo sqlx prepare --workspace -- --all-targets'

# Run Postgres and Redis only, until Ctrl-C; prints their URLs.
services *arguments:
    cargo run --quiet --package errand-quickstart -- services {{ arguments }}

# Build the container images.
images:
    docker compose build
