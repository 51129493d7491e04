//! `errand-api migrate`.

use errand_shared::{
    service::config::StoreSettings,
    storage::{self, Durability, schema},
};

/// Brings the schema up to this program's generation.
///
/// # Errors
/// A fault of Postgres.
pub async fn migrate(store: &StoreSettings) -> Result<(), sqlx::Error> {
    schema::migrate(storage::connect_options(store, Durability::Flushed)?).await
}
