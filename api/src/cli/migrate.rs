//! `errand-api migrate`: migrates the schema.

use errand_shared::{
    service::config::StoreSettings,
    storage::{self, Durability, schema},
};

/// Migrates the schema to the version of this program.
///
/// # Errors
/// A database error.
pub async fn migrate(store: &StoreSettings) -> Result<(), sqlx::Error> {
    schema::migrate(storage::connect_options(store, Durability::Flushed)?).await
}
