//! Who a verified token belongs to.

use chrono::{DateTime, Utc};
use errand_shared::Uuid;
use serde::{Deserialize, Serialize};

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// May use the caller's own routes below `/api`.
    User,
    /// May also use the routes below `/admin`.
    Admin,
}

impl Role {
    /// The role with this name in a token or in the database.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "user" => Some(Self::User),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// The user of a valid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user_id: Uuid,
    pub(crate) role: Role,
    /// When the token expires. It is accepted a few seconds longer.
    pub(crate) expires_at: DateTime<Utc>,
}
