//! Who a caller is.

use errand_shared::Uuid;

/// Checks and issues tokens.
#[derive(Debug)]
pub struct Authenticator;

/// The caller of a route below `/api/{user_id}`, who is that user.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The user.
    pub user_id: Uuid,
}
