//! Hints: what stands in the list of Redis by which workers hear that a run is ready. Whose run it is stands with it, so that
//! users can take turns when workers are short.

use uuid::Uuid;

/// Says that a run is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Whose run it is; nil if that is not known, as from a program of before.
    pub user_id: Uuid,
    /// The run.
    pub run_id: Uuid,
}

impl Hint {
    /// As it stands in the list: user, run.
    pub fn encode(&self) -> [u8; 32] {
        let mut entry = [0; 32];
        let (user, run) = entry.split_at_mut(16);
        user.copy_from_slice(self.user_id.as_bytes());
        run.copy_from_slice(self.run_id.as_bytes());
        entry
    }

    /// Reads an entry of the list. None if it is not ours.
    pub fn decode(entry: &[u8]) -> Option<Self> {
        let (user, run) = match entry.len() {
            16 => (Uuid::nil(), entry),
            32 => {
                let (user, run) = entry.split_at_checked(16)?;
                (Uuid::from_slice(user).ok()?, run)
            }
            _ => return None,
        };
        Some(Self {
            user_id: user,
            run_id: Uuid::from_slice(run).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_comes_back_as_it_was_put_and_garbage_does_not() {
        let hint = Hint {
            user_id: Uuid::now_v7(),
            run_id: Uuid::now_v7(),
        };
        assert_eq!(Hint::decode(&hint.encode()), Some(hint));
        let of_before = Hint::decode(hint.run_id.as_bytes()).unwrap();
        assert_eq!((of_before.user_id, of_before.run_id), (Uuid::nil(), hint.run_id));
        for garbage in [&b""[..], b"not an id", &[0; 15], &[0; 17], &[0; 33]] {
            assert_eq!(Hint::decode(garbage), None);
        }
    }
}
