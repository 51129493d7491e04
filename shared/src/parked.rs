//! News of runs that were parked: one channel for all, so that whoever waits for an answer hears that the run waits for its
//! user.
//!
//! It is a hint: who misses it reads the row.

use uuid::Uuid;

/// A run that was parked, and in which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedNews {
    /// The run.
    pub run_id: Uuid,
    /// The epoch in which it waits.
    pub epoch: i32,
}

impl ParkedNews {
    /// As it goes over the channel.
    pub fn encode(self) -> [u8; 20] {
        let mut payload = [0; 20];
        let (run, epoch) = payload.split_at_mut(16);
        run.copy_from_slice(self.run_id.as_bytes());
        epoch.copy_from_slice(&self.epoch.to_be_bytes());
        payload
    }

    /// Reads the news. None if it is not ours.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (run_id, rest) = payload.split_first_chunk::<16>()?;
        let (epoch, _) = rest.split_first_chunk()?;
        Some(Self {
            run_id: Uuid::from_bytes(*run_id),
            epoch: i32::from_be_bytes(*epoch),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_comes_back_as_it_was_sent() {
        let news = ParkedNews {
            run_id: Uuid::now_v7(),
            epoch: 7,
        };
        assert_eq!(ParkedNews::decode(&news.encode()), Some(news));
        assert_eq!(ParkedNews::decode(&[0; 19]), None);
    }
}
